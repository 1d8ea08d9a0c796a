//! Reads from the server what it still has of a run: its history, its pending activities, its inputs.

use anyhow::Context as _;
use futures::StreamExt as _;
use serde::de::DeserializeOwned;
use temporalio_client::errors::WorkflowInteractionError;
use temporalio_client::tonic::{Code, IntoRequest as _};
use temporalio_client::{
    Client, HistoryEventFilterType, NamespacedClient as _, UntypedWorkflow, WorkflowExecutionInfo,
    WorkflowFetchHistoryOptions, WorkflowHandle,
};
use temporalio_common::protos::temporal::api::common::v1::{Payloads, WorkflowExecution};
use temporalio_common::protos::temporal::api::history::v1::{
    HistoryEvent, WorkflowExecutionStartedEventAttributes, history_event::Attributes,
};
use temporalio_common::protos::temporal::api::workflow::v1::PendingActivityInfo;
use temporalio_common::protos::temporal::api::workflowservice::v1::{
    GetWorkflowExecutionHistoryRequest, GetWorkflowExecutionHistoryReverseRequest,
};

use super::client::{Error, answered};
use super::described::{Described, describe};
use super::payloads::decode;

/// Reads a whole history and passes its events to `add`, in order.
pub(crate) async fn read_all(
    client: &Client,
    id: &str,
    run_id: &str,
    mut add: impl FnMut(HistoryEvent) -> Result<(), anyhow::Error>,
) -> Result<(), anyhow::Error> {
    let mut events = run(client, id, run_id).fetch_history(WorkflowFetchHistoryOptions::default());
    while let Some(event) = events.next().await {
        let mut event = event.map_err(answered).context("cannot read the history")?;
        let decoded = decode(client, &mut event).await;
        decoded.map_err(Error::Unreadable)?;
        add(event)?;
    }
    Ok(())
}

/// Returns what a run was started with; `None` if the server no longer has the run.
pub(crate) async fn started(
    client: &Client,
    id: &str,
    run_id: &str,
) -> Result<Option<WorkflowExecutionStartedEventAttributes>, Error> {
    // One event, because each of the others may be large. The SDK would read a whole page.
    let request = GetWorkflowExecutionHistoryRequest {
        namespace: client.namespace(),
        execution: Some(WorkflowExecution {
            workflow_id: id.to_owned(),
            run_id: run_id.to_owned(),
        }),
        maximum_page_size: 1,
        ..GetWorkflowExecutionHistoryRequest::default()
    };
    let mut service = client.connection().workflow_service();
    let answer = service.get_workflow_execution_history(request.into_request());
    let event = match answer.await {
        Ok(answer) => {
            let history = answer.into_inner().history.unwrap_or_default();
            history.events.into_iter().next()
        }
        Err(status) if status.code() == Code::NotFound => None,
        Err(status) => return Err(answered(status)),
    };
    let mut event = event.unwrap_or_default();
    let decoded = decode(client, &mut event).await;
    decoded.map_err(Error::Unreadable)?;
    Ok(match event.attributes {
        Some(Attributes::WorkflowExecutionStartedEventAttributes(started)) => Some(started),
        Some(_) | None => None,
    })
}

/// Returns the event that closed a run, with its payloads as the server stores them; `None` if the server no longer has
/// the run.
pub(crate) async fn closed(
    client: &Client,
    id: &str,
    run_id: &str,
) -> Result<Option<HistoryEvent>, Error> {
    let options = WorkflowFetchHistoryOptions::builder()
        .event_filter_type(HistoryEventFilterType::CloseEvent)
        .build();
    let mut events = run(client, id, run_id).fetch_history(options);
    Ok(known(events.next().await.transpose())?.map(Option::unwrap_or_default))
}

/// Returns the pending activities of a run, with their payloads as the server stores them; none if it has closed, or if the server no longer has it.
pub(crate) async fn pending(
    client: &Client,
    id: &str,
    run_id: &str,
) -> Result<Vec<PendingActivityInfo>, Error> {
    let described = describe(client, id, Some(run_id)).await?;
    // The server still lists the pending activities of a terminated run.
    let open = described.filter(|described| described.close_time().is_none());
    Ok(open.map_or_else(Vec::new, Described::into_pending))
}

/// Returns the newest events of a run, at most `limit`, latest first; none if the server no longer has the run.
pub(crate) async fn newest(
    client: &Client,
    id: &str,
    run_id: &str,
    limit: i32,
) -> Result<Vec<HistoryEvent>, Error> {
    let request = GetWorkflowExecutionHistoryReverseRequest {
        namespace: client.namespace(),
        execution: Some(WorkflowExecution {
            workflow_id: id.to_owned(),
            run_id: run_id.to_owned(),
        }),
        maximum_page_size: limit,
        ..GetWorkflowExecutionHistoryReverseRequest::default()
    };
    let mut service = client.connection().workflow_service();
    let answer = service.get_workflow_execution_history_reverse(request.into_request());
    let mut history = match answer.await {
        Ok(answer) => answer.into_inner().history.unwrap_or_default(),
        Err(status) if status.code() == Code::NotFound => return Ok(Vec::new()),
        Err(status) => return Err(answered(status)),
    };
    let decoded = decode(client, &mut history).await;
    decoded.map_err(Error::Unreadable)?;
    Ok(history.events)
}

/// Reads the input of a run or an activity, or an activity's result, from decoded payloads.
pub(crate) fn input<T: DeserializeOwned>(payloads: Option<Payloads>) -> Result<T, anyhow::Error> {
    let payloads = payloads.unwrap_or_default().payloads;
    let payload = payloads.first().context("the input or result is missing")?;
    serde_json::from_slice(&payload.data).context("this version cannot read the input or result")
}

fn run(client: &Client, id: &str, run_id: &str) -> WorkflowHandle<Client, UntypedWorkflow> {
    let run = WorkflowExecutionInfo::builder()
        .namespace(client.namespace())
        .workflow_id(id)
        .run_id(run_id)
        .build();
    WorkflowHandle::new(client.clone(), run)
}

/// Returns `None` for a run that retention has removed: that is no error, for such a run ended long ago.
fn known<T>(answer: Result<T, WorkflowInteractionError>) -> Result<Option<T>, Error> {
    match answer {
        Ok(answer) => Ok(Some(answer)),
        Err(WorkflowInteractionError::NotFound(_)) => Ok(None),
        Err(error) => Err(answered(error)),
    }
}
