//! The activities of delivery workflows (one attempt, and the report of the end) and of digests.

use std::sync::Arc;

use temporalio_macros::activities;
use temporalio_sdk::activities::{ActivityContext, ActivityError};

use super::channels::unserved;
use super::deliver::{Attempt, Deliverer, Unread, receipt};
use super::endpoints::Closed;
use super::operator_alerts;
use super::plan::{Notification, not_mailed};
use super::schedule;
use crate::contract::activities::notification;
use crate::contract::delivery::{Conclude, Deliver, Delivered, Parcel};
use crate::contract::digest::SendDigest;
use crate::contract::receipt::{DeliveryError, NotificationEnd};
use crate::domain::Event;
use crate::domain::time::millis;
use crate::engines::failpoint;
use crate::engines::telemetry::events;
use crate::engines::temporal::activity::{Aborted, alive_until_stop};
use crate::roles::notifier::attempt::{Notice, Tried};

/// The activities of deliveries and digests.
pub struct NotifierActivities {
    pub deliverer: Arc<Deliverer>,
}

#[activities]
impl NotifierActivities {
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
        alive_until_stop(&ctx, Box::pin(self.deliverer.conclude(input))).await
    }

    #[activity(definition = notification::SendDigest)]
    pub async fn send_digest(
        self: Arc<Self>,
        ctx: ActivityContext,
        input: SendDigest,
    ) -> Result<(), ActivityError> {
        let Deliverer {
            channels,
            operators,
            ..
        } = &*self.deliverer;
        operator_alerts::send(&ctx, channels, operators, input).await
    }
}

/// How many times an attempt waits for an open circuit, some 25 minutes in all; then it counts as made.
const WAITS: u32 = 12;

impl Deliverer {
    /// Makes one attempt.
    ///
    /// # Errors
    /// Only if this process could not make one, because the registry is unavailable.
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
            // It was read before, so an operator may correct what prevents that now.
            Err(error) => {
                let error = DeliveryError::new("undecodable", &lasting(error)?.to_string());
                return Ok(self.later_on(&parcel, step, None, error, false, None));
            }
        };
        // A person may have asked for it.
        if !notification.notifies(&event) {
            return Ok(ended(NotificationEnd::skipped(not_mailed()), false));
        }
        let notice = Notice {
            event: &event,
            traceparent: parcel.traceparent.as_deref(),
        };
        let attempt = self.later(&notice, &notification).await;
        failpoint::hit("deliver.tried").await;
        Ok(match attempt {
            Attempt::Sent(Tried::Delivered(status)) => {
                ended(NotificationEnd::delivered(status), true)
            }
            Attempt::Sent(Tried::Refused { status, error }) => {
                ended(NotificationEnd::given_up(status, error), true)
            }
            Attempt::Sent(Tried::Later {
                status,
                error,
                again_in,
            }) => self.later_on(&parcel, step, status, error, true, again_in),
            // Attempts of other notifications test the endpoint often enough.
            Attempt::Closed(Closed::Circuit(_)) if shut >= WAITS => {
                let why =
                    "the endpoint's circuit is open after earlier failures, so no attempt was made";
                let error = DeliveryError::new("circuit_open", why);
                self.later_on(&parcel, step, None, error, false, None)
            }
            Attempt::Closed(closed) => Delivered::Wait {
                pause_ms: millis(schedule::wait(waited, closed.time(), schedule::jitter())),
                shut: matches!(closed, Closed::Circuit(_)),
            },
            Attempt::Unserved => self.elsewhere(&parcel, step, unserved()),
        })
    }

    /// Publishes how a notification ended.
    ///
    /// # Errors
    /// If Kafka or the registry does not accept the receipt; Temporal then retries the activity.
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

    /// Leaves a notification that this notifier does not know or serve to a later attempt: another notifier may, as while
    /// they are restarted with other settings one by one. After the last step it is skipped, not given up, because no
    /// target refused it.
    fn elsewhere(&self, parcel: &Parcel, step: u32, error: DeliveryError) -> Delivered {
        let later = self.later_on(parcel, step, None, error.clone(), false, None);
        match later {
            Delivered::Later { pause_ms: None, .. } => {
                ended(NotificationEnd::skipped(error), false)
            }
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

/// Returns the error if the event can never be read. Otherwise the activity is tried again.
fn lasting(error: Unread) -> Result<Unread, Aborted> {
    if error.is_passing() {
        return Err(Aborted::Again(error.into()));
    }
    Ok(error)
}

fn ended(end: NotificationEnd, sent: bool) -> Delivered {
    Delivered::Ended { end, sent }
}

#[cfg(test)]
mod tests;
