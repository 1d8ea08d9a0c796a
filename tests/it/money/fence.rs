//! The fence of a submit: its answer is lost, or an operator resets the activity.

use genflow::domain::{ProviderName, Request};
use genflow::workflows::generation::Generation;
use temporalio_client::tonic::IntoRequest as _;
use temporalio_client::{Client, WorkflowDescribeOptions};
use temporalio_common::protos::temporal::api::common::v1::WorkflowExecution;
use temporalio_common::protos::temporal::api::workflowservice::v1::ResetActivityRequest;
use temporalio_common::protos::temporal::api::workflowservice::v1::reset_activity_request::Activity;

use super::away::pending;
use super::{AMBIGUOUS, COMPLETED, FAL, REPLICATE, at, bill, end};
use crate::support::gate::Gate;
use crate::support::requests::image;
use crate::support::{Space, eventually};

/// Waits until the server has a record of the submit with this `state`.
async fn recorded(client: &Client, request: &Request, state: &str) {
    eventually("the server has the record", async || {
        let details = pending(client, request).await?.heartbeat_details?;
        let text = String::from_utf8_lossy(&details.payloads[0].data).into_owned();
        text.contains(state).then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_submit_whose_fence_was_stored_but_not_answered_is_sent_by_the_next_attempt() {
    let space = Space::with(&[("HEARTBEAT_TIMEOUT", "60s")]).await;
    let gate = Gate::before(&space.engines.temporal).await;
    let address = gate.address.to_string();
    let _intake = space.start(&["intake"]);
    let settings = [
        ("TEMPORAL_HOST", address.as_str()),
        ("GENFLOW_FAILPOINT", "submit.fencing=stop"),
    ];
    let worker = space.start_with(&["worker"], &settings);
    let request = at(FAL, image("unanswered"));
    space.send(&request).await;
    worker.stopped().await;
    let client = space.client().await;

    gate.mute();
    worker.signal(rustix::process::Signal::CONT);
    recorded(&client, &request, "maybe").await;
    gate.shut();
    eventually("the fence is given up", async || {
        let given_up = worker
            .output()
            .contains("Temporal did not confirm the fence");
        given_up.then_some(())
    })
    .await;
    gate.open();

    let events = space.story(request.id.as_str()).await;
    let bill = bill(&space, &request, end(&events)).await;
    assert_eq!(bill, (COMPLETED, 1, 1));
}

/// Resets the activity of a submit, like an operator, and deletes its record.
async fn reset(client: &Client, request: &Request) {
    let run = client.get_workflow_handle::<Generation>(request.id.to_string());
    let described = run.describe(WorkflowDescribeOptions::default()).await;
    let reset = ResetActivityRequest {
        namespace: "default".to_owned(),
        execution: Some(WorkflowExecution {
            workflow_id: request.id.to_string(),
            run_id: described.unwrap().run_id().to_owned(),
        }),
        activity: Some(Activity::Type("submit.v1".to_owned())),
        reset_heartbeat: true,
        ..ResetActivityRequest::default()
    };
    let mut service = client.connection().workflow_service();
    service.reset_activity(reset.into_request()).await.unwrap();
    let submit = pending(client, request).await.unwrap();
    assert_eq!((submit.attempt, submit.heartbeat_details), (1, None));
}

/// Without its own record, the attempt after the reset would leave none, and the next one would send.
#[tokio::test]
async fn a_submit_that_is_reset_with_its_record_is_not_sent_when_its_next_worker_dies_too() {
    let space = Space::new().await;
    let _intake = space.start(&["intake"]);
    let killed_at = |point: &str| {
        let failpoint = format!("{point}=kill");
        space.start_with(&["worker"], &[("GENFLOW_FAILPOINT", &failpoint)])
    };
    let mut first = killed_at("submit.sent");
    let request = at(FAL, image("reset"));
    space.send(&request).await;
    first.ended().await;
    let client = space.client().await;
    eventually("the second attempt is scheduled", async || {
        (pending(&client, &request).await?.attempt == 2).then_some(())
    })
    .await;

    reset(&client, &request).await;
    killed_at("submit.reconciling").ended().await;
    let _third = space.start(&["worker"]);

    let events = space.story(request.id.as_str()).await;
    let bill = bill(&space, &request, end(&events)).await;
    assert_eq!(bill, (AMBIGUOUS, 1, 1));
}

#[tokio::test]
async fn a_submit_that_is_reset_with_its_record_is_looked_for_before_it_is_sent() {
    // In the last case the job was accepted, and its worker died before it stored the answer.
    let cases: [(ProviderName, &str, _); 3] = [
        (REPLICATE, "submit.sent", COMPLETED),
        (FAL, "submit.kept", COMPLETED),
        (FAL, "submit.sent", AMBIGUOUS),
    ];
    for (provider, point, wanted) in cases {
        let space = Space::new().await;
        let _intake = space.start(&["intake"]);
        let failpoint = format!("{point}=kill");
        let mut first = space.start_with(&["worker"], &[("GENFLOW_FAILPOINT", &failpoint)]);
        let request = at(provider, image("reset"));
        space.send(&request).await;
        first.ended().await;
        let client = space.client().await;
        eventually("the second attempt is scheduled", async || {
            (pending(&client, &request).await?.attempt == 2).then_some(())
        })
        .await;

        reset(&client, &request).await;
        let _second = space.start(&["worker"]);

        let events = space.story(request.id.as_str()).await;
        let bill = bill(&space, &request, end(&events)).await;
        assert_eq!(bill, (wanted, 1, 1), "{provider:?} {point}");
    }
}
