//! Slack for tenants, and failure digests for operators, even if notifiers or Slack fail meanwhile.

mod mailed;
mod settings;
mod signals;

use genflow::contract::receipt::{Channel, NotificationOutcome, Receipt};
use genflow::domain::{ErrorCode, Event, EventError, EventType};
use serde_json::Value;
use temporalio_client::UntypedWorkflow;

use crate::notify::{caught_up, event, event_for, given_up, publish, publish_to, receipts};
use crate::replay::{self, keep};
use crate::support::process::Process;
use crate::support::receiver::{Answer, Receiver};
use crate::support::requests::image;
use crate::support::{Space, eventually};

/// Returns a space whose operators get failures at `receiver`.
async fn watched(receiver: &Receiver) -> Space {
    Space::with(&[
        ("SLACK_ALLOWED_HOSTS", "127.0.0.1"),
        ("OPS_SLACK_WEBHOOK_URL", &receiver.url),
    ])
    .await
}

/// Returns the event of a failed request without targets of a tenant.
fn failed(space: &Space) -> Event {
    Event {
        event_type: EventType::Failed,
        error: Some(EventError::new(
            ErrorCode::ContentPolicy,
            "no <such> thing",
            false,
        )),
        notify: None,
        ..event(space, "http://127.0.0.1:9/")
    }
}

fn messages(receiver: &Receiver) -> Vec<Value> {
    let got = receiver.got().into_iter();
    got.map(|one| serde_json::from_slice(&one.body).unwrap())
        .collect()
}

/// Returns how many failures a message reports.
fn reported(message: &Value) -> usize {
    let counts = message["blocks"][1]["text"]["text"].as_str().unwrap();
    let lines = counts.lines().skip(1);
    let counts = lines.map(|line| line.trim_start_matches('`').split_once(" x ").unwrap().0);
    counts.map(|count| count.parse::<usize>().unwrap()).sum()
}

#[tokio::test]
async fn a_tenants_slack_gets_block_kit_and_the_receipt_says_so() {
    let space = Space::with(&[("SLACK_ALLOWED_HOSTS", "127.0.0.1")]).await;
    let _notifier = space.start(&["notifier"]);
    let receiver = Receiver::answering(&[Answer::Status(500), Answer::Status(200)]).await;
    let event = event_for(&space, None, None, Some(&receiver.url));

    publish(&space, std::slice::from_ref(&event)).await;

    let receipts = receipts(&space, 1).await;
    let receipt = &receipts[0];
    assert_eq!(
        (receipt.channel, receipt.outcome, receipt.tries),
        (Channel::Slack, NotificationOutcome::Delivered, 2)
    );
    let messages = messages(&receiver);
    assert_eq!(messages.len(), 2);
    assert_eq!(messages[0], messages[1]);
    let title = format!("Image completed: {}", event.request_id);
    assert_eq!(messages[1]["blocks"][0]["text"]["text"], title);
}

#[tokio::test]
async fn operators_get_the_first_failure_at_once_and_the_others_together() {
    let receiver = Receiver::start(&[]).await;
    let space = watched(&receiver).await;
    let _notifier = space.start(&["notifier"]);
    let first = failed(&space);

    publish(&space, std::slice::from_ref(&first)).await;
    receiver.wait(1).await;
    let mut others: Vec<_> = (0..40).map(|_| failed(&space)).collect();
    others.push(first.clone());
    publish(&space, &others).await;

    let all = eventually("all failures are reported", async || {
        let messages = messages(&receiver);
        (messages.iter().map(reported).sum::<usize>() >= 41).then_some(messages)
    })
    .await;
    assert_eq!(
        all[0]["text"],
        format!("Request failed: {}", first.request_id)
    );
    // Failures within the minute are one message; on a very slow machine they may be two.
    assert!((2..=3).contains(&all.len()), "{} messages", all.len());
    let text = all[0].to_string();
    assert!(text.contains("content_policy") && text.contains("no &lt;such&gt; thing"));
    assert_eq!(all.iter().map(reported).sum::<usize>(), 41, "none twice");
}

