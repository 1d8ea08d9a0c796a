//! Whole requests, from Kafka to COMPLETED, beside a bare SDK worker with as many activities that do nothing.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use clap::ValueEnum as _;
use futures::stream::{self, TryStreamExt as _};
use tokio_util::sync::{CancellationToken, DropGuard};

use super::measure;
use super::report::Report;
use super::stage::{Role, Stage, Stages};
use crate::dev::simulator::{Simulator, SimulatorOptions};
use crate::domain::{Common, EventType, ImageSpec, Priority, Request, Single, Targets};
use crate::engines::temporal::client::Temporal;
use crate::operate::cli::local::{Bench, Extra};

const ROW: &str = "requests";
const EXTRAS: &str = "extras";

pub(super) async fn run(
    stages: &Stages<'_>,
    bench: &Bench,
    report: &mut Report,
) -> anyhow::Result<()> {
    let (provider, _stop) = instant_provider().await?;
    for _ in 0..bench.rounds {
        for activities in [2, 3] {
            let of = format!("bare SDK worker, {activities} activities");
            bare(stages, bench, (activities, None), (ROW, &of), report).await?;
        }
        path(stages, bench, (&provider, None), report).await?;
        if let Some(python) = &bench.peer {
            path(stages, bench, (&provider, Some(python)), report).await?;
        }
    }
    Ok(())
}

/// Measures what each part of a run costs the server.
pub(super) async fn extras(
    stages: &Stages<'_>,
    bench: &Bench,
    report: &mut Report,
) -> anyhow::Result<()> {
    for _ in 0..bench.rounds {
        bare(stages, bench, (3, None), (EXTRAS, "none"), report).await?;
        for &extra in Extra::value_variants() {
            let of = format!("{extra:?}");
            bare(stages, bench, (3, Some(extra)), (EXTRAS, &of), report).await?;
        }
    }
    Ok(())
}

