//! Hands notifications over to their delivery workflows, at a limited rate.
//!
//! Connects when the connection is first needed, not before: the notifier makes first attempts even while Temporal is
//! unavailable.

use std::time::{Duration, Instant};

use tokio::sync::{Mutex, OnceCell};
use tokio::time::{sleep, timeout};

use super::endpoints::Closed;
use super::recent::Tries;
use super::schedule;
use crate::contract::delivery::{DeliveryInput, Parcel};
use crate::contract::receipt::{DeliveryError, NotificationEnd};
use crate::domain::time::millis;
use crate::domain::token_buckets::TokenBuckets;
use crate::engines::config;
use crate::engines::kafka::consumer::{Cause, Failure};
use crate::engines::telemetry::events;
use crate::engines::temporal::client;
use crate::engines::temporal::client::{Blame, Temporal};
use crate::engines::temporal::deliveries::{HandedOver, Once};

/// Starts the delivery workflows of notifications.
pub struct Handover {
    settings: config::Temporal,
    temporal: OnceCell<Temporal>,
    /// Locked by the hand-over whose turn is next, so that the others wait in their order.
    pace: Mutex<TokenBuckets>,
    schedule: Vec<Duration>,
}

/// Why the first attempt did not settle a notification.
pub(super) enum HandoverReason {
    /// The attempt failed; holds what is left of the pause that the target asked for, if it did.
    Failed(Option<Duration>),
    /// No attempt was made.
    Closed(Closed),
}

/// How long one hand-over may take, connecting included.
const LIMIT: Duration = Duration::from_secs(10);

impl Handover {
    /// Makes no network call.
    pub fn new(config: &config::Config) -> Self {
        let rate = config.notifier.handovers_per_second;
        Self {
            settings: config.temporal.for_deliveries(),
            temporal: OnceCell::new(),
            pace: Mutex::new(TokenBuckets::new(rate, Duration::from_secs(1), rate)),
            schedule: config.notifier.schedule.clone(),
        }
    }

    /// Returns the connection; the first call connects.
    ///
    /// # Errors
    /// If there is no connection yet and connecting fails.
    pub async fn temporal(&self) -> Result<&Temporal, client::Error> {
        let connect = || Temporal::connect(&self.settings);
        self.temporal.get_or_try_init(connect).await
    }

    /// Waits until the rate limit (`NOTIFY_HANDOVERS_PER_SECOND`) allows another hand-over.
    pub(super) async fn turn(&self) {
        let pace = self.pace.lock().await;
        while let Err(pause) = pace.take("", 1, Instant::now()) {
            sleep(pause).await;
        }
    }

    /// Starts the delivery workflow of a notification. Returns `None` once a workflow has, or had, the notification, and
    /// its end if Temporal will never accept it. Call [`Self::turn`] first.
    pub(super) async fn give(
        &self,
        parcel: Parcel,
        user: &str,
        tries: Tries,
        reason: &HandoverReason,
    ) -> Result<Option<NotificationEnd>, Failure> {
        let channel = parcel.channel.as_str();
        let (step, pause) = reason.next(&self.schedule);
        let delivery = DeliveryInput {
            parcel,
            tries: tries.count,
            first_try_at: tries.first_at,
            status: tries.status,
            step,
            waited: 0,
            shut: 0,
            lost: None,
            asked_by: None,
            pause_ms: millis(pause),
        };
        let giving = async {
            let temporal = self.temporal().await?;
            temporal.hand_over(delivery, user, Once::Ever).await
        };
        match timeout(LIMIT, giving).await {
            Ok(Ok(given)) => {
                let is_new = given == HandedOver::New;
                events::notification_handed_over(channel, reason.as_str(), is_new);
                Ok(None)
            }
            Ok(Err(error)) => refused(error).map(Some),
            Err(_) => {
                let error = format!("Temporal did not answer within {LIMIT:?}").into();
                Err(Failure::Retry(Cause::HandoverUnavailable, error))
            }
        }
    }
}

/// Returns the end of a notification that Temporal will never accept. Otherwise the record is held and releases its slot,
/// so that notifications that need no hand-over continue, until 64 times `NOTIFY_CONCURRENCY` records wait. An overloaded
/// Temporal is treated alike: the rate limit and the pause before the retry are enough to reduce its load.
fn refused(error: client::Error) -> Result<NotificationEnd, Failure> {
    match error.blame() {
        Blame::Record => {
            let error = DeliveryError::new("hand_over_refused", &error.to_string());
            Ok(NotificationEnd::given_up(None, error))
        }
        Blame::Connection | Blame::Load | Blame::System => {
            Err(Failure::Retry(Cause::HandoverUnavailable, error.into()))
        }
    }
}

impl HandoverReason {
    pub(super) fn as_str(&self) -> &'static str {
        match self {
            Self::Failed(_) => "not_delivered",
            Self::Closed(Closed::Circuit(_)) => "circuit_open",
            Self::Closed(Closed::Full) => "endpoint_full",
            Self::Closed(Closed::Slow) => "endpoint_slow",
        }
    }

    /// Returns the schedule step of the next attempt and the pause before it. Step 0 is the first attempt, for
    /// a notification that was not attempted yet.
    pub(super) fn next(&self, schedule: &[Duration]) -> (u32, Duration) {
        let jitter = schedule::jitter();
        match self {
            Self::Failed(asked) => {
                let pause = schedule::pause(schedule, 0, *asked, jitter);
                (1, pause.unwrap_or_default())
            }
            Self::Closed(closed) => (0, schedule::wait(0, closed.time(), jitter)),
        }
    }
}

#[cfg(test)]
mod tests {
    use temporalio_client::tonic::Code;

    use super::*;

    fn answered(code: Code) -> client::Error {
        let source = "why".into();
        client::Error::Answered { code, source }
    }

    #[test]
    fn a_failed_hand_over_is_retried_without_slowing_down_other_records() {
        for code in [
            Code::Unavailable,
            Code::ResourceExhausted,
            Code::PermissionDenied,
        ] {
            let failure = refused(answered(code)).unwrap_err();
            let waits = matches!(failure, Failure::Retry(Cause::HandoverUnavailable, _));
            assert!(waits, "{failure:?}");
        }
        assert!(refused(answered(Code::InvalidArgument)).is_ok());
    }
}
