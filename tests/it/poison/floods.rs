//! Floods: hundreds of bad records, or records of one key, do not delay the requests of others, and the whole flood is
//! handled in the end.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use futures::stream::{self, StreamExt as _};
use genflow::contract::avro;
use genflow::domain::{EventType, Request, Single, Spec};
use genflow::engines::kafka::Headers;
use rdkafka::ClientConfig;
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use serde_json::json;
use tokio::time::timeout;
use uuid::Uuid;

use crate::support::described::Described as _;
use crate::support::engines::engines;
use crate::support::ledger::types;
use crate::support::process::Process;
use crate::support::requests::{image, script};
use crate::support::stories::stories;
use crate::support::{Space, eventually, eventually_within};

/// Number of records in a flood: more than the 1,024 that intake takes at once (64 for each of its 16 slots).
const FLOOD: usize = 1_500;
/// Number of records in a flood of one key: several times the 64 of one key that intake takes at once.
const OF_ONE_KEY: usize = 500;
/// Number of requests of others.
const OTHERS: usize = 10;
/// How much longer the requests of others may take during a flood, whose records come first and are refused first;
/// and how much slower the machine may be than before. A blocked intake would exceed any limit.
const SLACK: Duration = Duration::from_secs(60);
const SLOWER: u32 = 4;
/// The time to read, refuse and answer a whole flood.
const LONG: Duration = Duration::from_secs(300);
/// How long to wait before the next record of others, so that the fuse lets a hundred more pass.
const NOW_AND_THEN: Duration = Duration::from_secs(3);

/// A flood keeps the machine so busy that a worker may miss heartbeats, which these tests do not check.
const PATIENT: [(&str, &str); 2] = [
    ("HEARTBEAT_TIMEOUT", "30s"),
    ("FETCH_HEARTBEAT_TIMEOUT", "30s"),
];
const GOOD: &str = "good-key";
const BOBS: &str = "bobs-key";

async fn guarded() -> Space {
    let keys = format!("{GOOD}, {BOBS}:bob");
    let settings = [("REQUIRE_API_KEY", "true"), ("API_KEYS", &keys)];
    Space::with(&[settings, PATIENT].concat()).await
}

fn key(key: &str) -> Headers {
    vec![("x-api-key".to_owned(), Some(key.as_bytes().to_vec()))]
}

/// A record of a flood: its key, its value, its headers.
type Record = (String, Vec<u8>, Headers);

async fn send_all(space: &Space, topic: &str, flood: &[Record]) {
    stream::iter(flood)
        .for_each_concurrent(64, |(key, value, headers)| async {
            let headers = headers.clone();
            space.produce(topic, key, Some(value), headers).await;
        })
        .await;
}

/// Returns records whose values no schema can decode.
fn undecodable() -> Vec<Record> {
    let record = |number| (format!("bad-{number}"), b"not avro".to_vec(), key(GOOD));
    (0..FLOOD).map(record).collect()
}

/// Returns requests that `edit` makes invalid.
async fn requests(space: &Space, api_key: &str, edit: fn(&mut Request)) -> Vec<Record> {
    let topic = &space.config.kafka.topics.requests;
    let mut flood = Vec::new();
    for number in 0..FLOOD {
        let mut request = image("bad");
        request.id = format!("bad-{number}").try_into().unwrap();
        edit(&mut request);
        let datum = avro::write_request(&request).unwrap();
        let value = space.framed(topic, &avro::REQUEST, &datum).await;
        flood.push((request.id.to_string(), value, key(api_key)));
    }
    flood
}

/// Sends the requests of others, and returns how long they took to complete.
async fn others(space: &Space) -> Duration {
    let requests: Vec<_> = (0..OTHERS).map(|_| image("other")).collect();
    let began = Instant::now();
    for request in &requests {
        space.send_with(request, key(GOOD)).await;
    }
    let all = stories(space, &requests.iter().collect::<Vec<_>>()).await;
    for events in &all {
        assert_eq!(types(events).last(), Some(&EventType::Completed));
    }
    began.elapsed()
}

/// Asserts that the requests of others take about as long as usual.
async fn others_go_on(space: &Space, usual: Duration) {
    let took = others(space).await;
    let most = usual * SLOWER + SLACK;
    assert!(took < most, "{took:?}, usually {usual:?}");
}

/// Floods the topic of requests while others send, over a restart; the whole flood is dead-lettered with `reason`.
async fn flooded(space: &Space, flood: &[Record], reason: &str) {
    let topic = &space.config.kafka.topics.requests;
    let mut first = space.start(&["all"]);
    others(space).await;
    let usual = others(space).await;

    send_all(space, topic, flood).await;
    others_go_on(space, usual).await;
    assert!(first.terminate().await.success(), "{}", first.output());
    let _second = space.start(&["all"]);
    others_go_on(space, usual).await;

    let known = image("now-and-then");
    let send = async || space.send_with(&known, key(GOOD)).await;
    caught_up(space, "intake", topic, send).await;
    dead_lettered(space, flood, reason).await;
}

/// Sends others' records now and then until the group of `role` has caught up: after a success, the fuse lets more records
/// of a flood pass. Records that were dead-lettered before a restart may be read again after it.
async fn caught_up(space: &Space, role: &str, topic: &str, send: impl AsyncFn()) {
    eventually_within(LONG, "the whole flood is handled", async || {
        send().await;
        let caught_up = space.caught_up(role, topic);
        timeout(NOW_AND_THEN, caught_up).await.ok()
    })
    .await;
}

