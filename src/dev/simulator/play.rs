//! Common to all protocols: checks keys, and handles submits and reads according to their scripts.
//!
//! Each protocol provides its own answers: for an error, and for a job.

use std::{
    sync::Arc,
    time::{Duration, Instant, SystemTime},
};

use axum::{
    Router,
    body::{Body, to_bytes},
    extract::Request,
    http::{HeaderMap, HeaderValue, StatusCode, header},
    middleware::{self, Next},
    response::{IntoResponse, Response},
};
use serde_json::Value;
use uuid::Uuid;

use super::{
    SimulatorState,
    job::{Callback, Calls, SimulatedJob},
    line::Line,
    order::Order,
    script::{NamedFault, NamedPollFault, PollFault, Refusal, SubmitFault},
    truncated,
};

/// A number of bytes that ends within the status line or the headers of an answer.
const INTO_THE_HEAD: usize = 30;

/// Returns an error in a protocol's shape, from a status, a code (which fal does not have) and a text.
pub(super) type ErrorShape = fn(StatusCode, &str, &str) -> Response;

/// A received submit.
pub(super) struct Arrival {
    /// The client id.
    pub(super) key: String,
    /// The account that it is billed to.
    pub(super) account: String,
    /// How many submits with that id came before it.
    pub(super) earlier: usize,
    pub(super) model: String,
    pub(super) order: Order,
    pub(super) callback: Option<Callback>,
}

/// Makes a protocol's routes require a key with that scheme, and adds `Retry-After` to their errors 429 and 503. Any
/// key is valid except `bad`.
/// Returns the account of a call: each key has one.
pub(super) fn account(headers: &HeaderMap) -> String {
    let key = headers.get(header::AUTHORIZATION);
    let key = key.and_then(|key| key.to_str().ok());
    key.unwrap_or_default().to_owned()
}

pub(super) fn keyed(
    routes: Router<Arc<SimulatorState>>,
    scheme: &'static str,
    problem: ErrorShape,
) -> Router<Arc<SimulatorState>> {
    routes.route_layer(middleware::from_fn(
        move |request: Request, next: Next| async move {
            let key = request.headers().get(header::AUTHORIZATION);
            let key = key.and_then(|value| value.to_str().ok()?.strip_prefix(scheme));
            if matches!(key.map(str::trim), None | Some("" | "bad")) {
                let text = "You did not pass a valid key";
                return problem(StatusCode::UNAUTHORIZED, "Unauthenticated", text);
            }
            let mut answer = next.run(request).await;
            let busy = [
                StatusCode::TOO_MANY_REQUESTS,
                StatusCode::SERVICE_UNAVAILABLE,
            ];
            if busy.contains(&answer.status()) {
                let pause = HeaderValue::from_static("1");
                answer.headers_mut().insert(header::RETRY_AFTER, pause);
            }
            answer
        },
    ))
}

/// Handles one submit according to its script; `show` answers an accepted one.
pub(super) async fn submit(
    shared: &SimulatorState,
    line: &Line,
    mut arrival: Arrival,
    problem: ErrorShape,
    show: impl FnOnce(&SimulatedJob) -> Response,
) -> Response {
    arrival.order.script = arrival.order.script.of_run(&arrival.key);
    let script = &arrival.order.script;
    let fault = script.submit.get(arrival.earlier).cloned();
    tokio::time::sleep(Duration::from_millis(script.delay_submit_ms.into())).await;
    let accept = || {
        let job = shared.job(arrival);
        let answer = show(&job);
        let called = job.callback.is_some().then(|| job.id.clone());
        shared.ledger().accept(job);
        if let Some(id) = called {
            // Err: the simulator has stopped.
            shared.call_back.send(id).ok();
        }
        answer
    };
    match fault {
        None => accept(),
        Some(SubmitFault::Refuse(refusal)) => refuse(problem, refusal),
        Some(SubmitFault::Reason(reason)) => problem(reason.status.0, &reason.code, &reason.text),
        Some(SubmitFault::Named(NamedFault::Cut)) => line.cut(),
        Some(SubmitFault::Named(NamedFault::AcceptCut)) => {
            accept();
            line.cut()
        }
        Some(SubmitFault::Named(NamedFault::AcceptHang)) => {
            accept();
            line.hang().await
        }
        Some(SubmitFault::Named(NamedFault::AcceptGarbage)) => {
            let status = accept().status();
            (status, garbage()).into_response()
        }
        Some(SubmitFault::Named(NamedFault::AcceptCutHead)) => {
            line.cut_after(INTO_THE_HEAD);
            accept()
        }
        Some(SubmitFault::Named(NamedFault::AcceptCutBody)) => halved(accept()).await,
    }
}

