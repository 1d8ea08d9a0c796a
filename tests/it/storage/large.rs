//! A video of hundreds of megabytes, from a provider to the bucket, with bounded memory of the worker.

use std::time::Duration;

use axum::routing::{get, post};
use axum::{Json, Router};
use serde_json::{Value, json};
use tokio::net::TcpListener;

use super::parts::film;
use super::{at_openai, outputs, with_bucket};
use crate::support::eventually_within;
use crate::support::process::Process;
use crate::support::requests::{image, prompt_only, video};
use crate::support::s3::Fault;

const MIB: usize = 1024 * 1024;
const LENGTH: usize = 384 * MIB;
/// For a debug build with all its clients, and the parts in flight.
const MEMORY: usize = 256 * MIB;
/// Long, because worker and server compute hashes in an unoptimised build.
const LONG: Duration = Duration::from_secs(600);

/// Starts a provider that speaks Replicate's protocol and has one video; returns its base URL.
async fn provider(length: usize) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let base = format!("http://{}", listener.local_addr().unwrap());
    let prediction = |status: &str| -> Json<Value> {
        Json(json!({
            "id": "film", "status": status, "input": {}, "error": null,
            "output": format!("{base}/film.mp4"),
            "urls": {"get": format!("{base}/v1/predictions/film"), "cancel": format!("{base}/no")},
        }))
    };
    let (taken, done) = (prediction("starting"), prediction("succeeded"));
    let submit = "/v1/models/{owner}/{name}/predictions";
    let router = Router::new()
        .route(submit, post(async move || taken.clone()))
        .route("/v1/predictions/film", get(async move || done.clone()))
        .route("/film.mp4", get(async move || film(length)));
    tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
    base
}

/// Returns the peak memory of the process, as reported by the kernel.
fn peak(process: &Process) -> usize {
    let path = format!("/proc/{}/status", process.pid().as_raw_nonzero());
    let text = std::fs::read_to_string(path).unwrap();
    let line = text.lines().find(|line| line.starts_with("VmHWM:"));
    let kib = line.unwrap().split_whitespace().nth(1).unwrap();
    kib.parse::<usize>().unwrap() * 1024
}

#[tokio::test]
async fn a_film_of_hundreds_of_megabytes_is_stored_in_bounded_memory() {
    let base = provider(LENGTH).await;
    let (space, s3) = with_bucket(&[("VIDEO_API_BASE_URL", &base)]).await;
    let _intake = space.start(&["intake"]);
    let worker = space.start(&["worker"]);
    let request = prompt_only(video("large"));
    space.send(&request).await;
    eventually_within(LONG, "the manifest exists", async || {
        let keys = s3.keys();
        let mut keys = keys.iter();
        keys.any(|key| key.ends_with("manifest.json")).then_some(())
    })
    .await;

    let events = space.story(request.id.as_str()).await;

    let output = &outputs(&events)[0];
    assert_eq!(output.bytes, LENGTH as i64);
    let key = output.uri.strip_prefix("s3://media/").unwrap();
    let stored = std::fs::metadata(s3.object(key)).unwrap();
    assert_eq!(stored.len(), LENGTH as u64);
    assert_eq!(s3.seen("UploadPart"), LENGTH / (8 * MIB));
    assert_eq!(s3.loose_parts(), 0);
    let peak = peak(&worker);
    eprintln!("the worker had {} MiB at most", peak / MIB);
    assert!(peak < MEMORY, "{} MiB", peak / MIB);
    assert_eq!(space.temp_leftovers(), Vec::<String>::new());
}

/// Videos hold all slots for parts until the worker gives up, after half a minute, because the bucket does not answer.
#[tokio::test]
async fn an_image_that_came_with_its_answer_waits_for_no_film_to_be_stored() {
    let base = provider(6 * 8 * MIB).await;
    let (space, s3) = with_bucket(&[("VIDEO_API_BASE_URL", &base)]).await;
    s3.fault("UploadPart", Some(Fault::Silence));
    let _all = space.start(&["all"]);
    for _ in 0..3 {
        space.send(&prompt_only(video("silent"))).await;
    }
    eventually_within(LONG, "all slots for parts are taken", async || {
        (s3.seen("UploadPart") == 8).then_some(())
    })
    .await;
    let request = at_openai(image("at-once"));
    space.send(&request).await;

    let events = space.story(request.id.as_str()).await;

    assert_eq!(outputs(&events).len(), 1);
    let taken = s3.seen("UploadPart");
    assert_eq!(taken, 8, "no video has released a slot meanwhile");
}
