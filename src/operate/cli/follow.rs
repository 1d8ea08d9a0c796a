//! State of a watch: the contract's fold over events (rule 11), and whether all awaited requests have ended. Pure.

use std::collections::{BTreeMap, HashMap};

use crate::domain::{Event, EventType, Latest};

/// The state of a watch.
#[derive(Debug)]
pub(super) struct Follow {
    /// The watch's position in the events of each request.
    seen: HashMap<String, Latest>,
    /// The awaited requests with their ends. If empty, the watch shows all requests and never ends.
    waited: BTreeMap<String, Option<KnownEnding>>,
    /// When this command submitted the requests, in milliseconds: a REJECTED since then answers our record.
    since: Option<i64>,
}

/// How a request ended, as far as is known.
#[derive(Clone, Copy, Debug)]
struct KnownEnding {
    how: EventType,
    /// Partition of its events, which would also have those of a later retry.
    partition: i32,
    /// True once that partition was read to its end: no later event changes this end.
    settled: bool,
    /// True if it ended before this command submitted it.
    stale: bool,
}

/// The clocks of two machines may differ by this much.
const SKEW_MS: i64 = 5_000;

impl Follow {
    /// Shows the events of all requests, without end.
    pub(super) fn all() -> Self {
        Self::of(Vec::new(), None)
    }

    /// Shows the events of these requests, until each has ended.
    pub(super) fn of(ids: Vec<String>, since: Option<i64>) -> Self {
        Self {
            seen: HashMap::new(),
            waited: ids.into_iter().map(|id| (id, None)).collect(),
            since,
        }
    }

    /// Applies an event, and returns whether to show it: its request or batch is awaited (or no request is), and it is
    /// not a repeat.
    pub(super) fn see(&mut self, partition: i32, event: &Event) -> bool {
        let item = event.batch_id.as_ref();
        let item = item.is_some_and(|batch| self.waited.contains_key(batch));
        let own = self.waited.contains_key(&event.request_id);
        if !(own || item || self.waited.is_empty()) {
            return false;
        }
        let after = |since: i64| event.occurred_at >= since;
        let answers_us = event.event_type == EventType::Rejected
            && self.since.is_some_and(|since| after(since - SKEW_MS));
        match Latest::after(self.seen.get(&event.request_id), event) {
            Some(latest) => {
                self.seen.insert(event.request_id.clone(), latest);
            }
            // The answer to our record is shown even if the fold skips it.
            None if answers_us => {}
            None => return false,
        }
        let how = event.event_type;
        let ended = how.is_terminal() || how == EventType::Rejected;
        if let Some(waited) = self.waited.get_mut(&event.request_id) {
            *waited = ended.then_some(KnownEnding {
                how,
                partition,
                settled: answers_us,
                // No allowance for skew: to take a fresh end for a stale one costs only a short wait.
                stale: !answers_us && self.since.is_some_and(|since| !after(since)),
            });
        }
        true
    }

    /// Notes that a partition was read to its end, which settles the ends in it.
    pub(super) fn reached(&mut self, partition: i32) {
        for ending in self.waited.values_mut().flatten() {
            ending.settled |= ending.partition == partition;
        }
    }

    /// Returns how many requests are awaited; 0 if the watch never ends.
    pub(super) fn awaited(&self) -> usize {
        self.waited.len()
    }

    /// Returns how many of the awaited requests have ended.
    pub(super) fn ended(&self) -> usize {
        self.waited.values().flatten().count()
    }

    /// Returns whether all awaited requests have ended.
    pub(super) fn is_done(&self) -> bool {
        let settled = |ending: &Option<KnownEnding>| ending.is_some_and(|ending| ending.settled);
        !self.waited.is_empty() && self.waited.values().all(settled)
    }

    /// Returns whether a request had ended before this command submitted it: its REJECTED may still come.
    pub(super) fn is_stale(&self) -> bool {
        self.waited.values().flatten().any(|ending| ending.stale)
    }

