//! Delivers webhooks: a signed POST, one try at a time.
//!
//! Every try has the same `webhook-id` and body, and its own timestamp and signature. What the target answers is
//! read no further than its status and `Retry-After`: its text is shown nowhere, for it is the target's to write.

mod asymmetric;
mod message;
pub(super) mod retry_after;

use std::time::{Duration, SystemTime};

use reqwest::Response;
use reqwest::header::CONTENT_TYPE;
use tokio::time::timeout;
use url::Url;

pub use self::asymmetric::{InvalidKey, Key};
pub use self::message::{InvalidSecret, user_secret};
use crate::contract::receipt::DeliveryError;
use crate::engines::config;
use crate::engines::egress as guard;
use crate::engines::egress::{Guard, Refused};
use crate::roles::notifier::attempt::{Letter, Tried};

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
    /// The event has no JSON.
    #[error("the event cannot be written as JSON")]
    Unwritable,
}

/// Why no sender can be made.
#[derive(Debug, thiserror::Error)]
pub enum Unusable {
    /// A master secret is malformed.
    #[error(transparent)]
    Secret(#[from] InvalidSecret),
    /// A signing key is malformed.
    #[error(transparent)]
    Key(#[from] InvalidKey),
    /// There is no guard of its calls.
    #[error(transparent)]
    Guard(#[from] guard::Unusable),
}

/// Delivers webhooks.
pub(super) struct Sender {
    guard: Guard,
    signer: message::Signer,
}

/// The code of a target that wants no more: 410.
pub const GONE: &str = "gone";
/// How much of an answer is read, only that its connection can serve again.
const LONGEST_ANSWER: usize = 16 * 1024;
/// For how long.
const LONGEST_DRAIN: Duration = Duration::from_millis(500);

impl Sender {
    /// Makes a sender; makes no call.
    pub(super) fn new(config: &config::Notifier) -> Result<Self, Unusable> {
        Ok(Self {
            guard: Guard::new("webhook", &config.egress, |client| client)?,
            signer: signer(config)?,
        })
    }

    /// Tries once; whoever has not answered within `limit` is left.
    pub(super) async fn send(&self, letter: &Letter<'_>, target: &Url, limit: Duration) -> Tried {
        match self.post(letter, target, limit).await {
            Ok(status) => Tried::Delivered(status),
            Err(error) => error.into(),
        }
    }

    /// Returns the status of a target that took it.
    async fn post(&self, letter: &Letter<'_>, target: &Url, limit: Duration) -> Result<u16, Error> {
        let event = letter.event;
        let body = message::body(event).map_err(|_| Error::Unwritable)?;
        let client = self.guard.client(target)?;
        let timestamp = SystemTime::now()
            .duration_since(SystemTime::UNIX_EPOCH)
            .map_or(0, |since| since.as_secs());
        let signatures = self
            .signer
            .signatures(&event.user_id, &event.event_id, timestamp, &body);
        let mut request = client
            .post(target.clone())
            .header(CONTENT_TYPE, "application/json")
            .header("webhook-id", &event.event_id)
            .header("webhook-timestamp", timestamp)
            .header("webhook-signature", signatures)
            .body(body)
            .timeout(limit);
        if let Some(trace) = letter.traceparent {
            request = request.header("traceparent", trace);
        }
        let response = request.send().await.map_err(Error::of)?;
        let status = response.status().as_u16();
        let again_in = retry_after::asked(response.headers(), SystemTime::now());
        drain(response).await;
        judge(status, again_in)
    }
}

/// Signs with the secrets of users and, where there are any, with the keys of all.
fn signer(config: &config::Notifier) -> Result<message::Signer, Unusable> {
    let keys: Result<Vec<_>, _> = config.signing_keys.iter().map(Key::parse).collect();
    Ok(message::Signer::new(&config.signing_secrets)?.with_keys(keys?))
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

/// Reads the answer to its end, if that is near; its status is what counts, whatever happens here.
async fn drain(mut response: Response) {
    let reading = async {
        let mut read = 0;
        while read < LONGEST_ANSWER
            && let Ok(Some(chunk)) = response.chunk().await
        {
            read += chunk.len();
        }
    };
    // One that does not end is left, and its connection with it.
    timeout(LONGEST_DRAIN, reading).await.ok();
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

    /// Returns the word of receipts and `dlq.reason`; a closed list.
    fn code(&self) -> &'static str {
        match self {
            Self::Forbidden(_) => "address_refused",
            Self::Gone => GONE,
            Self::Refused(_) => "refused",
            Self::Redirected(_) => "redirected",
            Self::Failed { status: 429, .. } => "throttled",
            Self::Failed { .. } => "target_failed",
            Self::TimedOut => "timed_out",
            Self::Unreachable(_) => "unreachable",
            Self::Unwritable => "unwritable",
        }
    }

    /// Returns the status the target answered, if it did.
    fn status(&self) -> Option<u16> {
        match self {
            Self::Gone => Some(410),
            Self::Refused(status) | Self::Redirected(status) | Self::Failed { status, .. } => {
                Some(*status)
            }
            Self::Forbidden(_) | Self::TimedOut | Self::Unreachable(_) | Self::Unwritable => None,
        }
    }
}

impl From<Error> for Tried {
    fn from(error: Error) -> Self {
        let status = error.status();
        let told = DeliveryError {
            code: error.code().to_owned(),
            message: error.to_string(),
        };
        let later = |again_in| Self::Later {
            status,
            error: told.clone(),
            again_in,
        };
        match error {
            Error::Redirected(_) | Error::TimedOut | Error::Unreachable(_) => later(None),
            Error::Failed { again_in, .. } => later(again_in),
            Error::Forbidden(_) | Error::Gone | Error::Refused(_) | Error::Unwritable => {
                Self::Refused {
                    status,
                    error: told,
                }
            }
        }
    }
}

#[cfg(test)]
mod tests;
