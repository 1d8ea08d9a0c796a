//! A redrive that is interrupted, and what the next one remembers of it.

use std::collections::BTreeMap;

use genflow::domain::EventType;
use genflow::engines::kafka::offsets::Offsets;
use genflow::operate::dead_letters::Done;
use rustix::process::Signal;

use super::{park, requests};
use crate::support::ledger::types;
use crate::support::requests::image;
use crate::support::{Space, eventually};

/// Dead-letters `count` requests, starts a slow redrive, ends it by `signal`, and runs another redrive.
/// Returns the ids and how often each was sent.
async fn broken_off(
    space: &Space,
    count: usize,
    signal: Signal,
    code: Option<i32>,
) -> BTreeMap<String, usize> {
    let mut times = BTreeMap::new();
    for _ in 0..count {
        let request = image("broken");
        park(space, &request, "start_refused", &[]).await;
        times.insert(request.id.to_string(), 0);
    }
    let mut first = space.start(&["dlq", "redrive", "--rate", "20"]);
    eventually("some are sent", async || {
        (first.output().matches("  redriven ").count() >= 5).then_some(())
    })
    .await;

    first.signal(signal);
    let ended = first.ended().await;
    assert_eq!(ended.code(), code, "{}", first.output());
    let sent = requests(space).await.len();
    assert!((5..count).contains(&sent), "{sent} of {count} were sent");
    let (code, printed) = space.run(&["dlq", "redrive", "--rate", "1000"]).await;

    assert_eq!(code, 0, "{printed}");
    for record in requests(space).await {
        let key = String::from_utf8(record.key.unwrap()).unwrap();
        *times.get_mut(&key).unwrap() += 1;
    }
    times
}

#[tokio::test]
async fn an_interrupted_redrive_goes_on_where_it_was() {
    let space = Space::new().await;
    let _all = space.start(&["all"]);

    let times = broken_off(&space, 40, Signal::INT, Some(130)).await;

    assert!(times.values().all(|times| *times == 1), "{times:?}");
    for id in times.keys() {
        let events = space.story(id).await;
        assert_eq!(types(&events).last(), Some(&EventType::Completed));
        assert_eq!(space.bill(id).await.accepted, 1);
    }
}

#[tokio::test]
async fn a_redrive_that_was_killed_sends_one_record_twice_at_most() {
    let space = Space::new().await;

    let times = broken_off(&space, 40, Signal::KILL, None).await;

    assert!(times.values().all(|times| *times >= 1), "{times:?}");
    assert!(times.values().sum::<usize>() <= 41, "{times:?}");
}

#[tokio::test]
async fn kafka_keeps_as_much_of_what_was_sent_as_is_written() {
    let space = Space::new().await;
    let topic = &space.config.kafka.topics.dlq;
    let offsets = Offsets::open(&space.config.kafka, "much".to_owned(), topic).unwrap();
    let mut done = Done::default();
    for offset in (10..20_000).step_by(2) {
        done.insert(offset);
    }
    let (short, left_out) = done.short();
    assert!(left_out > 0 && short.note.len() > 3990, "the note is full");
    let entries = BTreeMap::from([(0, short.clone()), (1, short.clone()), (2, short)]);

    offsets.commit(&entries).await.unwrap();

    assert_eq!(offsets.read(0..3).await.unwrap(), entries);
}
