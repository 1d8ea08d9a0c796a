//! Notifications to real receivers: a first attempt, then those of the workflow, then the receipt.

mod crashes;
mod isolation;
mod load;
mod long;
mod operator;
mod poison;
mod repeats;
mod settings;
mod stage;
mod stops;

use std::time::Duration;

use genflow::contract::receipt::{NotificationOutcome, Receipt};
use genflow::domain::{Event, Targets};
use genflow::engines::kafka::Record;
use genflow::engines::kafka::producer::Producer;
use genflow::engines::publisher::Publisher;
use genflow::workflows::delivery;
use serde_json::Value;
use temporalio_client::{UntypedWorkflow, WorkflowHandle};

use crate::support::events::{completed, receipt, sealed};
use crate::support::receiver::{Answer, Receiver};
use crate::support::{Space, eventually};

/// Returns an event with `webhook` as target, not published yet.
pub(crate) fn event(space: &Space, webhook: &str) -> Event {
    event_for(space, Some(webhook), None, None)
}

/// Returns an event with these targets, not published yet.
pub(crate) fn event_for(
    space: &Space,
    webhook: Option<&str>,
    email: Option<&str>,
    slack: Option<&str>,
) -> Event {
    let mut event = completed();
    let targets = Targets::parse(webhook, email, slack).unwrap();
    event.notify = sealed(space, &event, &targets);
    event
}

/// Publishes events.
pub(crate) async fn publish(space: &Space, events: &[Event]) {
    publisher(space).publish(events, None).await.unwrap();
}

/// Returns a publisher of events.
pub(crate) fn publisher(space: &Space) -> Publisher {
    let kafka = &space.config.kafka;
    let producer = Producer::new(kafka, "test").unwrap().into();
    Publisher::new(producer, space.registry.clone(), kafka)
}

/// Publishes a new event with `webhook` as target.
pub(crate) async fn publish_to(space: &Space, webhook: &str) -> Event {
    let event = event(space, webhook);
    publish(space, std::slice::from_ref(&event)).await;
    event
}

/// Waits until there are `count` receipts, and returns all of them.
pub(crate) async fn receipts(space: &Space, count: usize) -> Vec<Receipt> {
    let topic = &space.config.kafka.topics.notifications;
    eventually("the receipts arrive", async || {
        let records = space.read(topic).await.all().await;
        (records.len() >= count).then(|| records.iter().map(receipt).collect())
    })
    .await
}

/// Waits until `count` notifications are given up, and returns all of them.
pub(crate) async fn given_up(space: &Space, count: usize) -> Vec<Record> {
    let topic = &space.config.kafka.topics.notifications_dlq;
    eventually("notifications are given up", async || {
        let records = space.read(topic).await.all().await;
        (records.len() >= count).then_some(records)
    })
    .await
}

/// Returns a handle of the workflow that delivers a notification.
pub(crate) async fn workflow(
    space: &Space,
    receipt: &Receipt,
) -> WorkflowHandle<temporalio_client::Client, UntypedWorkflow> {
    space
        .client()
        .await
        .get_workflow_handle::<UntypedWorkflow>(workflow_id(receipt))
}

/// Returns the history of that workflow, if it exists.
async fn history(space: &Space, receipt: &Receipt) -> Option<Value> {
    let handle = workflow(space, receipt).await;
    let history = handle.fetch_history(Default::default()).to_json().await;
    Some(serde_json::from_slice(&history.ok()?).unwrap())
}

/// Returns the id of that workflow.
fn workflow_id(receipt: &Receipt) -> String {
    let Receipt {
        event_id,
        channel,
        target_hash,
        ..
    } = receipt;
    format!("deliver/{event_id}/{}/{target_hash}", channel.as_str())
}

/// Waits until the notifier has committed all events.
pub(crate) async fn caught_up(space: &Space) {
    let topic = &space.config.kafka.topics.events;
    space.caught_up("notifier", topic).await;
}

#[tokio::test]
async fn what_the_first_try_did_not_deliver_its_workflow_does_under_one_id() {
    let space = Space::new().await;
    let _notifier = space.start(&["notifier"]);
    let receiver = Receiver::start(&[500, 502, 408]).await;

    let event = publish_to(&space, &receiver.url).await;

    let got = receiver.wait(4).await;
    assert!(
        got.iter()
            .all(|one| one.header("webhook-id") == event.event_id)
    );
    let receipts = receipts(&space, 1).await;
    let [receipt] = &receipts[..] else {
        panic!("{receipts:?}");
    };
    assert_eq!(receipt.outcome, NotificationOutcome::Delivered);
    assert_eq!((receipt.tries, receipt.status), (4, Some(204)));
    assert_eq!(receipt.event_id, event.event_id);
    assert_eq!(receipt.target, "http://127.0.0.1/…");
    assert!((event.occurred_at..receipt.ended_at).contains(&receipt.first_try_at));
    caught_up(&space).await;

    // The history contains neither the target nor its redacted form.
    let handle = workflow(&space, receipt).await;
    let described = handle.describe(Default::default()).await.unwrap();
    assert_eq!(described.workflow_type(), delivery::NAME);
    let history = handle
        .fetch_history(Default::default())
        .to_json()
        .await
        .unwrap();
    let history = String::from_utf8(history).unwrap();
    assert!(history.contains("deliver.v1") && history.contains("conclude.v1"));
    for plain in ["secret-token", "127.0.0.1", "hook"] {
        assert!(!history.contains(plain), "{plain}");
    }
}

