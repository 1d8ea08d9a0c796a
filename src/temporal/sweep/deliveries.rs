//! Deliveries that were closed from outside: each is given up, by a workflow of its own that has nothing else to do.

use temporalio_client::errors::{WorkflowInteractionError, WorkflowStartError};
use temporalio_client::tonic::{Code, IntoRequest as _};
use temporalio_client::{
    NamespacedClient as _, UntypedWorkflow, WorkflowDescribeOptions, WorkflowExecutionStatus,
    WorkflowIdReusePolicy, WorkflowStartOptions,
};
use temporalio_common::protos::temporal::api::common::v1::WorkflowExecution;
use temporalio_common::protos::temporal::api::history::v1::history_event::Attributes;
use temporalio_common::protos::temporal::api::workflowservice::v1::GetWorkflowExecutionHistoryRequest;

use crate::notifier::DeliveryError;
use crate::telemetry::events::{NotificationLost, RunSwept};
use crate::temporal::client::{Error, Temporal, answered};
use crate::temporal::deliveries::Delivery;
use crate::temporal::remains::input;
use crate::temporal::workflows::delivery;

/// Has a run given up, unless its id has a newer run: that one delivers.
pub(super) async fn end(temporal: &Temporal, id: &str, run_id: &str) -> Result<(), Error> {
    let handle = temporal.client().get_workflow_handle::<UntypedWorkflow>(id);
    let described = match handle.describe(WorkflowDescribeOptions::default()).await {
        Ok(described) => described,
        // Its retention ended between two looks.
        Err(WorkflowInteractionError::NotFound(_)) => return Ok(()),
        Err(error) => return Err(answered(error)),
    };
    if described.run_id() != run_id {
        return Ok(());
    }
    let Some(start) = start(temporal, id, run_id).await? else {
        return Ok(());
    };
    let why = DeliveryError::new("terminated", "the delivery was closed from outside");
    let given_up = Delivery {
        lost: Some(why),
        ..start
    };
    // Of all that find it one starts this, and nobody does again.
    let options = WorkflowStartOptions::new(temporal.task_queue(), format!("end/{id}/{run_id}"))
        .id_reuse_policy(WorkflowIdReusePolicy::RejectDuplicate)
        .build();
    let started = temporal
        .client()
        .start_workflow(delivery::Delivery::run, given_up, options)
        .await;
    match started {
        Ok(_) => RunSwept {
            workflow: id,
            timed_out: described.status() == WorkflowExecutionStatus::TimedOut,
        }
        .emit(),
        Err(WorkflowStartError::AlreadyStarted { .. }) => {}
        Err(error) => return Err(answered(error)),
    }
    Ok(())
}

/// Returns what a run was started with; `None` where nobody knows it any more, or it is not what this version reads.
async fn start(temporal: &Temporal, id: &str, run_id: &str) -> Result<Option<Delivery>, Error> {
    let client = temporal.client();
    let request = GetWorkflowExecutionHistoryRequest {
        namespace: client.namespace(),
        execution: Some(WorkflowExecution {
            workflow_id: id.to_owned(),
            run_id: run_id.to_owned(),
        }),
        maximum_page_size: 1,
        ..GetWorkflowExecutionHistoryRequest::default()
    };
    let answer = client
        .connection()
        .workflow_service()
        .get_workflow_execution_history(request.into_request())
        .await;
    let events = match answer {
        Ok(answer) => answer.into_inner().history.unwrap_or_default().events,
        Err(status) if status.code() == Code::NotFound => return Ok(None),
        Err(status) => return Err(answered(status)),
    };
    let first = events.into_iter().next().and_then(|event| event.attributes);
    let Some(Attributes::WorkflowExecutionStartedEventAttributes(started)) = first else {
        return Ok(None);
    };
    match input(started.input) {
        Ok(start) => Ok(Some(start)),
        Err(error) => {
            let error = error.as_ref();
            NotificationLost {
                workflow: id,
                error,
            }
            .emit();
            Ok(None)
        }
    }
}
