//! Replicate's HTTP API, also spoken by Cog servers: creates, polls, cancels and lists predictions.
//!
//! Replicate has no idempotency key. We send our id in the input as `genflow_id`, so that a look-up
//! finds it in the list of predictions (<https://replicate.com/docs/reference/http>).

use std::time::Duration;

use chrono::DateTime;
use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::{Map, Value, json};
use url::Url;

use super::answer::{Answer, LONGEST, Looked, Said, beginning, is_policy, judge};
use super::input::{Mapping, is_model, model};
use super::{Error, NotCurrent, Poll, Provider, Submission};
use crate::contract::run::Job;
use crate::domain::{ErrorCode, EventError, ProviderName, Single, WorkflowId};
use crate::engines::storage::Source;

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

pub(super) async fn submit(
    provider: &Provider,
    workflow: &WorkflowId,
    spec: &Single,
    go: impl Future<Output = Result<(), NotCurrent>> + Send + 'static,
) -> Submission {
    let built = input(provider, workflow, spec)
        .and_then(|(model, input)| Ok((address(provider, &model)?, model, input)));
    let (url, model, input) = match built {
        Ok(built) => built,
        Err(message) => {
            return Submission::Refused(EventError::new(
                ErrorCode::InvalidRequest,
                &message,
                false,
            ));
        }
    };
    let body = match model.split_once(':') {
        Some((_, version)) => json!({"version": version, "input": input}),
        None => json!({"input": input}),
    };
    let sending = provider.submitting(workflow, url, body.to_string().into_bytes(), go);
    match sending.send().await {
        Ok(response) => {
            let taken = |answer: &Answer| {
                let prediction = serde_json::from_slice(&answer.body)?;
                Ok(Submission::Accepted(job(provider, &prediction)))
            };
            judge(response, LONGEST, taken, said).await
        }
        Err(known) => known,
    }
}

/// Returns the URL that creates predictions of `model`. A tenant chooses the name, which becomes part of the URL.
fn address(provider: &Provider, model: &str) -> Result<String, String> {
    let (name, version) = match model.split_once(':') {
        Some((name, version)) => (name, Some(version)),
        None => (model, None),
    };
    if !is_model(name, 2..=2) || version.is_some_and(str::is_empty) {
        return Err(format!("model is {model:?}, want owner/name[:version]"));
    }
    Ok(match version {
        Some(_) => provider.at("v1/predictions"),
        None => provider.at(&format!("v1/models/{name}/predictions")),
    })
}

pub(super) async fn poll(provider: &Provider, job: &Job) -> Result<Poll, Error> {
    let url = provider
        .own(&job.status_url)
        .unwrap_or_else(|| provider.at(&format!("v1/predictions/{}", job.id)));
    let Looked::<Prediction> {
        read: prediction,
        after,
        cost_usd,
        held,
    } = provider.look(provider.get(url)).await?;
    match prediction.status.as_str() {
        "starting" | "processing" | "queued" => Ok(running(&prediction, true, after)),
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
            cost_usd,
            held,
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
        // A state of a later version of the API: keep polling rather than lose a job that was paid for.
        _ => Ok(running(&prediction, false, after)),
    }
}

pub(super) async fn cancel(provider: &Provider, job: &Job) -> Result<(), Error> {
    let url = provider
        .own(&job.cancel_url)
        .unwrap_or_else(|| provider.at(&format!("v1/predictions/{}/cancel", job.id)));
    let request = provider.authorised(provider.clients.asking.post(url));
    match provider.ask::<IgnoredAny>(request).await {
        // 404 or 410: there is nothing to cancel. The body of a 2xx is not needed.
        Ok(_) | Err(Error::Unreadable(_) | Error::Status(404 | 410, _)) => Ok(()),
        Err(error) => Err(error),
    }
}

