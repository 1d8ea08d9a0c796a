//! Delivers webhooks: a signed POST, tried a few times.
//!
//! Every try has the same `webhook-id` and body, and its own timestamp and signature. What the target answers is
//! read no further than its status and `Retry-After`: its text is shown nowhere, for it is the target's to write.

mod message;
mod retry;

use std::time::{Duration, SystemTime};

use crate::telemetry::events::NotificationRetried;
use bytes::Bytes;
use reqwest::Response;
use reqwest::header::CONTENT_TYPE;
use tokio_util::sync::CancellationToken;
use url::Url;

pub(super) use self::message::body;
pub use self::message::{InvalidSecret, user_secret};
use crate::config;
use crate::guard::{self, Guard, Refused};

/// Why a try did not deliver.
#[derive(Debug, thiserror::Error)]
pub(super) enum Error {
    /// The target may not be called.
    #[error(transparent)]
    Forbidden(#[from] Refused),
    /// It wants no more.
    #[error("the target is gone")]
    Gone,
    /// It does not take this.
    #[error("the target refused with status {0}")]
    Refused(u16),
    /// It points elsewhere, where we do not follow.
    #[error("the target redirects, with status {0}")]
    Redirected(u16),
    /// It could not take this now, and may have said when to come again.
    #[error("the target failed with status {status}")]
    Failed {
        /// Its status.
        status: u16,
        /// `Retry-After`, of a 429 or 503.
        again_in: Option<Duration>,
    },
    /// It did not answer in time.
    #[error("the target did not answer in time")]
    TimedOut,
    /// There was no connection to it, or none that held until the answer.
    #[error("the target cannot be reached")]
    Unreachable(#[source] reqwest::Error),
}

/// Why no sender can be made.
#[derive(Debug, thiserror::Error)]
pub enum Unusable {
    /// A master secret is malformed.
    #[error(transparent)]
    Secret(#[from] InvalidSecret),
    /// There is no guard of its calls.
    #[error(transparent)]
    Guard(#[from] guard::Unusable),
}

/// One webhook to deliver.
#[derive(Clone, Copy)]
pub(super) struct Call<'c> {
    /// The same on all tries: the event's id.
    pub(super) id: &'c str,
    /// Whose secret signs.
    pub(super) user: &'c str,
    /// Where it goes.
    pub(super) target: &'c Url,
    /// What it says.
    pub(super) body: &'c Bytes,
    /// The trace it belongs to.
    pub(super) traceparent: Option<&'c str>,
}

/// How a delivery ended.
#[derive(Debug)]
pub(super) struct Delivery {
    /// The last try: the status that took it, or why it was not taken.
    pub(super) last: Result<u16, Error>,
    /// How many there were.
    pub(super) tries: u32,
}

/// The process is stopping, between two tries.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("stopped before the notification was delivered")]
pub(super) struct Stopped;

/// Delivers webhooks.
pub(super) struct Sender {
    guard: Guard,
    signer: message::Signer,
    attempts: u32,
    backoff: Duration,
}

/// How much of an answer is read, only that its connection can serve again.
const LONGEST_ANSWER: usize = 16 * 1024;

impl Sender {
    /// Makes a sender; makes no call.
    pub(super) fn new(config: &config::Notifier) -> Result<Self, Unusable> {
        Ok(Self {
            guard: Guard::new("webhook", &config.egress, [], |client| {
                client.timeout(config.try_timeout)
            })?,
            signer: message::Signer::new(&config.signing_secrets)?,
            attempts: config.attempts,
            backoff: config.backoff,
        })
    }

    /// Tries until it is taken, refused for good, or was tried often enough.
    ///
    /// # Errors
    /// [`Stopped`] when `stop` fires during a pause.
    pub(super) async fn deliver(
        &self,
        call: Call<'_>,
        stop: &CancellationToken,
    ) -> Result<Delivery, Stopped> {
        let mut tries = 0;
        loop {
            tries += 1;
            let last = self.try_once(call).await;
            let pause = match &last {
                Err(error) if !error.is_final() && tries < self.attempts => {
                    NotificationRetried {
                        channel: "WEBHOOK",
                        error,
                        tries,
                    }
                    .emit();
                    let jitter = rand::random_range(retry::JITTER);
                    retry::pause(self.backoff, tries, error.again_in(), jitter)
                }
                Ok(_) | Err(_) => return Ok(Delivery { last, tries }),
            };
            tokio::select! {
                () = tokio::time::sleep(pause) => {}
                () = stop.cancelled() => return Err(Stopped),
            }
        }
    }

    /// Returns the status of a target that took it.
    async fn try_once(&self, call: Call<'_>) -> Result<u16, Error> {
        let client = self.guard.client(call.target)?;
        let timestamp = SystemTime::now()
            .duration_since(SystemTime::UNIX_EPOCH)
            .map_or(0, |since| since.as_secs());
        let signatures = self
            .signer
            .signatures(call.user, call.id, timestamp, call.body);
        let mut request = client
            .post(call.target.clone())
            .header(CONTENT_TYPE, "application/json")
            .header("webhook-id", call.id)
            .header("webhook-timestamp", timestamp)
            .header("webhook-signature", signatures)
            .body(call.body.clone());
        if let Some(trace) = call.traceparent {
            request = request.header("traceparent", trace);
        }
        let response = request.send().await.map_err(Error::of)?;
        let status = response.status().as_u16();
        let again_in = retry::asked(response.headers(), SystemTime::now());
        drain(response).await;
        judge(status, again_in)
    }
}

/// Says what a status means to a delivery.
fn judge(status: u16, again_in: Option<Duration>) -> Result<u16, Error> {
    match status {
        200..=299 => Ok(status),
        300..=399 => Err(Error::Redirected(status)),
        429 | 503 => Err(Error::Failed { status, again_in }),
        410 => Err(Error::Gone),
        400..=499 if status != 408 => Err(Error::Refused(status)),
        _ => Err(Error::Failed {
            status,
            again_in: None,
        }),
    }
}

/// Reads the answer to its end, if that is near; it is over and judged, whatever happens here.
async fn drain(mut response: Response) {
    let mut read = 0;
    while read < LONGEST_ANSWER
        && let Ok(Some(chunk)) = response.chunk().await
    {
        read += chunk.len();
    }
}

impl Error {
    fn of(error: reqwest::Error) -> Self {
        if let Some(refused) = Refused::of(&error) {
            return Self::Forbidden(refused);
        }
        if error.is_timeout() {
            return Self::TimedOut;
        }
        Self::Unreachable(error.without_url())
    }

    /// Tells whether no further try can help.
    fn is_final(&self) -> bool {
        match self {
            Self::Forbidden(_) | Self::Gone | Self::Refused(_) => true,
            Self::Redirected(_) | Self::Failed { .. } | Self::TimedOut | Self::Unreachable(_) => {
                false
            }
        }
    }

    fn again_in(&self) -> Option<Duration> {
        match self {
            Self::Failed { again_in, .. } => *again_in,
            Self::Forbidden(_)
            | Self::Gone
            | Self::Refused(_)
            | Self::Redirected(_)
            | Self::TimedOut
            | Self::Unreachable(_) => None,
        }
    }

    /// Returns the word of receipts and `dlq.reason`; a closed list.
    pub(super) fn code(&self) -> &'static str {
        match self {
            Self::Forbidden(_) => "address_refused",
            Self::Gone => "gone",
            Self::Refused(_) => "refused",
            Self::Redirected(_) => "redirected",
            Self::Failed { status: 429, .. } => "throttled",
            Self::Failed { .. } => "target_failed",
            Self::TimedOut => "timed_out",
            Self::Unreachable(_) => "unreachable",
        }
    }

    /// Returns the status the target answered, if it did.
    pub(super) fn status(&self) -> Option<u16> {
        match self {
            Self::Gone => Some(410),
            Self::Refused(status) | Self::Redirected(status) | Self::Failed { status, .. } => {
                Some(*status)
            }
            Self::Forbidden(_) | Self::TimedOut | Self::Unreachable(_) => None,
        }
    }
}

#[cfg(test)]
mod tests;
