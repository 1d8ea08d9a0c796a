//! The role that tells the world: an event becomes notifications, each is delivered, and each end is a receipt.
//!
//! At least once. Each notification has one first try here, short and within the bounds of its endpoint; what that does
//! not end is handed over to a workflow (`delivery.v1`), which tries for days. A record is done when each of its
//! notifications has ended and Kafka has its receipt (and, where it was given up, the event on the dead-letter topic
//! before), or has its workflow. So a dead endpoint costs the partition a hand-over, and nobody a wait. While Temporal is
//! away what would be handed over waits. Repeats have the same ids: `webhook-id` is the event's, `receipt_id` that of
//! event, channel and target.
//!
//! Failures are told to the operators too, many in one message (`ops`). Targets of a channel that is not served end as
//! [`Outcome::Skipped`] with `channel_not_served`, what was handed over only behind its last try: notifiers may differ.

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

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use futures::future::join_all;
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
use crate::engines::kafka::consumer::{
    BoxError, Cause, Failure, Fault, Fuse, Handler, Place, Rejection,
};
use crate::engines::telemetry::events::NotificationHandedOver;
use crate::engines::temporal::deliveries::Given;
use crate::roles::notifier::attempt::{Letter, Tried};
use crate::roles::notifier::operator_alerts::Desk;
use crate::roles::notifier::recent::{Known, Memory, Tries};

/// Tells the world of events.
#[derive(Debug)]
pub struct Notifier {
    deliverer: Arc<Deliverer>,
    handover: Arc<Handover>,
    ops: Desk,
    memory: Memory,
    /// Blown by seals that do not open: events without one pass between them, and say nothing of `NOTIFY_KEYS`.
    seals: Mutex<Fuse>,
    max_age: Duration,
    /// What is under way at a stop has so long.
    grace: Duration,
    stop: CancellationToken,
}

/// How many notifications are remembered: three of each of the last 100,000 events.
const REMEMBERED: usize = 300_000;

/// What its first try came to.
enum First {
    Ended(End),
    /// It is a workflow's to deliver.
    Left(Left),
}

/// Why its first try did not end it.
enum Left {
    /// It failed; the target may have asked for a pause, of which so much is left.
    Failed(Option<Duration>),
    /// Its endpoint was not asked.
    Kept(Closed),
}

