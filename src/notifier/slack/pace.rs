//! One message a second to one target, which is what Slack asks for; pure, the time is given.
//!
//! Places are handed out in order, so that several messages to one target leave a second apart. What a target asks
//! for by `Retry-After` moves its next place. Each process keeps its own pace.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

/// The least time between two messages to one target.
pub(super) const EACH: Duration = Duration::from_secs(1);

/// When each target may have its next message.
pub(super) struct Pace {
    next: Mutex<HashMap<String, Instant>>,
    most: usize,
}

impl Pace {
    /// Keeps the pace of `most` targets at once.
    pub(super) fn new(most: usize) -> Self {
        Self {
            next: Mutex::default(),
            most,
        }
    }

    /// Takes the next place of `target` if it is within `patience`, and returns when it is.
    ///
    /// # Errors
    /// How long to wait before it is worth to ask again; no place was taken.
    pub(super) fn place(
        &self,
        target: &str,
        now: Instant,
        patience: Duration,
    ) -> Result<Instant, Duration> {
        let mut next = self.next.lock().unwrap_or_else(PoisonError::into_inner);
        if next.len() >= self.most && !next.contains_key(target) {
            next.retain(|_, at| *at > now);
            if next.len() >= self.most {
                return Err(EACH);
            }
        }
        let place = next.get(target).copied().unwrap_or(now).max(now);
        let wait = place.saturating_duration_since(now);
        if wait > patience {
            return Err(wait);
        }
        next.insert(target.to_owned(), place + EACH);
        Ok(place)
    }

    /// Notes that `target` wants nothing for `pause`.
    pub(super) fn hold(&self, target: &str, now: Instant, pause: Duration) {
        let mut next = self.next.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(at) = next.get_mut(target) {
            *at = (*at).max(now + pause);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn messages_to_one_target_leave_a_second_apart_and_others_do_not_wait() {
        let (pace, now) = (Pace::new(10), Instant::now());

        assert_eq!(pace.place("a", now, SECOND * 2), Ok(now));
        assert_eq!(pace.place("a", now, SECOND * 2), Ok(now + SECOND));
        assert_eq!(pace.place("b", now, SECOND * 2), Ok(now));
        assert_eq!(pace.place("a", now, SECOND * 2), Ok(now + SECOND * 2));
        assert_eq!(pace.place("a", now, SECOND * 2), Err(SECOND * 3));
        let later = now + SECOND * 5;
        assert_eq!(pace.place("a", later, SECOND * 2), Ok(later));
    }

    #[test]
    fn a_target_that_asks_for_a_pause_has_it() {
        let (pace, now) = (Pace::new(10), Instant::now());
        pace.place("a", now, SECOND).unwrap();

        pace.hold("a", now, SECOND * 30);

        assert_eq!(pace.place("a", now + SECOND, SECOND), Err(SECOND * 29));
        let after = now + SECOND * 30;
        assert_eq!(pace.place("a", after, SECOND), Ok(after));
    }

    #[test]
    fn no_more_targets_are_kept_than_were_asked_for() {
        let (pace, now) = (Pace::new(2), Instant::now());
        pace.place("a", now, SECOND).unwrap();
        pace.place("b", now, SECOND).unwrap();

        assert_eq!(pace.place("c", now, SECOND), Err(SECOND));
        assert_eq!(pace.place("a", now, SECOND), Ok(now + SECOND));
        assert_eq!(pace.place("c", now + SECOND, SECOND), Ok(now + SECOND));
        assert_eq!(pace.next.lock().unwrap().len(), 2);
    }
}
