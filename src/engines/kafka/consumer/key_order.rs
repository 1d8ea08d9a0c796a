//! Runs one record of a key at a time and different keys in parallel, and bounds each key's share of memory; pure.

use std::collections::{HashMap, VecDeque};
use std::hash::{BuildHasher as _, RandomState};

/// The unit of ordering: all records of one key in a partition. A record without a key has a lane of its own.
///
/// A keyed hash stands for the key, so that long keys take no memory. Two keys with the same hash share a lane, which
/// does no harm: they only wait for each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Lane {
    Key(i32, u64),
    Alone(i32, i64),
}

impl Lane {
    fn partition(self) -> i32 {
        match self {
            Self::Key(partition, _) | Self::Alone(partition, _) => partition,
        }
    }
}

/// How many records, and how many of their bytes, may be in memory; further records are deferred.
#[derive(Clone, Copy, Debug)]
pub(super) struct Share {
    pub(super) items: usize,
    pub(super) bytes: usize,
}

/// Items by lane. At most one item of a lane is out at a time, that is, ready, or handed out and not done.
#[derive(Debug)]
pub(super) struct KeyOrder<T> {
    share: Share,
    hasher: RandomState,
    /// Lanes with an item out, or with deferred items.
    busy: HashMap<Lane, Queue<T>>,
    /// Items that may be handed out, oldest first.
    ready: VecDeque<T>,
}

#[derive(Debug)]
struct Queue<T> {
    is_out: bool,
    waiting: VecDeque<(usize, T)>,
    /// Of the item that is out and those that wait.
    bytes: usize,
    deferred: usize,
}

impl<T> Default for Queue<T> {
    fn default() -> Self {
        Self {
            is_out: false,
            waiting: VecDeque::new(),
            bytes: 0,
            deferred: 0,
        }
    }
}

impl<T> KeyOrder<T> {
    pub(super) fn new(share: Share) -> Self {
        Self {
            share,
            hasher: RandomState::new(),
            busy: HashMap::new(),
            ready: VecDeque::new(),
        }
    }

    /// Returns the lane of a record.
    pub(super) fn of(&self, partition: i32, key: Option<&[u8]>, offset: i64) -> Lane {
        match key {
            Some(key) => Lane::Key(partition, self.hasher.hash_one(key)),
            None => Lane::Alone(partition, offset),
        }
    }

    /// Returns whether a new item of the lane must be deferred: the lane has its share, or has deferred items already.
    pub(super) fn is_full(&self, lane: Lane) -> bool {
        self.busy.get(&lane).is_some_and(|queue| {
            queue.deferred > 0
                || queue.waiting.len() + usize::from(queue.is_out) >= self.share.items
                || queue.bytes >= self.share.bytes
        })
    }

    pub(super) fn push(&mut self, lane: Lane, bytes: usize, item: T) {
        let queue = self.busy.entry(lane).or_default();
        queue.bytes += bytes;
        if queue.is_out {
            queue.waiting.push_back((bytes, item));
        } else {
            queue.is_out = true;
            self.ready.push_back(item);
        }
    }

    /// Hands out the next item.
    pub(super) fn next(&mut self) -> Option<T> {
        self.ready.pop_front()
    }

    /// Notes that the item of `lane` that was out is done; the lane's next item becomes ready.
    pub(super) fn done(&mut self, lane: Lane, bytes: usize) {
        let Some(queue) = self.busy.get_mut(&lane) else {
            return;
        };
        queue.bytes -= bytes;
        match queue.waiting.pop_front() {
            Some((_, next)) => self.ready.push_back(next),
            None => {
                queue.is_out = false;
                self.drop_idle(lane);
            }
        }
    }

    /// Counts a deferred item of the lane. While a lane has any, its new items are deferred too.
    pub(super) fn defer(&mut self, lane: Lane) {
        self.busy.entry(lane).or_default().deferred += 1;
    }

    /// Removes the items that wait in the lane, and returns them.
    pub(super) fn take_waiting(&mut self, lane: Lane) -> Vec<T> {
        match self.busy.get_mut(&lane) {
            Some(queue) => queue.empty(),
            None => Vec::new(),
        }
    }

