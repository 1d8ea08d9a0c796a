//! Keeps a faulty deployment from dead-lettering a whole backlog; pure.
//!
//! A circuit breaker: it is closed until a number of rejections in a row have one reason that may be this system's
//! fault. Then it is half-open: at intervals it lets one record pass, and a success or another reason closes it.

use std::time::{Duration, Instant};

use super::RejectionFault;
use crate::domain::ErrorCode;

/// Counts consecutive rejections whose reason may lie in this system and not in the records.
#[derive(Debug)]
pub(crate) struct Fuse {
    threshold: u32,
    reason: Option<ErrorCode>,
    count: u32,
    /// When a counted rejection last passed.
    passed: Option<Instant>,
}

/// The interval at which a blown fuse lets one record pass.
pub(super) const TRIAL: Duration = Duration::from_secs(10);

impl Fuse {
    /// Creates a fuse that blows after `threshold` consecutive rejections for one systemic reason; with 0 it never blows.
    pub(crate) fn new(threshold: u32) -> Self {
        Self {
            threshold,
            reason: None,
            count: 0,
            passed: None,
        }
    }

    /// Returns whether a record may be dead-lettered for `reason`.
    ///
    /// A producer's fault always passes. It is not counted, and does not reset the count of the same reason.
    pub(crate) fn lets_pass(
        &mut self,
        reason: ErrorCode,
        fault: RejectionFault,
        now: Instant,
    ) -> bool {
        if self.reason != Some(reason) {
            self.reset();
        }
        if fault == RejectionFault::Producer || !is_systemic(reason) {
            return true;
        }
        self.reason = Some(reason);
        let blown = self.threshold > 0 && self.count >= self.threshold;
        let is_early = |passed| now.saturating_duration_since(passed) < TRIAL;
        if blown && self.passed.is_some_and(is_early) {
            return false;
        }
        self.count = self.count.saturating_add(1);
        self.passed = Some(now);
        true
    }

    /// Notes that a record succeeded.
    pub(crate) fn reset(&mut self) {
        self.reason = None;
        self.count = 0;
    }
}

/// Returns whether the reason may lie in this system: a wrong registry, clock, list of API keys or Temporal server
/// makes every record fail in the same way, while invalid content concerns one record only.
fn is_systemic(reason: ErrorCode) -> bool {
    matches!(
        reason,
        ErrorCode::Undecodable
            | ErrorCode::UnknownSchema
            | ErrorCode::Unauthorized
            | ErrorCode::TooOld
            | ErrorCode::StartRefused
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn passes(fuse: &mut Fuse, reason: ErrorCode) -> bool {
        fuse.lets_pass(reason, RejectionFault::Unclear, Instant::now())
    }

    #[test]
    fn it_blows_after_its_threshold_of_one_systemic_reason_and_a_success_closes_it() {
        let mut fuse = Fuse::new(2);
        assert!(passes(&mut fuse, ErrorCode::UnknownSchema));
        assert!(passes(&mut fuse, ErrorCode::UnknownSchema));
        assert!(!passes(&mut fuse, ErrorCode::UnknownSchema));
        assert!(!passes(&mut fuse, ErrorCode::UnknownSchema));

        fuse.reset();
        assert!(passes(&mut fuse, ErrorCode::UnknownSchema));
    }

    #[test]
    fn blown_it_lets_one_record_pass_at_intervals() {
        let mut fuse = Fuse::new(1);
        let began = Instant::now();
        let mut at = |seconds| {
            let now = began + Duration::from_secs(seconds);
            fuse.lets_pass(ErrorCode::UnknownSchema, RejectionFault::Unclear, now)
        };

        assert_eq!([0, 1, 9, 10, 11, 19, 20].map(&mut at), {
            [true, false, false, true, false, false, true]
        });
    }

    #[test]
    fn another_reason_or_the_records_own_fault_begins_the_count_anew() {
        let mut fuse = Fuse::new(1);
        assert!(passes(&mut fuse, ErrorCode::TooOld));
        assert!(passes(&mut fuse, ErrorCode::Undecodable));
        assert!(passes(&mut fuse, ErrorCode::Invalid));
        assert!(passes(&mut fuse, ErrorCode::Undecodable));
        for _ in 0..10 {
            assert!(passes(&mut fuse, ErrorCode::Invalid), "never systemic");
        }
    }

    #[test]
    fn a_fault_of_the_producer_neither_blows_it_nor_closes_it() {
        let mut fuse = Fuse::new(1);
        let now = Instant::now();
        for _ in 0..10 {
            assert!(fuse.lets_pass(ErrorCode::TooOld, RejectionFault::Producer, now));
        }
        assert!(passes(&mut fuse, ErrorCode::TooOld), "nothing was counted");

        assert!(fuse.lets_pass(ErrorCode::TooOld, RejectionFault::Producer, now));
        assert!(!passes(&mut fuse, ErrorCode::TooOld), "still blown");
    }

    #[test]
    fn a_threshold_of_zero_never_blows() {
        let mut fuse = Fuse::new(0);
        assert!((0..1000).all(|_| passes(&mut fuse, ErrorCode::StartRefused)));
    }
}
