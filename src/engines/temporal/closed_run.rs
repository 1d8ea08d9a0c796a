//! `remains.v1`: reads what a run that was closed from outside had decided (contract, section 3, rule 9).
//!
//! An event is on a topic only if it is in the input of a scheduled activity, or in the input with which a run
//! continued as new. So the closed history has every event that a reader may have seen, and whatever is derived from
//! it is always the same.

pub(crate) mod batch;
mod handed;
pub(crate) mod wanted;

use anyhow::{Context as _, anyhow};
use serde::de::DeserializeOwned;
use temporalio_client::Client;
use temporalio_common::protos::temporal::api::history::v1::{
    HistoryEvent, WorkflowExecutionStartedEventAttributes, history_event::Attributes,
};

use self::handed::HandedEvents;
use super::history::{input, pages};
use crate::contract::activities::{FETCH, FINISH, SUBMIT};
use crate::contract::run::{
    Closed, Fetch, Finish, Leftover, Remains, Sought, Start, Submit, Submitted,
};

/// Reads what a closed run leaves behind.
pub(crate) async fn read(client: &Client, closed: &Closed) -> Result<Remains, anyhow::Error> {
    let mut remains = Collected {
        run_id: closed.run_id.clone(),
        ..Collected::default()
    };
    let (id, run_id) = (closed.workflow.as_str(), &closed.run_id);
    pages(client, id, run_id, |event| remains.add(event)).await?;
    remains.done()
}

#[derive(Default)]
struct Collected {
    run_id: String,
    start: Option<Begun<Start>>,
    events: HandedEvents,
    leftover: Option<Leftover>,
    /// The history event that scheduled `submit`.
    submit: Option<i64>,
}

impl Collected {
    fn add(&mut self, event: HistoryEvent) -> Result<(), anyhow::Error> {
        let at = happened(&event);
        match event.attributes {
            Some(Attributes::WorkflowExecutionStartedEventAttributes(started)) => {
                let begun: Begun<Start> = Begun::read(started, at)?;
                self.events.keep(&begun.start.journal.unconfirmed);
                self.start = Some(begun);
            }
            Some(Attributes::ActivityTaskScheduledEventAttributes(scheduled)) => {
                let name = scheduled.activity_type.unwrap_or_default().name;
                match name.as_str() {
                    SUBMIT => {
                        let submit: Submit = input(scheduled.input)?;
                        self.events.hand(event.event_id, &submit.handed.events);
                        self.submit = Some(event.event_id);
                        self.leftover = Some(Leftover::Unknown(Sought {
                            provider: submit.provider,
                            kind: submit.spec.media(),
                            run_id: self.run_id.clone(),
                            since: at,
                            recent: true,
                        }));
                    }
                    FETCH => {
                        let fetch: Fetch = input(scheduled.input)?;
                        self.events.hand(event.event_id, &fetch.handed.events);
                        self.leftover = Some(Leftover::Job(fetch.job));
                    }
                    FINISH => {
                        let finish: Finish = input(scheduled.input)?;
                        self.events.hand(event.event_id, &finish.handed.events);
                        self.leftover = Some(finish.leftover);
                    }
                    other => {
                        return Err(anyhow!(
                            "the history has the activity {other}, which this version does not know"
                        ));
                    }
                }
            }
            Some(Attributes::ActivityTaskCompletedEventAttributes(completed)) => {
                self.events.returned(completed.scheduled_event_id);
                if Some(completed.scheduled_event_id) == self.submit {
                    self.leftover = Some(match input(completed.result)? {
                        Submitted::Accepted { job, .. } => Leftover::Job(job),
                        Submitted::Ambiguous { sought, .. } => Leftover::Unknown(sought),
                        Submitted::Stored { .. }
                        | Submitted::Adopted(_)
                        | Submitted::Refused(_) => Leftover::None,
                    });
                }
            }
            Some(_) | None => {}
        }
        Ok(())
    }

    fn done(self) -> Result<Remains, anyhow::Error> {
        let begun = self.start.context("the history has no start event")?;
        Ok(Remains {
            start: begun.start,
            first_run_id: begun.first_run_id,
            started_at: begun.at,
            events: self.events.into_events(),
            leftover: self.leftover.unwrap_or(Leftover::None),
        })
    }
}

