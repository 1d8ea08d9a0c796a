//! Limits how many generations each user may start.
//!
//! A record above the limit waits briefly, so that a short burst fails no request. Few records may wait at
//! once, so that one user's flood leaves room for the others. A batch takes a token for each item but waits for
//! the first one only, since it may have more items than a bucket holds. Each intake has its own buckets, and a
//! user's requests are spread over the partitions, so with n intakes a user may start up to n times as many.

use std::fmt;
use std::time::{Duration, Instant};

use tokio::sync::Semaphore;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use crate::domain::token_buckets::TokenBuckets;
use crate::engines::config::RateLimit;

/// Why a record was not admitted.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum NotAdmitted {
    /// The wait would be too long, or too many records already wait. Holds the time until a token is free.
    #[error("the user is above its rate limit")]
    After(Duration),
    /// The role stopped during the wait.
    #[error("intake stopped while the record waited for its user's rate limit")]
    Stopped,
}

/// The token buckets of all users. Requests and RETRY commands share them.
#[derive(Debug)]
pub struct RateLimits {
    buckets: TokenBuckets,
    settings: RateLimit,
    waiting: Semaphore,
    stop: CancellationToken,
}

impl fmt::Display for RateLimits {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let RateLimit { per_minute, burst } = self.settings;
        // The interval, not the wait at hand: a redelivered record must be answered with the same text.
        let next = 60_u32.div_ceil(per_minute.get());
        write!(
            f,
            "a user may start {per_minute} generations per minute, {burst} at once; retry_after: {next} s"
        )
    }
}

const MINUTE: Duration = Duration::from_secs(60);
/// The longest wait of a record above the limit. One that would wait longer is refused.
const HOLD: Duration = Duration::from_secs(10);

impl RateLimits {
    /// Creates limits with full buckets, for a consumer with this many slots. The number of records that may wait is a
    /// quarter of them, although a waiting record releases its slot.
    pub fn new(settings: RateLimit, slots: usize, stop: CancellationToken) -> Self {
        let waiting = (slots / 4).max(1);
        Self {
            buckets: TokenBuckets::new(settings.per_minute, MINUTE, settings.burst),
            settings,
            waiting: Semaphore::new(waiting),
            stop,
        }
    }

    /// Takes `count` tokens of `user`; waits up to [`HOLD`] until there is one.
    pub(super) async fn admit(&self, user: &str, count: u32) -> Result<(), NotAdmitted> {
        let Err(mut pause) = self.buckets.take(user, count, Instant::now()) else {
            return Ok(());
        };
        let Ok(_waits) = self.waiting.try_acquire() else {
            return Err(NotAdmitted::After(pause));
        };
        let until = Instant::now() + HOLD;
        // Other records of the user may have taken the tokens meanwhile.
        while Instant::now() + pause <= until {
            tokio::select! {
                () = sleep(pause) => {}
                () = self.stop.cancelled() => return Err(NotAdmitted::Stopped),
            }
            match self.buckets.take(user, count, Instant::now()) {
                Ok(()) => return Ok(()),
                Err(next_pause) => pause = next_pause,
            }
        }
        Err(NotAdmitted::After(pause))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limits(per_minute: u32) -> RateLimits {
        let settings = RateLimit {
            per_minute: per_minute.try_into().unwrap(),
            burst: 1.try_into().unwrap(),
        };
        RateLimits::new(settings, 1, CancellationToken::new())
    }

    #[tokio::test]
    async fn above_the_limit_a_record_waits_for_its_token() {
        let limits = limits(6000);
        for _ in 0..5 {
            assert_eq!(limits.admit("ann", 1).await, Ok(()));
        }
    }

    #[tokio::test]
    async fn a_record_that_would_wait_too_long_is_refused_with_the_time_until_a_token_is_free() {
        let limits = limits(1);
        assert_eq!(limits.admit("ann", 1).await, Ok(()));

        let Err(NotAdmitted::After(wait)) = limits.admit("ann", 1).await else {
            panic!("admitted above the limit");
        };
        assert!(wait > Duration::from_secs(50), "{wait:?}");
        assert_eq!(
            limits.admit("bob", 1).await,
            Ok(()),
            "bob has a bucket of his own"
        );
    }

    #[tokio::test]
    async fn few_wait_at_once_and_a_stop_ends_their_wait() {
        // The next token comes within HOLD.
        let limits = limits(7);
        assert_eq!(limits.admit("ann", 1).await, Ok(()));
        let waits = limits.admit("ann", 1);
        let mut waits = std::pin::pin!(waits);
        assert!(futures::poll!(&mut waits).is_pending());

        assert!(matches!(
            limits.admit("ann", 1).await,
            Err(NotAdmitted::After(_))
        ));
        limits.stop.cancel();
        assert_eq!(waits.await, Err(NotAdmitted::Stopped));
    }
}
