//! Replicate's public HTTP API: predictions in, predictions out.
//!
//! Owns the paths, shapes and texts of that protocol (<https://replicate.com/docs/reference/http>), as far as genflow
//! reads them; `ledger` keeps the accepted jobs, and `job` their progress. Like the real API, it ignores
//! `Idempotency-Key`: two accepted submits are two jobs.

use std::{
    fmt::Write,
    sync::Arc,
    time::{Instant, SystemTime},
};

use axum::{
    Json, Router,
    body::Bytes,
    extract::{ConnectInfo, Path, Query, State},
    http::{HeaderMap, StatusCode},
    response::{IntoResponse, Response},
    routing::{get, post},
};
use chrono::{DateTime, SecondsFormat, Utc};
use serde::Deserialize;
use serde_json::{Value, json};

use super::{
    SimulatorState,
    job::{Callback, Phase, Protocol, SimulatedJob},
    ledger::status,
    line::Line,
    models,
    order::{JobOutput, Order},
    play::{self, Arrival, account, base, client_id, with_price},
};
use crate::domain::ProviderName;

const PAGE: usize = 100;

/// Returns the routes under `/v1`; each requires a bearer token.
pub(super) fn routes() -> Router<Arc<SimulatorState>> {
    let routes = Router::new()
        .route(
            "/v1/models/{owner}/{name}/predictions",
            post(submit_to_model),
        )
        .route("/v1/models/{owner}/{name}", get(model))
        .route("/v1/models/{owner}/{name}/versions/{version}", get(version))
        .route(
            "/v1/deployments/{owner}/{name}/predictions",
            post(submit_to_deployment),
        )
        .route("/v1/deployments/{owner}/{name}", get(deployment))
        .route("/v1/predictions", post(submit_to_version).get(list))
        .route("/v1/predictions/{id}", get(read))
        .route("/v1/predictions/{id}/cancel", post(cancel));
    play::keyed(routes, "Bearer ", problem)
}

/// Returns an error in Replicate's shape.
pub(super) fn problem(status: StatusCode, title: &str, detail: &str) -> Response {
    let body = json!({"title": title, "detail": detail, "status": status.as_u16()});
    (status, Json(body)).into_response()
}

async fn submit_to_model(
    state: State<Arc<SimulatorState>>,
    line: ConnectInfo<Line>,
    Path((owner, name)): Path<(String, String)>,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let body = serde_json::from_slice(&body).unwrap_or(Value::Null);
    let model = Some(format!("{owner}/{name}"));
    submit(&state, &line, &headers, body, model).await
}

/// Every model has a deployment of its own name.
async fn submit_to_deployment(
    state: State<Arc<SimulatorState>>,
    line: ConnectInfo<Line>,
    Path((owner, name)): Path<(String, String)>,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let body = serde_json::from_slice(&body).unwrap_or(Value::Null);
    let model = Some(format!("deployments/{owner}/{name}"));
    submit(&state, &line, &headers, body, model).await
}

async fn submit_to_version(
    state: State<Arc<SimulatorState>>,
    line: ConnectInfo<Line>,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let body: Value = serde_json::from_slice(&body).unwrap_or(Value::Null);
    // `owner/name:id`, or an id alone.
    let model = body["version"].as_str().map(|version| {
        let (model, _) = version
            .split_once(':')
            .unwrap_or(("simulated/model", version));
        model.to_owned()
    });
    submit(&state, &line, &headers, body, model).await
}

