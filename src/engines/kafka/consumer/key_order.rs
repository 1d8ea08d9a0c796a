//! Runs one record of a key at a time and different keys in parallel, and bounds each key's share of memory; pure.

use std::collections::{HashMap, VecDeque};
use std::hash::{BuildHasher as _, RandomState};

use super::bounds::Amount;

/// The unit of ordering: all records of one key in a partition. A record without a key has a lane of its own.
///
/// A keyed hash replaces the key, so that long keys take no memory. Two keys with the same hash share a lane, which
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

/// Records by lane. At most one record of a lane is out at a time, that is, ready, or handed out and not done.
#[derive(Debug)]
pub(super) struct KeyOrder<T> {
    /// How much of one key may be in memory; its further records are deferred.
    share: Amount,
    hasher: RandomState,
    /// Lanes with a record out, or with deferred records.
    busy: HashMap<Lane, Queue<T>>,
    /// Records that may be handed out, oldest first.
    ready: VecDeque<T>,
    /// Number of deferred records in lanes that the fuse holds.
    deferred_by_fuse: usize,
}

#[derive(Debug)]
struct Queue<T> {
    waiting: VecDeque<(usize, T)>,
    /// Number and bytes of the record that is out and of those that wait.
    in_memory: Amount,
    deferred: usize,
    /// Whether the fuse has held a record of the lane since a record of it was last done.
    is_held: bool,
}

impl<T> Default for Queue<T> {
    fn default() -> Self {
        Self {
            waiting: VecDeque::new(),
            in_memory: Amount::default(),
            deferred: 0,
            is_held: false,
        }
    }
}

impl<T> KeyOrder<T> {
    pub(super) fn new(share: Amount) -> Self {
        Self {
            share,
            hasher: RandomState::new(),
            busy: HashMap::new(),
            ready: VecDeque::new(),
            deferred_by_fuse: 0,
        }
    }

    pub(super) fn of(&self, partition: i32, key: Option<&[u8]>, offset: i64) -> Lane {
        match key {
            Some(key) => Lane::Key(partition, self.hasher.hash_one(key)),
            None => Lane::Alone(partition, offset),
        }
    }

    /// Returns whether a new record of the lane must be deferred: the lane has its share, or has deferred records already.
    pub(super) fn is_full(&self, lane: Lane) -> bool {
        let queue = self.busy.get(&lane);
        queue.is_some_and(|queue| queue.deferred > 0 || queue.in_memory.reaches(self.share))
    }

    pub(super) fn push(&mut self, lane: Lane, bytes: usize, item: T) {
        let queue = self.busy.entry(lane).or_default();
        if queue.is_out() {
            queue.waiting.push_back((bytes, item));
        } else {
            self.ready.push_back(item);
        }
        queue.in_memory.add(bytes);
    }

    /// Hands out the next record.
    pub(super) fn next(&mut self) -> Option<T> {
        self.ready.pop_front()
    }

    /// Notes that the record of `lane` is no longer out: done, deferred or abandoned. The lane's next record becomes ready.
    pub(super) fn done(&mut self, lane: Lane, bytes: usize) {
        let Some(queue) = self.busy.get_mut(&lane) else {
            return;
        };
        queue.in_memory.remove(bytes);
        match queue.waiting.pop_front() {
            Some((_, next)) => self.ready.push_back(next),
            None => self.drop_idle(lane),
        }
    }

    /// Counts a deferred record of the lane. While a lane has any, its new records are deferred too.
    pub(super) fn defer(&mut self, lane: Lane) {
        let queue = self.busy.entry(lane).or_default();
        queue.deferred += 1;
        self.deferred_by_fuse += usize::from(queue.is_held);
    }

    /// Notes that the fuse holds the lane's record that is out, and so all that are deferred after it.
    pub(super) fn hold(&mut self, lane: Lane) {
        if let Some(queue) = self.busy.get_mut(&lane)
            && !queue.is_held
        {
            queue.is_held = true;
            self.deferred_by_fuse += queue.deferred;
        }
    }

    /// Notes that a record of the lane is done, so the fuse does not hold the lane any more.
    pub(super) fn release(&mut self, lane: Lane) {
        if let Some(queue) = self.busy.get_mut(&lane)
            && std::mem::take(&mut queue.is_held)
        {
            self.deferred_by_fuse -= queue.deferred;
        }
    }

    /// Returns the number of deferred records in lanes that the fuse holds.
    pub(super) fn deferred_by_fuse(&self) -> usize {
        self.deferred_by_fuse
    }

    /// Removes the records that wait in the lane, and returns them.
    pub(super) fn take_waiting(&mut self, lane: Lane) -> Vec<T> {
        match self.busy.get_mut(&lane) {
            Some(queue) => queue.empty(),
            None => Vec::new(),
        }
    }

    /// Notes that a deferred record of the lane was read again, or is gone from the topic.
    pub(super) fn resume(&mut self, lane: Lane) {
        if let Some(queue) = self.busy.get_mut(&lane) {
            queue.deferred -= 1;
            self.deferred_by_fuse -= usize::from(queue.is_held);
            self.drop_idle(lane);
        }
    }

