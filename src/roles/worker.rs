//! Role: hosts workflows and activities until told to stop.
//!
//! Several SDK workers in one process: workflows, `submit` and `finish` on the main queue; `fetch` on its own, so that
//! thousands of long waits never hold up an ending; and one for each provider, whose queue has submits only while
//! their rate is limited. `Worker::run` is not `Send`: all run on the caller's task.

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

/// Polls at once for submits to a provider.
const POLLERS: usize = 5;
/// The same where this worker knows of no limit, and few or none will come.
const IDLE_POLLERS: usize = 1;

/// Runs workflows and activities until `stop`, then finishes or hands back what it has taken.
///
/// # Errors
/// When its folders, clients or workers cannot be made, or a worker ends by itself.
pub async fn run(
    config: &Config,
    temporal: &Temporal,
    publisher: Publisher,
    stop: CancellationToken,
) -> anyhow::Result<()> {
    let settings = &config.worker;
    // Activities are told to stop somewhat before the process must be gone.
    let grace = config.grace.mul_f64(0.8);
    let store = Store::open(settings).context("the store of results cannot be opened")?;
    let work = Arc::new(Work {
        publisher,
        providers: Providers::new(settings).context("no HTTP client for the providers")?,
        store: store.clone(),
        store_apart: store.apart(),
        temp: TempFolders::open(&settings.temp_dir, settings.temp_max_bytes)
            .context("TEMP_DIR cannot be used")?,
        downloader: Downloader::new(settings).context("downloads")?,
        settings: settings.clone(),
        shares: Shares::of(settings.fetch_slots),
        drain: Drain {
            stop: stop.clone(),
            grace,
        },
    });
    let runtime =
        Runtime::from_current_tokio(RuntimeOptions::default()).context("the Temporal runtime")?;
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

    let mut main = Worker::new(&runtime, temporal.client(), main).context("the main worker")?;
    let mut fetch = Worker::new(&runtime, temporal.client(), fetch).context("the fetch worker")?;
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
        // The server keeps it, over all workers together.
        options.max_task_queue_activities_per_second = settings.rates.of(name);
        let worker = Worker::new(&runtime, temporal.client(), options).context("a submit worker");
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
        // One that ended by itself takes the others along.
        stop.cancel();
        all
    };
    let sweeping = sweep::run(temporal, Sweep::Runs, settings.sweep_interval, &stop);
    let watching = memory::watch(&stop);
    let (all, (), (), ()) = tokio::join!(ended, stopping, sweeping, watching);
    // What is left of the time that a stop may take is for the rest of the process.
    let closed = tokio::time::timeout(config.grace.mul_f64(0.1), store.close()).await;
    if closed.is_err() {
        tracing::warn!("unfinished uploads are left behind");
    }
    all.context("a worker ended")?;
    Ok(())
}

/// A queue of submits is there without a limit too: intake may have one, or have had one.
fn submits_polled(rate: Option<f64>) -> PollerBehavior {
    PollerBehavior::SimpleMaximum(rate.map_or(IDLE_POLLERS, |_| POLLERS))
}
