//! What an answer says, whichever API gave it: read to its end within bounds, and judged by its status.
//!
//! Only a complete answer refuses a submit; what broke off, or was too long to be read, leaves it open.

use std::time::Duration;

use futures::StreamExt as _;
use reqwest::header::HeaderMap;
use reqwest::{RequestBuilder, Response, StatusCode};
use serde::de::DeserializeOwned;

use super::{Error, Submission};
use crate::domain::{ErrorCode, EventError};
use crate::http::{self, retry_after};

/// No answer of a provider is longer: images may stand in it.
const LONGEST: usize = 256 * 1024 * 1024;

/// A whole answer.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) status: StatusCode,
    pub(super) headers: HeaderMap,
    /// What `Retry-After` asks for.
    pub(super) after: Option<Duration>,
    pub(super) body: Vec<u8>,
}

/// What a look at a job brought.
#[derive(Debug)]
pub(super) struct Looked<T> {
    pub(super) read: T,
    /// How long the provider asks us to wait before the next one.
    pub(super) after: Option<Duration>,
    /// The price that it tells, in US dollars.
    pub(super) cost_usd: Option<f64>,
}

/// What the body of an answer other than 2xx says.
#[derive(Debug)]
pub(super) struct Said {
    /// Its words.
    pub(super) detail: String,
    /// Our code for it, where the words tell more than the status.
    pub(super) code: Option<ErrorCode>,
}

