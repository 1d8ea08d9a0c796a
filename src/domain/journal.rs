//! The events of one run, as its workflow decides them (contract, section 3, rules 2 and 3).
//!
//! To decide an event is to append it, complete, to `unconfirmed`. It stays there until an activity that
//! received it returns Ok. The outcome is set once; no event is decided after it.
//! Histories contain this type: add fields with a default, never remove or retype one.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{
    BatchSummary, Event, EventError, EventType, Generated, Kind, Notify, Progress, RequestId,
    Tried, UserId, WorkflowId,
};

/// Fields that all events of a run share.
#[derive(Clone, Debug)]
pub struct Identity {
    pub request: RequestId,
    /// 0 for the first run of the request.
    pub retry: u32,
    pub batch: Option<RequestId>,
    pub user: UserId,
    pub kind: Kind,
    /// The Temporal run id of this execution.
    pub run_id: String,
    /// The Temporal run id of the first execution: the same after continue-as-new, and part of each event id.
    pub first_run_id: String,
    pub notify: Option<Notify>,
    pub metadata: BTreeMap<String, String>,
}

impl Identity {
    pub(crate) fn workflow(&self) -> WorkflowId {
        self.request.run(self.retry)
    }
}

/// How a run ends.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    Completed(Generated),
    /// Every item of the batch was tried, and at least one completed.
    BatchCompleted,
    Failed(EventError),
    Cancelled,
}

/// The events of one run: the number decided, those not confirmed yet, and the outcome.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Journal {
    /// Sequence number of the next event.
    pub next: i32,
    /// Decided events that no activity has confirmed yet, in order.
    pub unconfirmed: Vec<Event>,
    /// Set once, then fixed.
    pub outcome: Option<Outcome>,
    /// The models tried without success so far.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tried: Vec<Tried>,
}

const LONGEST_STAGE: usize = 128;
const LONGEST_MESSAGE: usize = 1000;

impl Journal {
    /// Decides STARTED, unless an earlier execution of this run already decided it.
    pub fn open(&mut self, identity: &Identity, at: i64) {
        if self.next == 0 {
            self.append(identity, EventType::Started, at, |_| {});
        }
    }

    /// Decides a PROGRESS, unless the run has ended. Truncates its texts and clamps its percent to 0..=100.
    pub fn progress(&mut self, identity: &Identity, at: i64, progress: &Progress) {
        let cut = |text: &str, longest: usize| text.chars().take(longest).collect::<String>();
        let bounded = Progress {
            percent: progress.percent.clamp(0, 100),
            stage: cut(&progress.stage, LONGEST_STAGE),
            message: progress
                .message
                .as_deref()
                .map(|text| cut(text, LONGEST_MESSAGE)),
        };
        if self.outcome.is_none() {
            self.append(identity, EventType::Progress, at, |event| {
                event.progress = Some(bounded)
            });
        }
    }

    /// Decides the outcome, unless one is already decided; `items` counts how the items of a batch ended.
    pub fn close(
        &mut self,
        identity: &Identity,
        at: i64,
        outcome: Outcome,
        items: Option<BatchSummary>,
    ) {
        if self.outcome.is_some() {
            return;
        }
        let kind = match &outcome {
            Outcome::Completed(_) | Outcome::BatchCompleted => EventType::Completed,
            Outcome::Failed(_) => EventType::Failed,
            Outcome::Cancelled => EventType::Cancelled,
        };
        let tried = self.tried.clone();
        self.append(identity, kind, at, |event| {
            event.tried = tried;
            event.batch = items;
            match &outcome {
                Outcome::Completed(generated) => event.result = Some(generated.clone()),
                Outcome::Failed(error) => {
                    event.error = Some(EventError {
                        problems: error.problems.clone(),
                        ..EventError::new(error.code, &error.message, error.retryable)
                    });
                }
                Outcome::BatchCompleted | Outcome::Cancelled => {}
            }
        });
        self.outcome = Some(outcome);
    }

    /// Drops the events below sequence `upto`: an activity that received them returned Ok.
    pub fn confirm(&mut self, upto: i32) {
        self.unconfirmed.retain(|event| event.sequence >= upto);
    }