#[tokio::test]
async fn operators_get_no_report_of_an_old_failure() {
    let receiver = Receiver::start(&[]).await;
    let space = watched(&receiver).await;
    let _notifier = space.start_with(&["notifier"], &[("NOTIFY_MAX_AGE", "1h")]);
    let mut old = failed(&space);
    old.occurred_at -= 2 * 3_600_000;

    publish(&space, &[old]).await;
    space
        .caught_up("notifier", &space.config.kafka.topics.events)
        .await;

    let last = failed(&space);
    publish(&space, std::slice::from_ref(&last)).await;
    receiver.wait(1).await;
    let messages = messages(&receiver);
    assert_eq!(reported(&messages[0]), 1);
    assert!(messages[0].to_string().contains(&last.request_id));
}

#[tokio::test]
async fn a_failure_is_reported_though_the_notifier_was_killed_and_slack_away_and_replays() {
    let receiver = Receiver::answering(&[Answer::Status(503)]).await;
    let space = watched(&receiver).await;
    let notifier = space.start(&["notifier"]);
    let (first, second) = (failed(&space), failed(&space));

    publish(&space, std::slice::from_ref(&first)).await;
    receiver.wait(1).await;
    let topic = &space.config.kafka.topics.events;
    space.caught_up("notifier", topic).await;
    drop(notifier);
    publish(&space, &[second]).await;
    let refused = receiver.got().len();
    receiver.answer(Answer::Status(200));
    let _notifier = space.start(&["notifier"]);

    eventually("both failures are reported", async || {
        let messages = messages(&receiver);
        (messages.iter().skip(refused).map(reported).sum::<usize>() >= 2).then_some(())
    })
    .await;
    let history = history(&space).await;
    assert!(history.contains("failed.v1") && history.contains("send-digest.v1"));
    // The history contains neither the target nor its redacted form.
    for plain in ["secret-token", "127.0.0.1", "hook"] {
        assert!(!history.contains(plain), "{plain}");
    }
    keep("digest", history.as_bytes()).await;
}

#[tokio::test]
async fn a_cancelled_digest_closes_and_the_next_failure_starts_another() {
    let receiver = Receiver::start(&[]).await;
    let space = watched(&receiver).await;
    let _notifier = space.start(&["notifier"]);
    publish(&space, &[failed(&space)]).await;
    receiver.wait(1).await;
    publish(&space, &[failed(&space), failed(&space)]).await;
    caught_up(&space).await;

    let client = space.client().await;
    let id = format!("digest/SLACK/{}", hash(&space));
    let digest = client.get_workflow_handle::<UntypedWorkflow>(id.clone());
    digest.cancel(Default::default()).await.unwrap();
    replay::closes(&client, &id).await;
    publish(&space, &[failed(&space)]).await;
    receiver.wait(2).await;

    let counts: Vec<_> = messages(&receiver).iter().map(reported).collect();
    assert_eq!(counts, [1, 1]);
}

/// Waits until a process has logged `lines` times that it holds a record.
async fn holds(process: &Process, lines: usize) {
    eventually("records are held", async || {
        (process.output().matches("record held").count() >= lines).then_some(())
    })
    .await;
}

#[tokio::test]
async fn without_temporal_failures_that_cannot_be_reported_hold_up_no_notification() {
    let slack = Receiver::start(&[]).await;
    let space = watched(&slack).await;
    let nowhere = ("TEMPORAL_HOST", "127.0.0.1:1");
    let notifier = space.start_with(&["notifier"], &[nowhere, ("NOTIFY_CONCURRENCY", "20")]);
    let failures: Vec<_> = (0..5).map(|_| failed(&space)).collect();
    publish(&space, &failures).await;
    holds(&notifier, 15).await;
    let well = Receiver::start(&[]).await;

    for count in 1..=10 {
        publish_to(&space, &well.url).await;
        well.wait(count).await;
    }
}