    /// Forgets the waiting and the deferred records of a partition, and returns the former; records that are out go on.
    pub(super) fn forget(&mut self, partition: i32) -> Vec<T> {
        let mut forgotten = Vec::new();
        self.busy.retain(|lane, queue| {
            if lane.partition() != partition {
                return true;
            }
            self.deferred_by_fuse -= queue.deferred * usize::from(queue.is_held);
            queue.deferred = 0;
            queue.is_held = false;
            forgotten.extend(queue.empty());
            queue.is_out()
        });
        forgotten
    }

    fn drop_idle(&mut self, lane: Lane) {
        let queue = self.busy.get(&lane);
        if queue.is_some_and(|queue| !queue.is_out() && queue.deferred == 0) {
            self.busy.remove(&lane);
        }
    }
}

impl<T> Queue<T> {
    fn is_out(&self) -> bool {
        self.in_memory.records > self.waiting.len()
    }

    fn empty(&mut self) -> Vec<T> {
        let waited = std::mem::take(&mut self.waiting).into_iter();
        let taken = waited.map(|(bytes, item)| {
            self.in_memory.remove(bytes);
            item
        });
        taken.collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key_order<T>() -> KeyOrder<T> {
        KeyOrder::new(Amount {
            records: 2,
            bytes: 100,
        })
    }

    #[test]
    fn records_of_one_key_run_one_after_the_other_and_do_not_block_other_keys() {
        let mut order = key_order();
        let [a, b] = [b"a", b"b"].map(|key| order.of(0, Some(key), 0));
        order.push(a, 1, "a1");
        order.push(a, 1, "a2");
        order.push(b, 1, "b1");

        assert_eq!(order.next(), Some("a1"));
        assert_eq!(order.next(), Some("b1"));
        assert_eq!(order.next(), None);
        order.done(a, 1);
        assert_eq!(order.next(), Some("a2"));
        order.done(a, 1);
        order.done(b, 1);
        assert!(order.busy.is_empty());
    }

    #[test]
    fn records_without_a_key_do_not_wait_for_each_other() {
        let mut order = key_order();
        order.push(order.of(0, None, 1), 1, 1);
        order.push(order.of(0, None, 2), 1, 2);

        assert_eq!((order.next(), order.next()), (Some(1), Some(2)));
    }

    #[test]
    fn a_lane_is_full_by_number_by_size_or_while_it_has_deferred_records() {
        let mut order = key_order();
        let [many, large, late] = [b"m", b"l", b"d"].map(|key| order.of(0, Some(key), 0));
        assert!(!order.is_full(many));
        order.push(many, 1, 1);
        assert!(!order.is_full(many));
        order.push(many, 1, 2);
        assert!(order.is_full(many));
        order.done(many, 1);
        assert!(!order.is_full(many));

        order.push(large, 100, 1);
        assert!(order.is_full(large));
        order.done(large, 100);
        assert!(!order.is_full(large));

        order.defer(late);
        assert!(order.is_full(late));
        order.resume(late);
        assert!(!order.is_full(late));
    }

    #[test]
    fn only_deferred_records_of_lanes_that_the_fuse_holds_count_for_its_bound() {
        let mut order = key_order::<()>();
        let [flood, poison] = [b"f", b"p"].map(|key| order.of(0, Some(key), 0));
        for _ in 0..3 {
            order.defer(flood);
        }
        assert_eq!(order.deferred_by_fuse(), 0);

        order.defer(poison);
        order.hold(poison);
        order.defer(poison);
        assert_eq!(order.deferred_by_fuse(), 2);
        order.resume(poison);
        order.resume(flood);
        assert_eq!(order.deferred_by_fuse(), 1);
        order.resume(poison);
        order.defer(poison);
        assert_eq!(order.deferred_by_fuse(), 0, "the lane was idle");

        order.hold(poison);
        assert_eq!(order.deferred_by_fuse(), 1);
        order.release(poison);
        order.defer(poison);
        assert_eq!(order.deferred_by_fuse(), 0, "a record of the lane was done");

        order.hold(poison);
        assert_eq!(order.deferred_by_fuse(), 2);
        order.forget(0);
        assert_eq!(order.deferred_by_fuse(), 0);
    }

    #[test]
    fn a_partition_that_is_forgotten_keeps_only_records_that_are_out() {
        let mut order = key_order();
        let [kept, lost] = [b"k", b"l"].map(|key| order.of(0, Some(key), 0));
        let other = order.of(1, None, 0);
        order.push(kept, 1, "out");
        order.push(kept, 1, "waiting");
        order.defer(kept);
        order.defer(lost);
        order.defer(other);

        assert_eq!(order.forget(0), ["waiting"]);

        assert!(!order.is_full(kept) && !order.is_full(lost) && order.is_full(other));
        order.push(kept, 1, "new");
        assert_eq!((order.next(), order.next()), (Some("out"), None));
        order.done(kept, 1);
        assert_eq!(order.next(), Some("new"));
    }
}
