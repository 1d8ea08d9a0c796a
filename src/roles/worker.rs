//! The role `worker`: hosts workflows and activities until it is stopped.
//!
//! Several SDK workers run in one process: one on the main queue, for workflows, `submit` and `finish`; one for
//! `fetch`, so that thousands of long waits never delay a `finish`; and one per provider, whose queue has submits only
//! while that provider has a rate limit. `Worker::run` is not `Send`, so all of them run on the caller's task.

pub(crate) mod accounts;
pub mod activities;
pub(crate) mod callbacks;
pub(crate) mod heartbeat;
pub(crate) mod listed;
pub mod steps;
pub(crate) mod submit;
pub(crate) mod wakes;

use std::error::Error;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, ensure};
use futures::future::try_join_all;
use temporalio_sdk::runtime::PollerBehavior;
use temporalio_sdk::{Runtime, Worker, WorkerOptions};
use tokio_util::sync::CancellationToken;

use crate::engines::config::{self, Config};
use crate::engines::provider::Providers;
use crate::engines::publisher::Publisher;
use crate::engines::storage::temp::TempFolders;
use crate::engines::storage::{Downloader, Store};
use crate::engines::temporal::client::Temporal;
use crate::engines::temporal::queues::{fetch_queue, submit_queue};
use crate::engines::temporal::sizing::{Busy, STICKY, Sizing, build};
use crate::engines::temporal::sweep;
use crate::engines::temporal::sweep::Sweep;
use crate::engines::temporal::{census, memory, meter};
use crate::roles::worker::accounts::Accounts;
use crate::roles::worker::activities::Activities;
use crate::roles::worker::listed::Listed;
use crate::roles::worker::steps::{Drain, Shares, Waits, Work};
use crate::roles::worker::wakes::Wakes;
use crate::workflows;

/// Concurrent polls for each kind of task of a queue.
const POLLERS: usize = 5;
/// Concurrent polls of a provider's submit queue while no rate limit is set here: few or no submits arrive there.
const IDLE_POLLERS: usize = 1;

/// Runs workflows and activities until `stop`, then finishes or hands back what it has accepted.
///
/// # Errors
/// Its folders, clients or workers cannot be created, or a worker fails.
pub async fn run(
    config: &Config,
    temporal: &Temporal,
    publisher: Publisher,
    stop: CancellationToken,
) -> anyhow::Result<()> {
    let settings = &config.worker;
    // Activities must stop somewhat before the process has to exit.
    let grace = config.grace.mul_f64(0.8);
    let work = Arc::new(work(settings, temporal, publisher, grace, stop.clone())?);
    let runtime = meter::runtime()?;
    let mut workers = workers(config, temporal, &runtime, &work)?;
    let stops: Vec<_> = workers.iter().map(Worker::shutdown_handle).collect();
    let stopping = async {
        stop.cancelled().await;
        stops.iter().for_each(|stop| stop());
    };
    let callbacks = callbacks::listen(settings).await?;
    // Runs are listed, and callbacks taken, until the last fetch has ended.
    let over = CancellationToken::new();
    let ended = async {
        let running = workers.iter_mut();
        let running = running.map(|worker| stopping_all(worker.run(), &stop));
        let ended = try_join_all(running).await;
        over.cancel();
        ended
    };
    let sweeping = sweep::run(temporal, Sweep::Runs, settings.sweep_interval, &stop);
    let watching = async {
        tokio::join!(
            memory::watch(&stop),
            census::run(temporal, Sweep::Runs, &stop)
        )
    };
    let listing = work.listed.watch(temporal, &over);
    let serving = stopping_all(callbacks::serve(callbacks, &work, temporal, &over), &stop);
    let (ended, (), (), _, (), served) =
        tokio::join!(ended, stopping, sweeping, watching, listing, serving);
    // The rest of the grace period is for the rest of the process.
    work.store.close(config.grace.mul_f64(0.1)).await;
    ended?;
    served.context("cannot take callbacks")
}

