//! Limits concurrency while an engine that the handler needs is down or overloaded; pure.
//!
//! Additive increase, multiplicative decrease (Chiu and Jain, 1989): every failure of an engine halves the limit, down
//! to a single probe; every success adds one. At a low limit the partitions pause too.

use super::Cause;

#[derive(Debug)]
pub(super) struct ConcurrencyLimit {
    maximum: usize,
    limit: usize,
    cause: Option<Cause>,
}

/// Partitions pause when the limit is down to a quarter of its maximum, and resume when it is above half of it.
const PAUSE_BELOW: usize = 4;

impl ConcurrencyLimit {
    /// Creates one whose limit is at its maximum.
    pub(super) fn new(maximum: usize) -> Self {
        Self {
            maximum,
            limit: maximum,
            cause: None,
        }
    }

    /// Notes a failure that lower concurrency may relieve.
    pub(super) fn failed(&mut self, cause: Cause) {
        self.limit = (self.limit / 2).max(1);
        self.cause = Some(cause);
    }

    /// Notes a success.
    pub(super) fn succeeded(&mut self) {
        self.limit = (self.limit + 1).min(self.maximum);
        if self.limit == self.maximum {
            self.cause = None;
        }
    }

    /// Returns the number of records that may run at once.
    pub(super) fn limit(&self) -> usize {
        self.limit
    }

    /// Returns why the partitions should pause; `None` if they should not.
    pub(super) fn pauses(&self, paused: bool) -> Option<Cause> {
        let part = if paused { PAUSE_BELOW / 2 } else { PAUSE_BELOW };
        self.cause.filter(|_| self.limit * part <= self.maximum)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn failures_halve_the_limit_and_successes_restore_it() {
        let mut limit = ConcurrencyLimit::new(16);
        for expected in [8, 4, 2, 1, 1] {
            limit.failed(Cause::TemporalUnavailable);
            assert_eq!(limit.limit(), expected);
        }
        for expected in 2..=16 {
            limit.succeeded();
            assert_eq!(limit.limit(), expected);
        }
        limit.succeeded();
        assert_eq!(limit.limit(), 16);
        assert_eq!(limit.pauses(false), None);
    }

    #[test]
    fn partitions_pause_low_and_resume_higher() {
        let mut limit = ConcurrencyLimit::new(16);
        limit.failed(Cause::TemporalExhausted);
        assert_eq!(limit.pauses(false), None, "8 of 16 is not low");
        limit.failed(Cause::TemporalExhausted);
        assert_eq!(limit.pauses(false), Some(Cause::TemporalExhausted));

        for _ in 0..4 {
            limit.succeeded();
            assert_eq!(limit.pauses(true), Some(Cause::TemporalExhausted));
        }
        limit.succeeded();
        assert_eq!(limit.pauses(true), None, "9 of 16");
    }

    #[test]
    fn a_single_slot_is_never_taken_away() {
        let mut limit = ConcurrencyLimit::new(1);
        limit.failed(Cause::Internal);
        assert_eq!(limit.limit(), 1);
        limit.succeeded();
        assert_eq!(limit.pauses(true), None);
    }
}