/// The content of a history's first event.
struct Begun<S> {
    start: S,
    first_run_id: String,
    at: i64,
}

impl<S: DeserializeOwned> Begun<S> {
    fn read(
        started: WorkflowExecutionStartedEventAttributes,
        at: i64,
    ) -> Result<Self, anyhow::Error> {
        Ok(Self {
            start: input(started.input)?,
            first_run_id: started.first_execution_run_id,
            at,
        })
    }
}

/// Returns when an event happened, in milliseconds since the epoch.
fn happened(event: &HistoryEvent) -> i64 {
    let at = event.event_time.unwrap_or_default();
    at.seconds * 1000 + i64::from(at.nanos) / 1_000_000
}

#[cfg(test)]
mod tests {
    use serde::Serialize;
    use serde_json::{Value, json};
    use temporalio_common::protos::temporal::api::common::v1::{ActivityType, Payload, Payloads};
    use temporalio_common::protos::temporal::api::history::v1::{
        ActivityTaskCompletedEventAttributes, ActivityTaskScheduledEventAttributes,
        WorkflowExecutionStartedEventAttributes,
    };

    use super::*;
    use crate::contract::run::Job;
    use crate::domain::{ErrorCode, EventError, ProviderName};
    use crate::engines::config::Config;

    fn payloads(value: &impl Serialize) -> Option<Payloads> {
        let payload = Payload {
            data: serde_json::to_vec(value).unwrap(),
            ..Payload::default()
        };
        let payloads = vec![payload];
        Some(Payloads { payloads })
    }

    fn start() -> Value {
        let steps = Config::of(&[]).unwrap().intake.steps;
        json!({"request": "r", "user": "u", "spec": {"video": {}}, "provider": "fal", "fingerprint": "f1:", "timeout_ms": 1,
            "steps": steps, "fetch_queue": "f"})
    }

    /// Returns what a run leaves behind that was closed after `submit` was scheduled and had this result.
    fn left(submitted: Option<&Submitted>) -> Leftover {
        let submit = json!({"handed": {"workflow": "r", "fingerprint": "f1:", "events": []}, "spec": {"video": {}}, "provider": "fal",
            "attempts": 5, "started_at": 1});
        let mut attributes = vec![
            Attributes::WorkflowExecutionStartedEventAttributes(
                WorkflowExecutionStartedEventAttributes {
                    input: payloads(&start()),
                    ..Default::default()
                },
            ),
            Attributes::ActivityTaskScheduledEventAttributes(
                ActivityTaskScheduledEventAttributes {
                    activity_type: Some(ActivityType {
                        name: SUBMIT.to_owned(),
                    }),
                    input: payloads(&submit),
                    ..Default::default()
                },
            ),
        ];
        if let Some(submitted) = submitted {
            attributes.push(Attributes::ActivityTaskCompletedEventAttributes(
                ActivityTaskCompletedEventAttributes {
                    result: payloads(submitted),
                    scheduled_event_id: 2,
                    ..Default::default()
                },
            ));
        }
        let mut collected = Collected {
            run_id: "run".to_owned(),
            ..Collected::default()
        };
        for (attributes, event_id) in attributes.into_iter().zip(1..) {
            let event = HistoryEvent {
                event_id,
                attributes: Some(attributes),
                ..HistoryEvent::default()
            };
            collected.add(event).unwrap();
        }
        collected.done().unwrap().leftover
    }

    #[test]
    fn the_result_of_submit_says_what_a_closed_run_leaves() {
        let job = Job {
            provider: ProviderName::Fal,
            kind: crate::domain::Media::Video,
            id: "j".to_owned(),
            status_url: String::new(),
            result_url: String::new(),
            cancel_url: "c".to_owned(),
        };
        let accepted = Submitted::Accepted {
            job: job.clone(),
            attempts: 1,
            sent_at: None,
        };
        let error = EventError::new(ErrorCode::InvalidRequest, "no", false);

        assert_eq!(left(Some(&accepted)), Leftover::Job(job));
        assert_eq!(left(Some(&Submitted::Refused(error))), Leftover::None);
        let Leftover::Unknown(sought) = left(None) else {
            panic!("it may have been sent")
        };
        assert!(sought.recent);
        assert_eq!(
            (sought.provider, &*sought.run_id),
            (ProviderName::Fal, "run")
        );
    }
}
