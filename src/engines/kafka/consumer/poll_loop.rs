//! The poll loop of a consumer: takes records, starts those that may run, pauses and resumes partitions, drains.

use std::sync::Arc;
use std::time::{Duration, Instant};

use rdkafka::consumer::{CommitMode, Consumer as _, StreamConsumer};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use tokio::sync::oneshot;
use tokio::task::{JoinError, JoinSet};
use tokio::time::{MissedTickBehavior, interval, sleep, timeout_at};
use tokio_util::sync::CancellationToken;

use super::deferred;
use super::deferred::DeferredReader;
use super::group::Group;
use super::record_task::{Hold, RecordTask, RecordTasks};
use super::{Cause, ConsumerOptions, Error, Handler};
use crate::domain::time::span;
use crate::engines::clock::now;
use crate::engines::kafka::Record;
use crate::engines::telemetry::events;

/// Interval at which gauges are updated.
const TICK: Duration = Duration::from_secs(1);
/// Pause between two attempts to commit at the end.
const COMMIT_PAUSE: Duration = Duration::from_millis(100);
/// How long the memory may be full before the partitions pause.
const PAUSE_AFTER: Duration = Duration::from_secs(2);

pub(super) struct PollLoop<H> {
    options: ConsumerOptions,
    consumer: Arc<StreamConsumer<Group>>,
    deferred: DeferredReader,
    tasks: Arc<RecordTasks<H>>,
    running: JoinSet<()>,
    /// Why the partitions are paused; `None` if they are not.
    paused: Option<&'static str>,
    /// Since when the memory is full; `None` if it is not.
    full_since: Option<Instant>,
    stumbles: u32,
}

impl<H: Handler> PollLoop<H> {
    pub(super) fn new(
        options: ConsumerOptions,
        consumer: Arc<StreamConsumer<Group>>,
        deferred: DeferredReader,
        tasks: RecordTasks<H>,
    ) -> Self {
        Self {
            options,
            consumer,
            deferred,
            tasks: Arc::new(tasks),
            running: JoinSet::new(),
            paused: None,
            full_since: None,
            stumbles: 0,
        }
    }

