//! Checks what readers of `gen.events` rely on (contract, section 3, rules 4 and 11).

use std::collections::BTreeMap;

use genflow::domain::{ErrorCode, Event, EventType, RequestId};

/// Checks the events of one request against rules 4 and 11; repeats are allowed.
pub(crate) fn check(events: &[Event]) {
    let lives = lives(events);
    assert_eq!(lives.len(), 1, "the request has one life: {events:#?}");
    lives.iter().for_each(|life| check_life(life));
}

/// Returns the first occurrences in order, one list for each life of the request.
pub(crate) fn lives(events: &[Event]) -> Vec<Vec<&Event>> {
    let mut known: BTreeMap<&str, &Event> = BTreeMap::new();
    let mut lives: Vec<Vec<&Event>> = Vec::new();
    let runs = events
        .iter()
        .filter(|event| event.event_type != EventType::Rejected);
    for event in runs {
        if let Some(first) = known.insert(&event.event_id, event) {
            assert_eq!(first, event, "a repeat has other content");
            continue;
        }
        match lives.last_mut() {
            Some(life) if (event.retry, event.sequence) != (0, 0) => life.push(event),
            before => {
                let ended = before.and_then(|life| life.last());
                assert!(
                    ended.is_none_or(|last| last.occurred_at < event.occurred_at),
                    "a life begins before the previous one has ended: {events:#?}"
                );
                lives.push(vec![event]);
            }
        }
    }
    lives
}

fn check_life(life: &[&Event]) {
    let mut runs: BTreeMap<i32, Vec<&Event>> = BTreeMap::new();
    for event in life {
        runs.entry(event.retry).or_default().push(event);
    }
    for run in runs.values() {
        let sequences = run.iter().map(|event| event.sequence);
        assert!(
            sequences.eq(0..i32::try_from(run.len()).unwrap()),
            "events out of order, or a gap: {life:#?}"
        );
        let request = RequestId::try_from(run[0].request_id.clone()).unwrap();
        let workflow = request.run(run[0].retry.unsigned_abs());
        let first_run = run[0].run_id.as_deref().unwrap();
        for event in run {
            let id = Event::id(&workflow, first_run, event.sequence);
            assert_eq!(event.event_id, id, "{event:#?}");
        }
        let terminal = run
            .iter()
            .filter(|event| event.event_type.is_terminal())
            .count();
        assert_eq!(terminal, 1, "one terminal event per run: {run:#?}");
        assert!(
            run.last().is_some_and(|last| last.event_type.is_terminal()),
            "the terminal event is the last: {run:#?}"
        );
        assert_eq!(run[0].event_type, EventType::Started);
        let percents: Vec<_> = run
            .iter()
            .filter_map(|event| event.progress.as_ref())
            .map(|progress| progress.percent)
            .collect();
        assert!(percents.is_sorted(), "percent falls: {percents:?}");
    }
}

/// Returns the types of the first occurrences, in order.
pub(crate) fn types(events: &[Event]) -> Vec<EventType> {
    let mut seen = std::collections::BTreeSet::new();
    let fresh = events.iter().filter(|event| seen.insert(&event.event_id));
    fresh.map(|event| event.event_type).collect()
}

/// Returns the error code of a request that did not complete.
pub(crate) fn code(events: &[Event]) -> ErrorCode {
    events.last().unwrap().error.as_ref().unwrap().code
}
