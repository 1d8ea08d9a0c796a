//! Checks what a request costs against committed figures (`counts/*.txt`): history, calls to Temporal and the provider,
//! records, syncs. A higher figure fails, and so does a lower one until it is committed. The allocations of the pure path
//! are in `tests/allocations.rs`.
//!
//! Calls whose number depends on time are not counted: task polls, commits of offsets, and periodic calls.

mod figures;
mod history;
mod syncs;
mod table;
mod tally;

use axum::http::{Method, Request as Call};
use genflow::domain::{EventType, Request};
use hyper::body::Incoming;
use serde_json::json;

use self::figures::{growth, lowest};
use self::history::add_histories;
use self::syncs::Syncs;
use self::table::{Figures, check};
use self::tally::{Server, Tally};
use crate::support::described::Described as _;
use crate::support::ledger::types;
use crate::support::process::Process;
use crate::support::requests::{image, script, video};
use crate::support::stories::stories;
use crate::support::{Space, eventually};

/// Number of requests, one after another.
const REQUESTS: usize = 20;

#[tokio::test]
async fn an_image_that_is_done_at_once_costs_as_much_as_before() {
    let measured = measure("30s", || script(image("counted"), &json!({"seconds": 0.0}))).await;

    check("image", measured);
}

#[tokio::test]
async fn a_video_that_is_fetched_costs_as_much_as_before() {
    let slow = json!({"seconds": 0.0, "done_at_read": 3});
    let measured = measure("0s", || script(video("counted"), &slow)).await;

    check("video", measured);
}

/// Returns the figures of the cheapest of several requests, one after another, with this `SUBMIT_WAIT`.
async fn measure(submit_wait: &str, request: impl Fn() -> Request) -> Figures {
    // The last two are longer than the test.
    let settings = [
        ("SUBMIT_WAIT", submit_wait),
        ("PROGRESS_INTERVAL", "1h"),
        ("SWEEP_INTERVAL", "1h"),
    ];
    let space = Space::with(&settings).await;
    let roles = tokio::join!(Role::start("worker", &space), Role::start("intake", &space));
    let roles: [Role; 2] = roles.into();
    let counts = || -> Figures { roles.iter().flat_map(Role::counts).collect() };
    let requests: Vec<Request> = std::iter::repeat_with(request).take(REQUESTS).collect();
    let temporal = space.temporal().await;
    let mut measured = Vec::new();
    for request in &requests {
        let earlier = counts();
        space.send(request).await;
        let run = request.id.run(0);
        eventually("the workflow closes", async || {
            temporal.is_closed(&run).await.then_some(())
        })
        .await;
        measured.push(growth(&earlier, &counts()));
    }
    for events in stories(&space, &requests.iter().collect::<Vec<_>>()).await {
        assert_eq!(types(&events).last(), Some(&EventType::Completed));
    }
    add_histories(&space, &requests, &mut measured).await;
    add_records(&space, &requests, &mut measured).await;
    lowest(&measured)
}

/// A role, with proxies that count its calls.
struct Role {
    name: &'static str,
    temporal: Tally,
    provider: Tally,
    syncs: Syncs,
    _process: Process,
}

impl Role {
    async fn start(name: &'static str, space: &Space) -> Self {
        let engines = space.engines;
        let temporal = Tally::before(TEMPORAL, &engines.temporal).await;
        let simulator = engines.simulator.strip_prefix("http://").unwrap();
        let provider = Tally::before(PROVIDER, simulator).await;
        let syncs = Syncs::of(name, space.folder());
        let url = format!("http://{}", provider.address);
        let mut settings = vec![
            ("TEMPORAL_HOST", temporal.address.as_str()),
            ("VIDEO_API_BASE_URL", &url),
            ("IMAGE_API_BASE_URL", &url),
        ];
        settings.extend(syncs.settings());
        let process = space.start_with(&[name], &settings);
        Self {
            name,
            temporal,
            provider,
            syncs,
            _process: process,
        }
    }

    /// Returns what the role has done until now.
    fn counts(&self) -> Figures {
        let name = self.name;
        let temporal = self.temporal.counts().into_iter();
        let temporal = temporal.filter(|(call, _)| !call.starts_with("Poll"));
        let temporal = temporal.map(|(call, count)| (format!("{name} to Temporal: {call}"), count));
        let provider = self.provider.counts().into_iter();
        let provider = provider.map(|(call, count)| (format!("{name} to provider: {call}"), count));
        let syncs = (format!("{name}: files synced"), self.syncs.count());
        temporal.chain(provider).chain([syncs]).collect()
    }
}

const TEMPORAL: Server = Server {
    name: |call| {
        let method = call.uri().path().rsplit('/').next();
        method.unwrap_or_default().to_owned()
    },
    speaks_http2: true,
};

/// Replicate's API, and the files that it offers.
const PROVIDER: Server = Server {
    name: provider_call,
    speaks_http2: false,
};

fn provider_call(call: &Call<Incoming>) -> String {
    let path = call.uri().path();
    let name = match *call.method() {
        Method::POST if path.ends_with("/cancel") => "cancel",
        Method::POST => "submit",
        _ if path.starts_with("/files/") => "download",
        _ if path.ends_with("/predictions") => "list",
        _ if path.starts_with("/v1/predictions/") => "poll",
        _ => path,
    };
    name.to_owned()
}

/// Adds the number of records that each request caused, by the variable that names their topic; their keys are its id.
async fn add_records(space: &Space, requests: &[Request], measured: &mut [Figures]) {
    for (variable, topic) in &space.variables {
        if !variable.starts_with("TOPIC_") || variable == "TOPIC_REQUESTS" {
            continue;
        }
        let records = space.read(topic).await.all().await;
        for (request, figures) in requests.iter().zip(&mut *measured) {
            let id = request.id.as_str().as_bytes();
            let its_own = records
                .iter()
                .filter(|record| record.key.as_deref() == Some(id));
            figures.insert(format!("records: {variable}"), its_own.count() as u64);
        }
    }
}
