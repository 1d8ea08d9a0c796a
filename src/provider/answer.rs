//! What an answer says, whichever API gave it: read to its end within bounds, and judged by its status.
//!
//! Only a complete answer refuses a submit; what broke off, or was too long to be read, leaves it open.
//!
//! An answer may be a stranger's in part: the model's output, its log, its name for what it does. So its length is
//! bounded, and long ones share a part of the memory: they wait until others are stored or dropped.

use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt as _;
use reqwest::header::HeaderMap;
use reqwest::{RequestBuilder, Response, StatusCode};
use serde::de::DeserializeOwned;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::{Error, Provider, Submission};
use crate::domain::{ErrorCode, EventError};
use crate::http::{self, retry_after};

const MIB: usize = 1024 * 1024;
/// An answer about one job is no longer; small outputs may be in it.
pub(super) const LONGEST: usize = 8 * MIB;
/// A page of a list of jobs is no longer.
const LONGEST_PAGE: usize = 64 * MIB;
/// Images that come with their answer are no longer together: ten of the largest take 84 MiB.
pub(super) const LONGEST_IMAGES: usize = 128 * MIB;
/// An answer of no more waits for no memory.
const SHORT: usize = 64 * 1024;
/// An answer has no more values. A request of 1 MiB cannot have more in its input, which providers give back; parsed,
/// each takes thirty times the memory that it has as text.
const MOST_VALUES: usize = 600_000;
/// Memory of all long answers together, in bytes. One takes some times its length: as text, parsed, decoded.
const MEMORY: usize = 512 * MIB;
const TIMES: usize = 4;
/// What an image is reckoned as before its answer is there.
const IMAGE: usize = 4 * MIB;

/// The memory that long answers share; a permit is a byte.
#[derive(Clone, Debug)]
pub(super) struct Memory(Arc<Semaphore>);

/// The part of it that an answer holds, until what came with the answer is stored.
#[derive(Debug, Default)]
pub struct Held(Option<OwnedSemaphorePermit>);

impl Memory {
    pub(super) fn new() -> Self {
        Self(Arc::new(Semaphore::new(MEMORY)))
    }

    /// Waits until there is memory for an answer of `longest` bytes.
    async fn hold(&self, longest: usize) -> Result<Held, Broken> {
        let bytes = u32::try_from(longest * TIMES).unwrap_or(u32::MAX);
        let held = self.0.clone().acquire_many_owned(bytes).await;
        Ok(Held(Some(held.map_err(|_| Broken::Long(longest))?)))
    }

    /// Holds memory for that many images, if there is any.
    pub(super) fn for_images(&self, count: usize) -> Option<Held> {
        let bytes = u32::try_from((count.max(1) * IMAGE).min(MEMORY)).ok()?;
        let held = self.0.clone().try_acquire_many_owned(bytes);
        held.ok().map(Some).map(Held)
    }
}

/// A whole answer.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) status: StatusCode,
    pub(super) headers: HeaderMap,
    /// What `Retry-After` asks for.
    pub(super) after: Option<Duration>,
    pub(super) body: Vec<u8>,
    /// The memory that it has.
    pub(super) held: Held,
}

/// What a look at a job brought.
#[derive(Debug)]
pub(super) struct Looked<T> {
    pub(super) read: T,
    /// How long the provider asks us to wait before the next one.
    pub(super) after: Option<Duration>,
    /// The price that it tells, in US dollars.
    pub(super) cost_usd: Option<f64>,
    /// The memory that it has.
    pub(super) held: Held,
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

/// Reads an answer to its end; with `memory`, a long one waits for its part.
async fn read(
    response: Response,
    longest: usize,
    memory: Option<&Memory>,
) -> Result<Answer, Broken> {
    let status = response.status();
    let headers = response.headers().clone();
    let after = retry_after(&headers);
    let mut held = Held::default();
    let mut body = Vec::new();
    let mut pieces = response.bytes_stream();
    while let Some(piece) = pieces.next().await {
        let piece = piece?;
        let length = body.len() + piece.len();
        if length > longest {
            return Err(Broken::Long(longest));
        }
        if let (Some(memory), None, true) = (memory, &held.0, length > SHORT) {
            held = memory.hold(longest).await?;
        }
        body.extend_from_slice(&piece);
    }
    Ok(Answer {
        status,
        headers,
        after,
        body,
        held,
    })
}

impl Provider {
    /// Sends a request that may be sent again, and reads its answer to the end.
    pub(super) async fn whole(&self, request: RequestBuilder) -> Result<Answer, Error> {
        let response = request.send().await.map_err(Error::Unreachable)?;
        let answer = read(response, LONGEST, Some(&self.clients.memory)).await?;
        Ok(answer)
    }

