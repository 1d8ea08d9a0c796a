//! Decides what may run now and which offset may be committed: combines partitions, key order and watermarks; pure.
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

use super::bounds::{Amount, Bounds, MOST_DEFERRED};
use super::key_order::{KeyOrder, Lane};
use super::record_task::Settled;
use super::watermark::{Deferred, Watermark};
use crate::engines::kafka::Record;

/// A record, and the assignment under which it was read.
#[derive(Debug)]
pub(super) struct Ticket {
    pub(super) record: Record,
    /// Cancelled when the partition is being revoked or the consumer stops: a record that waits for a retry is then
    /// abandoned.
    pub(super) leave: CancellationToken,
    /// Whether it was deferred and has been read again.
    pub(super) is_back: bool,
    bytes: usize,
    lane: Lane,
    epoch: u64,
}

#[derive(Debug)]
struct Partition {
    epoch: u64,
    watermark: Watermark,
    running: usize,
    /// The records in memory that were read again.
    read_again: Amount,
    leave: CancellationToken,
}

/// The partitions assigned to us, and the records taken from them.
#[derive(Debug)]
pub(super) struct Schedule {
    stop: CancellationToken,
    bounds: Bounds,
    /// Number of assignments so far; the number of each is its epoch.
    epochs: u64,
    partitions: HashMap<i32, Partition>,
    key_order: KeyOrder<Ticket>,
    /// The records in memory, without those that were read again.
    taken: Amount,
}

impl Schedule {
    /// Creates a schedule without partitions. After `stop`, nothing more starts.
    pub(super) fn new(bounds: Bounds, stop: CancellationToken) -> Self {
        Self {
            stop,
            bounds,
            epochs: 0,
            partitions: HashMap::new(),
            key_order: KeyOrder::new(bounds.key),
            taken: Amount::default(),
        }
    }

    /// Adds partitions; returns how many there are now.
    pub(super) fn gain(&mut self, partitions: impl Iterator<Item = i32>) -> usize {
        for partition in partitions {
            self.begin(partition);
        }
        self.partitions.len()
    }

    /// Starts nothing more on partitions that are being revoked; records that run may still finish.
    pub(super) fn close(&self, partitions: &[i32]) {
        for partition in partitions {
            if let Some(partition) = self.partitions.get(partition) {
                partition.leave.cancel();
            }
        }
    }

