//! Hands notifications over to their delivery workflows.
//!
//! Connects for the first hand-over, not before: the notifier makes first attempts even while Temporal is unavailable.

use std::time::Duration;

use governor::{DefaultDirectRateLimiter, Quota, RateLimiter};
use tokio::sync::OnceCell;
use tokio::time::timeout;

use crate::contract::delivery::Delivery;
use crate::engines::config;
use crate::engines::kafka::consumer::{Cause, Failure};
use crate::engines::temporal::client;
use crate::engines::temporal::client::{Blame, Temporal};
use crate::engines::temporal::deliveries::{Given, Once};

/// Hands notifications over to workflows, at a limited rate.
pub struct Handover {
    place: config::Temporal,
    temporal: OnceCell<Temporal>,
    pace: DefaultDirectRateLimiter,
}

/// Why a notification was not handed over.
#[derive(Debug)]
pub(super) enum Refused {
    /// It may be handed over later.
    Now(Failure),
    /// Temporal will never accept it.
    Ever(client::Error),
}

/// The cause of every hand-over that is retried. A record held for it releases its slot, so notifications that
/// need no hand-over continue, until 64 times `NOTIFY_CONCURRENCY` records wait. The same cause serves for an
/// overloaded server: the rate limit and the pause before the retry are enough to reduce its load.
const WAITS: Cause = Cause::HandoverUnavailable;
/// How long one hand-over may take, connecting included.
const LIMIT: Duration = Duration::from_secs(10);

impl Handover {
    /// Creates the hand-over; makes no network call.
    pub fn new(config: &config::Config) -> Self {
        let quota = Quota::per_second(config.notifier.handovers_per_second);
        Self {
            place: config.temporal.for_deliveries(),
            temporal: OnceCell::new(),
            pace: RateLimiter::direct(quota),
        }
    }

    /// Returns the connection; the first call connects.
    ///
    /// # Errors
    /// If there is no connection yet and connecting fails.
    pub async fn temporal(&self) -> Result<&Temporal, client::Error> {
        let connect = || Temporal::connect(&self.place);
        self.temporal.get_or_try_init(connect).await
    }

    /// Waits until the rate limit (`NOTIFY_HANDOVERS_PER_SECOND`) allows another hand-over.
    pub(super) async fn turn(&self) {
        self.pace.until_ready().await;
    }

    /// Starts the delivery workflow; returns once a workflow has, or had, the notification. Call [`Self::turn`] first.
    pub(super) async fn give(&self, delivery: Delivery, user: &str) -> Result<Given, Refused> {
        let giving = async {
            let temporal = self.temporal().await?;
            temporal.hand_over(delivery, user, Once::Ever).await
        };
        match timeout(LIMIT, giving).await {
            Ok(Ok(given)) => Ok(given),
            Ok(Err(error)) => Err(refused(error)),
            Err(_) => {
                let error = format!("Temporal did not answer within {LIMIT:?}").into();
                Err(Refused::Now(Failure::Retry(WAITS, error)))
            }
        }
    }
}

fn refused(error: client::Error) -> Refused {
    match cause(error.blame()) {
        Some(cause) => Refused::Now(Failure::Retry(cause, error.into())),
        None => Refused::Ever(error),
    }
}

/// Returns the cause for which a hand-over is retried; `None` if a retry cannot help.
fn cause(blame: Blame) -> Option<Cause> {
    match blame {
        Blame::Record => None,
        Blame::Connection | Blame::Load | Blame::System => Some(WAITS),
    }
}

impl std::fmt::Debug for Handover {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Handover").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whatever_keeps_hand_overs_back_slows_nothing_else_down() {
        let blames = [Blame::Connection, Blame::Load, Blame::System];

        for blame in blames {
            assert_eq!(cause(blame), Some(Cause::HandoverUnavailable));
        }
        assert_eq!(cause(Blame::Record), None);
    }
}
