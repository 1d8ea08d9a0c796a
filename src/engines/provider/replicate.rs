//! Replicate's HTTP API, also spoken by Cog servers: creates, polls, cancels and lists predictions.
//!
//! Replicate has no idempotency key. We send our id in the input as `genflow_id`, and at the end of the URL for callbacks,
//! so that a look-up finds it in the list of predictions (<https://replicate.com/docs/reference/http>).

use std::time::Duration;

use chrono::DateTime;
use reqwest::header::HeaderName;
use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::{Map, Value, json};
use url::Url;

use super::answer::{HttpAnswer, MAX_PAGE, NO_REASON, Said, is_policy, price, problems};
use super::model_name::is_model;
use super::published::Published;
use super::submission::{Draft, Submission};
use super::{Error, MAX_ANSWER, MAX_SCHEMA, Poll, Provider};
use crate::contract::run::{Job, workflow_of};
use crate::domain::{ErrorCode, EventError, Single};
use crate::engines::storage::Source;

const CANCEL_AFTER: HeaderName = HeaderName::from_static("cancel-after");
/// How much later than genflow Replicate ends a job: genflow's own deadline comes first.
pub(super) const LATER: Duration = Duration::from_secs(3);
/// Limit on the pages of the list that a look-up reads; a page has 100 predictions.
const PAGES: usize = 10;
/// How far the provider's clock, which timestamps predictions, may lag ours.
const CLOCK_SKEW_MS: i64 = 10 * 60 * 1000;

#[derive(Deserialize)]
struct Prediction {
    id: String,
    status: String,
    #[serde(default)]
    input: Value,
    #[serde(default)]
    output: Value,
    #[serde(default)]
    error: Value,
    /// Whether input and output were deleted, which Replicate does after an hour.
    #[serde(default)]
    data_removed: bool,
    #[serde(default)]
    logs: Option<String>,
    #[serde(default)]
    created_at: Option<String>,
    #[serde(default)]
    urls: Urls,
    /// The URL of its callbacks, if the API returns it.
    #[serde(default)]
    webhook: Value,
}

#[derive(Default, Deserialize)]
struct Urls {
    #[serde(default)]
    get: String,
    #[serde(default)]
    cancel: String,
}

#[derive(Deserialize)]
struct Page {
    #[serde(default)]
    next: Option<String>,
    results: Vec<Prediction>,
}

impl Prediction {
    /// Returns when it was created, in milliseconds since the epoch, if the answer says so.
    fn created(&self) -> Option<i64> {
        let text = self.created_at.as_deref()?;
        let at = DateTime::parse_from_rfc3339(text).ok()?;
        Some(at.timestamp_millis())
    }
}

