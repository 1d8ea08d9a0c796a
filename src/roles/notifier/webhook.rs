//! Delivers webhooks: one signed POST per attempt.
//!
//! Every attempt has the same `webhook-id` and body, and its own timestamp and signature. Of an answer, only
//! the status and `Retry-After` are used. Its body is not shown anywhere, because the target controls it.

mod body;
mod signature;
mod signature_v1a;

use std::time::{Duration, SystemTime};

use reqwest::Response;
use reqwest::header::CONTENT_TYPE;
use tokio::time::timeout;
use url::Url;

pub use self::signature::{InvalidSecret, user_secret};
pub use self::signature_v1a::{InvalidKey, MasterKey};
use crate::contract::receipt::DeliveryError;
use crate::engines::clock::now;
use crate::engines::config;
use crate::engines::egress;
use crate::engines::egress::{Guard, Refused};
use crate::engines::http;
use crate::roles::notifier::attempt::{Notice, Tried};

/// Why an attempt failed.
#[derive(Debug, thiserror::Error)]
pub(super) enum Error {
    #[error(transparent)]
    Forbidden(#[from] Refused),
    #[error("the target is gone")]
    Gone,
    /// The target answered with another final 4xx status.
    #[error("the target refused with status {0}")]
    Refused(u16),
    /// The target redirects, and redirects are not followed.
    #[error("the target redirects with status {0}, and redirects are not followed")]
    Redirected(u16),
    /// The target cannot accept the webhook now, and may have asked for a pause.
    #[error("the target failed with status {status}")]
    Failed {
        status: u16,
        /// `Retry-After`, of a 429 or 503.
        again_in: Option<Duration>,
    },
    #[error("the target did not answer in time")]
    TimedOut,
    /// There was no connection, or it broke before the answer.
    #[error("the target cannot be reached")]
    Unreachable(#[source] reqwest::Error),
    #[error("the event cannot be written as JSON")]
    Unwritable,
}

#[derive(Debug, thiserror::Error)]
pub enum UnusableWebhook {
    #[error(transparent)]
    Secret(#[from] InvalidSecret),
    #[error(transparent)]
    Key(#[from] InvalidKey),
    /// The HTTP client that checks addresses cannot be built.
    #[error(transparent)]
    Guard(#[from] egress::UnusableGuard),
}

pub(super) struct Sender {
    guard: Guard,
    signer: signature::Signer,
}

/// Error code for a target that answered 410.
pub const GONE: &str = "gone";
/// How many bytes of an answer are read, so that its connection can be reused.
const LONGEST_ANSWER: usize = 16 * 1024;
/// How long an answer is read.
const LONGEST_DRAIN: Duration = Duration::from_millis(500);

impl Sender {
    /// Creates a sender; makes no network call.
    pub(super) fn new(config: &config::Notifier) -> Result<Self, UnusableWebhook> {
        Ok(Self {
            guard: Guard::new("webhook", &config.egress, |client| client)?,
            signer: signer(config)?,
        })
    }

    /// Makes one attempt; gives up if there is no answer within `limit`.
    pub(super) async fn send(&self, notice: &Notice<'_>, target: &Url, limit: Duration) -> Tried {
        match self.post(notice, target, limit).await {
            Ok(status) => Tried::Delivered(status),
            Err(error) => error.into(),
        }
    }

    /// Sends a test, which says that it is one, signed for `user`; gives up if there is no answer within `limit`.
    pub(super) async fn test(&self, user: &str, id: &str, target: &Url, limit: Duration) -> Tried {
        let sending = async {
            let body = body::test_body(now()).map_err(|_| Error::Unwritable)?;
            self.post_signed(user, id, body, target, limit, None).await
        };
        match sending.await {
            Ok(status) => Tried::Delivered(status),
            Err(error) => error.into(),
        }
    }

    /// Posts the event; returns the status if the target accepted it.
    async fn post(&self, notice: &Notice<'_>, target: &Url, limit: Duration) -> Result<u16, Error> {
        let (event, trace) = (notice.event, notice.traceparent);
        let body = body::body(event).map_err(|_| Error::Unwritable)?;
        let (user, id) = (&event.user_id, &event.event_id);
        self.post_signed(user, id, body, target, limit, trace).await
    }

    async fn post_signed(
        &self,
        user: &str,
        id: &str,
        body: Vec<u8>,
        target: &Url,
        limit: Duration,
        trace: Option<&str>,
    ) -> Result<u16, Error> {
        let client = self.guard.client(target)?;
        let timestamp = SystemTime::now()
            .duration_since(SystemTime::UNIX_EPOCH)
            .map_or(0, |since| since.as_secs());
        let signatures = self.signer.signatures(user, id, timestamp, &body);
        let mut request = client
            .post(target.clone())
            .header(CONTENT_TYPE, "application/json")
            .header("webhook-id", id)
            .header("webhook-timestamp", timestamp)
            .header("webhook-signature", signatures)
            .body(body)
            .timeout(limit);
        if let Some(trace) = trace {
            request = request.header("traceparent", trace);
        }
        let response = request.send().await.map_err(Error::of)?;
        let status = response.status().as_u16();
        let again_in = http::retry_after(response.headers(), SystemTime::now());
        drain(response).await;
        judge(status, again_in)
    }
}

/// Builds the signer: it signs with the secrets of users and, if there are any, with the `v1a` keys.
fn signer(config: &config::Notifier) -> Result<signature::Signer, UnusableWebhook> {
    let keys: Result<Vec<_>, _> = config.signing_keys.iter().map(MasterKey::parse).collect();
    Ok(signature::Signer::new(&config.signing_secrets)?.with_keys(keys?))
}

/// Maps a status to the result of the attempt.
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

/// Reads the answer to its end, if that is near. Errors do not matter here: only the status decides.
async fn drain(mut response: Response) {
    let reading = async {
        let mut read = 0;
        while read < LONGEST_ANSWER
            && let Ok(Some(chunk)) = response.chunk().await
        {
            read += chunk.len();
        }
    };
    // An answer that does not end is dropped, with its connection.
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

    /// Returns the code for receipts and `dlq.reason`; a closed list.
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

    /// Returns the status of the answer, if there was one.
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
        let reported = DeliveryError {
            code: error.code().to_owned(),
            message: error.to_string(),
        };
        let later = |again_in| Self::Later {
            status,
            error: reported.clone(),
            again_in,
        };
        match error {
            Error::Redirected(_) | Error::TimedOut | Error::Unreachable(_) => later(None),
            Error::Failed { again_in, .. } => later(again_in),
            Error::Forbidden(_) | Error::Gone | Error::Refused(_) | Error::Unwritable => {
                Self::Refused {
                    status,
                    error: reported,
                }
            }
        }
    }
}

#[cfg(test)]
mod tests;
