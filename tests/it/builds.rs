//! Two builds of a worker, as during a deploy: a result that one build cannot read waits for the other build.

use genflow::domain::EventType;
use serde_json::{Value, json};

use crate::replay::history;
use crate::support::ledger::types;
use crate::support::requests::{image, script};
use crate::support::{Space, eventually};

/// Makes a worker write results of `submit` that only its own build can read.
const LATER: [(&str, &str); 1] = [("GENFLOW_FAILPOINT", "submit.result=later")];

/// Returns why the last failed workflow task failed.
fn failed_task(history: &[u8]) -> Option<String> {
    let history: Value = serde_json::from_slice(history).unwrap();
    let events = history["events"].as_array().unwrap().iter();
    let mut failures = events.rev().filter_map(|event| {
        let failed = &event["attributes"]["WorkflowTaskFailedEventAttributes"];
        failed["failure"]["message"].as_str().map(str::to_owned)
    });
    failures.next()
}

#[tokio::test]
async fn a_result_that_a_build_cannot_read_waits_for_one_that_can() {
    let space = Space::new().await;
    let _intake = space.start(&["intake"]);
    let mut later = space.start_with(&["worker"], &LATER);
    let request = script(image("builds"), &json!({"delay_submit_ms": 2000}));
    let id = request.id.as_str();
    space.send(&request).await;
    eventually("the job is submitted", async || {
        (space.bill(id).await.submits == 1).then_some(())
    })
    .await;
    // This worker completes the submit that is under way, and takes no more work.
    assert!(later.terminate().await.success());

    let mut earlier = space.start(&["worker"]);
    let client = space.client().await;
    let why = eventually("a workflow task fails", async || {
        failed_task(&history(&client, id, None).await)
    })
    .await;
    assert!(
        why.contains("cannot read the result of an activity"),
        "{why}"
    );
    assert!(earlier.terminate().await.success());
    let _later = space.start_with(&["worker"], &LATER);

    let events = space.story(id).await;
    assert_eq!(types(&events).last(), Some(&EventType::Completed));
    let bill = space.bill(id).await;
    assert_eq!((bill.submits, bill.accepted), (1, 1));
    assert_eq!(bill.statuses, ["succeeded"]);
}
