//! fal's queue API: a request, its status, and its result at another URL.
//!
//! Owns the paths, shapes and texts of that protocol
//! (<https://fal.ai/docs/documentation/model-apis/inference/queue>), under `/fal`. Like the real API, its URLs contain
//! only the app of a model's id (its first two parts), and a failed request is also `COMPLETED`.

use std::{sync::Arc, time::Instant};

use axum::{
    Json, Router,
    body::Bytes,
    extract::{ConnectInfo, Path, State},
    http::{HeaderMap, Method, StatusCode, Uri},
    response::{IntoResponse, Response},
    routing::any,
};
use serde_json::{Value, json};

use super::{
    SimulatorState,
    job::{Callback, Phase, Protocol, SimulatedJob},
    line::Line,
    models,
    order::{JobOutput, Order},
    play::{self, Arrival, account, base, client_id, with_price},
};
use crate::domain::ProviderName;

/// Returns the routes under `/fal`; each requires a key.
pub(super) fn routes() -> Router<Arc<SimulatorState>> {
    let routes = Router::new().route("/fal/{*path}", any(route));
    play::keyed(routes, "Key ", problem)
}

/// Splits the path itself, because a model's id may have any number of parts.
async fn route(
    State(shared): State<Arc<SimulatorState>>,
    ConnectInfo(line): ConnectInfo<Line>,
    Path(path): Path<String>,
    method: Method,
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let base = base(&shared, &headers);
    match (method, path.split_once("/requests/")) {
        (Method::GET, None) if path == "v1/models" => published(uri.query().unwrap_or_default()),
        (Method::POST, None) => {
            let call = call_url(uri.query().unwrap_or_default());
            submit(&shared, &line, &path, &headers, &body, call).await
        }
        (Method::GET, Some((app, rest))) => match rest.strip_suffix("/status") {
            Some(id) => status(&shared, &line, app, id, &base),
            None => result(&shared, rest, &base),
        },
        (Method::PUT, Some((_, rest))) => match rest.strip_suffix("/cancel") {
            Some(id) => cancel(&shared, id),
            None => not_found(),
        },
        _ => not_found(),
    }
}

async fn submit(
    shared: &SimulatorState,
    line: &Line,
    model: &str,
    headers: &HeaderMap,
    body: &[u8],
    call: Option<String>,
) -> Response {
    let body: Value = serde_json::from_slice(body).unwrap_or(Value::Null);
    let key = client_id(headers, &body);
    let earlier = shared.ledger().arrive(&key);
    let schema = models::input(ProviderName::FAL, model);
    let order = match Order::of(model, models::seen(&schema, body)) {
        Ok(order) => order,
        Err(error) => return invalid(&error),
    };
    let arrival = Arrival {
        key,
        account: account(headers),
        earlier,
        model: model.to_owned(),
        order,
        callback: call.map(|url| Callback {
            url,
            protocol: Protocol::Fal,
            base: base(shared, headers),
        }),
    };
    let app: Vec<&str> = model.split('/').take(2).collect();
    let (app, base) = (app.join("/"), base(shared, headers));
    let show = |job: &SimulatedJob| {
        let mut shown = addresses(job, &app, &base);
        shown["status"] = json!("IN_QUEUE");
        shown["queue_position"] = json!(0);
        Json(shown).into_response()
    };
    play::submit(shared, line, arrival, problem, show).await
}

/// Returns what the model's schema does not accept, in the shape of fal's errors.
fn bad_input(job: &SimulatedJob) -> Vec<Value> {
    let schema = models::input(ProviderName::FAL, &job.model);
    let faults = models::faults(&schema, &job.order.input);
    let shown = faults.into_iter().map(
        |fault| json!({"loc": ["body", fault.field], "msg": fault.description, "type": fault.kind}),
    );
    shown.collect()
}

/// Returns the schema of a model, as fal's API for models does.
fn published(query: &str) -> Response {
    let pairs = query.split('&').filter_map(|pair| pair.split_once('='));
    let model = pairs.into_iter().find(|(name, _)| *name == "endpoint_id");
    let model = model.map_or("", |(_, model)| model);
    let reference = json!({"$ref": "#/components/schemas/Input"});
    let body = json!({"content": {"application/json": {"schema": reference}}});
    let path = format!("/{model}");
    let document = json!({
        "openapi": "3.0.4",
        "components": {"schemas": {"Input": models::input(ProviderName::FAL, model)}},
        "paths": {path: {"post": {"requestBody": body}}},
    });
    let found = json!({"endpoint_id": model, "openapi": document});
    Json(json!({"models": [found]})).into_response()
}

