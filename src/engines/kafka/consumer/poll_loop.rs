//! The poll loop of a consumer: takes records, starts those that may run, pauses and resumes partitions, drains.

use std::sync::Arc;
use std::time::{Duration, Instant};

use rdkafka::consumer::{CommitMode, Consumer as _, StreamConsumer};
use rdkafka::error::KafkaError;
use rdkafka::message::{BorrowedMessage, Message as _};
use tokio::sync::oneshot;
use tokio::task::{JoinError, JoinSet};
use tokio::time::{MissedTickBehavior, interval, timeout};
use tokio_util::sync::CancellationToken;

use super::group::{Context, Group};
use super::schedule::{Read, Schedule};
use super::{Error, Handler, Options, detach};
use crate::domain::time::span;
use crate::engines::clock::now;
use crate::engines::kafka::Record;
use crate::engines::kafka::consumer::bytes_held::{BytesHeld, HeldRecord};
use crate::engines::kafka::consumer::deferred;
use crate::engines::kafka::consumer::deferred::DeferredReader;
use crate::engines::kafka::consumer::key_order::Share;
use crate::engines::kafka::consumer::record_task::{Hold, RecordTasks};
use crate::engines::telemetry::events;

/// Most records in memory per slot.
const TAKEN_PER_SLOT: usize = 64;
/// Most bytes of records in memory, over all slots. librdkafka's fetch queue is not included.
const TAKEN_BYTES: usize = 64 * 1024 * 1024;
/// One key may have a sixteenth of both; its further records are deferred.
const SHARE: usize = 16;
/// Number of deferred records at which the partitions pause. Each takes about 100 bytes of memory.
const MOST_DEFERRED: usize = 1_000_000;
/// Interval at which gauges are updated.
const TICK: Duration = Duration::from_secs(1);
/// How long the memory may be full before the partitions pause.
const PAUSE_AFTER: Duration = Duration::from_secs(2);
/// How long leaving the group may take at the end.
const CLOSE_TIME: Duration = Duration::from_secs(2);

/// Creates the schedule of a consumer.
pub(super) fn schedule<T>(options: &Options, stop: CancellationToken) -> Schedule<T> {
    let bytes = TAKEN_BYTES / SHARE;
    let share = Share {
        items: (options.concurrency * TAKEN_PER_SLOT / SHARE).max(1),
        bytes,
    };
    let back = Share {
        items: options.concurrency,
        bytes,
    };
    Schedule::new(share, back, stop)
}

pub(super) struct PollLoop<H> {
    options: Options,
    consumer: Arc<StreamConsumer<Context<HeldRecord>>>,
    group: Arc<Group<HeldRecord>>,
    running: JoinSet<()>,
    tasks: Arc<RecordTasks<H>>,
    reread: DeferredReader,
    load: BytesHeld,
    /// The bytes of records that are read again; these have bounds of their own.
    load_again: BytesHeld,
    /// Why the partitions are paused; `None` if they are not.
    paused: Option<&'static str>,
    /// Since when the memory is full; `None` if it is not.
    full_since: Option<Instant>,
    stumbles: u32,
}

impl<H: Handler> PollLoop<H> {
    pub(super) fn new(
        options: Options,
        consumer: Arc<StreamConsumer<Context<HeldRecord>>>,
        group: Arc<Group<HeldRecord>>,
        tasks: Arc<RecordTasks<H>>,
        reread: DeferredReader,
    ) -> Self {
        Self {
            options,
            consumer,
            group,
            running: JoinSet::new(),
            tasks,
            reread,
            load: BytesHeld::default(),
            load_again: BytesHeld::default(),
            paused: None,
            full_since: None,
            stumbles: 0,
        }
    }

