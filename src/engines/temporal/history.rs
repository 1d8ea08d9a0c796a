//! Reads from the server what it still has of a run: its history, its pending activities, its inputs.

use anyhow::Context as _;
use serde::de::DeserializeOwned;
use temporalio_client::tonic::{Code, IntoRequest as _, Response, Status};
use temporalio_client::{Client, NamespacedClient as _};
use temporalio_common::protos::temporal::api::common::v1::{Payloads, WorkflowExecution};
use temporalio_common::protos::temporal::api::enums::v1::HistoryEventFilterType;
use temporalio_common::protos::temporal::api::history::v1::{
    HistoryEvent, WorkflowExecutionStartedEventAttributes, history_event::Attributes,
};
use temporalio_common::protos::temporal::api::workflow::v1::PendingActivityInfo;
use temporalio_common::protos::temporal::api::workflowservice::v1::{
    DescribeWorkflowExecutionRequest, GetWorkflowExecutionHistoryRequest,
    GetWorkflowExecutionHistoryResponse, GetWorkflowExecutionHistoryReverseRequest,
};

use super::client::{Error, answered};

/// Reads a whole history and passes its events to `add`, in order.
pub(crate) async fn pages(
    client: &Client,
    id: &str,
    run_id: &str,
    mut add: impl FnMut(HistoryEvent) -> Result<(), anyhow::Error>,
) -> Result<(), anyhow::Error> {
    let mut asked = of(client, id, run_id);
    loop {
        let answer = read(client, asked.clone()).await;
        let answer = answer.context("cannot read the history")?.into_inner();
        for event in answer.history.unwrap_or_default().events {
            add(event)?;
        }
        asked.next_page_token = answer.next_page_token;
        if asked.next_page_token.is_empty() {
            return Ok(());
        }
    }
}

/// Returns what a run was started with; `None` if the server no longer has the run.
pub(crate) async fn started(
    client: &Client,
    id: &str,
    run_id: &str,
) -> Result<Option<WorkflowExecutionStartedEventAttributes>, Error> {
    let first = GetWorkflowExecutionHistoryRequest {
        maximum_page_size: 1,
        ..of(client, id, run_id)
    };
    let event = first_of(read(client, first).await)?;
    Ok(match event.and_then(|event| event.attributes) {
        Some(Attributes::WorkflowExecutionStartedEventAttributes(started)) => Some(started),
        Some(_) | None => None,
    })
}

/// Returns the event that closed a run; `None` if the server no longer has the run.
pub(crate) async fn closed(
    client: &Client,
    id: &str,
    run_id: &str,
) -> Result<Option<HistoryEvent>, Error> {
    let close = GetWorkflowExecutionHistoryRequest {
        history_event_filter_type: HistoryEventFilterType::CloseEvent.into(),
        ..of(client, id, run_id)
    };
    first_of(read(client, close).await)
}

/// Returns the pending activities of a run; none if it has closed, or if the server no longer has it.
pub(crate) async fn pending(
    client: &Client,
    id: &str,
    run_id: &str,
) -> Result<Vec<PendingActivityInfo>, Error> {
    let asked = of(client, id, run_id);
    let request = DescribeWorkflowExecutionRequest {
        namespace: asked.namespace,
        execution: asked.execution,
    };
    let mut service = client.connection().workflow_service();
    let answer = service.describe_workflow_execution(request.into_request());
    let Some(answer) = known(answer.await)? else {
        return Ok(Vec::new());
    };
    let info = answer.workflow_execution_info.unwrap_or_default();
    // The server still lists the pending activities of a terminated run.
    Ok(match info.close_time {
        Some(_) => Vec::new(),
        None => answer.pending_activities,
    })
}

/// Returns the newest events of a run, latest first; none if the server no longer has the run.
pub(crate) async fn newest(
    client: &Client,
    id: &str,
    run_id: &str,
    most: i32,
) -> Result<Vec<HistoryEvent>, Error> {
    let asked = of(client, id, run_id);
    let request = GetWorkflowExecutionHistoryReverseRequest {
        namespace: asked.namespace,
        execution: asked.execution,
        maximum_page_size: most,
        ..GetWorkflowExecutionHistoryReverseRequest::default()
    };
    let answer = client
        .connection()
        .workflow_service()
        .get_workflow_execution_history_reverse(request.into_request())
        .await;
    Ok(known(answer)?.map_or_else(Vec::new, |answer| answer.history.unwrap_or_default().events))
}

/// Decodes the input of a run or an activity, or an activity's result.
pub(crate) fn input<T: DeserializeOwned>(payloads: Option<Payloads>) -> Result<T, anyhow::Error> {
    let payloads = payloads.unwrap_or_default().payloads;
    let payload = payloads.first().context("the input or result is missing")?;
    serde_json::from_slice(&payload.data).context("this version cannot read the input or result")
}

fn of(client: &Client, id: &str, run_id: &str) -> GetWorkflowExecutionHistoryRequest {
    GetWorkflowExecutionHistoryRequest {
        namespace: client.namespace(),
        execution: Some(WorkflowExecution {
            workflow_id: id.to_owned(),
            run_id: run_id.to_owned(),
        }),
        ..GetWorkflowExecutionHistoryRequest::default()
    }
}

async fn read(
    client: &Client,
    request: GetWorkflowExecutionHistoryRequest,
) -> Result<Response<GetWorkflowExecutionHistoryResponse>, Status> {
    let mut service = client.connection().workflow_service();
    service
        .get_workflow_execution_history(request.into_request())
        .await
}

/// Returns the first event of an answer, or an empty event if it has none.
fn first_of(
    answer: Result<Response<GetWorkflowExecutionHistoryResponse>, Status>,
) -> Result<Option<HistoryEvent>, Error> {
    Ok(known(answer)?.map(|answer| {
        let events = answer.history.unwrap_or_default().events;
        events.into_iter().next().unwrap_or_default()
    }))
}

/// Returns `None` for a run that retention has removed: that is no error, for such a run ended long ago.
fn known<T>(answer: Result<Response<T>, Status>) -> Result<Option<T>, Error> {
    match answer {
        Ok(answer) => Ok(Some(answer.into_inner())),
        Err(status) if status.code() == Code::NotFound => Ok(None),
        Err(status) => Err(answered(status)),
    }
}
