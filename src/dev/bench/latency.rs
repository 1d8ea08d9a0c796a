//! How long one request and one webhook take while nothing else runs, beside the sum of the calls that they cannot do
//! without.

use std::time::{Duration, Instant};

use serde_json::json;

use super::bare::{self, post};
use super::endpoints::Endpoints;
use super::events::Events;
use super::notifier::publish;
use super::provider::Provider;
use super::report::Report;
use super::requests::image;
use super::stage::{Stage, Stages};
use crate::domain::EventType;
use crate::engines::http;
use crate::engines::kafka::tail::{From, Next, Tail};
use crate::operate::cli::local::Bench;

const ROW: &str = "latency";
/// Requests of a round, one after the other.
const REQUESTS: usize = 50;
/// Length of the body of a webhook.
const BODY: usize = 1_000;

pub(super) async fn run(
    stages: &Stages<'_>,
    bench: &Bench,
    report: &mut Report,
) -> anyhow::Result<()> {
    let provider = Provider::start().await?;
    for _ in 0..bench.rounds {
        let bare = Box::pin(Bare::measure(stages, &provider, report)).await?;
        let (started, completed) = requests(stages, &provider).await?;
        for (of, times, sum) in [
            ("to STARTED", started, bare.to_started()),
            ("to COMPLETED", completed, bare.to_completed()),
            (
                "event to webhook",
                webhooks(stages).await?,
                bare.to_webhook(),
            ),
        ] {
            let median = report.add_times((ROW, of), times);
            report.add(ROW, of, "× bare", median / sum);
        }
    }
    Ok(())
}

/// Measures requests, from the send of each; returns the times to STARTED and to COMPLETED.
async fn requests(
    stages: &Stages<'_>,
    provider: &Provider,
) -> anyhow::Result<(Vec<f64>, Vec<f64>)> {
    let stage = stages.open(&provider.settings()).await?;
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
    Ok((started, completed))
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

/// Measures webhooks, from the publishing of each event until the endpoint has it.
async fn webhooks(stages: &Stages<'_>) -> anyhow::Result<Vec<f64>> {
    let stage = stages.open(&[]).await?;
    let notifier = stage.role("notifier").await?;
    let endpoint = Endpoints::open(1, Duration::ZERO).await?;
    let mut times = Vec::new();
    for number in 0..REQUESTS {
        let began = Instant::now();
        publish(&stage, number, &endpoint.urls[0]).await?;
        notifier.until(endpoint.arrived(number + 1)).await??;
        times.push(ms(began));
    }
    notifier.stop().await;
    Ok(times)
}

fn ms(began: Instant) -> f64 {
    began.elapsed().as_secs_f64() * 1e3
}

/// The mean times of the bare calls, in milliseconds.
struct Bare {
    record: f64,
    /// A workflow with one activity, and one with two.
    workflows: [f64; 2],
    provider: f64,
    post: f64,
}

impl Bare {
    async fn measure(
        stages: &Stages<'_>,
        provider: &Provider,
        report: &mut Report,
    ) -> anyhow::Result<Self> {
        let stage = stages.open(&[]).await?;
        let bare = Self {
            record: record_ms(&stage).await?,
            workflows: [
                workflow_ms(stages, "1").await?,
                workflow_ms(stages, "2").await?,
            ],
            provider: provider_ms(provider).await?,
            post: post_ms().await?,
        };
        for (of, value) in [
            ("bare: record to reader", bare.record),
            ("bare: workflow with 1 activity", bare.workflows[0]),
            ("bare: workflow with 2 activities", bare.workflows[1]),
            ("bare: submit, poll, download", bare.provider),
            ("bare: post", bare.post),
            ("bare: sum to STARTED", bare.to_started()),
            ("bare: sum to COMPLETED", bare.to_completed()),
            ("bare: sum to webhook", bare.to_webhook()),
        ] {
            report.add(ROW, of, "ms", value);
        }
        Ok(bare)
    }

    /// The record of the request, the start and the activity that publishes STARTED, and the record of the event.
    fn to_started(&self) -> f64 {
        2.0 * self.record + self.workflows[0]
    }

    /// The record of the request, a run with its two activities, the provider, and the record of the event.
    fn to_completed(&self) -> f64 {
        2.0 * self.record + self.workflows[1] + self.provider
    }

    fn to_webhook(&self) -> f64 {
        self.record + self.post
    }
}

/// Mean time from a send until a reader has the record.
async fn record_ms(stage: &Stage) -> anyhow::Result<f64> {
    let topic = &stage.config.kafka.topics.requests;
    let tail = Tail::open(&stage.config.kafka, topic, From::End).await?;
    let began = Instant::now();
    for number in 0..REQUESTS {
        stage.send(&image(&stage.id(number))?).await?;
        while !matches!(tail.next().await?, Next::Record(_)) {}
    }
    Ok(ms(began) / REQUESTS as f64)
}

/// Mean time of a workflow with that many empty activities, from its start to the last of them.
async fn workflow_ms(stages: &Stages<'_>, activities: &str) -> anyhow::Result<f64> {
    let stage = stages.open(&[]).await?;
    let more = ["--one-by-one", "--activities", activities];
    let bare = bare::workflows(stages, &stage, REQUESTS, &more).await?;
    let seconds = bare.seconds().await?;
    bare.stop().await;
    Ok(seconds * 1e3 / REQUESTS as f64)
}

/// Mean time of the calls to the provider for one image.
async fn provider_ms(provider: &Provider) -> anyhow::Result<f64> {
    let client = http::client().build()?;
    let began = Instant::now();
    for _ in 0..REQUESTS {
        let file = provider.image(&client, json!({})).await?;
        file.bytes().await?;
    }
    Ok(ms(began) / REQUESTS as f64)
}

/// Mean time of a post.
async fn post_ms() -> anyhow::Result<f64> {
    let endpoint = Endpoints::open(1, Duration::ZERO).await?;
    let client = http::client().build()?;
    let began = Instant::now();
    for _ in 0..REQUESTS {
        post(&client, &endpoint.urls[0], BODY).await?;
    }
    Ok(ms(began) / REQUESTS as f64)
}
