//! How long one request takes while nothing else runs, beside the sum of the calls that it cannot do without.

use std::time::Instant;

use serde_json::{Value, json};

use super::report::Report;
use super::requests::{at, image, instant_provider};
use super::stage::{Events, Stage, Stages};
use crate::domain::EventType;
use crate::engines::kafka::tail::{From, Next, Tail};
use crate::operate::cli::local::Bench;

const ROW: &str = "latency";
/// Requests of a round, one after the other.
const REQUESTS: usize = 50;

pub(super) async fn run(
    stages: &Stages<'_>,
    bench: &Bench,
    report: &mut Report,
) -> anyhow::Result<()> {
    let (provider, _stop) = instant_provider().await?;
    for _ in 0..bench.rounds {
        let bare = bare_ms(stages, &provider, report).await?;
        let stage = stages.open(&at(&provider)).await?;
        let (worker, intake) = (stage.role("worker").await?, stage.role("intake").await?);
        let events = stage.events().await?;
        let (mut started, mut completed) = (Vec::new(), Vec::new());
        for number in 0..REQUESTS {
            let id = stage.id(number);
            let began = Instant::now();
            stage.send(&image(&id)?).await?;
            started.push(until(&events, &id, EventType::Started, began).await?);
            completed.push(until(&events, &id, EventType::Completed, began).await?);
        }
        worker.stop().await;
        intake.stop().await;
        for (of, times) in [
            ("to STARTED", &mut started),
            ("to COMPLETED", &mut completed),
        ] {
            times.sort_by(f64::total_cmp);
            for (share, unit) in [(50, "p50 ms"), (95, "p95 ms"), (99, "p99 ms")] {
                report.add(ROW, of, unit, times[times.len() * share / 100]);
            }
        }
        let median = completed[completed.len() / 2];
        report.add(ROW, "to COMPLETED", "× the bare sum", median / bare);
    }
    Ok(())
}

/// Measures the calls that a request cannot do without; returns the sum of their mean times.
async fn bare_ms(stages: &Stages<'_>, provider: &str, report: &mut Report) -> anyhow::Result<f64> {
    let stage = stages.open(&at(provider)).await?;
    let kafka = kafka_ms(&stage).await?;
    let workflow = workflow_ms(stages, &stage).await?;
    let http = provider_ms(provider).await?;
    // The record of the request and that of the outcome.
    let sum = 2.0 * kafka + workflow + http;
    for (of, value) in [
        ("bare: record to reader", kafka),
        ("bare: workflow with 2 activities", workflow),
        ("bare: submit, poll, download", http),
        ("bare: sum", sum),
    ] {
        report.add(ROW, of, "ms", value);
    }
    Ok(sum)
}

async fn until(
    events: &Events,
    request: &str,
    wanted: EventType,
    began: Instant,
) -> anyhow::Result<f64> {
    loop {
        let event = events.next().await?;
        if event.request_id == request && event.event_type == wanted {
            return Ok(ms(began));
        }
    }
}

fn ms(began: Instant) -> f64 {
    began.elapsed().as_secs_f64() * 1e3
}

/// Mean time from a send until a reader has the record.
async fn kafka_ms(stage: &Stage) -> anyhow::Result<f64> {
    let topic = &stage.config.kafka.topics.requests;
    let tail = Tail::open(&stage.config.kafka, topic, From::End).await?;
    let began = Instant::now();
    for number in 0..REQUESTS {
        stage.send(&image(&stage.id(number))?).await?;
        while !matches!(tail.next().await?, Next::Record(_)) {}
    }
    Ok(ms(began) / REQUESTS as f64)
}

/// Mean time of a workflow with two empty activities, from its start to the last of them.
async fn workflow_ms(stages: &Stages<'_>, stage: &Stage) -> anyhow::Result<f64> {
    let mut command = stage.command(&std::env::current_exe()?)?;
    command.args(["bare-worker", "--temporal", &stages.engines.temporal_host]);
    command.args(["--queue", &format!("{}-bare", stage.id(0))]);
    command.args(["--workflows", &REQUESTS.to_string(), "--activities", "2"]);
    command.arg("--one-by-one");
    let bare = stage.start("bare", command).await?;
    let seconds: f64 = bare.says("seconds").await?.parse()?;
    bare.stop().await;
    Ok(seconds * 1e3 / REQUESTS as f64)
}

/// Mean time of the calls to the provider for one image.
async fn provider_ms(provider: &str) -> anyhow::Result<f64> {
    let client = reqwest::Client::new();
    let url = format!("{provider}/v1/models/black-forest-labs/flux-schnell/predictions");
    let began = Instant::now();
    for _ in 0..REQUESTS {
        let submit = client.post(&url).bearer_auth("bench");
        let submit = submit.json(&json!({"input": {"prompt": "a red fox"}}));
        let job: Value = submit.send().await?.error_for_status()?.json().await?;
        let poll = client.get(job["urls"]["get"].as_str().unwrap_or_default());
        let poll = poll.bearer_auth("bench").send();
        let job: Value = poll.await?.error_for_status()?.json().await?;
        let file = client.get(job["output"][0].as_str().unwrap_or_default());
        file.send().await?.error_for_status()?.bytes().await?;
    }
    Ok(ms(began) / REQUESTS as f64)
}