/// Awaits the end of one worker. However it ends, the others and the whole role then stop too.
async fn stopping_all<E: Error + Send + Sync + 'static>(
    running: impl Future<Output = Result<(), E>>,
    stop: &CancellationToken,
) -> anyhow::Result<()> {
    let ended = running.await.context("a worker failed");
    let is_asked = stop.is_cancelled();
    stop.cancel();
    ended?;
    ensure!(is_asked, "a worker ended, but was not asked to stop");
    Ok(())
}

fn work(
    settings: &config::Worker,
    temporal: &Temporal,
    publisher: Publisher,
    grace: Duration,
    stop: CancellationToken,
) -> anyhow::Result<Work> {
    let store = Store::open(settings).context("cannot open the result store")?;
    Ok(Work {
        publisher,
        providers: Providers::new(settings, Some(settings.temp_dir.join("models")))
            .context("cannot create the HTTP client for the providers")?,
        store_apart: store.apart(),
        store,
        temp: TempFolders::open(&settings.temp_dir, settings.temp_max_bytes)
            .context("cannot use TEMP_DIR")?,
        downloader: Downloader::new(settings).context("cannot create the downloader")?,
        settings: settings.clone(),
        waits: Waits::new(settings.submit_wait, settings.activity_slots),
        shares: Shares::of(settings.fetch_slots),
        listed: Listed::default(),
        wakes: Wakes::default(),
        accounts: Accounts::new(temporal.clone(), &settings.spending),
        drain: Drain { stop, grace },
    })
}

/// Creates the SDK workers: one for workflows, `submit` and `finish`, one for `fetch`, and one for the submits to each
/// provider.
fn workers(
    config: &Config,
    temporal: &Temporal,
    runtime: &Runtime,
    work: &Arc<Work>,
) -> anyhow::Result<Vec<Worker>> {
    let settings = &config.worker;
    let sizing = Sizing::new(settings)?;
    let build = build();
    let options = |queue: String, slots, pollers, name| {
        WorkerOptions::new(queue)
            .deployment_options(build.clone())
            .tuner(sizing.tuner(slots))
            .activity_task_poller_behavior(pollers)
            .activity_inbound_interceptor(Busy(name))
            .graceful_shutdown_period(work.drain.grace)
            .register_activities(Activities { work: work.clone() })
            .build()
    };

    let queue = &config.temporal.task_queue;
    let pollers = PollerBehavior::SimpleMaximum(POLLERS);
    let mut main = options(queue.clone(), settings.activity_slots, pollers, "main");
    main.workflow_task_poller_behavior = Some(pollers);
    main.sticky_queue_schedule_to_start_timeout = STICKY;
    workflows::of_requests(&mut main)?;
    let fetch = options(fetch_queue(queue), settings.fetch_slots, pollers, "fetch");
    let mut all = vec![main, fetch];
    for (name, own) in settings.named.iter() {
        let rate = own.rate;
        let queue = submit_queue(queue, name);
        let mut submits = options(
            queue,
            settings.activity_slots,
            submits_polled(rate),
            "submit",
        );
        // Temporal enforces this rate over all workers together.
        submits.max_task_queue_activities_per_second = rate;
        all.push(submits);
    }
    let worker = |options: WorkerOptions| {
        let queue = options.task_queue.clone();
        Worker::new(runtime, temporal.client(), options)
            .with_context(|| format!("cannot create the worker of the task queue {queue}"))
    };
    all.into_iter().map(worker).collect()
}

/// A provider's queue is polled even if no limit is set here: intake may have one, or may have had one.
fn submits_polled(rate: Option<f64>) -> PollerBehavior {
    PollerBehavior::SimpleMaximum(rate.map_or(IDLE_POLLERS, |_| POLLERS))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_worker_that_ends_by_itself_stops_the_role_and_fails_it() {
        let (unasked, asked) = (CancellationToken::new(), CancellationToken::new());
        asked.cancel();
        let end = |stop| stopping_all(async { Ok::<_, std::io::Error>(()) }, stop);

        assert!(end(&unasked).await.is_err());
        assert!(unasked.is_cancelled());
        assert!(end(&asked).await.is_ok());
    }
}
