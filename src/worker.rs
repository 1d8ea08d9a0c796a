//! Role: hosts workflows and activities until told to stop.
//!
//! Several SDK workers in one process: workflows, `submit` and `finish` on the main queue; `fetch` on its own, so that
//! thousands of long waits never hold up an ending; and one for each provider, whose queue has submits only while
//! their rate is limited. `Worker::run` is not `Send`: all run on the caller's task.

pub mod deliveries;

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use temporalio_sdk::runtime::worker_tuner::{FixedSizeSlotSupplier, TunerHolder};
use temporalio_sdk::runtime::{PollerBehavior, RuntimeOptions};
use temporalio_sdk::{Runtime, Worker, WorkerOptions};
use tokio_util::sync::CancellationToken;

use crate::config::Config;
use crate::domain::ProviderName;
use crate::events::Publisher;
use crate::provider::Providers;
use crate::storage::temp::TempFolders;
use crate::storage::{Downloader, Store};
use crate::temporal::activities::Activities;
use crate::temporal::client::Temporal;
use crate::temporal::queues::{fetch_queue, submit_queue};
use crate::temporal::sweep;
use crate::temporal::workflows::batch::Batch;
use crate::temporal::workflows::claimed::Claimed;
use crate::temporal::workflows::end::End;
use crate::temporal::workflows::generation::Generation;
use crate::work::{Drain, Work};

/// A step of a workflow takes milliseconds; few at once are plenty.
const WORKFLOW_SLOTS: usize = 100;
/// A dead worker's workflows go to another after so long (contract, rule 6).
const STICKY: Duration = Duration::from_secs(2);
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
        temp: TempFolders::open(&settings.temp_dir).context("TEMP_DIR cannot be used")?,
        downloader: Downloader::new(settings).context("downloads")?,
        settings: settings.clone(),
        drain: Drain {
            stop: stop.clone(),
            grace,
        },
    });
    let runtime =
        Runtime::from_current_tokio(RuntimeOptions::default()).context("the Temporal runtime")?;
    let queue = &config.temporal.task_queue;
    let main = WorkerOptions::new(queue.clone())
        .tuner(tuner(settings.activity_slots))
        .graceful_shutdown_period(grace)
        .sticky_queue_schedule_to_start_timeout(STICKY)
        .max_cached_workflows(settings.cached_workflows)
        .register_activities(Activities { work: work.clone() })
        .register_workflow::<Generation>()?
        .register_workflow::<Batch>()?
        .register_workflow::<Claimed>()?
        .register_workflow::<End>()?
        .build();
    let fetch = WorkerOptions::new(fetch_queue(queue))
        .tuner(tuner(settings.fetch_slots))
        .graceful_shutdown_period(grace)
        .register_activities(Activities { work: work.clone() })
        .build();

    let mut main = Worker::new(&runtime, temporal.client(), main).context("the main worker")?;
    let mut fetch = Worker::new(&runtime, temporal.client(), fetch).context("the fetch worker")?;
    let mut submits = Vec::new();
    for name in ProviderName::ALL {
        let options = submits_to(name, config, &work, grace);
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
    let sweeping = sweep::run(temporal, settings.sweep_interval, &stop);
    let (all, (), ()) = tokio::join!(ended, stopping, sweeping);
    store.close().await;
    all.context("a worker ended")?;
    Ok(())
}

/// The worker of one provider's submits. It is there without a limit too: intake may have one, or have had one.
fn submits_to(
    name: ProviderName,
    config: &Config,
    work: &Arc<Work>,
    grace: Duration,
) -> WorkerOptions {
    let (queue, worker) = (&config.temporal.task_queue, &config.worker);
    let rate = worker.rates.of(name);
    let pollers = rate.map_or(IDLE_POLLERS, |_| POLLERS);
    let mut options = WorkerOptions::new(submit_queue(queue, name))
        .tuner(tuner(worker.activity_slots))
        .activity_task_poller_behavior(PollerBehavior::SimpleMaximum(pollers))
        .graceful_shutdown_period(grace)
        .register_activities(Activities { work: work.clone() })
        .build();
    // The server keeps it, over all workers together.
    options.max_task_queue_activities_per_second = rate;
    options
}

fn tuner(activities: usize) -> TunerHolder {
    TunerHolder::builder()
        .workflow_task_slot_supplier(FixedSizeSlotSupplier::new(WORKFLOW_SLOTS))
        .activity_task_slot_supplier(FixedSizeSlotSupplier::new(activities))
        .local_activity_task_slot_supplier(FixedSizeSlotSupplier::new(1))
        .nexus_task_slot_supplier(FixedSizeSlotSupplier::new(1))
        .build()
}