async fn bare(
    stages: &Stages<'_>,
    bench: &Bench,
    (activities, extra): (u32, Option<Extra>),
    (row, of): (&'static str, &str),
    report: &mut Report,
) -> anyhow::Result<()> {
    let stage = stages.open(&[]).await?;
    let server = Server::begin(stages)?;
    let name = &stage.config.temporal.task_queue;
    let mut command = stage.command(&std::env::current_exe()?)?;
    command.args(["bare-worker", "--temporal", &stages.engines.temporal_host]);
    command.args(["--queue", name]);
    command.args(["--workflows", &bench.requests.to_string()]);
    command.args(["--activities", &activities.to_string()]);
    if let Some(extra) = extra {
        command.args(["--extra", &format!("{extra:?}").to_lowercase()]);
    }
    let role = stage.start("bare", command).await?;
    let seconds: f64 = role.says("seconds").await?.parse()?;
    let mut add = |unit, value| report.add(row, of, unit, value);
    let number = bench.requests as f64;
    add("requests/s", number / seconds);
    add("own CPU-ms", role.cpu_ms()? / number);
    add("Temporal CPU-ms", server.cpu_ms()? / number);
    add("peak MB", measure::peak_mb(role.pid()?)?);
    role.stop().await;
    history(&stage, (row, of), report).await
}

/// Measures whole requests: through genflow, or by the same path in Python if an interpreter is given.
async fn path(
    stages: &Stages<'_>,
    bench: &Bench,
    (provider, python): (&str, Option<&Path>),
    report: &mut Report,
) -> anyhow::Result<()> {
    let stage = stages.open(&at(provider)).await?;
    let role = async |name| match python {
        None => stage.role(name).await,
        Some(python) => in_python(&stage, python, name).await,
    };
    let (mut worker, mut intake) = (role("worker").await?, role("intake").await?);
    let events = stage.events().await?;
    let server = Server::begin(stages)?;
    worker.begin()?;
    intake.begin()?;
    let began = Instant::now();
    let completing = async {
        match python {
            None => events.reached(EventType::Completed, bench.requests).await,
            Some(_) => events.contain("COMPLETED", bench.requests).await,
        }
    };
    tokio::try_join!(send(&stage, bench.requests), completing)?;
    let seconds = began.elapsed().as_secs_f64();
    let of = python.map_or("genflow", |_| "Python peer");
    let mut add = |unit, value| report.add(ROW, of, unit, value);
    let number = bench.requests as f64;
    add("requests/s", number / seconds);
    add("worker CPU-ms", worker.cpu_ms()? / number);
    add("intake CPU-ms", intake.cpu_ms()? / number);
    add("Temporal CPU-ms", server.cpu_ms()? / number);
    add("worker peak MB", measure::peak_mb(worker.pid()?)?);
    add("intake peak MB", measure::peak_mb(intake.pid()?)?);
    history(&stage, (ROW, of), report).await?;
    worker.stop().await;
    intake.stop().await;
    Ok(())
}

/// Starts a role of the peer, and waits until it is ready.
async fn in_python(stage: &Stage, python: &Path, name: &'static str) -> anyhow::Result<Role> {
    let mut command = stage.command(python)?;
    command.args(["-c", include_str!("../../../benches/peer/peer.py"), name]);
    let role = stage.start(name, command).await?;
    role.says("ready").await?;
    Ok(role)
}

/// Starts a provider whose jobs are done at once, until the guard is dropped; returns its URL.
pub(super) async fn instant_provider() -> anyhow::Result<(String, DropGuard)> {
    let simulator = Simulator::bind(SimulatorOptions {
        listen: ([127, 0, 0, 1], 0).into(),
        job_time: Duration::ZERO,
    })
    .await?;
    let url = format!("http://{}", simulator.address());
    let stop = CancellationToken::new();
    tokio::spawn(simulator.run(stop.clone()));
    Ok((url, stop.drop_guard()))
}

/// Returns the settings for a provider at that address.
pub(super) fn at(provider: &str) -> [(&str, &str); 2] {
    [("IMAGE_API_BASE_URL", provider), ("IMAGE_API_KEY", "bench")]
}

/// Sends that many requests for an image.
async fn send(stage: &Stage, number: usize) -> anyhow::Result<()> {
    stream::iter((0..number).map(anyhow::Ok))
        .try_for_each_concurrent(64, |number| async move {
            stage.send(&image(&stage.id(number))?).await
        })
        .await
}

/// The Temporal server and its CPU time when the measurement began.
pub(super) struct Server {
    pid: u32,
    began: f64,
}

impl Server {
    pub(super) fn begin(stages: &Stages<'_>) -> anyhow::Result<Self> {
        let pid = stages.engines.pid("Temporal").context("no Temporal")?;
        let began = measure::cpu_ms(pid)?;
        Ok(Self { pid, began })
    }

    pub(super) fn cpu_ms(&self) -> anyhow::Result<f64> {
        Ok(measure::cpu_ms(self.pid)? - self.began)
    }
}

/// Adds the size of the round's first history.
async fn history(
    stage: &Stage,
    (row, of): (&'static str, &str),
    report: &mut Report,
) -> anyhow::Result<()> {
    let temporal = Temporal::connect(&stage.config.temporal).await?;
    let described = temporal.describe(&stage.id(0)).await?;
    let described = described.context("the workflow is gone")?;
    let info = described.raw().workflow_execution_info.as_ref();
    let bytes = info.map_or(0, |info| info.history_size_bytes);
    report.add(row, of, "history events", described.history_length() as f64);
    report.add(row, of, "history bytes", bytes as f64);
    Ok(())
}

/// Returns the request for one image.
pub(super) fn image(id: &str) -> anyhow::Result<Request> {
    Ok(Request {
        id: id.to_owned().try_into()?,
        user: "ann".to_owned().try_into()?,
        spec: Single::Image(ImageSpec {
            common: Common::new("a red fox in the snow, golden hour, 35 mm"),
            ..ImageSpec::default()
        })
        .into(),
        priority: Priority::Normal,
        timeout: None,
        targets: Targets::default(),
        notify_on: vec![EventType::Completed],
        metadata: BTreeMap::new(),
        requested_at: None,
    })
}
