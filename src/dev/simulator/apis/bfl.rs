//! Black Forest Labs: the price is known at the submit, the state is in words, and there is no cancel.

use axum::{
    Json,
    http::{Method, StatusCode},
    response::{IntoResponse, Response},
};
use serde_json::json;

use super::{Call, renamed};
use crate::dev::simulator::job::{Phase, SimulatedJob};
use crate::domain::Media;

/// What each image costs, in credits.
const CREDITS: f64 = 4.0;
/// States that a script may ask for by its error's text.
const MODERATED: [&str; 2] = ["Request Moderated", "Content Moderated"];

pub(super) async fn route(call: Call) -> Response {
    if !call.has_key("x-key", "") {
        return problem(
            StatusCode::FORBIDDEN,
            "",
            "Not authenticated - invalid credentials",
        );
    }
    let path = call.path("/bfl/v1/");
    match (&call.method, path.as_str()) {
        (&Method::GET, "get_result") => result(&call),
        (&Method::POST, model) if model.starts_with("flux-") => submit(&call).await,
        _ => problem(StatusCode::NOT_FOUND, "", "Not Found"),
    }
}

async fn submit(call: &Call) -> Response {
    let body = &call.body;
    let mut input = renamed([
        ("prompt", &body["prompt"]),
        ("width", &body["width"]),
        ("height", &body["height"]),
        ("sim", &body["sim"]),
    ]);
    for (side, usual) in [("width", 1024), ("height", 768)] {
        let given = input.entry(side).or_insert(json!(usual));
        if given.as_u64().is_none_or(|pixels| pixels < 64) {
            return invalid(side);
        }
    }
    let base = call.base();
    let show = |job: &SimulatedJob| {
        let url = format!("{base}/bfl/v1/get_result?id={}", job.id);
        Json(json!({"id": job.id, "polling_url": url, "cost": CREDITS, "output_mp": 1.0}))
            .into_response()
    };
    call.submit(Media::Image, input, problem, show).await
}

fn result(call: &Call) -> Response {
    let (base, id) = (call.base(), call.query("id").unwrap_or_default());
    let read = call.read(&id, problem, |job, now| {
        let script = &job.order.script;
        let fail = script.fail.clone().unwrap_or_default();
        let pending = script.state.clone().unwrap_or_else(|| "Pending".to_owned());
        let (status, result, details) = match job.phase(now) {
            Phase::Starting | Phase::Processing => (pending, json!(null), json!(null)),
            Phase::Failed if MODERATED.contains(&fail.as_str()) => (
                fail,
                json!(null),
                json!({"Moderation Reasons": ["Derivative Works Filter"]}),
            ),
            Phase::Failed | Phase::Canceled => {
                ("Error".to_owned(), json!(null), json!({"error": fail}))
            }
            Phase::Succeeded => {
                job.issue(now);
                let sample = job.files(&base).into_iter().next();
                ("Ready".to_owned(), json!({"sample": sample}), json!(null))
            }
        };
        Json(json!({"id": job.id, "status": status, "result": result, "details": details}))
            .into_response()
    });
    read.unwrap_or_else(|| {
        let body = json!({"id": id, "status": "Task not found"});
        (StatusCode::NOT_FOUND, Json(body)).into_response()
    })
}

fn problem(status: StatusCode, _: &str, text: &str) -> Response {
    (status, Json(json!({"detail": text}))).into_response()
}

fn invalid(field: &str) -> Response {
    let fault = json!([{"loc": ["body", field], "msg": "Input should be greater than or equal to 64", "type": "greater_than_equal"}]);
    let body = Json(json!({"detail": fault}));
    (StatusCode::UNPROCESSABLE_ENTITY, body).into_response()
}