async fn submit(
    shared: &SimulatorState,
    line: &Line,
    headers: &HeaderMap,
    mut body: Value,
    model: Option<String>,
) -> Response {
    let key = client_id(headers, &body["input"]);
    let earlier = shared.ledger().arrive(&key);
    let named = model.as_deref().unwrap_or_default();
    let deployed = named.strip_prefix("deployments/").unwrap_or(named);
    let schema = models::input(ProviderName::REPLICATE, deployed);
    let raw = body["input"].take();
    let input = models::seen(&schema, raw.clone());
    let faults = input
        .as_object()
        .map(|input| models::faults(&schema, input));
    if let Some(faults) = faults.filter(|faults| !faults.is_empty()) {
        return bad_input(&faults);
    }
    let order = Order::of(named, input).map(|order| order.echoing(raw));
    let (model, order) = match (model, order) {
        (Some(model), Ok(order)) => (model, order),
        (_, Err(error)) => return invalid(&error),
        (None, Ok(_)) => return invalid("version: is missing, expected a string"),
    };
    let base = base(shared, headers);
    let callback = match asked_call(&body, &base) {
        Ok(callback) => callback,
        Err(problem) => return invalid(problem),
    };
    let arrival = Arrival {
        key,
        account: account(headers),
        earlier,
        model,
        order,
        callback,
    };
    let show = |job: &SimulatedJob| {
        let shown = prediction(job, Phase::Starting, job.created.1, &base);
        (StatusCode::CREATED, Json(shown)).into_response()
    };
    play::submit(shared, line, arrival, problem, show).await
}

/// Returns the call that a submit asks for, when its prediction has ended.
fn asked_call(body: &Value, base: &str) -> Result<Option<Callback>, &'static str> {
    let Some(url) = body.get("webhook") else {
        return Ok(None);
    };
    let url = url.as_str().filter(|url| url.starts_with("http"));
    let url = url.ok_or("webhook: is not a URL")?.to_owned();
    let events = body.get("webhook_events_filter").and_then(Value::as_array);
    let known = ["start", "output", "logs", "completed"];
    let is_known = |event: &Value| event.as_str().is_some_and(|event| known.contains(&event));
    if events.is_some_and(|events| !events.iter().all(is_known)) {
        return Err("webhook_events_filter: has an unknown event");
    }
    let is_wanted = events.is_none_or(|events| events.contains(&json!("completed")));
    Ok(is_wanted.then(|| Callback {
        url,
        protocol: Protocol::Replicate,
        base: base.to_owned(),
    }))
}

async fn model(Path((owner, name)): Path<(String, String)>) -> Response {
    let version =
        json!({"id": "simulated", "openapi_schema": document(&format!("{owner}/{name}"))});
    Json(json!({"owner": owner, "name": name, "latest_version": version})).into_response()
}

async fn deployment(Path((owner, name)): Path<(String, String)>) -> Response {
    let release = json!({"model": format!("{owner}/{name}"), "version": "simulated"});
    Json(json!({"owner": owner, "name": name, "current_release": release})).into_response()
}

async fn version(Path((owner, name, version)): Path<(String, String, String)>) -> Response {
    let schema = document(&format!("{owner}/{name}"));
    Json(json!({"id": version, "openapi_schema": schema})).into_response()
}

fn document(model: &str) -> Value {
    let input = models::input(ProviderName::REPLICATE, model);
    json!({"openapi": "3.0.2", "components": {"schemas": {"Input": input}}})
}

/// Returns Replicate's answer to an input that the model's schema does not accept.
fn bad_input(faults: &[models::Fault]) -> Response {
    let lines = faults
        .iter()
        .map(|fault| format!("- input.{}: {}\n", fault.field, fault.description));
    let fields = faults.iter().map(|fault| {
        let field = format!("input.{}", fault.field);
        json!({"type": fault.kind, "field": field, "description": fault.description})
    });
    let body = json!({
        "title": "Input validation failed",
        "detail": lines.collect::<String>(),
        "status": 422,
        "invalid_fields": fields.collect::<Vec<_>>(),
    });
    (StatusCode::UNPROCESSABLE_ENTITY, Json(body)).into_response()
}

async fn read(
    State(shared): State<Arc<SimulatorState>>,
    ConnectInfo(line): ConnectInfo<Line>,
    Path(id): Path<String>,
    headers: HeaderMap,
) -> Response {
    let mut ledger = shared.ledger();
    let Some(job) = ledger.job(&id) else {
        return not_found();
    };
    play::read(job, &line, problem, |job, now| {
        job.issue(now);
        let shown = prediction(job, job.phase(now), now, &base(&shared, &headers));
        with_price(job, Json(shown).into_response())
    })
}

