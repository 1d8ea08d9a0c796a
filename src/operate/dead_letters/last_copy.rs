//! Finds the last dead letter of each record; pure.
//!
//! A redrive keeps no record of what it sent. If a redriven record is dead-lettered again, there are two dead letters
//! with the same content: from then on only the last one is sent. So a record that cannot succeed is sent until it has
//! `--max-attempts`, however often a redrive is repeated.

use std::collections::HashMap;

use ring::digest::{Context, SHA256};

use super::DeadLetter;

/// The partition and hash of each record, and the offset of its last dead letter. Copies have the same key, so they are
/// in the same partition.
#[derive(Debug, Default)]
pub(super) struct LastCopies(HashMap<(i32, Vec<u8>), i64>);

impl LastCopies {
    /// Adds a dead letter; those of a partition come in the order of their offsets.
    pub(super) fn add(&mut self, letter: &DeadLetter) {
        let position = letter.position();
        self.0
            .insert((position.partition, hash(letter)), position.offset);
    }

    /// Returns whether a later dead letter with the same content was added.
    pub(super) fn has_later(&self, letter: &DeadLetter) -> bool {
        let position = letter.position();
        let last = self.0.get(&(position.partition, hash(letter)));
        last.is_some_and(|last| *last > position.offset)
    }
}

/// Hashes what makes two dead letters copies of one record, or of one notification to one target.
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
        assert!(!copies.has_later(&at(6, &[])));
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
