//! Jobs that wait at the provider, and what they cost while nothing happens: polled as usual, and with callbacks.

use std::net::TcpListener;
use std::time::Duration;

use serde_json::json;
use tokio::time::sleep;

use super::provider::Provider;
use super::report::Report;
use super::requests::scripted;
use super::stage::Stages;
use crate::domain::EventType;
use crate::operate::cli::local::Bench;

/// A video's default deadline, by which the heartbeats of `fetch` are paced.
const AS_A_VIDEO: Duration = Duration::from_secs(3600);
const ROW: &str = "in-flight";
/// How long the processes are observed: jobs that start together send their heartbeats together, two thirds of five
/// minutes apart.
const OBSERVED: Duration = Duration::from_secs(200);
/// After this time polls and heartbeats are as rare as they get: polls 20 s apart.
const SETTLE: Duration = Duration::from_secs(210);

pub(super) async fn run(
    stages: &Stages<'_>,
    bench: &Bench,
    report: &mut Report,
) -> anyhow::Result<()> {
    let polled = format!("{} jobs", bench.jobs);
    wait(stages, bench, (report, &polled), &[]).await?;
    let address = TcpListener::bind("127.0.0.1:0")?.local_addr()?.to_string();
    let url = format!("http://{address}");
    let called = [("CALLBACK_URL", &*url), ("CALLBACK_ADDR", &address)];
    wait(
        stages,
        bench,
        (report, &format!("{polled}, callbacks")),
        &called,
    )
    .await
}

async fn wait(
    stages: &Stages<'_>,
    bench: &Bench,
    (report, variant): (&mut Report, &str),
    further: &[(&'static str, &str)],
) -> anyhow::Result<()> {
    let provider = Provider::start().await?;
    // With fewer, these jobs of one user would give slots back to others: one user gets nine tenths of them.
    let slots = (bench.jobs * 2).to_string();
    let mut settings = provider.settings();
    settings.push(("WORKER_FETCH_SLOTS", &slots));
    settings.extend(further);
    let stage = stages.open(&settings).await?;
    let events = stage.events().await?;
    let worker = stage.role("worker").await?;
    let intake = stage.role("intake").await?;
    // Each takes longer than the measurement.
    let endless = json!({"seconds": 36_000.0});
    let sending = async {
        for number in 0..bench.jobs {
            let mut request = scripted(&stage.id(number), &endless)?;
            request.timeout = Some(AS_A_VIDEO);
            stage.send(&request).await?;
        }
        anyhow::Ok(())
    };
    let starting = events.reached(EventType::Started, bench.jobs);
    tokio::try_join!(sending, starting)?;
    sleep(SETTLE).await;
    for _ in 0..bench.rounds {
        let costs = stages.measure(&[&worker])?;
        let polls = provider.polls().await?;
        sleep(OBSERVED).await;
        let polls = (provider.polls().await? - polls) as f64;
        costs.add_shares(report, (ROW, variant))?;
        report.add(ROW, variant, "polls/s", polls / OBSERVED.as_secs_f64());
    }
    worker.stop().await;
    intake.stop().await;
    Ok(())
}
