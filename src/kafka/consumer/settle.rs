//! Carries one record to its end: handled, or parked on the dead-letter topic, or left alone at a stop.

use std::panic::AssertUnwindSafe;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use futures::FutureExt as _;
use rand::RngExt as _;
use tokio_util::sync::CancellationToken;

use super::brake::Brake;
use super::dead_letter::park;
use super::fuse::Fuse;
use super::places::Places;
use super::{BoxError, Cause, Failure, Handler, Options, Rejection};
use crate::admin::Health;
use crate::causes::causes;
use crate::domain::ErrorCode;
use crate::kafka::Record;
use crate::kafka::producer::Producer;
use crate::telemetry::events::{RecordHandled, RecordHeld, RecordRejected};

/// How it went with a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Settled {
    /// Its offset may be committed.
    Done,
    /// A stop came, or its partition went, while it waited for another try: the next owner reads it again.
    Abandoned,
}

const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(10);
/// A record at which our own code panics so often is parked: a fault of ours must not block a partition.
const PANICS: u32 = 5;

pub(super) struct Settler<H> {
    options: Options,
    producer: Arc<Producer>,
    handler: H,
    health: Arc<Health>,
    places: Places,
    /// How many records wait for another try, or have it.
    held: Mutex<usize>,
    brake: Mutex<Brake>,
    fuse: Mutex<Fuse>,
}

impl<H: Handler> Settler<H> {
    pub(super) fn new(
        options: Options,
        producer: Arc<Producer>,
        handler: H,
        health: Arc<Health>,
    ) -> Self {
        Self {
            brake: Mutex::new(Brake::new(options.concurrency)),
            fuse: Mutex::new(Fuse::new(options.fuse)),
            options,
            producer,
            handler,
            health,
            places: Places::default(),
            held: Mutex::default(),
        }
    }

    pub(super) fn brake(&self) -> MutexGuard<'_, Brake> {
        self.brake.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn fuse(&self) -> MutexGuard<'_, Fuse> {
        self.fuse.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns the places of the records that run.
    pub(super) fn places(&self) -> &Places {
        &self.places
    }

    /// Returns how many records wait for another try, or have it.
    fn held(&self) -> MutexGuard<'_, usize> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Carries the record to its end, or until `leave`.
    pub(super) async fn settle(&self, record: &Record, leave: &CancellationToken) -> Settled {
        let began = Instant::now();
        let Some(decided) = self.until_decided(record, leave).await else {
            return Settled::Abandoned;
        };
        if let Some(rejection) = decided
            && self.park(record, &rejection, leave).await.is_none()
        {
            return Settled::Abandoned;
        }
        RecordHandled {
            topic: &self.options.topic,
            elapsed: began.elapsed(),
        }
        .emit();
        Settled::Done
    }

    /// Handles the record until it is decided: done, or rejected. `None`: it was left.
    async fn until_decided(
        &self,
        record: &Record,
        leave: &CancellationToken,
    ) -> Option<Option<Rejection>> {
        let attempt = |tries| async move {
            let handling =
                AssertUnwindSafe(self.handler.handle(record, self.places.place())).catch_unwind();
            match handling.await {
                Ok(Ok(())) => {
                    self.fuse().reset();
                    Ok(None)
                }
                Ok(Err(Failure::Reject(rejection))) => self.fused(rejection),
                Ok(Err(Failure::Retry(cause, error))) => Err((cause, error)),
                Err(_) if tries < PANICS => Err((Cause::Panicked, "the handler panicked".into())),
                Err(_) => self.fused(Rejection {
                    reason: ErrorCode::StartRefused,
                    error: format!("the handler panicked {PANICS} times").into(),
                }),
            }
        };
        self.persist(record, leave, attempt).await
    }

    fn fused(&self, rejection: Rejection) -> Result<Option<Rejection>, (Cause, BoxError)> {
        if self.fuse().lets_pass(rejection.reason) {
            return Ok(Some(rejection));
        }
        let why = format!(
            "DLQ_FUSE: {} records in a row were refused as {}, which may be the fault of this deploy and not theirs",
            self.options.fuse,
            rejection.reason.as_str()
        );
        Err((Cause::Fuse, why.into()))
    }

    async fn park(
        &self,
        record: &Record,
        rejection: &Rejection,
        leave: &CancellationToken,
    ) -> Option<()> {
        let Options { dlq, group, .. } = &self.options;
        self.persist(record, leave, |_| async {
            park(&self.producer, dlq, group, record, rejection)
                .await
                .map_err(|error| (Cause::KafkaUnavailable, error))
        })
        .await?;
        RecordRejected {
            position: &record.position,
            reason: rejection.reason,
            error: rejection.error.as_ref(),
        }
        .emit();
        self.persist(record, leave, |tries| async move {
            let telling = AssertUnwindSafe(self.handler.parked(record, rejection)).catch_unwind();
            match telling.await {
                Ok(told) => told.map_err(|error| (Cause::KafkaUnavailable, error)),
                Err(_) if tries < PANICS => Err((Cause::Panicked, "the handler panicked".into())),
                // The record is parked; that nobody is told is the lesser evil.
                Err(_) => Ok(()),
            }
        })
        .await
    }

