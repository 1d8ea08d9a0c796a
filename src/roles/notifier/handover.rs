//! Hands a notification over to its workflow, which keeps it from then on.
//!
//! Connects with the first one: the notifier delivers first tries also while Temporal is away.

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

/// Hands notifications over.
pub struct Handover {
    place: config::Temporal,
    temporal: OnceCell<Temporal>,
    pace: DefaultDirectRateLimiter,
}

/// Why a notification was not handed over.
#[derive(Debug)]
pub(super) enum Refused {
    /// Not now.
    Now(Failure),
    /// Never: the server does not take what it carries.
    Ever(client::Error),
}

/// Notifications that need no hand-over go on meanwhile, as long as those that wait leave a place; also where the server
/// asks for less: the pace and the pause before the next try see to that.
const WAITS: Cause = Cause::HandoverUnavailable;
/// How long one hand-over may take, connecting included.
const LIMIT: Duration = Duration::from_secs(10);

impl Handover {
    /// Makes no call.
    pub fn new(config: &config::Config) -> Self {
        let quota = Quota::per_second(config.notifier.handovers_per_second);
        Self {
            place: config.temporal.for_deliveries(),
            temporal: OnceCell::new(),
            pace: RateLimiter::direct(quota),
        }
    }

    /// Returns the connection, made with the first call.
    ///
    /// # Errors
    /// There is none yet.
    pub async fn temporal(&self) -> Result<&Temporal, client::Error> {
        let connect = || Temporal::connect(&self.place);
        self.temporal.get_or_try_init(connect).await
    }

    /// Returns when another notification may be handed over, by the pace that is set.
    pub(super) async fn turn(&self) {
        self.pace.until_ready().await;
    }

    /// Returns when a workflow has it, or had it before. It is its [`Self::turn`].
    pub(super) async fn give(&self, delivery: Delivery, user: &str) -> Result<Given, Refused> {
        let giving = async {
            let temporal = self.temporal().await?;
            temporal.hand_over(delivery, user, Once::Ever).await
        };
        match timeout(LIMIT, giving).await {
            Ok(Ok(given)) => Ok(given),
            Ok(Err(error)) => Err(refused(error)),
            Err(_) => {
                let error = format!("no answer within {LIMIT:?}").into();
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

/// Says for whose sake a hand-over is to be tried again; `None`: in vain.
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
