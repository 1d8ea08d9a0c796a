//! One record of a key at a time, different keys side by side; pure.

use std::collections::{HashMap, VecDeque};

/// What must keep its order: the records of one key; a record without a key has a lane of its own.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) enum Lane {
    Key(i32, Vec<u8>),
    Alone(i32, i64),
}

pub(super) fn of(partition: i32, key: Option<&[u8]>, offset: i64) -> Lane {
    match key {
        Some(key) => Lane::Key(partition, key.to_vec()),
        None => Lane::Alone(partition, offset),
    }
}

/// Items by lane: at most one of a lane is out at a time.
#[derive(Debug)]
pub(super) struct Lanes<T> {
    /// Lanes with an item out; what waits behind it.
    busy: HashMap<Lane, VecDeque<T>>,
    /// Items that may go out, oldest first.
    ready: VecDeque<T>,
    taken: usize,
}

impl<T> Default for Lanes<T> {
    fn default() -> Self {
        Self {
            busy: HashMap::new(),
            ready: VecDeque::new(),
            taken: 0,
        }
    }
}

impl<T> Lanes<T> {
    pub(super) fn push(&mut self, lane: Lane, item: T) {
        self.taken += 1;
        match self.busy.get_mut(&lane) {
            Some(waiting) => waiting.push_back(item),
            None => {
                self.busy.insert(lane, VecDeque::new());
                self.ready.push_back(item);
            }
        }
    }

    /// Returns the next item that may go out.
    pub(super) fn next(&mut self) -> Option<T> {
        self.ready.pop_front()
    }

    /// Notes that the item of `lane` that was out is done; the one behind it may go.
    pub(super) fn done(&mut self, lane: &Lane) {
        self.taken -= 1;
        match self.busy.get_mut(lane).and_then(VecDeque::pop_front) {
            Some(next) => self.ready.push_back(next),
            None => {
                self.busy.remove(lane);
            }
        }
    }

    /// Returns how many items are in, out or waiting.
    pub(super) fn len(&self) -> usize {
        self.taken
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(name: &str) -> Lane {
        of(0, Some(name.as_bytes()), 0)
    }

    #[test]
    fn records_of_one_key_go_one_after_the_other_and_hold_no_other_up() {
        let mut lanes = Lanes::default();
        lanes.push(key("a"), "a1");
        lanes.push(key("a"), "a2");
        lanes.push(key("b"), "b1");

        assert_eq!(lanes.next(), Some("a1"));
        assert_eq!(lanes.next(), Some("b1"));
        assert_eq!(lanes.next(), None);
        lanes.done(&key("a"));
        assert_eq!(lanes.next(), Some("a2"));
        lanes.done(&key("a"));
        lanes.done(&key("b"));
        assert_eq!((lanes.len(), lanes.busy.len()), (0, 0));
    }

    #[test]
    fn records_without_a_key_wait_for_nobody() {
        let mut lanes = Lanes::default();
        lanes.push(of(0, None, 1), 1);
        lanes.push(of(0, None, 2), 2);

        assert_eq!((lanes.next(), lanes.next()), (Some(1), Some(2)));
    }
}
