//! Results in a bucket, on a real S3 server: complete runs, repeated stores, a server that is down, missing
//! permissions.

mod disk;
mod hostile;
mod inputs;
mod large;
mod parts;
mod reused;

use std::path::PathBuf;

use genflow::domain::{ErrorCode, Event, EventType, Output, ProviderName, Request, Single, Spec};
use reqwest::StatusCode;
use reqwest::header::CONTENT_TYPE;
use ring::digest::{SHA256, digest};
use serde_json::{Value, json};
use uuid::Uuid;

use crate::support::gate::Gate;
use crate::support::ledger::types;
use crate::support::requests::{image, script, video};
use crate::support::s3::{BUCKET, S3};
use crate::support::{Space, eventually};

/// Returns a space whose workers store results in their own bucket, with further settings.
async fn with_bucket(settings: &[(&str, &str)]) -> (Space, S3) {
    let s3 = S3::start(folder()).await;
    let bucket = S3::settings(&s3.address);
    let all: Vec<_> = bucket
        .iter()
        .map(|(name, value)| (*name, value.as_str()))
        .chain(settings.iter().copied())
        .collect();
    (Space::with(&all).await, s3)
}

/// Returns a folder whose name contains the process id, so later test runs know when this one has ended.
fn folder() -> PathBuf {
    let (id, process) = (Uuid::new_v4().simple(), std::process::id());
    PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("s3-{id}-{process}"))
}

fn outputs(events: &[Event]) -> Vec<Output> {
    let last = events.last().unwrap();
    assert_eq!(last.event_type, EventType::Completed, "{:?}", last.error);
    last.result.as_ref().unwrap().outputs.clone()
}

/// Returns the manifest of a run whose results are on disk.
pub(crate) fn manifest(space: &Space, workflow: &str) -> Value {
    let path = space.results().join(workflow).join("manifest.json");
    serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap()
}

fn at_openai(mut request: Request) -> Request {
    if let Spec::Single(Single::Image(image)) = &mut request.spec {
        image.common.provider = Some(ProviderName::OPENAI);
    }
    request
}

fn sha256(bytes: &[u8]) -> String {
    let hash = digest(&SHA256, bytes);
    hash.as_ref()
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect()
}

#[tokio::test]
async fn a_result_goes_to_the_bucket_and_its_signed_url_gives_the_same_bytes() {
    let (space, s3) = with_bucket(&[("RESULT_URL_TTL", "1h")]).await;
    let _all = space.start(&["all"]);
    let request = video("bucket");
    space.send(&request).await;

    let events = space.story(request.id.as_str()).await;

    let output = &outputs(&events)[0];
    let (id, short) = (&request.id, &output.sha256[..16]);
    let key = format!("prod/results/{id}/0-{short}.mp4");
    assert_eq!(output.uri, format!("s3://{BUCKET}/{key}"));
    assert_eq!(
        s3.keys(),
        [key.clone(), format!("prod/results/{id}/manifest.json")]
    );

    let url = output.url.as_deref().unwrap();
    let answer = reqwest::get(url).await.unwrap();
    assert_eq!(answer.status(), StatusCode::OK);
    assert_eq!(answer.headers()[CONTENT_TYPE], "video/mp4");
    let bytes = answer.bytes().await.unwrap();
    assert_eq!(bytes.len() as i64, output.bytes);
    assert_eq!(sha256(&bytes), output.sha256);

    let (unsigned, _) = url.split_once('?').unwrap();
    let forged = url.replace(short, &"0".repeat(16));
    let longer = url.replace("X-Amz-Expires=3600", "X-Amz-Expires=7200");
    for refused in [unsigned.to_owned(), forged, longer] {
        let answer = reqwest::get(&refused).await.unwrap();
        assert_eq!(answer.status(), StatusCode::FORBIDDEN, "{refused}");
    }
    assert_eq!(space.temp_leftovers(), Vec::<String>::new());
    assert!(!space.results().exists(), "nothing goes to the disk");
}

#[tokio::test]
async fn a_signed_url_is_good_for_its_time_only_and_stays_as_it_was_signed() {
    let (space, _s3) = with_bucket(&[("RESULT_URL_TTL", "1s")]).await;
    let _all = space.start(&["all"]);
    let request = image("brief");
    space.send(&request).await;

    let events = space.story(request.id.as_str()).await;

    let url = outputs(&events)[0].url.clone().unwrap();
    assert!(url.contains("X-Amz-Expires=1&"), "{url}");
    eventually("the url has expired", async || {
        let answer = reqwest::get(&url).await.unwrap();
        (answer.status() == StatusCode::FORBIDDEN).then_some(())
    })
    .await;
    let copies = space.all_events(request.id.as_str()).await;
    assert_eq!(outputs(&copies)[0].url.as_deref(), Some(&*url));
}

