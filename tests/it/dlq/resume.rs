//! A redrive that is interrupted, and the next one, which sends everything again.

use std::collections::BTreeMap;

use genflow::domain::EventType;
use rustix::process::Signal;

use super::{dead_letter, requests};
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
        dead_letter(space, &request, "start_refused", &[]).await;
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
async fn each_request_of_an_interrupted_redrive_runs_once_after_the_next_one() {
    let space = Space::new().await;
    let _all = space.start(&["all"]);

    let times = broken_off(&space, 40, Signal::INT, Some(130)).await;

    assert!(
        times.values().all(|times| (1..=2).contains(times)),
        "{times:?}"
    );
    let topic = &space.config.kafka.topics.requests;
    space.caught_up("intake", topic).await;
    for id in times.keys() {
        let events = space.story(id).await;
        assert_eq!(types(&events).last(), Some(&EventType::Completed));
        assert_eq!(space.bill(id).await.accepted, 1);
    }
}

#[tokio::test]
async fn after_a_redrive_that_was_killed_the_next_one_sends_everything() {
    let space = Space::new().await;

    let times = broken_off(&space, 40, Signal::KILL, None).await;

    assert!(
        times.values().all(|times| (1..=2).contains(times)),
        "{times:?}"
    );
}