    /// Runs until `stop`, or until the consumer fails for good.
    pub(super) async fn run(&mut self, stop: &CancellationToken) -> Result<(), Error> {
        let (consumer, tasks) = (self.consumer.clone(), self.tasks.clone());
        let mut ticks = interval(TICK);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let reader = self.deferred.aim(&consumer.context().schedule());
            let reader = reader.map_err(|source| Error {
                topic: self.options.topic.clone(),
                problem: "cannot read deferred records again",
                source: source.into(),
            })?;
            // All arms are cancel-safe: a message that `recv` has not returned stays in librdkafka's queue.
            tokio::select! {
                biased;
                () = stop.cancelled() => return Ok(()),
                Some(ran) = self.running.join_next() => pass_panic_on(ran),
                () = tasks.slots().freed() => {}
                _ = ticks.tick() => self.report_unfinished(),
                // Before the main reader, which may always have a record; this one is bounded and cannot starve it.
                received = deferred::next(reader.as_deref()) => match received {
                    Ok(record) => self.take_again(record),
                    Err(source) => self.stumble(source)?,
                },
                received = consumer.recv(), if self.may_receive() => match received {
                    Ok(message) => {
                        self.stumbles = 0;
                        self.group().schedule().take((&message).into());
                    }
                    Err(source) => self.stumble(source)?,
                },
            }
            self.start_what_may_run();
            self.pause_or_resume();
        }
    }

    fn group(&self) -> &Group {
        self.consumer.context()
    }

    fn take_again(&mut self, record: Record) {
        let mut schedule = self.consumer.context().schedule();
        if let Some((partition, offset)) = self.deferred.take(&mut schedule, record) {
            store(&self.consumer, &self.options.topic, partition, offset);
        }
    }

    fn start_what_may_run(&mut self) {
        while self.tasks.may_start(self.running.len()) {
            let (next, deferred_by_fuse) = {
                let mut schedule = self.group().schedule();
                (schedule.next(), schedule.deferred_by_fuse())
            };
            let Some(ticket) = next else {
                return;
            };
            let hold = Hold::of(ticket.is_back, deferred_by_fuse);
            let (tasks, consumer) = (self.tasks.clone(), self.consumer.clone());
            self.running.spawn(async move {
                let (record, group) = (&ticket.record, consumer.context());
                let task = RecordTask {
                    record,
                    hold,
                    on_hold: &|| group.schedule().hold(&ticket),
                    leave: &ticket.leave,
                };
                let settled = tasks.settle(&task).await;
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

    /// Pauses the partitions while [`Self::pause_cause`] returns one, and goes on polling: a consumer that does not
    /// poll is removed from its group.
    fn pause_or_resume(&mut self) {
        let cause = self.pause_cause();
        // A reassigned partition comes back paused or not, as it was when it was revoked: so pause or resume it again.
        let was_reassigned = self.group().was_reassigned();
        if cause == self.paused && !was_reassigned {
            return;
        }
        let done = self.consumer.assignment().and_then(|all| match cause {
            Some(_) => self.consumer.pause(&all),
            None => self.consumer.resume(&all),
        });
        if let Err(error) = done {
            tracing::debug!(%error, cause, "partitions not paused or resumed");
            return;
        }
        if cause == self.paused {
            return;
        }
        for (cause, paused) in [(self.paused, false), (cause, true)] {
            if let Some(cause) = cause {
                events::consumer_paused(&self.options.topic, cause, paused);
            }
        }
        self.paused = cause;
    }

    /// Returns why the partitions should be paused: the concurrency limit is low, or the memory has been full for a
    /// while. A full memory does not pause them at once, because a pause makes librdkafka discard the records that it
    /// has fetched.
    fn pause_cause(&mut self) -> Option<&'static str> {
        let paused = self.paused.is_some();
        let (is_full, is_empty) = {
            let schedule = self.group().schedule();
            (schedule.is_full(paused), schedule.taken() == 0)
        };
        self.full_since = is_full.then(|| self.full_since.unwrap_or_else(Instant::now));
        // With no records in memory, no success could ever raise the limit.
        let limited = self.tasks.pauses(paused).filter(|_| !is_empty);
        let is_full_long = |since: Instant| paused || since.elapsed() > PAUSE_AFTER;
        let full = self.full_since.filter(|since| is_full_long(*since));
        limited.map(Cause::as_str).or(full.map(|_| "full"))
    }

    fn report_unfinished(&self) {
        let topic = &self.options.topic;
        let (count, oldest) = {
            let schedule = self.group().schedule();
            (schedule.unfinished(), schedule.oldest())
        };
        events::records_in_flight(topic, count);
        let written = oldest.filter(|millis| *millis >= 0);
        let age = written.map(|written| span(written, now()));
        events::oldest_unfinished(topic, age.unwrap_or_default());
    }

    fn stumble(&mut self, source: KafkaError) -> Result<(), Error> {
        let topic = &self.options.topic;
        if let Some((_, reason)) = self.consumer.client().fatal_error() {
            tracing::error!(reason, "the consumer failed and cannot recover");
            return Err(Error {
                topic: topic.clone(),
                problem: "failed and cannot recover",
                source: source.into(),
            });
        }
        self.stumbles += 1;
        let what = format!("topic {topic} or group {}", self.options.group);
        self.group().connection().note_denied(&what, &source);
        events::consumer_stumbled(topic, &source, self.stumbles);
        Ok(())
    }

    /// Finishes the records that run, commits, and leaves the group. Records that only wait are left to the next owner.
    pub(super) async fn drain(mut self) {
        while let Some(ran) = self.running.join_next().await {
            pass_panic_on(ran);
        }
        let (consumer, reader) = (self.consumer, self.deferred.into_consumer());
        let (topic, until) = (
            self.options.topic,
            tokio::time::Instant::now() + self.options.leaves_within,
        );
        timeout_at(until, commit_all(&consumer)).await.ok();
        // This leaves the group, unless the member is static: then its successor takes over its partitions. It blocks on the
        // brokers, and after the crash of another member until that member's session times out.
        let closing = on_a_thread(move || drop((consumer, reader)));
        if timeout_at(until, closing).await.is_err() {
            tracing::info!(
                topic,
                "stopped without leaving the group: the brokers did not answer in time, perhaps during a rebalance"
            );
        }
    }
}

/// Commits what is done. While the members join the next generation of the group, the brokers refuse commits of the one
/// before; then this polls, so that this member joins too, and drops what it receives: nothing more is handled.
async fn commit_all(consumer: &Arc<StreamConsumer<Group>>) {
    loop {
        let committing = consumer.clone();
        let commit = on_a_thread(move || committing.commit_consumer_state(CommitMode::Sync));
        match commit.await {
            Some(Err(KafkaError::ConsumerCommit(RDKafkaErrorCode::NoOffset))) => return,
            Some(Err(error)) => tracing::debug!(%error, "no commit yet before leaving the group"),
            Some(Ok(())) | None => return,
        }
        let pause = sleep(COMMIT_PAUSE);
        tokio::pin!(pause);
        loop {
            tokio::select! {
                () = &mut pause => break,
                _ = consumer.recv() => {}
            }
        }
    }
}

/// Makes a call that blocks on the brokers; `None` if it panics. It runs on a thread and not in a blocking task, because the
/// runtime would wait for the task at its shutdown.
pub(super) async fn on_a_thread<T: Send + 'static>(
    call: impl FnOnce() -> T + Send + 'static,
) -> Option<T> {
    let (done, answer) = oneshot::channel();
    std::thread::spawn(move || done.send(call()).ok());
    answer.await.ok()
}

/// Stores the last offset that may be committed. librdkafka commits the one after it, which is the next to read, in the
/// background.
fn store(consumer: &StreamConsumer<Group>, topic: &str, partition: i32, offset: i64) {
    if let Err(error) = consumer.store_offset(topic, partition, offset) {
        // The partition was just revoked: its new owner reads the record again.
        tracing::debug!(partition, offset, %error, "offset not stored");
    }
}

/// Passes on a panic outside the handler. The record's task is gone, so its offset would never be committed: it is
/// better that the process ends.
fn pass_panic_on(ran: Result<(), JoinError>) {
    if let Err(error) = ran
        && error.is_panic()
    {
        std::panic::resume_unwind(error.into_panic());
    }
}
