//! `genflow bench`: what genflow adds to what the engines cost.
//!
//! A row measures genflow on the embedded engines, mostly beside a bare loop that does the same without it. They
//! alternate, round by round, so that a busy machine slows both: compare the ratios, not the figures of two machines.

mod backlog;
mod bare;
mod batches;
mod costs;
mod download;
mod endpoints;
mod events;
mod idle;
mod in_flight;
mod intake;
mod latency;
mod measure;
mod notifier;
mod provider;
mod report;
mod requests;
mod rolling;
mod sizing;
mod stage;
mod starts;

use std::sync::Arc;

use anyhow::Context as _;
use clap::ValueEnum as _;
use tokio_util::sync::CancellationToken;

pub(super) use self::bare::run as run_bare;
use self::report::Report;
use self::stage::Stages;
use super::engines::{EnginePorts, Engines, Existing, Options, default_cache};
use super::say;
use crate::operate::cli::local::{Bench, BenchRow};
use crate::operate::cli::terminal::bar;

/// Runs the rows and prints their figures, as a table and, if asked, as JSON to a file.
///
/// # Errors
/// An engine did not start, a role ended or a request failed.
pub(super) async fn run(bench: Bench, stop: CancellationToken) -> anyhow::Result<()> {
    let data = std::path::absolute(std::env::temp_dir())?
        .join(format!("genflow-bench-{}", std::process::id()));
    let options = Options {
        cache: default_cache(),
        data: data.clone(),
        keep: false,
        guard: std::env::current_exe().context("cannot find the path of this program")?,
        ports: EnginePorts::Free,
        existing: Existing::default(),
        progress: Arc::new(|progress| say(&format!("  {progress}"))),
    };
    let engines = Engines::start(&options).await?;
    let mut report = Report::begin();
    let stages = Stages {
        engines: &engines,
        data,
    };
    let measured = tokio::select! {
        measured = measure_all(&stages, &bench, &mut report) => measured,
        () = stop.cancelled() => Ok(()),
    };
    report.end();
    // Also what was measured before a fault or a stop.
    say(&report.table());
    if let Some(measured) = sizing::Measured::of(&report, bench.jobs) {
        say(&measured.table());
    }
    if let Some(file) = &bench.json {
        std::fs::write(file, report.json()?)
            .with_context(|| format!("cannot write {}", file.display()))?;
    }
    let data = stages.data;
    engines.stop().await;
    if measured.is_ok() {
        // After a fault the folder stays, because it has the logs.
        std::fs::remove_dir_all(&data).ok();
    }
    measured
}

async fn measure_all(
    stages: &Stages<'_>,
    bench: &Bench,
    report: &mut Report,
) -> anyhow::Result<()> {
    let chosen = match bench.rows.as_slice() {
        [] => BenchRow::value_variants(),
        rows => rows,
    };
    let bar = bar("rows measured", Some(chosen.len() as u64));
    for row in chosen {
        bar.suspend(|| say(&format!("{row:?}")));
        match row {
            BenchRow::Requests => requests::run(stages, bench, report).await?,
            BenchRow::Starts => Box::pin(starts::run(stages, bench, report)).await?,
            BenchRow::Extras => requests::extras(stages, bench, report).await?,
            BenchRow::Intake => Box::pin(intake::run(stages, bench, report)).await?,
            BenchRow::Latency => Box::pin(latency::run(stages, bench, report)).await?,
            BenchRow::Notifier => notifier::run(stages, bench, report).await?,
            BenchRow::Batches => batches::run(stages, bench, report).await?,
            BenchRow::Download => download::run(stages, bench, report).await?,
            BenchRow::Idle => idle::run(stages, bench, report).await?,
            BenchRow::Backlog => backlog::run(stages, bench, report).await?,
            BenchRow::InFlight => in_flight::run(stages, bench, report).await?,
            BenchRow::Rolling => Box::pin(rolling::run(stages, bench, report)).await?,
        }
        bar.inc(1);
    }
    Ok(())
}
