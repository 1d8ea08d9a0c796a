//! A notifier that is asked to stop while notifications are under way (promise 7): those that are answered within its
//! patience are done, the next notifier delivers the others, and the process exits in time.

use std::time::Instant;

use genflow::contract::receipt::{NotificationOutcome, Receipt};
use genflow::domain::Event;
use rustix::process::Signal;

use super::stage::Stage;
use super::{caught_up, history, publish, publish_to, receipts};
use crate::support::mail::all;
use crate::support::receiver::{Answer, Delivery, Receiver};
use crate::support::{Space, Watched, eventually};

/// The name of the targets.
const NAME: &str = "told";

impl Stage {
    /// Returns a stage whose receivers give this answer.
    async fn answering(answer: Answer, settings: &[(&str, &str)]) -> Self {
        Self::new(settings, [&[answer], &[answer]]).await
    }

    fn notifier(&self) -> Watched {
        let smtp = self.catcher.smtp();
        Watched::start(&self.space, "notifier", &[("SMTP_URL", &smtp)])
    }

    /// Publishes a new event for all three receivers, and waits until each has received it.
    async fn publish_and_wait(&self, mailbox: &str) -> Event {
        let event = self.event(NAME, mailbox);
        publish(&self.space, std::slice::from_ref(&event)).await;
        eventually("all three arrive", async || {
            (self.came(&event) == [1; 3]).then_some(())
        })
        .await;
        event
    }

    /// Returns how often the event arrived by webhook, by mail and by Slack; asserts that each time it has its id.
    fn came(&self, event: &Event) -> [usize; 3] {
        let id = &event.event_id;
        let (webhooks, slack) = (self.webhooks.got(), self.slack.got());
        let mails = all(&self.catcher.maildir);
        assert!(webhooks.iter().all(|one| one.header("webhook-id") == id));
        let names = |text: String| text.contains(id);
        assert!(mails.iter().all(|one| names(one.header("Message-ID"))));
        let body = |one: &Delivery| String::from_utf8_lossy(&one.body).into_owned();
        assert!(slack.iter().map(body).all(names));
        [webhooks.len(), mails.len(), slack.len()]
    }
}

#[tokio::test]
async fn a_notification_answered_during_a_stop_is_done_and_not_repeated() {
    // The patience is a third of SHUTDOWN_GRACE.
    let patient = [("SHUTDOWN_GRACE", "15s"), ("KAFKA_SESSION_TIMEOUT", "20s")];
    let stage = Stage::answering(Answer::Held, &patient).await;
    let mut first = stage.notifier();
    let event = stage.publish_and_wait("after-1@example.org").await;

    first.process.signal(Signal::TERM);
    first.says("readyz", "draining").await;
    stage.webhooks.release();
    stage.slack.release();

    let ended = first.process.ended().await;
    assert!(ended.success(), "{}", first.process.output());
    assert_eq!(stage.lag().await, 0, "the offset is committed");
    let found = receipts(&stage.space, 3).await;
    let once = |one: &Receipt| {
        (one.outcome, one.tries) == (NotificationOutcome::Delivered, 1)
            && one.event_id == event.event_id
    };
    assert!(found.len() == 3 && found.iter().all(once), "{found:#?}");
    let _second = stage.notifier();
    let other = Receiver::start(&[]).await;
    publish_to(&stage.space, &other.url).await;
    other.wait(1).await;
    caught_up(&stage.space).await;
    assert_eq!(stage.came(&event), [1; 3]);
    assert_eq!(receipts(&stage.space, 4).await.len(), 4);
}

#[tokio::test]
async fn an_unanswered_notification_delays_no_stop_and_is_repeated_with_its_id() {
    let stage = Stage::answering(Answer::Silence, &[]).await;
    let mut first = stage.notifier();
    let event = stage.publish_and_wait("after-60-once@example.org").await;

    let began = Instant::now();
    first.process.signal(Signal::TERM);

    let ended = first.process.ended().await;
    assert!(ended.success(), "{}", first.process.output());
    assert!(began.elapsed() < stage.space.config.grace);
    assert_eq!(stage.lag().await, 1, "the event is not done");
    for receiver in [&stage.webhooks, &stage.slack] {
        receiver.answer(Answer::Status(204));
    }
    let _second = stage.notifier();
    let found = receipts(&stage.space, 3).await;
    let delivered = |one: &Receipt| one.outcome == NotificationOutcome::Delivered;
    assert!(
        found.len() == 3 && found.iter().all(delivered),
        "{found:#?}"
    );
    caught_up(&stage.space).await;
    assert_eq!(stage.came(&event), [2; 3]);
}

/// Returns an event, a receiver that an attempt of its workflow has reached and that gives `answer`, and the notifier
/// that makes the attempt.
async fn tried_by_its_workflow(space: &Space, answer: Answer) -> (Event, Receiver, Watched) {
    let notifier = Watched::start(space, "notifier", &[]);
    let receiver = Receiver::answering(&[Answer::Status(500), answer]).await;
    let event = publish_to(space, &receiver.url).await;
    receiver.wait(2).await;
    caught_up(space).await;
    (event, receiver, notifier)
}

#[tokio::test]
async fn a_workflows_try_that_is_answered_while_its_notifier_stops_is_the_last() {
    let space = Space::new().await;
    let (_, receiver, mut first) = tried_by_its_workflow(&space, Answer::Held).await;

    first.process.signal(Signal::TERM);
    first.says("readyz", "draining").await;
    receiver.release();

    let ended = first.process.ended().await;
    assert!(ended.success(), "{}", first.process.output());
    let _second = Watched::start(&space, "notifier", &[]);
    let receipt = receipts(&space, 1).await.remove(0);
    assert_eq!(
        (receipt.outcome, receipt.tries),
        (NotificationOutcome::Delivered, 2)
    );
    assert_eq!(receiver.got().len(), 2);
}

#[tokio::test]
async fn a_workflows_try_that_is_not_answered_is_handed_back_to_the_next_notifier() {
    // A fifth of SHUTDOWN_GRACE is for the steps after the hand-back.
    let space = Space::with(&[("SHUTDOWN_GRACE", "10s"), ("KAFKA_SESSION_TIMEOUT", "15s")]).await;
    let (event, receiver, mut first) = tried_by_its_workflow(&space, Answer::Silence).await;

    let began = Instant::now();
    first.process.signal(Signal::TERM);

    let ended = first.process.ended().await;
    assert!(ended.success(), "{}", first.process.output());
    assert!(began.elapsed() < space.config.grace);
    receiver.answer(Answer::Status(204));
    let _second = Watched::start(&space, "notifier", &[]);
    let receipt = receipts(&space, 1).await.remove(0);
    assert_eq!(receipt.outcome, NotificationOutcome::Delivered);
    let got = receiver.got();
    assert_eq!(got.len(), 3);
    assert!(
        got.iter()
            .all(|one| one.header("webhook-id") == event.event_id)
    );
    let history = history(&space, &receipt).await.unwrap();
    assert!(
        history.to_string().contains("genflow.HandedBack"),
        "{history}"
    );
}
