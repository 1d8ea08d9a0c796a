//! Dead letters, as an operator handles them: list, show, send again.

mod resume;

use std::collections::BTreeMap;

use genflow::contract::avro;
use genflow::domain::{EventType, Request, Targets};
use genflow::engines::kafka::{Headers, Record};
use serde_json::{Value, json};

use crate::support::ledger::types;
use crate::support::requests::image;
use crate::support::{Space, eventually};

/// Returns the dead letters that `dlq list` shows, and its whole output.
async fn list(space: &Space, filters: &[&str]) -> (Vec<Value>, String) {
    let (code, printed) = space
        .run(&[&["dlq", "list", "--json"], filters].concat())
        .await;
    assert_eq!(code, 0, "{printed}");
    let lines = printed.lines().filter(|line| line.starts_with('{'));
    let rows = lines.map(|line| serde_json::from_str(line).unwrap());
    (rows.collect(), printed)
}

fn position(row: &Value) -> String {
    format!("{}:{}", row["partition"], row["offset"])
}

async fn requests(space: &Space) -> Vec<Record> {
    let topic = &space.config.kafka.topics.requests;
    space.read(topic).await.all().await
}

/// Waits until there are `count` dead letters.
pub(crate) async fn wait_dead_lettered(space: &Space, count: usize) {
    eventually("records are dead-lettered", async || {
        (space.dead_letters().await.len() >= count).then_some(())
    })
    .await;
}

/// Dead-letters a request like intake does, without a running role.
pub(crate) async fn dead_letter(
    space: &Space,
    request: &Request,
    reason: &str,
    more: &[(&str, &str)],
) {
    dead_letter_as(space, request.id.as_str(), request, reason, more).await;
}

/// Like [`dead_letter`], with another key: records with the same key are in the same partition.
async fn dead_letter_as(
    space: &Space,
    key: &str,
    request: &Request,
    reason: &str,
    more: &[(&str, &str)],
) {
    let topics = &space.config.kafka.topics;
    let datum = avro::write_request(request).unwrap();
    let value = space.framed(&topics.requests, &avro::REQUEST, &datum).await;
    let headers = [
        ("dlq.reason", reason),
        ("dlq.error", "the test says so"),
        ("dlq.original.topic", &topics.requests),
        ("dlq.original.partition", "0"),
        ("dlq.original.offset", "0"),
        ("dlq.attempts", "1"),
    ];
    let headers: Headers = headers
        .iter()
        .chain(more)
        .map(|(name, text)| ((*name).to_owned(), Some(text.as_bytes().to_vec())))
        .collect();
    space.produce(&topics.dlq, key, Some(&value), headers).await;
}

#[tokio::test]
async fn dead_letters_are_listed_by_filter_and_shown_without_their_secrets() {
    let space = Space::new().await;
    let _all = space.start(&["all"]);
    let topic = space.config.kafka.topics.requests.clone();
    let secret = b"POST https://hooks.example/services/T0K3N by ann@example.org";
    let own = vec![("x-api-key".to_owned(), Some(b"k3y".to_vec()))];
    space.produce(&topic, "poison", Some(secret), own).await;
    // Readable, but out of bounds.
    let mut invalid = image("invalid");
    let hook = "https://hooks.example/services/T0K3N";
    invalid.targets = Targets::parse(Some(hook), Some("ann@example.org"), None).unwrap();
    invalid.metadata = BTreeMap::from([("big".to_owned(), "x".repeat(9000))]);
    space.send(&invalid).await;
    wait_dead_lettered(&space, 2).await;

    let (rows, printed) = list(&space, &[]).await;
    assert_eq!(rows.len(), 2, "{printed}");
    for line in ["2 dead letters on", "1  invalid", "1  undecodable"] {
        assert!(printed.contains(line), "{line} in\n{printed}");
    }
    let (readable, _) = list(&space, &["--reason", "invalid"]).await;
    assert_eq!(readable.len(), 1);
    assert_eq!(readable[0]["request_id"], invalid.id.as_str());
    assert_eq!(readable[0]["user_id"], "ann");
    assert_eq!(readable[0]["attempts"], 1);
    assert_eq!(readable[0]["original"]["topic"], topic.as_str());
    let (by_key, _) = list(&space, &["--key", "poison", "--since", "1h"]).await;
    assert_eq!(by_key[0]["reason"], "undecodable");
    assert_eq!(list(&space, &["--until", "1h"]).await.0.len(), 0);
    assert_eq!(list(&space, &["--reason", "too_old"]).await.0.len(), 0);

    let (code, shown) = space.run(&["dlq", "show", &position(&by_key[0])]).await;
    assert_eq!(code, 0, "{shown}");
    for part in [
        "dlq.reason: undecodable",
        "60 bytes, sha256 ",
        "unreadable",
        "POST https://hooks.example/… by …@example.org",
    ] {
        assert!(shown.contains(part), "{part} in\n{shown}");
    }
    let (code, json) = space.run(&["dlq", "show", &position(&readable[0])]).await;
    assert_eq!(code, 0, "{json}");
    for part in [
        "dlq.reason: invalid",
        r#""webhook_url": "https://hooks.example/…""#,
        r#""notify_email": "…@example.org""#,
        r#""width": 64"#,
    ] {
        assert!(json.contains(part), "{part} in\n{json}");
    }
    for secret in ["T0K3N", "ann@", "k3y"] {
        assert!(
            !format!("{printed}{shown}{json}").contains(secret),
            "{secret}"
        );
    }
    let (code, printed) = space.run(&["dlq", "show", "0:999999"]).await;
    assert_eq!(code, 1, "{printed}");
}

