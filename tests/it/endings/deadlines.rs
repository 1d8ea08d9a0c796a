//! How the deadline ends a run, whatever its activities do meanwhile.

use std::time::Duration;

use genflow::domain::{ErrorCode, Event};
use rustix::process::Signal;
use serde_json::json;

use super::fetch_runs;
use crate::batch::{batch, ids};
use crate::support::ledger::code;
use crate::support::requests::{image, script};
use crate::support::{Space, eventually};

use genflow::domain::EventType::Cancelled;

/// Temporal's own time-out ends a `fetch` 90 s after the deadline, so a run that took less was ended by its worker, or
/// because none took it.
const BACKSTOP: Duration = Duration::from_secs(90);

/// Returns the time from a run's first event to its last.
fn took(events: &[Event]) -> Duration {
    let [first, .., last] = events else {
        panic!("{events:?}")
    };
    Duration::from_millis((last.occurred_at - first.occurred_at).unsigned_abs())
}

#[tokio::test]
async fn the_deadline_ends_a_job_that_never_does() {
    let space = Space::new().await;
    let _all = space.start(&["all"]);
    let mut request = script(image("late"), &json!({"stuck": true}));
    request.timeout = Some(Duration::from_secs(8));

    space.send(&request).await;

    let events = space.story(request.id.as_str()).await;
    assert_eq!(code(&events), ErrorCode::DeadlineExceeded);
    assert!(took(&events) < BACKSTOP);
    assert_eq!(space.bill(request.id.as_str()).await.statuses, ["canceled"]);
}

/// The submit fails at once, and its next attempt would begin long after the deadline.
#[tokio::test]
async fn the_deadline_ends_the_pause_between_two_attempts() {
    let pauses = [("RETRY_BACKOFF", "40s"), ("RETRY_BACKOFF_MAX", "40s")];
    let space = Space::with(&pauses).await;
    let _all = space.start(&["all"]);
    let mut request = script(image("paused"), &json!({"submit": [500]}));
    request.timeout = Some(Duration::from_secs(8));

    space.send(&request).await;

    let events = space.story(request.id.as_str()).await;
    assert_eq!(code(&events), ErrorCode::DeadlineExceeded);
    assert!(took(&events) < Duration::from_secs(40));
    let bill = space.bill(request.id.as_str()).await;
    assert_eq!((bill.submits, bill.accepted), (1, 0));
}

/// The only slot for fetches is taken by another job.
#[tokio::test]
async fn the_deadline_ends_a_run_whose_fetch_no_worker_takes() {
    let space = Space::with(&[("WORKER_FETCH_SLOTS", "1"), ("PROGRESS_MAX", "0")]).await;
    let _all = space.start(&["all"]);
    let first = script(image("first"), &json!({"stuck": true}));
    space.send(&first).await;
    fetch_runs(&space.client().await, first.id.as_str()).await;
    let mut second = script(image("second"), &json!({"stuck": true}));
    second.timeout = Some(Duration::from_secs(8));

    space.send(&second).await;

    let events = space.story(second.id.as_str()).await;
    assert_eq!(code(&events), ErrorCode::DeadlineExceeded);
    assert!(took(&events) < BACKSTOP);
    assert_eq!(space.bill(second.id.as_str()).await.statuses, ["canceled"]);
}

/// A failpoint stops the process when it learns of the cancel; it goes on after the deadline.
#[tokio::test]
async fn a_cancel_seconds_before_the_deadline_ends_as_cancelled() {
    let deadline = Duration::from_secs(15);
    // Without milestones there is one long fetch, which is running when the cancel comes.
    let settings = [
        ("HEARTBEAT_TIMEOUT", "30s"),
        ("FETCH_HEARTBEAT_TIMEOUT", "30s"),
        ("PROGRESS_MAX", "0"),
    ];
    let space = Space::with(&settings).await;
    let failpoint = [("GENFLOW_FAILPOINT", "fetch.cancelled=stop")];
    let all = space.start_with(&["all"], &failpoint);
    let stuck = json!({"stuck": true});
    let mut single = script(image("close"), &stuck);
    let mut batch = batch("close", std::slice::from_ref(&stuck));
    let item = ids(&batch)[0].clone();
    for request in [&mut single, &mut batch] {
        request.timeout = Some(deadline);
        space.send(request).await;
    }
    let client = space.client().await;
    for run in [single.id.as_str(), &item] {
        fetch_runs(&client, run).await;
    }
    for request in [&single, &batch] {
        space.cancel_and_wait(&request.id).await;
    }
    let asked_at = genflow::engines::clock::now();
    all.stopped().await;
    let over = asked_at + i64::try_from(deadline.as_millis()).unwrap();
    let has_passed = || genflow::engines::clock::now() > over;
    eventually("the deadline has passed", async || {
        has_passed().then_some(())
    })
    .await;
    all.signal(Signal::CONT);

    for request in [&single, &batch] {
        let events = space.story(request.id.as_str()).await;
        let deadline = events[0].occurred_at + i64::try_from(deadline.as_millis()).unwrap();
        assert!(
            asked_at < deadline,
            "this machine is too slow for this test"
        );
        let end = events.last().unwrap();
        assert!(
            end.occurred_at > deadline,
            "the deadline was first: {end:#?}"
        );
        assert_eq!(end.event_type, Cancelled);
    }
}

#[tokio::test]
async fn a_deadline_that_is_over_before_anything_began_submits_nothing() {
    let space = Space::new().await;
    let _intake = space.start(&["intake"]);
    let mut request = image("overdue");
    request.timeout = Some(Duration::from_secs(1));
    space.send(&request).await;
    let (temporal, workflow) = (space.temporal().await, request.id.run(0));
    let started_at = eventually("the run starts", async || {
        temporal.status(&workflow).await.unwrap()
    })
    .await
    .started_at;
    let over = || genflow::engines::clock::now() > started_at + 1000;
    eventually("the deadline has passed", async || over().then_some(())).await;

    let _worker = space.start(&["worker"]);

    let events = space.story(request.id.as_str()).await;
    assert_eq!(code(&events), ErrorCode::NotStartedInTime);
    assert_eq!(space.bill(request.id.as_str()).await.submits, 0);
}
