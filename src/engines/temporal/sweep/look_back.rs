//! The look-back: once a day, one worker sweeps all closed runs that the server still retains.
//!
//! A workflow orders it, so that it is done once for any number of workers, and is completed even if a worker
//! dies. A worker that starts later on that day sweeps from the time of the order.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::memory::{SweepMemory, day};
use super::{Sweep, settle_again, sweep_once};
use crate::engines::temporal::client::{Error, Temporal};
use crate::workflows::look_back::LookBack;

/// Number of retries of the runs that it could not settle; after that, the look-back of the next day retries them.
const TRIES: u32 = 10;
/// Pause before each retry.
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
    let options = temporal.only_once(id.clone());
    if temporal.start_new(LookBack::run, (), options).await? {
        return Ok(now);
    }
    let ordered = temporal.describe(&id).await?;
    let began = ordered.and_then(|ordered| ordered.start_time());
    Ok(began.unwrap_or(UNIX_EPOCH))
}

/// Sweeps all closed runs that the server still retains.
pub(crate) async fn run(temporal: &Temporal) -> Result<(), Error> {
    let mut memory = SweepMemory::default();
    sweep_once(temporal, Sweep::Runs, &mut memory).await?;
    for _ in 0..TRIES {
        if memory.has_settled_all() {
            break;
        }
        tokio::time::sleep(PAUSE).await;
        settle_again(temporal, &mut memory).await;
    }
    Ok(())
}
