//! Stores a record at Temporal as the details of a heartbeat, and waits for the answer.
//!
//! The SDK queues and throttles its own heartbeats, so it cannot say when Temporal has them, or whether this is still
//! the current attempt.

use anyhow::anyhow;
use temporalio_client::NamespacedClient as _;
use temporalio_client::tonic::{Code, IntoRequest as _};
use temporalio_common::data_converters::{
    ActivitySerializationContext, SerializationContextData, TemporalSerializable,
};
use temporalio_common::protos::temporal::api::common::v1::Payloads;
use temporalio_common::protos::temporal::api::workflowservice::v1::RecordActivityTaskHeartbeatRequest;
use temporalio_sdk::activities::ActivityContext;

/// Why an attempt cannot go on with a record that it tried to store.
pub(crate) enum Unstored {
    /// The workflow has cancelled the activity, after a CANCEL or at the deadline of its batch; the attempt is still the
    /// current one.
    CancelRequested,
    /// The attempt is no longer the current one.
    NotCurrent,
    /// Temporal did not confirm it, but may have stored it.
    Unanswered(anyhow::Error),
}

/// Stores a record for the next attempt.
pub(crate) async fn store<R: TemporalSerializable + 'static>(
    ctx: &ActivityContext,
    record: R,
) -> Result<(), Unstored> {
    let client = ctx.client();
    let of_an_activity = SerializationContextData::Activity(ActivitySerializationContext::new());
    let converter = client.data_converter();
    let payloads = converter.to_payloads(&of_an_activity, &record).await;
    let payloads = payloads.map_err(|error| Unstored::Unanswered(error.into()))?;
    let details = Payloads { payloads };
    let request = RecordActivityTaskHeartbeatRequest {
        namespace: ctx.info().namespace.clone(),
        task_token: ctx.info().task_token.clone(),
        details: Some(details),
        ..RecordActivityTaskHeartbeatRequest::default()
    };
    let answer = client
        .connection()
        .workflow_service()
        .record_activity_task_heartbeat(request.into_request())
        .await;
    match answer {
        Ok(answer) if answer.get_ref().cancel_requested => Err(Unstored::CancelRequested),
        Ok(_) => Ok(()),
        Err(status) if status.code() == Code::NotFound => Err(Unstored::NotCurrent),
        Err(status) => Err(Unstored::Unanswered(
            anyhow!(status).context("Temporal did not confirm the attempt's record"),
        )),
    }
}
