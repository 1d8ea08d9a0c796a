//! Jobs that wait at the provider, and what they cost while nothing happens.

use std::time::Duration;

use serde_json::json;
use tokio::time::sleep;

use super::measure;
use super::report::Report;
use super::requests::{Server, at, image, instant_provider};
use super::stage::Stages;
use crate::domain::{EventType, Request, Single, Spec};
use crate::operate::cli::local::Bench;

const ROW: &str = "in-flight";
/// How long the processes are observed.
const OBSERVED: Duration = Duration::from_secs(30);
/// Time for the last fetches to begin.
const SETTLE: Duration = Duration::from_secs(10);

pub(super) async fn run(
    stages: &Stages<'_>,
    bench: &Bench,
    report: &mut Report,
) -> anyhow::Result<()> {
    let (provider, _stop) = instant_provider().await?;
    let slots = bench.in_flight.to_string();
    let mut settings = at(&provider).to_vec();
    settings.push(("WORKER_FETCH_SLOTS", &slots));
    let stage = stages.open(&settings).await?;
    let mut worker = stage.role("worker").await?;
    let intake = stage.role("intake").await?;
    let events = stage.events().await?;
    let sending = async {
        for number in 0..bench.in_flight {
            stage.send(&endless(&stage.id(number))?).await?;
        }
        anyhow::Ok(())
    };
    let starting = events.reached(EventType::Started, bench.in_flight);
    tokio::try_join!(sending, starting)?;
    sleep(SETTLE).await;
    let of = format!("{slots} jobs");
    for _ in 0..bench.rounds {
        worker.begin()?;
        let server = Server::begin(stages)?;
        sleep(OBSERVED).await;
        let share = |cpu_ms: f64| cpu_ms / OBSERVED.as_secs_f64() / 10.0;
        let mut add = |unit, value| report.add(ROW, &of, unit, value);
        add("worker % of a core", share(worker.cpu_ms()?));
        add("Temporal % of a core", share(server.cpu_ms()?));
        add("worker peak MB", measure::peak_mb(worker.pid()?)?);
    }
    worker.stop().await;
    intake.stop().await;
    Ok(())
}

/// Returns a request whose job takes longer than the measurement.
fn endless(id: &str) -> anyhow::Result<Request> {
    let mut request = image(id)?;
    if let Spec::Single(Single::Image(image)) = &mut request.spec {
        let script = json!({"seconds": 36_000.0}).to_string();
        image.common.params.insert("sim".to_owned(), script);
    }
    Ok(request)
}
