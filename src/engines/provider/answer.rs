//! Reads the answers of all providers: to their end, within bounds, and classified by status.
//!
//! Only a complete answer refuses a submit. If it breaks off or is too long, the result of the submit is unknown.
//!
//! Parts of an answer come from third parties: the model's output, its log, its names of states. So
//! the length of an answer is bounded, and a long one waits for memory.

use std::time::{Duration, SystemTime};

use futures::StreamExt as _;
use reqwest::header::HeaderMap;
use reqwest::{RequestBuilder, Response, StatusCode};
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::memory::{Held, MemoryBudget};
use super::submission::Submission;
use super::{Error, Provider};
use crate::domain::model::Charge;
use crate::domain::{ErrorCode, EventError, Problem};
use crate::engines::http;
use crate::engines::telemetry::spans;

const MIB: usize = 1024 * 1024;
/// Limit on a page of a list of jobs.
pub(super) const MAX_PAGE: usize = 64 * MIB;
/// Limit on an answer that contains images: ten of the largest take 84 MiB.
pub(super) const MAX_IMAGES_ANSWER: usize = 128 * MIB;
/// An answer up to this length does not wait for memory.
const SHORT: usize = 64 * 1024;
/// Limit on the values in an answer. A request of 1 MiB cannot have more in its input, which
/// providers return. A parsed value may take thirty times the memory of its text.
const MOST_VALUES: usize = 600_000;

#[derive(Debug)]
pub(super) struct HttpAnswer {
    pub(super) status: StatusCode,
    pub(super) headers: HeaderMap,
    /// The pause that `Retry-After` asks for.
    pub(super) after: Option<Duration>,
    pub(super) body: Vec<u8>,
    pub(super) held: Held,
}

/// What the body of an answer other than 2xx says.
#[derive(Debug)]
pub(super) struct Said {
    /// The provider's message.
    pub(super) detail: String,
    /// Our code for it, if the message is more specific than the status.
    pub(super) code: Option<ErrorCode>,
    /// The inputs that it refuses, by the model's own names.
    pub(super) problems: Vec<Problem>,
}

/// Replaces the message of a provider that gives none.
pub(super) const NO_REASON: &str = "the provider gave no reason";

impl Said {
    /// Reads a body with `words`, which returns the provider's message, and our code if only this provider names such
    /// an error. [`is_policy`] recognizes refusals of the content for all providers. If the body does not follow the
    /// protocol, quotes its beginning and has no code: the body may come from a proxy.
    pub(super) fn of(
        body: &[u8],
        words: impl Fn(&Value) -> Option<(String, Option<ErrorCode>)>,
    ) -> Self {
        let parsed: Option<Value> = serde_json::from_slice(body).ok();
        let Some((detail, code)) = parsed.as_ref().and_then(words) else {
            return Self {
                detail: String::from_utf8_lossy(body).chars().take(200).collect(),
                code: None,
                problems: Vec::new(),
            };
        };
        let policy = || is_policy(&detail).then_some(ErrorCode::ContentPolicy);
        let code = code.or_else(policy);
        Self {
            detail,
            code,
            problems: Vec::new(),
        }
    }
}

/// Limit on the problems of an answer.
const MOST_PROBLEMS: usize = 20;

/// Returns the inputs that an answer refuses, from pairs of the input's own name and what is wrong with it.
pub(super) fn problems<'v>(pairs: impl Iterator<Item = (&'v str, &'v str)>) -> Vec<Problem> {
    let short = |text: &str| text.chars().take(200).collect::<String>();
    let problems = pairs.take(MOST_PROBLEMS).map(|(field, hint)| Problem {
        field: short(field),
        asked: None,
        allowed: None,
        hint: Some(short(hint)),
    });
    problems.collect()
}

