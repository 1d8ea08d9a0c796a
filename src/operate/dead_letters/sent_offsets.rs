//! Remembers which offsets of a partition were sent again: as ranges, and in a short form for the note of a committed
//! offset.
//!
//! All offsets below the committed one are sent or gone from the topic. The note holds the ranges above it, as `1:` and
//! the base64 of varints: for each range the gap before it and its length. Ranges that do not fit are left out, so the
//! short form never holds an offset that was not sent.

use std::collections::BTreeMap;
use std::ops::Range;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64;

use crate::engines::kafka::offsets::Committed;

/// The offsets of one partition that were sent again.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Done {
    /// All offsets below this one are sent or gone from the topic.
    below: i64,
    /// Start and end of each further range. No range is empty, and no two touch.
    ranges: BTreeMap<i64, i64>,
}

/// In bytes. Kafka accepts notes of 4096 bytes by default.
const LONGEST_NOTE: usize = 4000;
const VERSION: &str = "1:";

impl Done {
    /// Reads what was committed for a partition that holds the offsets `held`. Returns `None` if the commit names
    /// offsets beyond its end: it then belongs to a deleted topic of the same name.
    pub fn read(committed: &Committed, held: &Range<i64>) -> Option<Self> {
        let mut done = Self {
            below: committed.offset,
            ranges: BTreeMap::new(),
        };
        for range in ranges(committed) {
            done.ranges.insert(range.start, range.end);
        }
        let end = done
            .ranges
            .last_key_value()
            .map_or(done.below, |(_, end)| *end);
        if end > held.end {
            return None;
        }
        done.forget_before(held.start);
        Some(done)
    }

    /// Returns whether an offset was sent or is gone from the topic.
    pub fn contains(&self, offset: i64) -> bool {
        let before = self.ranges.range(..=offset).next_back();
        offset < self.below || before.is_some_and(|(_, end)| offset < *end)
    }

    /// Returns whether nothing was noted for the partition yet.
    pub fn is_empty(&self) -> bool {
        self.below == 0 && self.ranges.is_empty()
    }

    /// Notes that an offset was sent.
    pub fn insert(&mut self, offset: i64) {
        if self.contains(offset) {
            return;
        }
        let (mut start, mut end) = (offset, offset.saturating_add(1));
        if let Some((before, until)) = self.ranges.range(..offset).next_back()
            && *until == offset
        {
            start = *before;
        }
        if let Some(until) = self.ranges.remove(&end) {
            end = until;
        }
        self.ranges.insert(start, end);
        self.absorb();
    }

    /// Forgets offsets that the topic no longer holds, those below `low`.
    pub fn forget_before(&mut self, low: i64) {
        self.below = self.below.max(low);
        self.absorb();
    }

    /// Merges ranges that touch or lie below `below` into it.
    fn absorb(&mut self) {
        while let Some(first) = self.ranges.first_entry()
            && *first.key() <= self.below
        {
            self.below = self.below.max(first.remove());
        }
    }

    /// Returns the short form, and how many of the highest offsets it has no room for.
    pub fn short(&self) -> (Committed, i64) {
        self.within(LONGEST_NOTE)
    }

    fn within(&self, longest: usize) -> (Committed, i64) {
        let most = longest.saturating_sub(VERSION.len()) * 3 / 4;
        let (mut bytes, mut at, mut left_out) = (Vec::new(), self.below, 0);
        for (&start, &end) in &self.ranges {
            let before = bytes.len();
            if left_out == 0 {
                varint(&mut bytes, start.abs_diff(at));
                varint(&mut bytes, end.abs_diff(start));
            }
            if left_out > 0 || bytes.len() > most {
                bytes.truncate(before);
                left_out += end - start;
            }
            at = end;
        }
        let note = match bytes.is_empty() {
            true => String::new(),
            false => format!("{VERSION}{}", BASE64.encode(&bytes)),
        };
        let offset = self.below;
        (Committed { offset, note }, left_out)
    }
}

/// Reads the ranges of a note. A note that is not ours has none; the committed offset still counts.
fn ranges(committed: &Committed) -> Vec<Range<i64>> {
    let bytes = committed
        .note
        .strip_prefix(VERSION)
        .and_then(|text| BASE64.decode(text).ok())
        .unwrap_or_default();
    let (mut rest, mut at, mut found) = (bytes.as_slice(), committed.offset, Vec::new());
    while !rest.is_empty() {
        let (Some(gap), Some(length)) = (unvarint(&mut rest), unvarint(&mut rest)) else {
            return Vec::new();
        };
        let start = at.checked_add_unsigned(gap);
        let end = start.and_then(|start| start.checked_add_unsigned(length));
        let (Some(start), Some(end)) = (start, end) else {
            return Vec::new();
        };
        found.push(start..end);
        at = end;
    }
    found
}

