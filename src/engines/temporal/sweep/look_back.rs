//! The look-back: once a day, one worker sweeps all closed runs that the server still retains.
//!
//! A workflow orders it, so that it is done once for any number of workers, and is completed even if a worker
//! dies. A worker that starts later on that day sweeps from the time of the order.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use temporalio_client::errors::{WorkflowInteractionError, WorkflowStartError};
use temporalio_client::{WorkflowDescribeOptions, WorkflowIdReusePolicy, WorkflowStartOptions};

use super::memory::{Swept, day};
use super::{Sweep, look};
use crate::engines::temporal::client::{Error, Temporal, answered};
use crate::workflows::look_back::LookBack;

/// How many times, and after which pause, it retries the runs that it could not settle; after that, the
/// look-back of the next day does.
const TRIES: u32 = 10;
const PAUSE: Duration = Duration::from_secs(60);

/// Orders the look-back of this day, unless it was ordered before; returns the time before which it covers all
/// closed runs.
pub(crate) async fn begin(
    temporal: &Temporal,
    sweep: Sweep,
    now: SystemTime,
) -> Result<SystemTime, Error> {
    match sweep {
        Sweep::Runs => order(temporal, now).await,
        // Each notifier looks back by itself: deliveries do not fail by themselves, so few are listed.
        Sweep::Deliveries => Ok(UNIX_EPOCH),
    }
}

async fn order(temporal: &Temporal, now: SystemTime) -> Result<SystemTime, Error> {
    let queue = temporal.task_queue();
    let id = format!("look-back/{queue}/{}", day(now));
    let options = WorkflowStartOptions::new(queue, id.clone())
        .id_reuse_policy(WorkflowIdReusePolicy::RejectDuplicate)
        .build();
    let client = temporal.client();
    match client.start_workflow(LookBack::run, (), options).await {
        Ok(_) => return Ok(now),
        Err(WorkflowStartError::AlreadyStarted { .. }) => {}
        Err(error) => return Err(answered(error)),
    }
    let handle = client.get_workflow_handle::<LookBack>(id);
    match handle.describe(WorkflowDescribeOptions::default()).await {
        Ok(ordered) => Ok(ordered.start_time().unwrap_or(UNIX_EPOCH)),
        Err(WorkflowInteractionError::NotFound(_)) => Ok(UNIX_EPOCH),
        Err(error) => Err(answered(error)),
    }
}

/// Sweeps all closed runs that the server still retains.
pub(crate) async fn run(temporal: &Temporal) -> Result<(), Error> {
    let mut memory = Swept::default();
    look(temporal, Sweep::Runs, &mut memory).await?;
    for _ in 0..TRIES {
        if memory.has_settled_all() {
            break;
        }
        tokio::time::sleep(PAUSE).await;
        for found in memory.unsettled() {
            let settled = super::settle(temporal, &found).await;
            memory.note(found, settled);
        }
    }
    Ok(())
}
