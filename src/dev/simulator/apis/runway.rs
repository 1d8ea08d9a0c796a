//! Runway's tasks. Unknown fields are ignored; a wrong `ratio` or a missing version is refused.

use axum::{
    Json,
    http::{Method, StatusCode},
    response::{IntoResponse, Response},
};
use serde_json::{Value, json};

use super::{Call, add_sides, renamed};
use crate::dev::simulator::job::Phase;
use crate::domain::Media;

/// What each task costs, in credits.
const CREDITS: u32 = 25;

pub(super) async fn route(call: Call) -> Response {
    if !call.has_key("authorization", "Bearer ") {
        return problem(StatusCode::UNAUTHORIZED, "", "You did not pass a valid key");
    }
    if call.headers.get("x-runway-version").is_none() {
        return problem(StatusCode::BAD_REQUEST, "", "X-Runway-Version is required");
    }
    let path = call.path("/runway/v1/");
    match (&call.method, path.split_once('/')) {
        (&Method::POST, None) => submit(&call, &path).await,
        (&Method::GET, Some(("tasks", id))) => task(&call, id),
        (&Method::DELETE, Some(("tasks", id))) => {
            let cancelled = call.cancel(id, problem, StatusCode::NO_CONTENT);
            cancelled.unwrap_or_else(not_found)
        }
        _ => not_found(),
    }
}

async fn submit(call: &Call, endpoint: &str) -> Response {
    let body = &call.body;
    let kind = match endpoint {
        "text_to_image" => Media::Image,
        "text_to_video" => Media::Video,
        "image_to_video" if body["promptImage"].is_string() => Media::Video,
        "image_to_video" => return problem(StatusCode::BAD_REQUEST, "", "promptImage is required"),
        _ => return not_found(),
    };
    let mut input = renamed([
        ("prompt", &body["promptText"]),
        ("duration", &body["duration"]),
        ("sim", &body["sim"]),
    ]);
    if !body["model"].is_string() {
        return problem(StatusCode::BAD_REQUEST, "", "model is required");
    }
    let ratio = body["ratio"].as_str().unwrap_or_default();
    if add_sides(&mut input, ratio).is_none() {
        return problem(StatusCode::BAD_REQUEST, "", "ratio is required");
    }
    let show = |job: &crate::dev::simulator::job::SimulatedJob| {
        Json(json!({"id": job.id})).into_response()
    };
    call.submit(kind, input, problem, show).await
}

fn task(call: &Call, id: &str) -> Response {
    let base = call.base();
    let read = call.read(id, problem, |job, now| {
        let mut task = json!({"id": job.id, "createdAt": "2026-11-30T00:00:00Z"});
        let script = &job.order.script;
        let running = script.state.clone().unwrap_or_else(|| "RUNNING".to_owned());
        match job.phase(now) {
            // A cancelled task cannot be fetched any more.
            Phase::Canceled => return not_found(),
            Phase::Starting => task["status"] = json!("PENDING"),
            Phase::Processing => {
                task["status"] = json!(running);
                task["progress"] = json!(f64::from(job.percent(now)) / 100.0);
            }
            Phase::Failed => {
                let failure = script.fail.clone().unwrap_or_default();
                let is_safety = failure.starts_with("SAFETY");
                let code = if is_safety {
                    "SAFETY.INPUT.TEXT"
                } else {
                    "INTERNAL.BAD_OUTPUT"
                };
                task["status"] = json!("FAILED");
                task["failure"] = json!(failure);
                task["failureCode"] = json!(code);
                task["cost"] = json!({"credits": 0});
            }
            Phase::Succeeded => {
                job.issue(now);
                task["status"] = json!("SUCCEEDED");
                task["output"] = Value::from(job.files(&base));
                task["cost"] = json!({"credits": CREDITS});
            }
        }
        Json(task).into_response()
    });
    read.unwrap_or_else(not_found)
}

fn problem(status: StatusCode, _: &str, text: &str) -> Response {
    (status, Json(json!({"error": text}))).into_response()
}

fn not_found() -> Response {
    problem(StatusCode::NOT_FOUND, "", "Not found")
}
