//! Decides what may run now and which offset may be committed: combines partitions, lanes and watermarks; pure.
//!
//! Every assignment of a partition has its own epoch. A record taken under an older epoch does not start any more, and
//! if it runs already, its result moves no watermark: the partition's next owner reads it again.
//!
//! A record is *deferred*, that is, dropped from memory and read again later, when the fuse holds it or its key has
//! used up its share of the memory; all later records of its key are deferred with it. Deferred records come back in
//! the order of their offsets, a few of each partition at a time, and do not use up the window of records taken.

use std::collections::HashMap;
use std::ops::Range;

use tokio_util::sync::CancellationToken;

use super::watermark::{Deferred, Watermark};
use crate::engines::kafka::consumer::key_order::{KeyOrder, Lane, Share};
use crate::engines::kafka::consumer::record_task::Settled;

/// Identifies one assignment of a partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Epoch(u64);

/// An item that was just read.
#[derive(Debug)]
pub(super) struct Read<'k, T> {
    pub(super) partition: i32,
    pub(super) offset: i64,
    pub(super) key: Option<&'k [u8]>,
    pub(super) timestamp: Option<i64>,
    pub(super) bytes: usize,
    pub(super) item: T,
}

/// An item, and the assignment under which it was read.
#[derive(Debug)]
pub(super) struct Ticket<T> {
    pub(super) item: T,
    /// Cancelled when the partition is being revoked or the consumer stops: an item that waits for a retry is then
    /// abandoned.
    pub(super) leave: CancellationToken,
    /// Whether it was deferred and has been read again.
    pub(super) is_back: bool,
    partition: i32,
    offset: i64,
    timestamp: Option<i64>,
    bytes: usize,
    lane: Lane,
    epoch: Epoch,
}

#[derive(Debug)]
struct Partition {
    epoch: Epoch,
    watermark: Watermark,
    running: usize,
    /// Number of items in memory that were read again, and their bytes.
    back: usize,
    back_bytes: usize,
    leave: CancellationToken,
}

/// The partitions assigned to us, and the records taken from them.
#[derive(Debug)]
pub(super) struct Schedule<T> {
    stop: CancellationToken,
    /// How much of one partition that was read again may be in memory.
    back: Share,
    epochs: u64,
    partitions: HashMap<i32, Partition>,
    lanes: KeyOrder<Ticket<T>>,
    /// Number of items in memory, without those that were read again.
    taken: usize,
}

impl<T> Schedule<T> {
    /// Keeps at most `share` of each key in memory, and at most `back` of the items that are read again of each
    /// partition. After `stop`, nothing more starts.
    pub(super) fn new(share: Share, back: Share, stop: CancellationToken) -> Self {
        Self {
            stop,
            back,
            epochs: 0,
            partitions: HashMap::new(),
            lanes: KeyOrder::new(share),
            taken: 0,
        }
    }

    /// Adds partitions; returns how many there are now.
    pub(super) fn gain(&mut self, partitions: impl Iterator<Item = i32>) -> usize {
        for partition in partitions {
            self.begin(partition);
        }
        self.partitions.len()
    }

    /// Starts nothing more on partitions that are being revoked; items that run may still finish.
    pub(super) fn close(&self, partitions: &[i32]) {
        for partition in partitions {
            if let Some(partition) = self.partitions.get(partition) {
                partition.leave.cancel();
            }
        }
    }

    /// Removes partitions; returns how many are left.
    pub(super) fn lose(&mut self, partitions: &[i32]) -> usize {
        for partition in partitions {
            self.end(*partition);
        }
        self.partitions.len()
    }

    fn begin(&mut self, partition: i32) {
        self.end(partition);
        self.epochs += 1;
        let gained = Partition {
            epoch: Epoch(self.epochs),
            watermark: Watermark::default(),
            running: 0,
            back: 0,
            back_bytes: 0,
            leave: self.stop.child_token(),
        };
        self.partitions.insert(partition, gained);
    }

    fn end(&mut self, partition: i32) {
        if let Some(lost) = self.partitions.remove(&partition) {
            lost.leave.cancel();
        }
        for ticket in self.lanes.forget(partition) {
            self.forget(&ticket);
        }
    }

    /// Returns how many items run on `partitions`.
    pub(super) fn running(&self, partitions: &[i32]) -> usize {
        let ours = partitions.iter().filter_map(|it| self.partitions.get(it));
        ours.map(|partition| partition.running).sum()
    }

    /// Accepts an item or defers it; ignores it if its partition is no longer ours.
    pub(super) fn take(&mut self, read: Read<'_, T>) {
        let is_new = |ours: &Partition| ours.watermark.rises_to(read.offset);
        match self.partitions.get(&read.partition) {
            Some(ours) if is_new(ours) => {}
            // The offset fell: the topic was deleted and created again.
            Some(_) => self.begin(read.partition),
            None => return,
        }
        let lane = self.lanes.of(read.partition, read.key, read.offset);
        let Some(ours) = self.partitions.get_mut(&read.partition) else {
            return;
        };
        let timestamp = read.timestamp;
        if self.lanes.is_full(lane) {
            let deferred = Deferred { lane, timestamp };
            ours.watermark.defer(read.offset, deferred);
            self.lanes.defer(lane);
            return;
        }
        ours.watermark.take(read.offset, timestamp);
        self.taken += 1;
        let (bytes, ticket) = (read.bytes, ours.ticket(read, lane, false));
        self.lanes.push(lane, bytes, ticket);
    }

