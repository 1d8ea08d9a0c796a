//! Delivers to Slack's incoming webhooks: one message per attempt, and at most one a second per target.
//!
//! A target is a secret URL that a tenant supplied, so only hosts in `SLACK_ALLOWED_HOSTS` are called. Of an
//! answer, only the status, `Retry-After` and a known Slack error word are kept.

mod message;
mod pace;
mod text;

use std::time::{Duration, SystemTime};

use reqwest::{Client, Response};
use serde_json::Value;
use tokio::time::{Instant, sleep_until, timeout};
use url::Url;

pub(super) use self::message::digest;
use self::message::{message, without_images};
use self::pace::Pace;
use super::webhook::UnusableWebhook;
use crate::contract::receipt::DeliveryError;
use crate::engines::config;
use crate::engines::egress::{Guard, Refused};
use crate::engines::http::{self, LONGEST_PAUSE};
use crate::roles::notifier::attempt::{NotNow, Notice, Tried};

pub(super) struct Sender {
    guard: Guard,
    hosts: Vec<String>,
    try_time: Duration,
    pace: Pace,
}

/// Slack's answer, or why Slack did not answer.
enum Answer {
    Status {
        status: u16,
        word: Option<&'static str>,
        again_in: Option<Duration>,
    },
    None(reqwest::Error),
}

/// How many targets are tracked at once, each for a second or for the pause that it asked for.
const TARGETS: usize = 10_000;
/// How long a message waits for its target's next free second.
const PATIENCE: Duration = Duration::from_secs(2);
/// How many bytes of an answer are read: Slack answers with one word.
const LONGEST_ANSWER: usize = 1024;
/// How long an answer is read.
const LONGEST_READ: Duration = Duration::from_millis(500);
/// Slack's error words (docs.slack.dev/messaging/sending-messages-using-incoming-webhooks).
const WORDS: [&str; 16] = [
    "action_prohibited",
    "channel_is_archived",
    "channel_not_found",
    "invalid_attachments",
    "invalid_blocks",
    "invalid_payload",
    "invalid_token",
    "no_active_hooks",
    "no_service",
    "no_service_id",
    "no_team",
    "no_text",
    "posting_to_general_channel_denied",
    "rollup_error",
    "team_disabled",
    "user_not_found",
];

impl Sender {
    /// Creates a sender; makes no network call.
    ///
    /// # Errors
    /// [`UnusableWebhook`] if no HTTP client can be built.
    pub(super) fn new(config: &config::Notifier) -> Result<Self, UnusableWebhook> {
        Ok(Self {
            guard: Guard::new("slack", &config.egress, |client| client)?,
            hosts: config.slack_hosts.clone(),
            try_time: config.try_timeout,
            pace: Pace::new(TARGETS),
        })
    }

    /// Reserves the target's next free second and waits for it, if it is within [`PATIENCE`].
    pub(super) async fn turn(&self, to: &Url) -> Result<(), NotNow> {
        // A target on another host is refused later without a call: it needs no wait and no tracking.
        if !self.is_slacks(to) {
            return Ok(());
        }
        let second = self.pace.place(to.as_str(), Instant::now(), PATIENCE);
        sleep_until(second.map_err(NotNow)?).await;
        Ok(())
    }

    /// Makes one attempt to send an event to `to`, in the second that [`Self::turn`] reserved.
    pub(super) async fn send(
        &self,
        notice: &Notice<'_>,
        to: &Url,
        limit: Duration,
    ) -> Result<Tried, NotNow> {
        self.post_within(message(notice.event), to, limit).await
    }

    /// Makes one attempt to post a message to a target of the operator, in its next free second, within `try_time`.
    pub(super) async fn post(&self, message: Value, to: &Url) -> Result<Tried, NotNow> {
        self.turn(to).await?;
        self.post_within(message, to, self.try_time).await
    }

