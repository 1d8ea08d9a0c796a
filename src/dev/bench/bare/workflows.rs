//! The bare SDK worker: starts workflows with a few empty activities, as many at once as genflow's intake, and runs
//! them. It can add one part that a genflow run also has, to show what that part costs the server.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use futures::future::try_join_all;
use futures::stream::{self, StreamExt as _, TryStreamExt as _};
use serde::{Deserialize, Serialize};
use temporalio_client::{
    Client, ClientOptions, Connection, ConnectionOptions, WorkflowStartOptions,
};
use temporalio_macros::{activities, workflow, workflow_methods};
use temporalio_sdk::activities::{ActivityContext, ActivityError};
use temporalio_sdk::runtime::RuntimeOptions;
use temporalio_sdk::{
    ActivityOptions, Runtime, TimerOptions, Worker, WorkerOptions, WorkflowContext, WorkflowResult,
};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

use super::begin;
use crate::contract::search_attributes::attributes;
use crate::domain::Kind;
use crate::operate::cli::local::{BareWorkflows, Extra};
use crate::roles::worker::heartbeat;

/// Concurrent starts: as many as intake makes by default.
const STARTS: usize = 16;
/// Time-out of an activity.
const LIMIT: Duration = Duration::from_secs(60);
/// Size of the larger inputs in bytes: that of the input of an activity in a genflow run, with its events.
const PAYLOAD: usize = 2_000;

/// Input of the workflow.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Plan {
    activities: u32,
    queue: String,
    extra: Option<Extra>,
}

/// Input of an activity.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Step {
    /// Number of activities after this one.
    left: u32,
    heartbeat: bool,
    payload: String,
}

#[workflow]
#[derive(Default)]
struct Steps;

#[workflow_methods]
impl Steps {
    /// Runs the empty activities, one after the other.
    #[run(name = "bare")]
    async fn run(ctx: &mut WorkflowContext<Self>, plan: Plan) -> WorkflowResult<()> {
        let has = |extra| plan.extra == Some(extra);
        let deadline = has(Extra::Timer).then(|| ctx.timer(TimerOptions::builder(LIMIT).build()));
        for left in (0..plan.activities).rev() {
            let mut options = ActivityOptions::start_to_close_timeout(LIMIT);
            if has(Extra::Queues) {
                options.task_queue = Some(queue(&plan.queue, left));
            }
            let step = Step {
                left,
                heartbeat: has(Extra::Heartbeat),
                payload: "x".repeat(if has(Extra::Payload) { PAYLOAD } else { 0 }),
            };
            ctx.execute_activity(Empty::nothing, step, options).await?;
        }
        drop(deadline);
        Ok(())
    }
}

/// The empty activity; adds a permit when it is the last one of a workflow.
#[derive(Clone)]
struct Empty(Arc<Semaphore>);

#[activities]
impl Empty {
    #[activity(name = "nothing")]
    async fn nothing(
        self: Arc<Self>,
        ctx: ActivityContext,
        step: Step,
    ) -> Result<(), ActivityError> {
        if step.heartbeat {
            heartbeat::store(&ctx, ()).await.ok();
        }
        if step.left == 0 {
            self.0.add_permits(1);
        }
        Ok(())
    }
}

pub(super) async fn run(bare: BareWorkflows, stop: CancellationToken) -> anyhow::Result<()> {
    let url: url::Url = format!("http://{}", bare.temporal).parse()?;
    let connection = Connection::connect(ConnectionOptions::new(url).build()).await?;
    let client = Client::new(connection, ClientOptions::new("default").build())?;
    let done = Arc::new(Semaphore::new(0));
    let runtime = Runtime::from_current_tokio(RuntimeOptions::default())?;
    let queues = match bare.extra {
        _ if bare.no_worker => 0,
        Some(Extra::Queues) => bare.activities,
        _ => 1,
    };
    let mut workers = Vec::new();
    for number in 0..queues {
        let mut options = WorkerOptions::new(queue(&bare.queue, number))
            .register_activities(Empty(done.clone()))
            .build();
        options.register_workflow::<Steps>()?;
        workers.push(Worker::new(&runtime, client.clone(), options)?);
    }
    let ends: Vec<_> = workers.iter().map(Worker::shutdown_handle).collect();
    let driving = async {
        let round = begin().await;
        // One by one, or as many at once as intake starts.
        let group = if bare.one_by_one { 1 } else { bare.workflows };
        for first in (0..bare.workflows).step_by(group) {
            stream::iter(first..first + group)
                .map(|number| start(&client, &bare, number))
                .buffer_unordered(STARTS)
                .try_collect::<Vec<_>>()
                .await?;
            if !bare.no_worker {
                done.acquire_many(u32::try_from(group)?).await?.forget();
            }
        }
        round.end(&stop).await;
        ends.iter().for_each(|end| end());
        anyhow::Ok(())
    };
    let running = async {
        let ran = try_join_all(workers.iter_mut().map(Worker::run)).await;
        ran.context("a bare worker failed")
    };
    tokio::try_join!(running, driving)?;
    Ok(())
}

fn queue(base: &str, number: u32) -> String {
    match number {
        0 => base.to_owned(),
        _ => format!("{base}-{number}"),
    }
}

async fn start(client: &Client, bare: &BareWorkflows, number: usize) -> anyhow::Result<()> {
    let id = format!("{}-{number}", bare.queue);
    let mut options = WorkflowStartOptions::new(bare.queue.clone(), id).build();
    match bare.extra {
        Some(Extra::Attributes) => {
            let user = "ann".to_owned().try_into()?;
            options.search_attributes = Some(attributes(&user, Kind::Image, None));
        }
        Some(Extra::Details) => options.static_details = Some("0123456789abcdef".repeat(4)),
        _ => {}
    }
    let plan = Plan {
        activities: bare.activities,
        queue: bare.queue.clone(),
        extra: bare.extra,
    };
    client.start_workflow(Steps::run, plan, options).await?;
    Ok(())
}
