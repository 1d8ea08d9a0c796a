//! How intake handles records: duplicates, conflicts, poison records, and its own death.

mod refusals;

use std::collections::BTreeSet;

use genflow::contract::avro;
use genflow::domain::{ErrorCode, Event, EventType};
use genflow::engines::kafka::{Headers, Record};
use rustix::process::Signal;
use serde_json::json;

use crate::support::described::Described as _;
use crate::support::ledger::{check, types};
use crate::support::requests::{image, script};
use crate::support::stories::published_events;
use crate::support::{SOON, Space, within};

#[tokio::test]
async fn the_same_request_sent_five_times_runs_once() {
    let space = Space::new().await;
    let _all = space.start(&["all"]);
    let request = image("five");

    for _ in 0..5 {
        space.send(&request).await;
    }

    let events = space.story(request.id.as_str()).await;
    assert_eq!(types(&events).last(), Some(&EventType::Completed));
    // Once more after the end.
    space.send(&request).await;
    let topic = &space.config.kafka.topics.requests;
    space.caught_up("intake", topic).await;
    let newest = space.temporal().await.run_id(&request.id.run(0)).await;
    assert_eq!(Some(newest.unwrap()), events[0].run_id, "no second run");
    let bill = space.bill(request.id.as_str()).await;
    assert_eq!((bill.submits, bill.accepted), (1, 1));
    assert_eq!(
        space
            .read(&space.config.kafka.topics.dlq)
            .await
            .all()
            .await
            .len(),
        0
    );
}

#[tokio::test]
async fn the_same_id_with_other_content_is_refused_and_disturbs_nothing() {
    let space = Space::new().await;
    let _all = space.start(&["all"]);
    let request = script(image("conflict"), &json!({"seconds": 1.0}));
    let mut other = request.clone();
    other
        .metadata
        .insert("other".to_owned(), "content".to_owned());

    space.send(&request).await;
    space.send(&other).await;

    let letter = space
        .read(&space.config.kafka.topics.dlq)
        .await
        .next()
        .await;
    assert_eq!(letter.header("dlq.reason"), Some("request_id_conflict"));
    let events = space.story(request.id.as_str()).await;
    let runs: Vec<_> = events
        .iter()
        .filter(|event| event.event_type != EventType::Rejected)
        .collect();
    assert_eq!(runs.last().unwrap().event_type, EventType::Completed);
    let rejected = events
        .iter()
        .find(|event| event.event_type == EventType::Rejected)
        .unwrap();
    assert_eq!((rejected.sequence, rejected.retry), (-1, 0));
    assert_eq!((&rejected.workflow_id, &rejected.run_id), (&None, &None));
    assert_eq!(
        rejected.error.as_ref().unwrap().code,
        ErrorCode::RequestIdConflict
    );
    let position = rejected.record.clone().unwrap();
    assert_eq!(
        rejected.event_id,
        Event::rejection_id(&position, ErrorCode::RequestIdConflict)
    );
    assert_eq!(
        letter.header("dlq.original.offset"),
        Some(position.offset.to_string().as_str())
    );
    assert_eq!(space.bill(request.id.as_str()).await.submits, 1);
}

#[tokio::test]
async fn a_record_that_does_not_decode_is_dead_lettered_byte_for_byte_and_passed_over() {
    let space = Space::new().await;
    let _all = space.start(&["all"]);
    let topic = space.config.kafka.topics.requests.clone();
    let request = image("next");
    let own: Headers = vec![
        ("x-api-key".to_owned(), Some(b"secret".to_vec())),
        ("mine".to_owned(), Some(b"kept".to_vec())),
    ];
    let unknown = avro::frame(999_999, b"datum");
    let poison: [Option<&[u8]>; 4] = [Some(b"not avro"), Some(b""), None, Some(&unknown)];

    for value in poison {
        space
            .produce(&topic, request.id.as_str(), value, own.clone())
            .await;
    }
    space.send(&request).await;

    let events = space.story(request.id.as_str()).await;
    assert_eq!(types(&events).last(), Some(&EventType::Completed));
    let mut letters = space.read(&space.config.kafka.topics.dlq).await.all().await;
    letters.sort_by_key(|record| {
        record
            .header("dlq.original.offset")
            .unwrap()
            .parse::<i64>()
            .unwrap()
    });
    let values: Vec<_> = letters
        .iter()
        .map(|record| record.value.as_deref())
        .collect();
    assert_eq!(values, poison);
    let reasons: Vec<_> = letters
        .iter()
        .map(|record| record.header("dlq.reason").unwrap())
        .collect();
    assert_eq!(
        reasons,
        [
            "undecodable",
            "undecodable",
            "undecodable",
            "unknown_schema"
        ]
    );
    for record in &letters {
        check_dead_letter(
            record,
            &topic,
            request.id.as_str(),
            &space.variables["KAFKA_GROUP"],
        );
    }
    assert!(
        events
            .iter()
            .all(|event| event.event_type != EventType::Rejected),
        "no record has a readable id"
    );
}

