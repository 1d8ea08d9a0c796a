//! The role `worker`: hosts workflows and activities until it is stopped.
//!
//! Several SDK workers run in one process: one on the main queue, for workflows, `submit` and `finish`; one for
//! `fetch`, so that thousands of long waits never delay an ending; and one per provider, whose queue has submits only
//! while that provider has a rate limit. `Worker::run` is not `Send`, so all of them run on the caller's task.

pub mod activities;
pub mod steps;
pub(crate) mod submit;

use std::sync::Arc;

use anyhow::Context as _;
use temporalio_sdk::runtime::{PollerBehavior, RuntimeOptions};
use temporalio_sdk::{Runtime, Worker, WorkerOptions};
use tokio_util::sync::CancellationToken;

use crate::domain::ProviderName;
use crate::engines::config::Config;
use crate::engines::provider::Providers;
use crate::engines::publisher::Publisher;
use crate::engines::storage::temp::TempFolders;
use crate::engines::storage::{Downloader, Store};
use crate::engines::temporal::client::Temporal;
use crate::engines::temporal::memory;
use crate::engines::temporal::queues::{fetch_queue, submit_queue};
use crate::engines::temporal::sizing::{Busy, STICKY, Sizing, build, polled};
use crate::engines::temporal::sweep;
use crate::engines::temporal::sweep::Sweep;
use crate::roles::worker::activities::Activities;
use crate::roles::worker::steps::{Drain, Shares, Work};
use crate::workflows;

/// Concurrent polls for submits to a provider.
const POLLERS: usize = 5;
/// The same if this worker knows no limit, so that few submits arrive there, or none.
const IDLE_POLLERS: usize = 1;

/// Runs workflows and activities until `stop`, then finishes or hands back what it has accepted.
///
/// # Errors
/// Its folders, clients or workers cannot be created, or a worker ends by itself.
pub async fn run(
    config: &Config,
    temporal: &Temporal,
    publisher: Publisher,
    stop: CancellationToken,
) -> anyhow::Result<()> {
    let settings = &config.worker;
    // Activities must stop somewhat before the process has to exit.
    let grace = config.grace.mul_f64(0.8);
    let store = Store::open(settings).context("cannot open the result store")?;
    let work = Arc::new(Work {
        publisher,
        providers: Providers::new(settings)
            .context("cannot create the HTTP client for the providers")?,
        store: store.clone(),
        store_apart: store.apart(),
        temp: TempFolders::open(&settings.temp_dir, settings.temp_max_bytes)
            .context("cannot use TEMP_DIR")?,
        downloader: Downloader::new(settings).context("cannot create the downloader")?,
        settings: settings.clone(),
        shares: Shares::of(settings.fetch_slots),
        drain: Drain {
            stop: stop.clone(),
            grace,
        },
    });
    let runtime = Runtime::from_current_tokio(RuntimeOptions::default())
        .context("cannot create the Temporal runtime")?;
    let sizing = Sizing::new(settings)?;
    let build = build(settings.build_id.as_deref());

    let queue = &config.temporal.task_queue;
    let mut main = WorkerOptions::new(queue.clone())
        .deployment_options(build.clone())
        .tuner(sizing.tuner(settings.activity_slots))
        .workflow_task_poller_behavior(polled(settings.workflow_pollers))
        .activity_task_poller_behavior(polled(settings.activity_pollers))
        .activity_inbound_interceptor(Busy("main"))
        .graceful_shutdown_period(grace)
        .sticky_queue_schedule_to_start_timeout(STICKY)
        .max_cached_workflows(settings.cached_workflows)
        .register_activities(Activities { work: work.clone() })
        .build();
    workflows::of_requests(&mut main)?;
    let fetch = WorkerOptions::new(fetch_queue(queue))
        .deployment_options(build.clone())
        .tuner(sizing.tuner(settings.fetch_slots))
        .activity_task_poller_behavior(polled(settings.fetch_pollers))
        .activity_inbound_interceptor(Busy("fetch"))
        .graceful_shutdown_period(grace)
        .register_activities(Activities { work: work.clone() })
        .build();

    let mut main =
        Worker::new(&runtime, temporal.client(), main).context("cannot create the main worker")?;
    let mut fetch = Worker::new(&runtime, temporal.client(), fetch)
        .context("cannot create the fetch worker")?;
    let mut submits = Vec::new();
    for name in ProviderName::ALL {
        let mut options = WorkerOptions::new(submit_queue(queue, name))
            .deployment_options(build.clone())
            .tuner(sizing.tuner(settings.activity_slots))
            .activity_task_poller_behavior(submits_polled(settings.rates.of(name)))
            .activity_inbound_interceptor(Busy("submit"))
            .graceful_shutdown_period(grace)
            .register_activities(Activities { work: work.clone() })
            .build();
        // The server enforces this rate over all workers together.
        options.max_task_queue_activities_per_second = settings.rates.of(name);
        let worker = Worker::new(&runtime, temporal.client(), options)
            .context("cannot create a submit worker");
        submits.push(worker?);
    }
    let (stop_main, stop_fetch) = (main.shutdown_handle(), fetch.shutdown_handle());
    let stop_submits: Vec<_> = submits.iter().map(Worker::shutdown_handle).collect();
    let stopping = async {
        stop.cancelled().await;
        stop_main();
        stop_fetch();
        stop_submits.iter().for_each(|stop| stop());
    };
    let ended = async {
        let submitting = futures::future::try_join_all(submits.iter_mut().map(Worker::run));
        let all = tokio::try_join!(main.run(), fetch.run(), submitting);
        // If one ends by itself, the others stop too.
        stop.cancel();
        all
    };
    let sweeping = sweep::run(temporal, Sweep::Runs, settings.sweep_interval, &stop);
    let watching = memory::watch(&stop);
    let (all, (), (), ()) = tokio::join!(ended, stopping, sweeping, watching);
    // The rest of the grace period is for the rest of the process.
    let closed = tokio::time::timeout(config.grace.mul_f64(0.1), store.close()).await;
    if closed.is_err() {
        tracing::warn!("unfinished uploads are left behind");
    }
    all.context("a worker failed")?;
    Ok(())
}

/// A provider's queue is polled even if no limit is set here: intake may have one, or may have had one.
fn submits_polled(rate: Option<f64>) -> PollerBehavior {
    PollerBehavior::SimpleMaximum(rate.map_or(IDLE_POLLERS, |_| POLLERS))
}
