//! Measures whether a request costs more if many requests wait in the topic when the roles start.

use super::provider::Provider;
use super::report::Report;
use super::requests::Whole;
use super::stage::Stages;
use crate::operate::cli::local::Bench;

const ROW: &str = "backlog";

pub(super) async fn run(
    stages: &Stages<'_>,
    bench: &Bench,
    report: &mut Report,
) -> anyhow::Result<()> {
    let provider = Provider::start().await?;
    let least = (bench.requests / 10).max(1);
    let of = |times| format!("{} waiting requests", least * times);
    for _ in 0..bench.rounds {
        for times in [1, 10, 100] {
            let of_these = of(times);
            let what = Whole {
                case: (ROW, &of_these),
                requests: least * times,
                python: None,
                waiting: true,
            };
            what.measure(stages, &provider, report).await?;
            if times > 1 {
                let compared = ["own CPU-ms", "Temporal CPU-ms"];
                report.compare(what.case, &compared, (&of(1), "× the smallest"));
            }
        }
    }
    Ok(())
}