    /// Returns the exit code: 1 if any request failed, else 2 if any was cancelled or rejected, else 0.
    pub(super) fn exit_code(&self) -> u8 {
        let code = |ending: &KnownEnding| match ending.how {
            EventType::Failed => (2, 1),
            EventType::Cancelled | EventType::Rejected => (1, 2),
            EventType::Completed
            | EventType::Started
            | EventType::Progress
            | EventType::Unknown => (0, 0),
        };
        let worst = self.waited.values().flatten().map(code).max();
        worst.map_or(0, |(_, code)| code)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(id: &str, retry: i32, sequence: i32, kind: EventType) -> Event {
        Event {
            event_id: format!("{id}/{retry}/{sequence}"),
            request_id: id.to_owned(),
            event_type: kind,
            occurred_at: 1_000_000,
            ..Event::for_test(retry, sequence)
        }
    }

    fn one(since: Option<i64>) -> Follow {
        Follow::of(vec!["a".to_owned()], since)
    }

    #[test]
    fn repeats_and_other_requests_are_not_shown() {
        let mut follow = one(None);

        assert!(follow.see(0, &event("a", 0, 0, EventType::Started)));
        assert!(!follow.see(0, &event("a", 0, 0, EventType::Started)));
        assert!(!follow.see(0, &event("b", 0, 0, EventType::Started)));
        assert!(follow.see(0, &event("a", 0, 1, EventType::Progress)));
        assert!(!follow.see(0, &event("a", 0, 0, EventType::Started)));
        assert!(Follow::all().see(0, &event("b", 0, 0, EventType::Started)));
    }

    #[test]
    fn the_outcome_is_that_of_the_last_retry() {
        let mut follow = one(None);

        follow.see(3, &event("a", 0, 0, EventType::Started));
        follow.see(3, &event("a", 0, 1, EventType::Failed));
        follow.reached(1);
        assert!(!follow.is_done());
        follow.see(3, &event("a", 1, 0, EventType::Started));
        follow.reached(3);
        assert!(!follow.is_done());
        follow.see(3, &event("a", 1, 1, EventType::Completed));
        follow.see(3, &event("a", 0, 1, EventType::Failed));
        follow.reached(3);

        assert!(follow.is_done());
        assert_eq!(follow.exit_code(), 0);
    }

    #[test]
    fn an_id_that_is_used_again_is_shown_again() {
        let mut follow = one(None);
        let again = |sequence, kind| Event {
            run_id: Some("again".to_owned()),
            occurred_at: 2_000_000,
            ..event("a", 0, sequence, kind)
        };

        assert!(follow.see(0, &event("a", 0, 0, EventType::Started)));
        assert!(follow.see(0, &event("a", 0, 2, EventType::Failed)));
        assert!(follow.see(0, &again(0, EventType::Started)));
        assert!(!follow.see(0, &event("a", 0, 2, EventType::Failed)));
        assert!(follow.see(0, &again(1, EventType::Completed)));
        follow.reached(0);

        assert!(follow.is_done());
        assert_eq!(follow.exit_code(), 0);
    }

    #[test]
    fn a_refusal_is_superseded_by_a_later_start() {
        let mut follow = one(None);

        assert!(follow.see(0, &event("a", 0, -1, EventType::Rejected)));
        assert!(follow.see(0, &event("a", 0, 0, EventType::Started)));
        assert!(!follow.see(0, &event("a", 0, -1, EventType::Rejected)));
        follow.reached(0);

        assert!(!follow.is_done());
    }

    #[test]
    fn a_refusal_of_a_request_submitted_here_ends_the_watch_at_once() {
        let mut follow = one(Some(2_000_000));

        follow.see(0, &event("a", 0, 1, EventType::Completed));
        follow.reached(0);
        assert!(follow.is_done() && follow.is_stale());
        let refusal = Event {
            occurred_at: 2_000_001,
            ..event("a", 0, -1, EventType::Rejected)
        };
        assert!(follow.see(0, &refusal));

        assert!(follow.is_done() && !follow.is_stale());
        assert_eq!(follow.exit_code(), 2);
    }

    #[test]
    fn the_exit_code_reflects_the_worst_outcome() {
        for (kinds, code) in [
            (&[EventType::Completed, EventType::Completed][..], 0),
            (&[EventType::Completed, EventType::Cancelled], 2),
            (&[EventType::Rejected, EventType::Completed], 2),
            (&[EventType::Failed, EventType::Cancelled], 1),
        ] {
            let mut follow = Follow::of(vec!["a".to_owned(), "b".to_owned()], None);

            for (id, kind) in ["a", "b"].into_iter().zip(kinds) {
                follow.see(0, &event(id, 0, 1, *kind));
            }

            assert_eq!(follow.exit_code(), code);
        }
    }
}
