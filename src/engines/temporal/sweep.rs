//! Finds runs that were closed from outside, and starts a workflow that ends each of them (contract, section 3,
//! rule 8).
//!
//! Each worker sweeps the runs that were closed recently. Once a day one worker sweeps all closed runs that the
//! server still retains ([`look_back`]): this finds runs that were closed while no worker ran, and those that
//! visibility listed late. The notifiers do the same for deliveries, each of them alone: few of those close
//! without an end.

mod deliveries;
pub(crate) mod look_back;
mod memory;

use std::time::{Duration, SystemTime};

use futures::StreamExt as _;
use temporalio_client::{WorkflowExecution, WorkflowExecutionStatus, WorkflowListOptions};
use temporalio_common::HasWorkflowDefinition;
use temporalio_common::protos::temporal::api::failure::v1::failure::FailureInfo;
use temporalio_common::protos::temporal::api::history::v1::history_event::Attributes;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use self::memory::SweepMemory;
use super::client::{Error, Temporal, answered};
use super::history;
use crate::contract::run::ClosedRun;
use crate::domain::WorkflowId;
use crate::domain::time::{rfc3339, since_epoch};
use crate::engines::telemetry::events;
use crate::workflows::closed_run::End;
use crate::workflows::support::FAILED;
use crate::workflows::{batch, closed_run, delivery, generation};

/// How late visibility may list a closed workflow.
const OVERLAP: Duration = Duration::from_secs(600);

/// What a sweep looks for.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Sweep {
    /// Generations and batches, and the workflows that end them.
    Runs,
    /// Deliveries of notifications.
    Deliveries,
}

impl Sweep {
    fn label(self) -> &'static str {
        match self {
            Self::Runs => "runs",
            Self::Deliveries => "deliveries",
        }
    }

    fn types(self) -> &'static [&'static str] {
        match self {
            Self::Runs => &[generation::NAME, batch::NAME, closed_run::NAME],
            Self::Deliveries => &[delivery::NAME],
        }
    }
}

/// A workflow that the server lists as terminated, timed out or failed; the last may have ended by itself.
#[derive(Clone, Debug)]
struct ClosedWorkflow {
    workflow_type: String,
    id: String,
    run_id: String,
    timed_out: bool,
}

impl ClosedWorkflow {
    fn of(listed: &WorkflowExecution) -> Self {
        Self {
            workflow_type: listed.workflow_type().to_owned(),
            id: listed.id().to_owned(),
            run_id: listed.run_id().to_owned(),
            timed_out: listed.status() == WorkflowExecutionStatus::TimedOut,
        }
    }
}

/// Sweeps every `pause` until `stop`.
pub(crate) async fn run(
    temporal: &Temporal,
    sweep: Sweep,
    pause: Duration,
    stop: &CancellationToken,
) {
    let whole = || events::sweep_whole(sweep.label(), SystemTime::now());
    // Reported at the start too, so that a sweep that never succeeds is noticed as well.
    whole();
    let mut memory = SweepMemory::default();
    let mut failures = 0_u32;
    while !stop.is_cancelled() {
        let swept = tokio::select! {
            swept = sweep_recent(temporal, sweep, &mut memory) => swept,
            () = stop.cancelled() => break,
        };
        match swept {
            Ok(()) => failures = 0,
            Err(error) => {
                failures += 1;
                if failures.is_power_of_two() {
                    tracing::warn!(
                        error = &error as &dyn std::error::Error,
                        failures,
                        "listing closed workflows failed"
                    );
                }
            }
        }
        if failures == 0 && memory.has_settled_all() {
            whole();
        }
        tokio::select! {
            () = sleep(pause) => {}
            () = stop.cancelled() => {}
        }
    }
}

/// Sweeps the workflows that were closed since the last sweep.
async fn sweep_recent(
    temporal: &Temporal,
    sweep: Sweep,
    memory: &mut SweepMemory,
) -> Result<(), Error> {
    let now = SystemTime::now();
    if memory.is_another_day(now) {
        let covered = look_back::begin(temporal, sweep, now).await?;
        memory.begin_day(now, covered - OVERLAP);
    }
    sweep_once(temporal, sweep, memory).await?;
    memory.advance(now - OVERLAP);
    Ok(())
}

/// Settles all workflows that were closed since the memory's time, and those that an earlier sweep could not
/// settle. On an error, the list was not read to its end.
async fn sweep_once(
    temporal: &Temporal,
    sweep: Sweep,
    memory: &mut SweepMemory,
) -> Result<(), Error> {
    settle_again(temporal, memory).await;
    let query = format!(
        "WorkflowType IN ('{}') AND TaskQueue = '{}' AND CloseTime >= '{}' \
         AND ExecutionStatus IN ('Terminated', 'TimedOut', 'Failed')",
        sweep.types().join("', '"),
        temporal.task_queue(),
        rfc3339(since_epoch(memory.since())),
    );
    let mut listed = temporal
        .lister()
        .list_workflows(query, WorkflowListOptions::default());
    while let Some(run) = listed.next().await {
        let found = ClosedWorkflow::of(&run.map_err(answered)?);
        if memory.is_new(&found) {
            // A workflow that cannot be settled now does not block the others.
            let settled = settle(temporal, &found).await;
            memory.note(found, settled);
        }
    }
    Ok(())
}

