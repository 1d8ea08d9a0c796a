//! Luma's generations. Unknown fields are ignored; a picture counts only in `keyframes`.

use axum::{
    Json,
    http::{Method, StatusCode},
    response::{IntoResponse, Response},
};
use serde_json::json;

use super::{Call, renamed};
use crate::dev::simulator::job::{Phase, SimulatedJob};
use crate::dev::simulator::order::JobOutput;
use crate::domain::Media;

pub(super) async fn route(call: Call) -> Response {
    if !call.has_key("authorization", "Bearer ") {
        return problem(StatusCode::FORBIDDEN, "", "Not authenticated");
    }
    let path = call.path("/luma/dream-machine/v1/generations");
    match (&call.method, path.strip_prefix('/')) {
        (&Method::POST, None) => submit(&call, Media::Video).await,
        (&Method::POST, Some("image")) => submit(&call, Media::Image).await,
        (&Method::GET, Some(id)) => generation(&call, id),
        (&Method::DELETE, Some(id)) => {
            let cancelled = call.cancel(id, problem, StatusCode::NO_CONTENT);
            cancelled.unwrap_or_else(not_found)
        }
        _ => not_found(),
    }
}

async fn submit(call: &Call, kind: Media) -> Response {
    let body = &call.body;
    let seconds = body["duration"]
        .as_str()
        .and_then(|it| it.strip_suffix('s'));
    let seconds = json!(seconds.and_then(|it| it.parse::<u32>().ok()));
    if !body["duration"].is_null() && seconds.is_null() {
        return problem(StatusCode::BAD_REQUEST, "", "duration must be 5s or 9s");
    }
    for (name, frame) in body["keyframes"].as_object().into_iter().flatten() {
        if !["image", "generation"].contains(&frame["type"].as_str().unwrap_or_default()) {
            let text = format!("keyframes.{name}.type must be image or generation");
            return problem(StatusCode::BAD_REQUEST, "", &text);
        }
    }
    let input = renamed([
        ("prompt", &body["prompt"]),
        ("aspect_ratio", &body["aspect_ratio"]),
        ("resolution", &body["resolution"]),
        ("duration", &seconds),
        ("sim", &body["sim"]),
    ]);
    let show = |job: &SimulatedJob| {
        let body = json!({"id": job.id, "state": "queued", "assets": null});
        (StatusCode::CREATED, Json(body)).into_response()
    };
    call.submit(kind, input, problem, show).await
}

fn generation(call: &Call, id: &str) -> Response {
    let base = call.base();
    let read = call.read(id, problem, |job, now| {
        let running = job.order.script.state.clone();
        let running = running.unwrap_or_else(|| "dreaming".to_owned());
        let mut shown = json!({"id": job.id, "failure_reason": null, "assets": null});
        shown["state"] = match job.phase(now) {
            // It was deleted.
            Phase::Canceled => return not_found(),
            Phase::Starting => json!("queued"),
            Phase::Processing => json!(running),
            Phase::Failed => {
                shown["failure_reason"] = json!(job.order.script.fail);
                json!("failed")
            }
            Phase::Succeeded => {
                job.issue(now);
                let file = job.files(&base).into_iter().next();
                shown["assets"] = match job.order.media {
                    JobOutput::Video { .. } => json!({"video": file, "image": job.poster(&base)}),
                    JobOutput::Images { .. } => json!({"video": null, "image": file}),
                };
                json!("completed")
            }
        };
        Json(shown).into_response()
    });
    read.unwrap_or_else(not_found)
}

fn problem(status: StatusCode, _: &str, text: &str) -> Response {
    (status, Json(json!({"detail": text}))).into_response()
}

fn not_found() -> Response {
    problem(StatusCode::NOT_FOUND, "", "Generation not found")
}
