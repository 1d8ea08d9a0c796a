//! Replicate's public HTTP API: predictions in, predictions out.
//!
//! Owns the paths, shapes and texts of that protocol (<https://replicate.com/docs/reference/http>); `ledger` keeps the
//! accepted jobs, and `job` their progress. Like the real API, it ignores `Idempotency-Key`: two accepted submits are
//! two jobs.

use std::{
    fmt::Write,
    sync::Arc,
    time::{Duration, Instant, SystemTime},
};

use axum::{
    Json, Router,
    body::Bytes,
    extract::{ConnectInfo, Path, Query, Request, State},
    http::{HeaderMap, StatusCode},
    middleware::{self, Next},
    response::{IntoResponse, Response},
    routing::{get, post},
};
use chrono::{DateTime, SecondsFormat, Utc};
use serde::Deserialize;
use serde_json::{Value, json};

use super::{
    Shared,
    job::{Job, Phase},
    ledger::status,
    line::Line,
    order::{Media, Order},
    play::{
        self, Arrival, Words, base, client_id, has_key, hinted, misread, with_pause, with_price,
    },
    script::{Reason, Refusal},
};

const PAGE: usize = 100;

/// Returns the routes under `/v1`; each requires a bearer token.
pub(super) fn routes() -> Router<Arc<Shared>> {
    Router::new()
        .route(
            "/v1/models/{owner}/{name}/predictions",
            post(submit_to_model),
        )
        .route("/v1/predictions", post(submit_to_version).get(list))
        .route("/v1/predictions/{id}", get(read))
        .route("/v1/predictions/{id}/cancel", post(cancel))
        .route_layer(middleware::from_fn(authorize))
}

/// Returns an error in Replicate's shape.
pub(super) fn problem(status: StatusCode, title: &str, detail: &str) -> Response {
    let body = json!({"title": title, "detail": detail, "status": status.as_u16()});
    with_pause(status, (status, Json(body)).into_response())
}

async fn authorize(request: Request, next: Next) -> Response {
    if has_key(request.headers(), "Bearer ") {
        return next.run(request).await;
    }
    let detail = "You did not pass a valid authentication token";
    problem(StatusCode::UNAUTHORIZED, "Unauthenticated", detail)
}

async fn submit_to_model(
    state: State<Arc<Shared>>,
    line: ConnectInfo<Line>,
    Path((owner, name)): Path<(String, String)>,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let body = serde_json::from_slice(&body).unwrap_or(Value::Null);
    submit(
        &state,
        &line,
        &headers,
        body,
        Some((format!("{owner}/{name}"), "hidden".to_owned())),
    )
    .await
}

async fn submit_to_version(
    state: State<Arc<Shared>>,
    line: ConnectInfo<Line>,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let body: Value = serde_json::from_slice(&body).unwrap_or(Value::Null);
    let target = body["version"].as_str().map(|version| {
        let (model, id) = version
            .split_once(':')
            .unwrap_or(("simulated/model", version));
        (model.to_owned(), id.to_owned())
    });
    submit(&state, &line, &headers, body, target).await
}

/// Handles one submit according to its script; `target` is the model and version.
async fn submit(
    shared: &Shared,
    line: &Line,
    headers: &HeaderMap,
    mut body: Value,
    target: Option<(String, String)>,
) -> Response {
    let key = client_id(headers, &body["input"]);
    let earlier = shared.ledger().arrive(&key);
    let name = target.as_ref().map_or("", |(model, _)| model);
    let order = match Order::of(name, body["input"].take()) {
        Ok(order) => order,
        Err(error) => return invalid(&error.to_string()),
    };
    let Some(target) = target else {
        return invalid("version: is missing, want a string");
    };

    let (model, version) = target;
    let arrival = Arrival {
        key,
        earlier,
        model,
        version,
        order,
    };
    let base = base(shared, headers);
    let show = |job: &Job| {
        let shown = shown(job, Phase::Starting, job.created.1, &base);
        (StatusCode::CREATED, Json(shown)).into_response()
    };
    let words = Words {
        refuse,
        explain,
        show,
    };
    play::submit(shared, line, arrival, words).await
}