    fn append(
        &mut self,
        identity: &Identity,
        event_type: EventType,
        at: i64,
        fill: impl FnOnce(&mut Event),
    ) {
        let workflow = identity.workflow();
        let mut event = Event {
            event_id: Event::id(&workflow, &identity.first_run_id, self.next),
            request_id: identity.request.to_string(),
            retry: i32::try_from(identity.retry).unwrap_or(i32::MAX),
            sequence: self.next,
            batch_id: identity.batch.as_ref().map(ToString::to_string),
            user_id: identity.user.as_str().to_owned(),
            kind: identity.kind,
            event_type,
            occurred_at: at,
            workflow_id: Some(workflow.to_string()),
            run_id: Some(identity.run_id.clone()),
            progress: None,
            result: None,
            batch: None,
            error: None,
            record: None,
            notify: identity.notify.clone(),
            metadata: identity.metadata.clone(),
            tried: Vec::new(),
        };
        fill(&mut event);
        event.cut_to_size();
        self.unconfirmed.push(event);
        self.next += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::ErrorCode;

    fn identity() -> Identity {
        Identity {
            request: "r".to_owned().try_into().unwrap(),
            retry: 0,
            batch: None,
            user: "u".to_owned().try_into().unwrap(),
            kind: Kind::Image,
            run_id: "run".to_owned(),
            first_run_id: "run".to_owned(),
            notify: None,
            metadata: BTreeMap::new(),
        }
    }

    fn failed() -> Outcome {
        Outcome::Failed(EventError::new(ErrorCode::ProviderFailed, "no", false))
    }

    fn types(journal: &Journal) -> Vec<EventType> {
        journal
            .unconfirmed
            .iter()
            .map(|event| event.event_type)
            .collect()
    }

    #[test]
    fn events_are_numbered_from_zero_without_gaps() {
        let mut journal = Journal::default();

        journal.open(&identity(), 1);
        journal.progress(
            &identity(),
            2,
            &Progress {
                percent: 10,
                stage: "s".to_owned(),
                message: None,
            },
        );
        journal.close(&identity(), 3, Outcome::Cancelled, None);

        let numbers: Vec<_> = journal
            .unconfirmed
            .iter()
            .map(|event| event.sequence)
            .collect();
        assert_eq!(numbers, [0, 1, 2]);
        assert_eq!(
            types(&journal),
            [
                EventType::Started,
                EventType::Progress,
                EventType::Cancelled
            ]
        );
    }

    #[test]
    fn the_outcome_is_decided_once_and_last() {
        let mut journal = Journal::default();
        journal.open(&identity(), 1);
        journal.close(&identity(), 2, failed(), None);

        journal.close(&identity(), 3, Outcome::Cancelled, None);
        journal.progress(
            &identity(),
            4,
            &Progress {
                percent: 10,
                stage: "s".to_owned(),
                message: None,
            },
        );

        assert_eq!(types(&journal), [EventType::Started, EventType::Failed]);
        assert_eq!(journal.outcome, Some(failed()));
    }

    #[test]
    fn only_what_an_activity_was_given_is_confirmed() {
        let mut journal = Journal::default();
        journal.open(&identity(), 1);
        let upto = journal.next;
        journal.close(&identity(), 2, Outcome::Cancelled, None);

        journal.confirm(upto);

        assert_eq!(types(&journal), [EventType::Cancelled]);
    }

    #[test]
    fn a_run_that_goes_on_from_another_does_not_start_twice() {
        let mut journal = Journal {
            next: 3,
            ..Journal::default()
        };

        journal.open(&identity(), 1);

        assert!(journal.unconfirmed.is_empty());
    }

    #[test]
    fn long_texts_are_cut() {
        let mut journal = Journal::default();
        let long = "ä".repeat(5000);

        journal.progress(
            &identity(),
            1,
            &Progress {
                percent: 300,
                stage: long.clone(),
                message: Some(long.clone()),
            },
        );
        journal.close(
            &identity(),
            2,
            Outcome::Failed(EventError {
                message: long,
                ..EventError::new(ErrorCode::ProviderFailed, "", true)
            }),
            None,
        );

        let progress = journal.unconfirmed[0].progress.clone().unwrap();
        assert_eq!(
            (progress.percent, progress.stage.chars().count()),
            (100, LONGEST_STAGE)
        );
        assert_eq!(
            journal.unconfirmed[1]
                .error
                .clone()
                .unwrap()
                .message
                .chars()
                .count(),
            1000
        );
    }
}
