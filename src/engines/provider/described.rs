//! Calls an API by its description (`engines::config::description`).

use std::collections::BTreeSet;

use reqwest::header::{HeaderName, HeaderValue};
use serde::de::Error as _;
use serde_json::{Map, Value};
use url::Url;

use super::answer::{
    HttpAnswer, MAX_IMAGES_ANSWER, MAX_PAGE, NO_REASON, Said, is_policy, parsed, price,
};
use super::submission::{Draft, Submission};
use super::{Error, MAX_ANSWER, MAX_ID, Poll, Provider};
use crate::contract::run::Job;
use crate::domain::model::Charge;
use crate::domain::{ErrorCode, EventError, Single};
use crate::engines::config::description::{
    Body, Description, Find, Output, OutputKind, PathTemplate, Pointer,
};
use crate::engines::storage::Source;

pub(super) fn draft(
    provider: &Provider,
    api: &Description,
    key: &str,
    spec: &Single,
    input: &Map<String, Value>,
) -> Result<Draft, String> {
    let name = provider.model(spec);
    let model = api.models.get(name);
    let model = model.ok_or_else(|| format!("the model {name:?} is not described"))?;
    let value = |name: &str| match name {
        "model" => Some(Value::from(model.name.as_str())),
        "workflow" => Some(Value::from(key)),
        _ => input.get(name).cloned(),
    };
    let template = model.body.as_ref().unwrap_or(&api.submit.body);
    let mut body = template.fill(&value);
    // Ours, even if an input has the same name.
    let ours = BTreeSet::from(["model", "workflow"]);
    let named = &template.names() - &ours;
    let others = input
        .iter()
        .filter(|(name, _)| !named.contains(name.as_str()));
    let mut others = others.peekable();
    if let (Some(place), true) = (&api.submit.inputs, others.peek().is_some()) {
        let object = place.object(&mut body);
        let object = object.ok_or("submit.inputs names a place in the body that is not a table; the operator has to correct the description")?;
        for (name, value) in others {
            // It may be what names the model.
            if object.contains_key(name) {
                return Err(format!(
                    "params.{name}: the description fixes this part of the body; leave it out"
                ));
            }
            object.insert(name.clone(), value.clone());
        }
    }
    let path = model.path.as_ref().unwrap_or(&api.submit.path);
    let path = path.fill(|_| Some(model.name.clone()));
    let path = path.ok_or("the name of the model cannot be part of a path")?;
    let idempotency = api.submit.idempotency.clone();
    Ok(Draft {
        header: idempotency.map(|name| (name, key.to_owned())),
        ..Draft::of(provider.below(&path), body)
    })
}

pub(super) fn accepted(
    provider: &Provider,
    api: &Description,
    answer: &HttpAnswer,
) -> Result<Submission, serde_json::Error> {
    let body: Value = serde_json::from_slice(&answer.body)?;
    let id = api.submit.id.text(&body, "");
    let id = id.filter(|id| !id.is_empty() && id.len() <= MAX_ID);
    let id = id.ok_or_else(|| serde_json::Error::custom("it has no job id at submit.id"))?;
    let url = api.poll.url.as_ref().and_then(|at| at.text(&body, &id));
    Ok(Submission::Accepted(Job {
        status_url: url.and_then(|url| provider.own(&url)).unwrap_or_default(),
        cost_microusd: cost(api, &body, &id).map(|usd| (usd * 1e6).round() as u64),
        ..provider.job(&id)
    }))
}

pub(super) fn said(api: &Description, body: &[u8]) -> Said {
    Said::of(body, |body| {
        let detail = texts(&api.error.at, body, "");
        (!detail.is_empty()).then(|| {
            let code = no_money(api, &detail).then_some(ErrorCode::ProviderQuota);
            (detail, code)
        })
    })
}

