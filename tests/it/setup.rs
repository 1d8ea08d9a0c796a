//! `genflow setup`: namespaces for runs and for deliveries, and compatible schemas.

use genflow::contract::avro;
use genflow::contract::avro::Ours;
use genflow::contract::receipt::NotificationOutcome;
use genflow::domain::Targets;
use rdkafka::ClientConfig;
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use serde_json::{Value, json};

use crate::doctor::doctor;
use crate::notify::receipts;
use crate::support::Space;
use crate::support::receiver::Receiver;
use crate::support::requests::image;

async fn setup(space: &Space, settings: &[(&str, &str)]) -> String {
    setup_as(space, &["--replication", "1"], settings).await
}

async fn setup_as(space: &Space, options: &[&str], settings: &[(&str, &str)]) -> String {
    let arguments = [&["setup"], options].concat();
    let mut process = space.start_with(&arguments, settings);
    let status = process.ended().await;
    assert!(status.success(), "{}", process.output());
    process.output()
}

fn holds(output: &str, lines: &[String]) {
    for line in lines {
        assert!(
            output.lines().any(|reported| reported == line),
            "{line}: {output}"
        );
    }
}

#[tokio::test]
async fn setup_makes_the_namespaces_of_runs_and_deliveries_for_roles_that_wait_for_them() {
    let space = Space::new().await;
    let (runs, reported) = (
        format!("{}-runs", space.name()),
        format!("{}-told", space.name()),
    );
    let of_deliveries = ("NOTIFY_NAMESPACE", reported.as_str());
    let both = [("TEMPORAL_NAMESPACE", runs.as_str()), of_deliveries];
    let _all = space.start_with(&["all"], &both);
    let missing = doctor(&space, &[of_deliveries]).await;
    assert_eq!(missing.failing(), [format!("namespace {reported}")]);

    let first = setup(&space, &both).await;
    let again = setup(&space, &[both[0], both[1], ("NOTIFY_MAX_AGE", "10d")]).await;

    holds(
        &first,
        &[
            format!("namespace {runs}: created, retention is 30d"),
            "search attribute GenUser: created".to_owned(),
            format!("namespace {reported}: created, retention is 7d"),
        ],
    );
    holds(
        &again,
        &[
            format!("namespace {runs}: retention is 30d"),
            "search attribute GenUser: exists".to_owned(),
            format!("namespace {reported}: retention raised from 7d to 10d"),
        ],
    );
    let there = doctor(&space, &[both[0], both[1], ("NOTIFY_MAX_AGE", "11d")]).await;
    assert_eq!(there.failing(), Vec::<&str>::new());
    assert_eq!(there.verdict("deliveries"), "warn");

    // A run in one namespace; a delivery, whose first attempt fails, in the other.
    let receiver = Receiver::start(&[500]).await;
    let mut request = image("apart");
    request.targets = Targets::parse(Some(&receiver.url), None, None).unwrap();
    space.send(&request).await;
    let receipt = receipts(&space, 1).await.remove(0);
    assert_eq!(
        (receipt.outcome, receipt.tries),
        (NotificationOutcome::Delivered, 2)
    );
}

/// Registers the schema with one more field, like a later version; returns the status of the answer.
pub(crate) async fn register(space: &Space, topic: &str, ours: &Ours, field: Value) -> u16 {
    let mut text: Value = serde_json::from_str(ours.text).unwrap();
    text["fields"].as_array_mut().unwrap().push(field);
    let base = space.config.schema_registry.url.as_str();
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
        // Compatible with the previous version, which has no such field, but not with the version before that.
        let retyped = json!({"name": "later", "type": "int", "default": 7});

        assert_eq!(register(&space, topic, ours, optional).await, 200);
        assert_eq!(register(&space, topic, ours, other).await, 200);
        for wrong in [required, retyped] {
            assert_eq!(register(&space, topic, ours, wrong).await, 409, "{topic}");
        }
    }
}

#[tokio::test]
async fn setup_says_how_many_copies_there_are_and_warns_of_one_that_was_not_asked_for() {
    let space = Space::new().await;

    let asked = setup(&space, &[]).await;
    let chosen = setup_as(&space, &[], &[]).await;

    holds(
        &asked,
        &["replication of new topics: 1, as asked".to_owned()],
    );
    assert!(!asked.contains("warning"), "{asked}");
    assert!(
        chosen
            .contains("warning: new topics have replication 1, because the number of brokers is 1"),
        "{chosen}"
    );
    let (code, refused) = space.run(&["setup", "--replication", "2"]).await;
    assert_eq!(code, 1, "{refused}");
    assert!(
        refused.contains("1 Kafka brokers answer, expected at least 2"),
        "{refused}"
    );
}

#[tokio::test]
async fn setup_grows_the_input_topics_only() {
    let space = Space::new().await;
    let names = ["requests", "commands", "events", "results", "requests.dlq"];
    let [requests, commands, events, results, dlq] =
        names.map(|topic| format!("{}.small.{topic}", space.name()));
    let settings = [
        ("TOPIC_REQUESTS", requests.as_str()),
        ("TOPIC_COMMANDS", &commands),
        ("TOPIC_EVENTS", &events),
        ("TOPIC_RESULTS", &results),
        ("TOPIC_REQUESTS_DLQ", &dlq),
    ];
    let admin: AdminClient<DefaultClientContext> = ClientConfig::new()
        .set("bootstrap.servers", &space.config.kafka.brokers)
        .create()
        .unwrap();
    let small = settings.map(|(_, topic)| NewTopic::new(topic, 1, TopicReplication::Fixed(1)));
    let made = admin.create_topics(&small, &AdminOptions::new()).await;
    assert!(made.unwrap().iter().all(Result::is_ok));

    let grown = setup_as(&space, &["--replication", "1", "--grow"], &settings).await;

    let says = |topic: &str, text: &str| {
        let line = format!("topic {topic}: {text}");
        assert!(
            grown.lines().any(|reported| reported.starts_with(&line)),
            "{line}: {grown}"
        );
    };
    says(&requests, "grown from 1 to 6 partitions");
    says(&commands, "grown from 1 to 3 partitions");
    for (topic, want) in [(&events, 6), (&results, 6), (&dlq, 3)] {
        says(topic, "exists");
        let line = format!(
            "partitions is 1, expected {want} (see docs/operating/kafka.md for how to add partitions)"
        );
        assert!(grown.contains(&line), "{grown}");
    }
}