fn check_dead_letter(record: &Record, topic: &str, key: &str, group: &str) {
    assert_eq!(record.key.as_deref(), Some(key.as_bytes()));
    assert_eq!(record.header("dlq.original.topic"), Some(topic));
    assert!(
        record
            .header("dlq.original.partition")
            .unwrap()
            .parse::<i32>()
            .is_ok()
    );
    assert!(
        record
            .header("dlq.original.timestamp")
            .unwrap()
            .parse::<i64>()
            .unwrap()
            > 0
    );
    assert_eq!(record.header("dlq.attempts"), Some("1"));
    assert_eq!(
        record.header("dlq.group"),
        Some(format!("{group}-intake").as_str())
    );
    assert!(!record.header("dlq.error").unwrap().is_empty());
    assert_eq!(record.header("mine"), Some("kept"));
    assert_eq!(record.header("x-api-key"), None);
}

#[tokio::test]
async fn ids_that_could_be_paths_or_runs_are_refused() {
    let space = Space::new().await;
    let _all = space.start(&["all"]);
    let topic = space.config.kafka.topics.requests.clone();
    let ids = ["..", ".a", "~", "a/b"];

    for id in ids {
        // A good id of the same length, whose bytes are then replaced by those of the bad one.
        let mut request = image("x");
        request.id = "z".repeat(id.len()).try_into().unwrap();
        let mut datum = avro::write_request(&request).unwrap();
        datum[1..=id.len()].copy_from_slice(id.as_bytes());
        let value = space.framed(&topic, &avro::REQUEST, &datum).await;
        space
            .produce(&topic, "key", Some(&value), Headers::new())
            .await;
    }

    let mut dlq = space.read(&space.config.kafka.topics.dlq).await;
    for _ in ids {
        let letter = dlq.next().await;
        assert_eq!(letter.header("dlq.reason"), Some("invalid"));
        assert!(
            letter.header("dlq.error").unwrap().contains("request_id"),
            "{:?}",
            letter.header("dlq.error")
        );
    }
}

#[tokio::test]
async fn a_request_older_than_the_dedup_window_is_dead_lettered_and_never_run() {
    let space = Space::with(&[("DEDUP_WINDOW", "1h")]).await;
    let _all = space.start(&["all"]);
    let mut request = image("old");
    request.requested_at = Some(1_700_000_000_000);

    space.send(&request).await;

    let (event, _) = space.events().await.event().await;
    assert_eq!(event.event_type, EventType::Rejected);
    assert_eq!(event.error.unwrap().code, ErrorCode::TooOld);
    assert_eq!(space.bill(request.id.as_str()).await.submits, 0);
}

#[tokio::test]
async fn after_the_window_what_ran_is_a_duplicate_and_other_content_a_conflict() {
    let space = Space::new().await;
    let _worker = space.start(&["worker"]);
    let mut intake = space.start_with(&["intake"], &[("DEDUP_WINDOW", "1d")]);
    let mut request = image("again");
    request.requested_at = Some(genflow::engines::clock::now() - 2 * 3_600_000);
    space.send(&request).await;
    space.story(request.id.as_str()).await;
    assert!(intake.terminate().await.success());

    let _intake = space.start_with(&["intake"], &[("DEDUP_WINDOW", "1h")]);
    space.send(&request).await;
    let topics = &space.config.kafka.topics;
    space.caught_up("intake", &topics.requests).await;
    assert_eq!(space.read(&topics.dlq).await.all().await.len(), 0);
    assert_eq!(space.bill(request.id.as_str()).await.submits, 1);

    let mut other = request.clone();
    other.requested_at = None;
    other.user = "bob".to_owned().try_into().unwrap();
    space.send(&other).await;
    let letter = space.read(&topics.dlq).await.next().await;
    assert_eq!(letter.header("dlq.reason"), Some("request_id_conflict"));
    assert_eq!(space.bill(request.id.as_str()).await.submits, 1);
}

