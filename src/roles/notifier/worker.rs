//! Hosts the workflows of deliveries and digests, on a queue of their own: part of the role `notifier`, since only it
//! opens targets.

use std::sync::Arc;

use anyhow::Context as _;
use temporalio_sdk::{Worker, WorkerOptions};
use tokio_util::sync::CancellationToken;

use super::Deliverer;
use super::activities::NotifierActivities;
use crate::engines::config::Config;
use crate::engines::temporal::client::Temporal;
use crate::engines::temporal::sizing::{Busy, STICKY, Sizing, build};
use crate::engines::temporal::sweep;
use crate::engines::temporal::sweep::Sweep;
use crate::engines::temporal::{census, meter};
use crate::workflows;

/// Runs deliveries and digests until `stop`, then finishes or hands back what it has accepted.
///
/// # Errors
/// The worker cannot be created, or fails.
pub async fn run(
    config: &Config,
    temporal: &Temporal,
    deliverer: Arc<Deliverer>,
    stop: &CancellationToken,
) -> anyhow::Result<()> {
    let runtime = meter::runtime()?;
    let queue = config.temporal.for_deliveries().task_queue;
    let mut options = WorkerOptions::new(queue)
        .deployment_options(build())
        .tuner(Sizing::new(&config.worker)?.tuner(config.notifier.concurrency))
        .activity_inbound_interceptor(Busy("notify"))
        .graceful_shutdown_period(config.grace.mul_f64(0.8))
        .sticky_queue_schedule_to_start_timeout(STICKY)
        .register_activities(NotifierActivities { deliverer })
        .build();
    workflows::of_notifications(&mut options)?;
    let mut worker = Worker::new(&runtime, temporal.client(), options)
        .context("cannot create the delivery worker")?;
    let stop_worker = worker.shutdown_handle();
    let stopping = async {
        stop.cancelled().await;
        stop_worker();
    };
    let ended = async {
        let ended = worker.run().await;
        stop.cancel();
        ended
    };
    let pause = config.worker.sweep_interval;
    let sweeping = sweep::run(temporal, Sweep::Deliveries, pause, stop);
    let counting = census::run(temporal, Sweep::Deliveries, stop);
    let (ended, (), (), ()) = tokio::join!(ended, stopping, sweeping, counting);
    ended.context("the delivery worker failed")?;
    Ok(())
}
