//! One message a second to one target, as Slack demands. Pure: the caller passes the time.
//!
//! Messages to one target get its next seconds in order, so they leave a second apart. `Retry-After` delays the
//! next free second of a target. Each process keeps its own pace. Tenants name the targets, so the number of tracked
//! targets is bounded; a message to one that is not tracked leaves at once.

use std::collections::HashMap;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::Instant;

/// The least time between two messages to one target.
pub(super) const INTERVAL: Duration = Duration::from_secs(1);

/// When each target may have its next message.
pub(super) struct Pace {
    known: Mutex<NextTimes>,
    /// Most targets that are tracked at once.
    most: usize,
}

#[derive(Default)]
struct NextTimes {
    next: HashMap<String, Instant>,
    swept: Option<Instant>,
}

impl Pace {
    /// Tracks at most `most` targets at once.
    pub(super) fn new(most: usize) -> Self {
        Self {
            known: Mutex::default(),
            most,
        }
    }

    /// Reserves the next free second of `target` if it is within `patience`, and returns its time.
    ///
    /// # Errors
    /// How long to wait before another call can succeed; nothing was reserved.
    pub(super) fn place(
        &self,
        target: &str,
        now: Instant,
        patience: Duration,
    ) -> Result<Instant, Duration> {
        let mut known = self.known.lock();
        let place = known.next.get(target).map_or(now, |next| now.max(*next));
        let wait = place.saturating_duration_since(now);
        if wait > patience {
            return Err(wait);
        }
        if known.next.contains_key(target) || known.has_room(self.most, now) {
            known.next.insert(target.to_owned(), place + INTERVAL);
        }
        Ok(place)
    }

    /// Delays the next message to `target` by at least `pause`, if it is tracked.
    pub(super) fn hold(&self, target: &str, now: Instant, pause: Duration) {
        if let Some(next) = self.known.lock().next.get_mut(target) {
            *next = (*next).max(now + pause);
        }
    }
}

impl NextTimes {
    /// Returns whether another target can be tracked, after dropping those whose wait is over if there is no room.
    fn has_room(&mut self, most: usize, now: Instant) -> bool {
        // A sweep visits all targets, so it is not made for every message.
        if self.next.len() >= most && self.swept.is_none_or(|swept| now >= swept + INTERVAL) {
            self.swept = Some(now);
            self.next.retain(|_, next| *next > now);
        }
        self.next.len() < most
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    /// Reserves a second for a message, within two seconds.
    fn place(pace: &Pace, target: &str, now: Instant) -> Result<Instant, Duration> {
        pace.place(target, now, SECOND * 2)
    }

    #[test]
    fn messages_to_one_target_leave_a_second_apart_and_others_do_not_wait() {
        let (pace, now) = (Pace::new(100), Instant::now());

        assert_eq!(place(&pace, "a", now), Ok(now));
        assert_eq!(place(&pace, "a", now), Ok(now + SECOND));
        assert_eq!(place(&pace, "b", now), Ok(now));
        assert_eq!(place(&pace, "a", now), Ok(now + SECOND * 2));
        assert_eq!(place(&pace, "a", now), Err(SECOND * 3));
        let later = now + SECOND * 5;
        assert_eq!(place(&pace, "a", later), Ok(later));
    }

    #[test]
    fn a_target_that_asks_for_a_pause_has_it() {
        let (pace, now) = (Pace::new(10), Instant::now());
        place(&pace, "a", now).unwrap();

        pace.hold("a", now, SECOND * 30);

        assert_eq!(place(&pace, "a", now + SECOND), Err(SECOND * 29));
        let after = now + SECOND * 30;
        assert_eq!(place(&pace, "a", after), Ok(after));
    }

    #[test]
    fn a_target_that_is_not_tracked_does_not_wait_and_one_whose_second_is_over_makes_room() {
        let (pace, now) = (Pace::new(2), Instant::now());
        for target in ["a", "b"] {
            assert_eq!(place(&pace, target, now), Ok(now));
        }

        for _ in 0..2 {
            assert_eq!(place(&pace, "c", now), Ok(now), "it is not tracked");
        }
        assert_eq!(pace.known.lock().next.len(), 2);

        let later = now + SECOND * 2;
        assert_eq!(place(&pace, "c", later), Ok(later));
        assert_eq!(place(&pace, "c", later), Ok(later + SECOND));
        assert_eq!(pace.known.lock().next.len(), 1);
    }
}
