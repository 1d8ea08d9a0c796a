//! One message a second to one target, as Slack demands. Pure: the caller passes the time.
//!
//! Messages to one target get its next seconds in order, so they leave a second apart. `Retry-After` delays the
//! next free second of a target. Each process keeps its own pace. Tenants name the targets, so the number of
//! tracked targets is bounded: in all, and for each user. The operator's own targets are always tracked.

use std::collections::HashMap;
use std::time::Duration;

use parking_lot::{Mutex, MutexGuard};
use tokio::time::Instant;

/// The least time between two messages to one target.
pub(super) const EACH: Duration = Duration::from_secs(1);

/// The targets of one user may be a tenth of all tenants' targets.
const PART: usize = 10;

/// When each target may have its next message.
pub(super) struct Pace {
    known: Mutex<Known>,
    /// Most tenants' targets that are tracked at once.
    most: usize,
}

#[derive(Default)]
struct Known {
    next: HashMap<String, Next>,
    /// Number of tracked targets of each user.
    users: HashMap<String, usize>,
    /// Number of tracked targets of all tenants.
    tenants: usize,
    swept: Option<Instant>,
}

struct Next {
    at: Instant,
    /// The tenant that named it first; `None` for a target of the operator.
    user: Option<String>,
}

impl Pace {
    /// Tracks at most `most` targets of tenants at once.
    pub(super) fn new(most: usize) -> Self {
        Self {
            known: Mutex::default(),
            most,
        }
    }

    /// Reserves the next free second of `target` if it is within `patience`, and returns its time. `user` is
    /// the tenant that names the target; `None` for a target of the operator.
    ///
    /// # Errors
    /// How long to wait before another call can succeed; nothing was reserved.
    pub(super) fn place(
        &self,
        target: &str,
        user: Option<&str>,
        now: Instant,
        patience: Duration,
    ) -> Result<Instant, Duration> {
        let mut known = self.known();
        if !known.next.contains_key(target) && !known.has_room(self.most, user, now) {
            return Err(EACH);
        }
        let place = known.next.get(target).map_or(now, |next| next.at.max(now));
        let wait = place.saturating_duration_since(now);
        if wait > patience {
            return Err(wait);
        }
        known.note(target, user, place + EACH);
        Ok(place)
    }

    /// Delays the next message to `target` by at least `pause`.
    pub(super) fn hold(&self, target: &str, now: Instant, pause: Duration) {
        if let Some(next) = self.known().next.get_mut(target) {
            next.at = next.at.max(now + pause);
        }
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock()
    }
}

impl Known {
    /// Returns whether another target of that user fits; if not, first drops the targets whose second is over.
    fn has_room(&mut self, most: usize, user: Option<&str>, now: Instant) -> bool {
        let Some(user) = user else { return true };
        let fits = |known: &Self| {
            let own = known.users.get(user).copied().unwrap_or(0);
            known.tenants < most && own < (most / PART).max(1)
        };
        if fits(self) {
            return true;
        }
        // A sweep visits all targets, so it is not made for every message.
        if self.swept.is_none_or(|swept| now >= swept + EACH) {
            self.swept = Some(now);
            self.sweep(now);
        }
        fits(self)
    }

    fn sweep(&mut self, now: Instant) {
        self.next.retain(|_, next| next.at > now);
        self.users.clear();
        for user in self.next.values().filter_map(|next| next.user.as_ref()) {
            *self.users.entry(user.clone()).or_default() += 1;
        }
        self.tenants = self.users.values().sum();
    }

    fn note(&mut self, target: &str, user: Option<&str>, at: Instant) {
        if let Some(next) = self.next.get_mut(target) {
            next.at = at;
            return;
        }
        if let Some(user) = user {
            *self.users.entry(user.to_owned()).or_default() += 1;
            self.tenants += 1;
        }
        let user = user.map(str::to_owned);
        self.next.insert(target.to_owned(), Next { at, user });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    /// Reserves a second for a message of ann's, within two seconds.
    fn anns(pace: &Pace, target: &str, now: Instant) -> Result<Instant, Duration> {
        pace.place(target, Some("ann"), now, SECOND * 2)
    }

    #[test]
    fn messages_to_one_target_leave_a_second_apart_and_others_do_not_wait() {
        let (pace, now) = (Pace::new(100), Instant::now());

        assert_eq!(anns(&pace, "a", now), Ok(now));
        assert_eq!(anns(&pace, "a", now), Ok(now + SECOND));
        assert_eq!(anns(&pace, "b", now), Ok(now));
        assert_eq!(anns(&pace, "a", now), Ok(now + SECOND * 2));
        assert_eq!(anns(&pace, "a", now), Err(SECOND * 3));
        let later = now + SECOND * 5;
        assert_eq!(anns(&pace, "a", later), Ok(later));
    }

    #[test]
    fn a_target_that_asks_for_a_pause_has_it() {
        let (pace, now) = (Pace::new(10), Instant::now());
        anns(&pace, "a", now).unwrap();

        pace.hold("a", now, SECOND * 30);

        assert_eq!(anns(&pace, "a", now + SECOND), Err(SECOND * 29));
        let after = now + SECOND * 30;
        assert_eq!(anns(&pace, "a", after), Ok(after));
    }

    #[test]
    fn a_user_has_a_tenth_of_the_targets_and_the_operator_room_at_any_time() {
        let (pace, now) = (Pace::new(20), Instant::now());
        let place = |target: &str, user, now| pace.place(target, user, now, SECOND);
        for user in ["a", "b", "c", "d", "e", "f", "g", "h", "i", "j"] {
            for target in ["0", "1"] {
                let target = format!("{user}/{target}");
                assert_eq!(place(&target, Some(user), now), Ok(now), "{target}");
                pace.hold(&target, now, SECOND * 600);
            }
            assert_eq!(place(&format!("{user}/x"), Some(user), now), Err(EACH));
        }

        let full = place("new", Some("new"), now + EACH);
        let operators = place("ops", None, now + EACH);

        assert_eq!(full, Err(EACH), "all held targets are remembered");
        assert_eq!(operators, Ok(now + EACH));
        let known = pace.known();
        assert_eq!((known.next.len(), known.tenants), (21, 20));
    }

    #[test]
    fn targets_whose_second_is_over_make_room() {
        let (pace, now) = (Pace::new(2), Instant::now());
        anns(&pace, "a", now).unwrap();
        assert_eq!(anns(&pace, "b", now), Err(EACH), "one of two is a user's");
        assert_eq!(anns(&pace, "a", now), Ok(now + SECOND), "it is known");

        let later = now + SECOND * 2;
        assert_eq!(anns(&pace, "b", later), Ok(later));
        assert_eq!(pace.known().next.len(), 1);
    }
}
