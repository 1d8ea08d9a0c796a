//! What the server says about a run.
//!
//! The SDK's own description decodes everything, and fails if one payload cannot be decoded. It also expects static
//! details to be plain, but the worker encodes those of a batch's items with everything else that it sends.

use std::time::SystemTime;

use temporalio_client::grpc::WorkflowService as _;
use temporalio_client::tonic::{Code, IntoRequest as _};
use temporalio_client::{Client, NamespacedClient as _, WorkflowExecutionStatus};
use temporalio_common::protos::temporal::api::common::v1::{Payload, WorkflowExecution};
use temporalio_common::protos::temporal::api::workflow::v1::{
    PendingActivityInfo, WorkflowExecutionInfo,
};
use temporalio_common::protos::temporal::api::workflowservice::v1::{
    DescribeWorkflowExecutionRequest, DescribeWorkflowExecutionResponse,
};

use super::error::{Error, answered};
use super::payloads::decode;

/// A run, as the server describes it.
pub struct Described {
    client: Client,
    /// Its payloads are as the server stores them.
    raw: DescribeWorkflowExecutionResponse,
    /// What is known of every run; in it too, payloads are as the server stores them.
    pub info: WorkflowExecutionInfo,
}

/// Describes a run, by default the newest with that id; `None` if the server has no such run.
pub(crate) async fn describe(
    client: &Client,
    workflow: &str,
    run_id: Option<&str>,
) -> Result<Option<Described>, Error> {
    let request = DescribeWorkflowExecutionRequest {
        namespace: client.namespace(),
        execution: Some(WorkflowExecution {
            workflow_id: workflow.to_owned(),
            run_id: run_id.unwrap_or_default().to_owned(),
        }),
    };
    let mut service = client.clone();
    let described = service.describe_workflow_execution(request.into_request());
    match described.await {
        Ok(answer) => {
            let mut raw = answer.into_inner();
            Ok(Some(Described {
                client: client.clone(),
                info: raw.workflow_execution_info.take().unwrap_or_default(),
                raw,
            }))
        }
        Err(status) if status.code() == Code::NotFound => Ok(None),
        Err(status) => Err(answered(status)),
    }
}

impl Described {
    pub fn run_id(&self) -> &str {
        let execution = self.info.execution.as_ref();
        execution.map_or("", |execution| &execution.run_id)
    }

    pub fn workflow_type(&self) -> &str {
        let kind = self.info.r#type.as_ref();
        kind.map_or("", |kind| &kind.name)
    }

    pub fn status(&self) -> WorkflowExecutionStatus {
        self.info.status().into()
    }

    pub fn start_time(&self) -> Option<SystemTime> {
        self.info.start_time?.try_into().ok()
    }

    /// Returns when it closed; `None` if it is open.
    pub fn close_time(&self) -> Option<SystemTime> {
        self.info.close_time?.try_into().ok()
    }

    /// Returns the run id of the workflow that started it as a child.
    pub fn parent_run_id(&self) -> Option<&str> {
        let parent = self.info.parent_execution.as_ref()?;
        Some(&parent.run_id)
    }

    /// Returns a search attribute of type Keyword.
    pub fn keyword(&self, name: &str) -> Option<String> {
        let attributes = self.info.search_attributes.as_ref()?;
        text(attributes.indexed_fields.get(name)?)
    }

    /// Returns whether a cancel was requested.
    pub fn is_cancel_requested(&self) -> bool {
        let extended = self.raw.workflow_extended_info.as_ref();
        extended.is_some_and(|info| info.cancel_requested)
    }

    /// Returns the text in a field of its memo, if it has one.
    ///
    /// # Errors
    /// [`Error::Unreadable`]: it is encrypted with a key that this process does not have, or damaged.
    pub async fn memo(&self, name: &str) -> Result<Option<String>, Error> {
        let memo = self.info.memo.as_ref();
        self.decoded(memo.and_then(|memo| memo.fields.get(name)))
            .await
    }

    /// Returns its static details, if it has any.
    ///
    /// # Errors
    /// As of [`Self::memo`].
    pub async fn static_details(&self) -> Result<Option<String>, Error> {
        let config = self.raw.execution_config.as_ref();
        let metadata = config.and_then(|config| config.user_metadata.as_ref());
        self.decoded(metadata.and_then(|metadata| metadata.details.as_ref()))
            .await
    }

    /// Returns its pending activities, with their payloads as the server stores them.
    pub(crate) fn into_pending(self) -> Vec<PendingActivityInfo> {
        self.raw.pending_activities
    }

    async fn decoded(&self, payload: Option<&Payload>) -> Result<Option<String>, Error> {
        let Some(payload) = payload else {
            return Ok(None);
        };
        let mut payload = payload.clone();
        let decoded = decode(&self.client, &mut payload).await;
        decoded.map_err(Error::Unreadable)?;
        Ok(text(&payload))
    }
}

/// Reads a text in JSON; `None` if it is of another type.
fn text(payload: &Payload) -> Option<String> {
    serde_json::from_slice(&payload.data).ok()
}
