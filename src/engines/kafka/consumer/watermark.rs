//! Decides which offset of a partition may be committed; pure.

use std::collections::BTreeMap;
use std::ops::Range;

use super::key_order::Lane;

/// The records of one partition that were read and are not done: those in memory, and those that are deferred.
///
/// Records may finish in any order; all before the first unfinished one may be committed. Offsets that are never
/// delivered (compaction, transaction markers) block nothing. Finished records take no memory.
#[derive(Debug, Default)]
pub(super) struct Watermark {
    /// Timestamps by offset.
    in_memory: BTreeMap<i64, Option<i64>>,
    deferred: BTreeMap<i64, Deferred>,
    last: Option<i64>,
}

/// What is kept of a deferred record until it is read again.
#[derive(Clone, Copy, Debug)]
pub(super) struct Deferred {
    pub(super) lane: Lane,
    pub(super) timestamp: Option<i64>,
}

impl Watermark {
    /// Returns whether an offset is above all that were read. Otherwise the topic was deleted and created again.
    pub(super) fn rises_to(&self, offset: i64) -> bool {
        self.last.is_none_or(|last| last < offset)
    }

    /// Notes that a record is in memory. Call it in ascending order of offsets.
    pub(super) fn take(&mut self, offset: i64, timestamp: Option<i64>) {
        self.last = self.last.max(Some(offset));
        self.in_memory.insert(offset, timestamp);
    }

    /// Notes that a record, in memory until now or just read, must be read again later.
    pub(super) fn defer(&mut self, offset: i64, deferred: Deferred) {
        self.last = self.last.max(Some(offset));
        self.in_memory.remove(&offset);
        self.deferred.insert(offset, deferred);
    }

    pub(super) fn first_deferred(&self) -> Option<i64> {
        self.deferred.keys().next().copied()
    }

    /// Notes that a deferred record is in memory again. Only the first deferred one may return, so that each key keeps
    /// its order; for any other this returns `None`.
    pub(super) fn resume(&mut self, offset: i64) -> Option<Deferred> {
        let first = self.deferred.first_entry()?;
        if *first.key() != offset {
            return None;
        }
        let deferred = first.remove();
        self.in_memory.insert(offset, deferred.timestamp);
        Some(deferred)
    }

    /// Returns the deferred records in a range of offsets.
    pub(super) fn deferred_in(&self, range: Range<i64>) -> Vec<(i64, Lane)> {
        let found = self.deferred.range(range);
        found.map(|(at, deferred)| (*at, deferred.lane)).collect()
    }

    /// Notes that a record is done. Returns the last offset that may be committed if this call raised it.
    pub(super) fn finish(&mut self, offset: i64) -> Option<i64> {
        let first = self.first();
        if self.in_memory.remove(&offset).is_none() {
            self.deferred.remove(&offset)?;
        }
        let reached = self.first().map(|unfinished| unfinished - 1).or(self.last);
        reached.filter(|_| first == Some(offset))
    }

    /// Returns how many records are not done, deferred ones included.
    pub(super) fn unfinished(&self) -> usize {
        self.in_memory.len() + self.deferred.len()
    }

    pub(super) fn deferred(&self) -> usize {
        self.deferred.len()
    }

    /// Returns the timestamp of the oldest record that is not done, in milliseconds since the epoch.
    pub(super) fn oldest(&self) -> Option<i64> {
        let first = self.first()?;
        let timestamp = self.in_memory.get(&first).copied();
        timestamp.or_else(|| self.deferred.get(&first).map(|it| it.timestamp))?
    }

    fn first(&self) -> Option<i64> {
        let in_memory = self.in_memory.keys().next().copied();
        in_memory.into_iter().chain(self.first_deferred()).min()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_after_an_unfinished_record_is_committed() {
        let mut watermark = Watermark::default();
        for offset in [5, 6, 9, 12] {
            watermark.take(offset, Some(offset * 10));
        }

        assert_eq!(watermark.finish(9), None);
        assert_eq!(watermark.finish(6), None);
        assert_eq!(watermark.oldest(), Some(50));
        assert_eq!(watermark.finish(5), Some(11), "all before 12");
        assert_eq!(watermark.oldest(), Some(120));
        assert_eq!(watermark.finish(12), Some(12));
        assert_eq!(watermark.oldest(), None);
    }

    #[test]
    fn an_offset_that_was_not_taken_or_is_done_moves_nothing() {
        let mut watermark = Watermark::default();
        watermark.take(1, None);

        assert_eq!(watermark.finish(7), None);
        assert_eq!(watermark.finish(1), Some(1));
        assert_eq!(watermark.finish(1), None);
    }

    #[test]
    fn a_deferred_record_is_not_done_and_comes_back_in_its_order() {
        let deferred = Deferred {
            lane: Lane::Alone(0, 0),
            timestamp: Some(7),
        };
        let mut watermark = Watermark::default();
        for offset in 0..3 {
            watermark.take(offset, None);
        }
        watermark.defer(0, deferred);
        watermark.defer(3, deferred);

        assert_eq!(watermark.finish(1), None);
        assert_eq!(watermark.finish(2), None);
        assert_eq!((watermark.oldest(), watermark.unfinished()), (Some(7), 2));
        assert!(watermark.resume(3).is_none(), "0 comes first");
        assert!(watermark.resume(0).is_some());
        assert_eq!(watermark.finish(0), Some(2));
        assert!(watermark.resume(3).is_some());
        assert_eq!(watermark.finish(3), Some(3));
    }
}
