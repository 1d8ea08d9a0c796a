//! Providers that call back when a job has ended: a poll at once, and otherwise one a minute or less.

use std::net::SocketAddr;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use genflow::domain::standard_webhooks::{bytes_of, sign};
use genflow::domain::{EventType, ProviderName, Request, Secret};
use reqwest::StatusCode;
use serde_json::{Value, json};

use crate::support::requests::{FAL, REPLICATE};
use EventType::{Cancelled, Completed, Progress, Started};

use crate::doctor::doctor;
use crate::replay;
use crate::support::gate::Gate;
use crate::support::ledger::types;
use crate::support::process::Process;
use crate::support::requests::{at, image, script};
use crate::support::{Space, eventually, nowhere};

/// A space whose providers call back.
struct Called {
    space: Space,
    /// Where the providers call.
    callbacks: SocketAddr,
}

/// A worker, and where its metrics are.
struct Worker {
    process: Process,
    metrics: String,
}

impl Called {
    async fn new() -> Self {
        let callbacks = nowhere();
        let url = format!("http://{callbacks}");
        let settings = [
            ("CALLBACK_URL", &*url),
            // A milestone at each poll would cause the next poll.
            ("PROGRESS_INTERVAL", "10m"),
        ];
        let space = Space::with(&settings).await;
        Self { space, callbacks }
    }

    /// Starts a worker that providers call.
    fn worker(&self, settings: &[(&str, &str)]) -> Worker {
        self.worker_at(self.callbacks, settings)
    }

    fn worker_at(&self, callbacks: SocketAddr, settings: &[(&str, &str)]) -> Worker {
        let (callbacks, http) = (callbacks.to_string(), nowhere().to_string());
        let own = [("CALLBACK_ADDR", &*callbacks), ("HTTP_ADDR", &*http)];
        let process = self
            .space
            .start_with(&["worker"], &[&own, settings].concat());
        let metrics = format!("http://{http}/metrics");
        Worker { process, metrics }
    }

    async fn job(&self, request: &Request) -> Value {
        let jobs = self.space.jobs(request.id.as_str()).await;
        jobs.into_iter().next().unwrap_or_default()
    }

    /// Returns how often the job was polled.
    async fn reads(&self, request: &Request) -> u64 {
        self.job(request).await["reads"].as_u64().unwrap_or(0)
    }

    /// Waits until the job was polled that often, the last time by the `fetch` that waits for it.
    async fn reads_reach(&self, request: &Request, reads: u64) {
        eventually("the job is polled", async || {
            (self.reads(request).await >= reads).then_some(())
        })
        .await;
    }

    /// Waits until the callback was answered that often, and returns the statuses.
    async fn answers(&self, request: &Request, number: usize) -> Vec<u64> {
        eventually("the callback is answered", async || {
            let job = self.job(request).await;
            let answers = job["callbacks"].as_array()?.iter();
            let answers: Vec<u64> = answers.filter_map(Value::as_u64).collect();
            (answers.len() >= number).then_some(answers)
        })
        .await
    }
}

impl Worker {
    /// Returns how many callbacks had this outcome.
    async fn outcomes(&self, provider: ProviderName, outcome: &str) -> u64 {
        let labels = format!("provider=\"{}\",outcome=\"{outcome}\"", provider.as_str());
        self.metric(&format!("genflow_callbacks_total{{{labels}}}"))
            .await
    }

    async fn missed(&self, provider: ProviderName) -> u64 {
        let label = format!("provider=\"{}\"", provider.as_str());
        self.metric(&format!("genflow_callbacks_missed_total{{{label}}}"))
            .await
    }

    async fn metric(&self, series: &str) -> u64 {
        let page = reqwest::get(&self.metrics)
            .await
            .unwrap()
            .text()
            .await
            .unwrap();
        let line = page.lines().find_map(|line| line.strip_prefix(series));
        line.map_or(0, |value| value.trim().parse().unwrap())
    }
}

