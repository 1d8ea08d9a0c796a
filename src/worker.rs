//! Role: hosts workflows and activities until told to stop.
//!
//! Two SDK workers in one process: workflows, `submit` and `finish` on the main queue, `fetch` on its own, so that
//! thousands of long waits never hold up an ending. `Worker::run` is not `Send`: both run on the caller's task.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use temporalio_sdk::runtime::RuntimeOptions;
use temporalio_sdk::runtime::worker_tuner::{FixedSizeSlotSupplier, TunerHolder};
use temporalio_sdk::{Runtime, Worker, WorkerOptions};
use tokio_util::sync::CancellationToken;

use crate::config::Config;
use crate::events::Publisher;
use crate::provider::Providers;
use crate::storage::temp::TempFolders;
use crate::storage::{Downloader, Store};
use crate::temporal::activities::Activities;
use crate::temporal::client::Temporal;
use crate::temporal::sweep;
use crate::temporal::workflows::batch::Batch;
use crate::temporal::workflows::claimed::Claimed;
use crate::temporal::workflows::end::End;
use crate::temporal::workflows::generation::Generation;
use crate::work::Work;

/// A step of a workflow takes milliseconds; few at once are plenty.
const WORKFLOW_SLOTS: usize = 100;
/// A dead worker's workflows go to another after so long (contract, rule 6).
const STICKY: Duration = Duration::from_secs(2);

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
    let store = Store::open(settings).context("the store of results cannot be opened")?;
    let work = Arc::new(Work {
        publisher,
        providers: Providers::new(settings).context("no HTTP client for the providers")?,
        store: store.clone(),
        temp: TempFolders::open(&settings.temp_dir).context("TEMP_DIR cannot be used")?,
        downloader: Downloader::new(settings.max_output_bytes)
            .context("no HTTP client for downloads")?,
        settings: settings.clone(),
    });
    let runtime =
        Runtime::from_current_tokio(RuntimeOptions::default()).context("the Temporal runtime")?;
    // Activities are told to stop somewhat before the process must be gone.
    let grace = config.grace.mul_f64(0.8);

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
        .register_activities(Activities { work })
        .build();

    let mut main = Worker::new(&runtime, temporal.client(), main).context("the main worker")?;
    let mut fetch = Worker::new(&runtime, temporal.client(), fetch).context("the fetch worker")?;
    let (stop_main, stop_fetch) = (main.shutdown_handle(), fetch.shutdown_handle());
    let stopping = async {
        stop.cancelled().await;
        stop_main();
        stop_fetch();
    };
    let ended = async {
        let both = tokio::try_join!(main.run(), fetch.run());
        // One that ended by itself takes the other along.
        stop.cancel();
        both
    };
    let sweeping = sweep::run(temporal, settings.sweep_interval, &stop);
    let (both, (), ()) = tokio::join!(ended, stopping, sweeping);
    store.close().await;
    both.context("a worker ended")?;
    Ok(())
}

fn tuner(activities: usize) -> TunerHolder {
    TunerHolder::builder()
        .workflow_task_slot_supplier(FixedSizeSlotSupplier::new(WORKFLOW_SLOTS))
        .activity_task_slot_supplier(FixedSizeSlotSupplier::new(activities))
        .local_activity_task_slot_supplier(FixedSizeSlotSupplier::new(1))
        .nexus_task_slot_supplier(FixedSizeSlotSupplier::new(1))
        .build()
}

/// Returns the task queue of `fetch` that goes with a main queue.
pub fn fetch_queue(queue: &str) -> String {
    format!("{queue}-fetch")
}
