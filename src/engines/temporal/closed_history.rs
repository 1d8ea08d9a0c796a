//! `remains.v1`: reads what a run that was closed from outside had decided (contract, section 3, rule 9).
//!
//! An event is on a topic only if it is in the input of a scheduled activity, or in the input with which a run
//! continued as new. So the closed history has every event that a reader may have seen, and whatever is derived from
//! it is always the same.

pub(crate) mod batch;
mod received;

use anyhow::{Context as _, anyhow};
use serde::de::DeserializeOwned;
use temporalio_client::Client;
use temporalio_common::protos::temporal::api::history::v1::{
    HistoryEvent, WorkflowExecutionStartedEventAttributes, history_event::Attributes,
};

use self::received::ReceivedEvents;
use super::history::{input, read_all};
use crate::contract::activities::{FETCH, FINISH, SUBMIT};
use crate::contract::run::{
    BudgetUse, ClosedRun, Fetch, Finish, JobLookup, ProviderJobLeft, RunHistory, Start, Submit,
    Submitted,
};
use crate::domain::{Journal, ProviderName, Tried};

/// Reads the history of a closed run.
pub(crate) async fn read(
    client: &Client,
    closed: &ClosedRun,
) -> Result<RunHistory<Start>, anyhow::Error> {
    let (id, run_id) = (closed.workflow.as_str(), closed.run_id.as_str());
    let mut reader = RunReader {
        run_id,
        ..RunReader::default()
    };
    read_all(client, id, run_id, |event| reader.add(event)).await?;
    reader.done()
}

/// Reads the events of a run's history, one by one.
#[derive(Default)]
struct RunReader<'a> {
    run_id: &'a str,
    common: CommonEvents,
    leftover: ProviderJobLeft,
    tried: Vec<Tried>,
    /// What the candidates that have answered have reserved. A run that ends while one is asked settles that one's too.
    budget: BudgetUse,
    /// The last `submit`: the history event that scheduled it, and whom it asks.
    submit: Option<(i64, Asked)>,
}

/// Whom a `submit` asks.
#[derive(Clone, Copy)]
struct Asked {
    provider: ProviderName,
    candidate: u32,
}

impl RunReader<'_> {
    fn add(&mut self, event: HistoryEvent) -> Result<(), anyhow::Error> {
        let at = happened(&event);
        match event.attributes {
            Some(Attributes::WorkflowExecutionStartedEventAttributes(started)) => {
                self.common.started = Some((started, at));
            }
            Some(Attributes::ActivityTaskScheduledEventAttributes(scheduled)) => {
                let name = scheduled.activity_type.unwrap_or_default().name;
                let pending = match name.as_str() {
                    SUBMIT => {
                        let submit: Submit = input(scheduled.input)?;
                        let asked = Asked {
                            provider: submit.provider,
                            candidate: submit.candidate,
                        };
                        self.submit = Some((event.event_id, asked));
                        self.leftover = ProviderJobLeft::Unknown(JobLookup {
                            recent: true,
                            ..submit.job_lookup(self.run_id, at)
                        });
                        submit.pending
                    }
                    FETCH => {
                        let fetch: Fetch = input(scheduled.input)?;
                        self.leftover = ProviderJobLeft::Job(fetch.job);
                        fetch.pending
                    }
                    FINISH => {
                        let finish: Finish = input(scheduled.input)?;
                        self.leftover = finish.leftover;
                        self.budget = finish.budget;
                        finish.pending
                    }
                    other => return Err(unknown(other)),
                };
                self.common.events.received(event.event_id, &pending.events);
            }
            Some(Attributes::ActivityTaskCompletedEventAttributes(completed)) => {
                self.common.events.confirm(completed.scheduled_event_id);
                if let Some((id, asked)) = self.submit
                    && id == completed.scheduled_event_id
                {
                    self.submitted(asked, input(completed.result)?);
                }
            }
            Some(_) | None => {}
        }
        Ok(())
    }

    /// Notes the result of a `submit`, as the run itself does.
    fn submitted(&mut self, asked: Asked, result: Submitted) {
        self.budget = self.budget.after(asked.candidate, &result);
        self.leftover = match result {
            Submitted::Accepted { job, .. } => ProviderJobLeft::Job(job),
            Submitted::Ambiguous { lookup, .. } => ProviderJobLeft::Unknown(lookup),
            Submitted::Declined { model, error, .. } => {
                let tried = Tried::of(asked.provider.as_str(), &model, &error);
                self.tried.push(tried);
                ProviderJobLeft::None
            }
            Submitted::Stored { .. } | Submitted::Adopted(_) | Submitted::Refused { .. } => {
                ProviderJobLeft::None
            }
        };
    }

    fn done(self) -> Result<RunHistory<Start>, anyhow::Error> {
        let history = self.common.done(|start: &Start| &start.journal);
        Ok(RunHistory {
            leftover: self.leftover,
            tried: self.tried,
            budget: self.budget,
            ..history?
        })
    }
}

