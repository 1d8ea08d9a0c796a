//! Stops a wrong deploy from emptying a backlog into the dead-letter topic; pure.

use crate::domain::ErrorCode;

/// Counts refusals in a row whose reason may lie in the system and not in the records.
#[derive(Debug)]
pub(crate) struct Fuse {
    most: u32,
    reason: Option<ErrorCode>,
    count: u32,
}

impl Fuse {
    /// Blows after `most` refusals in a row for one systemic reason; 0 never does.
    pub(crate) fn new(most: u32) -> Self {
        Self {
            most,
            reason: None,
            count: 0,
        }
    }

    /// Tells whether a record may be parked for `reason`. Once blown, no more until a record fares otherwise.
    pub(crate) fn lets_pass(&mut self, reason: ErrorCode) -> bool {
        if !is_systemic(reason) {
            self.reset();
            return true;
        }
        if self.reason != Some(reason) {
            self.reason = Some(reason);
            self.count = 0;
        }
        if self.most > 0 && self.count >= self.most {
            return false;
        }
        self.count += 1;
        true
    }

    /// Notes that a record was handled well.
    pub(crate) fn reset(&mut self) {
        self.reason = None;
        self.count = 0;
    }
}

/// A wrong registry, clock, key list or server refuses every record alike; what is wrong with the content of one is not.
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

    #[test]
    fn it_blows_after_so_many_of_one_systemic_reason_and_stays_so() {
        let mut fuse = Fuse::new(2);
        assert!(fuse.lets_pass(ErrorCode::UnknownSchema));
        assert!(fuse.lets_pass(ErrorCode::UnknownSchema));
        assert!(!fuse.lets_pass(ErrorCode::UnknownSchema));
        assert!(!fuse.lets_pass(ErrorCode::UnknownSchema));

        fuse.reset();
        assert!(fuse.lets_pass(ErrorCode::UnknownSchema), "a record passed");
    }

    #[test]
    fn another_reason_or_the_records_own_fault_begins_the_count_anew() {
        let mut fuse = Fuse::new(1);
        assert!(fuse.lets_pass(ErrorCode::TooOld));
        assert!(fuse.lets_pass(ErrorCode::Undecodable));
        assert!(fuse.lets_pass(ErrorCode::Invalid));
        assert!(fuse.lets_pass(ErrorCode::Undecodable));
        for _ in 0..10 {
            assert!(fuse.lets_pass(ErrorCode::Invalid), "never systemic");
        }
    }

    #[test]
    fn nought_never_blows() {
        let mut fuse = Fuse::new(0);
        assert!((0..1000).all(|_| fuse.lets_pass(ErrorCode::StartRefused)));
    }
}
