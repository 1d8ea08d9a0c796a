//! Whole requests, from Kafka to COMPLETED, beside a bare SDK worker with as many activities that do nothing.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use anyhow::Context as _;
use clap::ValueEnum as _;
use futures::stream::{self, TryStreamExt as _};
use serde_json::Value;
use tokio::time::sleep;

use super::bare;
use super::provider::Provider;
use super::report::{Case, Report};
use super::stage::{Stage, Stages};
use crate::domain::{Common, EventType, ImageSpec, Priority, Request, Single, Targets};
use crate::engines::temporal::client::Temporal;
use crate::operate::cli::local::{Bench, Extra};

const ROW: &str = "requests";
const EXTRAS: &str = "extras";
/// The figures that genflow is compared by.
const COMPARED: [&str; 3] = ["requests/s", "own CPU-ms", "Temporal CPU-ms"];

pub(super) async fn run(
    stages: &Stages<'_>,
    bench: &Bench,
    report: &mut Report,
) -> anyhow::Result<()> {
    let provider = Provider::start().await?;
    let bares = ["2", "3"].map(|n| (n, format!("bare SDK worker, {n} activities")));
    for _ in 0..bench.rounds {
        for (activities, of) in &bares {
            let more = ["--activities", activities];
            bare_runs(stages, bench, &more, (ROW, of), report).await?;
        }
        let mut what = Whole {
            case: (ROW, "genflow"),
            requests: bench.requests,
            python: None,
            waiting: false,
        };
        what.measure(stages, &provider, report).await?;
        // A run has two activities.
        report.compare(what.case, &COMPARED, (&bares[0].1, "× bare"));
        if let Some(python) = &bench.peer {
            let peer = "Python peer";
            what.case = (ROW, peer);
            what.python = Some(python);
            what.measure(stages, &provider, report).await?;
            report.compare((ROW, "genflow"), &COMPARED, (peer, "× Python peer"));
        }
    }
    Ok(())
}

/// Measures what each part of a run costs the server.
pub(super) async fn extras(
    stages: &Stages<'_>,
    bench: &Bench,
    report: &mut Report,
) -> anyhow::Result<()> {
    let none = "none";
    for _ in 0..bench.rounds {
        let plain = ["--activities", "3"];
        bare_runs(stages, bench, &plain, (EXTRAS, none), report).await?;
        for &extra in Extra::value_variants() {
            let name = format!("{extra:?}").to_lowercase();
            let more = [&plain[..], &["--extra", &name]].concat();
            bare_runs(stages, bench, &more, (EXTRAS, &name), report).await?;
            report.compare((EXTRAS, &name), &["Temporal CPU-ms"], (none, "× none"));
        }
    }
    Ok(())
}

async fn bare_runs(
    stages: &Stages<'_>,
    bench: &Bench,
    more: &[&str],
    case: Case<'_>,
    report: &mut Report,
) -> anyhow::Result<()> {
    let stage = bare::measure_workflows(stages, bench.requests, more, case, report).await?;
    history(&stage, case, report).await
}

/// Whole requests that are measured: through genflow, or by the same path in Python if an interpreter is given.
pub(super) struct Whole<'a> {
    pub(super) case: Case<'a>,
    pub(super) requests: usize,
    pub(super) python: Option<&'a Path>,
    /// Whether all of them are in the topic before the roles start.
    pub(super) waiting: bool,
}

impl Whole<'_> {
    pub(super) async fn measure(
        &self,
        stages: &Stages<'_>,
        provider: &Provider,
        report: &mut Report,
    ) -> anyhow::Result<()> {
        let stage = stages.open(&provider.settings()).await?;
        let events = stage.events().await?;
        if self.waiting {
            send(&stage, self.requests).await?;
        }
        let role = async |name| match self.python {
            None => stage.role(name).await,
            Some(python) => stage.peer(python, name).await,
        };
        let (worker, intake) = (role("worker").await?, role("intake").await?);
        let costs = stages.measure(&[&worker, &intake])?;
        let sending = async {
            match self.waiting {
                true => Ok(()),
                false => send(&stage, self.requests).await,
            }
        };
        let completing = async {
            match self.python {
                None => events.reached(EventType::Completed, self.requests).await,
                Some(_) => events.contain("COMPLETED", self.requests).await,
            }
        };
        tokio::try_join!(sending, completing)?;
        let seconds = costs.seconds();
        costs.add(report, self.case, ("requests", self.requests), seconds)?;
        history(&stage, self.case, report).await?;
        let (row, of) = self.case;
        let written = stages.kafka_bytes(&stage)? as f64 / self.requests as f64;
        report.add(row, of, "Kafka bytes", written);
        worker.stop().await;
        intake.stop().await;
        Ok(())
    }
}

/// Sends that many requests for an image.
pub(super) async fn send(stage: &Stage, number: usize) -> anyhow::Result<()> {
    stream::iter((0..number).map(anyhow::Ok))
        .try_for_each_concurrent(64, |number| async move {
            stage.send(&image(&stage.id(number))?).await
        })
        .await
}

/// Adds the size of the round's first history, once it is complete: the last activity is not its last event.
async fn history(stage: &Stage, (row, of): Case<'_>, report: &mut Report) -> anyhow::Result<()> {
    let temporal = Temporal::connect(&stage.config.temporal).await?;
    let described = loop {
        let described = temporal.describe(&stage.id(0)).await?;
        let described = described.context("the workflow is gone")?;
        if described.close_time().is_some() {
            break described;
        }
        sleep(Duration::from_millis(20)).await;
    };
    let history = &described.info;
    report.add(row, of, "history events", history.history_length as f64);
    report.add(row, of, "history bytes", history.history_size_bytes as f64);
    Ok(())
}

/// Returns the request for one image.
pub(super) fn image(id: &str) -> anyhow::Result<Request> {
    request(id, picture())
}

/// Returns the request for one image whose job follows this script of the simulator.
pub(super) fn scripted(id: &str, script: &Value) -> anyhow::Result<Request> {
    let mut image = picture();
    let params = &mut image.common.params;
    params.insert("sim".to_owned(), script.to_string());
    request(id, image)
}

pub(super) fn picture() -> ImageSpec {
    ImageSpec {
        common: Common::new("a red fox in the snow, golden hour, 35 mm"),
        ..ImageSpec::default()
    }
}

fn request(id: &str, image: ImageSpec) -> anyhow::Result<Request> {
    Ok(Request {
        id: id.to_owned().try_into()?,
        user: "ann".to_owned().try_into()?,
        spec: Single::Image(image).into(),
        priority: Priority::Normal,
        timeout: None,
        targets: Targets::default(),
        notify_on: vec![EventType::Completed],
        metadata: BTreeMap::new(),
        requested_at: None,
    })
}
