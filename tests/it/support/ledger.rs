//! What a reader of `gen.events` may rely on (contract, section 3, rule 11), as a check.

use std::collections::BTreeMap;

use genflow::domain::{ErrorCode, Event, EventType};

/// Holds the events of one request against rule 11; repeats may stand among them.
pub(crate) fn check(events: &[Event]) {
    let mut first: BTreeMap<(i32, i32), &Event> = BTreeMap::new();
    let mut next: BTreeMap<i32, i32> = BTreeMap::new();
    let runs = events
        .iter()
        .filter(|event| event.kind_of_event != EventType::Rejected);
    for event in runs {
        match first.get(&(event.retry, event.sequence)) {
            Some(known) => assert_eq!(*known, event, "a repeat has other content"),
            None => {
                let expected = next.entry(event.retry).or_insert(0);
                assert_eq!(
                    event.sequence, *expected,
                    "out of order, or a gap: {events:#?}"
                );
                *expected += 1;
                first.insert((event.retry, event.sequence), event);
            }
        }
    }
    for retry in next.keys() {
        let run: Vec<_> = first
            .iter()
            .filter(|((of, _), _)| of == retry)
            .map(|(_, event)| *event)
            .collect();
        let terminal = run
            .iter()
            .filter(|event| event.kind_of_event.is_terminal())
            .count();
        assert_eq!(terminal, 1, "one terminal event a run: {run:#?}");
        assert!(
            run.last()
                .is_some_and(|last| last.kind_of_event.is_terminal()),
            "it stands last: {run:#?}"
        );
        assert_eq!(run[0].kind_of_event, EventType::Started);
        let percents: Vec<_> = run
            .iter()
            .filter_map(|event| event.progress.as_ref())
            .map(|progress| progress.percent)
            .collect();
        assert!(percents.is_sorted(), "percent falls: {percents:?}");
    }
}

/// The types of the first occurrences, in order.
pub(crate) fn types(events: &[Event]) -> Vec<EventType> {
    let mut seen = std::collections::BTreeSet::new();
    let fresh = events
        .iter()
        .filter(|event| seen.insert((event.retry, event.sequence)));
    fresh.map(|event| event.kind_of_event).collect()
}

/// Why a request ended that did not complete.
pub(crate) fn code(events: &[Event]) -> ErrorCode {
    events.last().unwrap().error.as_ref().unwrap().code
}
