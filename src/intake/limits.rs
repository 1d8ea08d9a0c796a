//! How many generations one user may start: a token bucket each, in the memory of this process.
//!
//! A record above the limit waits a little, so that a short burst costs nobody a request; few may wait at once, so that
//! one user's flood leaves room for all others. A batch takes a token for each item. It has to wait for the first one
//! only, since it may have more items than a bucket holds; the user then waits until the others are made up for (GCRA).
//! Partitions are shared out by request, so with n intakes a user has up to n buckets.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::Semaphore;
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;

use crate::config::RateLimit;

/// Why a record was not let in.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Refused {
    /// It would have to wait for longer than it may, or too many wait.
    #[error("above the limit")]
    After(Duration),
    /// A stop came while it waited.
    #[error("a stop came while it waited for its turn")]
    Stopped,
}

/// The buckets of all users; for requests and RETRY commands together.
#[derive(Debug)]
pub struct Limits {
    /// When each bucket is full again; one that is not here is full.
    full_at: Mutex<HashMap<String, Instant>>,
    settings: RateLimit,
    waiting: Semaphore,
    stop: CancellationToken,
}

impl fmt::Display for Limits {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let RateLimit {
            per_minute, burst, ..
        } = self.settings;
        // The same at each redelivery: what an answer says must not change.
        let next = 60_u32.div_ceil(per_minute.get());
        write!(
            f,
            "a user may start {per_minute} a minute, {burst} at once; retry_after: {next} s"
        )
    }
}

/// Buckets that are full again are forgotten when there are more than this.
const MOST_BUCKETS: usize = 10_000;

impl Limits {
    /// At most `waiting` records wait at once.
    pub fn new(settings: RateLimit, waiting: usize, stop: CancellationToken) -> Self {
        Self {
            full_at: Mutex::default(),
            settings,
            waiting: Semaphore::new(waiting),
            stop,
        }
    }

    /// Takes `count` tokens of `user`, now or as soon as there is one and the record may wait so long.
    pub(super) async fn admit(&self, user: &str, count: u32) -> Result<(), Refused> {
        let Err(mut pause) = self.take(user, count, Instant::now()) else {
            return Ok(());
        };
        let Ok(_waits) = self.waiting.try_acquire() else {
            return Err(Refused::After(pause));
        };
        let until = Instant::now() + self.settings.hold;
        // Others of the same user may take what this one waited for.
        while Instant::now() + pause <= until {
            tokio::select! {
                () = sleep(pause) => {}
                () = self.stop.cancelled() => return Err(Refused::Stopped),
            }
            match self.take(user, count, Instant::now()) {
                Ok(()) => return Ok(()),
                Err(longer) => pause = longer,
            }
        }
        Err(Refused::After(pause))
    }

    /// Takes the tokens if the bucket holds one; else says how long it takes until it does.
    fn take(&self, user: &str, count: u32, now: Instant) -> Result<(), Duration> {
        let token = Duration::from_secs(60) / self.settings.per_minute.get();
        let all_but_one = token * (self.settings.burst.get() - 1);
        let mut full_at = self.full_at.lock().unwrap_or_else(PoisonError::into_inner);
        if full_at.len() > MOST_BUCKETS {
            full_at.retain(|_, full| *full > now);
        }
        let full = full_at.get(user).map_or(now, |full| now.max(*full));
        let pause = full.saturating_duration_since(now + all_but_one);
        if !pause.is_zero() {
            return Err(pause);
        }
        full_at.insert(user.to_owned(), full + token * count);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limits(per_minute: u32, hold: Duration, waiting: usize) -> Limits {
        let settings = RateLimit {
            per_minute: per_minute.try_into().unwrap(),
            burst: 1.try_into().unwrap(),
            hold,
        };
        Limits::new(settings, waiting, CancellationToken::new())
    }

    const LONG: Duration = Duration::from_secs(600);

    #[tokio::test]
    async fn above_the_limit_a_record_waits_for_its_token() {
        let limits = limits(6000, LONG, 1);
        for _ in 0..5 {
            assert_eq!(limits.admit("ann", 1).await, Ok(()));
        }
    }

    #[tokio::test]
    async fn one_that_would_wait_too_long_is_told_when_to_come_again() {
        let limits = limits(1, Duration::from_secs(1), 1);
        assert_eq!(limits.admit("ann", 1).await, Ok(()));

        let Err(Refused::After(wait)) = limits.admit("ann", 1).await else {
            panic!("let in");
        };
        assert!(wait > Duration::from_secs(50), "{wait:?}");
        assert_eq!(
            limits.admit("bob", 1).await,
            Ok(()),
            "has a bucket of his own"
        );
    }

    #[tokio::test]
    async fn few_wait_at_once_and_a_stop_ends_their_wait() {
        let limits = limits(1, LONG, 1);
        assert_eq!(limits.admit("ann", 1).await, Ok(()));
        let waits = limits.admit("ann", 1);
        let mut waits = std::pin::pin!(waits);
        assert!(futures::poll!(&mut waits).is_pending());

        assert!(matches!(
            limits.admit("ann", 1).await,
            Err(Refused::After(_))
        ));
        limits.stop.cancel();
        assert_eq!(waits.await, Err(Refused::Stopped));
    }

    #[test]
    fn a_batch_takes_a_token_for_each_item_and_waits_for_the_first_only() {
        let (limits, now) = (limits(60, LONG, 1), Instant::now());
        let second = Duration::from_secs(1);

        assert_eq!(limits.take("ann", 100, now), Ok(()));
        assert_eq!(limits.take("ann", 1, now), Err(second * 100));
        assert_eq!(limits.take("ann", 7, now + second * 99), Err(second));
        assert_eq!(limits.take("ann", 7, now + second * 100), Ok(()));
    }

    #[test]
    fn a_burst_comes_back_over_time() {
        let settings = RateLimit {
            burst: 3.try_into().unwrap(),
            ..limits(60, LONG, 1).settings
        };
        let limits = Limits::new(settings, 1, CancellationToken::new());
        let now = Instant::now();
        let taken_at = |seconds| {
            let at = now + Duration::from_secs(seconds);
            (0..9).filter(|_| limits.take("ann", 1, at).is_ok()).count()
        };

        assert_eq!([0, 2, 62].map(taken_at), [3, 2, 3]);
    }
}
