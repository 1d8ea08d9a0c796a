//! The simulator over real HTTP, as a client sees it: its own pages, and the harness for the tests of the protocols.

use std::future::Future;

use reqwest::{Client, Method, RequestBuilder};
use serde_json::json;
use tokio::task::JoinHandle;
use tokio_util::sync::DropGuard;

use super::*;

mod fal;
mod faults;
mod openai;
mod replicate;

/// The path of a model that the simulator takes for one with the usual inputs.
const MODEL: &str = "/v1/models/me/mine/predictions";
const SOON: Duration = Duration::from_secs(20);

/// A running simulator and a client of it.
struct Sim {
    address: SocketAddr,
    http: Client,
    stop: DropGuard,
    served: JoinHandle<io::Result<()>>,
}

impl Sim {
    async fn start() -> Self {
        rustls::crypto::ring::default_provider()
            .install_default()
            .ok();
        let listen = SocketAddr::from(([127, 0, 0, 1], 0));
        let simulator = Simulator::bind(SimulatorOptions {
            listen,
            job_time: Duration::from_millis(20),
        })
        .await
        .unwrap();
        let address = simulator.address();
        let stop = CancellationToken::new();
        let served = tokio::spawn(simulator.run(stop.clone()));
        Self {
            address,
            http: Client::new(),
            stop: stop.drop_guard(),
            served,
        }
    }

    /// Starts a request with a good token; `to` is a path, or a URL from the simulator.
    fn request(&self, method: Method, to: &str) -> RequestBuilder {
        self.keyless(method, to).bearer_auth("good")
    }

    fn keyless(&self, method: Method, to: &str) -> RequestBuilder {
        let url = if to.starts_with('/') {
            format!("http://{}{to}", self.address)
        } else {
            to.to_owned()
        };
        self.http.request(method, url)
    }

    async fn get(&self, to: &str) -> (u16, Value) {
        json_of(self.request(Method::GET, to)).await
    }

    async fn post(&self, to: &str, body: Value) -> (u16, Value) {
        json_of(self.request(Method::POST, to).json(&body)).await
    }

    /// Submits `input`, asserts that it is accepted, and returns the prediction.
    async fn submit(&self, input: Value) -> Value {
        let (status, prediction) = self.post(MODEL, json!({"input": input})).await;
        assert_eq!(status, 201, "{prediction}");
        prediction
    }

    /// Reads `prediction` until `wanted` returns true for it.
    async fn until(&self, prediction: &Value, wanted: impl Fn(&Value) -> bool) -> Value {
        let url = prediction["urls"]["get"].as_str().unwrap();
        within(async {
            loop {
                let (_, read) = self.get(url).await;
                if wanted(&read) {
                    break read;
                }
            }
        })
        .await
    }

    /// Submits `input` and reads it until it has succeeded.
    async fn succeed(&self, input: Value) -> Value {
        let prediction = self.submit(input).await;
        self.until(&prediction, |read| read["status"] == "succeeded")
            .await
    }

    /// Returns the ledger's one entry for `key`.
    async fn entry(&self, key: &str) -> Value {
        let (_, mut ledger) = self.get(&format!("/_sim/ledger?key={key}")).await;
        assert_eq!(ledger["entries"].as_array().unwrap().len(), 1, "{ledger}");
        ledger["entries"][0].take()
    }
}

async fn json_of(request: RequestBuilder) -> (u16, Value) {
    let response = request.send().await.unwrap();
    let status = response.status().as_u16();
    (status, response.json().await.unwrap_or_default())
}

async fn within<T>(work: impl Future<Output = T>) -> T {
    tokio::time::timeout(SOON, work)
        .await
        .expect("took too long")
}

#[tokio::test]
async fn an_unknown_job_file_or_path_is_not_found() {
    let sim = Sim::start().await;

    for path in ["/v1/predictions/nope", "/files/nope/0.png", "/nope"] {
        let (status, problem) = sim.get(path).await;
        assert_eq!((status, &problem["status"]), (404, &json!(404)), "{path}");
    }
    let (status, _) = sim.post("/v1/predictions/nope/cancel", json!({})).await;
    assert_eq!(status, 404);
}

#[tokio::test]
async fn the_ledger_counts_two_submits_of_one_client_id_as_two_jobs() {
    let sim = Sim::start().await;
    for (header, own) in [(Some("a"), "ignored"), (None, "a"), (None, "b")] {
        let mut request = sim.request(Method::POST, MODEL);
        if let Some(header) = header {
            request = request.header("Idempotency-Key", header);
        }
        json_of(request.json(&json!({"input": {"prompt": "a cat", "genflow_id": own, "fps": 1}})))
            .await;
    }

    let a = sim.entry("a").await;
    let (_, whole) = sim.get("/_sim/ledger").await;

    assert_eq!((&a["submits"], &a["accepted"]), (&json!(2), &json!(2)));
    assert_eq!(a["jobs"].as_array().unwrap().len(), 2);
    assert_eq!(whole["entries"].as_array().unwrap().len(), 2);
}

#[tokio::test]
async fn its_own_pages_need_no_key() {
    let sim = Sim::start().await;

    for path in ["/", "/_sim/health"] {
        let response = sim.keyless(Method::GET, path).send().await.unwrap();
        assert_eq!(response.status(), 200);
        assert!(
            response.headers()["content-type"]
                .to_str()
                .unwrap()
                .starts_with("text/plain")
        );
    }
}