#[derive(Debug, thiserror::Error)]
pub(super) enum Broken {
    #[error("the connection broke off: {0}")]
    Off(#[from] reqwest::Error),
    #[error("it is longer than {0} bytes")]
    Long(usize),
}

impl From<Broken> for Error {
    fn from(broken: Broken) -> Self {
        match broken {
            Broken::Off(error) => Self::Unreachable(error),
            Broken::Long(_) => Self::Unreadable(broken.to_string()),
        }
    }
}

/// Reads an answer to its end. With `memory`, a long answer waits for its share.
async fn read(
    response: Response,
    max_bytes: usize,
    memory: Option<&MemoryBudget>,
) -> Result<HttpAnswer, Broken> {
    let status = response.status();
    let headers = response.headers().clone();
    let after = http::retry_after(&headers, SystemTime::now()).and_then(http::capped);
    let mut held = Held::default();
    let mut body = Vec::new();
    let mut pieces = response.bytes_stream();
    while let Some(piece) = pieces.next().await {
        let piece = piece?;
        let length = body.len() + piece.len();
        if length > max_bytes {
            return Err(Broken::Long(max_bytes));
        }
        if let (Some(memory), true, true) = (memory, held.is_empty(), length > SHORT) {
            held = memory.hold(max_bytes).await;
        }
        body.extend_from_slice(&piece);
    }
    Ok(HttpAnswer {
        status,
        headers,
        after,
        body,
        held,
    })
}

impl Provider {
    /// Sends a request that may be repeated, and reads the complete answer, of at most `max_bytes` bytes.
    pub(super) async fn whole(
        &self,
        request: RequestBuilder,
        max_bytes: usize,
    ) -> Result<HttpAnswer, Error> {
        let (client, request) = request.build_split();
        let request = request.map_err(Error::Unreachable)?;
        let response = spans::http(&client, request).await;
        let response = response.map_err(Error::Unreachable)?;
        Ok(read(response, max_bytes, Some(&self.clients.memory)).await?)
    }

