//! A batch counts items that were closed from outside by the outcome that they had decided.

use genflow::domain::{Event, EventType, Request};
use genflow::workflows::batch::Batch;
use rustix::process::Signal;
use serde_json::{Value, json};
use temporalio_client::WorkflowTerminateOptions;

use super::{batch, counts, ids};
use crate::closed::OFTEN;
use crate::replay;
use crate::support::Space;
use crate::support::ledger::types;
use crate::support::process::Process;

/// Terminates a workflow of any type.
async fn terminate(space: &Space, workflow: &str) {
    let client = space.client().await;
    let handle = client.get_workflow_handle::<Batch>(workflow.to_owned());
    let options = WorkflowTerminateOptions::builder().build();
    handle.terminate(options).await.unwrap();
}

/// Starts a batch and stops its worker when the first item has decided its outcome; then terminates that item.
async fn with_a_terminated_item(space: &Space, scripts: &[Value]) -> (Request, Process) {
    let failpoint = [("GENFLOW_FAILPOINT", "finish.began=stop")];
    let worker = space.start_with(&["worker"], &failpoint);
    let request = batch("outside", scripts);
    space.send(&request).await;
    worker.stopped().await;
    terminate(space, &ids(&request)[0]).await;
    (request, worker)
}

/// Waits for the end of the batch and of its first item, which stays completed when the stopped worker continues.
async fn ended(space: &Space, request: &Request, mut first: Process) -> Vec<Event> {
    let events = space.story(request.id.as_str()).await;
    first.signal(Signal::CONT);
    assert!(first.terminate().await.success());
    let item = space.story(&ids(request)[0]).await;
    assert_eq!(types(&item).last(), Some(&EventType::Completed));
    events
}

#[tokio::test]
async fn an_item_terminated_after_it_has_completed_counts_as_completed_and_replays() {
    let space = Space::with(&[OFTEN]).await;
    let _intake = space.start(&["intake"]);
    let (request, first) = with_a_terminated_item(&space, &[json!({})]).await;

    let _second = space.start(&["worker"]);

    let events = ended(&space, &request, first).await;
    assert_eq!(types(&events).last(), Some(&EventType::Completed));
    assert_eq!(counts(&events), [1, 1, 0, 0, 0]);
    let client = space.client().await;
    replay::check(&client, "batch-outside", request.id.as_str()).await;
}

#[tokio::test]
async fn a_terminated_batch_counts_a_terminated_item_by_its_outcome() {
    let space = Space::with(&[OFTEN]).await;
    let _intake = space.start(&["intake"]);
    let scripts = [json!({}), json!({"stuck": true})];
    let (request, first) = with_a_terminated_item(&space, &scripts).await;
    terminate(&space, request.id.as_str()).await;

    let _second = space.start(&["worker"]);

    let events = ended(&space, &request, first).await;
    assert_eq!(types(&events).last(), Some(&EventType::Failed));
    assert_eq!(counts(&events), [2, 1, 0, 1, 0]);
}
