//! Google's long-running operations (Veo): `done` is a boolean, files need the key, and there is no cancel.

use axum::{
    Json,
    http::{Method, StatusCode},
    response::{IntoResponse, Response},
};
use serde_json::json;

use super::{Call, renamed};
use crate::dev::simulator::job::{Phase, SimulatedJob};
use crate::dev::simulator::{media, serve};
use crate::domain::Media;

pub(super) async fn route(call: Call) -> Response {
    if !call.has_key("x-goog-api-key", "") {
        return problem(
            StatusCode::FORBIDDEN,
            "PERMISSION_DENIED",
            "Method doesn't allow unregistered callers",
        );
    }
    let path = call.path("/google/v1beta/");
    let parts: Vec<&str> = path.split('/').collect();
    match (&call.method, parts.as_slice()) {
        (&Method::POST, ["models", model]) => match model.strip_suffix(":predictLongRunning") {
            Some(model) => submit(&call, model).await,
            None => not_found(),
        },
        (&Method::GET, ["models", model, "operations", id]) => operation(&call, model, id),
        (&Method::GET, ["files", id, name]) => file(&call, id, name).await,
        _ => not_found(),
    }
}

async fn submit(call: &Call, model: &str) -> Response {
    let (instance, parameters) = (&call.body["instances"][0], &call.body["parameters"]);
    let input = renamed([
        ("prompt", &instance["prompt"]),
        ("aspect_ratio", &parameters["aspectRatio"]),
        ("resolution", &parameters["resolution"]),
        ("duration", &parameters["durationSeconds"]),
        ("sim", &parameters["sim"]),
    ]);
    let show = |job: &SimulatedJob| {
        let name = format!("models/{model}/operations/{}", job.id);
        Json(json!({"name": name})).into_response()
    };
    call.submit(Media::Video, input, problem, show).await
}

fn operation(call: &Call, model: &str, id: &str) -> Response {
    let base = call.base();
    let read = call.read(id, problem, |job, now| {
        let mut shown = json!({"name": format!("models/{model}/operations/{id}")});
        let fail = job.order.script.fail.clone().unwrap_or_default();
        match job.phase(now) {
            Phase::Starting | Phase::Processing => {}
            Phase::Failed if fail.starts_with("filtered") => {
                shown["done"] = json!(true);
                let reasons =
                    json!({"raiMediaFilteredCount": 1, "raiMediaFilteredReasons": [fail]});
                shown["response"] = json!({"generateVideoResponse": reasons});
            }
            Phase::Failed | Phase::Canceled => {
                shown["done"] = json!(true);
                shown["error"] = json!({"code": 13, "message": fail});
            }
            Phase::Succeeded => {
                job.issue(now);
                shown["done"] = json!(true);
                let names = media::names(&job.order.media).into_iter();
                let file = |name| format!("{base}/google/v1beta/files/{id}/{name}");
                let samples: Vec<_> = names
                    .map(|name| json!({"video": {"uri": file(name)}}))
                    .collect();
                let samples = json!({"generatedSamples": samples});
                shown["response"] = json!({"generateVideoResponse": samples});
            }
        }
        Json(shown).into_response()
    });
    read.unwrap_or_else(not_found)
}

async fn file(call: &Call, id: &str, name: &str) -> Response {
    let order = {
        let mut ledger = call.shared.ledger();
        ledger
            .job(id)
            .map(|job| (job.order.clone(), job.calls.issues))
    };
    match order {
        Some((order, given)) => serve(order, name.to_owned(), given).await,
        None => not_found(),
    }
}

fn problem(status: StatusCode, word: &str, text: &str) -> Response {
    let error = json!({"code": status.as_u16(), "message": text, "status": word});
    (status, Json(json!({"error": error}))).into_response()
}

fn not_found() -> Response {
    problem(
        StatusCode::NOT_FOUND,
        "NOT_FOUND",
        "Requested entity was not found.",
    )
}