    /// Like [`Self::whole`], and parses a 2xx; any other status is an error.
    pub(super) async fn ask<T: DeserializeOwned>(
        &self,
        request: RequestBuilder,
        max_bytes: usize,
    ) -> Result<(T, HttpAnswer), Error> {
        let answer = self.whole(request, max_bytes).await?;
        if !answer.status.is_success() {
            return Err(Error::Status(answer.status.as_u16(), answer.after));
        }
        Ok((parsed(&answer.body)?, answer))
    }
}

/// Parses a body, unless it has too many values.
pub(super) fn parsed<T: DeserializeOwned>(body: &[u8]) -> Result<T, Error> {
    let separators = body
        .iter()
        .filter(|byte| matches!(byte, b',' | b'[' | b'{'));
    if body.len() > SHORT && separators.count() > MOST_VALUES {
        return Err(Error::Unreadable(format!(
            "it has more than {MOST_VALUES} values"
        )));
    }
    serde_json::from_slice(body).map_err(|error| Error::Unreadable(cut(&error.to_string())))
}

impl HttpAnswer {
    /// Returns the pause that the provider asks for before the next poll.
    pub(super) fn poll_after(&self) -> Option<Duration> {
        self.after.or_else(|| poll_after(&self.headers))
    }
}

/// Returns the pause between polls that OpenAI's API gives in milliseconds and its own client honours.
fn poll_after(headers: &HeaderMap) -> Option<Duration> {
    let text = headers.get("openai-poll-after-ms")?.to_str().ok()?;
    http::capped(Duration::from_millis(text.trim().parse().ok()?))
}

/// Returns the price that an answer reports for the job, in US dollars.
///
/// No provider reports it, but a gateway in between may, in the header that LiteLLM introduced
/// (<https://docs.litellm.ai/docs/proxy/response_headers>).
pub(super) fn price(headers: &HeaderMap) -> Option<Charge> {
    quantity(headers, "x-litellm-response-cost").map(Charge::Usd)
}

/// Returns the number in a header, if it is finite and not negative.
pub(super) fn quantity(headers: &HeaderMap, name: &str) -> Option<f64> {
    let number: f64 = headers.get(name)?.to_str().ok()?.trim().parse().ok()?;
    (number.is_finite() && number >= 0.0).then_some(number)
}

/// Classifies the answer to a submit: `taken` parses a 2xx of up to `max_bytes` bytes, `said` the body of any other.
///
/// It does not wait for memory: the job may have been paid for.
pub(super) async fn judge(
    response: Response,
    max_bytes: usize,
    taken: impl FnOnce(&HttpAnswer) -> Result<Submission, serde_json::Error>,
    said: impl FnOnce(&[u8]) -> Said,
) -> Submission {
    let status = response.status();
    match read(response, max_bytes, None).await {
        Err(broken) => Submission::Unknown(format!(
            "the answer with status {status} cannot be read to its end: {broken}"
        )),
        Ok(answer) if status.is_success() => taken(&answer).unwrap_or_else(|error| {
            Submission::Unknown(format!(
                "the answer with status {status} is not readable: {}",
                cut(&error.to_string())
            ))
        }),
        Ok(answer) => {
            let said = said(&answer.body);
            let detail = cut(&said.detail);
            not_taken(status, answer.after, &Said { detail, ..said })
        }
    }
}

/// Classifies a complete answer other than 2xx to a submit (contract, promise 3).
fn not_taken(status: StatusCode, after: Option<Duration>, said: &Said) -> Submission {
    let error = |code, retryable| {
        let words = words_for_users(status, code).unwrap_or(&said.detail);
        let message = format!("status {}: {words}", status.as_u16());
        // As with the message: an answer about the key or the account is not for users.
        let problems = match status.as_u16() {
            400 | 422 => said.problems.clone(),
            _ => Vec::new(),
        };
        EventError {
            problems,
            ..EventError::new(code, &message, retryable)
        }
    };
    let refused = |otherwise| {
        let code = said.code.unwrap_or(otherwise);
        if words_for_users(status, code).is_some() {
            tracing::warn!(%status, said = said.detail, "the provider refused the key, the account or the content");
        }
        let error = error(code, code == ErrorCode::ProviderQuota);
        match is_about_the_request(status, code) {
            true => Submission::Refused(error),
            false => Submission::Declined(error),
        }
    };
    match status.as_u16() {
        401 | 403 => refused(ErrorCode::ProviderAuth),
        402 => refused(ErrorCode::ProviderQuota),
        // Another send does not help while the account has no money.
        429 if said.code == Some(ErrorCode::ProviderQuota) => refused(ErrorCode::ProviderQuota),
        429 => Submission::NotAccepted {
            error: error(ErrorCode::ProviderQuota, true),
            after,
        },
        400 | 422 => refused(ErrorCode::InvalidRequest),
        408 | 500 | 501 | 503 => Submission::NotAccepted {
            error: error(ErrorCode::ProviderFailed, true),
            after,
        },
        400..=499 => refused(ErrorCode::ProviderRefused),
        _ => Submission::Unknown(format!(
            "the provider answered with status {status}: {}",
            said.detail
        )),
    }
}

/// Returns whether a refusal is about the request, so that another provider or model may refuse it as well (contract,
/// 6.12). Only a refusal for the key, the account's money, or a model that does not exist is not.
fn is_about_the_request(status: StatusCode, code: ErrorCode) -> bool {
    let is_account = matches!(code, ErrorCode::ProviderAuth | ErrorCode::ProviderQuota);
    let is_gone = code == ErrorCode::ProviderRefused && matches!(status.as_u16(), 404 | 410);
    !is_account && !is_gone
}

/// Returns what users see instead of the provider's message about the operator's account. The
/// message may contain parts of the key, so it goes to the log only.
fn words_for_users(status: StatusCode, code: ErrorCode) -> Option<&'static str> {
    match (status.as_u16(), code) {
        (401..=403, ErrorCode::ContentPolicy) => Some("the provider refuses the content"),
        (401 | 403, _) => Some("the provider refuses the key that the operator has set"),
        (402, _) => Some("the operator's account at the provider has no money left"),
        _ => None,
    }
}

/// Truncates a text of a third party before it is kept.
pub(super) fn cut(text: &str) -> String {
    text.chars().take(1000).collect()
}

/// Returns whether a refusal is about the content rather than the input, judged by the words that providers use.
pub(super) fn is_policy(said: &str) -> bool {
    let said = said.to_lowercase();
    let words = [
        "nsfw",
        "content policy",
        "content_policy",
        "flagged as sensitive",
        "safety",
        "moderation",
    ];
    words.iter().any(|word| said.contains(word))
}

#[cfg(test)]
mod tests;
