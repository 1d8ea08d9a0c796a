//! Events that are repeated, late, or sealed with an unknown key.

use std::collections::BTreeSet;

use genflow::contract::receipt::{NotificationOutcome, Receipt};
use genflow::domain::{Event, EventType, Targets};

use super::{caught_up, event, given_up, publish, publish_to, receipts, sealed};
use crate::support::receiver::{Delivery, Receiver};
use crate::support::{Space, Watched, eventually};

const HOUR: i64 = 3_600_000;
/// Another key than the one that seals the tests' events.
const OTHER_KEY: &str = "other:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAE=";

#[tokio::test]
async fn a_repeated_event_is_notified_once() {
    let space = Space::new().await;
    let _notifier = space.start(&["notifier"]);
    let receiver = Receiver::start(&[]).await;

    let event = publish_to(&space, &receiver.url).await;
    receipts(&space, 1).await;
    publish(&space, &[event.clone(), event]).await;

    caught_up(&space).await;
    assert_eq!(receiver.got().len(), 1);
    assert_eq!(receipts(&space, 1).await.len(), 1);
}

#[tokio::test]
async fn an_event_whose_delivery_is_under_way_is_not_handed_over_twice() {
    let space = Space::with(&[("NOTIFY_SCHEDULE", "1s,1s")]).await;
    let receiver = Receiver::start(&[500, 500]).await;
    let event = event(&space, &receiver.url);
    publish(&space, std::slice::from_ref(&event)).await;
    let mut first = space.start(&["notifier"]);
    caught_up(&space).await;
    assert!(first.terminate().await.success(), "{}", first.output());

    // The new notifier remembers nothing: it makes one more attempt, and finds the workflow.
    publish(&space, std::slice::from_ref(&event)).await;
    let _second = space.start(&["notifier"]);

    caught_up(&space).await;
    let receipts = receipts(&space, 1).await;
    let got = receiver.wait(3).await;
    assert!(
        got.iter()
            .all(|one| one.header("webhook-id") == event.event_id)
    );
    assert_eq!(receipts[0].outcome, NotificationOutcome::Delivered);
}

#[tokio::test]
async fn two_targets_of_one_event_on_one_channel_both_arrive() {
    let space = Space::new().await;
    let _notifier = space.start(&["notifier"]);
    let receivers = [Receiver::start(&[500]).await, Receiver::start(&[500]).await];
    let one = event(&space, &receivers[0].url);
    // The same event with another target is not a repeat.
    let other = Targets::parse(Some(&receivers[1].url), None, None).unwrap();
    let other = Event {
        notify: sealed(&space, &one, &other),
        ..one.clone()
    };

    publish(&space, &[one.clone(), other]).await;

    let receipts = receipts(&space, 2).await;
    let ids: BTreeSet<_> = receipts.iter().map(|one| &one.receipt_id).collect();
    assert_eq!(ids.len(), 2, "{receipts:#?}");
    for (receipt, receiver) in receipts.iter().zip(&receivers) {
        assert_eq!(
            (receipt.outcome, receipt.tries),
            (NotificationOutcome::Delivered, 2)
        );
        let got = receiver.got();
        assert_eq!(got.len(), 2);
        let of_event = |delivery: &Delivery| delivery.header("webhook-id") == one.event_id;
        assert!(got.iter().all(of_event));
    }
}

#[tokio::test]
async fn lost_offsets_send_again_under_the_same_id_and_nothing_that_is_too_old() {
    let space = Space::with(&[("NOTIFY_MAX_AGE", "1h")]).await;
    let receiver = Receiver::start(&[]).await;
    let mut old = event(&space, &receiver.url);
    old.occurred_at -= 2 * HOUR;
    let mut notifier = space.start(&["notifier"]);
    let young = publish_to(&space, &receiver.url).await;
    receipts(&space, 1).await;
    assert!(notifier.terminate().await.success());
    publish(&space, std::slice::from_ref(&old)).await;

    let other = format!("{}-other", space.config.kafka.group);
    let _notifier = space.start_with(&["notifier"], &[("KAFKA_GROUP", &other)]);

    let receipts = receipts(&space, 3).await;
    let of = |id: &str| -> Vec<_> { receipts.iter().filter(|one| one.event_id == id).collect() };
    let again = of(&young.event_id);
    assert_eq!(again.len(), 2);
    assert_eq!(again[0].receipt_id, again[1].receipt_id);
    let expired = of(&old.event_id)[0];
    assert_eq!(
        (expired.outcome, expired.tries),
        (NotificationOutcome::Expired, 0)
    );
    let got = receiver.wait(2).await;
    let deliveries = |id: &str| {
        got.iter()
            .filter(|one| one.header("webhook-id") == id)
            .count()
    };
    assert_eq!(
        (deliveries(&young.event_id), deliveries(&old.event_id)),
        (2, 0)
    );
}

#[tokio::test]
async fn seals_that_do_not_open_blow_a_fuse_although_events_without_one_pass_between_them() {
    let space = Space::new().await;
    let receiver = Receiver::start(&[]).await;
    let mut events = Vec::new();
    for _ in 0..6 {
        events.push(event(&space, &receiver.url));
        events.push(Event {
            event_type: EventType::Progress,
            ..event(&space, &receiver.url)
        });
    }
    publish(&space, &events).await;
    let wrong = [("NOTIFY_KEYS", OTHER_KEY), ("DLQ_FUSE", "2")];
    let notifier = Watched::start(&space, "notifier", &wrong);
    notifier
        .says("readyz", "NOTIFY_KEYS has the keys of intake")
        .await;
    let letters = given_up(&space, 2).await;
    assert_eq!(letters.len(), 2, "only as many as the fuse lets pass");
    drop(notifier);

    let _notifier = space.start(&["notifier"]);

    caught_up(&space).await;
    let notified: BTreeSet<_> = receipts(&space, 4)
        .await
        .into_iter()
        .map(|one| one.request_id.into_bytes())
        .collect();
    let letters: BTreeSet<_> = letters.into_iter().filter_map(|one| one.key).collect();
    let wanted = events
        .iter()
        .step_by(2)
        .map(|one| one.request_id.as_bytes());
    let held = wanted.filter(|id| !letters.contains(*id));
    assert_eq!(held.clone().count(), 4);
    assert!(
        held.into_iter().all(|id| notified.contains(id)),
        "the held events are notified"
    );
}

#[tokio::test]
async fn a_seal_that_does_not_open_is_dead_lettered_and_redriven_once_its_key_is_there() {
    let space = Space::new().await;
    let receiver = Receiver::start(&[]).await;
    let mut notifier = space.start_with(&["notifier"], &[("NOTIFY_KEYS", OTHER_KEY)]);
    let event = publish_to(&space, &receiver.url).await;
    let letter = given_up(&space, 1).await.remove(0);
    assert_eq!(letter.header("dlq.reason"), Some("undecodable"));
    caught_up(&space).await;
    assert!(notifier.terminate().await.success());

    let _notifier = space.start(&["notifier"]);
    let mut redrive = space.start(&["dlq", "redrive", "--notifications"]);

    assert!(redrive.ended().await.success(), "{}", redrive.output());
    let got = receiver.wait(1).await;
    assert_eq!(got[0].header("webhook-id"), event.event_id);
    let delivered = |one: &Receipt| one.outcome == NotificationOutcome::Delivered;
    assert!(receipts(&space, 1).await.iter().all(delivered));
    eventually("the record is done", async || {
        let topic = &space.config.kafka.topics.events;
        (space.lag("notifier", topic).await == 0).then_some(())
    })
    .await;
}
