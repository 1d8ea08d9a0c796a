//! The role that tells the world: an event becomes notifications, each is delivered, and each end is a receipt.
//!
//! At least once: a record is done when every notification of it has ended and Kafka has its receipt, and, where
//! it was given up, the event on the dead-letter topic before. Repeats have the same ids (`webhook-id` is the event's,
//! `receipt_id` that of event, channel and target).
//!
//! Served is the webhook. Email and Slack come next: until then their notifications end at once as
//! [`Outcome::Skipped`] with the code `channel_not_served`, so that nobody waits for them unknowingly.

mod memory;
mod plan;
mod receipt;
#[cfg(test)]
mod testing;
#[expect(dead_code, reason = "the channels that use it land next")]
mod tried;
mod webhook;

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use futures::future::join_all;
use tokio_util::sync::CancellationToken;

use self::memory::{Known, Memory};
use self::plan::{Notification, Target};
pub use self::receipt::{Channel, DeliveryError, Outcome, Receipt};
pub use self::webhook::{InvalidSecret, Unusable, user_secret};
use crate::avro::{self, RECEIPT};
use crate::config::{Config, Topics};
use crate::domain::{ErrorCode, Event};
use crate::kafka::consumer::{BoxError, Cause, Failure, Handler, Rejection};
use crate::kafka::producer::{Message, Producer};
use crate::kafka::{Headers, Record};
use crate::registry::{self, Registry};
use crate::seal::{self, Sealer};
use crate::telemetry::events::NotificationEnded;

/// Tells the world of events.
pub struct Notifier {
    registry: Arc<Registry>,
    producer: Arc<Producer>,
    sealer: Sealer,
    webhooks: webhook::Sender,
    memory: Memory,
    topics: Topics,
    max_age: Duration,
    stop: CancellationToken,
}

/// What one notification came to, before it is told.
struct End {
    outcome: Outcome,
    status: Option<u16>,
    tries: u32,
    error: Option<DeliveryError>,
}

/// How many notifications are remembered.
const REMEMBERED: usize = 100_000;

impl Notifier {
    /// Makes the handler of `gen.events`; makes no call.
    ///
    /// A pause between two tries ends when `stop` fires, and the record is then not done.
    ///
    /// # Errors
    /// [`Unusable`] when the signing secrets are malformed or no HTTP client can be built.
    pub fn new(
        config: &Config,
        registry: Arc<Registry>,
        producer: Arc<Producer>,
        sealer: Sealer,
        stop: CancellationToken,
    ) -> Result<Self, Unusable> {
        Ok(Self {
            registry,
            producer,
            sealer,
            webhooks: webhook::Sender::new(&config.notifier)?,
            memory: Memory::new(REMEMBERED),
            topics: config.kafka.topics.clone(),
            max_age: config.notifier.max_age,
            stop,
        })
    }

    async fn read(&self, value: &[u8]) -> Result<Event, Failure> {
        let undecodable = |error: BoxError| reject(ErrorCode::Undecodable, error);
        let (id, datum) = avro::unframe(value).map_err(|error| undecodable(error.into()))?;
        let writer = self.registry.schema(id).await.map_err(unread)?;
        avro::read_event(&writer, datum).map_err(|error| undecodable(error.into()))
    }

    /// Brings one notification to its end and tells Kafka.
    async fn notify(
        &self,
        record: &Record,
        event: &Event,
        notification: &Notification,
    ) -> Result<(), Failure> {
        let id = Receipt::id(&event.event_id, notification.channel(), &notification.hash);
        let receipt = match self.memory.recall(id) {
            Known::Delivered => return Ok(()),
            Known::Unreported(receipt) => *receipt,
            Known::Open => {
                let (began, first_try_at) = (Instant::now(), now());
                let end = self.end(record, event, notification).await?;
                let receipt = Receipt {
                    receipt_id: id.to_string(),
                    event_id: event.event_id.clone(),
                    request_id: event.request_id.clone(),
                    channel: notification.channel(),
                    target: notification.shown(),
                    target_hash: notification.hash.clone(),
                    outcome: end.outcome,
                    status: end.status.map(i32::from),
                    tries: i32::try_from(end.tries).unwrap_or(i32::MAX),
                    first_try_at,
                    ended_at: now(),
                    error: end.error,
                };
                tell(&receipt, began.elapsed());
                self.memory.ended(id, receipt.clone());
                receipt
            }
        };
        self.report(record, &receipt)
            .await
            .map_err(|error| Failure::Retry(Cause::KafkaUnavailable, error))?;
        self.memory.reported(id);
        Ok(())
    }

