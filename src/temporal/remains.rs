//! `remains.v1`: what a run has decided that was closed from outside (contract, section 3, rule 9).
//!
//! An event is on a topic only if it stands in the input of a scheduled activity, or in the input that a run goes on
//! from. So all that anybody may have seen is in the closed history, and nothing that follows from it can differ.

pub(super) mod batch;
mod handed;

use anyhow::{Context as _, anyhow};
use serde::de::DeserializeOwned;
use temporalio_client::tonic::IntoRequest as _;
use temporalio_client::{Client, NamespacedClient as _};
use temporalio_common::protos::temporal::api::common::v1::{Payloads, WorkflowExecution};
use temporalio_common::protos::temporal::api::history::v1::{
    HistoryEvent, history_event::Attributes,
};
use temporalio_common::protos::temporal::api::workflowservice::v1::GetWorkflowExecutionHistoryRequest;

use self::handed::HandedEvents;
use super::activities::{FETCH, FINISH, SUBMIT};
use super::steps::{Closed, Fetch, Finish, Leftover, Remains, Start, Submit};

/// Reads what is left of a closed run.
pub(super) async fn read(client: &Client, closed: &Closed) -> Result<Remains, anyhow::Error> {
    let mut remains = Collected::default();
    let (id, run_id) = (closed.workflow.as_str(), &closed.run_id);
    pages(client, id, run_id, |event| remains.add(event)).await?;
    remains.done()
}

/// Goes through the history of a closed run.
pub(super) async fn pages(
    client: &Client,
    id: &str,
    run_id: &str,
    mut add: impl FnMut(HistoryEvent) -> Result<(), anyhow::Error>,
) -> Result<(), anyhow::Error> {
    let mut page = Vec::new();
    loop {
        let request = GetWorkflowExecutionHistoryRequest {
            namespace: client.namespace(),
            execution: Some(WorkflowExecution {
                workflow_id: id.to_owned(),
                run_id: run_id.to_owned(),
            }),
            next_page_token: page,
            ..GetWorkflowExecutionHistoryRequest::default()
        };
        let answer = client
            .connection()
            .workflow_service()
            .get_workflow_execution_history(request.into_request())
            .await
            .context("the history was not read")?
            .into_inner();
        for event in answer.history.unwrap_or_default().events {
            add(event)?;
        }
        page = answer.next_page_token;
        if page.is_empty() {
            return Ok(());
        }
    }
}

#[derive(Default)]
struct Collected {
    start: Option<(Start, i64)>,
    events: HandedEvents,
    leftover: Option<Leftover>,
}

impl Collected {
    fn add(&mut self, event: HistoryEvent) -> Result<(), anyhow::Error> {
        let at = millis(&event);
        match event.attributes {
            Some(Attributes::WorkflowExecutionStartedEventAttributes(started)) => {
                let start: Start = input(started.input)?;
                self.events.keep(&start.journal.unconfirmed);
                self.start = Some((start, at));
            }
            Some(Attributes::ActivityTaskScheduledEventAttributes(scheduled)) => {
                let name = scheduled.activity_type.unwrap_or_default().name;
                match name.as_str() {
                    SUBMIT => {
                        let submit: Submit = input(scheduled.input)?;
                        self.events.hand(event.event_id, &submit.handed.events);
                        self.leftover = Some(Leftover::Unknown);
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
                    other => return Err(anyhow!("an activity {other} of another version")),
                }
            }
            Some(Attributes::ActivityTaskCompletedEventAttributes(completed)) => {
                self.events.returned(completed.scheduled_event_id);
            }
            Some(_) | None => {}
        }
        Ok(())
    }

    fn done(self) -> Result<Remains, anyhow::Error> {
        let (start, started_at) = self.start.context("a history without a beginning")?;
        Ok(Remains {
            start,
            started_at,
            events: self.events.into_events(),
            leftover: self.leftover.unwrap_or(Leftover::None),
        })
    }
}

/// Reads the input of a run or an activity.
pub(super) fn input<T: DeserializeOwned>(payloads: Option<Payloads>) -> Result<T, anyhow::Error> {
    let payloads = payloads.unwrap_or_default().payloads;
    let payload = payloads.first().context("an input is missing")?;
    serde_json::from_slice(&payload.data).context("an input is not what this version reads")
}

/// When an event happened, in milliseconds since the epoch.
fn millis(event: &HistoryEvent) -> i64 {
    let at = event.event_time.unwrap_or_default();
    at.seconds * 1000 + i64::from(at.nanos) / 1_000_000
}