pub(super) async fn find(
    provider: &Provider,
    workflow: &WorkflowId,
    since: i64,
) -> Result<Option<Job>, Error> {
    let mut url = provider.at("v1/predictions");
    for _ in 0..PAGES {
        let page: Page = provider.page(provider.get(&url)).await?;
        // Before Temporal's retention, an earlier run may have used the same id: that job is not this run's.
        let is_older = |prediction: &Prediction| {
            prediction
                .created()
                .is_some_and(|at| at < since - CLOCK_SKEW_MS)
        };
        let ours = |prediction: &&Prediction| {
            let id = prediction.input.get("genflow_id").and_then(Value::as_str);
            id == Some(workflow.as_str()) && !is_older(prediction)
        };
        if let Some(found) = page.results.iter().find(ours) {
            return Ok(Some(job(provider, found)));
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

/// Returns the model and its input. Models differ, and Replicate drops inputs that a model does not
/// have; these names are the most common ones.
fn input(
    provider: &Provider,
    workflow: &WorkflowId,
    spec: &Single,
) -> Result<(String, Map<String, Value>), String> {
    let common = spec.common();
    let mut mapping = Mapping::new(common);
    mapping.put("negative_prompt", common.negative_prompt.as_deref());
    mapping.put("aspect_ratio", common.aspect_ratio.as_deref());
    mapping.put("style", common.style.as_deref());
    mapping.put("seed", common.seed);
    // The name of the input for a role differs from model to model.
    mapping.lacks("inputs", !common.inputs.is_empty());
    match spec {
        Single::Image(image) => {
            mapping.put("width", image.width);
            mapping.put("height", image.height);
            mapping.put("num_outputs", image.num_images);
            mapping.put("output_format", image.output_format.as_deref());
        }
        Single::Video(video) => {
            mapping.put("duration", video.duration);
            mapping.put("resolution", video.resolution.as_deref());
            mapping.put("fps", video.fps);
            mapping.put("generate_audio", video.audio);
        }
    }
    let mut input = mapping.finish()?;
    input.insert("genflow_id".to_owned(), json!(workflow.as_str()));
    Ok((model(spec, &provider.config.model), input))
}

fn job(provider: &Provider, prediction: &Prediction) -> Job {
    Job {
        provider: ProviderName::Replicate,
        kind: provider.kind,
        id: prediction.id.chars().take(256).collect(),
        status_url: provider.own(&prediction.urls.get).unwrap_or_default(),
        result_url: String::new(),
        cancel_url: provider.own(&prediction.urls.cancel).unwrap_or_default(),
    }
}

fn running(prediction: &Prediction, known: bool, after: Option<Duration>) -> Poll {
    Poll::Running {
        stage: prediction.status.clone(),
        percent: percent(prediction.logs.as_deref().unwrap_or_default()),
        known,
        after,
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
        Value::Null => "the provider gave no reason".to_owned(),
        Value::Bool(_) | Value::Number(_) | Value::Array(_) | Value::Object(_) => value.to_string(),
    }
}

fn said(body: &[u8]) -> Said {
    let parsed: Option<Value> = serde_json::from_slice(body).ok();
    let named = parsed
        .as_ref()
        .and_then(|value| value.get("detail").or_else(|| value.get("error")));
    let detail = named.map_or_else(|| beginning(body), text_of);
    let code = is_policy(&detail).then_some(ErrorCode::ContentPolicy);
    Said { detail, code }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn progress_is_read_from_the_last_bar_of_the_log() {
        assert_eq!(percent("  5%|#   |\n 45%|####"), Some(45));
        assert_eq!(percent("100%|####"), Some(100));
        assert_eq!(percent("no bar"), None);
        assert_eq!(percent("9999%"), None);
    }

    #[test]
    fn outputs_come_as_one_url_a_list_or_an_object() {
        let one = json!("https://a/1");
        let many = json!(["https://a/1", "https://a/2"]);
        let named = json!({"video": "https://a/1", "seed": 7});

        assert_eq!(
            [one, many, named].map(|output| outputs(&output).len()),
            [1, 2, 1]
        );
    }
}
