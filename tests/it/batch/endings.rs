//! The outcomes of a batch: with failures, stopped, cancelled, after the deadline.

use std::time::Duration;

use genflow::domain::{ErrorCode, EventType, OnFailure, Strategy};
use serde_json::json;

use super::{batch, counts, ids, spec, stories};
use crate::support::ledger::types;
use crate::support::{Space, eventually};

use EventType::{Cancelled, Completed, Failed, Started};

#[tokio::test]
async fn a_batch_that_continues_completes_with_its_failures_counted_unless_none_completed() {
    let space = Space::new().await;
    let _all = space.start(&["all"]);
    let fails = json!({"fail": "no"});
    let some = batch(
        "some",
        &[fails.clone(), json!({}), fails.clone(), json!({})],
    );
    let none = batch("none", &[fails.clone(), fails]);

    space.send(&some).await;
    space.send(&none).await;

    let events = space.story(some.id.as_str()).await;
    assert_eq!(types(&events).last(), Some(&Completed));
    assert_eq!(counts(&events), [4, 2, 2, 0, 0]);
    let events = space.story(none.id.as_str()).await;
    assert_eq!(
        events.last().unwrap().error.as_ref().unwrap().code,
        ErrorCode::BatchFailed
    );
    assert_eq!(counts(&events), [2, 0, 2, 0, 0]);
}

#[tokio::test]
async fn a_batch_that_stops_starts_nothing_after_a_failure_and_lets_end_what_runs() {
    let space = Space::new().await;
    let _all = space.start(&["all"]);
    let fails = json!({"fail": "no"});
    let mut one_by_one = batch("stop", &[json!({}), fails.clone(), json!({}), json!({})]);
    spec(&mut one_by_one).strategy = Strategy::Sequential;
    let slow = json!({"seconds": 3.0});
    let mut abreast = batch("stop", &[slow, fails, json!({}), json!({})]);
    spec(&mut abreast).max_concurrent = 2;

    for request in [&mut one_by_one, &mut abreast] {
        spec(request).on_failure = OnFailure::Stop;
        space.send(request).await;
    }

    for request in [&one_by_one, &abreast] {
        let events = space.story(request.id.as_str()).await;
        let error = events.last().unwrap().error.as_ref().unwrap();
        assert_eq!(error.code, ErrorCode::BatchStopped);
        assert_eq!(counts(&events), [4, 1, 1, 0, 2]);
        assert_eq!(stories(&space, request).await.len(), 2);
        assert_eq!(space.bill(&ids(request)[2]).await.submits, 0);
    }
}

#[tokio::test]
async fn a_cancel_ends_what_runs_and_starts_nothing_more() {
    let space = Space::with(&[("BATCH_PROGRESS_INTERVAL", "10m")]).await;
    let _all = space.start(&["all"]);
    let mut request = batch("cancel", &vec![json!({"stuck": true}); 5]);
    spec(&mut request).max_concurrent = 2;
    space.send(&request).await;
    let running = ids(&request);
    for id in &running[..2] {
        eventually("the job runs", async || {
            (space.bill(id).await.accepted == 1).then_some(())
        })
        .await;
    }

    space.cancel(request.id.as_str()).await;

    let events = space.story(request.id.as_str()).await;
    assert_eq!(types(&events), [Started, Cancelled]);
    assert_eq!(counts(&events), [5, 0, 0, 2, 3]);
    let items = stories(&space, &request).await;
    assert_eq!(items.len(), 2);
    for (item, id) in items.iter().zip(&running) {
        assert_eq!(item.last().unwrap().event_type, Cancelled);
        assert_eq!(space.bill(id).await.statuses, ["canceled"]);
    }
}

#[tokio::test]
async fn a_cancel_before_any_worker_takes_the_batch_starts_no_item() {
    let space = Space::new().await;
    let _intake = space.start(&["intake"]);
    let request = batch("queued", &[json!({}), json!({})]);
    space.send(&request).await;
    let (temporal, workflow) = (space.temporal().await, request.id.run(0));
    eventually("the batch starts", async || {
        temporal.status(&workflow).await.unwrap()
    })
    .await;
    space.cancel_and_wait(&request.id).await;
    let _worker = space.start(&["worker"]);

    let events = space.story(request.id.as_str()).await;
    assert_eq!(types(&events), [Started, Cancelled]);
    assert_eq!(counts(&events), [2, 0, 0, 0, 2]);
}

#[tokio::test]
async fn the_deadline_of_a_batch_ends_it_and_what_runs() {
    let space = Space::new().await;
    let _all = space.start(&["all"]);
    let mut request = batch("late", &vec![json!({"stuck": true}); 4]);
    request.timeout = Some(Duration::from_secs(10));

    space.send(&request).await;

    let events = space.story(request.id.as_str()).await;
    let error = events.last().unwrap().error.as_ref().unwrap();
    assert_eq!(
        (types(&events).last(), error.code),
        (Some(&Failed), ErrorCode::DeadlineExceeded)
    );
    assert_eq!(counts(&events), [4, 0, 0, 3, 1]);
}
