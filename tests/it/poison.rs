//! Records that can never succeed: each is dead-lettered unchanged, and the records after it are handled.
//!
//! The tests cause every `dlq.reason` of this version: `undecodable`, `unknown_schema` and `invalid` by the
//! corpus, `cancelled_before_start` below, `start_refused` by unit tests (`kafka::consumer`, `temporal::client`),
//! `too_old` and `request_id_conflict` in `records`, `rate_limited` in `flow`, `unauthorized` in `access`.

mod corpus;
mod floods;
mod registry;

use std::collections::BTreeMap;

use genflow::contract::avro;
use genflow::domain::EventType;
use genflow::engines::kafka::Headers;
use genflow::engines::kafka::producer::{Message, Producer};
use rdkafka::ClientConfig;
use rdkafka::admin::{AdminClient, AdminOptions, AlterConfig, ResourceSpecifier};
use rdkafka::client::DefaultClientContext;
use rdkafka::producer::{FutureProducer, FutureRecord};
use rdkafka::util::Timeout;
use ring::digest;

use self::corpus::corpus;
use crate::support::ledger::types;
use crate::support::process::Process;
use crate::support::requests::image;
use crate::support::{Space, Watched};

/// Returns bytes that do not compress and are the same each time.
fn noise(length: usize) -> Vec<u8> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let next = |_| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 32) as u8
    };
    let mut bytes: Vec<u8> = (0..length).map(next).collect();
    bytes[0] = 0xff;
    bytes
}

#[tokio::test]
async fn a_corpus_of_poison_is_dead_lettered_as_it_came_and_the_last_good_record_is_handled() {
    let space = Space::with(&[("DLQ_FUSE", "0")]).await;
    let topic = &space.config.kafka.topics.requests;
    let corpus = corpus(&space).await;
    assert!(corpus.len() >= 60, "{}", corpus.len());
    let mut all = space.start(&["all"]);

    for (number, (value, _)) in corpus.iter().enumerate() {
        let key = format!("poison-{number}");
        space
            .produce(topic, &key, value.as_deref(), Headers::new())
            .await;
    }
    let last = image("last");
    space.send(&last).await;

    let events = space.story(last.id.as_str()).await;
    assert_eq!(types(&events).last(), Some(&EventType::Completed));
    space.caught_up("intake", topic).await;
    let letters = space.dead_letters().await;
    assert_eq!(letters.len(), corpus.len());
    for (number, (value, reason)) in corpus.iter().enumerate() {
        let key = format!("poison-{number}");
        let found: Vec<_> = letters
            .iter()
            .filter(|record| record.key.as_deref() == Some(key.as_bytes()))
            .collect();
        assert_eq!(found.len(), 1, "{key}");
        assert_eq!(&found[0].value, value, "{key}");
        let error = found[0].header("dlq.error");
        assert_eq!(
            found[0].header("dlq.reason"),
            Some(*reason),
            "{key}: {error:?}"
        );
    }
    assert!(
        all.terminate().await.success(),
        "the role survived all records"
    );
}

#[tokio::test]
async fn a_record_without_a_key_is_dead_lettered_like_any() {
    let space = Space::new().await;
    let topic = &space.config.kafka.topics.requests;
    let _all = space.start(&["all"]);
    let producer = Producer::new(&space.config.kafka, "test").unwrap();
    let request = image("keyless");
    let datum = avro::write_request(&request).unwrap();
    let good = space.framed(topic, &avro::REQUEST, &datum).await;

    for value in [Some(&b"poison"[..]), None, Some(&good)] {
        let message = Message {
            topic,
            value,
            ..Message::default()
        };
        producer.send(message).await.unwrap();
    }

    space.caught_up("intake", topic).await;
    let left = space.dead_letters().await;
    let left: BTreeMap<_, _> = left
        .iter()
        .map(|record| {
            (
                record.value.as_deref(),
                record.header("dlq.reason").unwrap(),
            )
        })
        .collect();
    let wanted = [
        (None, "undecodable"),
        (Some(&b"poison"[..]), "undecodable"),
        (Some(&good), "invalid"),
    ];
    assert_eq!(left, BTreeMap::from(wanted));
    let events = space.all_events(request.id.as_str()).await;
    assert_eq!(types(&events), [EventType::Rejected]);
}

#[tokio::test]
async fn a_poison_record_as_large_as_can_be_is_dead_lettered_with_all_its_bytes() {
    let space = Space::new().await;
    let topic = &space.config.kafka.topics.requests;
    let _all = space.start(&["all"]);
    // The rest of 1 MiB is for the batch, the key and their lengths.
    let value = noise(1024 * 1024 - 120);

    space
        .produce(topic, "large", Some(&value), Headers::new())
        .await;

    let mut dlq = space.read(&space.config.kafka.topics.dlq).await;
    let left = dlq.next().await;
    assert_eq!(left.key.as_deref(), Some(&b"large"[..]));
    assert!(left.value == Some(value), "the bytes differ");
    assert_eq!(left.header("dlq.truncated"), None);
}