    /// Removes partitions; returns how many remain.
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
            epoch: self.epochs,
            watermark: Watermark::default(),
            running: 0,
            read_again: Amount::default(),
            leave: self.stop.child_token(),
        };
        self.partitions.insert(partition, gained);
    }

    fn end(&mut self, partition: i32) {
        if let Some(lost) = self.partitions.remove(&partition) {
            lost.leave.cancel();
        }
        for ticket in self.key_order.forget(partition) {
            self.forget(&ticket);
        }
    }

    /// Returns how many records run on `partitions`.
    pub(super) fn running(&self, partitions: &[i32]) -> usize {
        let ours = partitions.iter().filter_map(|it| self.partitions.get(it));
        ours.map(|partition| partition.running).sum()
    }

    /// Takes or defers a record that was read; ignores it if its partition is no longer ours.
    pub(super) fn take(&mut self, record: Record) {
        let (partition, offset) = (record.position.partition, record.position.offset);
        match self.partitions.get(&partition) {
            Some(ours) if ours.watermark.rises_to(offset) => {}
            // The offset fell: the topic was deleted and created again.
            Some(_) => self.begin(partition),
            None => return,
        }
        let lane = self.key_order.of(partition, record.key.as_deref(), offset);
        let Some(ours) = self.partitions.get_mut(&partition) else {
            return;
        };
        if self.key_order.is_full(lane) {
            ours.defer(&record, lane);
            self.key_order.defer(lane);
            return;
        }
        ours.watermark.take(offset, record.timestamp);
        let ticket = ours.ticket(record, lane, false);
        self.taken.add(ticket.bytes);
        self.key_order.push(lane, ticket.bytes, ticket);
    }

    /// Takes a deferred record that was read again, if it is the first deferred one of its partition.
    pub(super) fn resume(&mut self, record: Record) {
        let Some(ours) = self.partitions.get_mut(&record.position.partition) else {
            return;
        };
        let Some(Deferred { lane, .. }) = ours.watermark.resume(record.position.offset) else {
            return;
        };
        let ticket = ours.ticket(record, lane, true);
        ours.read_again.add(ticket.bytes);
        self.key_order.push(lane, ticket.bytes, ticket);
        self.key_order.resume(lane);
    }

    /// Returns where to read again: the first deferred offset of the next partition after `last`, in turn, that has
    /// deferred records and uses less than half of its share.
    pub(super) fn next_deferred(&self, last: Option<i32>) -> Option<(i32, i64)> {
        let partitions = self.partitions.iter().filter_map(|(&number, ours)| {
            let offset = ours.deferred_with_room(ours.read_again.doubled(), self.bounds)?;
            Some((Some(number) <= last, number, offset))
        });
        let (_, number, offset) = partitions.min()?;
        Some((number, offset))
    }

    /// Returns the first deferred offset of a partition if there is room for it.
    pub(super) fn first_deferred(&self, partition: i32) -> Option<i64> {
        let ours = self.partitions.get(&partition)?;
        ours.deferred_with_room(ours.read_again, self.bounds)
    }

    /// Notes that the deferred records of a range are no longer on the topic. Returns their number, and the last offset
    /// that may be committed if that rose.
    pub(super) fn gone(&mut self, partition: i32, range: Range<i64>) -> (usize, Option<i64>) {
        let Some(ours) = self.partitions.get_mut(&partition) else {
            return (0, None);
        };
        let gone = ours.watermark.deferred_in(range);
        let mut reached = None;
        for &(offset, lane) in &gone {
            reached = ours.watermark.finish(offset).or(reached);
            self.key_order.resume(lane);
        }
        (gone.len(), reached)
    }

    /// Returns the next record that may run; drops records whose partition was revoked.
    pub(super) fn next(&mut self) -> Option<Ticket> {
        loop {
            let ticket = self.key_order.next()?;
            match assigned(&mut self.partitions, &ticket) {
                Some(ours) if !ours.leave.is_cancelled() => {
                    ours.running += 1;
                    return Some(ticket);
                }
                Some(_) | None => {
                    self.key_order.done(ticket.lane, ticket.bytes);
                    self.forget(&ticket);
                }
            }
        }
    }

    /// Notes that the fuse holds a record that runs.
    pub(super) fn hold(&mut self, ticket: &Ticket) {
        self.key_order.hold(ticket.lane);
    }

    /// Notes how a record ended. Returns the partition and the last offset that may be committed, if that rose.
    pub(super) fn finish(&mut self, ticket: &Ticket, settled: Settled) -> Option<(i32, i64)> {
        match settled {
            Settled::Deferred => self.defer(ticket),
            Settled::Done => self.key_order.release(ticket.lane),
            Settled::Abandoned => {}
        }
        self.key_order.done(ticket.lane, ticket.bytes);
        self.forget(ticket);
        let ours = assigned(&mut self.partitions, ticket)?;
        ours.running -= 1;
        if settled != Settled::Done {
            return None;
        }
        let position = &ticket.record.position;
        let reached = ours.watermark.finish(position.offset)?;
        Some((position.partition, reached))
    }

    /// Defers a record that ran, and all records that wait in its lane.
    fn defer(&mut self, ticket: &Ticket) {
        let Some(ours) = assigned(&mut self.partitions, ticket) else {
            return;
        };
        let waiting = self.key_order.take_waiting(ticket.lane);
        for Ticket { record, lane, .. } in waiting.iter().chain([ticket]) {
            ours.defer(record, *lane);
            self.key_order.defer(*lane);
        }
        for waited in &waiting {
            self.forget(waited);
        }
    }

    /// Stops counting a record that leaves the memory.
    fn forget(&mut self, ticket: &Ticket) {
        if !ticket.is_back {
            self.taken.remove(ticket.bytes);
        } else if let Some(ours) = assigned(&mut self.partitions, ticket) {
            ours.read_again.remove(ticket.bytes);
        }
    }

    /// Returns whether the bound of records in memory, or of deferred ones, is reached. While the partitions are
    /// `paused`, half of it counts, so that they do not pause again after one record.
    pub(super) fn is_full(&self, paused: bool) -> bool {
        let (taken, deferred) = match paused {
            true => (self.taken.doubled(), self.deferred() * 2),
            false => (self.taken, self.deferred()),
        };
        taken.reaches(self.bounds.taken) || deferred >= MOST_DEFERRED
    }

    /// Returns how many records are in memory, without those that were read again.
    pub(super) fn taken(&self) -> usize {
        self.taken.records
    }

    pub(super) fn deferred(&self) -> usize {
        self.watermarks().map(Watermark::deferred).sum()
    }

    /// Returns how many deferred records wait for the fuse.
    pub(super) fn deferred_by_fuse(&self) -> usize {
        self.key_order.deferred_by_fuse()
    }

    /// Returns how many records were read and are not done, deferred ones included.
    pub(super) fn unfinished(&self) -> usize {
        self.watermarks().map(Watermark::unfinished).sum()
    }

    /// Returns the timestamp of the oldest record that is not done, in milliseconds since the epoch.
    pub(super) fn oldest(&self) -> Option<i64> {
        self.watermarks().filter_map(Watermark::oldest).min()
    }

    fn watermarks(&self) -> impl Iterator<Item = &Watermark> {
        self.partitions.values().map(|ours| &ours.watermark)
    }
}

impl Partition {
    fn ticket(&self, record: Record, lane: Lane, is_back: bool) -> Ticket {
        Ticket {
            bytes: record.bytes(),
            record,
            leave: self.leave.clone(),
            is_back,
            lane,
            epoch: self.epoch,
        }
    }

    fn defer(&mut self, record: &Record, lane: Lane) {
        let timestamp = record.timestamp;
        let deferred = Deferred { lane, timestamp };
        self.watermark.defer(record.position.offset, deferred);
    }

    /// Returns the first deferred offset, unless `read_again` fills its bound or the partition is being revoked.
    fn deferred_with_room(&self, read_again: Amount, bounds: Bounds) -> Option<i64> {
        let first = self.watermark.first_deferred();
        first.filter(|_| !read_again.reaches(bounds.read_again) && !self.leave.is_cancelled())
    }
}

/// Returns the partition of a record if the assignment under which it was read is still current.
fn assigned<'p>(
    partitions: &'p mut HashMap<i32, Partition>,
    ticket: &Ticket,
) -> Option<&'p mut Partition> {
    let ours = partitions.get_mut(&ticket.record.position.partition);
    ours.filter(|ours| ours.epoch == ticket.epoch)
}

#[cfg(test)]
mod tests;