/// Answers a call with a status that its script asks for.
pub(super) fn refuse(problem: ErrorShape, Refusal(status): Refusal) -> Response {
    let text = "The script of this request refuses this call.";
    problem(status, "simulated", text)
}

/// Answers a read of `job` with its script's fault for this read, or with what `show` returns. While the job runs, adds
/// its script's `Retry-After`.
pub(super) fn read(
    job: &mut SimulatedJob,
    line: &Line,
    problem: ErrorShape,
    show: impl FnOnce(&mut SimulatedJob, Instant) -> Response,
) -> Response {
    match job.read() {
        Some(PollFault::Refuse(refusal)) => return refuse(problem, refusal),
        Some(PollFault::Named(NamedPollFault::Garbage)) => return garbage().into_response(),
        Some(PollFault::Named(NamedPollFault::Cut)) => return line.cut(),
        None => {}
    }
    let now = Instant::now();
    let mut answer = show(job, now);
    if let Some(seconds) = job.order.script.hint
        && !job.phase(now).ended()
    {
        let headers = answer.headers_mut();
        headers.insert(header::RETRY_AFTER, seconds.into());
    }
    answer
}

/// Returns the client's id of its request: from the header, else from the input.
pub(super) fn client_id(headers: &HeaderMap, input: &Value) -> String {
    let header = headers
        .get("idempotency-key")
        .and_then(|value| value.to_str().ok());
    header
        .or_else(|| input["genflow_id"].as_str())
        .unwrap_or_default()
        .to_owned()
}

/// Returns the base URL that the caller used; URLs in answers start with it.
pub(super) fn base(shared: &SimulatorState, headers: &HeaderMap) -> String {
    match headers
        .get(header::HOST)
        .and_then(|value| value.to_str().ok())
    {
        Some(host) => format!("http://{host}"),
        None => format!("http://{}", shared.address),
    }
}

/// Adds the price of a job, if its script has one.
pub(super) fn with_price(job: &SimulatedJob, mut answer: Response) -> Response {
    let price = job.order.script.price.as_deref();
    if let Some(price) = price.and_then(|price| HeaderValue::from_str(price).ok()) {
        let headers = answer.headers_mut();
        headers.insert("x-litellm-response-cost", price);
    }
    answer
}

fn garbage() -> impl IntoResponse {
    (
        [(header::CONTENT_TYPE, "application/json")],
        "{\"id\": <html>",
    )
}

/// Cuts the connection within the body of an answer.
async fn halved(answer: Response) -> Response {
    let (head, body) = answer.into_parts();
    let bytes = to_bytes(body, usize::MAX).await.unwrap_or_default();
    let mut cut = truncated("application/json", bytes.to_vec());
    *cut.status_mut() = head.status;
    cut.map(Body::new)
}

impl SimulatorState {
    /// Creates a job from a submit.
    fn job(&self, arrival: Arrival) -> SimulatedJob {
        let Arrival {
            key,
            account,
            model,
            order,
            callback,
            ..
        } = arrival;
        let mut id = Uuid::new_v4().simple().to_string();
        id.truncate(26); // the length of Replicate's own ids
        let seconds = order.script.seconds;
        SimulatedJob {
            id,
            key,
            account,
            model,
            order,
            created: (SystemTime::now(), Instant::now()),
            run_time: seconds.map_or(self.job_time, |seconds| seconds.0),
            calls: Calls::default(),
            callback,
        }
    }
}