#[tokio::test]
async fn a_job_that_ends_is_stored_at_once_with_three_polls_whatever_it_takes() {
    let called = Called::new().await;
    let _intake = called.space.start(&["intake"]);
    let worker = called.worker(&[]);
    for provider in [REPLICATE, FAL] {
        // The callback comes twice.
        let script_of_it = json!({"seconds": 6.0, "callback": {"copies": 2}});
        let request = script(at(provider, image("called")), &script_of_it);
        called.space.send(&request).await;

        let events = called.space.story(request.id.as_str()).await;

        assert_eq!(
            types(&events),
            [Started, Progress, Completed],
            "{provider:?}"
        );
        assert_eq!(called.answers(&request, 2).await, [200, 200]);
        // One for the first stage, one by the next fetch, and the one that the callback caused.
        assert_eq!(called.reads(&request).await, 3, "{provider:?}");
        assert_eq!(worker.missed(provider).await, 0);
        assert_eq!(worker.outcomes(provider, "woken").await, 1);
        assert_eq!(worker.outcomes(provider, "repeated").await, 1);
    }
}

/// Its name makes `GENFLOW_RECORD` record the history.
#[tokio::test]
async fn a_callback_to_another_worker_reaches_the_one_that_polls_and_replays() {
    let called = Called::new().await;
    let _intake = called.space.start(&["intake"]);
    let polls = called.worker_at(nowhere(), &[]);
    let request = script(image("elsewhere"), &json!({"seconds": 6.0}));
    called.space.send(&request).await;
    called.reads_reach(&request, 2).await;
    let is_called = called.worker(&[]);

    let events = called.space.story(request.id.as_str()).await;

    assert_eq!(types(&events), [Started, Progress, Completed]);
    // The list has the run until it closes, so there may be a poll more.
    assert!(called.reads(&request).await <= 4);
    assert_eq!(is_called.outcomes(REPLICATE, "signalled").await, 1);
    assert_eq!(polls.missed(REPLICATE).await, 0);
    let client = called.space.client().await;
    replay::check(&client, "called-back", request.id.as_str()).await;
}

#[tokio::test]
async fn a_job_whose_callback_never_comes_is_found_by_the_rare_poll() {
    let called = Called::new().await;
    let _intake = called.space.start(&["intake"]);
    let worker = called.worker(&[]);
    for provider in [REPLICATE, FAL] {
        let script_of_it = json!({"seconds": 2.0, "callback": {"never": true}});
        let mut request = script(at(provider, image("uncalled")), &script_of_it);
        // The rare poll comes in the middle of the time that is left.
        request.timeout = Some(Duration::from_secs(20));
        called.space.send(&request).await;

        let events = called.space.story(request.id.as_str()).await;

        assert_eq!(types(&events).last(), Some(&Completed), "{provider:?}");
        assert_eq!(called.reads(&request).await, 3);
        assert_eq!(worker.missed(provider).await, 1);
    }
}

/// The pause after a failed poll protects the provider.
#[tokio::test]
async fn a_callback_does_not_cut_the_pause_after_a_failed_poll() {
    let called = Called::new().await;
    let _intake = called.space.start(&["intake"]);
    let worker = called.worker(&[("RETRY_BACKOFF", "10m"), ("SUBMIT_WAIT", "0s")]);
    let script_of_it = json!({"seconds": 2.0, "poll": [500]});
    let request = script(image("failing"), &script_of_it);
    called.space.send(&request).await;

    assert_eq!(called.answers(&request, 1).await, [200]);

    assert_eq!(called.reads(&request).await, 1);
    // The poller does not take it, so the run's workflow has it.
    assert_eq!(worker.outcomes(REPLICATE, "signalled").await, 1);
    assert_eq!(worker.outcomes(REPLICATE, "woken").await, 0);
}