async fn read(
    State(shared): State<Arc<Shared>>,
    ConnectInfo(line): ConnectInfo<Line>,
    Path(id): Path<String>,
    headers: HeaderMap,
) -> Response {
    let mut ledger = shared.ledger();
    let Some(job) = ledger.job(&id) else {
        return not_found();
    };
    match job.read() {
        Some(fault) => misread(&line, fault, refuse),
        None => {
            let now = Instant::now();
            job.issue(now);
            let shown = prediction(job, now, &base(&shared, &headers));
            let answer = hinted(job, now, Json(shown).into_response());
            with_price(job.price(), answer)
        }
    }
}

async fn cancel(
    State(shared): State<Arc<Shared>>,
    Path(id): Path<String>,
    headers: HeaderMap,
) -> Response {
    let now = Instant::now();
    let mut ledger = shared.ledger();
    let Some(job) = ledger.job(&id) else {
        return not_found();
    };
    match job.cancel(now) {
        Some(refusal) => refuse(refusal),
        None => Json(prediction(job, now, &base(&shared, &headers))).into_response(),
    }
}

/// Query of the list.
#[derive(Deserialize)]
struct Listing {
    cursor: Option<u64>,
}

async fn list(
    State(shared): State<Arc<Shared>>,
    Query(want): Query<Listing>,
    headers: HeaderMap,
) -> Json<Value> {
    let base = base(&shared, &headers);
    let url = |cursor: Option<u64>| match cursor {
        Some(cursor) => format!("{base}/v1/predictions?cursor={cursor}"),
        None => format!("{base}/v1/predictions"),
    };
    let ledger = shared.ledger();
    let now = Instant::now();
    let page = ledger.page(want.cursor, PAGE);
    let results: Vec<Value> = page
        .jobs
        .iter()
        .map(|job| prediction(job, now, &base))
        .collect();
    Json(json!({
        "previous": page.newer.map(url),
        "next": page.older.map(|cursor| url(Some(cursor))),
        "results": results,
    }))
}

/// Returns the state of `job` at `now`.
fn prediction(job: &Job, now: Instant, base: &str) -> Value {
    let phase = job.phase(now);
    let mut shown = shown(job, phase, now, base);
    if let Some(state) = &job.order.script.state
        && !phase.ended()
    {
        shown["status"] = json!(state);
    }
    shown
}

fn shown(job: &Job, phase: Phase, now: Instant, base: &str) -> Value {
    let after = |span: Duration| job.created.0.checked_add(span).map(timestamp);
    let ended = job.end_time(now).filter(|_| phase.ended());
    let metrics = match (phase, ended) {
        (Phase::Succeeded, Some(end)) => {
            json!({"predict_time": (end - job.start_time()).as_secs_f64()})
        }
        _ => json!({}),
    };
    json!({
        "id": job.id,
        "model": job.model,
        "version": job.version,
        "input": job.order.input,
        "logs": logs(job, phase, now),
        "output": (phase == Phase::Succeeded).then(|| output(job, base)),
        "error": job.order.script.fail.as_ref().filter(|_| phase == Phase::Failed),
        "status": status(phase),
        "source": "api",
        "data_removed": false,
        "created_at": timestamp(job.created.0),
        "started_at": (phase != Phase::Starting).then(|| after(job.start_time())).flatten(),
        "completed_at": ended.and_then(after),
        "metrics": metrics,
        "urls": {
            "get": format!("{base}/v1/predictions/{}", job.id),
            "cancel": format!("{base}/v1/predictions/{}/cancel", job.id),
        },
    })
}

/// Returns a list of URLs for images and a bare URL for a video: Replicate's models return both shapes.
fn output(job: &Job, base: &str) -> Value {
    let mut urls = job.files(base).into_iter();
    match job.order.media {
        Media::Images { .. } => urls.collect(),
        Media::Video { .. } => urls.next().into(),
    }
}

/// Returns the log of a model that uses tqdm: one line for each completed twentieth of the work.
fn logs(job: &Job, phase: Phase, now: Instant) -> String {
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

fn explain(reason: &Reason) -> Response {
    problem(reason.status.0, "Refused", &reason.text)
}

fn refuse(Refusal(status): Refusal) -> Response {
    problem(
        status,
        status.canonical_reason().unwrap_or("Refused"),
        "The simulator was told to refuse this request.",
    )
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
