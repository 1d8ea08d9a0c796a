//! The notifier role: turns each event into notifications, delivers them, and publishes a receipt for each one.
//!
//! Delivery is at least once. The notifier makes one short first attempt per notification, within the limits of its
//! endpoint. A notification that this does not settle is handed over to a workflow (`delivery.v1`), which retries for
//! days. A record is done when each of its notifications has either a workflow, or a receipt on Kafka (preceded, if it
//! was given up, by the event on the dead-letter topic). So a dead endpoint costs the partition one hand-over, and no
//! other notification waits. While Temporal is unavailable, notifications to hand over wait. A repeat has the same
//! ids: `webhook-id` is the event's id, and `receipt_id` is derived from event, channel and target.
//!
//! Operators are notified of failures too, many in one message (`ops`). If this notifier does not serve a
//! target's channel, the notification ends as [`Outcome::Skipped`] with `channel_not_served`; one that was
//! handed over ends so only after its last attempt, because another notifier may serve the channel.

pub mod activities;
mod attempt;
mod channels;
mod circuits;
mod deliver;
pub mod email;
mod endpoints;
mod handover;
mod operator_alerts;
mod plan;
mod recent;
mod schedule;
mod slack;
#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;
mod webhook;
pub mod worker;

use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::future::join_all;
use parking_lot::{Mutex, MutexGuard};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

pub use self::channels::Unusable;
pub use self::deliver::Deliverer;
use self::deliver::{Attempt, Unread, receipt};
use self::endpoints::Closed;
pub use self::handover::Handover;
use self::handover::Refused;
use self::plan::Notification;
pub use self::plan::shown;
pub use self::webhook::{GONE, InvalidKey, InvalidSecret, Key, user_secret};
use crate::contract::delivery::{Delivery, Parcel, Raw};
use crate::contract::digest::Failed;
use crate::contract::headers::ACCEPT_OLD;
pub use crate::contract::receipt::{Channel, DeliveryError, End, Outcome, Receipt};
use crate::domain::time::millis;
use crate::domain::{ErrorCode, Event};
use crate::engines::clock::now;
use crate::engines::config::Config;
use crate::engines::failpoint;
use crate::engines::kafka::Record;
use crate::engines::kafka::consumer::{Cause, Failure, Fault, Fuse, Handler, Rejection, Slots};
use crate::engines::registry;
use crate::engines::telemetry::events;
use crate::engines::temporal::deliveries::Given;
use crate::roles::notifier::attempt::{Notice, Tried};
use crate::roles::notifier::operator_alerts::AlertQueue;
use crate::roles::notifier::recent::{Known, Recent, Tries};

/// Handles the records of `gen.events`.
#[derive(Debug)]
pub struct Notifier {
    deliverer: Arc<Deliverer>,
    handover: Arc<Handover>,
    ops: AlertQueue,
    memory: Recent,
    /// Blows after `DLQ_FUSE` seals in a row that do not open. It is separate from the consumer's fuse because
    /// events without a seal must not reset it: they do not show whether `NOTIFY_KEYS` is right.
    seals: Mutex<Fuse>,
    max_age: Duration,
    /// How long records in progress may take after `stop`.
    grace: Duration,
    stop: CancellationToken,
}

/// How many notifications [`Recent`] keeps: three for each of the last 100,000 events.
const REMEMBERED: usize = 300_000;

/// The result of the first attempt.
enum First {
    Ended(End),
    /// It is to be handed over to a workflow.
    HandOver(HandOverReason),
}

/// Why the first attempt did not settle a notification.
enum HandOverReason {
    /// The attempt failed; holds what is left of the pause that the target asked for, if it did.
    Failed(Option<Duration>),
    /// No attempt was made.
    Kept(Closed),
}

impl HandOverReason {
    fn as_str(&self) -> &'static str {
        match self {
            Self::Failed(_) => "not_delivered",
            Self::Kept(Closed::Circuit(_)) => "circuit_open",
            Self::Kept(Closed::Full) => "endpoint_full",
            Self::Kept(Closed::Slow) => "endpoint_slow",
        }
    }

    /// Returns the schedule step of the next attempt and the pause before it. Step 0 is the first attempt, for
    /// a notification that was not attempted yet.
    fn next(&self, schedule: &[Duration]) -> (u32, Duration) {
        let jitter = schedule::jitter();
        match self {
            Self::Failed(asked) => {
                let pause = schedule::pause(schedule, 0, *asked, jitter);
                (1, pause.unwrap_or_default())
            }
            Self::Kept(closed) => (0, schedule::wait(0, closed.time(), jitter)),
        }
    }
}

