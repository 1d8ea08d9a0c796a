//! What may run now, and which offset may be committed: partitions, keys and watermarks together; pure.
//!
//! Every assignment of a partition has an epoch of its own. What was taken under an older one never runs if it had not
//! begun, and moves no watermark if it had: the partition's next owner reads it again.

use std::collections::HashMap;

use tokio_util::sync::CancellationToken;

use super::lanes::{self, Lane, Lanes};
use super::watermark::Watermark;

/// Tells one assignment of a partition from the next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Epoch(u64);

/// An item, and the assignment it came by.
#[derive(Debug)]
pub(super) struct Ticket<T> {
    pub(super) item: T,
    /// Cancelled when the partition is about to go, or all is to stop: what waits for another try is left then.
    pub(super) leave: CancellationToken,
    partition: i32,
    offset: i64,
    lane: Lane,
    epoch: Epoch,
}

#[derive(Debug)]
struct Partition {
    epoch: Epoch,
    watermark: Watermark,
    running: usize,
    leave: CancellationToken,
}

/// The partitions that are ours, and what was taken from them.
#[derive(Debug)]
pub(super) struct Schedule<T> {
    stop: CancellationToken,
    epochs: u64,
    partitions: HashMap<i32, Partition>,
    lanes: Lanes<Ticket<T>>,
}

impl<T> Schedule<T> {
    /// After `stop` nothing more runs.
    pub(super) fn new(stop: CancellationToken) -> Self {
        Self {
            stop,
            epochs: 0,
            partitions: HashMap::new(),
            lanes: Lanes::default(),
        }
    }

    /// Adds partitions; returns how many there are.
    pub(super) fn gain(&mut self, partitions: impl Iterator<Item = i32>) -> usize {
        for partition in partitions {
            self.epochs += 1;
            let gained = Partition {
                epoch: Epoch(self.epochs),
                watermark: Watermark::default(),
                running: 0,
                leave: self.stop.child_token(),
            };
            self.partitions.insert(partition, gained);
        }
        self.partitions.len()
    }

    /// Begins no more work on partitions that are about to go; what runs may still end well.
    pub(super) fn close(&self, partitions: &[i32]) {
        for partition in partitions {
            if let Some(partition) = self.partitions.get(partition) {
                partition.leave.cancel();
            }
        }
    }

    /// Removes partitions; returns how many are left.
    pub(super) fn lose(&mut self, partitions: &[i32]) -> usize {
        self.close(partitions);
        for partition in partitions {
            self.partitions.remove(partition);
        }
        self.partitions.len()
    }

    /// Returns how many items of `partitions` run.
    pub(super) fn running(&self, partitions: &[i32]) -> usize {
        let ours = partitions.iter().filter_map(|it| self.partitions.get(it));
        ours.map(|partition| partition.running).sum()
    }

    /// Takes an item up, unless its partition is not ours any more.
    pub(super) fn take(
        &mut self,
        partition: i32,
        offset: i64,
        key: Option<&[u8]>,
        timestamp: Option<i64>,
        item: T,
    ) {
        let Some(ours) = self.partitions.get_mut(&partition) else {
            return;
        };
        ours.watermark.take(offset, timestamp);
        let lane = lanes::of(partition, key, offset);
        let ticket = Ticket {
            item,
            leave: ours.leave.clone(),
            partition,
            offset,
            lane: lane.clone(),
            epoch: ours.epoch,
        };
        self.lanes.push(lane, ticket);
    }

    /// Returns the next item that may run; what waited for a partition that went is dropped.
    pub(super) fn next(&mut self) -> Option<Ticket<T>> {
        loop {
            let ticket = self.lanes.next()?;
            match self.partitions.get_mut(&ticket.partition) {
                Some(ours) if ours.epoch == ticket.epoch && !ours.leave.is_cancelled() => {
                    ours.running += 1;
                    return Some(ticket);
                }
                Some(_) | None => self.lanes.done(&ticket.lane),
            }
        }
    }

    /// Notes that an item ran; returns the partition and the offset up to which all is done, if that moved.
    pub(super) fn finish(&mut self, ticket: &Ticket<T>, done: bool) -> Option<(i32, i64)> {
        self.lanes.done(&ticket.lane);
        let ours = self.partitions.get_mut(&ticket.partition)?;
        if ours.epoch != ticket.epoch {
            return None;
        }
        ours.running -= 1;
        if !done {
            return None;
        }
        Some((ticket.partition, ours.watermark.finish(ticket.offset)?))
    }

    /// Returns how many items were taken and are not done.
    pub(super) fn taken(&self) -> usize {
        self.lanes.len()
    }

    /// Returns the time stamp of the oldest item that is not done, in milliseconds since the epoch.
    pub(super) fn oldest(&self) -> Option<i64> {
        let watermarks = self.partitions.values().map(|ours| &ours.watermark);
        watermarks.filter_map(Watermark::oldest).min()
    }
}

#[cfg(test)]
mod tests;