pub(super) async fn poll(provider: &Provider, api: &Description, job: &Job) -> Result<Poll, Error> {
    let url = status_url(provider, api, job)?;
    let is_long = api.outputs.iter().any(|it| it.kind == OutputKind::Base64);
    let max_bytes = if is_long {
        MAX_IMAGES_ANSWER
    } else {
        MAX_ANSWER
    };
    let (body, answer): (Value, _) = provider.ask(provider.get(&url), max_bytes).await?;
    let stage = api.state.at.text(&body, &job.id).unwrap_or_default();
    let state = &api.state;
    if state.moderated.contains(&stage) {
        let said = said_of(api, &body, job).unwrap_or(stage);
        return Ok(Poll::Failed(EventError::new(
            ErrorCode::ContentPolicy,
            &said,
            false,
        )));
    }
    if state.failed.contains(&stage) {
        let said = said_of(api, &body, job);
        return Ok(Poll::Failed(failure(
            api,
            &body,
            job,
            &said.unwrap_or(stage),
        )));
    }
    if state.succeeded.contains(&stage) {
        let outputs = outputs(provider, api, &body, job)?;
        if outputs.is_empty() {
            let said = said_of(api, &body, job);
            let said = said.unwrap_or_else(|| "the job is done, but has no output".to_owned());
            return Ok(Poll::Failed(failure(api, &body, job, &said)));
        }
        let at_submit = || job.cost_microusd.map(|cost| cost as f64 / 1e6);
        return Ok(Poll::Succeeded {
            outputs,
            charge: cost(api, &body, &job.id)
                .or_else(at_submit)
                .map(Charge::Usd)
                .or_else(|| price(&answer.headers)),
            held: answer.held,
        });
    }
    Ok(Poll::Running {
        percent: percent(api, &body, job),
        known: state.running.contains(&stage),
        stage: match stage.is_empty() {
            true => "running".to_owned(),
            false => stage,
        },
        after: answer.poll_after(),
    })
}

/// Returns the URL that gives the state of a job.
fn status_url(provider: &Provider, api: &Description, job: &Job) -> Result<String, Error> {
    match (provider.own(&job.status_url), &api.poll.path) {
        (Some(url), _) => Ok(url),
        (None, Some(path)) => at(provider, path, job),
        (None, None) => {
            let why =
                "the URL of the job is not one of the API; expected one of base_url or of hosts";
            Err(Error::Unreadable(why.to_owned()))
        }
    }
}

/// Looks a job up by our id, `key`.
pub(super) async fn find(
    provider: &Provider,
    find: &Find,
    key: &str,
) -> Result<Option<Job>, Error> {
    let path = find.path.fill(|_| Some(key.to_owned()));
    let wrong = |why: &str| Error::Unreadable(why.to_owned());
    let path = path.ok_or_else(|| wrong("genflow's id cannot be part of a path"))?;
    let request = provider.get(provider.below(&path));
    let answer = provider.whole(request, MAX_PAGE).await?;
    let status = answer.status.as_u16();
    if find.absent.contains(&status) {
        return Ok(None);
    }
    if !answer.status.is_success() {
        return Err(Error::Status(status, answer.after));
    }
    let body: Value = parsed(&answer.body)?;
    if find.id.first(&body, "").is_none() {
        return Ok(None);
    }
    let id = find.id.text(&body, "");
    let id = id.filter(|id| !id.is_empty() && id.len() <= MAX_ID);
    let id = id.ok_or_else(|| wrong("what is at find.id is no job id"))?;
    Ok(Some(provider.job(&id)))
}

/// Makes all calls that cancel a job, and returns the first failure.
pub(super) async fn cancel(provider: &Provider, api: &Description, job: &Job) -> Result<(), Error> {
    let mut result = Ok(());
    for call in &api.cancel {
        let url = at(provider, &call.path, job)?;
        let mut request =
            provider.authorised(provider.clients.asking.request(call.method.clone(), url));
        if let Some(body) = &call.body {
            request = request.json(&with_id(body, job));
        }
        let answer = provider.whole(request, MAX_ANSWER).await;
        let called = answer.and_then(|answer| match answer.status.as_u16() {
            200..=299 => Ok(()),
            status if call.ended.contains(&status) => Ok(()),
            status => Err(Error::Status(status, answer.after)),
        });
        result = result.and(called);
    }
    result
}

/// Returns the header with the key, if the API needs one and there is one.
pub(super) fn credential(
    provider: &Provider,
    api: &Description,
) -> Option<(HeaderName, HeaderValue)> {
    let key = api.key.as_ref()?;
    let secret = provider.config.api_key.as_ref()?.expose();
    let mut value = HeaderValue::from_str(&format!("{}{secret}", key.prefix)).ok()?;
    value.set_sensitive(true);
    Some((key.header.clone(), value))
}