impl Notifier {
    /// Creates the handler of `gen.events`; makes no network call.
    ///
    /// Records in progress when `stop` fires get a third of the grace period; after that they stay uncommitted.
    pub fn new(
        config: &Config,
        deliverer: Arc<Deliverer>,
        handover: Arc<Handover>,
        stop: CancellationToken,
    ) -> Self {
        Self {
            deliverer,
            ops: AlertQueue::new(&config.notifier, handover.clone()),
            handover,
            memory: Recent::new(REMEMBERED),
            seals: Mutex::new(Fuse::new(config.kafka.dlq_fuse)),
            max_age: config.notifier.max_age,
            grace: config.grace / 3,
            stop,
        }
    }

    /// Returns the notifications of an event.
    fn plan(&self, event: &Event) -> Result<Vec<Notification>, Failure> {
        match self.deliverer.plan(event) {
            Ok(planned) => {
                if plan::wanted(event).is_some() {
                    self.seals().reset();
                }
                Ok(planned)
            }
            Err(error)
                if (self.seals()).lets_pass(
                    ErrorCode::Undecodable,
                    Fault::Unclear,
                    Instant::now(),
                ) =>
            {
                Err(error.into())
            }
            Err(error) => {
                let why = format!(
                    "DLQ_FUSE: too many seals in a row do not open; check that NOTIFY_KEYS has the keys of intake. Last error: {error}"
                );
                Err(Failure::Retry(Cause::Fuse, why.into()))
            }
        }
    }

    fn seals(&self) -> MutexGuard<'_, Fuse> {
        self.seals.lock()
    }

    /// Settles one notification: publishes its receipt, or hands it over to a workflow.
    async fn notify(
        &self,
        record: &Record,
        value: &[u8],
        event: &Event,
        notification: &Notification,
        slots: &Slots,
    ) -> Result<(), Failure> {
        let id = Receipt::id(&event.event_id, notification.channel(), &notification.hash);
        let parcel = || parcel(record, value, event, notification);
        let mut tries = match self.memory.recall(id) {
            Some(Known::Done) => return Ok(()),
            Some(Known::Unreported(receipt)) => {
                return self.publish_receipt(id, &parcel(), *receipt).await;
            }
            Some(Known::Tried(tries)) => tries,
            None => Tries::default(),
        };
        let first = self.first(record, event, notification, &mut tries).await;
        failpoint::hit("notify.tried").await;
        self.memory.note(id, Known::Tried(tries));
        let end = match first {
            First::Ended(end) => end,
            First::HandOver(left) => {
                // The consumer slot is released while the hand-over waits for its rate limit.
                slots.without(self.handover.turn()).await;
                match self.hand_over(parcel(), event, tries, &left).await? {
                    None => {
                        self.memory.note(id, Known::Done);
                        failpoint::hit("notify.handed").await;
                        return Ok(());
                    }
                    Some(end) => end,
                }
            }
        };
        let parcel = parcel();
        let (shown, at) = (notification.shown(), now());
        let receipt = receipt(&parcel, shown, end, tries.count, tries.first_at, at);
        self.publish_receipt(id, &parcel, receipt).await
    }

    /// Makes the first attempt, unless the event is too old, the target asked for a pause, or its endpoint is closed.
    async fn first(
        &self,
        record: &Record,
        event: &Event,
        notification: &Notification,
        tries: &mut Tries,
    ) -> First {
        let began = now();
        if !is_taken_however_old(record) && self.is_past(event, began) {
            return First::Ended(End::expired());
        }
        if !notification.notifies(event) {
            let why = "no email is sent about a request that was rejected as invalid";
            return First::Ended(End::skipped(DeliveryError::new("not_mailed", why)));
        }
        if let Some(left) = tries.left_alone(Instant::now()) {
            return First::HandOver(HandOverReason::Failed(Some(left)));
        }
        let notice = Notice {
            event,
            traceparent: record.traceparent(),
        };
        let tried = match self.deliverer.first(&notice, notification).await {
            Attempt::Sent(tried) => tried,
            Attempt::Kept(closed) => return First::HandOver(HandOverReason::Kept(closed)),
            // Skipped at once: if no notifier served the channel, a workflow would carry each notification for days.
            Attempt::Unserved => return First::Ended(End::skipped(activities::unserved())),
        };
        tries.count = tries.count.saturating_add(1);
        tries.first_at.get_or_insert(began);
        match tried {
            Tried::Delivered(status) => First::Ended(End::delivered(status)),
            Tried::Refused { status, error } => First::Ended(End::given_up(status, error)),
            Tried::Later {
                status, again_in, ..
            } => {
                tries.status = status;
                tries.until = again_in.map(|asked| Instant::now() + schedule::kept(asked));
                First::HandOver(HandOverReason::Failed(again_in))
            }
        }
    }

    /// Hands a notification over; returns its end if Temporal will never accept it.
    async fn hand_over(
        &self,
        parcel: Parcel,
        event: &Event,
        tries: Tries,
        left: &HandOverReason,
    ) -> Result<Option<End>, Failure> {
        let channel = parcel.channel.as_str();
        let (step, pause) = left.next(&self.deliverer.schedule);
        let delivery = Delivery {
            parcel,
            tries: tries.count,
            first_try_at: tries.first_at,
            status: tries.status,
            step,
            waited: 0,
            shut: 0,
            lost: None,
            pause_ms: millis(pause),
        };
        match self.handover.give(delivery, &event.user_id).await {
            Ok(given) => {
                events::notification_handed_over(channel, left.as_str(), given == Given::New);
                Ok(None)
            }
            Err(Refused::Now(failure)) => Err(failure),
            Err(Refused::Ever(error)) => {
                let error = DeliveryError::new("hand_over_refused", &error.to_string());
                Ok(Some(End::given_up(None, error)))
            }
        }
    }

    /// Publishes the receipt of a notification, and remembers the receipt until Kafka has it.
    async fn publish_receipt(
        &self,
        id: Uuid,
        parcel: &Parcel,
        receipt: Receipt,
    ) -> Result<(), Failure> {
        let unreported = Known::Unreported(Box::new(receipt.clone()));
        self.memory.note(id, unreported);
        let reported = self.deliverer.report(parcel, &receipt).await;
        reported.map_err(|error| Failure::Retry(Cause::KafkaUnavailable, error))?;
        self.memory.note(id, Known::Done);
        Ok(())
    }

    /// Passes a failure to the operators' workflows once, unless the event is too old.
    async fn note(&self, event: &Event) -> Result<(), Failure> {
        if Failed::of(event).is_none() || self.is_past(event, now()) {
            return Ok(());
        }
        let id = operator_alerts::id(event);
        // A held record is handled again and again, for longer than the operators' workflow remembers its event.
        if self.memory.recall(id).is_none() {
            self.ops.note(event).await?;
            self.memory.note(id, Known::Done);
        }
        Ok(())
    }

    fn is_past(&self, event: &Event, now: i64) -> bool {
        let age = now.saturating_sub(event.occurred_at);
        u128::try_from(age).is_ok_and(|age| age > self.max_age.as_millis())
    }

    /// Resolves once `stop` has fired and the time for records in progress is over.
    async fn patience(&self) {
        self.stop.cancelled().await;
        tokio::time::sleep(self.grace).await;
    }
}

