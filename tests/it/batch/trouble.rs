//! Batches in trouble: ids that are taken, invalid items, repeats, dead workers, a termination.

use std::collections::BTreeSet;

use genflow::domain::{ErrorCode, EventType, Request, Single, Spec};
use serde_json::{Value, json};
use temporalio_client::WorkflowTerminateOptions;

use super::{batch, counts, ids, spec, stories};
use crate::closed::OFTEN;
use crate::replay::history;
use crate::retry::{commands_done, retry};
use crate::support::ledger::types;
use crate::support::requests::image;
use crate::support::{Space, eventually};
use genflow::workflows::batch::Batch;

use EventType::{Cancelled, Completed, Failed, Progress, Rejected};

/// Returns an item as a separate request.
fn alone(request: &Request, index: usize) -> Request {
    let Spec::Batch(batch) = &request.spec else {
        panic!("no batch")
    };
    request.item(&batch.items[index])
}

#[tokio::test]
async fn an_item_whose_id_is_taken_is_not_started_and_who_has_it_goes_on() {
    let space = Space::new().await;
    let _all = space.start(&["all"]);
    let first = image("taken");
    space.send(&first).await;
    space.story(first.id.as_str()).await;
    let mut request = batch("taken", &[json!({}), json!({}), json!({})]);
    spec(&mut request).items[1].request_id = first.id.clone();

    space.send(&request).await;

    let events = space.story(request.id.as_str()).await;
    assert_eq!(types(&events).last(), Some(&Completed));
    assert_eq!(counts(&events), [3, 2, 0, 0, 1]);
    let others = space.story(first.id.as_str()).await;
    assert!(others.iter().all(|event| event.batch_id.is_none()));
    assert_eq!(space.bill(first.id.as_str()).await.submits, 1);
}

#[tokio::test]
async fn a_single_request_of_an_items_id_is_judged_by_its_content() {
    let space = Space::new().await;
    let _all = space.start(&["all"]);
    let mut request = batch("judged", &[json!({}), json!({})]);
    spec(&mut request).items[0].webhook_url = Some("http://127.0.0.1:1/hook".parse().unwrap());
    space.send(&request).await;
    space.story(request.id.as_str()).await;
    let (same, mut other) = (alone(&request, 0), alone(&request, 1));
    other.metadata.insert("other".to_owned(), "yes".to_owned());

    space.send(&same).await;
    space.send(&other).await;

    let mut reader = space.events().await;
    let rejected = eventually("the other one is refused", async || {
        let (event, _) = reader.event().await;
        (event.event_type == Rejected).then_some(event)
    })
    .await;
    assert_eq!(rejected.request_id, other.id.as_str());
    assert_eq!(rejected.error.unwrap().code, ErrorCode::RequestIdConflict);
    let requests = &space.config.kafka.topics.requests;
    space.caught_up("intake", requests).await;
    let events = space.all_events(same.id.as_str()).await;
    assert_eq!(types(&events).last(), Some(&Completed));
    assert_eq!(space.bill(same.id.as_str()).await.submits, 1);
}

#[tokio::test]
async fn an_invalid_or_repeated_item_makes_the_batch_invalid_and_starts_nothing() {
    let space = Space::new().await;
    let _all = space.start(&["all"]);
    let mut invalid = batch("invalid", &[json!({}), json!({})]);
    if let Single::Image(image) = &mut spec(&mut invalid).items[1].spec {
        image.num_images = Some(17);
    }
    let mut repeated = batch("invalid", &[json!({}), json!({})]);
    let first = spec(&mut repeated).items[0].request_id.clone();
    spec(&mut repeated).items[1].request_id = first;
    let mut itself = batch("invalid", &[json!({}), json!({})]);
    let own = itself.id.clone();
    spec(&mut itself).items[1].request_id = own;
    let cases = [
        (&invalid, "spec.items[1].spec.num_images"),
        (&repeated, "twice"),
        (&itself, "which is the batch"),
    ];

    for (request, _) in &cases {
        space.send(request).await;
    }

    let mut reader = space.events().await;
    let mut reported = std::collections::BTreeMap::new();
    while reported.len() < cases.len() {
        let (event, _) = reader.event().await;
        assert_eq!(event.event_type, Rejected);
        reported.insert(event.request_id, event.error.unwrap());
    }
    for (request, words) in cases {
        let error = &reported[request.id.as_str()];
        assert_eq!(error.code, ErrorCode::Invalid);
        assert!(error.message.contains(words), "{}", error.message);
        assert_eq!(space.bill(&ids(request)[0]).await.submits, 0);
    }
}

