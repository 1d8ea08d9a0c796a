//! Processes one record until it is handled, dead-lettered, deferred, or abandoned at a stop or a revoke.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use futures::FutureExt as _;
use parking_lot::{Mutex, MutexGuard};
use rand::RngExt as _;
use tokio_util::sync::CancellationToken;
use tracing::Instrument as _;

use super::concurrency_limit::ConcurrencyLimit;
use super::fuse::Fuse;
use super::slots::Slots;
use super::{Cause, ConsumerOptions, Failed, Failure, Handler, Rejection, dead_letter};
use crate::domain::ErrorCode;
use crate::domain::error_chain::causes;
use crate::engines::health::Health;
use crate::engines::kafka::Record;
use crate::engines::kafka::producer::Producer;
use crate::engines::telemetry::{events, spans};

/// The result of processing one record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Settled {
    /// Its offset may be committed.
    Done,
    /// A stop or a revoke came while it waited for a retry: the next owner of the partition reads it again.
    Abandoned,
    /// The fuse holds it: it is read again later.
    Deferred,
}

/// What happens to a record that the fuse refuses to dead-letter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Hold {
    /// It is deferred.
    Later,
    /// It waits in memory and is retried: it was deferred before and has been read again.
    Here,
    /// It is dead-lettered nevertheless, because too many records wait for the fuse already.
    Never,
}

/// While this many deferred records wait for the fuse, it holds no more.
///
/// A blown fuse lets one record pass every ten seconds ([`TRIAL`](super::fuse::TRIAL)), so this many pass in six days.
/// That is less than the topics' default retention of seven days, so none expires while it waits.
const MOST_HELD: usize = 50_000;

impl Hold {
    /// Decides for a record; `is_back` says whether it was deferred before, `held` is the number of deferred records
    /// that wait for the fuse.
    pub(super) fn of(is_back: bool, held: usize) -> Self {
        match is_back {
            _ if held >= MOST_HELD => Self::Never,
            true => Self::Here,
            false => Self::Later,
        }
    }
}

const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(10);
/// A record on which our own code panics this many times is dead-lettered: a bug of ours must not block a partition.
const PANICS: u32 = 5;

/// Processes the records of a consumer.
pub(super) struct RecordTasks<H> {
    options: ConsumerOptions,
    producer: Arc<Producer>,
    handler: H,
    health: Arc<Health>,
    slots: Slots,
    state: Mutex<SharedState>,
    /// Number of records that failed at least once and are being retried. It is locked while the role's health changes,
    /// which may write a log line. The poll loop never takes this lock, so it does not wait for that.
    retried: Mutex<usize>,
}

/// State that all running records share.
struct SharedState {
    concurrency: ConcurrencyLimit,
    fuse: Fuse,
}

/// One record that is being processed.
pub(super) struct RecordTask<'t> {
    pub(super) record: &'t Record,
    pub(super) hold: Hold,
    /// Called when the fuse holds the record.
    pub(super) on_hold: &'t (dyn Fn() + Sync),
    /// Ends the wait for a retry.
    pub(super) leave: &'t CancellationToken,
}

impl<H: Handler> RecordTasks<H> {
    pub(super) fn new(
        options: ConsumerOptions,
        producer: Arc<Producer>,
        handler: H,
        health: Arc<Health>,
    ) -> Self {
        let state = SharedState {
            concurrency: ConcurrencyLimit::new(options.concurrency),
            fuse: Fuse::new(options.fuse),
        };
        Self {
            options,
            producer,
            handler,
            health,
            slots: Slots::default(),
            state: Mutex::new(state),
            retried: Mutex::default(),
        }
    }

    pub(super) fn slots(&self) -> &Slots {
        &self.slots
    }

    /// Returns whether another record may start while `running` records run.
    pub(super) fn may_start(&self, running: usize) -> bool {
        running.saturating_sub(self.slots.released()) < self.options.concurrency
            && running.saturating_sub(self.slots.resting()) < self.state().concurrency.limit()
    }

    /// Returns why the partitions should pause; `None` if they should not.
    pub(super) fn pauses(&self, paused: bool) -> Option<Cause> {
        self.state().concurrency.pauses(paused)
    }

    /// Processes the record until it is done, deferred, or abandoned.
    pub(super) async fn settle(&self, task: &RecordTask<'_>) -> Settled {
        let record = task.record;
        let group = &self.options.group;
        let span = spans::record(&record.position, group, record.traceparent());
        let began = Instant::now();
        if let Err(unsettled) = self.until_done(task).instrument(span).await {
            return unsettled;
        }
        events::record_handled(&self.options.topic, began.elapsed());
        Settled::Done
    }

    async fn until_done(&self, task: &RecordTask<'_>) -> Result<(), Settled> {
        match self.until_decided(task).await? {
            Some(rejection) => self.dead_letter(task, &rejection).await,
            None => Ok(()),
        }
    }

    /// Calls the handler until the record is handled (`None`) or rejected.
    async fn until_decided(&self, task: &RecordTask<'_>) -> Result<Option<Rejection>, Settled> {
        let panics = AtomicU32::new(0);
        self.persist(task, || async {
            let handling = self.handler.handle(task.record, &self.slots);
            match caught(handling, &panics).await? {
                Some(Ok(())) => {
                    self.state().fuse.reset();
                    Ok(None)
                }
                Some(Err(Failure::Reject(rejection))) => self.pass_fuse(rejection, task.hold),
                Some(Err(Failure::Retry(cause, error))) => Err((cause, error)),
                None => {
                    let error = format!("the handler panicked {PANICS} times");
                    self.pass_fuse(Rejection::new(ErrorCode::StartRefused, error), task.hold)
                }
            }
        })
        .await
    }

