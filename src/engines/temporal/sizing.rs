//! The capacity of a worker (slots, pollers, memory), and its build id.

use std::time::Duration;

use temporalio_common::worker::{WorkerDeploymentOptions, build_id_from_current_exe};
use temporalio_sdk::activities::ActivityError;
use temporalio_sdk::interceptors::{
    ActivityInboundInterceptor, ExecuteActivityInput, ExecuteActivityOutput, Next,
};
use temporalio_sdk::runtime::worker_tuner::{
    FixedSizeSlotSupplier, ResourceBasedController, ResourceBasedSlotOptions,
    ResourceBasedSlotsForType, ResourceBasedTunerOptions, SlotSupplier, TunerHolder,
};
use tracing::{Instrument as _, Span};

use super::memory::Memory;
use crate::contract::delivery::{Conclude, Deliver};
use crate::contract::run::{Fetch, Finish, PendingEvents, Submit};
use crate::engines::config;
use crate::engines::telemetry::spans::ActivityAttempt;
use crate::engines::telemetry::{events, spans};

/// After this time, a dead worker's workflows go to another worker (contract, rule 6).
pub(crate) const STICKY: Duration = Duration::from_secs(2);
/// Workflow tasks at once; each takes milliseconds.
const WORKFLOW_TASKS: usize = 100;
/// This many activities of each queue run whatever the memory: runs must be able to end, and no queue may stall.
const MINIMUM: usize = 5;
/// Pause between two slots above the minimum, so that memory shows what the last one cost.
const RAMP: Duration = Duration::from_millis(10);
/// A target that no CPU use reaches, so that only memory holds back new work: a busy machine is slow, but not full.
const ANY_CPU: f64 = 2.0;

/// Gives out the slots of a worker's queues.
pub(crate) struct Sizing {
    /// Set if new work waits for memory; shared by the queues.
    memory: Option<ResourceBasedController>,
}

impl Sizing {
    /// Reads the capacity from the settings.
    ///
    /// # Errors
    /// A limit is set, but the system does not report its memory.
    pub(crate) fn new(settings: &config::Worker) -> anyhow::Result<Self> {
        let memory = match settings.memory_limit {
            None => None,
            Some(limit) => {
                let measured = Memory::measure();
                let measured = measured.ok_or_else(|| {
                    anyhow::anyhow!(
                        "MEMORY_LIMIT_BYTES is set, but this system does not report its memory: unset it"
                    )
                })?;
                measured.warn(limit);
                let options = ResourceBasedTunerOptions::builder()
                    .target_memory_usage(measured.target(limit))
                    .target_cpu_usage(ANY_CPU)
                    .build();
                Some(ResourceBasedController::new(options))
            }
        };
        Ok(Self { memory })
    }

    /// Returns the slots of a queue with this many concurrent activities.
    pub(crate) fn tuner(&self, activities: usize) -> TunerHolder {
        let fixed = FixedSizeSlotSupplier::new;
        let activities: SlotSupplier = match &self.memory {
            None => fixed(activities).into(),
            Some(controller) => {
                let options = ResourceBasedSlotOptions::builder()
                    .minimum_slots(MINIMUM.min(activities))
                    .maximum_slots(activities)
                    .ramp_throttle(RAMP)
                    .build();
                ResourceBasedSlotsForType::with_controller(controller.clone(), options).into()
            }
        };
        TunerHolder::builder()
            .workflow_task_slot_supplier(fixed(WORKFLOW_TASKS))
            .activity_task_slot_supplier(activities)
            .local_activity_task_slot_supplier(fixed(1))
            .nexus_task_slot_supplier(fixed(1))
            .build()
    }
}

/// Returns the build id: the version and a checksum of the executable. Polls and workflow tasks report it to the
/// server; it routes nothing.
pub(crate) fn build() -> WorkerDeploymentOptions {
    let (version, checksum) = (env!("CARGO_PKG_VERSION"), build_id_from_current_exe());
    WorkerDeploymentOptions::from_build_id(format!("{version}-{checksum}"))
}

/// Counts the running activities of a queue; its field is a label: `main`, `fetch`, `submit` or `notify`.
pub(crate) struct Busy(pub(crate) &'static str);

/// One running activity.
struct RunningActivity(&'static str);

impl RunningActivity {
    fn new(queue: &'static str) -> Self {
        events::slot_taken(queue);
        Self(queue)
    }
}

impl Drop for RunningActivity {
    fn drop(&mut self) {
        events::slot_freed(self.0);
    }
}

impl ActivityInboundInterceptor for Busy {
    fn execute_activity<'a>(
        &'a self,
        input: ExecuteActivityInput,
        next: Next<'a, ExecuteActivityInput, ExecuteActivityOutput<'a>>,
    ) -> ExecuteActivityOutput<'a> {
        let running = RunningActivity::new(self.0);
        let span = span_of(&input);
        let execution = next.run(input);
        let running = async move {
            let _until_it_ends = running;
            let ended = execution.await;
            if let Err(error) = &ended {
                spans::failed(kind(error));
            }
            ended
        };
        Box::pin(running.instrument(span))
    }
}

/// Opens the span of an attempt, in the trace that the activity's input names.
fn span_of(input: &ExecuteActivityInput) -> Span {
    let info = input.activity_info();
    let pending = (input.args_ref::<Submit>().map(|input| &input.pending))
        .or_else(|| input.args_ref::<Fetch>().map(|input| &input.pending))
        .or_else(|| input.args_ref::<Finish>().map(|input| &input.pending))
        .or_else(|| input.args_ref::<PendingEvents>());
    let parcel = (input.args_ref::<Deliver>().map(|input| &input.parcel))
        .or_else(|| input.args_ref::<Conclude>().map(|input| &input.parcel));
    let (request_id, traceparent) = match (pending, parcel) {
        (Some(pending), _) => (Some(pending.workflow.request()), &pending.traceparent),
        (None, Some(parcel)) => (Some(parcel.request_id.as_str()), &parcel.traceparent),
        (None, None) => (None, &None),
    };
    spans::attempt(&ActivityAttempt {
        activity: &info.activity_type,
        workflow: info.workflow_id.as_deref().unwrap_or_default(),
        run_id: info.workflow_run_id.as_deref().unwrap_or_default(),
        number: info.attempt,
        request_id,
        traceparent: traceparent.as_deref(),
    })
}

fn kind(error: &ActivityError) -> &'static str {
    match matches!(error, ActivityError::Cancelled { .. }) {
        true => "cancelled",
        false => "failed",
    }
}
