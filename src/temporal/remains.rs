//! `remains.v1`: what a run has decided that was closed from outside (contract, section 3, rule 9).
//!
//! An event is on a topic only if it stands in the input of a scheduled activity, or in the input that a run goes on
//! from. So all that anybody may have seen is in the closed history, and nothing that follows from it can differ.

pub(super) mod batch;
mod handed;

use anyhow::{Context as _, anyhow};
use serde::de::DeserializeOwned;
use temporalio_client::Client;
use temporalio_common::protos::temporal::api::history::v1::{
    HistoryEvent, WorkflowExecutionStartedEventAttributes, history_event::Attributes,
};

use self::handed::HandedEvents;
use super::activities::{FETCH, FINISH, SUBMIT};
use super::history::{input, pages};
use super::steps::{Closed, Fetch, Finish, Leftover, Remains, Start, Submit};

/// Reads what is left of a closed run.
pub(super) async fn read(client: &Client, closed: &Closed) -> Result<Remains, anyhow::Error> {
    let mut remains = Collected::default();
    let (id, run_id) = (closed.workflow.as_str(), &closed.run_id);
    pages(client, id, run_id, |event| remains.add(event)).await?;
    remains.done()
}

#[derive(Default)]
struct Collected {
    start: Option<Begun<Start>>,
    events: HandedEvents,
    leftover: Option<Leftover>,
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
        let begun = self.start.context("a history without a beginning")?;
        Ok(Remains {
            start: begun.start,
            first_run_id: begun.first_run_id,
            started_at: begun.at,
            events: self.events.into_events(),
            leftover: self.leftover.unwrap_or(Leftover::None),
        })
    }
}

/// What the first event of a history says.
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

/// When an event happened, in milliseconds since the epoch.
fn happened(event: &HistoryEvent) -> i64 {
    let at = event.event_time.unwrap_or_default();
    at.seconds * 1000 + i64::from(at.nanos) / 1_000_000
}