fn status(shared: &SimulatorState, line: &Line, app: &str, id: &str, base: &str) -> Response {
    let mut ledger = shared.ledger();
    let Some(job) = ledger.job(id) else {
        return not_found();
    };
    play::read(job, line, problem, |job, now| {
        let (code, word) = match job.phase(now) {
            Phase::Starting => (StatusCode::ACCEPTED, "IN_QUEUE"),
            Phase::Processing => (StatusCode::ACCEPTED, "IN_PROGRESS"),
            Phase::Succeeded | Phase::Failed | Phase::Canceled => (StatusCode::OK, "COMPLETED"),
        };
        let other = job.order.script.state.as_deref();
        let word = other.filter(|_| code != StatusCode::OK).unwrap_or(word);
        let mut shown = addresses(job, app, base);
        shown["status"] = json!(word);
        (code, Json(shown)).into_response()
    })
}

fn result(shared: &SimulatorState, id: &str, base: &str) -> Response {
    let now = Instant::now();
    let mut ledger = shared.ledger();
    let Some(job) = ledger.job(id) else {
        return not_found();
    };
    match job.phase(now) {
        Phase::Starting | Phase::Processing => refused("Request is still in progress"),
        Phase::Canceled => refused("Request was cancelled"),
        Phase::Failed => {
            let message = job.order.script.fail.as_deref().unwrap_or_default();
            let body = json!([{"loc": ["body"], "msg": message, "type": "generation_failed"}]);
            (
                StatusCode::INTERNAL_SERVER_ERROR,
                Json(json!({"detail": body})),
            )
                .into_response()
        }
        // Like the real API, the model checks its input only when it runs.
        Phase::Succeeded if !bad_input(job).is_empty() => {
            let body = json!({"detail": bad_input(job)});
            let unpaid = [("x-fal-billable-units", "0")];
            (StatusCode::UNPROCESSABLE_ENTITY, unpaid, Json(body)).into_response()
        }
        Phase::Succeeded => {
            job.issue(now);
            let units = job.units().map(|units| [("x-fal-billable-units", units)]);
            with_price(job, (units, Json(output(job, base))).into_response())
        }
    }
}

fn output(job: &SimulatedJob, base: &str) -> Value {
    let files = job.files(base).into_iter().map(|url| json!({"url": url}));
    let files: Vec<Value> = files.collect();
    match job.order.media {
        JobOutput::Images { .. } => json!({"images": files, "prompt": job.order.prompt}),
        JobOutput::Video { .. } => {
            let poster = job.poster(base).map(|url| json!({"url": url}));
            json!({"thumbnail": poster, "video": files.first()})
        }
    }
}

/// Returns the URL to call when the request has ended.
fn call_url(query: &str) -> Option<String> {
    let mut pairs = url::form_urlencoded::parse(query.as_bytes());
    let (_, url) = pairs.find(|(name, _)| name == "fal_webhook")?;
    Some(url.into_owned())
}

/// Returns the body of the callback of a request that has ended.
pub(super) fn called_back(job: &SimulatedJob, base: &str) -> Value {
    let is_ok = job.phase(Instant::now()) == Phase::Succeeded;
    json!({
        "request_id": job.id,
        "gateway_request_id": job.id,
        "status": if is_ok { "OK" } else { "ERROR" },
        "payload": is_ok.then(|| output(job, base)),
        "error": job.order.script.fail,
    })
}

fn cancel(shared: &SimulatorState, id: &str) -> Response {
    let now = Instant::now();
    let mut ledger = shared.ledger();
    let Some(job) = ledger.job(id) else {
        return not_found();
    };
    let over = job.phase(now).ended();
    match job.cancel(now) {
        Some(refusal) => play::refuse(problem, refusal),
        None if over => {
            let body = json!({"status": "ALREADY_COMPLETED"});
            (StatusCode::BAD_REQUEST, Json(body)).into_response()
        }
        None => {
            let body = json!({"status": "CANCELLATION_REQUESTED"});
            (StatusCode::ACCEPTED, Json(body)).into_response()
        }
    }
}

fn addresses(job: &SimulatedJob, app: &str, base: &str) -> Value {
    let below = format!("{base}/fal/{app}/requests/{}", job.id);
    json!({
        "request_id": job.id,
        "status_url": format!("{below}/status"),
        "response_url": below,
        "cancel_url": format!("{below}/cancel"),
    })
}

fn problem(status: StatusCode, _: &str, detail: &str) -> Response {
    (status, Json(json!({"detail": detail}))).into_response()
}

fn refused(detail: &str) -> Response {
    problem(StatusCode::BAD_REQUEST, "", detail)
}

fn invalid(detail: &str) -> Response {
    let error = json!([{"loc": ["body", "input"], "msg": detail, "type": "value_error"}]);
    let body = Json(json!({"detail": error}));
    (StatusCode::UNPROCESSABLE_ENTITY, body).into_response()
}

fn not_found() -> Response {
    problem(StatusCode::NOT_FOUND, "", "Request not found")
}
