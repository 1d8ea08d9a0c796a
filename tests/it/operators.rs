//! Slack for tenants, and for operators: what failed, in few messages, whatever dies meanwhile.

use genflow::domain::{ErrorCode, Event, EventError, EventType, Notify, Targets};
use genflow::notifier::{Channel, Outcome};
use genflow::seal::{self, Sealer};
use serde_json::Value;
use temporalio_client::UntypedWorkflow;

use crate::closed::client;
use crate::notify::{event, publish, receipts};
use crate::support::receiver::{Answer, Receiver};
use crate::support::{Space, eventually};

/// A space whose operators hear of failures at `receiver`.
async fn watched(receiver: &Receiver, every: &str) -> Space {
    Space::with(&[
        ("SLACK_ALLOWED_HOSTS", "127.0.0.1"),
        ("OPS_SLACK_WEBHOOK_URL", &receiver.url),
        ("OPS_DIGEST_EVERY", every),
    ])
    .await
}

/// An event of a request that failed, and that tells no tenant.
fn failed(space: &Space) -> Event {
    Event {
        kind_of_event: EventType::Failed,
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

/// How many failures a message tells of.
fn told(message: &Value) -> usize {
    let counts = message["blocks"][1]["text"]["text"].as_str().unwrap();
    let lines = counts.lines().skip(1);
    lines
        .map(|line| line.rsplit_once(' ').unwrap().1.parse::<usize>().unwrap())
        .sum()
}

#[tokio::test]
async fn a_tenants_slack_is_told_by_block_kit_and_the_receipt_says_so() {
    let space = Space::with(&[("SLACK_ALLOWED_HOSTS", "127.0.0.1")]).await;
    let _notifier = space.start(&["notifier"]);
    let receiver = Receiver::answering(&[Answer::Status(500), Answer::Status(200)]).await;
    let mut event = event(&space, "http://127.0.0.1:9/");
    let targets = Targets::parse(None, None, Some(&receiver.url)).unwrap();
    let sealer = Sealer::new(&space.config.notify_keys).unwrap();
    event.notify = Some(Notify {
        on: vec![EventType::Completed],
        sealed: sealer.seal(&targets, seal::context(&event)).unwrap(),
    });

    publish(&space, std::slice::from_ref(&event)).await;

    let receipts = receipts(&space, 1).await;
    let receipt = &receipts[0];
    assert_eq!(
        (receipt.channel, receipt.outcome, receipt.tries),
        (Channel::Slack, Outcome::Delivered, 2)
    );
    let messages = messages(&receiver);
    assert_eq!(messages.len(), 2);
    assert_eq!(messages[0], messages[1]);
    let title = format!("Image completed: {}", event.request_id);
    assert_eq!(messages[1]["blocks"][0]["text"]["text"], title);
}

#[tokio::test]
async fn operators_hear_of_the_first_failure_at_once_and_of_the_others_together() {
    let receiver = Receiver::start(&[]).await;
    let space = watched(&receiver, "4s").await;
    let _notifier = space.start(&["notifier"]);
    let first = failed(&space);

    publish(&space, std::slice::from_ref(&first)).await;
    receiver.wait(1).await;
    let mut others: Vec<_> = (0..40).map(|_| failed(&space)).collect();
    others.push(first.clone());
    publish(&space, &others).await;

    let all = eventually("all failures are told of", async || {
        let messages = messages(&receiver);
        (messages.iter().map(told).sum::<usize>() >= 41).then_some(messages)
    })
    .await;
    assert_eq!(
        all[0]["text"],
        format!("Request failed: {}", first.request_id)
    );
    assert!(all.len() < 10, "{} messages", all.len());
    let text = all[0].to_string();
    assert!(text.contains("content_policy") && text.contains("no &lt;such&gt; thing"));
    // One that comes last shows that none was counted twice.
    publish(&space, &[failed(&space)]).await;
    let all = eventually("the last failure is told of", async || {
        let messages = messages(&receiver);
        (messages.iter().map(told).sum::<usize>() >= 42).then_some(messages)
    })
    .await;
    assert_eq!(all.iter().map(told).sum::<usize>(), 42);
}

#[tokio::test]
async fn a_failure_is_told_of_though_the_notifier_was_killed_and_slack_away() {
    let receiver = Receiver::answering(&[Answer::Status(503)]).await;
    let space = watched(&receiver, "1s").await;
    let notifier = space.start(&["notifier"]);
    let (first, second) = (failed(&space), failed(&space));

    publish(&space, std::slice::from_ref(&first)).await;
    receiver.wait(1).await;
    let topic = &space.config.kafka.topics.events;
    space.caught_up("notifier", topic).await;
    drop(notifier);
    publish(&space, &[second]).await;
    receiver.answer(Answer::Status(200));
    let _notifier = space.start(&["notifier"]);

    eventually("both failures are told of", async || {
        let messages = messages(&receiver);
        // The first message was refused, so it does not count.
        (messages.iter().skip(1).map(told).sum::<usize>() >= 2).then_some(())
    })
    .await;
    check_history(&space).await;
}

/// The target stands in no history, nor does what is left of it.
async fn check_history(space: &Space) {
    let url = space.config.notifier.ops_slack.as_ref().unwrap().expose();
    let hash = ring::digest::digest(&ring::digest::SHA256, url.as_bytes());
    let hash: String = hash.as_ref()[..8]
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    let handle = client(space)
        .await
        .get_workflow_handle::<UntypedWorkflow>(format!("digest/SLACK/{hash}"));
    let history = handle.fetch_history(Default::default()).to_json().await;
    let history = String::from_utf8(history.unwrap()).unwrap();
    assert!(history.contains("failed.v1") && history.contains("tell.v1"));
    for plain in ["secret-token", "127.0.0.1", "hook"] {
        assert!(!history.contains(plain), "{plain}");
    }
}