/// What a request names: a model, one of its versions, or a deployment.
enum Named<'m> {
    Model(&'m str),
    Version(&'m str, &'m str),
    Deployment(&'m str),
}

impl<'m> Named<'m> {
    /// Parses a name, which becomes part of a URL: a tenant chooses it.
    ///
    /// # Errors
    /// The names that Replicate has.
    fn parse(model: &'m str) -> Result<Self, &'static str> {
        let (named, name) = match (model.strip_prefix("deployments/"), model.split_once(':')) {
            (Some(name), _) => (Self::Deployment(name), name),
            (None, Some((name, version))) => (Self::Version(name, version), name),
            (None, None) => (Self::Model(model), model),
        };
        let is_version = |version: &str| {
            !version.is_empty() && version.chars().all(|c| c.is_ascii_alphanumeric())
        };
        match named {
            Self::Version(_, version) if !is_version(version) => {}
            Self::Model(_) | Self::Version(..) | Self::Deployment(_) if is_model(name, 2..=2) => {
                return Ok(named);
            }
            Self::Model(_) | Self::Version(..) | Self::Deployment(_) => {}
        }
        Err("owner/name, owner/name:version or deployments/owner/name")
    }
}

/// Checks a model's name.
///
/// # Errors
/// The names that Replicate has.
pub(super) fn check(model: &str) -> Result<(), &'static str> {
    Named::parse(model).map(|_| ())
}

pub(super) fn draft(
    provider: &Provider,
    key: &str,
    spec: &Single,
    mut input: Map<String, Value>,
    left: Duration,
) -> Result<Draft, String> {
    input.insert("genflow_id".to_owned(), json!(key));
    let named = Named::parse(provider.model(spec));
    let (path, body) = match named.map_err(|names| format!("a model's name is {names}"))? {
        Named::Version(_, version) => {
            let body = json!({"version": version, "input": input});
            ("v1/predictions".to_owned(), body)
        }
        Named::Model(name) => {
            let path = format!("v1/models/{name}/predictions");
            (path, json!({"input": input}))
        }
        Named::Deployment(name) => {
            let path = format!("v1/deployments/{name}/predictions");
            (path, json!({"input": input}))
        }
    };
    // Replicate ends a job that is not done by then, also if this deployment no longer runs. At least five seconds.
    let seconds = (left + LATER).as_secs().max(5);
    Ok(Draft {
        header: Some((CANCEL_AFTER, format!("{seconds}s"))),
        ..Draft::of(provider.at(&path), body)
    })
}

/// Asks for one call, when the prediction has ended.
pub(super) fn ask_to_call(url: &str, draft: &mut Draft) {
    draft.body["webhook"] = json!(url);
    draft.body["webhook_events_filter"] = json!(["completed"]);
}

/// Reads a model's schema. A Cog server has one model, whatever its name, and publishes the schema at another path.
pub(super) async fn schema(provider: &Provider, model: &str) -> Result<Option<Published>, Error> {
    let Ok(named) = Named::parse(model) else {
        return Ok(None);
    };
    let found = match named {
        Named::Model(name) => get(provider, &format!("v1/models/{name}")).await,
        Named::Version(name, version) => {
            get(provider, &format!("v1/models/{name}/versions/{version}")).await
        }
        Named::Deployment(name) => match get(provider, &format!("v1/deployments/{name}")).await {
            Ok(deployment) => {
                let part = |key: &str| deployment.pointer(&format!("/current_release/{key}"));
                let part = |key| part(key).and_then(Value::as_str).unwrap_or_default();
                let name = format!("{}:{}", part("model"), part("version"));
                match Named::parse(&name) {
                    Ok(Named::Version(name, version)) => {
                        get(provider, &format!("v1/models/{name}/versions/{version}")).await
                    }
                    Ok(Named::Model(_) | Named::Deployment(_)) | Err(_) => return Ok(None),
                }
            }
            Err(error) => Err(error),
        },
    };
    let document = match found {
        Ok(mut answer) => {
            let place = match answer.get("latest_version") {
                Some(_) => "/latest_version/openapi_schema",
                None => "/openapi_schema",
            };
            answer
                .pointer_mut(place)
                .map(Value::take)
                .unwrap_or_default()
        }
        Err(Error::Status(404, _)) => get(provider, "openapi.json").await?,
        Err(error) => return Err(error),
    };
    let input = document.pointer("/components/schemas/Input").cloned();
    Ok(input.map(|input| Published { document, input }))
}

async fn get(provider: &Provider, path: &str) -> Result<Value, Error> {
    let request = provider.get(provider.at(path));
    let (answer, _held): (Value, _) = provider.ask(request, MAX_SCHEMA).await?;
    Ok(answer)
}

pub(super) fn accepted(
    provider: &Provider,
    answer: &HttpAnswer,
) -> Result<Submission, serde_json::Error> {
    let prediction = serde_json::from_slice(&answer.body)?;
    Ok(Submission::Accepted(job(provider, &prediction)))
}

pub(super) async fn poll(provider: &Provider, job: &Job) -> Result<Poll, Error> {
    let url = provider.own_or_at(&job.status_url, &format!("v1/predictions/{}", job.id));
    let (prediction, answer): (Prediction, _) = provider.ask(provider.get(url), MAX_ANSWER).await?;
    match prediction.status.as_str() {
        "succeeded" if prediction.data_removed => Ok(Poll::Failed(EventError::new(
            ErrorCode::ResultUnavailable,
            "the provider has deleted the outputs",
            true,
        ))),
        "succeeded" => Ok(Poll::Succeeded {
            outputs: outputs(&prediction.output)
                .into_iter()
                .map(Source::Open)
                .collect(),
            charge: price(&answer.headers),
            held: answer.held,
        }),
        "failed" => {
            let said = text_of(&prediction.error);
            let code = if is_policy(&said) {
                ErrorCode::ContentPolicy
            } else {
                ErrorCode::ProviderFailed
            };
            Ok(Poll::Failed(EventError::new(code, &said, false)))
        }
        "canceled" | "aborted" => Ok(Poll::Failed(EventError::new(
            ErrorCode::ProviderFailed,
            "the job was cancelled at the provider",
            true,
        ))),
        stage => Ok(Poll::Running {
            stage: stage.to_owned(),
            percent: prediction.logs.as_deref().and_then(percent),
            // A state that only a later version of the API has is polled again, so that no paid job is lost.
            known: matches!(stage, "starting" | "processing" | "queued"),
            after: answer.poll_after(),
        }),
    }
}

pub(super) async fn cancel(provider: &Provider, job: &Job) -> Result<(), Error> {
    let path = format!("v1/predictions/{}/cancel", job.id);
    let url = provider.own_or_at(&job.cancel_url, &path);
    let request = provider.authorised(provider.clients.asking.post(url));
    match provider.ask::<IgnoredAny>(request, MAX_ANSWER).await {
        // 404 or 410: there is nothing to cancel. The body of a 2xx is not needed.
        Ok(_) | Err(Error::Unreadable(_) | Error::Status(404 | 410, _)) => Ok(()),
        Err(error) => Err(error),
    }
}

pub(super) async fn find(provider: &Provider, key: &str, since: i64) -> Result<Option<Job>, Error> {
    let mut url = provider.at("v1/predictions");
    let path = provider.callback_path(workflow_of(key));
    for _ in 0..PAGES {
        let (page, _held): (Page, _) = provider.ask(provider.get(&url), MAX_PAGE).await?;
        // A run that Temporal no longer retains may have had the same id: its job is not this run's.
        let is_older = |prediction: &Prediction| {
            prediction
                .created()
                .is_some_and(|at| at < since - CLOCK_SKEW_MS)
        };
        // The input is deleted after an hour; the URL of the callbacks also has our id.
        let is_called = |prediction: &Prediction| {
            let (url, path) = (prediction.webhook.as_str(), path.as_deref());
            url.zip(path).is_some_and(|(url, path)| url.ends_with(path))
        };
        let ours = |prediction: &&Prediction| {
            let id = prediction.input.get("genflow_id").and_then(Value::as_str);
            // All candidates of a run have the same URL, so the input decides as long as it is there.
            let is_ours = id.map_or_else(|| is_called(prediction), |id| id == key);
            is_ours && !is_older(prediction)
        };
        if let Some(found) = page.results.iter().find(ours) {
            let called_back = is_called(found);
            return Ok(Some(Job {
                called_back,
                ..job(provider, found)
            }));
        }
        if page.results.last().is_some_and(is_older) {
            return Ok(None);
        }
        match page.next.as_deref() {
            None | Some("") => return Ok(None),
            Some(next) => url = further(provider, next)?,
        }
    }
    // Neither found nor proven absent: the caller looks again.
    Err(Error::Unreadable(format!(
        "the prediction is not on the first {PAGES} pages of the list"
    )))
}

/// Returns the URL of the list's next page. A gateway may pass on URLs of the server that it hides,
/// so only the query of `next` is used, with the URL of the first page.
fn further(provider: &Provider, next: &str) -> Result<String, Error> {
    let list = provider.at("v1/predictions");
    let next = Url::parse(&list).and_then(|list| list.join(next));
    match next.as_ref().ok().and_then(Url::query) {
        Some(query) => Ok(format!("{list}?{query}")),
        // Not "absent": our prediction may be on the next page.
        None => Err(Error::Unreadable(
            "the URL of the list's next page has no cursor".to_owned(),
        )),
    }
}

fn job(provider: &Provider, prediction: &Prediction) -> Job {
    Job {
        status_url: provider.own(&prediction.urls.get).unwrap_or_default(),
        cancel_url: provider.own(&prediction.urls.cancel).unwrap_or_default(),
        ..provider.job(&prediction.id)
    }
}

/// Returns the last `NN%` of a log, where models print their progress bar.
fn percent(logs: &str) -> Option<i32> {
    let before = logs.rsplit_once('%')?.0;
    let digits: Vec<char> = before
        .chars()
        .rev()
        .take_while(char::is_ascii_digit)
        .take(4)
        .collect();
    let number: i32 = digits.into_iter().rev().collect::<String>().parse().ok()?;
    (0..=100).contains(&number).then_some(number)
}

/// Collects the URLs of an output: models answer with one URL, a list, or an object that contains URLs.
fn outputs(output: &Value) -> Vec<Url> {
    match output {
        Value::String(text) => Url::parse(text).into_iter().collect(),
        Value::Array(items) => items.iter().flat_map(outputs).collect(),
        Value::Object(fields) => fields.values().flat_map(outputs).collect(),
        Value::Null | Value::Bool(_) | Value::Number(_) => Vec::new(),
    }
}

fn text_of(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Null => NO_REASON.to_owned(),
        Value::Bool(_) | Value::Number(_) | Value::Array(_) | Value::Object(_) => value.to_string(),
    }
}

pub(super) fn said(body: &[u8]) -> Said {
    let words = |body: &Value| {
        let detail = body.get("detail").or_else(|| body.get("error"));
        detail.map(|detail| (text_of(detail), None))
    };
    let said = Said::of(body, words);
    let parsed: Value = serde_json::from_slice(body).unwrap_or_default();
    let fields = parsed["invalid_fields"].as_array().into_iter().flatten();
    let pairs = fields.filter_map(|fault| {
        let field = fault["field"].as_str()?;
        let field = field.strip_prefix("input.").unwrap_or(field);
        Some((field, fault["description"].as_str().unwrap_or_default()))
    });
    let problems = problems(pairs);
    // The name of a refused input may sound like a policy (`safety_tolerance`).
    let code = match problems.is_empty() {
        true => said.code,
        false => Some(ErrorCode::InvalidRequest),
    };
    Said {
        problems,
        code,
        ..said
    }
}

#[cfg(test)]
mod tests;
