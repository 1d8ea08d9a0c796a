//! Counts how the items of a batch end, and decides when PROGRESS is due and which outcome the batch has. Pure.
//!
//! Histories contain [`ItemCounts`]: add fields with a default, never remove or retype one.

use serde::{Deserialize, Serialize};

use super::{BatchSummary, ErrorCode, EventError, OnFailure, Outcome, Progress};

/// The counts of a batch's items. Survives continue-as-new.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct ItemCounts {
    pub total: u32,
    pub completed: u32,
    pub failed: u32,
    pub cancelled: u32,
    /// Items that could not start because another request has their id.
    pub taken: u32,
    /// Percent of the last PROGRESS.
    #[serde(rename = "told_percent")]
    pub reported_percent: i32,
    /// Time of the last PROGRESS, or of the start, in milliseconds since the epoch.
    #[serde(rename = "told_at")]
    pub reported_at: i64,
    /// Number of PROGRESS events so far.
    #[serde(rename = "tellings")]
    pub reports: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ItemOutcome {
    Completed,
    Failed,
    Cancelled,
    /// It did not start: another request has its id.
    #[serde(rename = "taken")]
    IdTaken,
}

/// Limit on PROGRESS events of a batch (contract, section 3, rule 3).
const MAX_REPORTS: u32 = 100;

impl ItemCounts {
    pub fn count(&mut self, outcome: ItemOutcome) {
        match outcome {
            ItemOutcome::Completed => self.completed += 1,
            ItemOutcome::Failed => self.failed += 1,
            ItemOutcome::Cancelled => self.cancelled += 1,
            ItemOutcome::IdTaken => self.taken += 1,
        }
    }

    /// Returns how many items were tried and have ended.
    pub fn tried(&self) -> u32 {
        self.completed + self.failed + self.cancelled + self.taken
    }

    /// Returns a PROGRESS if one is due: the percentage rose, the last one is `every` milliseconds old, items are left,
    /// and the limit is not reached.
    pub fn progress(&mut self, now: i64, every: u64) -> Option<Progress> {
        let tried = self.tried();
        let percent = self.percent();
        let waited =
            now.saturating_sub(self.reported_at) >= i64::try_from(every).unwrap_or(i64::MAX);
        let over = tried >= self.total;
        if percent <= self.reported_percent || !waited || over || self.reports >= MAX_REPORTS {
            return None;
        }
        self.reported_percent = percent;
        self.reported_at = now;
        self.reports += 1;
        Some(Progress {
            percent,
            stage: "items".to_owned(),
            message: Some(format!("{tried} of {} items are over", self.total)),
        })
    }

    pub fn percent(&self) -> i32 {
        let percent = u64::from(self.tried()) * 100 / u64::from(self.total.max(1));
        i32::try_from(percent).unwrap_or(100)
    }

    /// Returns the counts for the last event, when no item runs: `not_started` is the rest of the total.
    pub fn summary(&self) -> BatchSummary {
        let count = |number: u32| i32::try_from(number).unwrap_or(i32::MAX);
        let begun = self.completed + self.failed + self.cancelled;
        BatchSummary {
            total: count(self.total),
            completed: count(self.completed),
            failed: count(self.failed),
            cancelled: count(self.cancelled),
            not_started: count(self.total.saturating_sub(begun)),
        }
    }

    /// Returns the counts for the status of a batch of which `running` items have started and not ended.
    pub fn summary_while(&self, running: i32) -> BatchSummary {
        let summary = self.summary();
        BatchSummary {
            not_started: summary.not_started - running,
            ..summary
        }
    }

    /// Returns whether a failed item prevents further items from starting.
    pub fn is_stopped(&self, on_failure: OnFailure) -> bool {
        on_failure == OnFailure::Stop && self.failed > 0
    }