#[tokio::test]
async fn a_redrive_sends_what_is_selected_with_its_bytes_unchanged() {
    let space = Space::new().await;
    let (first, second, cut) = (image("first"), image("second"), image("cut"));
    // All in one partition; the record that is left out at first is between others.
    let own = [("traceparent", "00-1"), ("mine", "kept")];
    dead_letter_as(
        &space,
        "one",
        &cut,
        "start_refused",
        &[("dlq.truncated", "true")],
    )
    .await;
    dead_letter_as(&space, "one", &second, "undecodable", &[]).await;
    dead_letter_as(&space, "one", &first, "start_refused", &own).await;
    let before = space.dead_letters().await;

    let (code, printed) = space.run(&["dlq", "redrive", "--dry-run"]).await;
    assert_eq!(code, 0, "{printed}");
    for line in [
        "2 would be redriven",
        "1  start_refused",
        "1  undecodable",
        "1 skipped",
    ] {
        assert!(printed.contains(line), "{line} in\n{printed}");
    }
    assert_eq!(requests(&space).await.len(), 0);

    let some = [
        "dlq",
        "redrive",
        "--reason",
        "start_refused",
        "--api-key",
        "k3y",
    ];
    let (code, printed) = space.run(&some).await;
    assert_eq!(code, 0, "{printed}");
    assert!(printed.contains("dead letter redriven"), "{printed}");
    assert!(!printed.contains("k3y"));
    let sent = requests(&space).await;
    assert_eq!(sent.len(), 1, "{printed}");
    assert_eq!(sent[0].key, before[2].key);
    assert_eq!(sent[0].value, before[2].value);
    let headers: Vec<_> = sent[0]
        .headers
        .iter()
        .map(|(name, _)| name.as_str())
        .collect();
    assert_eq!(
        headers,
        ["traceparent", "mine", "dlq.attempts", "x-api-key"]
    );
    assert_eq!(sent[0].header("dlq.attempts"), Some("1"));

    let (_, printed) = space.run(&["dlq", "redrive"]).await;
    assert!(printed.contains("2 redriven"), "{printed}");
    assert_eq!(requests(&space).await.len(), 3);
    assert_eq!(space.dead_letters().await.len(), 3, "dead letters stay");

    let (rows, _) = list(&space, &[]).await;
    let one = ["dlq", "redrive", &position(&rows[2])];
    let (_, printed) = space.run(&one).await;
    assert!(printed.contains("1 redriven"), "{printed}");
    assert_eq!(requests(&space).await.len(), 4);
    let (code, printed) = space.run(&["dlq", "redrive", "0:999999"]).await;
    assert_eq!(code, 1, "{printed}");
}

#[tokio::test]
async fn a_request_that_was_too_old_runs_once_an_operator_says_so() {
    let space = Space::with(&[("DEDUP_WINDOW", "1h")]).await;
    let _all = space.start(&["all"]);
    let mut request = image("old");
    request.requested_at = Some(1_700_000_000_000);
    space.send(&request).await;
    wait_dead_lettered(&space, 1).await;

    let (code, printed) = space.run(&["dlq", "redrive"]).await;
    assert_eq!(code, 0, "{printed}");
    assert!(
        printed.contains("0 redriven") && printed.contains("--accept-old"),
        "{printed}"
    );

    let accept = ["dlq", "redrive", "--reason", "too_old", "--accept-old"];
    let (code, printed) = space.run(&accept).await;
    assert_eq!(code, 0, "{printed}");
    let events = space.story(request.id.as_str()).await;
    assert_eq!(types(&events).last(), Some(&EventType::Completed));

    let (_, printed) = space.run(&accept).await;
    assert!(printed.contains("1 redriven"), "{printed}");
    assert_eq!(requests(&space).await.len(), 3);
    let topic = &space.config.kafka.topics.requests;
    space.caught_up("intake", topic).await;
    let bill = space.bill(request.id.as_str()).await;
    assert_eq!((bill.submits, bill.accepted), (1, 1));
}

