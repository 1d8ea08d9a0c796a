//! Processes one record until it is handled, dead-lettered, deferred, or abandoned at a stop.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use futures::FutureExt as _;
use parking_lot::{Mutex, MutexGuard};
use rand::RngExt as _;
use tokio_util::sync::CancellationToken;

use super::dead_letter::park;
use super::fuse::Fuse;
use super::{BoxError, Cause, Failure, Handler, Options, Rejection};
use crate::domain::ErrorCode;
use crate::domain::error_chain::causes;
use crate::engines::health::Health;
use crate::engines::kafka::Record;
use crate::engines::kafka::consumer::concurrency_limit::ConcurrencyLimit;
use crate::engines::kafka::consumer::slots::Slots;
use crate::engines::kafka::producer::Producer;
use crate::engines::telemetry::events;

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
    /// It is dead-lettered nevertheless, because too many records are deferred already.
    Never,
}

/// The number of deferred records from which on the fuse holds no more, so that held records never block the others.
///
/// A blown fuse lets one record pass every ten seconds ([`TRIAL`](super::fuse::TRIAL)), so this many pass in six days.
/// That is less than the topics' default retention of seven days, so none expires while it waits.
const MOST_HELD: usize = 50_000;

impl Hold {
    /// Decides for a record; `is_back` says whether it was deferred before, `deferred` is the number of deferred ones.
    pub(super) fn of(is_back: bool, deferred: usize) -> Self {
        match is_back {
            _ if deferred >= MOST_HELD => Self::Never,
            true => Self::Here,
            false => Self::Later,
        }
    }
}

const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(10);
/// A record on which our own code panics this often is dead-lettered: a bug of ours must not block a partition.
const PANICS: u32 = 5;

pub(super) struct RecordTasks<H> {
    options: Options,
    producer: Arc<Producer>,
    handler: H,
    health: Arc<Health>,
    slots: Slots,
    /// Number of records that failed at least once and are being retried.
    held: Mutex<usize>,
    concurrency: Mutex<ConcurrencyLimit>,
    fuse: Mutex<Fuse>,
}

impl<H: Handler> RecordTasks<H> {
    pub(super) fn new(
        options: Options,
        producer: Arc<Producer>,
        handler: H,
        health: Arc<Health>,
    ) -> Self {
        Self {
            concurrency: Mutex::new(ConcurrencyLimit::new(options.concurrency)),
            fuse: Mutex::new(Fuse::new(options.fuse)),
            options,
            producer,
            handler,
            health,
            slots: Slots::default(),
            held: Mutex::default(),
        }
    }

