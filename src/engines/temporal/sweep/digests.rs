//! Digests that were closed from outside: another workflow sends the failures that each had gathered.

use temporalio_client::tonic::Code;
use temporalio_common::protos::temporal::api::history::v1::{
    HistoryEvent, history_event::Attributes,
};

use super::{Found, begin, first_end};
use crate::contract::digest::{Digest as Start, DigestSent, Tell};
use crate::contract::digest::{Failed, Gathered, Seen};
use crate::engines::telemetry::events;
use crate::engines::temporal::client::{Error, Temporal};
use crate::engines::temporal::history::{input, read_all};
use crate::workflows::digest::{Digest, SIGNAL};

/// Starts a workflow that sends the failures that a run had gathered. It makes no difference if the id has a
/// newer run: that run does not have these failures.
pub(super) async fn end(temporal: &Temporal, found: &Found) -> Result<(), Error> {
    let (id, run_id) = (found.id.as_str(), found.run_id.as_str());
    let mut left = Left::default();
    let client = temporal.client();
    if let Err(error) = read_all(&client, id, run_id, |event| left.add(event)).await {
        return match error.downcast::<Error>() {
            // Its retention ended since it was listed.
            Ok(Error::Answered { code, .. }) if code == Code::NotFound => Ok(()),
            Ok(error) => Err(error),
            Err(unreadable) => {
                events::notification_lost(id, unreadable.as_ref());
                Ok(())
            }
        };
    }
    let Some(start) = left.into_start() else {
        return Ok(());
    };
    begin(temporal, Digest::run, start, first_end(found), found).await
}

/// The failures that a run has not sent, as of the history events read so far.
#[derive(Default)]
struct Left {
    start: Option<Start>,
    gathered: Gathered,
    seen: Seen,
    /// The failures of its last message, unless the history shows that this message ended.
    telling: Gathered,
}

impl Left {
    fn add(&mut self, event: HistoryEvent) -> Result<(), anyhow::Error> {
        match event.attributes {
            Some(Attributes::WorkflowExecutionStartedEventAttributes(started)) => {
                let mut start: Start = input(started.input)?;
                self.gathered = std::mem::take(&mut start.gathered);
                self.seen = std::mem::take(&mut start.seen);
                self.start = Some(start);
            }
            Some(Attributes::WorkflowExecutionSignaledEventAttributes(signalled))
                if signalled.signal_name == SIGNAL =>
            {
                let failed: Vec<Failed> = input(signalled.input)?;
                self.gathered.add_new(failed, &mut self.seen);
            }
            // The message has all failures gathered before, including those of a message that failed.
            Some(Attributes::ActivityTaskScheduledEventAttributes(scheduled)) => {
                let tell: Tell = input(scheduled.input)?;
                self.telling = tell.gathered;
                self.gathered = Gathered::default();
            }
            Some(Attributes::ActivityTaskCompletedEventAttributes(completed)) => {
                if input::<DigestSent>(completed.result)? == DigestSent::Ended {
                    self.telling = Gathered::default();
                }
            }
            Some(_) | None => {}
        }
        Ok(())
    }

    /// Returns the input of a digest that sends these failures at once; `None` if there are none.
    fn into_start(self) -> Option<Start> {
        let mut gathered = self.gathered;
        gathered.behind(self.telling);
        let start = self.start.filter(|_| !gathered.is_empty())?;
        Some(Start {
            gathered,
            pause_ms: 0,
            tries: 0,
            ..start
        })
    }
}

#[cfg(test)]
mod tests {
    use serde::Serialize;
    use serde_json::json;
    use temporalio_common::protos::temporal::api::common::v1::{Payload, Payloads};
    use temporalio_common::protos::temporal::api::history::v1::{
        ActivityTaskCompletedEventAttributes, ActivityTaskScheduledEventAttributes,
        WorkflowExecutionSignaledEventAttributes, WorkflowExecutionStartedEventAttributes,
    };

    use super::*;

    fn payloads(value: &impl Serialize) -> Option<Payloads> {
        let payload = Payload {
            data: serde_json::to_vec(value).unwrap(),
            ..Payload::default()
        };
        Some(Payloads {
            payloads: vec![payload],
        })
    }

    fn failed(at: usize) -> Failed {
        serde_json::from_value(json!({
            "event_id": format!("event-{at}"), "request_id": format!("order-{at}"),
            "code": "timed_out", "occurred_at": 1,
        }))
        .unwrap()
    }

    fn gathered(all: &[usize]) -> Gathered {
        let mut gathered = Gathered::default();
        all.iter().for_each(|at| gathered.add(failed(*at)));
        gathered
    }

    fn started(before: &[usize]) -> Attributes {
        let input = json!({
            "to": {"channel": "SLACK", "target_hash": "19f1352238b91533"},
            "every_ms": 60_000, "pause_ms": 7, "tries": 3,
            "gathered": gathered(before),
        });
        Attributes::WorkflowExecutionStartedEventAttributes(
            WorkflowExecutionStartedEventAttributes {
                input: payloads(&input),
                ..Default::default()
            },
        )
    }

    fn signalled(signal: &str, all: &[usize]) -> Attributes {
        let failed: Vec<_> = all.iter().copied().map(failed).collect();
        Attributes::WorkflowExecutionSignaledEventAttributes(
            WorkflowExecutionSignaledEventAttributes {
                signal_name: signal.to_owned(),
                input: payloads(&failed),
                ..Default::default()
            },
        )
    }

    fn tells(all: &[usize]) -> Attributes {
        let input = json!({
            "to": {"channel": "SLACK", "target_hash": "19f1352238b91533"},
            "gathered": gathered(all),
        });
        Attributes::ActivityTaskScheduledEventAttributes(ActivityTaskScheduledEventAttributes {
            input: payloads(&input),
            ..Default::default()
        })
    }

    fn came(told: &DigestSent) -> Attributes {
        Attributes::ActivityTaskCompletedEventAttributes(ActivityTaskCompletedEventAttributes {
            result: payloads(told),
            ..Default::default()
        })
    }

    fn left(history: Vec<Attributes>) -> Option<Start> {
        let mut left = Left::default();
        for attributes in history {
            let event = HistoryEvent {
                attributes: Some(attributes),
                ..HistoryEvent::default()
            };
            left.add(event).unwrap();
        }
        left.into_start()
    }

    #[test]
    fn what_was_gathered_and_not_told_is_left_in_its_order() {
        let later = DigestSent::Later {
            pause_ms: None,
            unknown: false,
        };

        let start = left(vec![
            started(&[1]),
            signalled(SIGNAL, &[2]),
            tells(&[1, 2]),
            signalled(SIGNAL, &[3, 2]),
            came(&DigestSent::Ended),
            tells(&[3]),
            signalled("of.somebody.else", &[9]),
            came(&later),
            signalled(SIGNAL, &[4]),
        ])
        .unwrap();

        assert_eq!(start.gathered, gathered(&[3, 4]));
        assert_eq!(
            (start.pause_ms, start.tries, start.every_ms),
            (0, 0, 60_000)
        );
    }

    #[test]
    fn what_is_on_its_way_is_left_and_what_was_told_is_not() {
        let on_its_way = vec![started(&[]), signalled(SIGNAL, &[1]), tells(&[1])];
        assert_eq!(left(on_its_way).unwrap().gathered, gathered(&[1]));

        let told = vec![started(&[1]), tells(&[1]), came(&DigestSent::Ended)];
        assert_eq!(left(told), None);
    }
}
