//! What a sweep remembers from one round to the next. Pure.

use std::collections::{HashMap, HashSet};
use std::time::{SystemTime, UNIX_EPOCH};

use super::ClosedWorkflow;
use crate::engines::temporal::client::Error;

const DAY: u64 = 24 * 3600;

/// The workflows that were settled, those that were not, and the time from which to list.
#[derive(Debug, Default)]
pub(super) struct SweepMemory {
    /// The day of the last look-back, in days since the epoch.
    day: Option<u64>,
    /// `None` is the epoch.
    since: Option<SystemTime>,
    /// Run ids that were listed in this round. `settled` keeps only these, since no others are listed again.
    listed: HashSet<String>,
    settled: HashSet<String>,
    /// Workflows that could not be settled, by run id.
    unsettled: HashMap<String, ClosedWorkflow>,
}

/// Returns the number of the day, in UTC.
pub(super) fn day(now: SystemTime) -> u64 {
    now.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs() / DAY
}

impl SweepMemory {
    /// Returns whether there was no look-back on this day.
    pub(super) fn is_another_day(&self, now: SystemTime) -> bool {
        self.day != Some(day(now))
    }

    /// Records that this day's look-back covers all workflows closed before `covered`.
    pub(super) fn begin_day(&mut self, now: SystemTime, covered: SystemTime) {
        self.since = Some(self.since.map_or(covered, |since| since.min(covered)));
        self.day = Some(day(now));
    }

    /// Returns the close time from which to list.
    pub(super) fn since(&self) -> SystemTime {
        self.since.unwrap_or(UNIX_EPOCH)
    }

    /// Returns the workflows that earlier rounds could not settle.
    pub(super) fn unsettled(&self) -> Vec<ClosedWorkflow> {
        self.unsettled.values().cloned().collect()
    }

    /// Records that a workflow is listed; returns whether no round has handled it yet.
    pub(super) fn is_new(&mut self, found: &ClosedWorkflow) -> bool {
        self.listed.insert(found.run_id.clone());
        !self.settled.contains(&found.run_id) && !self.unsettled.contains_key(&found.run_id)
    }

    /// Records whether a workflow was settled.
    pub(super) fn note(&mut self, found: ClosedWorkflow, settled: Result<(), Error>) {
        match settled {
            Ok(()) => {
                self.unsettled.remove(&found.run_id);
                self.settled.insert(found.run_id);
            }
            Err(error) => {
                if !self.unsettled.contains_key(&found.run_id) {
                    tracing::warn!(
                        workflow = found.id,
                        error = &error as &dyn std::error::Error,
                        "ending a workflow that was closed from outside failed"
                    );
                }
                self.unsettled.insert(found.run_id.clone(), found);
            }
        }
    }

    /// Records that a list was read to its end: the next one begins at `since`.
    pub(super) fn advance(&mut self, since: SystemTime) {
        self.since = Some(since);
        // A workflow that is no longer listed was closed before the time from which the list begins.
        let listed = std::mem::take(&mut self.listed);
        self.settled.retain(|run_id| listed.contains(run_id));
    }

    /// Returns whether every workflow that was found is settled.
    pub(super) fn has_settled_all(&self) -> bool {
        self.unsettled.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn at(seconds: u64) -> SystemTime {
        UNIX_EPOCH + Duration::from_secs(seconds)
    }

    fn found(run_id: &str) -> ClosedWorkflow {
        ClosedWorkflow {
            workflow_type: "generation.v1".to_owned(),
            id: "a".to_owned(),
            run_id: run_id.to_owned(),
            timed_out: false,
        }
    }

    fn away() -> Result<(), Error> {
        Err(Error::Unreadable("no".into()))
    }

    #[test]
    fn a_workflow_that_cannot_be_settled_is_retried_and_does_not_stop_the_list() {
        let mut memory = SweepMemory::default();
        for (run_id, settled) in [("good", Ok(())), ("bad", away())] {
            assert!(memory.is_new(&found(run_id)));
            memory.note(found(run_id), settled);
        }
        memory.advance(at(50));

        assert_eq!(memory.since(), at(50));
        assert!(!memory.has_settled_all());
        let again = memory.unsettled();
        assert_eq!(again.len(), 1);
        assert_eq!(again[0].run_id, "bad");
        // Both are listed again, and neither is handled twice.
        assert!(!memory.is_new(&found("good")) && !memory.is_new(&found("bad")));

        memory.note(found("bad"), Ok(()));
        memory.advance(at(60));

        assert!(memory.has_settled_all() && memory.unsettled().is_empty());
        assert!(!memory.is_new(&found("bad")));
    }

    #[test]
    fn a_workflow_that_is_no_longer_listed_is_forgotten() {
        let mut memory = SweepMemory::default();
        memory.is_new(&found("a"));
        memory.note(found("a"), Ok(()));
        memory.advance(at(50));
        memory.advance(at(60));

        assert!(memory.settled.is_empty());
    }

    #[test]
    fn a_list_that_was_not_read_to_its_end_does_not_move_the_time() {
        let mut memory = SweepMemory::default();
        memory.begin_day(at(DAY), at(DAY - 600));
        memory.is_new(&found("a"));
        memory.note(found("a"), Ok(()));

        assert_eq!(memory.since(), at(DAY - 600));
        assert!(!memory.is_new(&found("a")));
    }

    #[test]
    fn a_new_worker_lists_from_the_last_look_back_on_and_looks_back_each_day() {
        let mut memory = SweepMemory::default();
        assert!(memory.is_another_day(at(DAY)));

        memory.begin_day(at(DAY + 9), at(DAY + 3));
        assert_eq!(memory.since(), at(DAY + 3));
        assert!(!memory.is_another_day(at(2 * DAY - 1)));
        memory.advance(at(2 * DAY - 1));
        assert!(memory.is_another_day(at(2 * DAY)));

        memory.begin_day(at(2 * DAY), at(2 * DAY + 1));
        assert_eq!(memory.since(), at(2 * DAY - 1), "nothing is left out");
        memory.begin_day(at(3 * DAY), UNIX_EPOCH);
        assert_eq!(memory.since(), UNIX_EPOCH);
    }
}