/// Asserts that every record of a flood is dead-lettered with `reason`.
async fn dead_lettered(space: &Space, flood: &[Record], reason: &str) {
    let wanted: BTreeSet<_> = flood.iter().map(|(key, ..)| key.as_bytes()).collect();
    let letters = space.dead_letters().await;
    let found = letters.iter().map(|record| {
        assert_eq!(record.header("dlq.reason"), Some(reason));
        record.key.as_deref().unwrap()
    });
    assert_eq!(found.collect::<BTreeSet<_>>(), wanted);
}

#[tokio::test]
async fn undecodable_records_stop_no_others() {
    let space = guarded().await;
    flooded(&space, &undecodable(), "undecodable").await;
}

#[tokio::test]
async fn records_of_an_unknown_schema_stop_no_others() {
    let space = guarded().await;
    let mut flood = undecodable();
    for (_, value, _) in &mut flood {
        *value = avro::frame(999_999, b"datum");
    }
    flooded(&space, &flood, "unknown_schema").await;
}

#[tokio::test]
async fn records_with_a_key_that_is_not_known_stop_no_others() {
    let space = guarded().await;
    let flood = requests(&space, "wrong-key", |_| {}).await;
    flooded(&space, &flood, "unauthorized").await;
}

#[tokio::test]
async fn records_with_the_key_of_another_user_stop_no_others() {
    let space = guarded().await;
    let flood = requests(&space, BOBS, |_| {}).await;
    flooded(&space, &flood, "unauthorized").await;
}

#[tokio::test]
async fn records_that_say_they_are_old_stop_no_others() {
    let space = guarded().await;
    let flood = requests(&space, GOOD, |request| request.requested_at = Some(0)).await;
    flooded(&space, &flood, "too_old").await;
}

#[tokio::test]
async fn invalid_records_stop_no_others() {
    let space = guarded().await;
    let flood = requests(&space, GOOD, |request| {
        if let Spec::Single(Single::Image(image)) = &mut request.spec {
            image.common.prompt.clear();
        }
    })
    .await;
    flooded(&space, &flood, "invalid").await;
}

/// Returns a space whose requests have one partition: a record that is sent after a flood comes after all of it.
async fn in_one_partition() -> Space {
    let topic = format!("one{}.requests", Uuid::new_v4().simple());
    let engines = tokio::task::spawn_blocking(engines).await.unwrap();
    let admin: AdminClient<DefaultClientContext> = ClientConfig::new()
        .set("bootstrap.servers", &engines.kafka)
        .create()
        .unwrap();
    let one = NewTopic::new(&topic, 1, TopicReplication::Fixed(1))
        .set("message.timestamp.type", "LogAppendTime");
    let made = admin.create_topics([&one], &AdminOptions::new()).await;
    assert!(made.unwrap().iter().all(Result::is_ok));
    let [submit, fetch] = PATIENT;
    Space::with(&[("TOPIC_REQUESTS", &topic), submit, fetch]).await
}

#[tokio::test]
async fn one_request_sent_hundreds_of_times_stops_no_others_and_runs_once() {
    let space = in_one_partition().await;
    let topic = &space.config.kafka.topics.requests;
    let mut first = space.start(&["all"]);
    others(&space).await;
    let usual = others(&space).await;
    let request = image("flood");
    let datum = avro::write_request(&request).unwrap();
    let value = space.framed(topic, &avro::REQUEST, &datum).await;
    let flood = vec![(request.id.to_string(), value, key(GOOD)); OF_ONE_KEY];

    send_all(&space, topic, &flood).await;

    let passes = image("passes");
    space.send(&passes).await;
    let temporal = space.temporal().await;
    eventually("another request is started", async || {
        temporal.run_id(&passes.id.run(0)).await
    })
    .await;
    // Meanwhile, intake has handled only a few records of the flood at a time.
    let left = space.lag("intake", topic).await;
    assert!(left > OF_ONE_KEY as u64 / 2, "{left}");
    others_go_on(&space, usual).await;
    assert!(first.terminate().await.success(), "{}", first.output());
    let _second = space.start(&["all"]);
    others_go_on(&space, usual).await;
    eventually_within(LONG, "the whole flood is handled", async || {
        (space.lag("intake", topic).await == 0).then_some(())
    })
    .await;
    assert_eq!(space.bill(request.id.as_str()).await.accepted, 1);
    assert_eq!(space.dead_letters().await.len(), 0);
}

/// Sends a request whose job never ends, and waits until it runs.
async fn stuck(space: &Space) -> Request {
    let request = script(image("stuck"), &json!({"stuck": true}));
    space.send_with(&request, key(GOOD)).await;
    space.job_runs(request.id.as_str()).await;
    request
}

#[tokio::test]
async fn a_cancel_is_heard_in_a_flood_of_bad_commands_over_a_restart_too() {
    let space = guarded().await;
    let topic = &space.config.kafka.topics.commands;
    let cancelled = async |request: &Request| {
        space.cancel_with(request.id.as_str(), key(GOOD)).await;
        let events = space.story(request.id.as_str()).await;
        assert_eq!(types(&events).last(), Some(&EventType::Cancelled));
    };
    let start = || -> Process { space.start(&["all"]) };
    let mut first = start();
    let [early, late] = [stuck(&space).await, stuck(&space).await];

    let flood = undecodable();
    send_all(&space, topic, &flood).await;

    cancelled(&early).await;
    assert!(first.terminate().await.success(), "{}", first.output());
    let _second = start();
    cancelled(&late).await;
    let cancel = async || space.cancel_with(late.id.as_str(), key(GOOD)).await;
    caught_up(&space, "commands", topic, cancel).await;
    dead_lettered(&space, &flood, "undecodable").await;
}
