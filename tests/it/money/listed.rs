//! Jobs that only the provider's list knows: far back in the list, behind a gateway, or listed after the lookups.

use std::net::SocketAddr;
use std::time::Duration;

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::extract::{Request as Call, State};
use axum::http::Response;
use axum::http::header::{CONTENT_LENGTH, HOST, TRANSFER_ENCODING};
use axum::response::IntoResponse as _;
use futures::future::join_all;
use genflow::dev::simulator::{Simulator, SimulatorOptions};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use super::{AMBIGUOUS, COMPLETED, borrowed, end, served_at};
use crate::support::cutter::{Cut, Cutter};
use crate::support::requests::{image, script};
use crate::support::{Space, Watched, eventually};

/// More than two pages of the list.
const OTHERS: usize = 230;

/// Starts a separate simulator, whose list other tests do not fill.
async fn simulator() -> SocketAddr {
    let options = SimulatorOptions {
        listen: ([127, 0, 0, 1], 0).into(),
        job_time: Duration::from_millis(300),
    };
    let simulator = Simulator::bind(options).await.unwrap();
    let address = simulator.address();
    tokio::spawn(simulator.run(CancellationToken::new()));
    address
}

/// Starts a gateway in front of the simulator, whose answers contain the simulator's own URLs. Returns the gateway's
/// base URL, which has a path.
async fn gateway(simulator: SocketAddr) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let base = format!("http://{}/gateway", listener.local_addr().unwrap());
    let router = Router::new().fallback(pass).with_state(simulator);
    tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
    base
}

async fn pass(State(simulator): State<SocketAddr>, call: Call) -> Response<Body> {
    let (mut head, body) = call.into_parts();
    let path = head.uri.to_string();
    let path = path.strip_prefix("/gateway").unwrap();
    for name in [HOST, CONTENT_LENGTH, TRANSFER_ENCODING] {
        head.headers.remove(name);
    }
    let passed = reqwest::Client::new()
        .request(head.method, format!("http://{simulator}{path}"))
        .headers(head.headers)
        .body(to_bytes(body, usize::MAX).await.unwrap());
    let answer = passed.send().await.unwrap();
    (answer.status(), answer.bytes().await.unwrap()).into_response()
}

async fn entry(simulator: SocketAddr, key: &str) -> Value {
    let url = format!("http://{simulator}/_sim/ledger?key={key}");
    let body = reqwest::get(url).await.unwrap().bytes().await.unwrap();
    let value: Value = serde_json::from_slice(&body).unwrap();
    value["entries"][0].clone()
}

#[tokio::test]
async fn a_job_is_found_on_the_third_page_of_a_list_behind_a_gateway() {
    // The files have URLs of the simulator, not of the gateway.
    let space = Space::with(&[("DOWNLOAD_ALLOW_PRIVATE", "true")]).await;
    let simulator = simulator().await;
    let base = gateway(simulator).await;
    let settings = [("IMAGE_API_BASE_URL", base.as_str())];
    let _intake = space.start(&["intake"]);
    let killed = [settings[0], ("GENFLOW_FAILPOINT", "submit.sent=kill")];
    let mut first = space.start_with(&["worker"], &killed);
    let request = image("listed");
    space.send(&request).await;
    first.ended().await;
    let client = reqwest::Client::new();
    let others = (0..OTHERS).map(async |number| {
        let order = json!({"input": {"prompt": "a cat", "genflow_id": format!("other-{number}")}});
        let submit = client
            .post(format!("http://{simulator}/v1/models/a/b/predictions"))
            .bearer_auth(space.name())
            .body(order.to_string());
        assert_eq!(submit.send().await.unwrap().status(), 201);
    });
    join_all(others).await;

    let _second = space.start_with(&["worker"], &settings);

    let events = space.story(request.id.as_str()).await;
    assert_eq!(end(&events), COMPLETED);
    let entry = entry(simulator, request.id.as_str()).await;
    assert_eq!(
        (&entry["submits"], &entry["accepted"]),
        (&json!(1), &json!(1))
    );
}

/// The run has failed as ambiguous by then, so the job is useless.
#[tokio::test]
async fn a_job_that_is_listed_after_its_submit_was_given_up_is_canceled() {
    let space = Space::with(&[("SUBMIT_TIMEOUT", "1s")]).await;
    let cutter = Cutter::before(&space.engines.simulator).await;
    let settings = served_at(&cutter.url);
    let _intake = space.start(&["intake"]);
    let worker = Watched::start(&space, "worker", &borrowed(&settings));
    let request = script(image("late"), &json!({"stuck": true}));
    cutter.plan(request.id.as_str(), Cut::Unread);
    space.send(&request).await;
    // Five lookups by submit, and the first one by finish.
    eventually("finish looks the job up", async || {
        let metrics = worker.page("metrics").await;
        let looks = metrics.lines().filter(|line| {
            line.starts_with("genflow_provider_call_seconds_count")
                && line.contains("step=\"find\"")
        });
        let looks = looks.map(|line| line.rsplit(' ').next().unwrap().parse::<u32>().unwrap());
        (looks.sum::<u32>() >= 6).then_some(())
    })
    .await;

    cutter.answer();

    let events = space.story(request.id.as_str()).await;
    assert_eq!(end(&events), AMBIGUOUS);
    let bill = space.bill(request.id.as_str()).await;
    assert_eq!(bill.statuses, ["canceled"]);
}