/// A worker that Temporal does not answer may no longer be the one that polls the job.
#[tokio::test]
async fn a_worker_without_temporal_does_not_swallow_a_callback() {
    let called = Called::new().await;
    let temporal = Gate::before(&called.space.engines.temporal).await;
    // Longer than the outage, so the poller stays.
    let patient = [("FETCH_HEARTBEAT_TIMEOUT", "1m")];
    let _intake = called.space.start_with(&["intake"], &patient);
    let worker = called.worker(&[("TEMPORAL_HOST", &temporal.address.to_string())]);
    let request = script(image("cut-off"), &json!({"seconds": 6.0}));
    called.space.send(&request).await;
    called.reads_reach(&request, 2).await;
    temporal.shut();

    let refused = called.answers(&request, 1).await;
    assert_eq!(worker.outcomes(REPLICATE, "woken").await, 0);
    temporal.open();
    let events = called.space.story(request.id.as_str()).await;

    // 503, or 0 if the provider did not wait for it: it repeats both.
    assert_ne!(refused.first(), Some(&200));
    assert_eq!(types(&events).last(), Some(&Completed));
}

#[tokio::test]
async fn a_cancelled_run_stays_cancelled_when_its_job_is_called_back() {
    let called = Called::new().await;
    let _intake = called.space.start(&["intake"]);
    let _worker = called.worker(&[]);
    let request = script(image("cancelled"), &json!({"stuck": true}));
    called.space.send(&request).await;
    called.reads_reach(&request, 2).await;

    called.space.cancel(request.id.as_str()).await;
    called.space.story(request.id.as_str()).await;

    assert_eq!(called.answers(&request, 1).await, [200]);
    let events = called.space.story(request.id.as_str()).await;
    assert_eq!(types(&events), [Started, Progress, Cancelled]);
    assert_eq!(
        called.space.bill(request.id.as_str()).await.statuses,
        ["canceled"]
    );
}

#[tokio::test]
async fn a_worker_killed_by_a_callback_loses_neither_the_job_nor_the_callback() {
    let called = Called::new().await;
    let _intake = called.space.start(&["intake"]);
    let mut first = called.worker(&[("GENFLOW_FAILPOINT", "callback.verified=kill")]);
    let request = script(image("killed"), &json!({"seconds": 3.0}));
    called.space.send(&request).await;
    first.process.ended().await;
    let _second = called.worker(&[]);

    let events = called.space.story(request.id.as_str()).await;

    assert_eq!(types(&events).last(), Some(&Completed));
    let bill = called.space.bill(request.id.as_str()).await;
    assert_eq!((bill.submits, bill.accepted), (1, 1));
    let answers = called.answers(&request, 2).await;
    assert_eq!((answers.first(), answers.last()), (Some(&0), Some(&200)));
}

#[tokio::test]
async fn without_what_verifies_callbacks_none_is_asked_for() {
    let called = Called::new().await;
    let _intake = called.space.start(&["intake"]);
    let nobody = format!("http://{}/jwks.json", nowhere());
    let _worker = called.worker(&[("FAL_JWKS_URL", &nobody)]);
    let request = script(at(FAL, image("unverified")), &json!({"seconds": 2.0}));
    called.space.send(&request).await;

    let events = called.space.story(request.id.as_str()).await;

    assert_eq!(types(&events).last(), Some(&Completed));
    assert_eq!(called.job(&request).await["callback"], Value::Null);
    // Polled as usual: each 100 ms.
    assert!(called.reads(&request).await > 3);
}

#[tokio::test]
async fn doctor_says_whether_callbacks_reach_a_worker_and_can_be_verified() {
    let called = Called::new().await;

    let before = doctor(&called.space, &[]).await;
    let _worker = called.worker(&[]);
    let reached = eventually("a worker answers", async || {
        let report = doctor(&called.space, &[]).await;
        (report.verdict("CALLBACK_URL") == "ok").then_some(report)
    })
    .await;
    let nobody = format!("http://{}", nowhere());
    let simulator = called.space.engines.simulator.clone();
    let wrong = doctor(
        &called.space,
        &[
            ("CALLBACK_URL", &simulator),
            ("IMAGE_API_BASE_URL", &nobody),
        ],
    )
    .await;

    assert_eq!(before.verdict("CALLBACK_URL"), "warn");
    assert_eq!(reached.verdict("callbacks of replicate for videos"), "ok");
    assert!(wrong.found("CALLBACK_URL").contains("is not a worker's"));
    assert_eq!(wrong.verdict("callbacks of replicate for images"), "warn");
}