    /// Posts a message. If Slack answers 400 to a message with images, posts it again without them, a second later.
    async fn post_within(
        &self,
        mut message: Value,
        to: &Url,
        limit: Duration,
    ) -> Result<Tried, NotNow> {
        let client = match self.client(to) {
            Ok(client) => client,
            Err(error) => {
                let status = None;
                return Ok(Tried::Refused { status, error });
            }
        };
        let ends = Instant::now() + limit;
        let first = self.call(client, &message, to, ends).await;
        let refused = matches!(first, Answer::Status { status: 400, .. });
        if refused && without_images(&mut message) {
            self.turn(to).await?;
            return Ok(judge(self.call(client, &message, to, ends).await));
        }
        Ok(judge(first))
    }

    /// Returns the client for a target whose host and address are allowed.
    fn client(&self, to: &Url) -> Result<&Client, DeliveryError> {
        if !self.is_slacks(to) {
            let message = "the host is not in SLACK_ALLOWED_HOSTS";
            return Err(DeliveryError::new("host_refused", message));
        }
        self.guard.client(to).map_err(refused)
    }

    fn is_slacks(&self, to: &Url) -> bool {
        let host = to.host_str().unwrap_or_default();
        self.hosts.iter().any(|allowed| allowed == host)
    }

    async fn call(&self, client: &Client, message: &Value, to: &Url, ends: Instant) -> Answer {
        let left = ends.saturating_duration_since(Instant::now());
        let posting = client.post(to.clone()).json(message).timeout(left);
        let response = match posting.send().await {
            Ok(response) => response,
            Err(error) => return Answer::None(error.without_url()),
        };
        let status = response.status().as_u16();
        let asked = http::retry_after(response.headers(), SystemTime::now());
        let again_in = asked.filter(|_| matches!(status, 429 | 503));
        if let Some(pause) = again_in {
            // This message waits for all of the pause; other messages to the target wait for a bounded part of it.
            let pause = pause.min(LONGEST_PAUSE);
            self.pace.hold(to.as_str(), Instant::now(), pause);
        }
        // Only the status decides, so the rest of the answer may take only a short time.
        let word = timeout(LONGEST_READ, word(response)).await;
        Answer::Status {
            status,
            word: word.ok().flatten(),
            again_in,
        }
    }
}

/// Maps an answer to the result of the attempt.
fn judge(answer: Answer) -> Tried {
    let (status, word, again_in) = match answer {
        Answer::None(error) => return unanswered(&error),
        Answer::Status {
            status,
            word,
            again_in,
        } => (status, word, again_in),
    };
    let said = word.map_or_else(String::new, |word| format!(" ({word})"));
    let error =
        |code, what| DeliveryError::new(code, &format!("Slack {what} status {status}{said}"));
    let refused = |code, what| Tried::Refused {
        status: Some(status),
        error: error(code, what),
    };
    let later = |code, what| Tried::Later {
        status: Some(status),
        error: error(code, what),
        again_in,
    };
    match status {
        200..=299 => Tried::Delivered(status),
        300..=399 => later("redirected", "redirects with"),
        404 | 410 => refused("gone", "does not accept this webhook:"),
        408 => later("target_failed", "failed with"),
        429 => later("throttled", "asks for a pause with"),
        400..=499 => refused("refused", "refused the message with"),
        _ => later("target_failed", "failed with"),
    }
}

/// Maps a missing answer to the result of the attempt.
fn unanswered(error: &reqwest::Error) -> Tried {
    if let Some(why) = Refused::of(error) {
        return Tried::Refused {
            status: None,
            error: refused(why),
        };
    }
    let error = if error.is_timeout() {
        DeliveryError::new("timed_out", "Slack did not answer in time")
    } else {
        DeliveryError::new("unreachable", "Slack cannot be reached")
    };
    Tried::Later {
        status: None,
        error,
        again_in: None,
    }
}

fn refused(why: Refused) -> DeliveryError {
    DeliveryError::new("address_refused", &why.to_string())
}

/// Returns the body if it is one of Slack's error words; any other text is untrusted and not shown.
async fn word(mut response: Response) -> Option<&'static str> {
    let mut read = Vec::new();
    while read.len() < LONGEST_ANSWER
        && let Ok(Some(chunk)) = response.chunk().await
    {
        read.extend_from_slice(&chunk);
    }
    let text = std::str::from_utf8(&read).ok()?.trim();
    WORDS.into_iter().find(|word| *word == text)
}

#[cfg(test)]
mod tests;
