//! The steps of a delivery workflow: one try, and telling of the end.

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
        } = input;
        let (event, notification) = match self.open(&parcel).await {
            Ok(Some(found)) => found,
            Ok(None) => {
                let why = "the settings or the request name no such target any more";
                return Ok(ended(End::skipped("target_gone", why), false));
            }
            Err(Unread::Schema(
                error @ (registry::Error::Unavailable(_) | registry::Error::Refused { .. }),
            )) => return Err(Aborted::Again(error.into())),
            // It was read before: somebody may mend what does not let us read it now.
            Err(error) => {
                let error = DeliveryError::new("undecodable", &error.to_string());
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
            // Others find out often enough for it.
            Attempt::Kept(Closed::Circuit(_)) if waited >= WAITS => {
                let why = "the endpoint did not answer others, so it was not asked";
                let error = DeliveryError::new("circuit_open", why);
                self.later_on(&parcel, step, None, error, false, None)
            }
            Attempt::Kept(closed) => Delivered::Wait {
                pause_ms: millis(schedule::wait(waited, closed.time(), schedule::jitter())),
            },
            Attempt::Unserved => ended(unserved(), false),
        })
    }

    /// Tells how a notification ended.
    ///
    /// # Errors
    /// When Kafka or the registry does not take it: it is to be told again.
    pub async fn conclude(&self, input: Conclude) -> Result<(), Aborted> {
        let Conclude {
            parcel,
            end,
            tries,
            first_try_at,
            ended_at,
        } = input;
        let shown = match self.open(&parcel).await {
            Ok(Some((_, notification))) => notification.shown(),
            Ok(None) | Err(_) => "…".to_owned(),
        };
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

/// The end of what goes by a channel that is not served.
pub(super) fn unserved() -> End {
    End::skipped(
        "channel_not_served",
        "this notifier does not serve the channel",
    )
}

fn ended(end: End, sent: bool) -> Delivered {
    Delivered::Ended { end, sent }
}