impl Handler for Notifier {
    async fn handle(&self, record: &Record, slots: &Slots) -> Result<(), Failure> {
        let Some(value) = record.value.as_deref() else {
            return Ok(());
        };
        let event = self.deliverer.read(value).await?;
        let planned = match self.plan(&event) {
            Ok(planned) => planned,
            // Operators are notified even if the seal does not open: their targets are in the settings.
            Err(failure) => {
                self.note(&event).await?;
                return Err(failure);
            }
        };
        // Concurrently, so that one that waits does not delay the others.
        let notifying = join_all(
            planned
                .iter()
                .map(|notification| self.notify(record, value, &event, notification, slots)),
        );
        let all = async { tokio::join!(notifying, self.note(&event)) };
        tokio::select! {
            (ends, noted) = all => ends.into_iter().chain([noted]).collect(),
            () = self.patience() => {
                Err(Failure::Retry(Cause::Interrupted, "the notifier is stopping".into()))
            }
        }
    }
}

/// Whether an operator redrives the record and wants it delivered whatever its age.
fn is_taken_however_old(record: &Record) -> bool {
    record.header(ACCEPT_OLD) == Some("true")
}

fn parcel(record: &Record, value: &[u8], event: &Event, notification: &Notification) -> Parcel {
    Parcel {
        event: Raw(value.to_owned()),
        event_id: event.event_id.clone(),
        request_id: event.request_id.clone(),
        occurred_at: event.occurred_at,
        traceparent: record.traceparent().map(str::to_owned),
        channel: notification.channel(),
        target_hash: notification.hash.clone(),
    }
}

impl From<Unread> for Failure {
    fn from(error: Unread) -> Self {
        match error {
            Unread::Schema(error @ registry::Error::Unknown(_)) => {
                Self::Reject(Rejection::new(ErrorCode::UnknownSchema, error))
            }
            Unread::Schema(error @ registry::Error::Unparsable(..)) => {
                Self::Reject(Rejection::new(ErrorCode::Undecodable, error))
            }
            Unread::Schema(
                error @ (registry::Error::Unavailable(_) | registry::Error::Refused { .. }),
            ) => Self::Retry(Cause::RegistryUnavailable, error.into()),
            Unread::Event(_) | Unread::Seal(_) => {
                Self::Reject(Rejection::new(ErrorCode::Undecodable, error))
            }
        }
    }
}
