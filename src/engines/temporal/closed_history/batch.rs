//! `batch-remains.v1`: reads what a batch that was closed from outside had decided, and how its items ended.
//!
//! The server cancels the items that still run. Their ends are awaited, so that the batch reports their real outcomes.

use std::collections::BTreeSet;

use anyhow::{Context as _, anyhow};
use temporalio_client::Client;
use temporalio_common::protos::temporal::api::common::v1::WorkflowExecution;
use temporalio_common::protos::temporal::api::history::v1::{
    HistoryEvent, history_event::Attributes,
};

use super::{CommonEvents, happened, unknown};
use crate::contract::activities::{FINISH, ITEM_ENDING, PUBLISH};
use crate::contract::run::{BatchStart, ClosedRun, Finish, PendingEvents, RunHistory};
use crate::domain::{ItemOutcome, WorkflowId};
use crate::engines::temporal::described::describe;
use crate::engines::temporal::history::{input, read_all};
use crate::engines::temporal::list::State;
use crate::engines::temporal::outcome;

/// Reads the history of a closed batch; fails while an item still runs.
pub(crate) async fn read(
    client: &Client,
    closed: &ClosedRun,
) -> Result<RunHistory<BatchStart>, anyhow::Error> {
    let mut reader = BatchReader::default();
    let (id, run_id) = (closed.workflow.as_str(), closed.run_id.as_str());
    read_all(client, id, run_id, |event| reader.add(event)).await?;
    let history = reader.common.done(|start: &BatchStart| &start.journal);
    let mut history = history?;
    history.started_at = history.start.started_at.unwrap_or(history.started_at);
    for item in reader.open {
        if let Some(outcome) = item_outcome(client, closed, &item).await? {
            history.start.counts.count(outcome);
        }
    }
    for outcome in reader.outcomes {
        history.start.counts.count(outcome);
    }
    Ok(history)
}

/// Returns how an item ended that was open when its batch was closed; `None` if it never began.
async fn item_outcome(
    client: &Client,
    closed: &ClosedRun,
    item: &str,
) -> Result<Option<ItemOutcome>, anyhow::Error> {
    let workflow = WorkflowId::parse(item).context("invalid id of an item")?;
    let described = describe(client, item, None).await;
    let Some(described) = described.context("cannot describe an item")? else {
        return Ok(None);
    };
    if described.parent_run_id() != Some(closed.run_id.as_str()) {
        return Ok(Some(ItemOutcome::IdTaken));
    }
    if described.close_time().is_none() {
        return Err(anyhow!("item {item} is still running"));
    }
    Ok(Some(match State::from(described.status()) {
        State::Completed => ItemOutcome::Completed,
        State::Cancelled => ItemOutcome::Cancelled,
        State::Terminated | State::TimedOut => {
            outcome::of_item(client, &workflow, described.run_id()).await?
        }
        State::Failed | State::Running | State::Claimed => ItemOutcome::Failed,
    }))
}

/// Reads the events of a batch's history, one by one.
#[derive(Default)]
struct BatchReader {
    common: CommonEvents,
    /// Items that were to start, and whose end is not in the batch's history.
    open: BTreeSet<String>,
    outcomes: Vec<ItemOutcome>,
}

impl BatchReader {
    fn add(&mut self, event: HistoryEvent) -> Result<(), anyhow::Error> {
        let at = happened(&event);
        match event.attributes {
            Some(Attributes::WorkflowExecutionStartedEventAttributes(started)) => {
                self.common.started = Some((started, at));
            }
            Some(Attributes::ActivityTaskScheduledEventAttributes(scheduled)) => {
                let name = scheduled.activity_type.unwrap_or_default().name;
                let pending: PendingEvents = match name.as_str() {
                    PUBLISH => input(scheduled.input)?,
                    FINISH => input::<Finish>(scheduled.input)?.pending,
                    ITEM_ENDING => return Ok(()),
                    other => return Err(unknown(other)),
                };
                self.common.events.received(event.event_id, &pending.events);
            }
            Some(Attributes::ActivityTaskCompletedEventAttributes(completed)) => {
                self.common.events.confirm(completed.scheduled_event_id);
            }
            Some(Attributes::StartChildWorkflowExecutionInitiatedEventAttributes(child)) => {
                self.open.insert(child.workflow_id);
            }
            Some(Attributes::StartChildWorkflowExecutionFailedEventAttributes(child)) => {
                self.ended(&child.workflow_id, ItemOutcome::IdTaken);
            }
            Some(Attributes::ChildWorkflowExecutionCompletedEventAttributes(child)) => {
                self.child_ended(child.workflow_execution, ItemOutcome::Completed);
            }
            Some(Attributes::ChildWorkflowExecutionCanceledEventAttributes(child)) => {
                self.child_ended(child.workflow_execution, ItemOutcome::Cancelled);
            }
            Some(Attributes::ChildWorkflowExecutionFailedEventAttributes(child)) => {
                self.child_ended(child.workflow_execution, ItemOutcome::Failed);
            }
            // An item that was closed from outside stays in `open`: its own history says how it ended.
            Some(_) | None => {}
        }
        Ok(())
    }

    fn child_ended(&mut self, child: Option<WorkflowExecution>, outcome: ItemOutcome) {
        if let Some(child) = child {
            self.ended(&child.workflow_id, outcome);
        }
    }

    fn ended(&mut self, item: &str, outcome: ItemOutcome) {
        self.open.remove(item);
        self.outcomes.push(outcome);
    }
}
