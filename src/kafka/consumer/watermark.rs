//! Which offset of a partition may be committed; pure.

use std::collections::VecDeque;

/// The offsets of one partition that were taken up, in order, and whether each is done.
///
/// Records may finish in any order; only a run of done ones without a gap may be committed. Offsets that never come
/// (compaction, transaction markers) leave no gap: only what was taken counts.
#[derive(Debug, Default)]
pub(super) struct Watermark {
    taken: VecDeque<Taken>,
}

#[derive(Debug)]
struct Taken {
    offset: i64,
    timestamp: Option<i64>,
    done: bool,
}

impl Watermark {
    /// Notes that work on `offset` began; offsets come in rising order.
    pub(super) fn take(&mut self, offset: i64, timestamp: Option<i64>) {
        debug_assert!(self.taken.back().is_none_or(|last| last.offset < offset));
        self.taken.push_back(Taken {
            offset,
            timestamp,
            done: false,
        });
    }

    /// Notes that work on `offset` ended; returns the last offset of the gapless run, if it grew.
    pub(super) fn finish(&mut self, offset: i64) -> Option<i64> {
        let at = self
            .taken
            .binary_search_by_key(&offset, |taken| taken.offset)
            .ok()?;
        self.taken.get_mut(at)?.done = true;
        let mut reached = None;
        while let Some(taken) = self.taken.pop_front_if(|taken| taken.done) {
            reached = Some(taken.offset);
        }
        reached
    }

    /// Returns the time stamp of the oldest record that is not done, in milliseconds since the epoch.
    pub(super) fn oldest(&self) -> Option<i64> {
        self.taken.front()?.timestamp
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_behind_an_unfinished_record_is_committed() {
        let mut watermark = Watermark::default();
        for offset in [5, 6, 9, 12] {
            watermark.take(offset, Some(offset * 10));
        }

        assert_eq!(watermark.finish(9), None);
        assert_eq!(watermark.finish(6), None);
        assert_eq!(watermark.oldest(), Some(50));
        assert_eq!(watermark.finish(5), Some(9));
        assert_eq!(watermark.oldest(), Some(120));
        assert_eq!(watermark.finish(12), Some(12));
        assert_eq!(watermark.oldest(), None);
    }

    #[test]
    fn what_was_not_taken_or_is_done_already_moves_nothing() {
        let mut watermark = Watermark::default();
        watermark.take(1, None);

        assert_eq!(watermark.finish(7), None);
        assert_eq!(watermark.finish(1), Some(1));
        assert_eq!(watermark.finish(1), None);
    }
}