    /// Accepts a deferred item that was read again, if it is the first deferred one of its partition.
    pub(super) fn resume(&mut self, read: Read<'_, T>) {
        let Some(ours) = self.partitions.get_mut(&read.partition) else {
            return;
        };
        let Some(Deferred { lane, .. }) = ours.watermark.resume(read.offset) else {
            return;
        };
        ours.back += 1;
        ours.back_bytes += read.bytes;
        let (bytes, ticket) = (read.bytes, ours.ticket(read, lane, true));
        self.lanes.push(lane, bytes, ticket);
        self.lanes.resume(lane);
    }

    /// Returns where to read again: the first deferred offset of the next partition after `last`, in turn, that has
    /// deferred items and room for half of its share.
    pub(super) fn next_deferred(&self, last: Option<i32>) -> Option<(i32, i64)> {
        let wanted = self.partitions.iter().filter_map(|(&number, ours)| {
            let room = ours.back * 2 <= self.back.items && ours.back_bytes * 2 <= self.back.bytes;
            let offset = ours.watermark.first_deferred().filter(|_| room)?;
            (!ours.leave.is_cancelled()).then_some((Some(number) <= last, number, offset))
        });
        let (_, number, offset) = wanted.min()?;
        Some((number, offset))
    }

    /// Returns the first deferred offset of a partition if there is room for it.
    pub(super) fn first_deferred(&self, partition: i32) -> Option<i64> {
        let ours = self.partitions.get(&partition)?;
        let room = ours.back < self.back.items && ours.back_bytes < self.back.bytes;
        let first = ours.watermark.first_deferred();
        first.filter(|_| room && !ours.leave.is_cancelled())
    }

    /// Notes that the deferred items of a range are no longer on the topic. Returns their number, and the last offset
    /// that may be committed if that rose.
    pub(super) fn gone(&mut self, partition: i32, range: Range<i64>) -> (usize, Option<i64>) {
        let Some(ours) = self.partitions.get_mut(&partition) else {
            return (0, None);
        };
        let gone = ours.watermark.deferred_in(range);
        let mut reached = None;
        for &(offset, lane) in &gone {
            reached = ours.watermark.finish(offset).or(reached);
            self.lanes.resume(lane);
        }
        (gone.len(), reached)
    }

    /// Returns the next item that may run; drops items whose partition was revoked.
    pub(super) fn next(&mut self) -> Option<Ticket<T>> {
        loop {
            let ticket = self.lanes.next()?;
            match self.partitions.get_mut(&ticket.partition) {
                Some(ours) if ours.epoch == ticket.epoch && !ours.leave.is_cancelled() => {
                    ours.running += 1;
                    return Some(ticket);
                }
                Some(_) | None => {
                    self.lanes.done(ticket.lane, ticket.bytes);
                    self.forget(&ticket);
                }
            }
        }
    }

    /// Notes how an item ended. Returns the partition and the last offset that may be committed, if that rose.
    pub(super) fn finish(&mut self, ticket: &Ticket<T>, settled: Settled) -> Option<(i32, i64)> {
        if settled == Settled::Deferred {
            self.defer(ticket);
        }
        self.lanes.done(ticket.lane, ticket.bytes);
        self.forget(ticket);
        let ours = self.partitions.get_mut(&ticket.partition)?;
        if ours.epoch != ticket.epoch {
            return None;
        }
        ours.running -= 1;
        if settled != Settled::Done {
            return None;
        }
        Some((ticket.partition, ours.watermark.finish(ticket.offset)?))
    }

    /// Defers an item that ran, and all items that wait in its lane.
    fn defer(&mut self, ticket: &Ticket<T>) {
        let ours = self.partitions.get_mut(&ticket.partition);
        let Some(ours) = ours.filter(|ours| ours.epoch == ticket.epoch) else {
            return;
        };
        let waiting = self.lanes.take_waiting(ticket.lane);
        for it in waiting.iter().chain([ticket]) {
            let (lane, timestamp) = (it.lane, it.timestamp);
            ours.watermark
                .defer(it.offset, Deferred { lane, timestamp });
            self.lanes.defer(lane);
        }
        for it in &waiting {
            self.forget(it);
        }
    }

    /// Stops counting an item that leaves the memory.
    fn forget(&mut self, ticket: &Ticket<T>) {
        if !ticket.is_back {
            self.taken -= 1;
            return;
        }
        let ours = self.partitions.get_mut(&ticket.partition);
        if let Some(ours) = ours.filter(|ours| ours.epoch == ticket.epoch) {
            ours.back -= 1;
            ours.back_bytes -= ticket.bytes;
        }
    }

    /// Returns how many items are in memory, without those that were read again.
    pub(super) fn taken(&self) -> usize {
        self.taken
    }

    /// Returns how many items are deferred.
    pub(super) fn deferred(&self) -> usize {
        let watermarks = self.partitions.values().map(|ours| &ours.watermark);
        watermarks.map(Watermark::deferred).sum()
    }

    /// Returns how many items were read and are not done, deferred ones included.
    pub(super) fn unfinished(&self) -> usize {
        let watermarks = self.partitions.values().map(|ours| &ours.watermark);
        watermarks.map(Watermark::unfinished).sum()
    }

    /// Returns the timestamp of the oldest item that is not done, in milliseconds since the epoch.
    pub(super) fn oldest(&self) -> Option<i64> {
        let watermarks = self.partitions.values().map(|ours| &ours.watermark);
        watermarks.filter_map(Watermark::oldest).min()
    }
}

impl Partition {
    fn ticket<T>(&self, read: Read<'_, T>, lane: Lane, is_back: bool) -> Ticket<T> {
        Ticket {
            item: read.item,
            leave: self.leave.clone(),
            is_back,
            partition: read.partition,
            offset: read.offset,
            timestamp: read.timestamp,
            bytes: read.bytes,
            lane,
            epoch: self.epoch,
        }
    }
}

#[cfg(test)]
mod tests;
