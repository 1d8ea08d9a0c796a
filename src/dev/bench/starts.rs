//! Starts of workflows by intake, which nothing runs, beside a bare SDK loop that starts as many.

use super::bare;
use super::report::Report;
use super::requests::send;
use super::stage::Stages;
use crate::operate::cli::local::Bench;

const ROW: &str = "starts";
/// The metric of intake that counts the requests it is done with.
const DONE: &str = "genflow_requests_total";

pub(super) async fn run(
    stages: &Stages<'_>,
    bench: &Bench,
    report: &mut Report,
) -> anyhow::Result<()> {
    let (bare, genflow) = ("bare SDK loop", "genflow's intake");
    for _ in 0..bench.rounds {
        let only = ["--no-worker"];
        bare::measure_workflows(stages, bench.requests, &only, (ROW, bare), report).await?;

        let stage = stages.open(&[]).await?;
        let intake = stage.role("intake").await?;
        let costs = stages.measure(&[&intake])?;
        tokio::try_join!(
            send(&stage, bench.requests),
            intake.counted(DONE, bench.requests)
        )?;
        let seconds = costs.seconds();
        costs.add(
            report,
            (ROW, genflow),
            ("requests", bench.requests),
            seconds,
        )?;
        intake.stop().await;
        let compared = ["requests/s", "own CPU-ms", "Temporal CPU-ms"];
        report.compare((ROW, genflow), &compared, (bare, "× bare"));
    }
    Ok(())
}
