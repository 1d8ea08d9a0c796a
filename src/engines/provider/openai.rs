//! OpenAI's HTTP API: images come with the answer, videos are jobs.
//!
//! Checked against the types of OpenAI's own client, generated from its OpenAPI description:
//! `images/generations`, and `videos` with a JSON body (`CreateVideoJsonBody`). No call cancels a job or looks
//! one up by our id. We send our id as `X-Client-Request-Id`, by which OpenAI's support finds a request.

use reqwest::header::HeaderName;
use serde::Deserialize;
use serde_json::{Map, Value, json};
use url::Url;

use super::answer::{HttpAnswer, MAX_IMAGES_ANSWER, NO_REASON, Said, is_policy, price};
use super::submission::{Draft, Made, Submission};
use super::{Error, MAX_ANSWER, MAX_ID, Poll, Provider};
use crate::contract::run::Job;
use crate::domain::model::{Charge, Unit};
use crate::domain::{ErrorCode, EventError, Single};
use crate::engines::storage::Source;

const CLIENT_REQUEST_ID: HeaderName = HeaderName::from_static("x-client-request-id");
/// Error codes of an account without money.
const NO_MONEY: [&str; 2] = ["insufficient_quota", "billing_hard_limit_reached"];

#[derive(Deserialize)]
struct Images {
    #[serde(default)]
    created: i64,
    data: Vec<Image>,
    /// Parsed separately: it affects the cost only, so an unreadable one must not lose the images.
    #[serde(default)]
    usage: Value,
}

/// The tokens that an answer is billed by.
#[derive(Deserialize)]
struct Usage {
    #[serde(default)]
    input_tokens: u32,
    #[serde(default)]
    output_tokens: u32,
    #[serde(default)]
    input_tokens_details: InputTokens,
}

/// The tokens of images among those of the input; the others are text.
#[derive(Default, Deserialize)]
struct InputTokens {
    #[serde(default)]
    image_tokens: u32,
}

#[derive(Deserialize)]
struct Image {
    #[serde(default)]
    b64_json: Option<String>,
    #[serde(default)]
    url: Option<Url>,
}

#[derive(Deserialize)]
struct Video {
    id: String,
    status: String,
    #[serde(default)]
    progress: Option<f64>,
    #[serde(default)]
    error: Option<ApiError>,
}

#[derive(Default, Deserialize)]
struct ApiError {
    #[serde(default)]
    message: Option<String>,
    #[serde(default)]
    code: Option<String>,
}

pub(super) fn draft(
    provider: &Provider,
    key: &str,
    spec: &Single,
    mut input: Map<String, Value>,
) -> Result<Draft, String> {
    let model = provider.model(spec);
    input.insert("model".to_owned(), json!(model));
    let (path, max_answer) = match spec {
        Single::Image(_) => ("images/generations", MAX_IMAGES_ANSWER),
        Single::Video(_) => ("videos", MAX_ANSWER),
    };
    Ok(Draft {
        header: Some((CLIENT_REQUEST_ID, key.to_owned())),
        max_answer,
        ..Draft::of(at(provider, path), Value::Object(input))
    })
}

pub(super) fn accepted(
    provider: &Provider,
    spec: &Single,
    answer: &HttpAnswer,
) -> Result<Submission, serde_json::Error> {
    Ok(match spec {
        Single::Image(_) => Submission::Made(made(answer)?),
        Single::Video(_) => {
            let video: Video = serde_json::from_slice(&answer.body)?;
            let job = provider.job(&video.id);
            let status_url = at(provider, &format!("videos/{}", job.id));
            Submission::Accepted(Job { status_url, ..job })
        }
    })
}

pub(super) async fn poll(provider: &Provider, job: &Job) -> Result<Poll, Error> {
    let url = provider
        .own(&job.status_url)
        .unwrap_or_else(|| at(provider, &format!("videos/{}", job.id)));
    let (video, answer): (Video, _) = provider.ask(provider.get(&url), MAX_ANSWER).await?;
    match video.status.as_str() {
        "completed" => {
            let content = Url::parse(&format!("{url}/content"))
                .map_err(|error| Error::Unreadable(error.to_string()))?;
            Ok(Poll::Succeeded {
                outputs: vec![Source::Keyed(content, provider.credential())],
                charge: price(&answer.headers),
                held: answer.held,
            })
        }
        "failed" => Ok(Poll::Failed(failure(&video.error.unwrap_or_default()))),
        stage => Ok(Poll::Running {
            stage: stage.to_owned(),
            percent: video
                .progress
                .filter(|percent| (0.0..=100.0).contains(percent))
                .map(|percent| percent as i32),
            known: matches!(stage, "queued" | "in_progress"),
            after: answer.poll_after(),
        }),
    }
}

fn made(answer: &HttpAnswer) -> Result<Made, serde_json::Error> {
    let images: Images = serde_json::from_slice(&answer.body)?;
    let id = answer
        .headers
        .get("x-request-id")
        .and_then(|id| id.to_str().ok())
        .map_or_else(|| format!("images-{}", images.created), str::to_owned);
    let source = |image: Image| match (image.b64_json, image.url) {
        (Some(text), _) => Some(Source::Inline(text)),
        (None, Some(url)) => Some(Source::Open(url)),
        (None, None) => None,
    };
    Ok(Made {
        id: id.chars().take(MAX_ID).collect(),
        outputs: images.data.into_iter().filter_map(source).collect(),
        charge: price(&answer.headers).or_else(|| charge(images.usage)),
    })
}

fn charge(usage: Value) -> Option<Charge> {
    let usage = Usage::deserialize(usage).ok()?;
    let images = usage.input_tokens_details.image_tokens;
    let millions = |tokens: u32| f64::from(tokens) / 1e6;
    Some(Charge::Metered(vec![
        (
            Unit::MillionTextTokens,
            millions(usage.input_tokens.saturating_sub(images)),
        ),
        (Unit::MillionImageTokens, millions(images)),
        (Unit::MillionOutputTokens, millions(usage.output_tokens)),
    ]))
}

/// Returns the URL of `path` in version 1 of the API, whether or not the base URL ends with `/v1`.
fn at(provider: &Provider, path: &str) -> String {
    let base = provider.config.base_url.as_str().trim_end_matches('/');
    let base = base.strip_suffix("/v1").unwrap_or(base);
    format!("{base}/v1/{path}")
}

fn failure(fault: &ApiError) -> EventError {
    let said = words(fault);
    let policy = || is_policy(&said).then_some(ErrorCode::ContentPolicy);
    let code = no_money(fault).or_else(policy);
    let code = code.unwrap_or(ErrorCode::ProviderFailed);
    EventError::new(code, &said, code == ErrorCode::ProviderQuota)
}

pub(super) fn said(body: &[u8]) -> Said {
    let words = |body: &Value| {
        let fault = ApiError::deserialize(body.get("error")?).ok()?;
        Some((words(&fault), no_money(&fault)))
    };
    Said::of(body, words)
}

/// Returns our code for an account without money, if the error says that.
fn no_money(fault: &ApiError) -> Option<ErrorCode> {
    let code = fault.code.as_deref()?;
    NO_MONEY.contains(&code).then_some(ErrorCode::ProviderQuota)
}

fn words(fault: &ApiError) -> String {
    match (&fault.code, &fault.message) {
        (Some(code), Some(message)) => format!("{code}: {message}"),
        (Some(text), None) | (None, Some(text)) => text.clone(),
        (None, None) => NO_REASON.to_owned(),
    }
}

#[cfg(test)]
mod tests;