    /// Runs until `stop`, or until the consumer fails for good.
    pub(super) async fn until(&mut self, stop: &CancellationToken) -> Result<(), Error> {
        let (consumer, tasks) = (self.consumer.clone(), self.tasks.clone());
        let mut ticks = interval(TICK);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let reader = self.reader()?;
            // All arms are cancel-safe: a message that `recv` has not returned stays in librdkafka's queue.
            tokio::select! {
                biased;
                () = stop.cancelled() => return Ok(()),
                Some(ran) = self.running.join_next() => went_on(ran),
                () = tasks.slots().freed() => {}
                _ = ticks.tick() => self.report_load(),
                // Before the main reader, which may always have a record; this one is bounded and cannot starve it.
                received = deferred::next(reader.as_deref()) => match received {
                    Ok(record) => self.take_again(record),
                    Err(source) => self.stumble(source)?,
                },
                received = consumer.recv(), if self.may_receive() => match received {
                    Ok(message) => self.take(&message),
                    Err(source) => self.stumble(source)?,
                },
            }
            self.start_what_may_run();
            self.pause_or_resume();
        }
    }

    fn take(&mut self, message: &BorrowedMessage<'_>) {
        self.stumbles = 0;
        let record = detach(message);
        let timestamp = record.timestamp;
        let item = self.load.take(record);
        self.group.schedule().take(Read {
            partition: message.partition(),
            offset: message.offset(),
            key: message.key(),
            timestamp,
            bytes: item.bytes(),
            item,
        });
    }

    /// Returns the second reader while it has something to read.
    fn reader(&mut self) -> Result<Option<Arc<StreamConsumer>>, Error> {
        let aimed = self.reread.aim(&self.group.schedule());
        aimed.map_err(|source| Error::Client {
            topic: self.options.topic.clone(),
            source,
        })
    }

    fn take_again(&mut self, record: Record) {
        let topic = &self.options.topic;
        let taken = self.load_again.take(record);
        let mut schedule = self.group.schedule();
        let found = self.reread.take(&mut schedule, taken);
        if found.gone > 0 {
            tracing::error!(
                topic,
                records = found.gone,
                "the topic's retention removed these records before they were handled: they are lost"
            );
        }
        if let Some((partition, offset)) = found.reached {
            store(&self.consumer, topic, partition, offset);
        }
    }

    fn start_what_may_run(&mut self) {
        loop {
            let (running, slots) = (self.running.len(), self.tasks.slots());
            if running.saturating_sub(slots.aside()) >= self.options.concurrency
                || running.saturating_sub(slots.resting()) >= self.tasks.concurrency().limit()
            {
                return;
            }
            let (next, deferred) = {
                let mut schedule = self.group.schedule();
                (schedule.next(), schedule.deferred())
            };
            let Some(ticket) = next else {
                return;
            };
            let hold = Hold::of(ticket.is_back, deferred);
            let (tasks, group, consumer) = (
                self.tasks.clone(),
                self.group.clone(),
                self.consumer.clone(),
            );
            self.running.spawn(async move {
                let record = &ticket.item.record;
                let settled = tasks.settle(record, hold, &ticket.leave).await;
                group.finish(&ticket, settled, |partition, offset| {
                    store(&consumer, &record.position.topic, partition, offset);
                });
            });
        }
    }

    /// While the memory is full, nothing more is received. Once the partitions are paused, polling goes on: it returns
    /// no records, but it keeps the consumer in its group.
    fn may_receive(&self) -> bool {
        self.full_since.is_none() || self.paused.is_some()
    }

    /// Pauses the partitions when the memory has been full for a while or the concurrency limit is low, and then goes on
    /// polling: a consumer that does not poll is removed from its group. A full memory does not pause them at once,
    /// because a pause makes librdkafka discard the records that it has fetched.
    fn pause_or_resume(&mut self) {
        let most = self.options.concurrency * TAKEN_PER_SLOT;
        let (taken, deferred) = {
            let schedule = self.group.schedule();
            (schedule.taken(), schedule.deferred())
        };
        let fresh = self.group.take_note_of_change();
        let paused = self.paused.is_some();
        // Resumes at half of each bound, so that it does not pause again after one record.
        let part = if paused { 2 } else { 1 };
        let is_full = taken * part >= most
            || self.load.bytes() * part >= TAKEN_BYTES
            || deferred * part >= MOST_DEFERRED;
        self.full_since = is_full.then(|| self.full_since.unwrap_or_else(Instant::now));
        let full = self
            .full_since
            .is_some_and(|since| paused || since.elapsed() > PAUSE_AFTER);
        // With no records in memory, no success could ever raise the limit.
        let limited = self
            .tasks
            .concurrency()
            .pauses(paused)
            .filter(|_| taken > 0);
        let why = match limited {
            Some(cause) => Some(cause.as_str()),
            None => full.then_some("full"),
        };
        // A reassigned partition comes back paused or not, as it was when it was revoked: so pause or resume it again.
        if why == self.paused && !fresh {
            return;
        }
        let done = self.consumer.assignment().and_then(|all| match why {
            Some(_) => self.consumer.pause(&all),
            None => self.consumer.resume(&all),
        });
        if let Err(error) = done {
            tracing::debug!(%error, why, "partitions not paused or resumed");
            return;
        }
        if let Some(before) = self.paused.filter(|before| why != Some(before)) {
            self.report_pause(before, false);
        }
        if let Some(now) = why.filter(|now| self.paused != Some(now)) {
            self.report_pause(now, true);
        }
        self.paused = why;
    }

    fn report_pause(&self, cause: &'static str, paused: bool) {
        events::consumer_paused(&self.options.topic, cause, paused);
    }

    fn report_load(&self) {
        let topic = &self.options.topic;
        let (count, oldest) = {
            let schedule = self.group.schedule();
            (schedule.unfinished(), schedule.oldest())
        };
        events::records_in_flight(topic, count);
        let written = oldest.filter(|millis| *millis >= 0);
        let age = written.map(|written| span(written, now()));
        events::oldest_unfinished(topic, age.unwrap_or_default());
    }

    fn stumble(&mut self, source: KafkaError) -> Result<(), Error> {
        if let Some((_, reason)) = self.consumer.client().fatal_error() {
            tracing::error!(reason, "the consumer failed and cannot recover");
            return Err(Error::Fatal {
                topic: self.options.topic.clone(),
                source,
            });
        }
        self.stumbles += 1;
        events::consumer_stumbled(&self.options.topic, &source, self.stumbles);
        Ok(())
    }

    /// Finishes the records that run, commits, and leaves the group. Records that only wait are left to the next owner.
    pub(super) async fn drain(mut self) {
        while let Some(ran) = self.running.join_next().await {
            went_on(ran);
        }
        let (consumer, reader) = (self.consumer, self.reread.into_consumer());
        let (done, closed) = oneshot::channel::<()>();
        // This blocks on the brokers, and after the crash of another member until that member's session times out. It
        // runs on a thread and not in a blocking task, because the runtime would wait for the task at its shutdown.
        std::thread::spawn(move || {
            if let Err(error) = consumer.commit_consumer_state(CommitMode::Sync) {
                tracing::debug!(%error, "no commit before leaving the group");
            }
            consumer.unsubscribe();
            drop((consumer, reader));
            drop(done);
        });
        if timeout(CLOSE_TIME, closed).await.is_err() {
            let topic = self.options.topic;
            tracing::info!(
                topic,
                "stopped without leaving the group: the group is rebalancing and did not answer in time"
            );
        }
    }
}

/// Stores an offset; librdkafka commits it in the background.
fn store(consumer: &StreamConsumer<Context<HeldRecord>>, topic: &str, partition: i32, offset: i64) {
    if let Err(error) = consumer.store_offset(topic, partition, offset) {
        // The partition was just revoked: its new owner reads the record again.
        tracing::debug!(partition, offset, %error, "offset not stored");
    }
}

/// Passes on a panic outside the handler. The record's task is gone, so its offset would never be committed: it is
/// better that the process ends.
fn went_on(ran: Result<(), JoinError>) {
    if let Err(error) = ran
        && error.is_panic()
    {
        std::panic::resume_unwind(error.into_panic());
    }
}