    /// Tries to deliver one notification, unless that cannot be or is too late.
    async fn end(
        &self,
        record: &Record,
        event: &Event,
        notification: &Notification,
    ) -> Result<End, Failure> {
        let age = now().saturating_sub(event.occurred_at);
        if u128::try_from(age).is_ok_and(|age| age > self.max_age.as_millis()) {
            let error = failed("expired", "the event was older than NOTIFY_MAX_AGE");
            return Ok(End::untried(Outcome::Expired, error));
        }
        let target = match &notification.target {
            Target::Webhook(target) => target,
            Target::Email(_) | Target::Slack(_) => {
                let error = failed("channel_not_served", "this version serves webhooks only");
                return Ok(End::untried(Outcome::Skipped, error));
            }
        };
        let body = webhook::body(event)
            .map_err(|error| reject(ErrorCode::Undecodable, error.into()))?
            .into();
        let call = webhook::Call {
            id: &event.event_id,
            user: &event.user_id,
            target,
            body: &body,
            traceparent: record.traceparent(),
        };
        let delivered = self.webhooks.deliver(call, &self.stop).await;
        delivered
            .map(End::from)
            .map_err(|stopped| Failure::Retry(Cause::Interrupted, stopped.into()))
    }

    /// Publishes what is given up and then the receipt; returns when the broker has both.
    async fn report(&self, record: &Record, receipt: &Receipt) -> Result<(), BoxError> {
        let key = Some(receipt.request_id.as_bytes());
        if receipt.outcome == Outcome::GivenUp {
            let given_up = Message {
                topic: &self.topics.notifications_dlq,
                key,
                value: record.value.as_deref(),
                headers: given_up_headers(receipt),
            };
            self.producer.send(given_up).await?;
        }
        let topic = &self.topics.notifications;
        let value = self.registry.encode(topic, &RECEIPT, receipt).await?;
        let message = Message {
            topic,
            key,
            value: Some(&value),
            headers: Headers::new(),
        };
        Ok(self.producer.send(message).await?)
    }
}

impl Handler for Notifier {
    async fn handle(&self, record: &Record) -> Result<(), Failure> {
        let Some(value) = record.value.as_deref() else {
            return Ok(());
        };
        let event = self.read(value).await?;
        let Some(notify) = plan::wanted(&event) else {
            return Ok(());
        };
        let targets = self
            .sealer
            .open(&notify.sealed, seal::context(&event))
            .map_err(|error| reject(ErrorCode::Undecodable, error.into()))?;
        let notifications = plan::plan(&targets);
        // All at once: one that waits does not hold up the others.
        let ends = join_all(
            notifications
                .iter()
                .map(|notification| self.notify(record, &event, notification)),
        )
        .await;
        ends.into_iter().collect()
    }

    async fn parked(&self, _: &Record, _: &Rejection) -> Result<(), BoxError> {
        Ok(())
    }
}

impl std::fmt::Debug for Notifier {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Notifier").finish_non_exhaustive()
    }
}

impl End {
    fn untried(outcome: Outcome, error: DeliveryError) -> Self {
        Self {
            outcome,
            status: None,
            tries: 0,
            error: Some(error),
        }
    }
}

impl From<webhook::Delivery> for End {
    fn from(delivery: webhook::Delivery) -> Self {
        let tries = delivery.tries;
        match delivery.last {
            Ok(status) => Self {
                outcome: Outcome::Delivered,
                status: Some(status),
                tries,
                error: None,
            },
            Err(error) => Self {
                outcome: Outcome::GivenUp,
                status: error.status(),
                tries,
                error: Some(failed(error.code(), &error.to_string())),
            },
        }
    }
}

/// Says what an unread schema means to a record.
fn unread(error: registry::Error) -> Failure {
    match error {
        registry::Error::Unknown(_) => reject(ErrorCode::UnknownSchema, error.into()),
        registry::Error::Unparsable(..) => reject(ErrorCode::Undecodable, error.into()),
        registry::Error::Unavailable(_) | registry::Error::Refused { .. } => {
            Failure::Retry(Cause::RegistryUnavailable, error.into())
        }
    }
}

fn reject(reason: ErrorCode, error: BoxError) -> Failure {
    Failure::Reject(Rejection { reason, error })
}

fn failed(code: &str, message: &str) -> DeliveryError {
    DeliveryError {
        code: code.to_owned(),
        message: message.to_owned(),
    }
}

fn given_up_headers(receipt: &Receipt) -> Headers {
    let reason = receipt.error.as_ref().map_or("", |error| &error.code);
    let header = |name: &str, value: String| (name.to_owned(), Some(value.into_bytes()));
    vec![
        header("dlq.channel", receipt.channel.as_str().to_owned()),
        header("dlq.target_hash", receipt.target_hash.clone()),
        header("dlq.reason", reason.to_owned()),
        header("dlq.attempts", receipt.tries.to_string()),
    ]
}

fn tell(receipt: &Receipt, elapsed: Duration) {
    NotificationEnded {
        channel: receipt.channel.as_str(),
        outcome: receipt.outcome.as_str(),
        elapsed,
        tries: u32::try_from(receipt.tries).unwrap_or(0),
    }
    .emit();
}

fn now() -> i64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    since.map_or(0, |since| {
        i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
    })
}