/// Tries again to settle the workflows that could not be settled.
async fn settle_again(temporal: &Temporal, memory: &mut SweepMemory) {
    for found in memory.unsettled() {
        let settled = settle(temporal, &found).await;
        memory.note(found, settled);
    }
}

/// Ends a closed workflow, unless it needs no end.
async fn settle(temporal: &Temporal, found: &ClosedWorkflow) -> Result<(), Error> {
    match found.workflow_type.as_str() {
        delivery::NAME => deliveries::end(temporal, found).await,
        closed_run::NAME => end_again(temporal, found).await,
        _ => match WorkflowId::parse(&found.id) {
            Some(workflow) => end(temporal, &workflow, found).await,
            // genflow does not start workflows with such an id.
            None => Ok(()),
        },
    }
}

/// Starts the workflow that ends a run, unless the run ended by itself or its id has a newer run.
async fn end(
    temporal: &Temporal,
    workflow: &WorkflowId,
    found: &ClosedWorkflow,
) -> Result<(), Error> {
    let run_id = found.run_id.as_str();
    // Checked first, because most runs that the server lists as failed have ended by themselves.
    if is_finished(temporal, workflow, run_id).await? {
        return Ok(());
    }
    let described = temporal.describe(&found.id).await?;
    let Some(described) = described.filter(|newest| newest.run_id() == run_id) else {
        return Ok(());
    };
    let closed = ClosedRun {
        workflow: workflow.clone(),
        run_id: run_id.to_owned(),
        at: described.close_time().map_or(0, since_epoch),
        timed_out: found.timed_out,
        batch: found.workflow_type == batch::NAME,
    };
    begin(temporal, End::run, closed, first_end(found), found).await
}

/// Starts the end of a run again, after its `end.v1` workflow was itself closed from outside.
async fn end_again(temporal: &Temporal, found: &ClosedWorkflow) -> Result<(), Error> {
    let started = history::started(&temporal.client(), &found.id, &found.run_id).await?;
    let Some(started) = started else {
        // Its retention ended since it was listed.
        return Ok(());
    };
    let closed: ClosedRun =
        history::input(started.input).map_err(|error| Error::Unreadable(error.into()))?;
    begin(temporal, End::run, closed, next_end(&found.id), found).await
}

fn first_end(found: &ClosedWorkflow) -> String {
    format!("end/{}/{}", found.id, found.run_id)
}

/// Returns the id of the end that follows the end with this id: `end/a/run`, `end/a/run~1`, `end/a/run~2` and so on.
fn next_end(id: &str) -> String {
    let (path, run) = id.rsplit_once('/').unwrap_or_default();
    let (run, number) = run.split_once('~').unwrap_or((run, "0"));
    let next = number.parse::<u32>().unwrap_or(0) + 1;
    format!("{path}/{run}~{next}")
}

/// Starts the workflow that ends a closed one. Its id may be used only once, so of all sweeps that find the
/// closed workflow, also after a restart, only one starts it.
async fn begin<W>(
    temporal: &Temporal,
    workflow: W,
    input: W::Input,
    id: String,
    found: &ClosedWorkflow,
) -> Result<(), Error>
where
    W: HasWorkflowDefinition,
    W::Input: Send,
{
    let options = temporal.only_once(id);
    if temporal.start_new(workflow, input, options).await? {
        events::run_swept(&found.id, found.timed_out);
    }
    Ok(())
}

/// Returns whether a run ended by itself, through `finish`: its close event then has the failure type of our own end.
async fn is_finished(
    temporal: &Temporal,
    workflow: &WorkflowId,
    run_id: &str,
) -> Result<bool, Error> {
    let closed = history::closed(&temporal.client(), workflow.as_str(), run_id).await?;
    let Some(closed) = closed else {
        // Its retention ended since it was listed.
        return Ok(true);
    };
    let Some(Attributes::WorkflowExecutionFailedEventAttributes(failed)) = closed.attributes else {
        return Ok(false);
    };
    let info = failed.failure.and_then(|failure| failure.failure_info);
    Ok(matches!(info, Some(FailureInfo::ApplicationFailureInfo(info)) if info.r#type == FAILED))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_end_that_was_closed_is_followed_by_the_next_number() {
        for (id, next) in [
            ("end/a/run", "end/a/run~1"),
            ("end/a/run~1", "end/a/run~2"),
            ("end/a~3/run", "end/a~3/run~1"),
            ("end/a~3/run~9", "end/a~3/run~10"),
        ] {
            assert_eq!(next_end(id), next);
        }
    }
}
