//! How an operator handles notifications that were given up, and how doctor reports endpoints that are gone.

use genflow::contract::receipt::NotificationOutcome;
use serde_json::Value;

use super::{given_up, publish_to, receipts};
use crate::doctor::doctor;
use crate::support::receiver::{Answer, Receiver};
use crate::support::{Space, eventually};

#[tokio::test]
async fn what_was_given_up_is_listed_and_a_redrive_delivers_it_under_the_same_id() {
    let space = Space::with(&[("NOTIFY_SCHEDULE", "100ms")]).await;
    let _notifier = space.start(&["notifier"]);
    let receiver = Receiver::answering(&[Answer::Status(500)]).await;
    let event = publish_to(&space, &receiver.url).await;
    let first = receipts(&space, 1).await.remove(0);
    assert_eq!(first.outcome, NotificationOutcome::GivenUp);

    let listed = space
        .succeed(&["dlq", "list", "--notifications", "--json"])
        .await;
    let row: Value = serde_json::from_str(listed.lines().next().unwrap()).unwrap();
    assert_eq!(row["request_id"], event.request_id.as_str());
    assert_eq!(
        (&row["user_id"], &row["channel"]),
        (&"ann".into(), &"WEBHOOK".into())
    );
    assert_eq!(row["target_hash"], first.target_hash.as_str());
    assert_eq!(row["reason"], "target_failed");
    let position = format!("{}:{}", row["partition"], row["offset"]);
    let shown = space
        .succeed(&["dlq", "show", &position, "--notifications"])
        .await;
    assert!(
        shown.contains(&event.event_id) && shown.contains("dlq.target_hash"),
        "{shown}"
    );
    let sealed = shown.lines().find(|line| line.contains("\"sealed\": "));
    assert!(sealed.unwrap().ends_with(" bytes\""), "{shown}");
    let redrive = ["dlq", "redrive", "--notifications"];
    let dry = space
        .succeed(&[&redrive[..], &["--dry-run"]].concat())
        .await;
    assert!(dry.contains("1 would be redriven"), "{dry}");

    receiver.answer(Answer::Status(204));
    let redriven = space.succeed(&redrive).await;
    assert!(
        redriven.contains(&format!("to deliver/{}/WEBHOOK/", event.event_id)),
        "{redriven}"
    );

    let receipts = receipts(&space, 2).await;
    let second = receipts
        .iter()
        .find(|one| one.outcome == NotificationOutcome::Delivered)
        .unwrap();
    assert_eq!(second.receipt_id, first.receipt_id);
    let got = receiver.got();
    assert_eq!(got.len(), 3, "two failed attempts, and the redriven one");
    assert!(
        got.iter()
            .all(|one| one.header("webhook-id") == event.event_id)
    );
    // The workflow closes a moment after its receipt.
    eventually("the next redrive skips it", async || {
        let again = space.succeed(&redrive).await;
        let skipped = again.contains("0 redriven");
        (skipped && again.contains("delivered since")).then_some(())
    })
    .await;
    assert_eq!(receiver.got().len(), 3);
}

#[tokio::test]
async fn doctor_lists_endpoints_that_are_gone() {
    let space = Space::new().await;
    let _notifier = space.start(&["notifier"]);
    let gone = Receiver::answering(&[Answer::Status(410)]).await;
    let refusing = Receiver::answering(&[Answer::Status(404)]).await;

    for receiver in [&gone, &gone, &refusing] {
        publish_to(&space, &receiver.url).await;
    }
    let letters = given_up(&space, 3).await;

    let reported = doctor(&space, &[]).await;
    let letter = letters
        .iter()
        .find(|one| one.header("dlq.reason") == Some("gone"));
    let hash = letter.unwrap().header("dlq.target_hash").unwrap();
    let check = format!("endpoint WEBHOOK {hash}");
    assert_eq!(reported.verdict(&check), "warn");
    let found = reported.found(&check);
    assert!(
        found.starts_with("http://127.0.0.1/… of ann answered 410 Gone to 2"),
        "{found}"
    );
    assert!(!found.contains("secret-token"));
    let endpoints = reported
        .checks
        .keys()
        .filter(|check| check.starts_with("endpoint"));
    assert_eq!(endpoints.count(), 1);
}