/// A callback that a test sends.
struct Sent<'s> {
    id: &'s str,
    /// Seconds from now.
    at: i64,
    secret: &'s Secret,
    length: usize,
}

impl Sent<'_> {
    async fn to(&self, url: &str) -> StatusCode {
        let body = "x".repeat(self.length);
        let now = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap()
            .as_secs();
        let timestamp = now.saturating_add_signed(self.at);
        let key = bytes_of(self.secret).unwrap();
        let request = reqwest::Client::new()
            .post(url)
            .header("webhook-id", self.id)
            .header("webhook-timestamp", timestamp)
            .header(
                "webhook-signature",
                sign(&key, self.id, timestamp, body.as_bytes()),
            )
            .body(body);
        request.send().await.unwrap().status()
    }
}

async fn secret_of(space: &Space) -> Secret {
    let url = format!("{}/v1/webhooks/default/secret", space.engines.simulator);
    let answer = reqwest::Client::new()
        .get(url)
        .bearer_auth("k")
        .send()
        .await
        .unwrap();
    let answer: Value = answer.json().await.unwrap();
    Secret::new(answer["key"].as_str().unwrap().to_owned())
}

#[tokio::test]
async fn callbacks_that_are_forged_stale_repeated_or_too_long_change_nothing() {
    let called = Called::new().await;
    let _intake = called.space.start(&["intake"]);
    let worker = called.worker(&[]);
    let script_of_it = json!({"stuck": true, "callback": {"never": true}});
    let request = script(image("attacked"), &script_of_it);
    called.space.send(&request).await;
    called.reads_reach(&request, 2).await;
    let url = called.job(&request).await["callback"]
        .as_str()
        .unwrap()
        .to_owned();
    let secret = &secret_of(&called.space).await;
    let other = &Secret::new("whsec_AAECAwQFBgcICQoLDA0ODxAREhMUFRYX".to_owned());
    let good = Sent {
        id: "a",
        at: 0,
        secret,
        length: 2,
    };

    let elsewhere = url.replace(request.id.as_str(), "another-run");
    let (before, workflow) = url.rsplit_once('/').unwrap();
    let token_of_another = format!("{}AAAA/{workflow}", &before[..before.len() - 4]);
    for (number, (sent, to, status)) in [
        (
            Sent {
                secret: other,
                ..good
            },
            &url,
            401,
        ),
        (Sent { at: -301, ..good }, &url, 401),
        (Sent { at: 302, ..good }, &url, 401),
        (
            Sent {
                length: 1024 * 1024 + 1,
                ..good
            },
            &url,
            413,
        ),
        (Sent { ..good }, &elsewhere, 401),
        (Sent { ..good }, &token_of_another, 401),
        (Sent { ..good }, &url.replace("replicate", "fal"), 401),
        (Sent { ..good }, &url.replace("replicate", "openai"), 401),
        (Sent { ..good }, &url.replace("replicate", "nobody"), 404),
    ]
    .into_iter()
    .enumerate()
    {
        assert_eq!(sent.to(to).await.as_u16(), status, "{number}");
    }
    let unsigned = reqwest::Client::new().post(&url).send().await.unwrap();
    assert_eq!(unsigned.status(), 400);
    let page = reqwest::get(&url.replace("/callbacks", "/metrics"))
        .await
        .unwrap();
    assert_eq!(page.status(), 404);
    assert_eq!(called.reads(&request).await, 2);
    for outcome in ["woken", "signalled", "repeated", "ended"] {
        assert_eq!(worker.outcomes(REPLICATE, outcome).await, 0, "{outcome}");
    }

    // The same, good and then repeated.
    assert_eq!(good.to(&url).await, 200);
    called.reads_reach(&request, 3).await;
    assert_eq!(good.to(&url).await, 200);
    assert_eq!(worker.outcomes(REPLICATE, "woken").await, 1);
    assert_eq!(worker.outcomes(REPLICATE, "repeated").await, 1);
    assert_eq!(called.reads(&request).await, 3);
}