#[tokio::test]
async fn an_intake_killed_between_start_and_commit_starts_nothing_twice() {
    let space = Space::new().await;
    let _worker = space.start(&["worker"]);
    let mut first = space.start_with(&["intake"], &[("GENFLOW_FAILPOINT", "intake.started=kill")]);
    let request = image("uncommitted");
    space.send(&request).await;
    first.ended().await;
    // The run has closed when its record is read again: only the reuse policy of the start prevents a second run.
    let events = space.story(request.id.as_str()).await;
    assert_eq!(types(&events).last(), Some(&EventType::Completed));
    let topic = &space.config.kafka.topics.requests;
    assert_eq!(space.lag("intake", topic).await, 1, "not committed");

    let _second = space.start(&["intake"]);
    space.caught_up("intake", topic).await;

    let newest = space.temporal().await.run_id(&request.id.run(0)).await;
    assert_eq!(Some(newest.unwrap()), events[0].run_id, "no second run");
    assert_eq!(space.bill(request.id.as_str()).await.accepted, 1);
    assert_eq!(space.dead_letters().await.len(), 0);
}

#[tokio::test]
async fn a_stop_with_a_hundred_requests_in_flight_loses_and_repeats_nothing() {
    let space = Space::new().await;
    let mut first = space.start(&["all"]);
    let requests: Vec<_> = (0..100)
        .map(|_| script(image("drain"), &json!({"seconds": 1.0})))
        .collect();
    for request in &requests {
        space.send(request).await;
    }
    space.events().await.event().await;

    let ended = first.terminate().await;
    assert!(ended.success(), "{ended}: {}", first.output());
    let _second = space.start(&["all"]);
    space
        .caught_up("intake", &space.config.kafka.topics.requests)
        .await;

    let mut open: BTreeSet<_> = requests
        .iter()
        .map(|request| request.id.to_string())
        .collect();
    let mut reader = space.events().await;
    let reading = async {
        while !open.is_empty() {
            let (event, _) = reader.event().await;
            if event.event_type.is_terminal() {
                assert_eq!(event.event_type, EventType::Completed, "{event:?}");
                open.remove(&event.request_id);
            }
        }
    };
    within(SOON, "all complete", reading).await;
    for request in &requests {
        assert_eq!(space.bill(request.id.as_str()).await.accepted, 1);
    }
    for events in published_events(&space, &requests.iter().collect::<Vec<_>>()).await {
        check(&events);
    }
}

#[tokio::test]
async fn a_webhook_that_fails_twice_arrives_with_one_id() {
    let space = Space::new().await;
    let receiver = crate::support::receiver::Receiver::start(&[500, 503]).await;
    let _all = space.start(&["all"]);
    let mut request = image("hook");
    request.targets = genflow::domain::Targets::parse(Some(&receiver.url), None, None).unwrap();

    space.send(&request).await;

    let got = receiver.wait(3).await;
    let ids: BTreeSet<_> = got
        .iter()
        .map(|delivery| {
            delivery.headers["webhook-id"]
                .clone()
                .to_str()
                .unwrap()
                .to_owned()
        })
        .collect();
    assert_eq!(ids.len(), 1);
}

#[tokio::test]
async fn a_stopped_intake_that_wakes_after_its_session_starts_nothing_twice() {
    let space = Space::new().await;
    let _worker = space.start(&["worker"]);
    let first = space.start_with(&["intake"], &[("GENFLOW_FAILPOINT", "intake.started=stop")]);
    let request = image("paused");
    space.send(&request).await;
    first.stopped().await;
    let _second = space.start(&["intake"]);
    let next = image("behind");
    space.send(&next).await;
    space.story(next.id.as_str()).await;

    first.signal(Signal::CONT);

    let events = space.story(request.id.as_str()).await;
    assert_eq!(types(&events).last(), Some(&EventType::Completed));
    assert_eq!(space.bill(request.id.as_str()).await.accepted, 1);
    let letters = space.read(&space.config.kafka.topics.dlq).await.all().await;
    assert_eq!(letters.len(), 0);
}
