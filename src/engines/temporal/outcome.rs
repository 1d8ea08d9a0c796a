//! Reads the outcome that a run has decided from its history.
//!
//! A run publishes its outcome before its workflow closes, so a client that reads FAILED and retries at once finds the
//! workflow still open. The outcome is fixed when `finish` is scheduled, and is part of its input (contract, section 3,
//! rules 2 and 7). So it can be read without a worker, and holds however the workflow closes.

use temporalio_client::Client;
use temporalio_common::protos::temporal::api::history::v1::{
    ActivityTaskScheduledEventAttributes, HistoryEvent, history_event::Attributes,
};

use super::client::{Error, Temporal};
use super::history;
use crate::contract::activities::FINISH;
use crate::contract::run::Finish;
use crate::domain::{Event, EventType, ItemOutcome, WorkflowId};

/// Number of events to read from the end of a history. After `finish` is scheduled come its completion, a workflow
/// task and perhaps a cancel. If `finish` is scheduled again, the newest one counts.
const LAST: i32 = 32;

#[derive(Clone, Debug, PartialEq)]
pub(crate) struct DecidedOutcome {
    pub(crate) event: Event,
    /// When the request began, in milliseconds since the epoch: for a batch, the start of the first run of its chain.
    pub(crate) started_at: i64,
    /// When the job was first sent to the provider that accepted it.
    pub(crate) submitted_at: Option<i64>,
}

impl Temporal {
    /// Returns the outcome that a run has decided; `None` if it has none yet, or closed without one.
    pub(crate) async fn decided(
        &self,
        workflow: &WorkflowId,
        run_id: &str,
    ) -> Result<Option<DecidedOutcome>, Error> {
        let client = self.client();
        let events = history::newest(&client, workflow.as_str(), run_id, LAST).await?;
        Ok(outcome(events))
    }
}

/// Returns how a batch item that was closed from outside ended: with the outcome that it had decided, which its
/// `end.v1` publishes (contract, section 3, rule 9), else as failed.
pub(crate) async fn of_item(
    client: &Client,
    workflow: &WorkflowId,
    run_id: &str,
) -> Result<ItemOutcome, Error> {
    let events = history::newest(client, workflow.as_str(), run_id, LAST).await?;
    let decided = outcome(events).map(|decided| decided.event.event_type);
    Ok(match decided {
        Some(EventType::Completed) => ItemOutcome::Completed,
        Some(EventType::Cancelled) => ItemOutcome::Cancelled,
        Some(_) | None => ItemOutcome::Failed,
    })
}

/// Finds the outcome in the newest events of a history, latest first.
fn outcome(events: Vec<HistoryEvent>) -> Option<DecidedOutcome> {
    let finish = events.into_iter().find_map(finishing)?;
    let input: Finish = history::input(finish.input).ok()?;
    let mut events = input.pending.events;
    let event = events.pop()?;
    event.event_type.is_terminal().then_some(DecidedOutcome {
        event,
        started_at: input.started_at,
        submitted_at: input.sent_at,
    })
}

fn finishing(event: HistoryEvent) -> Option<ActivityTaskScheduledEventAttributes> {
    let Some(Attributes::ActivityTaskScheduledEventAttributes(scheduled)) = event.attributes else {
        return None;
    };
    let kind = scheduled.activity_type.as_ref()?;
    (kind.name == FINISH).then_some(scheduled)
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use temporalio_common::protos::temporal::api::common::v1::{ActivityType, Payload, Payloads};

    use super::*;
    use crate::domain::EventType;

    fn scheduled(name: &str, input: &serde_json::Value) -> HistoryEvent {
        let payload = Payload {
            data: input.to_string().into_bytes(),
            ..Payload::default()
        };
        let scheduled = ActivityTaskScheduledEventAttributes {
            activity_type: Some(ActivityType {
                name: name.to_owned(),
            }),
            input: Some(Payloads {
                payloads: vec![payload],
            }),
            ..ActivityTaskScheduledEventAttributes::default()
        };
        HistoryEvent {
            attributes: Some(Attributes::ActivityTaskScheduledEventAttributes(scheduled)),
            ..HistoryEvent::default()
        }
    }

    /// Returns the input of `finish`, with events of these types.
    fn input(types: &[&str]) -> serde_json::Value {
        let events = types.iter().map(|kind| {
            json!({"event_id": "e", "request_id": "a", "retry": 0, "sequence": 0, "user_id": "u",
                "kind": "IMAGE", "type": kind, "occurred_at": 1})
        });
        json!({"handed": {"workflow": "a", "events": events.collect::<Vec<_>>()}, "leftover": "none",
            "spec": crate::domain::Single::Image(Default::default()), "started_at": 1})
    }

    #[test]
    fn the_outcome_is_in_the_input_of_finish() {
        for (types, wanted) in [
            (&["STARTED", "FAILED"][..], Some(EventType::Failed)),
            (&["CANCELLED"], Some(EventType::Cancelled)),
            (&["COMPLETED"], Some(EventType::Completed)),
            (&["STARTED"], None),
            (&[], None),
        ] {
            let events = vec![
                HistoryEvent::default(),
                scheduled("finish.v1", &input(types)),
                scheduled("submit.v1", &json!({})),
            ];

            let last = outcome(events).map(|decided| decided.event.event_type);
            assert_eq!(last, wanted, "{types:?}");
        }
    }

    #[test]
    fn without_finish_or_with_one_that_cannot_be_read_there_is_no_outcome() {
        for events in [
            vec![],
            vec![scheduled("fetch.v1", &input(&["FAILED"]))],
            vec![scheduled("finish.v1", &json!({"handed": 7}))],
        ] {
            assert_eq!(outcome(events), None);
        }
    }
}
