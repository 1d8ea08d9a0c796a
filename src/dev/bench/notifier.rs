//! Deliveries of webhooks beside a bare HTTP loop that makes as many posts at once.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use futures::stream::{self, TryStreamExt as _};

use super::endpoints::Endpoints;
use super::report::Report;
use super::stage::{Stage, Stages};
use crate::contract::seal::{self, Sealer};
use crate::domain::{Event, EventType, Generated, Kind, Notify, Output, RequestId, Targets};
use crate::engines::clock;
use crate::operate::cli::local::Bench;

const ROW: &str = "notifier";
/// The metric of the notifier that counts the notifications it is done with.
const ENDED: &str = "genflow_notification_seconds_count";
/// Endpoints: enough that none gets more than its share of the attempts by chance.
const ENDPOINTS: usize = 64;
/// How long the endpoints take to answer.
const ANSWERS: [Duration; 2] = [Duration::ZERO, Duration::from_millis(100)];

pub(super) async fn run(
    stages: &Stages<'_>,
    bench: &Bench,
    report: &mut Report,
) -> anyhow::Result<()> {
    for _ in 0..bench.rounds {
        for answer in ANSWERS {
            deliver(stages, bench.requests, answer, report).await?;
        }
    }
    Ok(())
}

/// Delivers that many events, and then posts as many bodies in the bare loop.
async fn deliver(
    stages: &Stages<'_>,
    events: usize,
    answer: Duration,
    report: &mut Report,
) -> anyhow::Result<()> {
    let answers = match answer.as_millis() {
        0 => "answers at once".to_owned(),
        ms => format!("answers after {ms} ms"),
    };
    let ours = format!("genflow, {answers}");
    let theirs = format!("bare HTTP loop, {answers}");
    let stage = stages.open(&[]).await?;
    let endpoints = Endpoints::open(ENDPOINTS, answer).await?;
    stream::iter((0..events).map(anyhow::Ok))
        .try_for_each_concurrent(512, |number| {
            let url = &endpoints.urls[number % ENDPOINTS];
            publish(&stage, number, url)
        })
        .await?;
    let notifier = stage.role("notifier").await?;
    let costs = stages.measure(&[&notifier])?;
    // It joins its group first.
    notifier.until(endpoints.arrived(1)).await??;
    let began = Instant::now();
    let arrived = notifier.until(endpoints.arrived(events)).await??;
    let seconds = (began.elapsed() + answer).as_secs_f64();
    notifier.until(notifier.counted(ENDED, events)).await??;
    let own = costs.add(report, (ROW, &ours), ("deliveries", events), seconds)?;
    report.add(ROW, &ours, "deliveries/s of a core", 1e3 / own);
    notifier.stop().await;

    let mut arguments = vec!["posts".to_owned()];
    for (name, value) in [
        ("--number", events),
        ("--at-once", stage.config.notifier.concurrency),
        ("--bytes", arrived.bytes / arrived.posts),
    ] {
        arguments.extend([name.to_owned(), value.to_string()]);
    }
    for url in &endpoints.urls {
        arguments.extend(["--url".to_owned(), url.clone()]);
    }
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let bare = stage.bare(&arguments).await?;
    let costs = stages.measure(&[&bare])?;
    let seconds = bare.seconds().await?;
    costs.add(report, (ROW, &theirs), ("deliveries", events), seconds)?;
    bare.stop().await;
    let compared = ["deliveries/s", "own CPU-ms"];
    report.compare((ROW, &ours), &compared, (&theirs, "× bare"));
    Ok(())
}

/// Publishes the outcome of an image, with `webhook` as its target. Each webhook has a user of its own, because the
/// notifier gives one user only a part of its attempts.
pub(super) async fn publish(stage: &Stage, number: usize, webhook: &str) -> anyhow::Result<()> {
    let id = stage.id(number);
    let workflow = RequestId::try_from(id.clone())?.run(0);
    let mut event = Event {
        event_id: Event::id(&workflow, "run", 1),
        request_id: id.clone(),
        retry: 0,
        sequence: 1,
        batch_id: None,
        user_id: webhook.replace(|c: char| !c.is_ascii_alphanumeric(), "-"),
        kind: Kind::Image,
        event_type: EventType::Completed,
        occurred_at: clock::now(),
        workflow_id: Some(id.clone()),
        run_id: Some("run".to_owned()),
        progress: None,
        result: Some(generated(&id)),
        batch: None,
        error: None,
        record: None,
        notify: None,
        metadata: BTreeMap::new(),
        tried: Vec::new(),
    };
    let targets = Targets::parse(Some(webhook), None, None)?;
    let sealer = Sealer::new(&stage.config.notify_keys)?;
    event.notify = Some(Notify {
        on: vec![EventType::Completed],
        sealed: sealer.seal(&targets, seal::context(&event))?,
    });
    stage.publish(event).await
}

fn generated(request: &str) -> Generated {
    Generated {
        outputs: vec![Output {
            uri: format!("file:///results/{request}/0-0.png"),
            url: None,
            content_type: "image/png".to_owned(),
            bytes: 1_048_576,
            sha256: "0123456789abcdef".repeat(4),
            width: Some(1024),
            height: Some(1024),
            duration_seconds: None,
        }],
        provider: "replicate".to_owned(),
        provider_job_id: "job".to_owned(),
        elapsed_ms: 4_200,
        cost_usd: None,
        cost_source: None,
        sent: None,
        notes: Vec::new(),
        model: None,
    }
}
