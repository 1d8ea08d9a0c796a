//! The fold over `gen.events`: finds the events that are new to a reader (contract, section 3, rule 11). Pure.

use super::Event;

/// A reader's position in the events of one request.
#[derive(Clone, Debug)]
pub struct Latest {
    /// (retry, sequence) of the last event that was read.
    last: (i32, i32),
    run_id: Option<String>,
    occurred_at: i64,
    /// When the current life began, if its first event was read.
    began: Option<i64>,
}

impl Latest {
    /// Returns the position after `event`, or `None` if the event is not new to a reader at `latest`.
    ///
    /// An event is new if its (retry, sequence) is greater than that of the last one. If a request id is reused after
    /// the dedup window, a new life begins: its first event has another run id and occurred later. From then on, events
    /// that occurred before it are not new.
    pub fn after(latest: Option<&Self>, event: &Event) -> Option<Self> {
        let last = (event.retry, event.sequence);
        let is_first = last == (0, 0);
        let began = is_first.then_some(event.occurred_at);
        let began = match latest {
            None => began,
            Some(held) => {
                let later = event.occurred_at > held.occurred_at && event.run_id != held.run_id;
                let of_this_life = held.began.is_none_or(|at| event.occurred_at >= at);
                let is_new = is_first && later || last > held.last && of_this_life;
                if !is_new {
                    return None;
                }
                began.or(held.began)
            }
        };
        Some(Self {
            last,
            run_id: event.run_id.clone(),
            occurred_at: event.occurred_at,
            began,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(retry: i32, sequence: i32, run_id: &str, occurred_at: i64) -> Event {
        Event {
            run_id: Some(run_id.to_owned()),
            occurred_at,
            ..Event::for_test(retry, sequence)
        }
    }

    /// Returns which of the events are new.
    fn fold(events: &[Event]) -> Vec<bool> {
        let mut latest = None;
        let mut is_new = |event| {
            let after = Latest::after(latest.as_ref(), event);
            let is_new = after.is_some();
            latest = after.or(latest.take());
            is_new
        };
        events.iter().map(&mut is_new).collect()
    }

    #[test]
    fn repeats_of_earlier_events_are_not_new() {
        let events = [
            event(0, 0, "r", 10),
            event(0, 1, "r", 20),
            event(0, 0, "r", 10),
            event(0, 1, "r", 20),
            event(1, 0, "s", 30),
            event(0, 0, "r", 10),
            event(0, 2, "r", 25),
            event(1, 1, "s", 40),
        ];

        assert_eq!(
            fold(&events),
            [true, true, false, false, true, false, false, true]
        );
    }

    #[test]
    fn a_run_that_continued_as_new_does_not_begin_a_life() {
        let events = [
            event(0, 0, "r", 10),
            event(0, 5, "continued", 20),
            event(0, 0, "r", 10),
            event(0, 6, "continued", 30),
        ];

        assert_eq!(fold(&events), [true, true, false, true]);
    }

    #[test]
    fn a_new_life_begins_with_another_run_and_ends_what_was_before() {
        let events = [
            event(0, 0, "r", 10),
            event(1, 3, "s", 20),
            event(0, 0, "t", 90),
            // Late repeats of the first life; (1, 3) is greater than the position in the second life.
            event(0, 0, "r", 10),
            event(1, 3, "s", 20),
            event(0, 1, "t", 95),
            event(1, 0, "u", 99),
        ];

        assert_eq!(fold(&events), [true, true, true, false, false, true, true]);
    }

    #[test]
    fn a_start_is_new_after_a_refusal_whatever_their_times() {
        let events = [
            event(0, -1, "", 50),
            event(0, 0, "r", 10),
            event(0, -1, "", 50),
        ];

        assert_eq!(fold(&events), [true, true, false]);
    }
}
