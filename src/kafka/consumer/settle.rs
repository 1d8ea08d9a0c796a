//! Carries one record to its end: handled, or parked on the dead-letter topic, or left alone at a stop.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use rand::RngExt as _;
use ring::digest;
use tokio_util::sync::CancellationToken;

use super::{BoxError, Failure, Handler, Options, Rejection};
use crate::admin::Health;
use crate::domain::hex;
use crate::kafka::producer::{self, Message, Producer};
use crate::kafka::{Headers, Record};
use crate::telemetry::events::{RecordHandled, RecordHeld, RecordRejected};

/// How it went with a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Settled {
    /// Its offset may be committed.
    Done,
    /// A stop came while it waited for another try: the next owner reads it again.
    Abandoned,
}

const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(10);
/// Our headers; those that an earlier stay on the dead-letter topic left are replaced.
const PREFIX: &str = "dlq.";
const LONGEST_ERROR: usize = 1000;

pub(super) struct Settler<H> {
    options: Options,
    producer: Arc<Producer>,
    handler: H,
    health: Arc<Health>,
    held: AtomicUsize,
    stop: CancellationToken,
}

impl<H: Handler> Settler<H> {
    pub(super) fn new(
        options: Options,
        producer: Arc<Producer>,
        handler: H,
        health: Arc<Health>,
        stop: CancellationToken,
    ) -> Self {
        Self {
            options,
            producer,
            handler,
            health,
            held: AtomicUsize::new(0),
            stop,
        }
    }

    pub(super) async fn settle(&self, record: &Record) -> Settled {
        let began = Instant::now();
        let settled = match self.until_decided(record).await {
            Some(None) => Settled::Done,
            Some(Some(rejection)) => self.park(record, &rejection).await,
            None => Settled::Abandoned,
        };
        RecordHandled {
            topic: &self.options.topic,
            elapsed: began.elapsed(),
        }
        .emit();
        settled
    }

    /// Handles the record until it is decided: done, or rejected. `None`: a stop came first.
    async fn until_decided(&self, record: &Record) -> Option<Option<Rejection>> {
        let attempt = || async move {
            match self.handler.handle(record).await {
                Ok(()) => Ok(None),
                Err(Failure::Reject(rejection)) => Ok(Some(rejection)),
                Err(Failure::Retry(error)) => Err(error),
            }
        };
        self.persist(record, attempt).await
    }

    async fn park(&self, record: &Record, rejection: &Rejection) -> Settled {
        let parked = self
            .persist(record, || self.publish(record, rejection))
            .await;
        if parked.is_none() {
            return Settled::Abandoned;
        }
        RecordRejected {
            position: &record.position,
            reason: rejection.reason,
            error: rejection.error.as_ref(),
        }
        .emit();
        match self
            .persist(record, || self.handler.parked(record, rejection))
            .await
        {
            Some(()) => Settled::Done,
            None => Settled::Abandoned,
        }
    }

    async fn publish(&self, record: &Record, rejection: &Rejection) -> Result<(), BoxError> {
        let headers = headers(record, rejection, &self.options.group);
        let message = Message {
            topic: &self.options.dlq,
            key: record.key.as_deref(),
            value: record.value.as_deref(),
            headers,
        };
        match self.producer.send(message.clone()).await {
            Ok(()) => Ok(()),
            // A partition is never blocked by one record: what is too big even here goes without its value.
            Err(producer::Error::TooLarge { .. }) => {
                Ok(self.producer.send(without_value(message)).await?)
            }
            Err(error @ (producer::Error::Refused { .. } | producer::Error::Client(_))) => {
                Err(error.into())
            }
        }
    }

    /// Tries until it works, with growing pauses; `None` when a stop comes during a pause.
    async fn persist<T, F>(&self, record: &Record, attempt: impl Fn() -> F) -> Option<T>
    where
        F: Future<Output = Result<T, BoxError>>,
    {
        let mut tries = 0;
        let outcome = loop {
            match attempt().await {
                Ok(value) => break Some(value),
                Err(error) => {
                    tries += 1;
                    if tries == 1 {
                        self.held.fetch_add(1, Ordering::Relaxed);
                    }
                    self.health.not_ready(
                        self.options.role,
                        &format!("holds records: {}", chain(error.as_ref())),
                    );
                    RecordHeld {
                        position: &record.position,
                        error: error.as_ref(),
                        tries,
                    }
                    .emit();
                }
            }
            tokio::select! {
                () = tokio::time::sleep(pause(tries)) => {}
                () = self.stop.cancelled() => break None,
            }
        };
        if tries > 0 && self.held.fetch_sub(1, Ordering::Relaxed) == 1 && outcome.is_some() {
            self.health.ready(self.options.role);
        }
        outcome
    }
}