    /// Tries until it works, with growing pauses; `None` when told to leave during a pause.
    async fn persist<T, F>(
        &self,
        record: &Record,
        leave: &CancellationToken,
        attempt: impl Fn(u32) -> F,
    ) -> Option<T>
    where
        F: Future<Output = Result<T, (Cause, BoxError)>>,
    {
        let mut held = None;
        for tries in 1.. {
            let (cause, error) = match attempt(tries).await {
                Ok(value) => {
                    self.brake().succeeded();
                    return Some(value);
                }
                Err(failed) => failed,
            };
            if cause.is_eased_by_less() {
                self.brake().failed(cause);
            }
            let why = format!("holds records: {}", causes(error.as_ref()));
            held.get_or_insert_with(|| Held::new(self))
                .tell(cause, &why);
            RecordHeld {
                position: &record.position,
                cause: cause.as_str(),
                error: error.as_ref(),
                tries,
            }
            .emit();
            let _rest = self.places.rest(cause.is_others_chance());
            tokio::select! {
                () = tokio::time::sleep(pause(tries)) => {}
                () = leave.cancelled() => break,
            }
        }
        None
    }
}

/// Counts a record that waits for another try, for as long as it does; after the last of them the role is ready.
struct Held<'a, H> {
    settler: &'a Settler<H>,
}

impl<'a, H: Handler> Held<'a, H> {
    fn new(settler: &'a Settler<H>) -> Self {
        *settler.held() += 1;
        Self { settler }
    }

    fn tell(&self, cause: Cause, why: &str) {
        // Under the lock, so that the end of another one's wait does not speak last.
        let _held = self.settler.held();
        if cause.is_systemic() {
            let Settler {
                health, options, ..
            } = self.settler;
            health.not_ready(options.role, why);
        }
    }
}

impl<H> Drop for Held<'_, H> {
    fn drop(&mut self) {
        let Settler {
            held,
            health,
            options,
            ..
        } = self.settler;
        let mut held = held.lock().unwrap_or_else(PoisonError::into_inner);
        *held -= 1;
        if *held == 0 {
            health.ready(options.role);
        }
    }
}

/// Doubles from 100 ms to 10 s, with a jitter of ± 20 %.
fn pause(tries: u32) -> Duration {
    let doubled = FIRST_PAUSE.saturating_mul(2_u32.saturating_pow(tries.saturating_sub(1).min(16)));
    doubled
        .min(LONGEST_PAUSE)
        .mul_f64(rand::rng().random_range(0.8..1.2))
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;
    use crate::config::Config;
    use crate::domain::RecordPosition;
    use crate::kafka::consumer::Place;

    /// Panics so often, and then does its work.
    struct Panics(AtomicUsize);

    impl Handler for Panics {
        async fn handle(&self, _: &Record, _: Place<'_>) -> Result<(), Failure> {
            let left = self.0.load(Ordering::Relaxed);
            self.0.store(left.saturating_sub(1), Ordering::Relaxed);
            assert_eq!(left, 0, "as the test wants it");
            Ok(())
        }

        async fn parked(&self, _: &Record, _: &Rejection) -> Result<(), BoxError> {
            Ok(())
        }
    }

    async fn decided(panics: u32) -> Option<Option<Rejection>> {
        let config = Config::load(|_| None).unwrap();
        let options = Options {
            role: "test",
            topic: "t".to_owned(),
            group: "g".to_owned(),
            dlq: "d".to_owned(),
            concurrency: 1,
            fuse: 0,
        };
        let producer = Arc::new(Producer::new(&config.kafka, "test").unwrap());
        let handler = Panics(AtomicUsize::new(panics as usize));
        let settler = Settler::new(options, producer, handler, Arc::default());
        let record = Record {
            position: RecordPosition {
                topic: "t".to_owned(),
                partition: 0,
                offset: 0,
            },
            key: None,
            value: None,
            headers: Vec::new(),
            timestamp: None,
        };
        let decided = settler
            .until_decided(&record, &CancellationToken::new())
            .await;
        assert_eq!(*settler.held(), 0);
        decided
    }

    #[tokio::test]
    async fn a_panic_is_tried_again_and_one_that_stays_is_parked() {
        assert!(decided(PANICS - 1).await.unwrap().is_none());

        let rejection = decided(PANICS).await.unwrap().unwrap();
        assert_eq!(rejection.reason, ErrorCode::StartRefused);
        assert!(rejection.error.to_string().contains("panicked"));
    }

    #[test]
    fn pauses_grow_to_ten_seconds_and_no_further() {
        assert!(pause(1) < Duration::from_millis(121));
        assert!((Duration::from_secs(8)..Duration::from_secs(12)).contains(&pause(40)));
    }
}