async fn cancel(
    State(shared): State<Arc<SimulatorState>>,
    Path(id): Path<String>,
    headers: HeaderMap,
) -> Response {
    let now = Instant::now();
    let mut ledger = shared.ledger();
    let Some(job) = ledger.job(&id) else {
        return not_found();
    };
    match job.cancel(now) {
        Some(refusal) => play::refuse(problem, refusal),
        None => {
            let base = base(&shared, &headers);
            Json(prediction(job, job.phase(now), now, &base)).into_response()
        }
    }
}

/// Query of the list.
#[derive(Deserialize)]
struct Listing {
    cursor: Option<usize>,
}

async fn list(
    State(shared): State<Arc<SimulatorState>>,
    Query(want): Query<Listing>,
    headers: HeaderMap,
) -> Json<Value> {
    let base = base(&shared, &headers);
    let now = Instant::now();
    let ledger = shared.ledger();
    let (jobs, older) = ledger.page(&account(&headers), want.cursor, PAGE);
    let results: Vec<Value> = jobs
        .into_iter()
        .map(|job| prediction(job, job.phase(now), now, &base))
        .collect();
    let next = older.map(|cursor| format!("{base}/v1/predictions?cursor={cursor}"));
    Json(json!({"next": next, "results": results}))
}

/// Returns `job` in Replicate's shape, in the phase `phase`.
pub(super) fn prediction(job: &SimulatedJob, phase: Phase, now: Instant, base: &str) -> Value {
    let script = &job.order.script;
    let state = script.state.as_deref().filter(|_| !phase.ended());
    json!({
        "id": job.id,
        "model": job.model,
        "input": job.order.input,
        "logs": logs(job, phase, now),
        "output": (phase == Phase::Succeeded).then(|| output(job, base)),
        "error": script.fail.as_ref().filter(|_| phase == Phase::Failed),
        "status": state.unwrap_or(status(phase)),
        "created_at": timestamp(job.created.0),
        "webhook": job.callback.as_ref().map(|callback| &callback.url),
        "urls": {
            "get": format!("{base}/v1/predictions/{}", job.id),
            "cancel": format!("{base}/v1/predictions/{}/cancel", job.id),
        },
    })
}

/// Returns a list of URLs for images and a bare URL for a video: Replicate's models return both shapes.
fn output(job: &SimulatedJob, base: &str) -> Value {
    let mut urls = job.files(base).into_iter();
    match job.order.media {
        JobOutput::Images { .. } => urls.collect(),
        JobOutput::Video { .. } => match job.poster(base) {
            Some(poster) => [poster].into_iter().chain(urls).collect(),
            None => urls.next().into(),
        },
    }
}

/// Returns the log of a model that uses tqdm: one line for each completed twentieth of the work.
fn logs(job: &SimulatedJob, phase: Phase, now: Instant) -> String {
    let mut logs = String::new();
    if phase == Phase::Starting {
        return logs;
    }
    let run_time = job.run_time.as_secs_f64();
    for step in 0..=job.percent(now) / 5 {
        let full = step as usize / 2;
        let (bar, rest) = ("█".repeat(full), " ".repeat(10 - full));
        let spent = run_time * f64::from(step) / 20.0;
        let left = run_time - spent;
        // Writing to a string cannot fail.
        writeln!(
            logs,
            "{:>3}%|{bar}{rest}| {step}/20 [{spent:05.2}<{left:05.2}]",
            step * 5
        )
        .ok();
    }
    logs
}

fn timestamp(at: SystemTime) -> String {
    DateTime::<Utc>::from(at).to_rfc3339_opts(SecondsFormat::Micros, true)
}

fn invalid(detail: &str) -> Response {
    problem(
        StatusCode::UNPROCESSABLE_ENTITY,
        "Input validation failed",
        detail,
    )
}

pub(super) fn not_found() -> Response {
    problem(
        StatusCode::NOT_FOUND,
        "Not found",
        "The requested resource could not be found.",
    )
}
