//! A notifier that is killed at each step: every notification arrives, under one id, and repeats are counted.

use std::collections::BTreeSet;

use genflow::contract::receipt::{NotificationOutcome, Receipt};

use super::{caught_up, event, given_up, publish, receipts};
use crate::support::Space;
use crate::support::receiver::{Answer, Receiver};

const EVENTS: usize = 5;

/// The notifications of five events whose first notifier was killed at `point`.
struct Story {
    space: Space,
    receiver: Receiver,
    receipts: Vec<Receipt>,
    ids: BTreeSet<String>,
    /// Events whose offsets the killed notifier had not committed: only they may be sent again.
    uncommitted: usize,
}

async fn killed_at(point: &str, receiver: Receiver) -> Story {
    let space = Space::new().await;
    let events: Vec<_> = (0..EVENTS).map(|_| event(&space, &receiver.url)).collect();
    let failpoint = format!("{point}=kill");
    let mut first = space.start_with(&["notifier"], &[("GENFLOW_FAILPOINT", &failpoint)]);
    publish(&space, &events).await;
    first.ended().await;
    let topic = &space.config.kafka.topics.events;
    let uncommitted = usize::try_from(space.lag("notifier", topic).await).unwrap();

    let _second = space.start(&["notifier"]);

    caught_up(&space).await;
    let ids: BTreeSet<_> = events.into_iter().map(|event| event.event_id).collect();
    let all_notified = async || {
        let receipts = receipts(&space, EVENTS).await;
        let notified: BTreeSet<_> = receipts.iter().map(|one| one.event_id.clone()).collect();
        (notified == ids).then_some(receipts)
    };
    let receipts = crate::support::eventually("each event has a receipt", all_notified).await;
    Story {
        space,
        receiver,
        receipts,
        ids,
        uncommitted,
    }
}

impl Story {
    /// Asserts that each event arrived. Apart from the planned failures, only uncommitted events may have been sent
    /// again, once each.
    fn check(&self, failures: usize) {
        let got = self.receiver.got();
        let arrived: BTreeSet<_> = got
            .iter()
            .map(|one| one.header("webhook-id").to_owned())
            .collect();
        assert_eq!(arrived, self.ids);
        let again = got.len() - failures - EVENTS;
        assert!(again <= self.uncommitted, "{again} were sent again");
        let delivered = |one: &Receipt| one.outcome == NotificationOutcome::Delivered;
        assert!(self.receipts.iter().all(delivered), "{:?}", self.receipts);
        let receipts: BTreeSet<_> = self.receipts.iter().map(|one| &one.receipt_id).collect();
        assert_eq!(receipts.len(), EVENTS, "one id each");
    }
}

#[tokio::test]
async fn a_notifier_killed_after_its_first_try_tries_again() {
    let story = killed_at("notify.tried", Receiver::start(&[]).await).await;

    story.check(0);
}

#[tokio::test]
async fn a_notifier_killed_between_receipt_and_commit_repeats_the_same() {
    let story = killed_at("notify.reported", Receiver::start(&[]).await).await;

    story.check(0);
}

#[tokio::test]
async fn a_notifier_killed_after_a_hand_over_finds_the_workflow() {
    let failing = Receiver::start(&[500; EVENTS]).await;

    let story = killed_at("notify.handed", failing).await;

    story.check(EVENTS);
}

#[tokio::test]
async fn a_notifier_killed_in_a_workflows_try_tries_again() {
    let failing = Receiver::start(&[500; EVENTS]).await;

    let story = killed_at("deliver.tried", failing).await;

    story.check(EVENTS);
}

#[tokio::test]
async fn a_notifier_killed_between_dead_letter_and_receipt_repeats_both() {
    let refusing = Receiver::answering(&[Answer::Status(404)]).await;

    let story = killed_at("notify.dead_lettered", refusing).await;

    let letters = given_up(&story.space, EVENTS + 1).await;
    assert!(letters.len() <= 2 * EVENTS, "{}", letters.len());
    let outcomes = |one: &Receipt| one.outcome == NotificationOutcome::GivenUp;
    assert!(story.receipts.iter().all(outcomes));
}

#[tokio::test]
async fn a_notifier_killed_while_a_workflow_reports_its_end_reports_it_again() {
    // The first attempt fails, the workflow's attempt is refused for good.
    let answers: Vec<_> = [Answer::Status(500); EVENTS]
        .into_iter()
        .chain([Answer::Status(410)])
        .collect();
    let refusing = Receiver::answering(&answers).await;

    let story = killed_at("notify.dead_lettered", refusing).await;

    let letters = given_up(&story.space, EVENTS + 1).await;
    assert!(
        letters
            .iter()
            .all(|one| one.header("dlq.reason") == Some("gone"))
    );
    let refused =
        |one: &Receipt| one.outcome == NotificationOutcome::GivenUp && one.status == Some(410);
    assert!(story.receipts.iter().all(refused), "{:?}", story.receipts);
}
