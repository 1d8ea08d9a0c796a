//! Workflows that are not genflow's, and parts of a command that must not reach a workflow.

use genflow::contract::avro;
use genflow::domain::{Action, Command, EventType};
use genflow::engines::kafka::Headers;
use genflow::workflows::generation::Generation;
use serde_json::json;

use super::{commands_done, job_runs, outcome, retry, start_foreign};
use crate::support::Space;
use crate::support::described::Described as _;
use crate::support::requests::{image, script};

#[tokio::test]
async fn commands_leave_workflows_of_others_alone() {
    let space = Space::new().await;
    let _all = space.start(&["all"]);
    let foreign = image("foreign").id;
    start_foreign(&space, foreign.as_str(), "payroll").await;

    space.cancel(foreign.as_str()).await;
    retry(&space, &foreign, "c1").await;
    commands_done(&space).await;

    let letters = space.dead_letters().await;
    assert_eq!(letters.len(), 2);
    for record in &letters {
        assert_eq!(record.header("dlq.reason"), Some("invalid"));
        let error = record.header("dlq.error").unwrap();
        assert!(error.contains("payroll"), "{error}");
    }
    let temporal = space.temporal().await;
    assert!(!temporal.is_cancel_asked(&foreign.run(0)).await);
}

#[tokio::test]
async fn a_workflow_of_others_in_a_retrys_place_keeps_no_cancel_from_the_run() {
    let space = Space::new().await;
    let _all = space.start(&["all"]);
    let request = script(image("squatted"), &json!({"stuck": true}));
    space.send(&request).await;
    job_runs(&space, &request.id, 0).await;
    let slot = request.id.run(1);
    start_foreign(&space, slot.as_str(), "payroll").await;

    space.cancel(request.id.as_str()).await;

    assert_eq!(outcome(&space, &request.id, 0).await, EventType::Cancelled);
    retry(&space, &request.id, "c1").await;
    commands_done(&space).await;
    let letters = space.dead_letters().await;
    assert_eq!(letters.len(), 1);
    assert_eq!(letters[0].header("dlq.reason"), Some("invalid"));
    let temporal = space.temporal().await;
    assert!(!temporal.is_cancel_asked(&slot).await);
}

#[tokio::test]
async fn a_reason_as_long_as_a_record_is_cut() {
    let space = Space::new().await;
    let _all = space.start(&["all"]);
    let free = image("free").id;
    let command = Command {
        id: "c1".to_owned().try_into().unwrap(),
        request: free.clone(),
        action: Action::Cancel,
        reason: Some("why ".repeat(200_000)),
        issued_by: None,
    };
    let topic = &space.config.kafka.topics.commands;
    let datum = avro::write_command(&command, None).unwrap();
    let value = space.framed(topic, &avro::COMMAND, &datum).await;
    space
        .produce(topic, free.as_str(), Some(&value), Headers::new())
        .await;
    commands_done(&space).await;

    let client = space.client().await;
    let handle = client.get_workflow_handle::<Generation>(free.to_string());
    let history = handle.fetch_history(Default::default()).to_json().await;
    assert!(history.unwrap().len() < 10_000);
}
