//! The steps of a delivery workflow: one try, and telling of the end.

use std::sync::Arc;

use temporalio_macros::activities;
use temporalio_sdk::activities::{ActivityContext, ActivityError};

use super::deliver::{Attempt, Deliverer, Unread, receipt};
use super::endpoints::Closed;
use super::plan::Notification;
use super::schedule;
use crate::contract::activities::notification;
use crate::contract::delivery::{Conclude, Deliver, Delivered, Parcel};
use crate::contract::digest::{DigestSent, Tell};
use crate::contract::receipt::{DeliveryError, End};
use crate::domain::Event;
use crate::domain::time::millis;
use crate::engines::failpoint;
use crate::engines::registry;
use crate::engines::telemetry::events;
use crate::engines::temporal::activity::{Aborted, alive_until_stop};
use crate::roles::notifier::attempt::{Notice, Tried};

/// The activities of deliveries and digests.
pub struct Activities {
    /// Makes the attempts and reports the ends.
    pub deliverer: Arc<Deliverer>,
}

#[activities]
impl Activities {
    #[activity(definition = notification::Deliver)]
    pub async fn deliver(
        self: Arc<Self>,
        ctx: ActivityContext,
        input: Deliver,
    ) -> Result<Delivered, ActivityError> {
        // Boxed, because it is large: it holds a whole mail.
        alive_until_stop(&ctx, Box::pin(self.deliverer.deliver(input))).await
    }

    #[activity(definition = notification::Conclude)]
    pub async fn conclude(
        self: Arc<Self>,
        ctx: ActivityContext,
        input: Conclude,
    ) -> Result<(), ActivityError> {
        alive_until_stop(&ctx, self.deliverer.conclude(input)).await
    }

    #[activity(definition = notification::SendDigest)]
    pub async fn send_digest(
        self: Arc<Self>,
        ctx: ActivityContext,
        input: Tell,
    ) -> Result<DigestSent, ActivityError> {
        // Boxed, because it is large: it holds a whole mail.
        let telling = Box::pin(async { Ok(self.deliverer.send_digest(input).await) });
        alive_until_stop(&ctx, telling).await
    }
}

/// A try waits so often for an open circuit, some 25 minutes in all; then it counts as made.
const WAITS: u32 = 12;

impl Deliverer {
    /// Tries once, whatever came before.
    ///
    /// # Errors
    /// Only when this process could not try: the registry is away.
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
                let why = "the settings of this notifier name no such target";
                let error = DeliveryError::new("target_gone", why);
                return Ok(self.elsewhere(&parcel, step, error));
            }
            // It was read before: somebody may mend what does not let us read it now.
            Err(error) => {
                let error = DeliveryError::new("undecodable", &lasting(error)?.to_string());
                return Ok(self.later_on(&parcel, step, None, error, false, None));
            }
        };
        let notice = Notice {
            event: &event,
            traceparent: parcel.traceparent.as_deref(),
        };
        let attempt = self.later(&notice, &notification).await;
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
            // Others find out often enough for it.
            Attempt::Kept(Closed::Circuit(_)) if shut >= WAITS => {
                let why = "the endpoint did not answer others, so it was not asked";
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

    /// Publishes how a notification ended.
    ///
    /// # Errors
    /// When Kafka or the registry does not take it, or the registry is away: Temporal retries it.
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

    /// Reads a parcel's event and finds its target among those that are planned.
    async fn open(&self, parcel: &Parcel) -> Result<Option<(Event, Notification)>, Unread> {
        let event = self.read(&parcel.event.0).await?;
        let meant = |notification: &Notification| {
            notification.channel() == parcel.channel && notification.hash == parcel.target_hash
        };
        let found = self.plan(&event)?.into_iter().find(meant);
        Ok(found.map(|notification| (event, notification)))
    }

    /// What this notifier does not know or serve another may, as while they are restarted with other settings one by one.
    /// Nobody refused it: behind the last step it is skipped, and not given up.
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
            events::notification_retried(parcel.channel.as_str(), &error, step.saturating_add(1));
        }
        Delivered::Later {
            status,
            error,
            sent,
            pause_ms: pause.map(millis),
        }
    }
}

/// Returns what does not pass by itself. That the registry is away does.
fn lasting(error: Unread) -> Result<Unread, Aborted> {
    use registry::Error::{Refused, Unavailable};
    if matches!(error, Unread::Schema(Unavailable(_) | Refused { .. })) {
        return Err(Aborted::Again(error.into()));
    }
    Ok(error)
}

/// Why what goes by a channel that is not served is not tried.
pub(super) fn unserved() -> DeliveryError {
    let why =
        "this notifier sends no mail to tenants: SMTP_URL or EMAIL_ALLOWED_DOMAINS is not set";
    DeliveryError::new("channel_not_served", why)
}

fn ended(end: End, sent: bool) -> Delivered {
    Delivered::Ended { end, sent }
}

#[cfg(test)]
mod tests;