    /// Decides the outcome; `asked` is the outcome that a cancel or the deadline asks for.
    ///
    /// `asked` applies only if it cut the batch short. If all items had already ended, the batch keeps its own
    /// outcome, as a run does (contract, section 3, rule 3).
    pub fn outcome(&self, on_failure: OnFailure, asked: Option<Outcome>) -> Outcome {
        let cut_short = self.tried() < self.total || self.cancelled > 0;
        if let Some(asked) = asked.filter(|_| cut_short) {
            return asked;
        }
        let total = self.total;
        let failed =
            |code, message: String| Outcome::Failed(EventError::new(code, &message, false));
        if self.is_stopped(on_failure) {
            let rest = self.summary().not_started;
            let message = format!(
                "{} of {total} items failed; {rest} were not started",
                self.failed
            );
            return failed(ErrorCode::BatchStopped, message);
        }
        if self.completed == 0 {
            return failed(
                ErrorCode::BatchFailed,
                format!("none of {total} items completed"),
            );
        }
        Outcome::BatchCompleted
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counts(total: u32, outcomes: &[(ItemOutcome, u32)]) -> ItemCounts {
        let mut counts = ItemCounts {
            total,
            ..ItemCounts::default()
        };
        for (outcome, times) in outcomes {
            (0..*times).for_each(|_| counts.count(*outcome));
        }
        counts
    }

    fn code(outcome: &Outcome) -> Option<ErrorCode> {
        match outcome {
            Outcome::Failed(error) => Some(error.code),
            Outcome::Completed(_) | Outcome::BatchCompleted | Outcome::Cancelled => None,
        }
    }

    #[test]
    fn the_counts_of_a_summary_add_up_to_the_total() {
        use ItemOutcome::{Cancelled, Completed, Failed, IdTaken};

        let counts = counts(
            20,
            &[(Completed, 4), (Failed, 3), (Cancelled, 2), (IdTaken, 1)],
        );

        let summary = counts.summary();
        assert_eq!(counts.tried(), 10);
        assert_eq!(
            (
                summary.completed,
                summary.failed,
                summary.cancelled,
                summary.not_started
            ),
            (4, 3, 2, 11)
        );
        assert_eq!(summary.total, 20);
        let rest = BatchSummary {
            not_started: 8,
            ..summary
        };
        assert_eq!(counts.summary_while(3), rest);
    }

    #[test]
    fn the_outcome_follows_from_the_counts_and_from_what_was_asked() {
        use ItemOutcome::{Cancelled, Completed, Failed, IdTaken};
        let (go_on, stop) = (OnFailure::Continue, OnFailure::Stop);
        let asked = || Some(Outcome::Cancelled);

        let all = counts(2, &[(Completed, 2)]);
        assert_eq!(all.outcome(go_on, None), Outcome::BatchCompleted);
        assert_eq!(all.outcome(stop, None), Outcome::BatchCompleted);
        assert_eq!(all.outcome(go_on, asked()), Outcome::BatchCompleted);

        let some = counts(3, &[(Completed, 1), (Failed, 1), (IdTaken, 1)]);
        assert_eq!(some.outcome(go_on, None), Outcome::BatchCompleted);
        assert_eq!(
            code(&some.outcome(stop, None)),
            Some(ErrorCode::BatchStopped)
        );

        for none in [
            counts(2, &[(Failed, 2)]),
            counts(2, &[(IdTaken, 2)]),
            counts(2, &[(Cancelled, 2)]),
        ] {
            assert_eq!(
                code(&none.outcome(go_on, None)),
                Some(ErrorCode::BatchFailed)
            );
        }

        let cut = counts(3, &[(Completed, 1), (Cancelled, 1)]);
        assert_eq!(cut.outcome(stop, asked()), Outcome::Cancelled);
        assert_eq!(counts(3, &[]).outcome(go_on, asked()), Outcome::Cancelled);
    }

    #[test]
    fn progress_comes_by_a_percent_and_after_a_pause_and_not_at_the_end() {
        let mut counts = counts(200, &[]);
        assert_eq!(counts.progress(9_000, 5_000), None);
        counts.count(ItemOutcome::Completed);
        assert_eq!(counts.progress(9_000, 5_000), None, "half a percent");
        counts.count(ItemOutcome::Failed);
        assert_eq!(counts.progress(4_999, 5_000), None, "too early");

        let progress = counts.progress(5_000, 5_000).unwrap();

        assert_eq!(progress.percent, 1);
        assert_eq!(counts.progress(20_000, 5_000), None, "already reported");
        (0..198).for_each(|_| counts.count(ItemOutcome::Completed));
        assert_eq!(counts.progress(30_000, 5_000), None, "over");
    }

    #[test]
    fn progress_is_reported_a_hundred_times_at_most() {
        let mut counts = counts(100_000, &[]);
        let mut reports = 0;

        for now in 0..100_000 {
            counts.count(ItemOutcome::Completed);
            reports += u32::from(counts.progress(now, 0).is_some());
        }

        assert!(reports <= MAX_REPORTS, "{reports}");
    }
}
