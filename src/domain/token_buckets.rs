//! Token buckets by key, in the memory of this process; the algorithm is GCRA.

use std::collections::HashMap;
use std::num::NonZeroU32;
use std::time::{Duration, Instant};

use parking_lot::Mutex;

/// Above this number of buckets, those that are full again are removed.
const MOST_BUCKETS: usize = 10_000;

/// A bucket for each key.
#[derive(Debug)]
pub(crate) struct TokenBuckets {
    /// When each bucket is full again; a bucket without an entry is full.
    full_at: Mutex<HashMap<String, Instant>>,
    /// The time in which one token comes back.
    token: Duration,
    burst: NonZeroU32,
}

impl TokenBuckets {
    /// Creates buckets that hold `burst` tokens and gain `count` tokens per `period`.
    pub(crate) fn new(count: NonZeroU32, period: Duration, burst: NonZeroU32) -> Self {
        Self {
            full_at: Mutex::default(),
            token: period / count.get(),
            burst,
        }
    }

    /// Takes `count` tokens if the bucket holds at least one. `count` may be more than the bucket holds: the key then
    /// waits until the missing tokens have come back.
    ///
    /// # Errors
    /// The time until the bucket holds a token.
    pub(crate) fn take(&self, key: &str, count: u32, now: Instant) -> Result<(), Duration> {
        let all_but_one = self.token * (self.burst.get() - 1);
        let mut full_at = self.full_at.lock();
        if full_at.len() > MOST_BUCKETS {
            full_at.retain(|_, full| *full > now);
        }
        let full = full_at.get(key).map_or(now, |full| now.max(*full));
        let pause = full.saturating_duration_since(now + all_but_one);
        if !pause.is_zero() {
            return Err(pause);
        }
        full_at.insert(key.to_owned(), full + self.token * count);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINUTE: Duration = Duration::from_secs(60);
    const SECOND: Duration = Duration::from_secs(1);

    fn buckets(count: u32, burst: u32) -> TokenBuckets {
        TokenBuckets::new(count.try_into().unwrap(), MINUTE, burst.try_into().unwrap())
    }

    #[test]
    fn many_tokens_may_be_taken_at_once_and_are_waited_for_afterwards() {
        let (buckets, now) = (buckets(60, 1), Instant::now());

        assert_eq!(buckets.take("ann", 100, now), Ok(()));
        assert_eq!(buckets.take("bob", 1, now), Ok(()));
        assert_eq!(buckets.take("ann", 1, now), Err(SECOND * 100));
        assert_eq!(buckets.take("ann", 7, now + SECOND * 99), Err(SECOND));
        assert_eq!(buckets.take("ann", 7, now + SECOND * 100), Ok(()));
    }

    #[test]
    fn a_burst_comes_back_over_time() {
        let (buckets, now) = (buckets(60, 3), Instant::now());
        let taken_at = |seconds| {
            let at = now + SECOND * seconds;
            let taken = (0..9).filter(|_| buckets.take("ann", 1, at).is_ok());
            taken.count()
        };

        assert_eq!([0, 2, 62].map(taken_at), [3, 2, 3]);
    }
}