    /// Returns the rejection if the fuse lets it pass, or must hold no more records.
    fn pass_fuse(&self, rejection: Rejection, hold: Hold) -> Result<Option<Rejection>, Failed> {
        let Rejection { reason, fault, .. } = rejection;
        let passes = self.state().fuse.lets_pass(reason, fault, Instant::now());
        if passes || hold == Hold::Never {
            return Ok(Some(rejection));
        }
        let why = format!(
            "DLQ_FUSE: {} records in a row were rejected as {}: this deployment may be at fault, not the records",
            self.options.fuse,
            reason.as_str()
        );
        Err((Cause::Fuse, why.into()))
    }

    async fn dead_letter(
        &self,
        task: &RecordTask<'_>,
        rejection: &Rejection,
    ) -> Result<(), Settled> {
        let ConsumerOptions { dlq, group, .. } = &self.options;
        self.persist(task, || async {
            let publishing =
                dead_letter::publish(&self.producer, dlq, group, task.record, rejection);
            let published = publishing.await;
            published.map_err(|error| (Cause::KafkaUnavailable, error))
        })
        .await?;
        let position = &task.record.position;
        spans::failed(rejection.reason.as_str());
        events::record_rejected(position, rejection.reason, rejection.error.as_ref());
        let panics = AtomicU32::new(0);
        self.persist(task, || async {
            let notifying = self.handler.dead_lettered(task.record, rejection);
            match caught(notifying, &panics).await? {
                Some(notified) => notified,
                // The record is dead-lettered. A missing `REJECTED` event is better than a blocked partition.
                None => Ok(()),
            }
        })
        .await
    }

    /// Retries `attempt` with growing pauses until it succeeds, the record is deferred, or `leave` ends a pause.
    async fn persist<T, F>(
        &self,
        task: &RecordTask<'_>,
        attempt: impl Fn() -> F,
    ) -> Result<T, Settled>
    where
        F: Future<Output = Result<T, Failed>>,
    {
        let mut retried = None;
        for tries in 1.. {
            let (cause, error) = match attempt().await {
                Ok(value) => {
                    self.state().concurrency.succeeded();
                    return Ok(value);
                }
                Err(failed) => failed,
            };
            if cause == Cause::Fuse {
                (task.on_hold)();
                if task.hold == Hold::Later {
                    return Err(Settled::Deferred);
                }
            }
            if cause.is_eased_by_lower_concurrency() {
                self.state().concurrency.failed(cause);
            }
            retried
                .get_or_insert_with(|| RetriedRecord::new(self))
                .report(cause, error.as_ref());
            let position = &task.record.position;
            events::record_held(position, cause.as_str(), error.as_ref(), tries);
            let _rest = self.slots.rest(cause.spares_others());
            tokio::select! {
                () = tokio::time::sleep(pause(tries)) => {}
                () = task.leave.cancelled() => break,
            }
        }
        Err(Settled::Abandoned)
    }
}

impl<H> RecordTasks<H> {
    fn state(&self) -> MutexGuard<'_, SharedState> {
        self.state.lock()
    }
}

/// Awaits a call of the handler. A panic fails the attempt, and the last one that is allowed returns `None`.
async fn caught<T>(call: impl Future<Output = T>, panics: &AtomicU32) -> Result<Option<T>, Failed> {
    match AssertUnwindSafe(call).catch_unwind().await {
        Ok(value) => Ok(Some(value)),
        Err(_) if panics.fetch_add(1, Ordering::Relaxed) + 1 < PANICS => {
            Err((Cause::Panicked, "the handler panicked".into()))
        }
        Err(_) => Ok(None),
    }
}

/// A guard that counts a record as being retried; when the last guard is dropped, the role is ready again.
struct RetriedRecord<'a, H>(&'a RecordTasks<H>);

impl<'a, H> RetriedRecord<'a, H> {
    fn new(tasks: &'a RecordTasks<H>) -> Self {
        *tasks.retried.lock() += 1;
        Self(tasks)
    }

    fn report(&self, cause: Cause, error: &(dyn std::error::Error + 'static)) {
        let RecordTasks {
            health, options, ..
        } = self.0;
        // Under the lock, so that a concurrent drop of another one cannot set the role ready after this.
        let _retried = self.0.retried.lock();
        if cause.is_systemic() {
            health.not_ready(options.role, &format!("holds records: {}", causes(error)));
        }
    }
}

impl<H> Drop for RetriedRecord<'_, H> {
    fn drop(&mut self) {
        let RecordTasks {
            health, options, ..
        } = self.0;
        let mut retried = self.0.retried.lock();
        *retried -= 1;
        if *retried == 0 {
            health.ready(options.role);
        }
    }
}

/// Returns the pause before the next attempt: doubles from 100 ms to 10 s, with a jitter of ± 20 %.
fn pause(tries: u32) -> Duration {
    let doubled = FIRST_PAUSE.saturating_mul(2_u32.saturating_pow(tries.saturating_sub(1).min(16)));
    doubled
        .min(LONGEST_PAUSE)
        .mul_f64(rand::rng().random_range(0.8..1.2))
}

#[cfg(test)]
mod tests;