#[tokio::test]
async fn a_record_too_large_even_for_the_dead_letter_topic_is_dead_lettered_without_its_value() {
    let space = Space::new().await;
    let topics = &space.config.kafka.topics;
    bound(&space, &topics.dlq, 64 * 1024).await;
    let all = Watched::start(&space, "all", &[]);
    let value = noise(200_000);

    space
        .produce(&topics.requests, "large", Some(&value), Headers::new())
        .await;

    check_truncated(&space, &value).await;
    // The same key, so the same partition: this record comes after the large one.
    space
        .produce(&topics.requests, "large", Some(b"small"), Headers::new())
        .await;
    space.caught_up("intake", &topics.requests).await;
    let left = space.dead_letters().await;
    assert!(
        left.iter()
            .any(|record| record.value.as_deref() == Some(b"small"))
    );
    assert_eq!(left.len(), 2);
    // The alert GenflowRecordTruncated uses this metric.
    assert_eq!(all.sum("genflow_records_truncated_total").await, 1.0);
}

#[tokio::test]
async fn a_record_that_grows_when_it_is_unpacked_is_dead_lettered_without_its_value() {
    let space = Space::new().await;
    let value = vec![0xff; 20 * 1024 * 1024];

    let _all = grow(&space, b"large", &value).await;

    check_truncated(&space, &value).await;
}

#[tokio::test]
async fn a_key_that_grows_when_it_is_unpacked_is_left_out_too() {
    let space = Space::new().await;

    let _all = grow(&space, &vec![b'k'; 20 * 1024 * 1024], b"not avro").await;

    let topics = &space.config.kafka.topics;
    let left = space.read(&topics.dlq).await.next().await;
    assert_eq!((left.key.as_ref(), left.value.as_ref()), (None, None));
    assert_eq!(left.header("dlq.truncated"), Some("true"));
    assert_eq!(left.header("dlq.key.sha256").unwrap().len(), 64);
    space.caught_up("intake", &topics.requests).await;
}

/// Sends a record that is small when compressed and large when unpacked, and a good one after it.
async fn grow(space: &Space, key: &[u8], value: &[u8]) -> Process {
    let topics = &space.config.kafka.topics;
    let all = space.start(&["all"]);
    let producer: FutureProducer = ClientConfig::new()
        .set("bootstrap.servers", &space.config.kafka.brokers)
        .set("compression.type", "zstd")
        .set("message.max.bytes", "33554432")
        .create()
        .unwrap();

    let record = FutureRecord::to(&topics.requests).key(key).payload(value);
    producer.send(record, Timeout::Never).await.unwrap();

    let next = image("next");
    space.send(&next).await;
    space.story(next.id.as_str()).await;
    all
}

async fn check_truncated(space: &Space, value: &[u8]) {
    let mut dlq = space.read(&space.config.kafka.topics.dlq).await;
    let left = dlq.next().await;
    let hash = digest::digest(&digest::SHA256, value);
    let hash: String = hash
        .as_ref()
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    assert_eq!(left.key.as_deref(), Some(&b"large"[..]));
    assert_eq!(left.value, None);
    assert_eq!(left.header("dlq.truncated"), Some("true"));
    assert_eq!(left.header("dlq.sha256"), Some(hash.as_str()));
    assert_eq!(left.header("dlq.reason"), Some("undecodable"));
}

/// Sets the largest record that a topic accepts.
async fn bound(space: &Space, topic: &str, bytes: usize) {
    let admin: AdminClient<DefaultClientContext> = ClientConfig::new()
        .set("bootstrap.servers", &space.config.kafka.brokers)
        .create()
        .unwrap();
    let bytes = bytes.to_string();
    let change = AlterConfig::new(ResourceSpecifier::Topic(topic)).set("max.message.bytes", &bytes);
    let changed = admin
        .alter_configs([&change], &AdminOptions::new())
        .await
        .unwrap();
    assert!(changed.iter().all(Result::is_ok), "{changed:?}");
}

#[tokio::test]
async fn a_request_that_was_cancelled_before_it_came_is_refused() {
    let space = Space::new().await;
    let topics = &space.config.kafka.topics;
    let _all = space.start(&["all"]);
    let request = image("early");
    space.cancel(request.id.as_str()).await;
    space.caught_up("commands", &topics.commands).await;

    space.send(&request).await;

    let mut dlq = space.read(&topics.dlq).await;
    let left = dlq.next().await;
    assert_eq!(left.header("dlq.reason"), Some("cancelled_before_start"));
    assert_eq!(space.bill(request.id.as_str()).await.submits, 0);
}
