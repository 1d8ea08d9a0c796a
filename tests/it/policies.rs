//! The retry policies of the steps: which answers count as failures, which are retried, the pauses, and the number of
//! attempts.

mod rates;
mod stops;

use std::time::Duration;

use genflow::domain::{ErrorCode, EventType, ProviderName, Request};
use serde_json::{Value, json};

use crate::batch::{batch, ids};
use crate::support::described::Described as _;
use crate::support::ledger::{code, types};
use crate::support::requests::{at, image, script, video};
use crate::support::{Space, eventually};

use crate::support::requests::{FAL, OPENAI, REPLICATE};
use ErrorCode::{ContentPolicy, InvalidRequest, ProviderAuth, ProviderQuota};

/// Creates a request with that name.
type Make = fn(&str) -> Request;

/// Returns how often the job of a request was polled.
async fn reads(space: &Space, request: &Request) -> u64 {
    let jobs = space.jobs(request.id.as_str()).await;
    jobs.first()
        .and_then(|job| job["reads"].as_u64())
        .unwrap_or(0)
}

/// Waits until a download of the request's output has begun.
async fn downloading(space: &Space) {
    eventually("a download begins", async || {
        (!space.temp_leftovers().is_empty()).then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_request_that_cannot_succeed_is_sent_once_to_any_provider() {
    let space = Space::new().await;
    let _all = space.start(&["all"]);
    let refusal = |status: u16, code: &str, text: &str| json!({"submit": [{"status": status, "code": code, "text": text}]});
    let bad_key = json!({"submit": [401]});
    let making: [(ProviderName, Make); 5] = [
        (REPLICATE, image),
        (REPLICATE, video),
        (OPENAI, image),
        (OPENAI, video),
        (FAL, image),
    ];
    let mut requests = Vec::new();
    for (provider, make) in making {
        let cases = match provider {
            REPLICATE => [
                (
                    refusal(422, "", "- input.prompt: is too long"),
                    InvalidRequest,
                ),
                (
                    refusal(422, "", "The input was flagged as sensitive"),
                    ContentPolicy,
                ),
                (bad_key.clone(), ProviderAuth),
                (refusal(402, "", "Insufficient credit"), ProviderQuota),
            ],
            OPENAI => [
                (
                    refusal(400, "invalid_value", "prompt is too long"),
                    InvalidRequest,
                ),
                (
                    refusal(400, "moderation_blocked", "rejected"),
                    ContentPolicy,
                ),
                (bad_key.clone(), ProviderAuth),
                (
                    refusal(429, "insufficient_quota", "no money"),
                    ProviderQuota,
                ),
            ],
            _ => [
                (refusal(422, "", "prompt: is too long"), InvalidRequest),
                (
                    refusal(422, "", "content_policy_violation: no"),
                    ContentPolicy,
                ),
                (bad_key.clone(), ProviderAuth),
                (
                    refusal(403, "", "User is locked: Exhausted balance"),
                    ProviderQuota,
                ),
            ],
        };
        for (faults, wanted) in cases {
            let request = at(provider, script(make("class"), &faults));
            requests.push((request, faults, wanted));
        }
    }

    for (request, ..) in &requests {
        space.send(request).await;
    }

    for (request, faults, wanted) in &requests {
        let events = space.story(request.id.as_str()).await;
        assert_eq!(code(&events), *wanted, "{faults}");
        let bill = space.bill(request.id.as_str()).await;
        assert_eq!((bill.submits, bill.accepted), (1, 0), "{faults}");
    }
}

#[tokio::test]
async fn a_provider_that_says_when_to_look_again_is_not_asked_before() {
    let space = Space::with(&[("FETCH_POLL_INTERVAL", "50ms")]).await;
    let _all = space.start(&["all"]);
    let hint = json!({"seconds": 5.0, "hint": 2});
    let requests = [
        at(REPLICATE, script(image("hinted"), &hint)),
        at(OPENAI, script(video("hinted"), &hint)),
        at(FAL, script(image("hinted"), &hint)),
    ];

    for request in &requests {
        space.send(request).await;
    }

    for request in &requests {
        let events = space.story(request.id.as_str()).await;
        assert_eq!(types(&events).last(), Some(&EventType::Completed));
        // Each milestone adds a poll: three stages at most. Polling every 50 ms would give a hundred.
        let reads = reads(&space, request).await;
        assert!(reads <= 10, "{reads} reads of {}", request.id);
    }
}

#[tokio::test]
async fn a_provider_that_does_not_answer_looks_is_given_up_after_so_many_in_a_row() {
    let space = Space::with(&[("FETCH_MAX_ATTEMPTS", "4"), ("RETRY_BACKOFF", "50ms")]).await;
    let _all = space.start(&["all"]);
    let faults = |poll: Value| json!({"seconds": 0.1, "poll": poll});
    let broken = script(
        image("broken"),
        &faults(json!([500, "cut", "garbage", 502, 500])),
    );
    // A good answer in between resets the count, and answers with a pause do not count.
    let busy = faults(json!([500, 503, 500, 429, 500, 503]));
    let busy = script(image("busy"), &busy);

    let locked = script(image("locked"), &faults(json!([401, 403, 401, 401])));

    space.send(&broken).await;
    space.send(&busy).await;
    space.send(&locked).await;

    let events = space.story(broken.id.as_str()).await;
    assert_eq!(code(&events), ErrorCode::ProviderFailed);
    assert_eq!(reads(&space, &broken).await, 4);
    let events = space.story(busy.id.as_str()).await;
    assert_eq!(types(&events).last(), Some(&EventType::Completed));
    let events = space.story(locked.id.as_str()).await;
    assert_eq!(code(&events), ErrorCode::ProviderAuth);
}

#[tokio::test]
async fn items_of_a_batch_have_the_policies_of_requests() {
    let space = Space::with(&[("SUBMIT_MAX_ATTEMPTS", "2"), ("RETRY_BACKOFF", "50ms")]).await;
    let _all = space.start(&["all"]);
    let request = batch("policies", &[json!({}), json!({"submit": [500, 500, 500]})]);

    space.send(&request).await;

    space.story(request.id.as_str()).await;
    let mut submits = Vec::new();
    for id in ids(&request) {
        submits.push(space.bill(&id).await.submits);
    }
    assert_eq!(submits, [1, 2]);
}

/// `SUBMIT_WAIT`: `fetch` stores the outputs, or `submit` does.
const WAITS: [&str; 2] = ["0s", "30s"];

#[tokio::test]
async fn outputs_that_are_being_stored_when_a_cancel_comes_are_finished() {
    for wait in WAITS {
        let space = Space::with(&[("SUBMIT_WAIT", wait)]).await;
        let _all = space.start(&["all"]);
        let slow = json!({"seconds": 0.1, "download": 5.0});
        let request = script(image("stored"), &slow);
        space.send(&request).await;
        downloading(&space).await;

        space.cancel(request.id.as_str()).await;

        let events = space.story(request.id.as_str()).await;
        assert_eq!(types(&events).last(), Some(&EventType::Completed));
        let (temporal, workflow) = (space.temporal().await, request.id.run(0));
        assert!(temporal.is_cancel_asked(&workflow).await);
    }
}

#[tokio::test]
async fn outputs_that_are_being_stored_when_the_deadline_falls_are_finished() {
    for wait in WAITS {
        let space = Space::with(&[("SUBMIT_WAIT", wait)]).await;
        let _all = space.start(&["all"]);
        let mut request = script(image("just"), &json!({"seconds": 0.1, "download": 16.0}));
        request.timeout = Some(Duration::from_secs(8));

        space.send(&request).await;

        let events = space.story(request.id.as_str()).await;
        let last = events.last().unwrap();
        assert_eq!(last.event_type, EventType::Completed, "{last:?}");
        let took = last.result.as_ref().unwrap().elapsed_ms;
        assert!(took > 8_000, "the deadline passed meanwhile: {took} ms");
    }
}

#[tokio::test]
async fn outputs_that_take_longer_than_the_grace_end_with_the_deadline() {
    for wait in WAITS {
        let space = Space::with(&[("STORE_GRACE", "1s"), ("SUBMIT_WAIT", wait)]).await;
        let _all = space.start(&["all"]);
        let mut request = script(image("never"), &json!({"seconds": 0.1, "download": 300.0}));
        request.timeout = Some(Duration::from_secs(10));

        space.send(&request).await;

        let events = space.story(request.id.as_str()).await;
        assert_eq!(code(&events), ErrorCode::DeadlineExceeded);
        assert_eq!(space.temp_leftovers(), Vec::<String>::new());
        let jobs = space.jobs(request.id.as_str()).await;
        assert_eq!(
            jobs[0]["cancel_requests"], 1,
            "the provider's job was cancelled"
        );
    }
}

#[tokio::test]
async fn the_status_separates_the_time_before_and_after_the_first_send() {
    let space = Space::new().await;
    let _intake = space.start(&["intake"]);
    let request = script(image("waits"), &json!({"stuck": true}));
    space.send(&request).await;
    let (temporal, workflow) = (space.temporal().await, request.id.run(0));
    let status = async || temporal.status(&workflow).await.unwrap();
    let queued = eventually("the run starts", status).await;
    assert_eq!(queued.submitted_at, None);

    let worker = space.start(&["worker"]);

    let sent = eventually("the job is accepted", async || {
        status()
            .await
            .filter(|status| status.submitted_at.is_some())
    })
    .await;
    assert!(sent.submitted_at.unwrap() >= sent.started_at);
    space.cancel(request.id.as_str()).await;
    space.story(request.id.as_str()).await;
    drop(worker);
}