#[tokio::test]
async fn operators_hear_once_of_a_failure_whose_seal_does_not_open_and_its_redrive_may_come_late() {
    let slack = Receiver::start(&[]).await;
    let space = watched(&slack).await;
    let other = "other:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAE=";
    let wrong = [("NOTIFY_KEYS", other), ("DLQ_FUSE", "1")];
    let notifier = space.start_with(&["notifier"], &wrong);
    let tenant = Receiver::start(&[]).await;
    let failed = || {
        let mut event = Event {
            event_type: EventType::Failed,
            error: failed(&space).error,
            ..event(&space, &tenant.url)
        };
        event.notify.as_mut().unwrap().on.push(EventType::Failed);
        event
    };
    let (dead, held) = (failed(), failed());
    publish(&space, std::slice::from_ref(&dead)).await;
    given_up(&space, 1).await;
    publish(&space, std::slice::from_ref(&held)).await;

    let messages = eventually("both failures are reported", async || {
        let messages = messages(&slack);
        (messages.iter().map(reported).sum::<usize>() >= 2).then_some(messages)
    })
    .await;
    assert!(messages[0].to_string().contains(&dead.request_id));
    assert_eq!(history(&space).await.matches("failed.v1").count(), 2);

    drop(notifier);
    let _notifier = space.start_with(&["notifier"], &[("NOTIFY_MAX_AGE", "1s")]);
    caught_up(&space).await;
    let mut redrive = space.start(&["dlq", "redrive", "--notifications", "--accept-old"]);
    assert!(redrive.ended().await.success(), "{}", redrive.output());

    let receipts = receipts(&space, 2).await;
    let outcome = |event: &Event| {
        let of_it = |one: &&Receipt| one.event_id == event.event_id;
        receipts.iter().find(of_it).unwrap().outcome
    };
    assert_eq!(outcome(&dead), NotificationOutcome::Delivered);
    // A blown fuse lets one record pass every ten seconds: by then the first notifier has dead-lettered it as well.
    let was_redriven = outcome(&held) == NotificationOutcome::Delivered;
    assert!(was_redriven || outcome(&held) == NotificationOutcome::Expired);
    assert_eq!(tenant.got().len(), 1 + usize::from(was_redriven));
}

#[tokio::test]
async fn the_default_slack_follows_notify_on_of_a_request_without_targets() {
    let slack = Receiver::start(&[]).await;
    let space = Space::with(&[
        ("SLACK_ALLOWED_HOSTS", "127.0.0.1"),
        ("SLACK_WEBHOOK_URL", &slack.url),
    ])
    .await;
    let _all = space.start(&["all"]);
    let mut silent = image("silent");
    silent.notify_on = vec![EventType::Failed];
    let mut mute = image("mute");
    mute.notify_on = Vec::new();

    let heard = image("heard");
    for request in [&silent, &mute, &heard] {
        space.send(request).await;
        space.story(request.id.as_str()).await;
    }

    let receipts = receipts(&space, 1).await;
    caught_up(&space).await;
    let notified: Vec<_> = receipts.iter().map(|one| one.request_id.as_str()).collect();
    assert_eq!(notified, [heard.id.as_str()]);
    assert_eq!(slack.got().len(), 1);
}

/// Returns the hash of the operators' target.
fn hash(space: &Space) -> String {
    hash_of(
        space
            .config
            .notifier
            .ops_slack
            .as_ref()
            .unwrap()
            .expose()
            .as_str(),
    )
}

fn hash_of(target: &str) -> String {
    let hash = ring::digest::digest(&ring::digest::SHA256, target.as_bytes());
    let first = hash.as_ref()[..8].iter();
    first.map(|byte| format!("{byte:02x}")).collect()
}

/// Returns the history of the operators' digest, as JSON.
async fn history(space: &Space) -> String {
    history_of(space, &format!("digest/SLACK/{}", hash(space))).await
}

/// Returns the history of a workflow, as JSON.
async fn history_of(space: &Space, workflow: &str) -> String {
    let history = replay::history(&space.client().await, workflow, None).await;
    String::from_utf8(history).unwrap()
}