/// Doubles from 100 ms to 10 s, with a jitter of ± 20 %.
fn pause(tries: u32) -> Duration {
    let doubled = FIRST_PAUSE.saturating_mul(2_u32.saturating_pow(tries.saturating_sub(1).min(16)));
    doubled
        .min(LONGEST_PAUSE)
        .mul_f64(rand::rng().random_range(0.8..1.2))
}

fn chain(error: &(dyn std::error::Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text = format!("{text}: {cause}");
        source = cause.source();
    }
    text
}

/// The headers of a parked record: why, from where, and its own, less the key that let it in.
fn headers(record: &Record, rejection: &Rejection, group: &str) -> Headers {
    let attempts = record
        .header("dlq.attempts")
        .and_then(|text| text.parse::<u32>().ok())
        .unwrap_or(0);
    let error: String = chain(rejection.error.as_ref())
        .chars()
        .take(LONGEST_ERROR)
        .collect();
    let position = &record.position;
    let ours = [
        ("dlq.reason", rejection.reason.as_str().to_owned()),
        ("dlq.error", error),
        ("dlq.original.topic", position.topic.clone()),
        ("dlq.original.partition", position.partition.to_string()),
        ("dlq.original.offset", position.offset.to_string()),
        (
            "dlq.original.timestamp",
            record.timestamp.unwrap_or(-1).to_string(),
        ),
        ("dlq.attempts", (attempts + 1).to_string()),
        ("dlq.group", group.to_owned()),
    ];
    let own = record
        .headers
        .iter()
        .filter(|(name, _)| name != "x-api-key" && !name.starts_with(PREFIX))
        .cloned();
    ours.into_iter()
        .map(|(name, text)| (name.to_owned(), Some(text.into_bytes())))
        .chain(own)
        .collect()
}

fn without_value(mut message: Message<'_>) -> Message<'_> {
    let hash = hex(digest::digest(&digest::SHA256, message.value.unwrap_or_default()).as_ref());
    message
        .headers
        .push(("dlq.truncated".to_owned(), Some(b"true".to_vec())));
    message
        .headers
        .push(("dlq.sha256".to_owned(), Some(hash.into_bytes())));
    message.value = None;
    message
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{ErrorCode, RecordPosition};

    fn record(headers: &[(&str, &str)]) -> Record {
        Record {
            position: RecordPosition {
                topic: "t".to_owned(),
                partition: 1,
                offset: 2,
            },
            key: None,
            value: None,
            headers: headers
                .iter()
                .map(|(name, text)| ((*name).to_owned(), Some(text.as_bytes().to_vec())))
                .collect(),
            timestamp: Some(3),
        }
    }

    #[test]
    fn a_parked_record_keeps_its_headers_but_the_key_that_let_it_in() {
        let rejection = Rejection {
            reason: ErrorCode::Invalid,
            error: "bad".into(),
        };
        let came = record(&[
            ("x-api-key", "secret"),
            ("traceparent", "00-1"),
            ("dlq.attempts", "2"),
            ("dlq.reason", "old"),
        ]);

        let parked = Record {
            headers: headers(&came, &rejection, "g"),
            ..came
        };

        assert_eq!(parked.header("dlq.reason"), Some("invalid"));
        assert_eq!(parked.header("dlq.attempts"), Some("3"));
        assert_eq!(parked.header("traceparent"), Some("00-1"));
        assert_eq!(parked.header("x-api-key"), None);
        assert_eq!(
            parked
                .headers
                .iter()
                .filter(|(name, _)| name == "dlq.reason")
                .count(),
            1
        );
    }

    #[test]
    fn pauses_grow_to_ten_seconds_and_no_further() {
        assert!(pause(1) < Duration::from_millis(121));
        assert!((Duration::from_secs(8)..Duration::from_secs(12)).contains(&pause(40)));
    }
}