    /// The same, and reads what the answer holds.
    pub(super) async fn ask<T: DeserializeOwned>(
        &self,
        request: RequestBuilder,
    ) -> Result<T, Error> {
        Ok(self.look(request).await?.read)
    }

    /// The same, and what stands beside it.
    pub(super) async fn look<T: DeserializeOwned>(
        &self,
        request: RequestBuilder,
    ) -> Result<Looked<T>, Error> {
        looked(self.whole(request).await?)
    }

    /// The same of a page of a list.
    pub(super) async fn page<T: DeserializeOwned>(
        &self,
        request: RequestBuilder,
    ) -> Result<T, Error> {
        let response = request.send().await.map_err(Error::Unreachable)?;
        let page = read(response, LONGEST_PAGE, Some(&self.clients.memory)).await?;
        Ok(looked(page)?.read)
    }
}

fn looked<T: DeserializeOwned>(answer: Answer) -> Result<Looked<T>, Error> {
    if !answer.status.is_success() {
        return Err(Error::Status(answer.status.as_u16(), answer.after));
    }
    Ok(Looked {
        read: parsed(&answer.body)?,
        after: answer.after.or_else(|| poll_after(&answer.headers)),
        cost_usd: price(&answer.headers),
        held: answer.held,
    })
}

/// Parses a body, unless it has more values than memory.
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

/// Says what a submit's answer means: `taken` reads a 2xx of up to `longest` bytes, `said` the words of any other.
///
/// It waits for no memory: the job may be paid for.
pub(super) async fn judge(
    response: Response,
    longest: usize,
    taken: impl FnOnce(&Answer) -> Result<Submission, serde_json::Error>,
    said: impl FnOnce(&[u8]) -> Said,
) -> Submission {
    let status = response.status();
    match read(response, longest, None).await {
        Err(broken) => Submission::Unknown(format!("the answer with status {status}: {broken}")),
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

/// Says what a whole answer other than 2xx to a submit means (contract, promise 3).
fn not_taken(status: StatusCode, after: Option<Duration>, said: &Said) -> Submission {
    let error = |code, retryable| {
        let words = words_for_users(status, code).unwrap_or(&said.detail);
        EventError::new(
            code,
            &format!("status {}: {words}", status.as_u16()),
            retryable,
        )
    };
    let refused = |otherwise| {
        let code = said.code.unwrap_or(otherwise);
        if words_for_users(status, code).is_some() {
            tracing::warn!(%status, said = said.detail, "the provider refused our key or account");
        }
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

/// Returns what users are given in place of a provider's words about the operator's account, which may hold parts of its
/// key: those are for the log alone.
fn words_for_users(status: StatusCode, code: ErrorCode) -> Option<&'static str> {
    match (status.as_u16(), code) {
        (401..=403, ErrorCode::ContentPolicy) => Some("the provider refuses the content"),
        (401 | 403, _) => Some("the provider refuses the key that the operator has set"),
        (402, _) => Some("the operator's account at the provider has no money left"),
        _ => None,
    }
}

/// Cuts a text of strangers before it is kept.
pub(super) fn cut(text: &str) -> String {
    text.chars().take(1000).collect()
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

    /// What users are told of a refusal in those words.
    fn told(status: u16, words: &str, code: Option<ErrorCode>) -> String {
        let detail = words.to_owned();
        let status = StatusCode::from_u16(status).unwrap();
        match not_taken(status, None, &Said { detail, code }) {
            Submission::Refused(error) | Submission::NotAccepted { error, .. } => error.message,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_providers_words_about_our_key_and_account_are_not_for_users() {
        let words = "Incorrect API key provided: sk-pr***abcd, account ann@example.com";
        let policy = Some(ErrorCode::ContentPolicy);
        for (status, code) in [
            (401, None),
            (402, None),
            (403, None),
            (401, policy),
            (403, policy),
        ] {
            let told = told(status, words, code);

            assert!(!told.contains("sk-pr") && !told.contains("ann@"), "{told}");
            assert!(
                told.starts_with(&format!("status {status}: the ")),
                "{told}"
            );
        }
        assert_eq!(told(422, "width is odd", None), "status 422: width is odd");
    }

    /// An answer of so many bytes.
    fn response(body: Vec<u8>) -> Response {
        axum::http::Response::new(body).into()
    }

    #[tokio::test]
    async fn an_answer_has_a_bound_and_a_long_one_holds_memory_until_it_is_dropped() {
        let memory = Memory::new();
        let free = || memory.0.available_permits();

        let short = read(response(vec![b' '; SHORT]), LONGEST, Some(&memory)).await;
        assert_eq!(free(), MEMORY);
        let long = read(response(vec![b' '; LONGEST]), LONGEST, Some(&memory)).await;
        assert_eq!(free(), MEMORY - LONGEST * TIMES);
        let longer = read(response(vec![b' '; LONGEST + 1]), LONGEST, Some(&memory)).await;

        assert_eq!(short.unwrap().body.len(), SHORT);
        assert!(matches!(longer, Err(Broken::Long(LONGEST))));
        let looked: Looked<serde::de::IgnoredAny> = looked(Answer {
            body: b"{}".to_vec(),
            ..long.unwrap()
        })
        .unwrap();
        assert_eq!(free(), MEMORY - LONGEST * TIMES);
        drop(looked);
        assert_eq!(free(), MEMORY);
    }

    #[tokio::test]
    async fn a_long_answer_waits_for_memory_and_that_to_a_submit_does_not() {
        let memory = Memory::new();
        let held = memory.for_images(MEMORY / IMAGE).unwrap();
        assert!(memory.for_images(1).is_none());

        let body = || response(vec![b' '; SHORT + 1]);
        let mut waiting = std::pin::pin!(read(body(), LONGEST, Some(&memory)));
        assert!(futures::poll!(waiting.as_mut()).is_pending());
        let submitted = read(body(), LONGEST, None).await;
        drop(held);

        assert_eq!(submitted.unwrap().body.len(), SHORT + 1);
        assert_eq!(waiting.await.unwrap().body.len(), SHORT + 1);
    }

    #[test]
    fn values_without_number_are_not_parsed() {
        let values = |count: usize| format!("[{}0]", "0,".repeat(count - 1)).into_bytes();

        assert!(parsed::<serde_json::Value>(&values(MOST_VALUES)).is_ok());
        let more = parsed::<serde_json::Value>(&values(MOST_VALUES + 1));
        assert!(matches!(more, Err(Error::Unreadable(_))));
    }

    #[test]
    fn what_is_not_readable_is_not_said_again_in_full() {
        #[derive(Debug, serde::Deserialize)]
        #[expect(dead_code, reason = "it is never read")]
        struct Job {
            id: u64,
        }
        let body = format!("{{\"id\": \"{}\"}}", "x".repeat(100_000));

        let Err(Error::Unreadable(why)) = parsed::<Job>(body.as_bytes()) else {
            panic!("it is readable");
        };

        assert_eq!(why.chars().count(), 1000);
    }

    #[test]
    fn words_about_content_are_known() {
        assert!(is_policy("NSFW content detected") && is_policy("content_policy_violation"));
        assert!(!is_policy("width must be a multiple of 8"));
    }
}
