//! fal's queue API: a submit queues a request; its status is polled at one URL, its result fetched from another.
//!
//! The answer to a submit contains all further URLs; they omit what follows the app in a model's id
//! (<https://fal.ai/docs/documentation/model-apis/inference/queue>). fal accepts no id of ours and
//! lists no requests, so an interrupted submit cannot be looked up. A failed request is `COMPLETED`
//! too: its result URL then answers with the failure.

use reqwest::header::HeaderMap;
use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::{Map, Value};
use url::{Url, form_urlencoded};

use super::answer::{HttpAnswer, NO_REASON, Said, is_policy, parsed, price, problems, quantity};
use super::model_name::is_model;
use super::published::Published;
use super::submission::{Draft, Submission};
use super::{Error, MAX_ANSWER, MAX_SCHEMA, Poll, Provider};
use crate::contract::run::Job;
use crate::domain::model::{Charge, Unit};
use crate::domain::{ErrorCode, EventError, Single};
use crate::engines::storage::Source;

/// First parts of a model's id that precede its owner.
const NAMESPACES: [&str; 2] = ["workflows", "comfy"];

#[derive(Deserialize)]
struct Queued {
    request_id: String,
    #[serde(default)]
    status_url: String,
    #[serde(default)]
    response_url: String,
    #[serde(default)]
    cancel_url: String,
}

#[derive(Deserialize)]
struct Status {
    status: String,
    /// Set if a completed request failed.
    #[serde(default)]
    error: Option<Value>,
    #[serde(default)]
    error_type: Option<String>,
}

pub(super) fn draft(
    provider: &Provider,
    spec: &Single,
    input: Map<String, Value>,
) -> Result<Draft, String> {
    let model = provider.model(spec);
    check(model).map_err(|names| format!("a model's name is {names}"))?;
    Ok(Draft::of(provider.at(model), Value::Object(input)))
}

/// Asks for a call when the request has ended.
pub(super) fn ask_to_call(url: &str, draft: &mut Draft) {
    // A model's id has neither a query nor anything that a query must escape.
    let query = form_urlencoded::Serializer::new(String::new())
        .append_pair("fal_webhook", url)
        .finish();
    draft.url = format!("{}?{query}", draft.url);
}

/// Reads a model's schema from fal's API for models, which needs no key. It is at another host than the queue.
pub(super) async fn schema(provider: &Provider, model: &str) -> Result<Option<Published>, Error> {
    if check(model).is_err() {
        return Ok(None);
    }
    // A name has no character that a query must escape.
    let path = format!("v1/models?endpoint_id={model}&expand=openapi-3.0");
    let request = match provider.base_url().host_str() {
        Some("queue.fal.run") => provider
            .clients
            .asking
            .get(format!("https://api.fal.ai/{path}")),
        Some(_) | None => provider.get(provider.at(&path)),
    };
    let (mut answer, _held): (Value, _) = provider.ask(request, MAX_SCHEMA).await?;
    let document = answer
        .pointer_mut("/models/0/openapi")
        .map(Value::take)
        .unwrap_or_default();
    let body = "/post/requestBody/content/application~1json/schema";
    let paths = document.get("paths").and_then(Value::as_object);
    let input = paths
        .into_iter()
        .flat_map(|paths| paths.values())
        .find_map(|path| path.pointer(body));
    Ok(input.cloned().map(|input| Published { document, input }))
}

pub(super) fn accepted(
    provider: &Provider,
    spec: &Single,
    answer: &HttpAnswer,
) -> Result<Submission, serde_json::Error> {
    let queued = serde_json::from_slice(&answer.body)?;
    let job = job(provider, provider.model(spec), &queued);
    Ok(Submission::Accepted(job))
}

pub(super) async fn poll(provider: &Provider, job: &Job) -> Result<Poll, Error> {
    let request = provider.get(own(provider, &job.status_url)?);
    let (status, answer): (Status, _) = provider.ask(request, MAX_ANSWER).await?;
    match status.status.as_str() {
        "COMPLETED" => match status.error {
            Some(error) if !error.is_null() => {
                Ok(Poll::Failed(failure(&error, status.error_type.as_deref())))
            }
            Some(_) | None => result(provider, job).await,
        },
        stage => Ok(Poll::Running {
            stage: stage.to_lowercase(),
            percent: None,
            known: matches!(stage, "IN_QUEUE" | "IN_PROGRESS"),
            after: answer.poll_after(),
        }),
    }
}

/// Fetches the result of a completed request. A failed one answers here, with the status that its model gave.
async fn result(provider: &Provider, job: &Job) -> Result<Poll, Error> {
    let request = provider.get(own(provider, &job.result_url)?);
    let answer = provider.whole(request, MAX_ANSWER).await?;
    let status = answer.status.as_u16();
    if answer.status.is_success() {
        let output: Value = parsed(&answer.body)?;
        let mut outputs = Vec::new();
        collect(&output, &mut outputs);
        return Ok(Poll::Succeeded {
            outputs: outputs.into_iter().map(Source::Open).collect(),
            charge: price(&answer.headers).or_else(|| units(&answer.headers)),
            held: answer.held,
        });
    }
    match parsed::<Value>(&answer.body) {
        Ok(body) if is_failure(status, &body) => {
            let kind = body.get("error_type").and_then(Value::as_str);
            Ok(Poll::Failed(failure(&body["detail"], kind)))
        }
        Ok(_) | Err(_) => Err(Error::Status(status, answer.after)),
    }
}