impl Left {
    fn as_str(&self) -> &'static str {
        match self {
            Self::Failed(_) => "not_delivered",
            Self::Kept(Closed::Circuit(_)) => "circuit_open",
            Self::Kept(Closed::Full) => "endpoint_full",
            Self::Kept(Closed::Slow) => "endpoint_slow",
        }
    }

    /// Returns the step of the next try, and the pause before it: untried, the first try is yet to come.
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
    /// Makes the handler of `gen.events`; makes no call.
    ///
    /// What is under way when `stop` fires is given a third of the grace period, and is then not done.
    pub fn new(
        config: &Config,
        deliverer: Arc<Deliverer>,
        handover: Arc<Handover>,
        stop: CancellationToken,
    ) -> Self {
        Self {
            deliverer,
            ops: Desk::new(&config.notifier, handover.clone()),
            handover,
            memory: Memory::new(REMEMBERED),
            seals: Mutex::new(Fuse::new(config.kafka.dlq_fuse)),
            max_age: config.notifier.max_age,
            grace: config.grace / 3,
            stop,
        }
    }

    /// Returns whom an event is told to.
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
                    "DLQ_FUSE: too many seals in a row do not open, are NOTIFY_KEYS those of intake? The last: {error}"
                );
                Err(Failure::Retry(Cause::Fuse, why.into()))
            }
        }
    }

    fn seals(&self) -> MutexGuard<'_, Fuse> {
        self.seals.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Brings one notification to its end or into its workflow's hands.
    async fn notify(
        &self,
        record: &Record,
        value: &[u8],
        event: &Event,
        notification: &Notification,
        place: Place<'_>,
    ) -> Result<(), Failure> {
        let id = Receipt::id(&event.event_id, notification.channel(), &notification.hash);
        let parcel = || parcel(record, value, event, notification);
        let mut tries = match self.memory.recall(id) {
            Some(Known::Done) => return Ok(()),
            Some(Known::Unreported(receipt)) => return self.tell(id, &parcel(), *receipt).await,
            Some(Known::Tried(tries)) => tries,
            None => Tries::default(),
        };
        let first = self.first(record, event, notification, &mut tries).await;
        failpoint::hit("notify.tried").await;
        self.memory.note(id, Known::Tried(tries));
        let end = match first {
            First::Ended(end) => end,
            First::Left(left) => {
                // What is handed over at a pace waits for it at nobody's cost.
                place.without(self.handover.turn()).await;
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
        self.tell(id, &parcel, receipt).await
    }

    /// Tries once, unless it is too late, the target asked for a pause or its endpoint is not to be asked.
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
        if !notification.tells(event) {
            let why = "no mail is sent about a request that was refused as invalid";
            return First::Ended(End::skipped(DeliveryError::new("not_mailed", why)));
        }
        if let Some(left) = tries.left_alone(Instant::now()) {
            return First::Left(Left::Failed(Some(left)));
        }
        let letter = Letter {
            event,
            traceparent: record.traceparent(),
        };
        let tried = match self.deliverer.first(&letter, notification).await {
            Attempt::Sent(tried) => tried,
            Attempt::Kept(closed) => return First::Left(Left::Kept(closed)),
            // At once: where no notifier serves it, each would be carried along for days.
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
                First::Left(Left::Failed(again_in))
            }
        }
    }

    /// Hands a notification over; returns its end if no workflow will ever take it.
    async fn hand_over(
        &self,
        parcel: Parcel,
        event: &Event,
        tries: Tries,
        left: &Left,
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
                NotificationHandedOver {
                    channel,
                    why: left.as_str(),
                    is_new: given == Given::New,
                }
                .emit();
                Ok(None)
            }
            Err(Refused::Now(failure)) => Err(failure),
            Err(Refused::Ever(error)) => {
                let error = DeliveryError::new("hand_over_refused", &error.to_string());
                Ok(Some(End::given_up(None, error)))
            }
        }
    }

    /// Tells Kafka of an end, and remembers it until that is done.
    async fn tell(&self, id: Uuid, parcel: &Parcel, receipt: Receipt) -> Result<(), Failure> {
        let unreported = Known::Unreported(Box::new(receipt.clone()));
        self.memory.note(id, unreported);
        let reported = self.deliverer.report(parcel, &receipt).await;
        reported.map_err(|error| Failure::Retry(Cause::KafkaUnavailable, error))?;
        self.memory.note(id, Known::Done);
        Ok(())
    }

    /// Has operators told of a failure once, unless that is long past.
    async fn note(&self, event: &Event) -> Result<(), Failure> {
        if Failed::of(event).is_none() || self.is_past(event, now()) {
            return Ok(());
        }
        let id = operator_alerts::id(event);
        // A record that is held comes again and again, for longer than the operators' workflow remembers.
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

    /// Lasts until the part of the grace period is over that what is under way may take.
    async fn patience(&self) {
        self.stop.cancelled().await;
        tokio::time::sleep(self.grace).await;
    }
}

impl Handler for Notifier {
    async fn handle(&self, record: &Record, place: Place<'_>) -> Result<(), Failure> {
        let Some(value) = record.value.as_deref() else {
            return Ok(());
        };
        let event = self.deliverer.read(value).await?;
        let planned = match self.plan(&event) {
            Ok(planned) => planned,
            // Operators need no seal to be opened.
            Err(failure) => {
                self.note(&event).await?;
                return Err(failure);
            }
        };
        // All at once: one that waits does not hold up the others.
        let notifying = join_all(
            planned
                .iter()
                .map(|notification| self.notify(record, value, &event, notification, place)),
        );
        let all = async { tokio::join!(notifying, self.note(&event)) };
        tokio::select! {
            (ends, noted) = all => ends.into_iter().chain([noted]).collect(),
            () = self.patience() => {
                Err(Failure::Retry(Cause::Interrupted, "stopped before it was delivered".into()))
            }
        }
    }

    async fn parked(&self, _: &Record, _: &Rejection) -> Result<(), BoxError> {
        Ok(())
    }
}

/// Whether an operator sends it again, and wants it told whatever its age.
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
            Unread::Schema(error) => error.into(),
            Unread::Event(_) | Unread::Seal(_) => {
                Self::Reject(Rejection::new(ErrorCode::Undecodable, error))
            }
        }
    }
}
