//! `batch-remains.v1`: reads what a batch that was closed from outside had decided, and how its items ended.
//!
//! The server cancels the items that still run. Their ends are awaited, so that the batch reports their real outcomes.

use std::collections::BTreeSet;

use anyhow::{Context as _, anyhow};
use temporalio_client::errors::WorkflowInteractionError;
use temporalio_client::{Client, WorkflowDescribeOptions, WorkflowExecutionStatus};
use temporalio_common::protos::temporal::api::history::v1::{
    HistoryEvent, history_event::Attributes,
};

use super::handed::HandedEvents;
use super::{Begun, happened};
use crate::contract::activities::{FINISH, ITEM_ENDING, PUBLISH};
use crate::contract::run::{BatchRemains, BatchStart, Closed, Finish, Handed};
use crate::domain::{ItemEnding, WorkflowId};
use crate::engines::temporal::history::{input, pages};
use crate::engines::temporal::outcome;
use crate::workflows::generation::Generation;

/// Reads what a closed batch leaves behind; fails while an item still runs.
pub(crate) async fn read(client: &Client, closed: &Closed) -> Result<BatchRemains, anyhow::Error> {
    let mut collected = Collected::default();
    let (id, run_id) = (closed.workflow.as_str(), &closed.run_id);
    pages(client, id, run_id, |event| collected.add(event)).await?;
    let begun = collected.start.context("the history has no start event")?;
    let mut start = begun.start;
    for item in collected.open {
        if let Some(ending) = ending(client, closed, &item).await? {
            start.tally.count(ending);
        }
    }
    for ending in collected.endings {
        start.tally.count(ending);
    }
    Ok(BatchRemains {
        started_at: start.started_at.unwrap_or(begun.at),
        start,
        first_run_id: begun.first_run_id,
        events: collected.events.into_events(),
    })
}

/// Returns how an item ended that was open when its batch was closed; `None` if it never began.
async fn ending(
    client: &Client,
    closed: &Closed,
    item: &str,
) -> Result<Option<ItemEnding>, anyhow::Error> {
    let workflow = WorkflowId::parse(item).context("invalid id of an item")?;
    let handle = client.get_workflow_handle::<Generation>(item.to_owned());
    let described = match handle.describe(WorkflowDescribeOptions::default()).await {
        Ok(described) => described,
        Err(WorkflowInteractionError::NotFound(_)) => return Ok(None),
        Err(error) => return Err(error).context("cannot describe an item"),
    };
    if described.parent_run_id() != Some(closed.run_id.as_str()) {
        return Ok(Some(ItemEnding::Taken));
    }
    if described.close_time().is_none() {
        return Err(anyhow!("item {item} is still running"));
    }
    Ok(Some(match described.status() {
        WorkflowExecutionStatus::Completed => ItemEnding::Completed,
        WorkflowExecutionStatus::Canceled => ItemEnding::Cancelled,
        WorkflowExecutionStatus::Terminated | WorkflowExecutionStatus::TimedOut => {
            outcome::item_ending(client, &workflow, described.run_id()).await?
        }
        WorkflowExecutionStatus::Failed | _ => ItemEnding::Failed,
    }))
}

#[derive(Default)]
struct Collected {
    start: Option<Begun<BatchStart>>,
    events: HandedEvents,
    /// Items that were to start, and whose end is not in the batch's history.
    open: BTreeSet<String>,
    endings: Vec<ItemEnding>,
}

impl Collected {
    fn add(&mut self, event: HistoryEvent) -> Result<(), anyhow::Error> {
        let at = happened(&event);
        match event.attributes {
            Some(Attributes::WorkflowExecutionStartedEventAttributes(started)) => {
                let begun: Begun<BatchStart> = Begun::read(started, at)?;
                self.events.keep(&begun.start.journal.unconfirmed);
                self.start = Some(begun);
            }
            Some(Attributes::ActivityTaskScheduledEventAttributes(scheduled)) => {
                let name = scheduled.activity_type.unwrap_or_default().name;
                let handed: Handed = match name.as_str() {
                    PUBLISH => input(scheduled.input)?,
                    FINISH => input::<Finish>(scheduled.input)?.handed,
                    ITEM_ENDING => return Ok(()),
                    other => {
                        return Err(anyhow!(
                            "the history has the activity {other}, which this version does not know"
                        ));
                    }
                };
                self.events.hand(event.event_id, &handed.events);
            }
            Some(Attributes::ActivityTaskCompletedEventAttributes(completed)) => {
                self.events.returned(completed.scheduled_event_id);
            }
            Some(Attributes::StartChildWorkflowExecutionInitiatedEventAttributes(child)) => {
                self.open.insert(child.workflow_id);
            }
            Some(Attributes::StartChildWorkflowExecutionFailedEventAttributes(child)) => {
                self.over(Some(child.workflow_id), ItemEnding::Taken);
            }
            Some(Attributes::ChildWorkflowExecutionCompletedEventAttributes(child)) => {
                self.over(
                    child.workflow_execution.map(|it| it.workflow_id),
                    ItemEnding::Completed,
                );
            }
            Some(Attributes::ChildWorkflowExecutionCanceledEventAttributes(child)) => {
                self.over(
                    child.workflow_execution.map(|it| it.workflow_id),
                    ItemEnding::Cancelled,
                );
            }
            Some(Attributes::ChildWorkflowExecutionFailedEventAttributes(child)) => {
                self.over(
                    child.workflow_execution.map(|it| it.workflow_id),
                    ItemEnding::Failed,
                );
            }
            // An item that was closed from outside stays in `open`: its own history says how it ended.
            Some(_) | None => {}
        }
        Ok(())
    }

    fn over(&mut self, item: Option<String>, ending: ItemEnding) {
        if let Some(item) = item {
            self.open.remove(&item);
            self.endings.push(ending);
        }
    }
}