fn with_id(body: &Body, job: &Job) -> Value {
    body.fill(&|name| (name == "id").then(|| Value::from(job.id.as_str())))
}

fn at(provider: &Provider, path: &PathTemplate, job: &Job) -> Result<String, Error> {
    let path = path.fill(|_| Some(job.id.clone()));
    let wrong = || Error::Unreadable("the id of the job cannot be part of a path".to_owned());
    Ok(provider.below(&path.ok_or_else(wrong)?))
}

fn outputs(
    provider: &Provider,
    api: &Description,
    body: &Value,
    job: &Job,
) -> Result<Vec<Source>, Error> {
    let mut sources = Vec::new();
    for output in &api.outputs {
        for found in output.at.all(body, &job.id) {
            sources.push(source(provider, output, found)?);
        }
    }
    Ok(sources)
}

fn source(provider: &Provider, output: &Output, found: &Value) -> Result<Source, Error> {
    let wrong = |why: &str| Error::Unreadable(format!("an output {why}"));
    if let Some(path) = &output.path {
        let field = |name: &str| found.get(name)?.as_str().map(str::to_owned);
        let path = path.fill(field);
        let path = path.ok_or_else(|| wrong("lacks a field that its path needs"))?;
        let url = Url::parse(&provider.below(&path)).map_err(|error| wrong(&error.to_string()))?;
        return Ok(Source::Keyed(url, provider.credential()));
    }
    let text = found.as_str().ok_or_else(|| wrong("is not a text"))?;
    if output.kind == OutputKind::Base64 {
        return Ok(Source::Inline(text.to_owned()));
    }
    let url = Url::parse(text).map_err(|_| wrong("has no valid URL"))?;
    Ok(match output.key && provider.own(text).is_some() {
        true => Source::Keyed(url, provider.credential()),
        false => Source::Open(url),
    })
}

fn percent(api: &Description, body: &Value, job: &Job) -> Option<i32> {
    let progress = api.progress.as_ref()?;
    let done = progress.at.first(body, &job.id)?.as_f64()?;
    let percent = done / progress.of * 100.0;
    (0.0..=100.0).contains(&percent).then_some(percent as i32)
}

fn cost(api: &Description, body: &Value, id: &str) -> Option<f64> {
    let cost = api.cost.as_ref()?;
    let usd = cost.at.first(body, id)?.as_f64()? * cost.usd;
    (0.0..=1e6).contains(&usd).then_some(usd)
}

/// Returns what the answer says about a failure, if anything.
fn said_of(api: &Description, body: &Value, job: &Job) -> Option<String> {
    let said = texts(&api.error.at, body, &job.id);
    let refused = texts(&api.error.moderated_at, body, &job.id);
    [said, refused].into_iter().find(|text| !text.is_empty())
}

fn failure(api: &Description, body: &Value, job: &Job, said: &str) -> EventError {
    let is_refused = !texts(&api.error.moderated_at, body, &job.id).is_empty();
    let code = match () {
        () if is_refused || is_policy(said) => ErrorCode::ContentPolicy,
        () if no_money(api, said) => ErrorCode::ProviderQuota,
        () => ErrorCode::ProviderFailed,
    };
    let said = if said.is_empty() { NO_REASON } else { said };
    EventError::new(code, said, code == ErrorCode::ProviderQuota)
}

/// Returns the texts at these places.
fn texts(places: &[Pointer], body: &Value, id: &str) -> String {
    let found = places.iter().flat_map(|place| place.all(body, id));
    let texts = found.map(|found| match found {
        Value::String(text) => text.clone(),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::Array(_) | Value::Object(_) => {
            found.to_string()
        }
    });
    let texts: Vec<_> = texts.filter(|text| !text.is_empty()).collect();
    texts.join(": ")
}

fn no_money(api: &Description, said: &str) -> bool {
    let said = said.to_lowercase();
    let mut words = api.error.quota.iter();
    words.any(|word| said.contains(&word.to_lowercase()))
}
