//! The activities of a delivery workflow: making one attempt, and reporting the end.

use super::deliver::{Attempt, Deliverer, Unread, receipt};
use super::endpoints::Closed;
use super::plan::Notification;
use super::receipt::{DeliveryError, End};
use super::schedule;
use super::tried::{Letter, Tried};
use crate::clock::millis;
use crate::domain::Event;
use crate::failpoint;
use crate::registry;
use crate::telemetry::events::NotificationRetried;
use crate::temporal::deliveries::{Conclude, Deliver, Delivered, Parcel};
use crate::work::Aborted;

/// How many times a step waits for an open circuit, some 25 minutes in all; then it counts as failed.
const WAITS: u32 = 12;

impl Deliverer {
    /// Makes one attempt.
    ///
    /// # Errors
    /// Only if this process could not make the attempt, because the registry is unavailable.
    pub async fn deliver(&self, input: Deliver) -> Result<Delivered, Aborted> {
        let Deliver {
            parcel,
            step,
            waited,
            shut,
        } = input;
        let (event, notification) = match self.open(&parcel).await {
            Ok(Some(found)) => found,
            Ok(None) => {
                let why = "the settings of this notifier do not name the target";
                let error = DeliveryError::new("target_gone", why);
                return Ok(self.elsewhere(&parcel, step, error));
            }
            // The event was readable before, so what prevents reading it now may be repaired: try again later.
            Err(error) => {
                let error = DeliveryError::new("undecodable", &lasting(error)?.to_string());
                return Ok(self.later_on(&parcel, step, None, error, false, None));
            }
        };
        let letter = Letter {
            event: &event,
            traceparent: parcel.traceparent.as_deref(),
        };
        let attempt = self.later(&letter, &notification).await;
        failpoint::hit("deliver.tried").await;
        Ok(match attempt {
            Attempt::Sent(Tried::Delivered(status)) => ended(End::delivered(status), true),
            Attempt::Sent(Tried::Refused { status, error }) => {
                ended(End::given_up(status, error), true)
            }
            Attempt::Sent(Tried::Later {
                status,
                error,
                again_in,
            }) => self.later_on(&parcel, step, status, error, true, again_in),
            // Other attempts test the endpoint often enough: move on to the next step.
            Attempt::Kept(Closed::Circuit(_)) if shut >= WAITS => {
                let why = "no attempt was made: the circuit of the endpoint is open after failures of other attempts";
                let error = DeliveryError::new("circuit_open", why);
                self.later_on(&parcel, step, None, error, false, None)
            }
            Attempt::Kept(closed) => Delivered::Wait {
                pause_ms: millis(schedule::wait(waited, closed.time(), schedule::jitter())),
                shut: matches!(closed, Closed::Circuit(_)),
            },
            Attempt::Unserved => self.elsewhere(&parcel, step, unserved()),
        })
    }

    /// Publishes the receipt of a notification.
    ///
    /// # Errors
    /// If Kafka or the registry is unavailable or refuses it; the activity is then retried.
    pub async fn conclude(&self, input: Conclude) -> Result<(), Aborted> {
        let Conclude {
            parcel,
            end,
            tries,
            first_try_at,
            ended_at,
        } = input;
        let found = match self.open(&parcel).await {
            Ok(found) => found,
            Err(error) => lasting(error).map(|_| None)?,
        };
        let shown = found.map(|(_, notification)| notification.shown());
        let shown = shown.unwrap_or_else(|| "…".to_owned());
        let receipt = receipt(&parcel, shown, end, tries, first_try_at, ended_at);
        let reported = self.report(&parcel, &receipt).await;
        reported.map_err(|error| Aborted::Again(anyhow::anyhow!(error)))
    }

    /// Decodes a parcel's event and finds its notification among the planned ones.
    async fn open(&self, parcel: &Parcel) -> Result<Option<(Event, Notification)>, Unread> {
        let event = self.read(&parcel.event.0).await?;
        let meant = |notification: &Notification| {
            notification.channel() == parcel.channel && notification.hash == parcel.target_hash
        };
        let found = self.plan(&event)?.into_iter().find(meant);
        Ok(found.map(|notification| (event, notification)))
    }

    /// Leaves a target that this notifier does not know or serve to a later attempt: another notifier may, for
    /// example while notifiers are restarted one by one with new settings. No target refused the notification,
    /// so after the last step it is skipped, not given up.
    fn elsewhere(&self, parcel: &Parcel, step: u32, error: DeliveryError) -> Delivered {
        let later = self.later_on(parcel, step, None, error.clone(), false, None);
        match later {
            Delivered::Later { pause_ms: None, .. } => ended(End::skipped(error), false),
            Delivered::Later { .. } | Delivered::Ended { .. } | Delivered::Wait { .. } => later,
        }
    }

    fn later_on(
        &self,
        parcel: &Parcel,
        step: u32,
        status: Option<u16>,
        error: DeliveryError,
        sent: bool,
        asked: Option<std::time::Duration>,
    ) -> Delivered {
        let pause = schedule::pause(&self.schedule, step, asked, schedule::jitter());
        if pause.is_some() {
            NotificationRetried {
                channel: parcel.channel.as_str(),
                error: &error,
                tries: step.saturating_add(1),
            }
            .emit();
        }
        Delivered::Later {
            status,
            error,
            sent,
            pause_ms: pause.map(millis),
        }
    }
}

/// Returns an error that does not pass by itself; an unavailable registry aborts the activity, for a retry.
fn lasting(error: Unread) -> Result<Unread, Aborted> {
    use registry::Error::{Refused, Unavailable};
    if matches!(error, Unread::Schema(Unavailable(_) | Refused { .. })) {
        return Err(Aborted::Again(error.into()));
    }
    Ok(error)
}

/// Returns the error for a channel that this process does not serve.
pub(super) fn unserved() -> DeliveryError {
    let why =
        "this notifier sends no email to tenants: SMTP_URL or EMAIL_ALLOWED_DOMAINS is not set";
    DeliveryError::new("channel_not_served", why)
}

fn ended(end: End, sent: bool) -> Delivered {
    Delivered::Ended { end, sent }
}

#[cfg(test)]
mod tests;
