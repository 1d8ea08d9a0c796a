//! OpenAI's API for images, which come with the answer, and videos, which are jobs.
//!
//! Owns the paths, shapes and texts of that protocol under `/v1/images` and `/v1/videos`. Like the real API, it refuses
//! unknown parameters, and a `seconds` that is not a string. It has no cancel.

use std::{sync::Arc, time::Instant};

use axum::{
    Json, Router,
    body::Bytes,
    extract::{ConnectInfo, Path, State},
    http::{HeaderMap, StatusCode},
    response::{IntoResponse, Response},
    routing::{get, post},
};
use base64::{Engine as _, engine::general_purpose::STANDARD as BASE64};
use serde_json::{Map, Value, json};

use super::{
    SimulatorState,
    job::{Phase, SimulatedJob},
    line::Line,
    media,
    order::Order,
    play::{self, Arrival, account, base, client_id, with_price},
    script::{OutputFault, Seconds},
    serve,
};

/// Parameters of `images/generations`.
const OF_IMAGES: [&str; 13] = [
    "model",
    "prompt",
    "n",
    "size",
    "quality",
    "background",
    "moderation",
    "output_format",
    "output_compression",
    "response_format",
    "style",
    "user",
    "sim",
];
/// Parameters of `videos`.
const OF_VIDEOS: [&str; 6] = [
    "model",
    "prompt",
    "seconds",
    "size",
    "input_reference",
    "sim",
];
/// Number of extra bytes of a huge image.
const HUGE: usize = 8 * 1024 * 1024;

/// Returns the routes under `/v1`; each requires a bearer token.
pub(super) fn routes() -> Router<Arc<SimulatorState>> {
    let routes = Router::new()
        .route("/v1/images/generations", post(images))
        .route("/v1/videos", post(videos))
        .route("/v1/videos/{id}", get(read))
        .route("/v1/videos/{id}/content", get(content));
    play::keyed(routes, "Bearer ", problem)
}

async fn images(
    State(shared): State<Arc<SimulatorState>>,
    ConnectInfo(line): ConnectInfo<Line>,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let (mut arrival, as_urls) = match arrive(&shared, &headers, &body, &OF_IMAGES) {
        Ok(arrived) => arrived,
        Err(refused) => return *refused,
    };
    let script = &mut arrival.order.script;
    if let Some(seconds) = script.seconds.replace(Seconds::default()) {
        tokio::time::sleep(seconds.0).await;
    }
    if let Some(message) = &script.fail {
        return problem(StatusCode::BAD_REQUEST, "moderation_blocked", message);
    }
    let files = match files(&arrival.order).await {
        Ok(files) => files,
        Err(error) => {
            return problem(StatusCode::INTERNAL_SERVER_ERROR, "server_error", &error);
        }
    };
    let base = base(&shared, &headers);
    let show = |job: &SimulatedJob| {
        let (name, texts) = if as_urls {
            ("url", &job.files(&base))
        } else {
            ("b64_json", &files)
        };
        let data: Vec<Value> = texts.iter().map(|text| json!({name: text})).collect();
        let created = chrono::DateTime::<chrono::Utc>::from(job.created.0).timestamp();
        let mut answer = json!({"created": created, "data": data});
        if let Some(usage) = job.usage() {
            answer["usage"] = usage;
        }
        let answer = Json(answer);
        let id = [("x-request-id", format!("req_{}", job.id))];
        with_price(job, (id, answer).into_response())
    };
    play::submit(&shared, &line, arrival, problem, show).await
}

/// Returns the images as base64, with the script's fault applied. Faults of a download have no effect.
async fn files(order: &Order) -> Result<Vec<String>, String> {
    let order = order.clone();
    let making = tokio::task::spawn_blocking(move || {
        let mut files = Vec::new();
        for name in media::names(&order.media) {
            let Some(made) = media::file(&order, &name) else {
                continue;
            };
            let (_, mut bytes) = made.map_err(|error| error.to_string())?;
            match order.script.output {
                Some(OutputFault::Html) => bytes = b"<html>Something went wrong</html>".to_vec(),
                Some(OutputFault::Empty) => bytes.clear(),
                Some(OutputFault::Huge) => bytes.resize(bytes.len() + HUGE, 0),
                Some(
                    OutputFault::Missing
                    | OutputFault::Truncated
                    | OutputFault::Expired
                    | OutputFault::OtherKind
                    | OutputFault::Mislabelled,
                )
                | None => {}
            }
            files.push(BASE64.encode(bytes));
        }
        Ok(files)
    });
    making.await.map_err(|error| error.to_string())?
}

async fn videos(
    State(shared): State<Arc<SimulatorState>>,
    ConnectInfo(line): ConnectInfo<Line>,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let arrival = match arrive(&shared, &headers, &body, &OF_VIDEOS) {
        Ok((arrival, _)) => arrival,
        Err(refused) => return *refused,
    };
    let show = |job: &SimulatedJob| Json(shown(job, job.created.1)).into_response();
    play::submit(&shared, &line, arrival, problem, show).await
}

