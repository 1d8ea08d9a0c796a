//! Finds runs that were closed from outside, and has each of them ended (contract, section 3, rule 8).
//!
//! Every worker looks, for deliveries and digests every notifier; of all that find a run, one starts its end. A new worker looks back over the whole retention
//! once, so that what was closed while none ran is found too.

mod deliveries;
mod digests;

use std::collections::HashSet;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use futures::StreamExt as _;
use temporalio_client::errors::WorkflowStartError;
use temporalio_client::{
    WorkflowExecutionStatus, WorkflowIdReusePolicy, WorkflowListOptions, WorkflowStartOptions,
};
use temporalio_common::HasWorkflowDefinition;
use temporalio_common::protos::temporal::api::failure::v1::failure::FailureInfo;
use temporalio_common::protos::temporal::api::history::v1::history_event::Attributes;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use super::client::{Error, Temporal, answered};
use super::history;
use super::steps::Closed;
use super::workflows::end::End;
use super::workflows::ending::FAILED;
use super::workflows::{batch, delivery, digest, generation};
use crate::clock::{rfc3339, since_epoch};
use crate::domain::WorkflowId;
use crate::telemetry::events::RunSwept;

/// Visibility may be late by so much.
const OVERLAP: Duration = Duration::from_secs(600);

/// What is looked for.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Sweep {
    /// Generations and batches.
    Runs,
    /// Deliveries, and digests for operators.
    Deliveries,
}

/// Looks every `pause` until `stop`.
pub(crate) async fn run(
    temporal: &Temporal,
    sweep: Sweep,
    pause: Duration,
    stop: &CancellationToken,
) {
    let mut since = UNIX_EPOCH;
    let mut ended = HashSet::new();
    let mut failures = 0_u32;
    while !stop.is_cancelled() {
        let began = SystemTime::now();
        let looked = tokio::select! {
            looked = look(temporal, sweep, since, &mut ended) => looked,
            () = stop.cancelled() => break,
        };
        match looked {
            Ok(()) => {
                since = began - OVERLAP;
                failures = 0;
            }
            Err(error) => {
                failures += 1;
                if failures.is_power_of_two() {
                    tracing::warn!(
                        error = &error as &dyn std::error::Error,
                        failures,
                        "closed runs were not looked for"
                    );
                }
            }
        }
        tokio::select! {
            () = sleep(pause) => {}
            () = stop.cancelled() => {}
        }
    }
}

/// Has every run ended that was closed from outside since then; `ended` are those that need no second look.
async fn look(
    temporal: &Temporal,
    sweep: Sweep,
    since: SystemTime,
    ended: &mut HashSet<String>,
) -> Result<(), Error> {
    let since = rfc3339(since_epoch(since));
    let types = match sweep {
        Sweep::Runs => format!("'{}', '{}'", generation::NAME, batch::NAME),
        Sweep::Deliveries => format!("'{}', '{}'", delivery::NAME, digest::NAME),
    };
    let query = format!(
        "WorkflowType IN ({types}) AND TaskQueue = '{}' AND CloseTime >= '{since}' \
         AND ExecutionStatus IN ('Terminated', 'TimedOut', 'Failed')",
        temporal.task_queue(),
    );
    let mut found = temporal
        .client()
        .list_workflows(query, WorkflowListOptions::default());
    let (mut seen, mut failed) = (HashSet::new(), None);
    while let Some(run) = found.next().await {
        let run = run.map_err(answered)?;
        seen.insert(run.run_id().to_owned());
        if !ended.contains(run.run_id()) {
            let ending = match (sweep, WorkflowId::parse(run.id())) {
                (Sweep::Deliveries, _) if run.workflow_type() == digest::NAME => {
                    digests::end(temporal, &run).await
                }
                (Sweep::Deliveries, _) => deliveries::end(temporal, run.id(), run.run_id()).await,
                (Sweep::Runs, Some(workflow)) => end(temporal, &workflow, run.run_id()).await,
                // An id that is none of ours was not started by us.
                (Sweep::Runs, None) => Ok(()),
            };
            // One that cannot be ended now does not keep the others from it.
            match ending {
                Ok(()) => {
                    ended.insert(run.run_id().to_owned());
                }
                Err(error) => failed = Some(error),
            }
        }
    }
    // What is not listed any more is behind the time that is looked at.
    ended.retain(|run| seen.contains(run));
    failed.map_or(Ok(()), Err)
}

/// Starts the end of a run, unless it has ended by itself or its id has a newer run.
async fn end(temporal: &Temporal, workflow: &WorkflowId, run_id: &str) -> Result<(), Error> {
    let Some(described) = temporal.describe(workflow).await? else {
        return Ok(());
    };
    if described.run_id() != run_id || is_finished(temporal, workflow, run_id).await? {
        return Ok(());
    }
    let closed = Closed {
        workflow: workflow.clone(),
        run_id: run_id.to_owned(),
        at: described.close_time().map_or(0, since_epoch),
        timed_out: described.status() == WorkflowExecutionStatus::TimedOut,
        batch: described.workflow_type() == batch::NAME,
    };
    let swept = RunSwept {
        workflow: workflow.as_str(),
        timed_out: closed.timed_out,
    };
    begin(temporal, End::run, closed, run_id, swept).await
}

/// Starts what ends a closed run: of all that find the run one does, and none does again, also after a restart.
async fn begin<W>(
    temporal: &Temporal,
    workflow: W,
    input: W::Input,
    run_id: &str,
    swept: RunSwept<'_>,
) -> Result<(), Error>
where
    W: HasWorkflowDefinition,
    W::Input: Send,
{
    let id = format!("end/{}/{run_id}", swept.workflow);
    let options = WorkflowStartOptions::new(temporal.task_queue(), id)
        .id_reuse_policy(WorkflowIdReusePolicy::RejectDuplicate)
        .build();
    let client = temporal.client();
    match client.start_workflow(workflow, input, options).await {
        Ok(_) => swept.emit(),
        Err(WorkflowStartError::AlreadyStarted { .. }) => {}
        Err(error) => return Err(answered(error)),
    }
    Ok(())
}

/// Tells whether a run closed as `finish` lets it: its close event has the failure type of our own end.
async fn is_finished(
    temporal: &Temporal,
    workflow: &WorkflowId,
    run_id: &str,
) -> Result<bool, Error> {
    let closed = history::closed(&temporal.client(), workflow.as_str(), run_id).await?;
    let Some(closed) = closed else {
        // Its retention ended between two looks.
        return Ok(true);
    };
    let Some(Attributes::WorkflowExecutionFailedEventAttributes(failed)) = closed.attributes else {
        return Ok(false);
    };
    let info = failed.failure.and_then(|failure| failure.failure_info);
    Ok(matches!(info, Some(FailureInfo::ApplicationFailureInfo(info)) if info.r#type == FAILED))
}
