//! Batches of several sizes, from Kafka to their COMPLETED: what an item costs in each.

use std::collections::BTreeMap;

use futures::stream::{self, TryStreamExt as _};

use super::provider::Provider;
use super::report::Report;
use super::requests::{image, picture};
use super::stage::{Stage, Stages};
use crate::domain::{BatchItem, BatchSpec, EventType, OnFailure, Request, Single, Spec, Strategy};
use crate::operate::cli::local::Bench;

const ROW: &str = "batches";
/// Items of a batch that run at once.
const AT_ONCE: i32 = 100;

pub(super) async fn run(
    stages: &Stages<'_>,
    bench: &Bench,
    report: &mut Report,
) -> anyhow::Result<()> {
    let provider = Provider::start().await?;
    for _ in 0..bench.rounds {
        for &size in &bench.batch_sizes {
            // Several small ones, because the CPU time of one is too short to be measured.
            let batches = (bench.requests / size.max(1)).max(1);
            let stage = stages.open(&provider.settings()).await?;
            let events = stage.events().await?;
            let (worker, intake) = (stage.role("worker").await?, stage.role("intake").await?);
            let costs = stages.measure(&[&worker, &intake])?;
            let items = batches * size;
            let completing = events.reached(EventType::Completed, items + batches);
            tokio::try_join!(send(&stage, batches, size), completing)?;
            let (of, seconds) = (format!("batches of {size}"), costs.seconds());
            costs.add(report, (ROW, &of), ("items", items), seconds)?;
            report.add(ROW, &of, "ms an item", seconds * 1e3 / items as f64);
            worker.stop().await;
            intake.stop().await;
        }
    }
    Ok(())
}

async fn send(stage: &Stage, batches: usize, size: usize) -> anyhow::Result<()> {
    stream::iter((0..batches).map(anyhow::Ok))
        .try_for_each_concurrent(64, |number| async move {
            stage.send(&batch(&stage.id(number), size)?).await
        })
        .await
}

fn batch(id: &str, size: usize) -> anyhow::Result<Request> {
    let mut request = image(id)?;
    // Short, because the record of a batch of 10,000 has to fit into a mebibyte.
    let mut picture = picture();
    picture.common.prompt = "a red fox".to_owned();
    let item = |number| {
        anyhow::Ok(BatchItem {
            request_id: format!("{id}-{number}").try_into()?,
            spec: Single::Image(picture.clone()),
            webhook_url: None,
            notify_on: Vec::new(),
            metadata: BTreeMap::new(),
        })
    };
    request.spec = Spec::Batch(BatchSpec {
        strategy: Strategy::Parallel,
        max_concurrent: AT_ONCE,
        on_failure: OnFailure::Continue,
        items: (0..size).map(item).collect::<anyhow::Result<_>>()?,
    });
    Ok(request)
}