#[tokio::test]
async fn without_a_ttl_there_is_no_url() {
    let (space, _s3) = with_bucket(&[]).await;
    let _all = space.start(&["all"]);
    let request = image("plain");
    space.send(&request).await;

    let events = space.story(request.id.as_str()).await;

    assert_eq!(outputs(&events)[0].url, None);
}

/// Kills a worker at `point`, and lets another continue; returns the keys in the bucket, and the bill.
async fn killed_at(point: &str, request: Request) -> (Vec<String>, u64, u64) {
    let (space, s3) = with_bucket(&[("RESULT_URL_TTL", "1h")]).await;
    let _intake = space.start(&["intake"]);
    let failpoint = format!("{point}=kill");
    let mut first = space.start_with(&["worker"], &[("GENFLOW_FAILPOINT", &failpoint)]);
    space.send(&request).await;
    first.ended().await;

    let _second = space.start(&["worker"]);

    let events = space.story(request.id.as_str()).await;
    let output = &outputs(&events)[0];
    let key = output.uri.strip_prefix(&format!("s3://{BUCKET}/")).unwrap();
    let bytes = std::fs::read(s3.object(key)).unwrap();
    assert_eq!(sha256(&bytes), output.sha256);
    assert_eq!(space.temp_leftovers(), Vec::<String>::new());
    let bill = space.bill(request.id.as_str()).await;
    (s3.keys(), bill.submits, bill.accepted)
}

#[tokio::test]
async fn what_a_killed_worker_had_stored_is_stored_again_under_the_same_name() {
    let (keys, submits, accepted) = killed_at("fetch.stored", image("again")).await;

    assert_eq!((submits, accepted), (1, 1));
    assert_eq!(keys.len(), 2, "one output and the manifest: {keys:?}");
}

/// The bytes came with the answer, and the provider does not keep them: only the bucket has them.
#[tokio::test]
async fn what_was_stored_before_a_kill_is_adopted_and_not_paid_for_again() {
    let request = at_openai(image("adopted"));

    let (keys, submits, accepted) = killed_at("submit.stored", request).await;

    assert_eq!((submits, accepted), (1, 1));
    assert_eq!(keys.len(), 2, "one output and the manifest: {keys:?}");
}

#[tokio::test]
async fn a_bucket_that_stays_away_fails_the_run_after_its_tries() {
    let (mut space, s3) = with_bucket(&[("STORE_MAX_ATTEMPTS", "2")]).await;
    let gate = Gate::before(&s3.address).await;
    for (name, value) in S3::settings(&gate.address.to_string()) {
        space.variables.insert(name.to_owned(), value);
    }
    let _intake = space.start(&["intake"]);
    let worker = space.start(&["worker"]);
    let request = script(image("away"), &json!({"seconds": 2}));
    space.send(&request).await;
    space.job_runs(request.id.as_str()).await;
    gate.shut();

    let events = space.story(request.id.as_str()).await;

    assert_eq!(types(&events).last(), Some(&EventType::Failed));
    let error = events.last().unwrap().error.clone().unwrap();
    assert_eq!(
        (error.code, error.retryable),
        (ErrorCode::StoreFailed, true)
    );
    let reported = "the store cannot be reached or reports an error";
    assert!(error.message.ends_with(reported), "{}", error.message);
    let log = worker.output();
    let failed = log.lines().filter(|line| line.contains("store failed"));
    assert_eq!(failed.count(), 2, "{log}");
    assert_eq!(space.temp_leftovers(), Vec::<String>::new());
    assert_eq!(s3.keys(), Vec::<String>::new());
}

/// The worker looks for a stored result before it sends anything: an unreadable bucket costs nothing.
#[tokio::test]
async fn nothing_is_submitted_while_the_bucket_cannot_be_read() {
    let (mut space, s3) = with_bucket(&[]).await;
    let gate = Gate::before(&s3.address).await;
    gate.shut();
    for (name, value) in S3::settings(&gate.address.to_string()) {
        space.variables.insert(name.to_owned(), value);
    }
    let _intake = space.start(&["intake"]);
    let worker = space.start(&["worker"]);
    let request = image("later");
    space.send(&request).await;
    eventually("the store failed", async || {
        worker.output().contains("store failed").then_some(())
    })
    .await;
    assert_eq!(space.bill(request.id.as_str()).await.submits, 0);

    gate.open();

    let events = space.story(request.id.as_str()).await;
    assert_eq!(outputs(&events).len(), 1);
    assert_eq!(space.bill(request.id.as_str()).await.accepted, 1);
}
