//! The bare loops that `bench` compares genflow with. It starts each in a process of its own, with `genflow bare`.
//!
//! A loop prints `ready` and begins after a pause, in which `bench` reads its CPU time. At the end it prints how many
//! seconds it took, without the pause, and waits for `stop`, so that `bench` can read its CPU time again.

mod posts;
mod workflows;

use std::time::{Duration, Instant};

use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

pub(super) use self::posts::post;
use super::report::{Case, Report};
use super::stage::{Role, Stage, Stages};
use crate::dev::say;
use crate::operate::cli::local::Bare;

/// Time between `ready` and the start of the loop.
const PAUSE: Duration = Duration::from_millis(500);

pub(in crate::dev) async fn run(bare: Bare, stop: CancellationToken) -> anyhow::Result<()> {
    match bare {
        Bare::Workflows(options) => workflows::run(options, stop).await,
        Bare::Posts(options) => posts::run(options, stop).await,
    }
}

/// A running measurement of a loop.
struct Round {
    began: Instant,
}

async fn begin() -> Round {
    say("ready");
    sleep(PAUSE).await;
    Round {
        began: Instant::now(),
    }
}

impl Round {
    async fn end(self, stop: &CancellationToken) {
        say(&format!("seconds {}", self.began.elapsed().as_secs_f64()));
        stop.cancelled().await;
    }
}

/// Starts the bare SDK worker for `number` workflows; `more` are further arguments.
pub(super) async fn workflows(
    stages: &Stages<'_>,
    stage: &Stage,
    number: usize,
    more: &[&str],
) -> anyhow::Result<Role> {
    let (number, queue) = (number.to_string(), &stage.config.temporal.task_queue);
    let usual = ["workflows", "--workflows", &number, "--queue", queue];
    let temporal = ["--temporal", &stages.engines.temporal_host];
    stage.bare(&[&usual[..], &temporal, more].concat()).await
}

/// Measures the bare SDK worker with `number` workflows; returns its stage.
pub(super) async fn measure_workflows(
    stages: &Stages<'_>,
    number: usize,
    more: &[&str],
    case: Case<'_>,
    report: &mut Report,
) -> anyhow::Result<Stage> {
    let stage = stages.open(&[]).await?;
    let bare = workflows(stages, &stage, number, more).await?;
    let costs = stages.measure(&[&bare])?;
    let seconds = bare.seconds().await?;
    costs.add(report, case, ("requests", number), seconds)?;
    bare.stop().await;
    Ok(stage)
}