#[tokio::test]
async fn what_its_first_try_delivers_needs_no_workflow() {
    let space = Space::new().await;
    let _notifier = space.start(&["notifier"]);
    let receiver = Receiver::start(&[]).await;

    publish_to(&space, &receiver.url).await;

    let receipt = receipts(&space, 1).await.remove(0);
    assert_eq!(
        (receipt.outcome, receipt.tries),
        (NotificationOutcome::Delivered, 1)
    );
    let described = workflow(&space, &receipt)
        .await
        .describe(Default::default())
        .await;
    assert!(described.is_err());
}

#[tokio::test]
async fn a_final_answer_ends_the_attempts_of_notifier_and_workflow() {
    let space = Space::new().await;
    let _notifier = space.start(&["notifier"]);
    for (answers, tries, code) in [
        (&[410][..], 1, "gone"),
        (&[404], 1, "refused"),
        (&[500, 410], 2, "gone"),
    ] {
        let receiver = Receiver::start(answers).await;

        let event = publish_to(&space, &receiver.url).await;

        let of_event = |receipt: &Receipt| receipt.event_id == event.event_id;
        let receipt = eventually("the receipt arrives", async || {
            receipts(&space, 1).await.into_iter().find(of_event)
        })
        .await;
        assert_eq!(
            (receipt.outcome, receipt.tries),
            (NotificationOutcome::GivenUp, tries)
        );
        assert_eq!(receipt.error.unwrap().code, code);
        assert_eq!(receiver.got().len(), tries as usize);
    }
    caught_up(&space).await;
}

#[tokio::test]
async fn an_event_that_no_attempt_delivers_is_dead_lettered_unchanged() {
    let space = Space::with(&[("NOTIFY_SCHEDULE", "100ms,100ms")]).await;
    let _notifier = space.start(&["notifier"]);
    let receiver = Receiver::answering(&[Answer::Status(500)]).await;

    let event = publish_to(&space, &receiver.url).await;

    let letter = given_up(&space, 1).await.remove(0);
    let events = &space.config.kafka.topics.events;
    let record = space.read(events).await.all().await.remove(0);
    assert_eq!(letter.value, record.value);
    assert_eq!(letter.key.as_deref(), Some(event.request_id.as_bytes()));
    let receipt = receipts(&space, 1).await.remove(0);
    for (name, value) in [
        ("dlq.channel", "WEBHOOK"),
        ("dlq.target_hash", &receipt.target_hash),
        ("dlq.reason", "target_failed"),
        ("dlq.attempts", "3"),
    ] {
        assert_eq!(letter.header(name), Some(value));
    }
    assert_eq!(
        (receipt.outcome, receipt.tries),
        (NotificationOutcome::GivenUp, 3)
    );
    assert_eq!(receiver.got().len(), 3);
}

#[tokio::test]
async fn a_pause_that_the_target_asks_for_is_kept_by_the_first_try_and_by_the_workflow() {
    let space = Space::new().await;
    let _notifier = space.start(&["notifier"]);
    let asking = [
        Answer::RetryAfter(503, 2),
        Answer::RetryAfter(429, 2),
        Answer::Status(204),
    ];
    let receiver = Receiver::answering(&asking).await;

    publish_to(&space, &receiver.url).await;

    let got = receiver.wait(3).await;
    for pair in got.windows(2) {
        let pause = pair[1].at - pair[0].at;
        assert!(pause >= Duration::from_millis(1900), "{pause:?}");
    }
}

#[tokio::test]
async fn a_delivery_that_is_cancelled_is_given_up() {
    let space = Space::with(&[("NOTIFY_SCHEDULE", "1h")]).await;
    let _notifier = space.start(&["notifier"]);
    let receiver = Receiver::answering(&[Answer::Status(500)]).await;
    let event = publish_to(&space, &receiver.url).await;
    caught_up(&space).await;

    let id = delivery_of(&space, &event).await;
    let handle = space
        .client()
        .await
        .get_workflow_handle::<UntypedWorkflow>(id);
    handle.cancel(Default::default()).await.unwrap();

    let letter = given_up(&space, 1).await.remove(0);
    assert_eq!(letter.header("dlq.reason"), Some("cancelled"));
    assert_eq!(letter.header("dlq.attempts"), Some("1"));
    let receipt = receipts(&space, 1).await.remove(0);
    assert_eq!(
        (receipt.outcome, receipt.status),
        (NotificationOutcome::GivenUp, Some(500))
    );
}

/// Returns the workflow id of an event's only delivery.
pub(crate) async fn delivery_of(space: &Space, event: &Event) -> String {
    use futures::StreamExt as _;

    let client = space.client().await;
    let query = format!("WorkflowId STARTS_WITH 'deliver/{}/'", event.event_id);
    eventually("the delivery is listed", async || {
        let mut found = client.list_workflows(query.clone(), Default::default());
        let found = found.next().await?;
        Some(found.unwrap().id().to_owned())
    })
    .await
}