/// What the histories of runs and batches have in common: how the run started, and the events its activities received.
#[derive(Default)]
struct CommonEvents {
    /// What the run was started with, and when.
    started: Option<(WorkflowExecutionStartedEventAttributes, i64)>,
    events: ReceivedEvents,
}

impl CommonEvents {
    fn done<S: DeserializeOwned>(
        mut self,
        journal: impl Fn(&S) -> &Journal,
    ) -> Result<RunHistory<S>, anyhow::Error> {
        let (started, started_at) = self.started.context("the history has no start event")?;
        let start: S = input(started.input)?;
        self.events.keep(&journal(&start).unconfirmed);
        Ok(RunHistory {
            start,
            first_run_id: started.first_execution_run_id,
            started_at,
            events: self.events.into_events(),
            leftover: ProviderJobLeft::None,
            tried: Vec::new(),
            budget: BudgetUse::default(),
        })
    }
}

fn unknown(activity: &str) -> anyhow::Error {
    anyhow!("the history has the activity {activity}, which this version does not know")
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
    use crate::contract::run::{Job, SentInput};
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

    /// Returns the job left by a run that was closed after `submit` was scheduled, or after it returned `submitted`.
    fn left(submitted: Option<&Submitted>) -> ProviderJobLeft {
        closed(&[submitted]).leftover
    }

    /// Reads the history of a run that was closed after a `submit` to each of these candidates was scheduled, and
    /// returned this.
    fn closed(submits: &[Option<&Submitted>]) -> RunHistory<Start> {
        let mut attributes = vec![Attributes::WorkflowExecutionStartedEventAttributes(
            WorkflowExecutionStartedEventAttributes {
                input: payloads(&start()),
                ..Default::default()
            },
        )];
        for (candidate, submitted) in submits.iter().enumerate() {
            let submit = json!({"handed": {"workflow": "r", "fingerprint": "f1:", "events": []}, "spec": {"video": {}}, "provider": "fal",
                "candidate": candidate, "attempts": 5, "started_at": 1, "deadline": 9});
            attributes.push(Attributes::ActivityTaskScheduledEventAttributes(
                ActivityTaskScheduledEventAttributes {
                    activity_type: Some(ActivityType {
                        name: SUBMIT.to_owned(),
                    }),
                    input: payloads(&submit),
                    ..Default::default()
                },
            ));
            let scheduled_event_id = i64::try_from(attributes.len()).unwrap();
            let completed = submitted.map(|submitted| ActivityTaskCompletedEventAttributes {
                result: payloads(submitted),
                scheduled_event_id,
                ..Default::default()
            });
            attributes.extend(completed.map(Attributes::ActivityTaskCompletedEventAttributes));
        }
        let mut reader = RunReader {
            run_id: "run",
            ..RunReader::default()
        };
        for (attributes, event_id) in attributes.into_iter().zip(1..) {
            let event = HistoryEvent {
                event_id,
                attributes: Some(attributes),
                ..HistoryEvent::default()
            };
            reader.add(event).unwrap();
        }
        reader.done().unwrap()
    }

    #[test]
    fn a_run_that_is_closed_while_a_fallback_is_asked_knows_whom_it_asked_and_what_may_be_paid() {
        let declined = Submitted::Declined {
            model: "m".to_owned(),
            error: EventError::new(ErrorCode::ProviderAuth, "no", false),
            skipped: false,
            reserved: true,
        };

        let history = closed(&[Some(&declined), None]);

        let ProviderJobLeft::Unknown(lookup) = history.leftover else {
            panic!("it may have been sent")
        };
        assert_eq!((lookup.candidate, history.tried.len()), (1, 1));
        let BudgetUse {
            reserved,
            not_accepted,
            declined,
        } = history.budget;
        assert_eq!((reserved, not_accepted, declined), (true, false, 1));
    }

    #[test]
    fn the_result_of_submit_says_what_a_closed_run_leaves() {
        let job = Job {
            provider: ProviderName::FAL,
            kind: crate::domain::Media::Video,
            id: "j".to_owned(),
            status_url: String::new(),
            result_url: String::new(),
            cancel_url: "c".to_owned(),
            called_back: false,
            cost_microusd: None,
        };
        let accepted = Submitted::Accepted {
            job: job.clone(),
            attempts: 1,
            sent_at: None,
            input: SentInput::default(),
            reserved: true,
        };
        let error = EventError::new(ErrorCode::InvalidRequest, "no", false);

        assert_eq!(left(Some(&accepted)), ProviderJobLeft::Job(job));
        assert_eq!(
            left(Some(&Submitted::Refused {
                error,
                reserved: false
            })),
            ProviderJobLeft::None
        );
        let ProviderJobLeft::Unknown(lookup) = left(None) else {
            panic!("it may have been sent")
        };
        assert!(lookup.recent);
        assert_eq!(
            (lookup.provider, &*lookup.run_id),
            (ProviderName::FAL, "run")
        );
    }
}