    /// Notes that a deferred item of the lane was read again, or is gone from the topic.
    pub(super) fn resume(&mut self, lane: Lane) {
        if let Some(queue) = self.busy.get_mut(&lane) {
            queue.deferred -= 1;
            self.drop_idle(lane);
        }
    }

    /// Forgets the waiting and the deferred items of a partition, and returns the former; items that are out go on.
    pub(super) fn forget(&mut self, partition: i32) -> Vec<T> {
        let mut forgotten = Vec::new();
        self.busy.retain(|lane, queue| {
            if lane.partition() != partition {
                return true;
            }
            queue.deferred = 0;
            forgotten.extend(queue.empty());
            queue.is_out
        });
        forgotten
    }

    fn drop_idle(&mut self, lane: Lane) {
        let queue = self.busy.get(&lane);
        if queue.is_some_and(|queue| !queue.is_out && queue.deferred == 0) {
            self.busy.remove(&lane);
        }
    }
}

impl<T> Queue<T> {
    fn empty(&mut self) -> Vec<T> {
        let waited = std::mem::take(&mut self.waiting);
        self.bytes -= waited.iter().map(|(bytes, _)| bytes).sum::<usize>();
        waited.into_iter().map(|(_, item)| item).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lanes<T>() -> KeyOrder<T> {
        KeyOrder::new(Share {
            items: 2,
            bytes: 100,
        })
    }

    #[test]
    fn records_of_one_key_go_one_after_the_other_and_hold_no_other_up() {
        let mut lanes = lanes();
        let [a, b] = [b"a", b"b"].map(|key| lanes.of(0, Some(key), 0));
        lanes.push(a, 1, "a1");
        lanes.push(a, 1, "a2");
        lanes.push(b, 1, "b1");

        assert_eq!(lanes.next(), Some("a1"));
        assert_eq!(lanes.next(), Some("b1"));
        assert_eq!(lanes.next(), None);
        lanes.done(a, 1);
        assert_eq!(lanes.next(), Some("a2"));
        lanes.done(a, 1);
        lanes.done(b, 1);
        assert!(lanes.busy.is_empty());
    }

    #[test]
    fn records_without_a_key_do_not_wait_for_each_other() {
        let mut lanes = lanes();
        lanes.push(lanes.of(0, None, 1), 1, 1);
        lanes.push(lanes.of(0, None, 2), 1, 2);

        assert_eq!((lanes.next(), lanes.next()), (Some(1), Some(2)));
    }

    #[test]
    fn a_lane_is_full_by_number_by_size_or_while_some_of_it_are_deferred() {
        let mut lanes = lanes();
        let [many, large, late] = [b"m", b"l", b"d"].map(|key| lanes.of(0, Some(key), 0));
        assert!(!lanes.is_full(many));
        lanes.push(many, 1, 1);
        assert!(!lanes.is_full(many));
        lanes.push(many, 1, 2);
        assert!(lanes.is_full(many));
        lanes.done(many, 1);
        assert!(!lanes.is_full(many));

        lanes.push(large, 100, 1);
        assert!(lanes.is_full(large));
        lanes.done(large, 100);
        assert!(!lanes.is_full(large));

        lanes.defer(late);
        assert!(lanes.is_full(late));
        lanes.resume(late);
        assert!(!lanes.is_full(late));
    }

    #[test]
    fn a_partition_that_is_forgotten_keeps_only_what_is_out() {
        let mut lanes = lanes();
        let [kept, lost] = [b"k", b"l"].map(|key| lanes.of(0, Some(key), 0));
        let other = lanes.of(1, None, 0);
        lanes.push(kept, 1, "out");
        lanes.push(kept, 1, "waiting");
        lanes.defer(kept);
        lanes.defer(lost);
        lanes.defer(other);

        assert_eq!(lanes.forget(0), ["waiting"]);

        assert!(!lanes.is_full(kept) && !lanes.is_full(lost) && lanes.is_full(other));
        lanes.push(kept, 1, "new");
        assert_eq!((lanes.next(), lanes.next()), (Some("out"), None));
        lanes.done(kept, 1);
        assert_eq!(lanes.next(), Some("new"));
    }
}
