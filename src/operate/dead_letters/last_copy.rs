//! Finds the last dead letter of each record; pure.
//!
//! A redrive keeps no record of what it sent. If a redriven record is dead-lettered again, there are two dead letters
//! with the same content: from then on only the last one is sent. So a record that cannot succeed is sent until it has
//! `--max-attempts`, however often a redrive is repeated. A redrive of given positions does not ask for copies.

use std::borrow::Cow;
use std::collections::{HashMap, HashSet};

use ring::digest::{Context, SHA256};

use super::fresh_id::is_marked;
use super::{DeadLetter, Position};
use crate::domain::RequestId;

/// The order of copies, also of those in different partitions: a redriven record has one attempt more.
type Age = (u32, Option<i64>, Position);

#[derive(Debug, Default)]
pub(super) struct LastCopies {
    /// By the hash of each record, the age of its last dead letter.
    last: HashMap<Vec<u8>, Age>,
    /// The ids that redrives with `--new-id` gave to requests that were dead-lettered again.
    fresh_ids: HashSet<String>,
}

impl LastCopies {
    /// Adds a dead letter.
    pub(super) fn add(&mut self, letter: &DeadLetter) {
        let last = self.last.entry(hash(letter)).or_insert_with(|| age(letter));
        *last = age(letter).max(*last);
        let key = letter.key().filter(|key| is_marked(key));
        self.fresh_ids.extend(key.map(Cow::into_owned));
    }

    /// Returns whether a later dead letter with the same content was added.
    pub(super) fn has_later(&self, letter: &DeadLetter) -> bool {
        let last = self.last.get(&hash(letter));
        last.is_some_and(|last| *last > age(letter))
    }

    /// Returns whether a request that was sent under this new id was dead-lettered again.
    pub(super) fn has_fresh(&self, id: &RequestId) -> bool {
        self.fresh_ids.contains(id.as_str())
    }
}

fn age(letter: &DeadLetter) -> Age {
    // The attempts of a notification are those of one delivery.
    let attempts = match letter.notification() {
        Some(_) => 0,
        None => letter.attempts(),
    };
    (attempts, letter.0.timestamp, letter.position())
}

/// Hashes the parts that are equal in copies of one record, or of one notification to one target.
fn hash(letter: &DeadLetter) -> Vec<u8> {
    let record = &letter.0;
    let header = |name| record.header(name).map(str::as_bytes);
    let mut hash = Context::new(&SHA256);
    for part in [
        record.key.as_deref(),
        record.value.as_deref(),
        header("dlq.original.topic"),
        header("dlq.channel"),
        header("dlq.target_hash"),
    ] {
        let length = part.map_or(-1, |part| part.len() as i64);
        hash.update(&length.to_be_bytes());
        hash.update(part.unwrap_or_default());
    }
    hash.finish().as_ref().to_vec()
}

#[cfg(test)]
mod tests {
    use super::super::dead_letter::tests::letter;
    use super::*;

    fn at(offset: i64, headers: &[(&str, &str)]) -> DeadLetter {
        let mut letter = letter(headers);
        letter.0.position.offset = offset;
        letter
    }

    #[test]
    fn only_the_last_of_equal_records_has_no_later_one() {
        let again = [("dlq.reason", "too_old"), ("dlq.attempts", "2")];
        let (first, second) = (at(3, &[]), at(5, &again));
        let mut other = at(4, &[]);
        other.0.value = Some(b"other".to_vec());
        let mut copies = LastCopies::default();

        for letter in [&first, &other, &second] {
            copies.add(letter);
        }

        assert!(copies.has_later(&first));
        assert!(!copies.has_later(&second) && !copies.has_later(&other));
        assert!(!copies.has_later(&at(6, &again)));
    }

    #[test]
    fn the_last_of_equal_records_in_different_partitions_has_most_attempts_then_the_latest_timestamp()
     {
        let copy = |partition, attempts, timestamp| {
            let mut letter = at(3, &[("dlq.attempts", attempts)]);
            letter.0.key = None;
            letter.0.position.partition = partition;
            letter.0.timestamp = Some(timestamp);
            letter
        };
        let (first, second, last) = (copy(2, "1", 7), copy(1, "2", 5), copy(0, "2", 6));
        let mut copies = LastCopies::default();

        for letter in [&last, &second, &first] {
            copies.add(letter);
        }

        assert!(copies.has_later(&first) && copies.has_later(&second));
        assert!(!copies.has_later(&last));
    }

    #[test]
    fn a_request_that_was_dead_lettered_under_its_new_id_is_known() {
        let mut again = at(5, &[]);
        again.0.key = Some(b"order-7.r0-3".to_vec());
        let mut copies = LastCopies::default();

        copies.add(&at(3, &[]));
        copies.add(&again);

        let id = |id: &str| RequestId::try_from(id.to_owned()).unwrap();
        assert!(copies.has_fresh(&id("order-7.r0-3")));
        assert!(!copies.has_fresh(&id("order-7.r0-4")));
    }

    #[test]
    fn the_last_dead_letter_of_a_notification_may_have_fewer_attempts() {
        let given_up = |offset, attempts| {
            let target = [("dlq.channel", "WEBHOOK"), ("dlq.target_hash", "a")];
            at(
                offset,
                &[&target[..], &[("dlq.attempts", attempts)]].concat(),
            )
        };
        let mut copies = LastCopies::default();

        copies.add(&given_up(1, "10"));
        copies.add(&given_up(2, "1"));

        assert!(copies.has_later(&given_up(1, "10")));
        assert!(!copies.has_later(&given_up(2, "1")));
    }

    #[test]
    fn notifications_of_one_event_to_two_targets_are_not_copies() {
        let to = |hash| [("dlq.channel", "WEBHOOK"), ("dlq.target_hash", hash)];
        let mut copies = LastCopies::default();

        copies.add(&at(1, &to("a")));
        copies.add(&at(2, &to("b")));

        assert!(!copies.has_later(&at(1, &to("a"))));
    }
}