#[tokio::test]
async fn a_batch_that_is_sent_twice_runs_once() {
    let space = Space::new().await;
    let _all = space.start(&["all"]);
    let request = batch("twice", &vec![json!({"seconds": 1.0}); 3]);

    space.send(&request).await;
    space.send(&request).await;

    let events = space.story(request.id.as_str()).await;
    assert_eq!(counts(&events), [3, 3, 0, 0, 0]);
    let requests = &space.config.kafka.topics.requests;
    space.caught_up("intake", requests).await;
    let all = space.all_events(request.id.as_str()).await;
    assert_eq!(all.len(), events.len());
    for id in ids(&request) {
        assert_eq!(space.bill(&id).await.submits, 1);
    }
}

#[tokio::test]
async fn a_batch_outlives_a_worker_that_is_killed_midway() {
    let space = Space::new().await;
    let _intake = space.start(&["intake"]);
    let mut worker = space.start(&["worker"]);
    // A submit whose worker dies between the fence and the send is ambiguous. So the worker dies when no item submits:
    // one item has ended, three are being generated, and four have not started.
    let (short, long) = (json!({}), json!({"seconds": 12}));
    let scripts = [&short, &long, &long, &long, &short, &short, &short, &short];
    let request = batch("killed", &scripts.map(Clone::clone));
    space.send(&request).await;
    for id in &ids(&request)[1..4] {
        eventually("the job runs", async || {
            (space.bill(id).await.accepted == 1).then_some(())
        })
        .await;
    }
    worker.signal(rustix::process::Signal::KILL);
    worker.ended().await;

    let _next = space.start(&["worker"]);

    let events = space.story(request.id.as_str()).await;
    assert_eq!(types(&events).last(), Some(&Completed));
    assert_eq!(counts(&events), [8, 8, 0, 0, 0]);
    for id in ids(&request) {
        space.story(&id).await;
        assert_eq!(space.bill(&id).await.accepted, 1);
    }
}

#[tokio::test]
async fn a_terminated_batch_fails_and_its_items_end_by_themselves() {
    let space = Space::with(&[OFTEN]).await;
    let _all = space.start(&["all"]);
    let stuck = json!({"stuck": true});
    let mut request = batch("terminated", &[json!({}), stuck.clone(), stuck, json!({})]);
    spec(&mut request).max_concurrent = 2;
    space.send(&request).await;
    for id in &ids(&request)[1..3] {
        eventually("the job runs", async || {
            (space.bill(id).await.accepted == 1).then_some(())
        })
        .await;
    }

    // Two items run.
    let status = space.succeed(&["status", request.id.as_str()]).await;
    let items = "4 items: 1 completed, 0 failed, 0 cancelled, 2 running, 1 not started";
    assert!(status.contains(items), "{status}");

    let handle = space
        .client()
        .await
        .get_workflow_handle::<Batch>(request.id.to_string());
    let terminate = WorkflowTerminateOptions::builder().build();
    handle.terminate(terminate).await.unwrap();

    let events = space.story(request.id.as_str()).await;
    let error = events.last().unwrap().error.as_ref().unwrap();
    assert_eq!(
        (types(&events).last(), error.code),
        (Some(&Failed), ErrorCode::Terminated)
    );
    assert_eq!(counts(&events), [4, 1, 0, 2, 1]);
    let items = stories(&space, &request).await;
    let ends: Vec<_> = items
        .iter()
        .map(|item| item.last().unwrap().event_type)
        .collect();
    assert_eq!(ends, [Completed, Cancelled, Cancelled]);
}