/// Returns the quantity that fal bills, in the model's own unit (<https://fal.ai/docs/documentation/model-apis/pricing>).
fn units(headers: &HeaderMap) -> Option<Charge> {
    let units = quantity(headers, "x-fal-billable-units")?;
    Some(Charge::Metered(vec![(Unit::BillableUnit, units)]))
}

/// Returns whether an answer other than 2xx says that the request failed. Otherwise only the call failed.
fn is_failure(status: u16, body: &Value) -> bool {
    let typed = body["detail"].is_array() || body["error_type"].is_string();
    matches!(status, 400 | 422) || typed && !matches!(status, 401 | 403 | 404 | 408 | 429)
}

fn failure(detail: &Value, kind: Option<&str>) -> EventError {
    let message = match kind {
        Some(kind) => format!("{kind}: {}", words(detail)),
        None => words(detail),
    };
    if is_policy(&message) {
        return EventError::new(ErrorCode::ContentPolicy, &message, false);
    }
    // The model reports errors in its input as a list with locations; the platform reports its own errors as plain
    // text.
    let located = detail.as_array().and_then(|errors| errors.first());
    let about_input =
        located.is_some_and(|error| error["loc"].as_array().is_some_and(|loc| loc.len() > 1));
    if about_input {
        let errors = detail.as_array().into_iter().flatten();
        let pairs = errors.filter_map(|error| {
            let field = error["loc"].as_array()?.last()?.as_str()?;
            Some((field, error["msg"].as_str().unwrap_or_default()))
        });
        return EventError {
            problems: problems(pairs),
            ..EventError::new(ErrorCode::InvalidRequest, &message, false)
        };
    }
    EventError::new(ErrorCode::ProviderFailed, &message, kind.is_some())
}

pub(super) async fn cancel(provider: &Provider, job: &Job) -> Result<(), Error> {
    let url = own(provider, &job.cancel_url)?;
    let request = provider.authorised(provider.clients.asking.put(url));
    match provider.ask::<IgnoredAny>(request, MAX_ANSWER).await {
        // 400: already completed; 404 or 410: gone. The body of a 2xx is not needed.
        Ok(_) | Err(Error::Unreadable(_) | Error::Status(400 | 404 | 410, _)) => Ok(()),
        Err(error) => Err(error),
    }
}

/// Returns a job's URL if it still has the provider's origin: the base URL may have been changed since.
fn own(provider: &Provider, url: &str) -> Result<String, Error> {
    let elsewhere = || {
        Error::Unreadable(
            "the job's URL has another origin than the provider's base URL".to_owned(),
        )
    };
    provider.own(url).ok_or_else(elsewhere)
}

/// Checks a model's id, which becomes part of a URL.
///
/// # Errors
/// The names that fal has.
pub(super) fn check(model: &str) -> Result<(), &'static str> {
    if is_model(model, 2..) {
        return Ok(());
    }
    Err("owner/app or owner/app/path")
}

fn job(provider: &Provider, model: &str, queued: &Queued) -> Job {
    let job = provider.job(&queued.request_id);
    let path = format!("{}/requests/{}", app(model), job.id);
    Job {
        status_url: provider.own_or_at(&queued.status_url, &format!("{path}/status")),
        result_url: provider.own_or_at(&queued.response_url, &path),
        cancel_url: provider.own_or_at(&queued.cancel_url, &format!("{path}/cancel")),
        ..job
    }
}

/// Returns the part of a model's id that the URLs of its requests contain: owner and app.
fn app(model: &str) -> String {
    let parts: Vec<&str> = model.split('/').collect();
    let kept = match parts.first() {
        Some(first) if NAMESPACES.contains(first) => 3,
        Some(_) | None => 2,
    };
    let kept: Vec<&str> = parts.into_iter().take(kept).collect();
    kept.join("/")
}

/// Collects the files of an output: each is an object with a `url`, under `images`, `video` or another name.
fn collect(output: &Value, found: &mut Vec<Url>) {
    match output {
        Value::Array(items) => items.iter().for_each(|item| collect(item, found)),
        Value::Object(fields) => match fields.get("url").and_then(Value::as_str).map(Url::parse) {
            Some(Ok(url)) => found.push(url),
            Some(Err(_)) | None => fields.values().for_each(|field| collect(field, found)),
        },
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

pub(super) fn said(body: &[u8]) -> Said {
    let no_money = |detail: &str| {
        let lower = detail.to_lowercase();
        let is_it = lower.contains("exhausted balance") || lower.contains("top_up");
        is_it.then_some(ErrorCode::ProviderQuota)
    };
    let words = |body: &Value| {
        let detail = words(body.get("detail")?);
        let code = no_money(&detail);
        Some((detail, code))
    };
    Said::of(body, words)
}

/// Returns an error as text; `detail` is a text or a list of `{loc, msg, type}`.
fn words(detail: &Value) -> String {
    match detail {
        Value::String(text) => text.clone(),
        Value::Array(errors) => errors.iter().map(one).collect::<Vec<_>>().join("; "),
        Value::Null => NO_REASON.to_owned(),
        Value::Object(_) => one(detail),
        Value::Bool(_) | Value::Number(_) => detail.to_string(),
    }
}

fn one(error: &Value) -> String {
    let text = |name: &str| error.get(name).and_then(Value::as_str);
    match (text("type"), text("msg")) {
        (Some(kind), Some(message)) => format!("{kind}: {message}"),
        (Some(text), None) | (None, Some(text)) => text.to_owned(),
        (None, None) => error.to_string(),
    }
}

#[cfg(test)]
mod tests;
