//! Notifiers with different settings, as during a rolling restart.

use genflow::contract::receipt::{Channel, NotificationOutcome};
use genflow::domain::Event;

use super::{caught_up, event, publish, receipts};
use crate::support::receiver::{Answer, Receiver};
use crate::support::{Space, eventually};

#[tokio::test]
async fn a_delivery_that_a_notifier_of_other_settings_has_waits_for_one_that_knows_its_target() {
    let slack = Receiver::answering(&[Answer::Status(500), Answer::Status(200)]).await;
    // More steps than the other notifier can use up.
    let schedule = format!("1s{}", ",3s".repeat(40));
    let space = Space::with(&[
        ("SLACK_ALLOWED_HOSTS", "127.0.0.1"),
        ("NOTIFY_SCHEDULE", &schedule),
    ])
    .await;
    let knows = ("SLACK_WEBHOOK_URL", slack.url.as_str());
    let event = Event {
        notify: None,
        ..event(&space, "http://127.0.0.1:9/")
    };
    publish(&space, std::slice::from_ref(&event)).await;
    let killed = ("GENFLOW_FAILPOINT", "notify.handed=kill");
    space
        .start_with(&["notifier"], &[knows, killed])
        .ended()
        .await;

    let mut other = space.start(&["notifier"]);
    eventually("the other notifier has tried", async || {
        other.output().contains("target_gone").then_some(())
    })
    .await;
    caught_up(&space).await;
    let ended = space.read(&space.config.kafka.topics.notifications).await;
    assert!(
        { ended }.all().await.is_empty(),
        "the delivery is still open"
    );
    assert!(other.terminate().await.success());
    let _knows = space.start_with(&["notifier"], &[knows]);

    let receipt = receipts(&space, 1).await.remove(0);
    assert_eq!(receipt.event_id, event.event_id);
    assert_eq!(
        (receipt.channel, receipt.outcome, receipt.tries),
        (Channel::Slack, NotificationOutcome::Delivered, 2)
    );
}