#[tokio::test]
async fn a_batch_that_is_terminated_in_a_later_run_keeps_its_counts() {
    let space = Space::with(&[OFTEN, ("BATCH_SEGMENT", "1")]).await;
    let _all = space.start(&["all"]);
    let scripts = [
        json!({}),
        json!({"fail": "no"}),
        json!({"stuck": true}),
        json!({}),
    ];
    let mut request = batch("later", &scripts);
    spec(&mut request).max_concurrent = 1;
    space.send(&request).await;
    let stuck = ids(&request)[2].clone();
    eventually("the job runs", async || {
        (space.bill(&stuck).await.accepted == 1).then_some(())
    })
    .await;

    let handle = space
        .client()
        .await
        .get_workflow_handle::<Batch>(request.id.to_string());
    let terminate = WorkflowTerminateOptions::builder().build();
    handle.terminate(terminate).await.unwrap();

    let events = space.story(request.id.as_str()).await;
    let error = events.last().unwrap().error.as_ref().unwrap();
    assert_eq!(error.code, ErrorCode::Terminated);
    assert_eq!(counts(&events), [4, 1, 1, 1, 1]);
}

/// Returns how many activities with that name were scheduled while another of them was open.
fn overlaps(history: &[u8], name: &str) -> usize {
    let history: Value = serde_json::from_slice(history).unwrap();
    let (mut open, mut overlaps) = (BTreeSet::new(), 0);
    for event in history["events"].as_array().unwrap() {
        let attributes = &event["attributes"];
        let scheduled = &attributes["ActivityTaskScheduledEventAttributes"];
        if scheduled["activity_type"]["name"] == name {
            overlaps += usize::from(!open.is_empty());
            open.insert(event["event_id"].as_i64());
        }
        let completed = &attributes["ActivityTaskCompletedEventAttributes"];
        open.remove(&completed["scheduled_event_id"].as_i64());
    }
    overlaps
}

#[tokio::test]
async fn one_publisher_at_a_time_publishes_the_progress_of_many_items_that_end_at_once() {
    let space = Space::with(&[("BATCH_PROGRESS_INTERVAL", "1ms")]).await;
    let _all = space.start(&["all"]);
    // Three groups of items that end at once. Between them, at least one progress is published.
    let ends: Vec<_> = (0..21)
        .map(|item| json!({"seconds": 1 + item % 3 * 3}))
        .collect();
    let mut request = batch("at-once", &ends);
    spec(&mut request).max_concurrent = 21;

    space.send(&request).await;

    let events = space.story(request.id.as_str()).await;
    let progress = types(&events);
    let progress = progress.iter().filter(|kind| **kind == Progress).count();
    assert!(progress >= 2, "{progress} of 21 items");
    let client = space.client().await;
    let history = history(&client, request.id.as_str(), None).await;
    assert_eq!(overlaps(&history, "publish.v1"), 0);
}

#[tokio::test]
async fn a_failed_item_is_retried_by_itself_and_its_batch_is_not() {
    let space = Space::new().await;
    let _all = space.start(&["all"]);
    let request = batch("retried", &[json!({"fail": "no", "runs": 1}), json!({})]);
    space.send(&request).await;
    let events = space.story(request.id.as_str()).await;
    assert_eq!(counts(&events), [2, 1, 1, 0, 0]);
    let item = alone(&request, 0).id;

    retry(&space, &request.id, "of-the-batch").await;
    retry(&space, &item, "of-the-item").await;

    let mut reader = space.events().await;
    let end = eventually("the retry ends", async || {
        let (event, _) = reader.event().await;
        (event.retry == 1 && event.event_type.is_terminal()).then_some(event)
    })
    .await;
    assert_eq!(
        (end.request_id.as_str(), end.event_type),
        (item.as_str(), Completed)
    );
    assert_eq!(end.batch_id.as_deref(), Some(request.id.as_str()));
    commands_done(&space).await;
    let again = space.all_events(request.id.as_str()).await;
    assert_eq!(again.len(), events.len());
}
