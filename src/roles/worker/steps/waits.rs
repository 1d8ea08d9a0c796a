//! Which jobs `submit` waits for: those of models whose last jobs were done in time.

use std::collections::HashMap;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::{Semaphore, SemaphorePermit};

/// How many slow models are remembered at most.
const MODELS: usize = 1000;
/// A model whose jobs take too long is tried again after at most 2^6 jobs.
const MOST_DOUBLINGS: u32 = 6;

/// Decides for which jobs to wait.
#[derive(Debug)]
pub(crate) struct Waits {
    limit: Duration,
    /// Half of the slots: the others are for submits and endings, which must not wait behind this.
    places: Semaphore,
    slow: Mutex<HashMap<String, Slow>>,
}

/// A model whose last jobs were not done, or not stored, in time.
#[derive(Clone, Copy, Debug, Default)]
struct Slow {
    in_a_row: u32,
    /// How many more jobs are not waited for.
    to_skip: u32,
}

impl Waits {
    /// `limit` is how long to wait for a job; zero means never.
    pub(crate) fn new(limit: Duration, slots: usize) -> Self {
        Self {
            limit,
            places: Semaphore::new(slots / 2),
            slow: Mutex::default(),
        }
    }

    pub(crate) fn limit(&self) -> Duration {
        self.limit
    }

    /// Takes a place to wait for a job of a model; `None` if it is not worth it, or all places are taken.
    pub(crate) fn enter(&self, model: &str) -> Option<SemaphorePermit<'_>> {
        let place = self.places.try_acquire().ok()?;
        self.take_turn(model).then_some(place)
    }

    /// Returns whether to wait for the next job of a model.
    fn take_turn(&self, model: &str) -> bool {
        match self.slow.lock().get_mut(model) {
            Some(Slow { to_skip, .. }) if *to_skip > 0 => {
                *to_skip -= 1;
                false
            }
            Some(_) | None => !self.limit.is_zero(),
        }
    }

    /// Learns from a job that was waited for.
    pub(crate) fn learn(&self, model: &str, in_time: bool) {
        let mut slow = self.slow.lock();
        if in_time {
            slow.remove(model);
        } else if slow.len() < MODELS || slow.contains_key(model) {
            let slow = slow.entry(model.to_owned()).or_default();
            slow.in_a_row += 1;
            slow.to_skip = 1 << slow.in_a_row.min(MOST_DOUBLINGS);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_model_whose_jobs_take_too_long_is_waited_for_less_and_less() {
        let waits = Waits::new(Duration::from_secs(3), 100);
        let mut waited = Vec::new();
        for job in 0..200 {
            if waits.take_turn("slow") {
                waits.learn("slow", false);
                waited.push(job);
            }
        }

        assert_eq!(waited, [0, 3, 8, 17, 34, 67, 132, 197]);
        assert!(waits.take_turn("another"));
    }

    #[test]
    fn a_model_that_is_quick_again_is_waited_for_each_time() {
        let waits = Waits::new(Duration::from_secs(3), 100);
        waits.learn("model", false);
        waits.learn("model", true);

        assert!(waits.take_turn("model") && waits.take_turn("model"));
        assert!(!Waits::new(Duration::ZERO, 100).take_turn("model"));
    }

    #[test]
    fn half_of_the_slots_may_wait_at_once() {
        let waits = Waits::new(Duration::from_secs(3), 3);

        let first = waits.enter("model");
        assert!(first.is_some() && waits.enter("model").is_none());
        drop(first);
        assert!(waits.enter("model").is_some());
    }

    #[test]
    fn no_number_of_slow_models_takes_more_memory() {
        let waits = Waits::new(Duration::from_secs(3), 100);
        for number in 0..2 * MODELS {
            waits.learn(&format!("model {number}"), false);
        }

        assert_eq!(waits.slow.lock().len(), MODELS);
    }
}
