//! Measures one large output from the submit until it is stored, compared with a bare loop that writes it to a file.

use std::time::Instant;

use futures::StreamExt as _;
use serde_json::json;
use tokio::fs::File;
use tokio::io::AsyncWriteExt as _;

use super::provider::Provider;
use super::report::Report;
use super::requests::scripted;
use super::stage::Stages;
use crate::domain::EventType;
use crate::engines::http;
use crate::operate::cli::local::Bench;

const ROW: &str = "download";
/// Size of the output in megabytes.
const MB: usize = 2_000;

pub(super) async fn run(
    stages: &Stages<'_>,
    bench: &Bench,
    report: &mut Report,
) -> anyhow::Result<()> {
    let provider = Provider::start().await?;
    let script = json!({"padding": MB * 1_000_000});
    let (bare, genflow) = ("bare loop", "genflow");
    for _ in 0..bench.rounds {
        let client = http::client().build()?;
        let began = Instant::now();
        let file = provider.image(&client, script.clone()).await?;
        let path = stages.data.join("download");
        let mut pieces = file.bytes_stream();
        let mut writing = File::create(&path).await?;
        while let Some(piece) = pieces.next().await {
            writing.write_all(&piece?).await?;
        }
        writing.flush().await?;
        report.add(ROW, bare, "MB/s", MB as f64 / began.elapsed().as_secs_f64());
        std::fs::remove_file(&path)?;

        let stage = stages.open(&provider.settings()).await?;
        let events = stage.events().await?;
        let (worker, intake) = (stage.role("worker").await?, stage.role("intake").await?);
        let costs = stages.measure(&[&worker])?;
        stage.send(&scripted(&stage.id(0), &script)?).await?;
        events.reached(EventType::Completed, 1).await?;
        let seconds = costs.seconds();
        costs.add(report, (ROW, genflow), ("MB", MB), seconds)?;
        report.compare((ROW, genflow), &["MB/s"], (bare, "× bare"));
        worker.stop().await;
        intake.stop().await;
        stage.remove_results()?;
    }
    Ok(())
}