/// Appends a number in groups of seven bits, lowest first; the high bit of a byte says that more follow.
fn varint(bytes: &mut Vec<u8>, mut number: u64) {
    while number > 0x7f {
        bytes.push((number & 0x7f) as u8 | 0x80);
        number >>= 7;
    }
    bytes.push(number as u8);
}

fn unvarint(rest: &mut &[u8]) -> Option<u64> {
    let mut number = 0;
    for shift in (0..64).step_by(7) {
        let (&byte, behind) = rest.split_first()?;
        *rest = behind;
        number |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Some(number);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    const HELD: Range<i64> = 0..1_000_000;

    fn done(offsets: impl IntoIterator<Item = i64>) -> Done {
        let mut done = Done::default();
        for offset in offsets {
            done.insert(offset);
        }
        done
    }

    fn committed(offset: i64, note: &str) -> Committed {
        Committed {
            offset,
            note: note.to_owned(),
        }
    }

    #[test]
    fn a_gapless_beginning_is_the_offset_and_the_rest_stands_in_the_note() {
        let done = done([0, 2, 1, 5, 7, 6, 900_000]);

        let (short, left_out) = done.short();

        assert_eq!((short.offset, left_out), (3, 0));
        assert_eq!(Done::read(&short, &HELD), Some(done.clone()));
        let held: Vec<_> = (0..10).filter(|offset| done.contains(*offset)).collect();
        assert_eq!(held, [0, 1, 2, 5, 6, 7]);
        assert!(done.contains(900_000) && !done.contains(900_001));
    }

    #[test]
    fn nothing_else_is_held_whatever_the_order() {
        // Every third of a hundred, then their neighbours, back to front.
        let mut some = done((0..100).step_by(3));
        for offset in (1..100).step_by(3).collect::<Vec<_>>().into_iter().rev() {
            assert!(!some.contains(offset));
            some.insert(offset);
            some.insert(offset);
        }

        for offset in 0..100 {
            assert_eq!(some.contains(offset), offset % 3 != 2, "{offset}");
        }
        assert_eq!(Done::read(&some.short().0, &HELD), Some(some));
    }

    #[test]
    fn what_does_not_fit_is_left_out_and_never_the_other_way_round() {
        let all = done((10..20_000).step_by(2));

        let (short, left_out) = all.short();

        assert!(short.note.len() <= LONGEST_NOTE && left_out > 0);
        let read = Done::read(&short, &HELD).unwrap();
        let kept: Vec<_> = (0..20_000)
            .filter(|offset| read.contains(*offset))
            .collect();
        assert!(kept.iter().all(|offset| all.contains(*offset)));
        assert_eq!(kept.len() as i64 + left_out, 9_995);
        assert_eq!(kept[..2], [10, 12]);
    }

    #[test]
    fn one_range_of_any_length_is_short() {
        let (short, left_out) = done(500..100_000).short();

        assert_eq!(left_out, 0);
        assert!(short.note.len() < 16, "{}", short.note);
    }

    #[test]
    fn what_the_topic_no_longer_holds_is_forgotten() {
        let all = done([3, 4, 9]);

        let read = Done::read(&all.short().0, &(4..20)).unwrap();

        assert_eq!(read.short().0.offset, 5);
        assert!(read.contains(9) && !read.contains(8));
    }

    #[test]
    fn offsets_of_a_topic_that_is_no_more_count_for_nothing() {
        let all = done([3, 4, 9]);

        assert_eq!(Done::read(&all.short().0, &(0..9)), None);
        assert_eq!(Done::read(&committed(7, ""), &(0..6)), None);
        assert!(Done::read(&all.short().0, &(0..10)).is_some());
    }

    #[test]
    fn a_strange_note_counts_for_nothing() {
        for note in ["", "hello", "1:%%%", "1:gA", "1:AQ", "2:AQE"] {
            let read = Done::read(&committed(7, note), &HELD).unwrap();

            assert!(read.contains(6) && !read.contains(7), "{note}");
            assert_eq!(read.short().0, committed(7, ""), "{note}");
        }
    }
}
