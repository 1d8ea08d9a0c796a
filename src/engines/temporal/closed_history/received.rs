//! The events that the activities of a closed run received, and which of them are known to be published.

use std::collections::BTreeMap;

use crate::domain::Event;

/// Limit on the bytes of events that are returned: with the run's input, of up to 1 MB, they stay below the server's
/// limit of 2 MB.
const LARGEST: usize = 900_000;

/// Events by their sequence. All copies of an event are equal, whichever activity received them.
#[derive(Debug, Default)]
pub(crate) struct ReceivedEvents {
    events: BTreeMap<i32, Event>,
    /// The last sequence that an activity received, by the history event that scheduled it.
    scheduled: BTreeMap<i64, i32>,
    /// All events up to this sequence are published.
    published: Option<i32>,
}

impl ReceivedEvents {
    /// Adds the events in the run's own input.
    pub(crate) fn keep(&mut self, events: &[Event]) {
        for event in events {
            self.events.insert(event.sequence, event.clone());
        }
    }

    /// Adds the events in the input of the activity that history event `id` scheduled.
    pub(crate) fn received(&mut self, id: i64, events: &[Event]) {
        self.keep(events);
        if let Some(last) = events.last() {
            self.scheduled.insert(id, last.sequence);
        }
    }

    /// Records that this activity returned Ok: its events are confirmed (contract, section 3, rule 5).
    pub(crate) fn confirm(&mut self, id: i64) {
        self.published = self.published.max(self.scheduled.get(&id).copied());
    }

    /// Returns the events in order: all of them, if one input can carry them.
    ///
    /// Otherwise leaves out the confirmed ones, which readers already have, except the very last event: it determines
    /// the next sequence.
    pub(crate) fn into_events(mut self) -> Vec<Event> {
        let size = |event: &Event| serde_json::to_vec(event).map_or(0, |text| text.len());
        if self.events.values().map(size).sum::<usize>() > LARGEST {
            let last = self.events.keys().last().copied();
            let published = self.published;
            self.events
                .retain(|sequence, _| Some(*sequence) > published || Some(*sequence) == last);
        }
        self.events.into_values().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::EventType;

    fn events(sequences: std::ops::Range<i32>, bulk: usize) -> Vec<Event> {
        let bulk = "b".repeat(bulk);
        let event = |sequence| Event {
            metadata: [("bulk".to_owned(), bulk.clone())].into(),
            ..Event::for_test(0, sequence)
        };
        sequences.map(event).collect()
    }

    fn left(bulk: usize) -> Vec<i32> {
        let mut all = ReceivedEvents::default();
        all.keep(&events(0..1, bulk));
        all.received(5, &events(0..2, bulk));
        all.confirm(5);
        all.received(11, &events(2..60, bulk));
        all.confirm(11);
        all.received(17, &events(60..62, bulk));
        all.confirm(99);
        let left = all.into_events();
        assert!(
            left.iter()
                .all(|event| event.event_type == EventType::Progress)
        );
        left.iter().map(|event| event.sequence).collect()
    }

    #[test]
    fn all_events_are_kept_if_an_input_can_carry_them() {
        assert_eq!(left(8_000), (0..62).collect::<Vec<_>>());
    }

    #[test]
    fn confirmed_events_are_left_out_if_all_would_be_too_large() {
        assert_eq!(left(20_000), [60, 61]);
    }

    #[test]
    fn the_last_event_is_kept_even_if_it_is_confirmed() {
        let mut all = ReceivedEvents::default();
        all.received(5, &events(0..50, 20_000));
        all.confirm(5);

        let left = all.into_events();

        assert_eq!(
            left.iter().map(|event| event.sequence).collect::<Vec<_>>(),
            [49]
        );
    }
}
