//! A request id that is used again after Temporal has forgotten its first run, as after the dedup window.

use genflow::domain::{EventType, Single, Spec, Targets};
use temporalio_client::NamespacedClient as _;
use temporalio_client::tonic::IntoRequest as _;
use temporalio_common::protos::temporal::api::common::v1::WorkflowExecution;
use temporalio_common::protos::temporal::api::workflowservice::v1::DeleteWorkflowExecutionRequest;

use crate::support::ledger::{check, lives};
use crate::support::receiver::{Answer, Receiver};
use crate::support::requests::image;
use crate::support::{Space, eventually};

/// Deletes the closed workflow of a request, and waits until the server has forgotten it.
async fn forget(space: &Space, request: &str) {
    space.closed(request).await;
    let client = space.client().await;
    let delete = DeleteWorkflowExecutionRequest {
        namespace: client.namespace(),
        workflow_execution: Some(WorkflowExecution {
            workflow_id: request.to_owned(),
            run_id: String::new(),
        }),
    };
    let mut service = client.connection().workflow_service();
    let deleting = service.delete_workflow_execution(delete.into_request());
    deleting.await.unwrap();
    let temporal = space.temporal().await;
    let workflow = genflow::domain::WorkflowId::parse(request).unwrap();
    eventually("the workflow is forgotten", async || {
        let status = temporal.status(&workflow).await.unwrap();
        status.is_none().then_some(())
    })
    .await;
}

#[tokio::test]
async fn an_id_used_again_begins_a_new_life_whose_notification_is_delivered() {
    let space = Space::new().await;
    // In both lives the first attempt fails, so the delivery's own workflow, whose id contains the event id, must
    // deliver.
    let script = [500, 204, 500, 204].map(Answer::Status);
    let receiver = Receiver::answering(&script).await;
    let _all = space.start(&["all"]);
    let mut request = image("reused");
    let id = request.id.to_string();
    request.targets = Targets::parse(Some(&receiver.url), None, None).unwrap();
    space.send(&request).await;
    receiver.wait(2).await;
    forget(&space, &id).await;

    if let Spec::Single(Single::Image(image)) = &mut request.spec {
        "a blue whale".clone_into(&mut image.common.prompt);
    }
    space.send(&request).await;

    let got = receiver.wait(4).await;
    space.closed(&id).await;
    let events = space.all_events(&id).await;
    let [first, second] = &lives(&events)[..] else {
        panic!("two lives, got {events:#?}");
    };
    let [before, after] = [first, second].map(|life| {
        check(&life.iter().copied().cloned().collect::<Vec<_>>());
        let last = life.last().unwrap();
        assert_eq!(last.event_type, EventType::Completed);
        &last.event_id
    });
    let ids: Vec<_> = got.iter().map(|one| one.header("webhook-id")).collect();
    assert_eq!(ids, [before, before, after, after]);
    let shown = space.succeed(&["watch", &id, "--json"]).await;
    let all = first.len() + second.len();
    assert_eq!(shown.lines().count(), all, "{shown}");
}