/// Why there is no whole answer.
#[derive(Debug, thiserror::Error)]
pub(super) enum Broken {
    #[error("it broke off: {0}")]
    Off(#[from] reqwest::Error),
    #[error("it is longer than {LONGEST} bytes")]
    Long,
}

impl From<Broken> for Error {
    fn from(broken: Broken) -> Self {
        match broken {
            Broken::Off(error) => Self::Unreachable(error),
            Broken::Long => Self::Unreadable(broken.to_string()),
        }
    }
}

/// Reads an answer to its end.
pub(super) async fn whole(response: Response) -> Result<Answer, Broken> {
    let status = response.status();
    let headers = response.headers().clone();
    let after = retry_after(&headers);
    let mut body = Vec::new();
    let mut pieces = response.bytes_stream();
    while let Some(piece) = pieces.next().await {
        let piece = piece?;
        if body.len() + piece.len() > LONGEST {
            return Err(Broken::Long);
        }
        body.extend_from_slice(&piece);
    }
    Ok(Answer {
        status,
        headers,
        after,
        body,
    })
}

/// Sends a request that may be sent again, and reads what its answer holds.
pub(super) async fn ask<T: DeserializeOwned>(request: RequestBuilder) -> Result<T, Error> {
    Ok(look(request).await?.read)
}

/// The same, and what stands beside it.
pub(super) async fn look<T: DeserializeOwned>(request: RequestBuilder) -> Result<Looked<T>, Error> {
    let answer = whole(request.send().await.map_err(Error::Unreachable)?).await?;
    if !answer.status.is_success() {
        return Err(Error::Status(answer.status.as_u16(), answer.after));
    }
    let read = serde_json::from_slice(&answer.body)
        .map_err(|error| Error::Unreadable(error.to_string()))?;
    Ok(Looked {
        read,
        after: answer.after.or_else(|| poll_after(&answer.headers)),
        cost_usd: price(&answer.headers),
    })
}

/// Returns the pause between polls that OpenAI's API gives in milliseconds, as its own client keeps it.
fn poll_after(headers: &HeaderMap) -> Option<Duration> {
    let text = headers.get("openai-poll-after-ms")?.to_str().ok()?;
    http::some(Duration::from_millis(text.trim().parse().ok()?))
}

/// Returns what an answer says that its job costs, in US dollars.
///
/// None of the providers tells that; a gateway between us and them may, by the header that LiteLLM made known
/// (<https://docs.litellm.ai/docs/proxy/response_headers>).
pub(super) fn price(headers: &HeaderMap) -> Option<f64> {
    let text = headers.get("x-litellm-response-cost")?.to_str().ok()?;
    let usd: f64 = text.trim().parse().ok()?;
    (usd.is_finite() && usd >= 0.0).then_some(usd)
}

/// Says what a submit's answer means: `taken` reads a 2xx, `said` the words of any other.
pub(super) async fn judge(
    response: Response,
    taken: impl FnOnce(&Answer) -> Result<Submission, serde_json::Error>,
    said: impl FnOnce(&[u8]) -> Said,
) -> Submission {
    let status = response.status();
    match whole(response).await {
        Err(broken) => Submission::Unknown(format!("the answer with status {status}: {broken}")),
        Ok(answer) if status.is_success() => taken(&answer).unwrap_or_else(|error| {
            Submission::Unknown(format!(
                "the answer with status {status} is not readable: {error}"
            ))
        }),
        Ok(answer) => not_taken(status, answer.after, &said(&answer.body)),
    }
}

/// Says what a whole answer other than 2xx to a submit means (contract, promise 3).
fn not_taken(status: StatusCode, after: Option<Duration>, said: &Said) -> Submission {
    let error = |code, retryable| {
        EventError::new(
            code,
            &format!("status {}: {}", status.as_u16(), said.detail),
            retryable,
        )
    };
    let refused = |otherwise| {
        let code = said.code.unwrap_or(otherwise);
        Submission::Refused(error(code, code == ErrorCode::ProviderQuota))
    };
    match status.as_u16() {
        401 | 403 => refused(ErrorCode::ProviderAuth),
        402 => refused(ErrorCode::ProviderQuota),
        // An account without money stays so however often it is asked.
        429 if said.code == Some(ErrorCode::ProviderQuota) => refused(ErrorCode::ProviderQuota),
        408 | 429 => Submission::NotAccepted {
            error: error(ErrorCode::ProviderQuota, true),
            after,
        },
        400 | 422 => refused(ErrorCode::InvalidRequest),
        400..=499 => refused(ErrorCode::ProviderRefused),
        500 | 501 | 503 => Submission::NotAccepted {
            error: error(ErrorCode::ProviderFailed, true),
            after,
        },
        _ => Submission::Unknown(format!("answered with status {status}: {}", said.detail)),
    }
}

/// Tells a refusal for the content from one for the input by the words that providers use.
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

/// Returns the beginning of a body that is not what its protocol says.
pub(super) fn beginning(body: &[u8]) -> String {
    String::from_utf8_lossy(body).chars().take(200).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn judged(status: u16, code: Option<ErrorCode>) -> (&'static str, Option<ErrorCode>) {
        let said = Said {
            detail: "no".to_owned(),
            code,
        };
        match not_taken(StatusCode::from_u16(status).unwrap(), None, &said) {
            Submission::Refused(error) => ("refused", Some(error.code)),
            Submission::NotAccepted { error, .. } => ("again", Some(error.code)),
            Submission::Unknown(_) => ("unknown", None),
            taken @ (Submission::Accepted(_) | Submission::Made(_) | Submission::Withheld(_)) => {
                panic!("{taken:?}")
            }
        }
    }

    #[test]
    fn only_an_answer_that_says_so_tells_that_nothing_was_taken() {
        use ErrorCode::{
            InvalidRequest, ProviderAuth, ProviderFailed, ProviderQuota, ProviderRefused,
        };
        for (status, outcome, code) in [
            (400, "refused", Some(InvalidRequest)),
            (401, "refused", Some(ProviderAuth)),
            (402, "refused", Some(ProviderQuota)),
            (403, "refused", Some(ProviderAuth)),
            (404, "refused", Some(ProviderRefused)),
            (408, "again", Some(ProviderQuota)),
            (422, "refused", Some(InvalidRequest)),
            (429, "again", Some(ProviderQuota)),
            (500, "again", Some(ProviderFailed)),
            (501, "again", Some(ProviderFailed)),
            (502, "unknown", None),
            (503, "again", Some(ProviderFailed)),
            (504, "unknown", None),
            (302, "unknown", None),
        ] {
            assert_eq!(judged(status, None), (outcome, code), "{status}");
        }
    }

    #[test]
    fn a_price_is_a_number_of_dollars_or_none() {
        let told = |text: &'static str| {
            let value = reqwest::header::HeaderValue::from_static(text);
            price(&HeaderMap::from_iter([(
                reqwest::header::HeaderName::from_static("x-litellm-response-cost"),
                value,
            )]))
        };

        assert_eq!(told("0.0425"), Some(0.0425));
        assert_eq!(told("1e-05"), Some(0.00001));
        for none in ["None", "", "-1", "NaN", "inf"] {
            assert_eq!(told(none), None, "{none}");
        }
        assert_eq!(price(&HeaderMap::new()), None);
    }

    #[test]
    fn words_tell_more_than_a_status() {
        let policy = Some(ErrorCode::ContentPolicy);
        let quota = Some(ErrorCode::ProviderQuota);

        assert_eq!(judged(400, policy), ("refused", policy));
        assert_eq!(judged(403, quota), ("refused", quota));
        assert_eq!(judged(429, quota), ("refused", quota));
        assert_eq!(judged(429, policy), ("again", quota));
    }

    #[test]
    fn the_pause_that_openai_asks_for_is_in_milliseconds() {
        let after = |text: &str| {
            let text = text.parse().unwrap();
            poll_after(&HeaderMap::from_iter([(
                "openai-poll-after-ms".parse().unwrap(),
                text,
            )]))
        };

        assert_eq!(after("1500"), Some(Duration::from_millis(1500)));
        assert_eq!(after("99999999"), Some(Duration::from_secs(600)));
        assert_eq!(after("soon"), None);
        assert_eq!(poll_after(&HeaderMap::new()), None);
    }

    #[test]
    fn words_about_content_are_known() {
        assert!(is_policy("NSFW content detected") && is_policy("content_policy_violation"));
        assert!(!is_policy("width must be a multiple of 8"));
    }
}
