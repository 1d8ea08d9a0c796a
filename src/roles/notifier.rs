//! The notifier role: turns each event into notifications, delivers them, and publishes a receipt for each one.
//!
//! Delivery is at least once. The notifier makes one short first attempt per notification, within the limits of its
//! endpoint. A notification that this does not settle is handed over to a workflow (`delivery.v1`), which retries for
//! days. A record is done when each of its notifications has either a workflow, or a receipt on Kafka (preceded, if it
//! was given up, by the event on the dead-letter topic). So a dead endpoint costs the partition one hand-over per
//! notification, and no other notification waits for it. While Temporal is unavailable, notifications to hand over
//! wait. A repeat has the same ids: `webhook-id` is the event's id, and `receipt_id` is derived from event, channel and
//! target.
//!
//! Operators are notified of failures too, many in one message (`operator_alerts`). If this notifier does not serve a
//! target's channel, the notification ends as `SKIPPED` with `channel_not_served`; one that was
//! handed over ends so only after its last attempt, because another notifier may serve the channel.

pub mod activities;
mod attempt;
mod channels;
mod circuits;
mod deliver;
mod digest_text;
pub mod email;
mod endpoints;
mod handover;
mod operator_alerts;
mod plan;
mod recent;
mod schedule;
mod slack;
mod test_webhook;
#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;
mod webhook;
mod wording;
pub mod worker;

use std::borrow::Cow;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::future::join_all;
use parking_lot::{Mutex, MutexGuard};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

pub use self::channels::UnusableChannel;
pub use self::deliver::Deliverer;
use self::deliver::{Attempt, receipt};
pub use self::handover::Handover;
use self::handover::HandoverReason;
use self::plan::{Notification, not_mailed};
pub use self::plan::{shown, webhook as webhook_target};
pub use self::test_webhook::{TestAnswer, test_webhook};
pub use self::webhook::{GONE, InvalidKey, InvalidSecret, MasterKey, user_secret};
use crate::contract::delivery::{Parcel, Raw};
use crate::contract::headers::ACCEPT_OLD;
use crate::contract::receipt::{NotificationEnd, Receipt};
use crate::domain::{ErrorCode, Event};
use crate::engines::clock::now;
use crate::engines::config::Config;
use crate::engines::failpoint;
use crate::engines::kafka::Record;
use crate::engines::kafka::consumer::{Cause, Failure, Fuse, Handler, RejectionFault, Slots};
use crate::engines::telemetry::spans;
use crate::roles::notifier::attempt::{Notice, Tried};
use crate::roles::notifier::operator_alerts::OperatorAlerts;
use crate::roles::notifier::recent::{Known, Recent, Tries};

/// Handles the records of `gen.events`.
pub struct Notifier {
    deliverer: Arc<Deliverer>,
    handover: Arc<Handover>,
    alerts: OperatorAlerts,
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

enum First {
    Ended(NotificationEnd),
    HandOver(HandoverReason),
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
            alerts: OperatorAlerts::new(&config.notifier, handover.clone()),
            handover,
            memory: Recent::new(REMEMBERED),
            seals: Mutex::new(Fuse::new(config.kafka.dlq_fuse)),
            max_age: config.notifier.max_age,
            grace: config.grace / 3,
            stop,
        }
    }

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
                    RejectionFault::Unclear,
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
            First::HandOver(reason) => {
                // The consumer slot is released while the hand-over waits for its rate limit.
                slots.without(self.handover.turn()).await;
                let given = self.handover.give(parcel(), &event.user_id, tries, &reason);
                match given.await? {
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

    /// Makes the first attempt, unless the notification has expired or is skipped, its target asked for a pause, or its
    /// endpoint is closed.
    async fn first(
        &self,
        record: &Record,
        event: &Event,
        notification: &Notification,
        tries: &mut Tries,
    ) -> First {
        let began = now();
        if !is_taken_however_old(record) && self.is_past(event, began) {
            return First::Ended(NotificationEnd::expired());
        }
        if !notification.notifies(event) {
            return First::Ended(NotificationEnd::skipped(not_mailed()));
        }
        if let Some(left) = tries.left_alone(Instant::now()) {
            return First::HandOver(HandoverReason::Failed(Some(left)));
        }
        let notice = Notice {
            event,
            traceparent: record.traceparent(),
        };
        let tried = match self.deliverer.first(&notice, notification).await {
            Attempt::Sent(tried) => tried,
            Attempt::Closed(closed) => return First::HandOver(HandoverReason::Closed(closed)),
            // Skipped at once: if no notifier served the channel, a workflow would carry each notification for days.
            Attempt::Unserved => {
                return First::Ended(NotificationEnd::skipped(channels::unserved()));
            }
        };
        tries.count = tries.count.saturating_add(1);
        tries.first_at.get_or_insert(began);
        match tried {
            Tried::Delivered(status) => First::Ended(NotificationEnd::delivered(status)),
            Tried::Refused { status, error } => {
                First::Ended(NotificationEnd::given_up(status, error))
            }
            Tried::Later {
                status, again_in, ..
            } => {
                tries.status = status;
                tries.until = again_in.map(|asked| Instant::now() + schedule::kept(asked));
                First::HandOver(HandoverReason::Failed(again_in))
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

    /// Reports the event to the operators if it is a failure and not too old.
    async fn report_failure(&self, event: &Event) -> Result<(), Failure> {
        if self.is_past(event, now()) {
            return Ok(());
        }
        self.alerts.report(event, &self.memory).await
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
        spans::of_request(&event.request_id);
        let planned = match self.plan(&event) {
            Ok(planned) => planned,
            // Operators are notified even if the seal does not open: their targets are in the settings.
            Err(failure) => {
                self.report_failure(&event).await?;
                return Err(failure);
            }
        };
        // Concurrently, so that one that waits does not delay the others.
        let notifying = join_all(
            planned
                .iter()
                .map(|notification| self.notify(record, value, &event, notification, slots)),
        );
        let all = async { tokio::join!(notifying, self.report_failure(&event)) };
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
        traceparent: spans::traceparent(record.traceparent()).map(Cow::into_owned),
        channel: notification.channel(),
        target_hash: notification.hash.clone(),
    }
}
