//! Endpoints that are down or slow, and Temporal down: which notifications wait, and which do not.

use std::time::Instant;

use genflow::contract::receipt::{NotificationOutcome, Receipt};

use super::{caught_up, event, publish, publish_to, receipts};
use crate::support::gate::Gate;
use crate::support::receiver::{Answer, Receiver};
use crate::support::{Space, eventually};

/// After a failed first attempt, workflows wait longer than a test runs.
const LONG: (&str, &str) = ("NOTIFY_SCHEDULE", "1h");

#[tokio::test]
async fn a_silent_endpoint_takes_its_share_and_delays_no_other() {
    // A tenth of the pool is two slots; one user leaves one of them to others.
    let space = Space::with(&[LONG, ("NOTIFY_CONCURRENCY", "20")]).await;
    let silent = Receiver::answering(&[Answer::Silence]).await;
    let well = Receiver::start(&[]).await;
    let events = |webhook: &str, count| {
        let of = |_| event(&space, webhook);
        (0..count).map(of).collect::<Vec<_>>()
    };
    publish(&space, &events(&silent.url, 60)).await;
    publish(&space, &events(&well.url, 20)).await;

    let began = Instant::now();
    let _notifier = space.start(&["notifier"]);

    well.wait(20).await;
    let asked = silent.got().len();
    assert!(asked <= most_asked(1, began), "{asked} were asked");
    caught_up(&space).await;
    // The user's slot was taken, so the other notifications went to their workflows without an attempt.
    let asked = silent.got().len();
    assert!(asked >= 1, "{asked} were asked");
    assert!(asked <= most_asked(1, began), "{asked} were asked");
}

/// Returns the most first attempts at a failing endpoint since `began`, with `at_once` in flight: five failures open
/// its circuit while others are in flight, and then one attempt goes through every 30 s.
fn most_asked(at_once: usize, began: Instant) -> usize {
    let probes = began.elapsed().as_secs() / 30;
    5 + (at_once - 1) + usize::try_from(probes).unwrap()
}

#[tokio::test]
async fn a_body_without_end_is_not_read_to_its_end() {
    let space = Space::new().await;
    let _notifier = space.start(&["notifier"]);
    let endless = Receiver::answering(&[Answer::Endless]).await;

    for _ in 0..3 {
        publish_to(&space, &endless.url).await;
    }

    let receipts = receipts(&space, 3).await;
    let once =
        |receipt: &Receipt| receipt.outcome == NotificationOutcome::Delivered && receipt.tries == 1;
    assert!(receipts.iter().all(once), "{receipts:?}");
    // More than the system buffers of three unread bodies; a client that reads on would exceed it in a moment.
    let sent = endless.sent();
    assert!(sent < 3 * 8 * 1024 * 1024, "{sent}");
}

#[tokio::test]
async fn a_target_that_fails_again_and_again_is_not_asked_for_a_while() {
    let space = Space::with(&[LONG]).await;
    let failing = Receiver::answering(&[Answer::Status(500)]).await;
    let events: Vec<_> = (0..40).map(|_| event(&space, &failing.url)).collect();
    publish(&space, &events).await;
    let began = Instant::now();

    let _notifier = space.start(&["notifier"]);

    caught_up(&space).await;
    let asked = failing.got().len();
    assert!(asked >= 5, "{asked} were asked");
    assert!(asked <= most_asked(8, began), "{asked} were asked");
}

#[tokio::test]
async fn hand_overs_keep_to_their_rate() {
    let space = Space::with(&[LONG, ("NOTIFY_HANDOVERS_PER_SECOND", "2")]).await;
    let failing = Receiver::answering(&[Answer::Status(500)]).await;
    let events: Vec<_> = (0..10).map(|_| event(&space, &failing.url)).collect();
    publish(&space, &events).await;
    let _notifier = space.start(&["notifier"]);
    failing.wait(1).await;
    let began = Instant::now();

    caught_up(&space).await;

    // Two at once, then two per second.
    assert!(began.elapsed().as_millis() >= 3500, "{:?}", began.elapsed());
}

#[tokio::test]
async fn what_waits_for_its_hand_over_takes_no_place() {
    let pace = ("NOTIFY_HANDOVERS_PER_SECOND", "1");
    let space = Space::with(&[LONG, pace, ("NOTIFY_CONCURRENCY", "8")]).await;
    let refusing = Receiver::answering(&[Answer::Status(500)]).await;
    let well = Receiver::start(&[]).await;
    // At one hand-over per second, they take longer than any test waits.
    let events: Vec<_> = (0..200).map(|_| event(&space, &refusing.url)).collect();
    publish(&space, &events).await;
    let _notifier = space.start(&["notifier"]);
    refusing.wait(5).await;

    publish_to(&space, &well.url).await;

    well.wait(1).await;
}

#[tokio::test]
async fn without_temporal_first_tries_go_on_and_what_they_leave_waits_for_it() {
    let space = Space::new().await;
    let gate = Gate::before(space.config.temporal.url.authority()).await;
    gate.shut();
    let host = ("TEMPORAL_HOST", &*gate.address.to_string());
    let _notifier = space.start_with(&["notifier"], &[host]);
    let (well, failing) = (
        Receiver::start(&[]).await,
        Receiver::answering(&[Answer::Status(500)]).await,
    );
    let topic = space.config.kafka.topics.events.clone();

    let held = publish_to(&space, &failing.url).await;
    // The record is held again and again. This must not slow down the consumer for other records.
    failing.wait(4).await;
    publish_to(&space, &well.url).await;

    well.wait(1).await;
    receipts(&space, 1).await;
    // At least the held record; the other one may come after it in the same partition.
    assert!(space.lag("notifier", &topic).await >= 1);

    gate.open();
    caught_up(&space).await;
    failing.answer(Answer::Status(204));

    let receipts = receipts(&space, 2).await;
    let receipt = receipts.iter().find(|one| one.event_id == held.event_id);
    let receipt = receipt.unwrap();
    assert_eq!(receipt.outcome, NotificationOutcome::Delivered);
    assert!(receipt.tries >= 4, "{receipt:?}");
}

#[tokio::test]
async fn an_endpoint_that_recovers_before_temporal_is_notified_at_once() {
    let space = Space::new().await;
    let nowhere = ("TEMPORAL_HOST", "127.0.0.1:1");
    let _notifier = space.start_with(&["notifier"], &[nowhere]);
    let failing = Receiver::answering(&[Answer::Status(500)]).await;
    publish_to(&space, &failing.url).await;
    failing.wait(2).await;

    failing.answer(Answer::Status(204));

    let receipt = receipts(&space, 1).await.remove(0);
    assert_eq!(receipt.outcome, NotificationOutcome::Delivered);
    eventually("the record is done", async || {
        let topic = &space.config.kafka.topics.events;
        (space.lag("notifier", topic).await == 0).then_some(())
    })
    .await;
}
