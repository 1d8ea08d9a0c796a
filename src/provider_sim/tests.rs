//! The simulator over real HTTP: Replicate's protocol as a client sees it.
//!
//! Owns the harness too; what goes wrong on demand is in `tests/faults.rs`.

use std::{collections::HashSet, future::Future};

use reqwest::{Client, Method, RequestBuilder};
use serde_json::json;
use tokio::task::JoinHandle;
use tokio_util::sync::DropGuard;

use super::*;

mod faults;
mod protocols;

const MODEL: &str = "/v1/models/black-forest-labs/flux-schnell/predictions";
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
        let simulator = Simulator::bind(Options {
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

    /// Starts a request with a good token; `to` is a path, or a URL the simulator gave.
    fn request(&self, method: Method, to: &str) -> RequestBuilder {
        let url = if to.starts_with('/') {
            format!("http://{}{to}", self.address)
        } else {
            to.to_owned()
        };
        self.http.request(method, url).bearer_auth("good")
    }

    async fn get(&self, to: &str) -> (u16, Value) {
        json_of(self.request(Method::GET, to)).await
    }

    async fn post(&self, to: &str, body: Value) -> (u16, Value) {
        json_of(self.request(Method::POST, to).json(&body)).await
    }

    /// Submits `input`, which must be accepted; returns the prediction.
    async fn submit(&self, input: Value) -> Value {
        let (status, prediction) = self.post(MODEL, json!({"input": input})).await;
        assert_eq!(status, 201, "{prediction}");
        prediction
    }

    /// Reads `prediction` until `wanted` holds of it.
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

fn is_a_timestamp(value: &Value) -> bool {
    value
        .as_str()
        .is_some_and(|raw| chrono::DateTime::parse_from_rfc3339(raw).is_ok())
}

async fn within<T>(work: impl Future<Output = T>) -> T {
    tokio::time::timeout(SOON, work)
        .await
        .expect("took too long")
}

#[tokio::test]
async fn a_submit_answers_with_a_starting_prediction() {
    let sim = Sim::start().await;
    let input = json!({"prompt": "a cat", "genflow_id": "w1", "sim": {"seconds": 3600}});

    let prediction = sim.submit(input.clone()).await;

    let id = prediction["id"].as_str().unwrap();
    let url = format!("http://{}/v1/predictions/{id}", sim.address);
    assert_eq!(prediction["model"], "black-forest-labs/flux-schnell");
    assert_eq!(prediction["input"], input);
    assert_eq!(prediction["status"], "starting");
    assert_eq!(
        prediction["urls"],
        json!({"get": url, "cancel": format!("{url}/cancel")})
    );
    for absent in ["output", "error", "started_at", "completed_at"] {
        assert!(prediction[absent].is_null(), "{absent}");
    }
    assert!(is_a_timestamp(&prediction["created_at"]));
}

#[tokio::test]
async fn a_submit_by_version_names_its_model() {
    let sim = Sim::start().await;

    let body = json!({"version": "me/mine:abc123", "input": {"prompt": "a cat"}});
    let (status, prediction) = sim.post("/v1/predictions", body).await;
    assert_eq!(
        (status, &prediction["model"], &prediction["version"]),
        (201, &json!("me/mine"), &json!("abc123"))
    );

    let (status, problem) = sim
        .post("/v1/predictions", json!({"input": {"prompt": "a cat"}}))
        .await;
    assert_eq!(
        (status, &problem["title"]),
        (422, &json!("Input validation failed"))
    );
}

#[tokio::test]
async fn urls_are_built_from_the_host_header() {
    let sim = Sim::start().await;

    let request = sim
        .request(Method::POST, MODEL)
        .header("host", "replicate.test:99");
    let (_, prediction) = json_of(request.json(&json!({"input": {"prompt": "a cat"}}))).await;

    assert!(
        prediction["urls"]["get"]
            .as_str()
            .unwrap()
            .starts_with("http://replicate.test:99/v1/")
    );
}

#[tokio::test]
async fn every_api_route_wants_a_good_token() {
    let sim = Sim::start().await;
    let routes = [
        (Method::POST, MODEL),
        (Method::POST, "/v1/predictions"),
        (Method::GET, "/v1/predictions"),
        (Method::GET, "/v1/predictions/x"),
        (Method::POST, "/v1/predictions/x/cancel"),
    ];

    for (method, path) in routes {
        for header in [
            None,
            Some("Bearer "),
            Some("Bearer bad"),
            Some("Basic eDp5"),
        ] {
            let mut request = sim
                .http
                .request(method.clone(), format!("http://{}{path}", sim.address));
            if let Some(header) = header {
                request = request.header("authorization", header);
            }

            let (status, problem) = json_of(request).await;

            assert_eq!(
                (status, &problem["title"]),
                (401, &json!("Unauthenticated")),
                "{method} {path} {header:?}"
            );
            assert_eq!(problem["status"], 401);
        }
    }
}

#[tokio::test]
async fn an_input_that_is_not_valid_is_refused_and_not_accepted() {
    let sim = Sim::start().await;
    let bodies = [
        json!({}),
        json!({"input": {"genflow_id": "w"}}),
        json!({"input": {"prompt": 7}}),
        json!({"input": {"prompt": "a cat", "width": "wide"}}),
        json!({"input": {"prompt": "a cat", "sim": {"no_such_fault": true}}}),
    ];

    for body in bodies {
        let request = sim
            .request(Method::POST, MODEL)
            .header("idempotency-key", "w")
            .json(&body);
        let (status, problem) = json_of(request).await;
        assert_eq!(
            (status, &problem["title"]),
            (422, &json!("Input validation failed")),
            "{body}"
        );
        assert_eq!(problem["status"], 422);
    }

    let (status, _) = json_of(sim.request(Method::POST, MODEL).body("{not json")).await;
    assert_eq!(status, 422);
    let entry = sim.entry("w").await;
    assert_eq!(
        (&entry["submits"], &entry["accepted"]),
        (&json!(5), &json!(0))
    );
}

#[tokio::test]
async fn a_job_processes_with_growing_logs_and_succeeds() {
    let sim = Sim::start().await;
    let prediction = sim
        .submit(json!({"prompt": "a cat", "sim": {"seconds": 1.5}}))
        .await;

    let early = sim
        .until(&prediction, |read| read["status"] == "processing")
        .await;
    let later = sim
        .until(&prediction, |read| {
            read["logs"]
                .as_str()
                .unwrap()
                .contains(" 50%|█████     | 10/20")
        })
        .await;
    let done = sim
        .until(&prediction, |read| read["status"] == "succeeded")
        .await;

    assert!(later["logs"].as_str().unwrap().len() > early["logs"].as_str().unwrap().len());
    assert!(
        done["logs"]
            .as_str()
            .unwrap()
            .contains("100%|██████████| 20/20")
    );
    assert!(done["output"].is_array());
    let predicted = done["metrics"]["predict_time"].as_f64().unwrap();
    assert!((predicted - 1.35).abs() < 0.001, "{predicted}");
    assert!(is_a_timestamp(&done["started_at"]) && is_a_timestamp(&done["completed_at"]));
}

#[tokio::test]
async fn pictures_are_listed_one_by_one_and_can_be_fetched_without_a_token() {
    let sim = Sim::start().await;

    let input = json!({"prompt": "a cat", "width": 320, "height": 200, "num_outputs": 3});
    let done = sim.succeed(input).await;

    let urls: Vec<&str> = done["output"]
        .as_array()
        .unwrap()
        .iter()
        .map(|url| url.as_str().unwrap())
        .collect();
    let mut files = HashSet::new();
    for url in &urls {
        let response = sim.http.get(*url).send().await.unwrap();
        assert_eq!(response.headers()["content-type"], "image/png");
        let promised = response.content_length().unwrap();
        let bytes = response.bytes().await.unwrap();
        assert_eq!(bytes.len() as u64, promised);
        let info = png::Decoder::new(io::Cursor::new(&bytes))
            .read_info()
            .unwrap()
            .info()
            .size();
        assert_eq!(info, (320, 200));
        files.insert(bytes);
    }
    assert_eq!((urls.len(), files.len()), (3, 3));
    let (status, _) = sim.get(&urls[0].replace("0.png", "3.png")).await;
    assert_eq!(status, 404);
}

#[tokio::test]
async fn a_film_is_a_bare_url_of_a_playable_file() {
    let sim = Sim::start().await;

    let done = sim
        .succeed(json!({"prompt": "a cat", "duration": 2, "resolution": "1280x720", "fps": 24}))
        .await;

    let response = sim
        .http
        .get(done["output"].as_str().unwrap())
        .send()
        .await
        .unwrap();
    assert_eq!(response.headers()["content-type"], "video/mp4");
    let promised = response.content_length().unwrap();
    let bytes = response.bytes().await.unwrap();
    assert_eq!(bytes.len() as u64, promised);
    let film = mp4::Mp4Reader::read_header(io::Cursor::new(&bytes), promised).unwrap();
    assert_eq!(
        (film.duration(), film.tracks()[&1].sample_count()),
        (Duration::from_secs(2), 16)
    );
}

#[tokio::test]
async fn a_file_does_not_exist_before_its_job_succeeded() {
    let sim = Sim::start().await;
    let prediction = sim
        .submit(json!({"prompt": "a cat", "sim": {"stuck": true}}))
        .await;

    let (status, _) = sim
        .get(&format!(
            "/files/{}/0.png",
            prediction["id"].as_str().unwrap()
        ))
        .await;

    assert_eq!(status, 404);
}

#[tokio::test]
async fn a_cancel_ends_a_running_job_and_may_be_repeated() {
    let sim = Sim::start().await;
    let prediction = sim
        .submit(json!({"prompt": "a cat", "genflow_id": "w", "sim": {"seconds": 3600}}))
        .await;
    let url = prediction["urls"]["cancel"].as_str().unwrap();

    for _ in 0..2 {
        let (status, canceled) = sim.post(url, json!({})).await;
        assert_eq!((status, &canceled["status"]), (200, &json!("canceled")));
        assert!(canceled["output"].is_null() && canceled["completed_at"].is_string());
    }

    let job = &sim.entry("w").await["jobs"][0];
    assert_eq!(
        (&job["status"], &job["cancel_requests"]),
        (&json!("canceled"), &json!(2))
    );
}

#[tokio::test]
async fn a_cancel_comes_too_late_for_a_job_that_succeeded() {
    let sim = Sim::start().await;
    let done = sim.succeed(json!({"prompt": "a cat"})).await;

    let (status, after) = sim
        .post(done["urls"]["cancel"].as_str().unwrap(), json!({}))
        .await;

    assert_eq!((status, &after["status"]), (200, &json!("succeeded")));
}

#[tokio::test]
async fn the_list_has_every_prediction_newest_first_in_pages_of_a_hundred() {
    let sim = Sim::start().await;
    let mut submitted = Vec::new();
    for at in 0..103 {
        submitted.push(
            sim.submit(json!({"prompt": "a cat", "genflow_id": format!("w{at}")}))
                .await["id"]
                .clone(),
        );
    }
    submitted.reverse();

    let (_, first) = sim.get("/v1/predictions").await;
    let (_, second) = sim.get(first["next"].as_str().unwrap()).await;
    let (_, again) = sim.get(second["previous"].as_str().unwrap()).await;

    let ids = |page: &Value| -> Vec<Value> {
        page["results"]
            .as_array()
            .unwrap()
            .iter()
            .map(|read| read["id"].clone())
            .collect()
    };
    assert_eq!([ids(&first), ids(&second)].concat(), submitted);
    assert_eq!(ids(&first).len(), 100);
    assert_eq!(ids(&again), ids(&first));
    assert!(first["previous"].is_null() && second["next"].is_null());
    assert_eq!(first["results"][0]["input"]["genflow_id"], "w102");
}

#[tokio::test]
async fn what_does_not_exist_is_not_found() {
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
    assert_eq!(a["jobs"][0]["kind"], "video");
    assert_eq!(whole["entries"].as_array().unwrap().len(), 2);
}

#[tokio::test]
async fn it_says_what_it_is_and_that_it_is_well() {
    let sim = Sim::start().await;

    for path in ["/", "/_sim/health"] {
        let response = sim
            .http
            .get(format!("http://{}{path}", sim.address))
            .send()
            .await
            .unwrap();
        assert_eq!(response.status(), 200);
        assert!(
            response.headers()["content-type"]
                .to_str()
                .unwrap()
                .starts_with("text/plain")
        );
    }
}