/// Records and parses a submit; also returns whether the client wants URLs instead of bytes.
fn arrive(
    shared: &SimulatorState,
    headers: &HeaderMap,
    body: &[u8],
    known: &[&str],
) -> Result<(Arrival, bool), Box<Response>> {
    let body: Value = serde_json::from_slice(body).unwrap_or(Value::Null);
    let key = client_id(headers, &body);
    let earlier = shared.ledger().arrive(&key);
    let invalid =
        |code: &str, message: &str| Box::new(problem(StatusCode::BAD_REQUEST, code, message));
    let Value::Object(body) = body else {
        return Err(invalid("invalid_json", "We could not parse the JSON body"));
    };
    if let Some(name) = body.keys().find(|name| !known.contains(&name.as_str())) {
        let message = format!("Unknown parameter: '{name}'.");
        return Err(invalid("unknown_parameter", &message));
    }
    let text = |name: &str| body.get(name).and_then(Value::as_str).map(str::to_owned);
    let as_urls = text("response_format").as_deref() == Some("url");
    let model = text("model").unwrap_or_default();
    let order = to_order_input(body, known.contains(&"seconds"))
        .and_then(|input| Order::of(&model, input))
        .map_err(|message| invalid("invalid_value", &message))?;
    let arrival = Arrival {
        key,
        account: account(headers),
        earlier,
        model,
        order,
        callback: None,
    };
    Ok((arrival, as_urls))
}

/// Renames the fields of a body to those of an [`Order`].
fn to_order_input(mut body: Map<String, Value>, is_video: bool) -> Result<Value, String> {
    let size = body.remove("size");
    let size = size.as_ref().and_then(Value::as_str);
    if is_video {
        let seconds = match body.remove("seconds") {
            Some(Value::String(text)) => text,
            Some(_) => {
                return Err("seconds: is not a string, expected a number in a string".to_owned());
            }
            None => "4".to_owned(),
        };
        let seconds: f64 = seconds
            .parse()
            .map_err(|_| format!("seconds: is {seconds:?}, expected a number"))?;
        body.insert("duration".to_owned(), json!(seconds));
        body.insert("resolution".to_owned(), json!(size.unwrap_or("720x1280")));
    } else {
        if let Some((width, height)) = size.and_then(|size| size.split_once('x')) {
            body.insert("width".to_owned(), json!(width.parse::<u32>().ok()));
            body.insert("height".to_owned(), json!(height.parse::<u32>().ok()));
        }
        if let Some(count) = body.remove("n") {
            body.insert("num_outputs".to_owned(), count);
        }
    }
    Ok(Value::Object(body))
}

async fn read(
    State(shared): State<Arc<SimulatorState>>,
    ConnectInfo(line): ConnectInfo<Line>,
    Path(id): Path<String>,
) -> Response {
    let mut ledger = shared.ledger();
    let Some(job) = ledger.job(&id) else {
        return not_found();
    };
    play::read(job, &line, problem, |job, now| {
        with_price(job, Json(shown(job, now)).into_response())
    })
}

async fn content(State(shared): State<Arc<SimulatorState>>, Path(id): Path<String>) -> Response {
    let asked = {
        let mut ledger = shared.ledger();
        ledger.job(&id).and_then(|job| {
            let now = Instant::now();
            job.issue(now);
            let name = media::names(&job.order.media).into_iter().next()?;
            (job.phase(now) == Phase::Succeeded)
                .then(|| (job.order.clone(), name, job.calls.issues))
        })
    };
    match asked {
        Some((order, name, given)) => serve(order, name, given).await,
        None => not_found(),
    }
}

fn shown(job: &SimulatedJob, now: Instant) -> Value {
    let phase = job.phase(now);
    let word = match phase {
        Phase::Starting => "queued",
        Phase::Processing => "in_progress",
        Phase::Succeeded => "completed",
        Phase::Failed | Phase::Canceled => "failed",
    };
    let other = job.order.script.state.as_deref();
    let word = other.filter(|_| !phase.ended()).unwrap_or(word);
    let error = job.order.script.fail.as_ref();
    let error = error.filter(|_| phase == Phase::Failed);
    json!({
        "id": job.id,
        "status": word,
        "model": job.model,
        "progress": job.percent(now),
        "error": error.map(|text| json!({"code": "video_generation_failed", "message": text})),
    })
}

fn problem(status: StatusCode, code: &str, message: &str) -> Response {
    let error = json!({"message": message, "type": "simulated_error", "param": null, "code": code});
    (status, Json(json!({"error": error}))).into_response()
}

fn not_found() -> Response {
    problem(StatusCode::NOT_FOUND, "not_found", "No such video")
}
