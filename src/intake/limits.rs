//! How often one user may start: a token bucket each, in the memory of this process.
//!
//! A record above the limit waits a little, so that a short burst costs nobody a request; few may wait at once, so that
//! one user's flood leaves room for all others. The buckets are the GCRA of `governor`; partitions are shared out by
//! request, so with n intakes a user has up to n buckets.

use std::fmt;
use std::time::Duration;

use governor::clock::{Clock as _, DefaultClock};
use governor::{DefaultKeyedRateLimiter, Quota, RateLimiter};
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

pub(super) struct Limits {
    buckets: DefaultKeyedRateLimiter<String>,
    clock: DefaultClock,
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
    pub(super) fn new(settings: RateLimit, waiting: usize, stop: CancellationToken) -> Self {
        let quota = Quota::per_minute(settings.per_minute).allow_burst(settings.burst);
        Self {
            buckets: RateLimiter::keyed(quota),
            clock: DefaultClock::default(),
            settings,
            waiting: Semaphore::new(waiting),
            stop,
        }
    }

    /// Takes a token of `user`, now or as soon as there is one and the record may wait so long.
    pub(super) async fn admit(&self, user: &str) -> Result<(), Refused> {
        if self.buckets.len() > MOST_BUCKETS {
            self.buckets.retain_recent();
        }
        let Err(pause) = self.take(user) else {
            return Ok(());
        };
        let Ok(_waits) = self.waiting.try_acquire() else {
            return Err(Refused::After(pause));
        };
        let until = Instant::now() + self.settings.hold;
        let mut pause = pause;
        // Others of the same user may take what this one waited for.
        while Instant::now() + pause <= until {
            tokio::select! {
                () = sleep(pause) => {}
                () = self.stop.cancelled() => return Err(Refused::Stopped),
            }
            match self.take(user) {
                Ok(()) => return Ok(()),
                Err(longer) => pause = longer,
            }
        }
        Err(Refused::After(pause))
    }

    fn take(&self, user: &str) -> Result<(), Duration> {
        let taken = self.buckets.check_key(&user.to_owned());
        taken.map_err(|until| until.wait_time_from(self.clock.now()))
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
            assert_eq!(limits.admit("ann").await, Ok(()));
        }
    }

    #[tokio::test]
    async fn one_that_would_wait_too_long_is_told_when_to_come_again() {
        let limits = limits(1, Duration::from_secs(1), 1);
        assert_eq!(limits.admit("ann").await, Ok(()));

        let Err(Refused::After(wait)) = limits.admit("ann").await else {
            panic!("let in");
        };
        assert!(wait > Duration::from_secs(50), "{wait:?}");
        assert_eq!(limits.admit("bob").await, Ok(()), "has a bucket of his own");
    }

    #[tokio::test]
    async fn few_wait_at_once_and_a_stop_ends_their_wait() {
        let limits = limits(1, LONG, 1);
        assert_eq!(limits.admit("ann").await, Ok(()));
        let waits = limits.admit("ann");
        let mut waits = std::pin::pin!(waits);
        assert!(futures::poll!(&mut waits).is_pending());

        assert!(matches!(limits.admit("ann").await, Err(Refused::After(_))));
        limits.stop.cancel();
        assert_eq!(waits.await, Err(Refused::Stopped));
    }
}
