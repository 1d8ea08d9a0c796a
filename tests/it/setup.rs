//! `genflow setup`: namespaces for runs and for deliveries, and schemas that stay compatible.

use genflow::avro::{self, Ours};
use genflow::domain::Targets;
use genflow::notifier::Outcome;
use serde_json::{Value, json};

use crate::doctor::doctor;
use crate::notify::receipts;
use crate::support::Space;
use crate::support::receiver::Receiver;
use crate::support::requests::image;

async fn setup(space: &Space, settings: &[(&str, &str)]) -> String {
    let mut process = space.start_with(&["setup"], settings);
    let status = process.ended().await;
    assert!(status.success(), "{}", process.output());
    process.output()
}

fn holds(output: &str, lines: &[String]) {
    for line in lines {
        assert!(output.lines().any(|told| told == line), "{line}: {output}");
    }
}

#[tokio::test]
async fn setup_makes_the_namespaces_of_runs_and_deliveries_for_roles_that_wait_for_them() {
    let space = Space::new().await;
    let (runs, told) = (
        format!("{}-runs", space.name()),
        format!("{}-told", space.name()),
    );
    let of_deliveries = ("NOTIFY_NAMESPACE", told.as_str());
    let both = [("TEMPORAL_NAMESPACE", runs.as_str()), of_deliveries];
    let _all = space.start_with(&["all"], &both);
    let missing = doctor(&space, &[of_deliveries]).await;
    assert_eq!(missing.failing(), [format!("namespace {told}")]);

    let first = setup(&space, &both).await;
    let again = setup(&space, &[both[0], both[1], ("NOTIFY_MAX_AGE", "10d")]).await;

    holds(
        &first,
        &[
            format!("namespace {runs}: created, retention is 30d"),
            "search attribute GenUser: created".to_owned(),
            format!("namespace {told}: created, retention is 7d"),
        ],
    );
    holds(
        &again,
        &[
            format!("namespace {runs}: retention is 30d"),
            "search attribute GenUser: exists".to_owned(),
            format!("namespace {told}: retention raised from 7d to 10d"),
        ],
    );
    let there = doctor(&space, &[both[0], both[1], ("NOTIFY_MAX_AGE", "11d")]).await;
    assert_eq!(there.failing(), Vec::<&str>::new());
    assert_eq!(there.verdict("deliveries"), "warn");

    // A run in the one, and a delivery in the other, whose first try fails.
    let receiver = Receiver::start(&[500]).await;
    let mut request = image("apart");
    request.targets = Targets::parse(Some(&receiver.url), None, None).unwrap();
    space.send(&request).await;
    let receipt = receipts(&space, 1).await.remove(0);
    assert_eq!((receipt.outcome, receipt.tries), (Outcome::Delivered, 2));
}

/// Registers the schema with one more field, as a later version would; returns the status of the answer.
async fn register(space: &Space, topic: &str, ours: &Ours, field: Value) -> u16 {
    let mut text: Value = serde_json::from_str(ours.text).unwrap();
    text["fields"].as_array_mut().unwrap().push(field);
    let base = space.config.schema_registry_url.as_str();
    let base = base.trim_end_matches('/');
    let answer = reqwest::Client::new()
        .post(format!("{base}/subjects/{topic}-value/versions"))
        .json(&json!({ "schema": text.to_string() }))
        .send();
    answer.await.unwrap().status().as_u16()
}

#[tokio::test]
async fn a_later_schema_is_registered_only_if_it_is_compatible_with_all_before_it() {
    let space = Space::new().await;
    let topics = &space.config.kafka.topics;
    for (topic, ours) in [
        (&topics.requests, &avro::REQUEST),
        (&topics.commands, &avro::COMMAND),
        (&topics.events, &avro::EVENT),
        (&topics.notifications, &avro::RECEIPT),
    ] {
        let optional = json!({"name": "later", "type": ["null", "string"], "default": null});
        let other = json!({"name": "later_still", "type": ["null", "string"], "default": null});
        let required = json!({"name": "later_still", "type": "string"});
        // Compatible with the version before it, which has no such field, but not with the one before that.
        let retyped = json!({"name": "later", "type": "int", "default": 7});

        assert_eq!(register(&space, topic, ours, optional).await, 200);
        assert_eq!(register(&space, topic, ours, other).await, 200);
        for wrong in [required, retyped] {
            assert_eq!(register(&space, topic, ours, wrong).await, 409, "{topic}");
        }
    }
}