#[tokio::test]
async fn a_redriven_record_is_as_old_as_it_was() {
    let space = Space::with(&[("DEDUP_WINDOW", "1h")]).await;
    let _all = space.start(&["all"]);
    let request = image("aged");
    // The dead-lettered record has a timestamp of two hours ago.
    let stamp = (genflow::engines::clock::now() - 7_200_000).to_string();
    dead_letter(
        &space,
        &request,
        "start_refused",
        &[("dlq.original.timestamp", &stamp)],
    )
    .await;

    let (code, printed) = space.run(&["dlq", "redrive"]).await;

    assert_eq!(code, 0, "{printed}");
    assert!(printed.contains("1 redriven"), "{printed}");
    wait_dead_lettered(&space, 2).await;
    let (rows, _) = list(&space, &["--reason", "too_old"]).await;
    assert_eq!(rows[0]["key"], request.id.as_str());
    assert_eq!(rows[0]["attempts"], 2);
    assert_eq!(space.bill(request.id.as_str()).await.submits, 0);
}

#[tokio::test]
async fn a_record_that_is_dead_lettered_again_and_again_is_left() {
    let space = Space::new().await;
    let _intake = space.start(&["intake"]);
    let topic = space.config.kafka.topics.requests.clone();
    space
        .produce(&topic, "poison", Some(b"not avro"), Headers::new())
        .await;

    for times in 1..=2 {
        wait_dead_lettered(&space, times).await;
        let (code, printed) = space.run(&["dlq", "redrive"]).await;
        assert_eq!(code, 0, "{printed}");
        assert!(printed.contains("1 redriven"), "{printed}");
    }
    wait_dead_lettered(&space, 3).await;
    let (code, printed) = space.run(&["dlq", "redrive"]).await;

    assert_eq!(code, 0, "{printed}");
    assert!(
        printed.contains("0 redriven")
            && printed.contains("1  dead-lettered too often")
            && printed.contains("2  dead-lettered again since"),
        "{printed}"
    );
    let attempts: Vec<_> = list(&space, &[])
        .await
        .0
        .iter()
        .map(|row| row["attempts"].clone())
        .collect();
    assert_eq!(attempts, [json!(1), json!(2), json!(3)]);
    let (_, printed) = space
        .run(&["dlq", "redrive", "--max-attempts", "4", "--dry-run"])
        .await;
    assert!(printed.contains("1 would be redriven"), "{printed}");
}

#[tokio::test]
async fn a_request_whose_id_is_taken_runs_under_a_new_one() {
    let space = Space::new().await;
    let _all = space.start(&["all"]);
    let request = image("taken");
    let mut other = request.clone();
    other
        .metadata
        .insert("other".to_owned(), "content".to_owned());
    space.send(&request).await;
    space.send(&other).await;
    space
        .produce(
            &space.config.kafka.topics.requests,
            "poison",
            Some(b"not avro"),
            Headers::new(),
        )
        .await;
    wait_dead_lettered(&space, 2).await;
    let (rows, _) = list(&space, &["--reason", "request_id_conflict"]).await;
    let id = format!(
        "{}.r{}-{}",
        request.id, rows[0]["partition"], rows[0]["offset"]
    );

    let (code, printed) = space.run(&["dlq", "redrive", "--new-id"]).await;

    assert_eq!(code, 0, "{printed}");
    assert!(printed.contains(&format!("as {id}")), "{printed}");
    assert!(
        printed.contains("1 redriven") && printed.contains("1  no valid request"),
        "{printed}"
    );
    let events = space.story(&id).await;
    assert_eq!(types(&events).last(), Some(&EventType::Completed));
    assert_eq!(events[0].metadata, other.metadata);
    let (_, printed) = space.run(&["dlq", "redrive", "--new-id"]).await;
    assert!(printed.contains("1 redriven"), "{printed}");
    let topic = &space.config.kafka.topics.requests;
    space.caught_up("intake", topic).await;
    let bill = space.bill(&id).await;
    assert_eq!((bill.submits, bill.accepted), (1, 1));
    let keys: Vec<_> = requests(&space)
        .await
        .into_iter()
        .filter_map(|record| record.key)
        .collect();
    assert_eq!(keys.iter().filter(|key| **key == id.as_bytes()).count(), 2);
}

#[tokio::test]
async fn a_request_that_fails_under_its_new_id_too_is_not_sent_from_its_first_dead_letter() {
    let space = Space::with(&[("DEDUP_WINDOW", "1h")]).await;
    let _intake = space.start(&["intake"]);
    let request = image("renewed");
    let stamp = (genflow::engines::clock::now() - 7_200_000).to_string();
    let aged = [("dlq.original.timestamp", stamp.as_str())];
    dead_letter(&space, &request, "request_id_conflict", &aged).await;

    let (_, printed) = space.run(&["dlq", "redrive", "--new-id"]).await;
    assert!(printed.contains("1 redriven"), "{printed}");
    wait_dead_lettered(&space, 2).await;
    let (_, printed) = space.run(&["dlq", "redrive", "--new-id"]).await;

    assert!(
        printed.contains("0 redriven")
            && printed.contains("1  too old")
            && printed.contains("1  dead-lettered again since"),
        "{printed}"
    );
}
