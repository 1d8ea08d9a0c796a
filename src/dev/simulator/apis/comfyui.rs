//! ComfyUI: a graph of nodes, no key, and a history that has a job only when it has ended.
//!
//! The graph's nodes are `CLIPTextEncode`, `EmptyLatentImage`, `SaveImage`, and `Simulation` with the script; others are
//! refused, as ComfyUI refuses a graph with nodes that it does not have.

use std::time::Instant;

use axum::{
    Json,
    http::{Method, StatusCode},
    response::{IntoResponse, Response},
};
use serde_json::{Map, Value, json};

use super::{Call, renamed};
use crate::dev::simulator::job::{Phase, SimulatedJob};
use crate::dev::simulator::{media, serve};
use crate::domain::Media;

pub(super) async fn route(call: Call) -> Response {
    let path = call.path("/comfyui/");
    match (&call.method, path.split_once('/')) {
        (&Method::POST, None) if path == "prompt" => submit(&call).await,
        (&Method::POST, None) if path == "queue" => dequeue(&call),
        (&Method::POST, None) if path == "interrupt" => interrupt(&call),
        (&Method::GET, None) if path == "view" => view(&call).await,
        (&Method::GET, Some(("history", id))) => history(&call, id),
        _ => StatusCode::NOT_FOUND.into_response(),
    }
}

async fn submit(call: &Call) -> Response {
    let Some(graph) = call.body["prompt"].as_object() else {
        return problem(StatusCode::BAD_REQUEST, "no_prompt", "No prompt provided");
    };
    let mut input = Map::new();
    for node in graph.values() {
        let inputs = &node["inputs"];
        let read = match node["class_type"].as_str().unwrap_or_default() {
            "CLIPTextEncode" => renamed([("prompt", &inputs["text"])]),
            "EmptyLatentImage" => renamed([
                ("width", &inputs["width"]),
                ("height", &inputs["height"]),
                ("num_outputs", &inputs["batch_size"]),
            ]),
            "Simulation" => renamed([("sim", &inputs["script"])]),
            "SaveImage" => Map::new(),
            other => {
                let text = format!("Cannot execute because node {other} does not exist.");
                return problem(StatusCode::BAD_REQUEST, "invalid_prompt", &text);
            }
        };
        input.extend(read);
    }
    let show = |job: &SimulatedJob| {
        Json(json!({"prompt_id": job.id, "number": 1, "node_errors": {}})).into_response()
    };
    call.submit(Media::Image, input, problem, show).await
}

fn history(call: &Call, id: &str) -> Response {
    let read = call.read(id, problem, |job, now| {
        let ended = match job.phase(now) {
            Phase::Starting | Phase::Processing => return empty(),
            Phase::Succeeded => {
                job.issue(now);
                let names = media::names(&job.order.media).into_iter();
                let image = |name: String| {
                    json!({"filename": format!("{id} {name}"), "subfolder": "", "type": "output"})
                };
                let images: Vec<_> = names.map(image).collect();
                json!({
                    "outputs": {"9": {"images": images}},
                    "status": {"status_str": "success", "completed": true, "messages": []},
                })
            }
            Phase::Failed | Phase::Canceled => {
                let text = job.order.script.fail.clone().unwrap_or_default();
                let message = json!(["execution_error", {"exception_message": text}]);
                json!({
                    "outputs": {},
                    "status": {"status_str": "error", "completed": false, "messages": [message]},
                })
            }
        };
        Json(json!({id: ended})).into_response()
    });
    read.unwrap_or_else(empty)
}

fn empty() -> Response {
    Json(json!({})).into_response()
}

/// Removes jobs that have not begun; of others it does not complain.
fn dequeue(call: &Call) -> Response {
    let ids = call.body["delete"].as_array().into_iter().flatten();
    cancel(call, ids.filter_map(Value::as_str), Phase::Starting)
}

/// Interrupts the job that is named, if it runs.
fn interrupt(call: &Call) -> Response {
    let id = call.body["prompt_id"].as_str();
    cancel(call, id.into_iter(), Phase::Processing)
}

fn cancel<'c>(call: &Call, ids: impl Iterator<Item = &'c str>, phase: Phase) -> Response {
    let (mut ledger, now) = (call.shared.ledger(), Instant::now());
    for id in ids {
        if let Some(job) = ledger.job(id)
            && job.phase(now) == phase
        {
            job.cancel(now);
        }
    }
    StatusCode::OK.into_response()
}

async fn view(call: &Call) -> Response {
    let filename = call.query("filename").unwrap_or_default();
    let order = filename.split_once(' ').and_then(|(id, name)| {
        let mut ledger = call.shared.ledger();
        let job = ledger.job(id)?;
        Some((job.order.clone(), name.to_owned(), job.calls.issues))
    });
    match order {
        Some((order, name, given)) if call.query("type").as_deref() == Some("output") => {
            serve(order, name, given).await
        }
        Some(_) | None => StatusCode::NOT_FOUND.into_response(),
    }
}

fn problem(status: StatusCode, kind: &str, text: &str) -> Response {
    let error = json!({"type": kind, "message": text, "details": "", "extra_info": {}});
    (status, Json(json!({"error": error, "node_errors": {}}))).into_response()
}
