//! Reads everything that Temporal's server has of workflows, as it stores it.

use std::collections::BTreeSet;

use futures::StreamExt as _;
use futures::future::BoxFuture;
use temporalio_client::tonic::IntoRequest as _;
use temporalio_client::{Client, UntypedWorkflow, WorkflowExecutionInfo, WorkflowHandle};
use temporalio_common::data_converters::PayloadConversionError;
use temporalio_common::payload_visitor::{
    AsyncPayloadVisitor, PayloadField, PayloadFieldData, PayloadVisitable,
};
use temporalio_common::protos::temporal::api::common::v1::{Payload, WorkflowExecution};
use temporalio_common::protos::temporal::api::workflowservice::v1::DescribeWorkflowExecutionRequest;

use crate::support::{Space, eventually};

/// What the server has.
#[derive(Default)]
pub(super) struct Stored {
    /// All of it, as protobuf.
    pub(super) bytes: Vec<u8>,
    /// The ids of the keys that encrypted payloads.
    pub(super) keys: BTreeSet<String>,
    /// Whether a pending activity has details of a heartbeat.
    pub(super) has_heartbeats: bool,
    /// The fields with payloads that are not encrypted, except search attributes.
    pub(super) plain: BTreeSet<&'static str>,
}

impl Stored {
    /// Reads all workflows of a space, once there is one for each start of an id in `wanted`.
    pub(super) async fn read(space: &Space, wanted: &[String]) -> Self {
        let client = space.client().await;
        let query = format!("TaskQueue STARTS_WITH '{}'", space.name());
        let runs = eventually("all workflows are listed", async || {
            let listing = client.list_workflows(query.clone(), Default::default());
            let listed: Vec<_> = listing.map(Result::unwrap).collect().await;
            let is_listed = |wanted: &String| listed.iter().any(|run| run.id().starts_with(wanted));
            wanted.iter().all(is_listed).then_some(listed)
        })
        .await;
        let mut stored = Self::default();
        for run in runs {
            stored.read_run(&client, run.id(), run.run_id()).await;
        }
        stored
    }

    async fn read_run(&mut self, client: &Client, id: &str, run_id: &str) {
        let request = DescribeWorkflowExecutionRequest {
            namespace: "default".to_owned(),
            execution: Some(WorkflowExecution {
                workflow_id: id.to_owned(),
                run_id: run_id.to_owned(),
            }),
        };
        let mut service = client.connection().workflow_service();
        let described = service.describe_workflow_execution(request.into_request());
        let mut described = described.await.unwrap().into_inner();
        let mut pending = described.pending_activities.iter();
        self.has_heartbeats |= pending.any(|activity| activity.heartbeat_details.is_some());
        self.note(&mut described).await;
        let run = WorkflowExecutionInfo::builder()
            .namespace("default".to_owned())
            .workflow_id(id.to_owned())
            .maybe_run_id(Some(run_id.to_owned()))
            .build();
        let handle = WorkflowHandle::<Client, UntypedWorkflow>::new(client.clone(), run);
        let history = handle.fetch_history(Default::default()).into_events().await;
        for mut event in history.unwrap() {
            self.note(&mut event).await;
        }
    }

    async fn note<M: PayloadVisitable + prost::Message>(&mut self, message: &mut M) {
        self.bytes.extend(message.encode_to_vec());
        message.visit_payloads_mut(self).await.unwrap();
    }
}

impl AsyncPayloadVisitor for Stored {
    fn visit<'a>(
        &'a mut self,
        field: PayloadField<'a>,
    ) -> BoxFuture<'a, Result<(), PayloadConversionError>> {
        let payloads: &[Payload] = match &field.data {
            PayloadFieldData::Single(payload) => std::slice::from_ref(*payload),
            PayloadFieldData::Repeated(payloads) => payloads,
            PayloadFieldData::Payloads(payloads) => &payloads.payloads,
        };
        for payload in payloads {
            if payload.metadata["encoding"] == b"binary/encrypted" {
                let key = payload.metadata["encryption-key-id"].clone();
                self.keys.insert(String::from_utf8(key).unwrap());
            } else if !field.path.contains("SearchAttributes.indexed_fields") {
                self.plain.insert(field.path);
            }
        }
        Box::pin(async { Ok(()) })
    }
}