    pub(super) fn concurrency(&self) -> MutexGuard<'_, ConcurrencyLimit> {
        self.concurrency.lock()
    }

    fn fuse(&self) -> MutexGuard<'_, Fuse> {
        self.fuse.lock()
    }

    /// Returns the count of records that rest.
    pub(super) fn slots(&self) -> &Slots {
        &self.slots
    }

    /// Locks the number of records that are being retried.
    fn held(&self) -> MutexGuard<'_, usize> {
        self.held.lock()
    }

    /// Processes the record until it is done. Gives up at `leave`, or, if `hold` allows it, when the fuse holds it.
    pub(super) async fn settle(
        &self,
        record: &Record,
        hold: Hold,
        leave: &CancellationToken,
    ) -> Settled {
        let began = Instant::now();
        if let Err(unsettled) = self.until_done(record, hold, leave).await {
            return unsettled;
        }
        events::record_handled(&self.options.topic, began.elapsed());
        Settled::Done
    }

    async fn until_done(
        &self,
        record: &Record,
        hold: Hold,
        leave: &CancellationToken,
    ) -> Result<(), Settled> {
        match self.until_decided(record, hold, leave).await? {
            Some(rejection) => self.park(record, &rejection, leave).await,
            None => Ok(()),
        }
    }

    /// Calls the handler until the record is handled (`None`) or rejected.
    async fn until_decided(
        &self,
        record: &Record,
        hold: Hold,
        leave: &CancellationToken,
    ) -> Result<Option<Rejection>, Settled> {
        let panics = AtomicU32::new(0);
        let attempt = || async {
            let handling =
                AssertUnwindSafe(self.handler.handle(record, self.slots.slot())).catch_unwind();
            match handling.await {
                Ok(Ok(())) => {
                    self.fuse().reset();
                    Ok(None)
                }
                Ok(Err(Failure::Reject(rejection))) => self.fused(rejection, hold),
                Ok(Err(Failure::Retry(cause, error))) => Err((cause, error)),
                Err(_) if panics.fetch_add(1, Ordering::Relaxed) + 1 < PANICS => {
                    Err((Cause::Panicked, "the handler panicked".into()))
                }
                Err(_) => {
                    let error = format!("the handler panicked {PANICS} times");
                    self.fused(Rejection::new(ErrorCode::StartRefused, error), hold)
                }
            }
        };
        self.persist(record, hold, leave, attempt).await
    }

    fn fused(
        &self,
        rejection: Rejection,
        hold: Hold,
    ) -> Result<Option<Rejection>, (Cause, BoxError)> {
        let Rejection { reason, fault, .. } = rejection;
        if self.fuse().lets_pass(reason, fault, Instant::now()) || hold == Hold::Never {
            return Ok(Some(rejection));
        }
        let why = format!(
            "DLQ_FUSE: {} records in a row were refused as {}: this deployment may be at fault, not the records",
            self.options.fuse,
            reason.as_str()
        );
        Err((Cause::Fuse, why.into()))
    }

    async fn park(
        &self,
        record: &Record,
        rejection: &Rejection,
        leave: &CancellationToken,
    ) -> Result<(), Settled> {
        let Options { dlq, group, .. } = &self.options;
        self.persist(record, Hold::Here, leave, || async {
            park(&self.producer, dlq, group, record, rejection)
                .await
                .map_err(|error| (Cause::KafkaUnavailable, error))
        })
        .await?;
        events::record_rejected(&record.position, rejection.reason, rejection.error.as_ref());
        let panics = AtomicU32::new(0);
        self.persist(record, Hold::Here, leave, || async {
            let telling = AssertUnwindSafe(self.handler.parked(record, rejection)).catch_unwind();
            match telling.await {
                Ok(reported) => reported.map_err(|error| (Cause::KafkaUnavailable, error)),
                Err(_) if panics.fetch_add(1, Ordering::Relaxed) + 1 < PANICS => {
                    Err((Cause::Panicked, "the handler panicked".into()))
                }
                // The record is dead-lettered. A missing `REJECTED` event is better than a blocked partition.
                Err(_) => Ok(()),
            }
        })
        .await
    }

    /// Retries `attempt` with growing pauses until it succeeds, the record is deferred, or `leave` comes in a pause.
    async fn persist<T, F>(
        &self,
        record: &Record,
        hold: Hold,
        leave: &CancellationToken,
        attempt: impl Fn() -> F,
    ) -> Result<T, Settled>
    where
        F: Future<Output = Result<T, (Cause, BoxError)>>,
    {
        let mut held = None;
        for tries in 1.. {
            let (cause, error) = match attempt().await {
                Ok(value) => {
                    self.concurrency().succeeded();
                    return Ok(value);
                }
                Err((Cause::Fuse, _)) if hold == Hold::Later => return Err(Settled::Deferred),
                Err(failed) => failed,
            };
            if cause.is_eased_by_less() {
                self.concurrency().failed(cause);
            }
            let why = format!("holds records: {}", causes(error.as_ref()));
            held.get_or_insert_with(|| Held::new(self))
                .report(cause, &why);
            events::record_held(&record.position, cause.as_str(), error.as_ref(), tries);
            let _rest = self.slots.rest(cause.is_others_chance());
            tokio::select! {
                () = tokio::time::sleep(pause(tries)) => {}
                () = leave.cancelled() => break,
            }
        }
        Err(Settled::Abandoned)
    }
}

/// Counts a record as being retried, until it is dropped; when the last one is dropped, the role is ready again.
struct Held<'a, H> {
    tasks: &'a RecordTasks<H>,
}

impl<'a, H: Handler> Held<'a, H> {
    fn new(tasks: &'a RecordTasks<H>) -> Self {
        *tasks.held() += 1;
        Self { tasks }
    }

    fn report(&self, cause: Cause, why: &str) {
        // Under the lock, so that a concurrent drop of another one cannot set the role ready after this.
        let _held = self.tasks.held();
        if cause.is_systemic() {
            let RecordTasks {
                health, options, ..
            } = self.tasks;
            health.not_ready(options.role, why);
        }
    }
}

impl<H> Drop for Held<'_, H> {
    fn drop(&mut self) {
        let RecordTasks {
            held,
            health,
            options,
            ..
        } = self.tasks;
        let mut held = held.lock();
        *held -= 1;
        if *held == 0 {
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
