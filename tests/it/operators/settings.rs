//! Notifiers of which some do not know the operators' target, as during a rolling restart.

use genflow::contract::digest::{FailedRequest, OperatorTarget};
use genflow::contract::receipt::Channel;
use genflow::engines::temporal::client::Temporal;
use temporalio_client::UntypedWorkflow;

use super::{failed, hash_of, messages, reported};
use crate::support::receiver::Receiver;
use crate::support::{Space, eventually};

#[tokio::test]
async fn operators_get_reports_from_a_notifier_that_knows_them_after_one_that_does_not() {
    let receiver = Receiver::start(&[]).await;
    let space = Space::with(&[("SLACK_ALLOWED_HOSTS", "127.0.0.1")]).await;
    let place = space.config.temporal.for_deliveries();
    let temporal = Temporal::connect(&place).await.unwrap();
    let to = OperatorTarget {
        channel: Channel::Slack,
        target_hash: hash_of(&receiver.url),
    };
    let mut other = space.start(&["notifier"]);
    let one = FailedRequest::of(&failed(&space)).unwrap();
    temporal.report_failure(to.clone(), one).await.unwrap();
    eventually(
        "the other notifier has tried twice, and counted it",
        async || (unknown_in_a_row(&space, &to.workflow()).await? >= 2).then_some(()),
    )
    .await;
    assert!(other.output().contains("target_gone"));
    assert!(other.terminate().await.success());

    let knows = ("OPS_SLACK_WEBHOOK_URL", receiver.url.as_str());
    let _knows = space.start_with(&["notifier"], &[knows]);

    receiver.wait(1).await;
    assert_eq!(reported(&messages(&receiver)[0]), 1);
}

/// Returns the details of the last heartbeat of the message that is being sent: how many attempts in a row did not know
/// the target.
async fn unknown_in_a_row(space: &Space, workflow: &str) -> Option<u32> {
    let client = space.client().await;
    let handle = client.get_workflow_handle::<UntypedWorkflow>(workflow);
    let described = handle.describe(Default::default()).await.unwrap();
    let sending = described.into_raw().pending_activities.pop()?;
    let details = sending.heartbeat_details?.payloads.pop()?;
    serde_json::from_slice(&details.data).ok()
}
