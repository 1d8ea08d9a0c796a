//! Common to all protocols: handles a submit according to its script, and plays the faults of reads.
//!
//! Each protocol provides its own answers: for a refusal, and for an accepted job.

use std::time::{Duration, Instant, SystemTime};

use axum::{
    body::{Body, to_bytes},
    http::{HeaderMap, StatusCode, header},
    response::{IntoResponse, Response},
};
use serde_json::Value;
use uuid::Uuid;

use super::{
    Shared,
    job::{Job, Progress},
    line::Line,
    order::Order,
    script::{NamedFault, NamedPollFault, PollFault, Reason, Refusal, SubmitFault},
    truncated,
};

/// A number of bytes that ends within the status line or the headers of an answer.
const INTO_THE_HEAD: usize = 30;

/// A received submit.
pub(super) struct Arrival {
    /// The client id.
    pub(super) key: String,
    /// How many submits with that id came before it.
    pub(super) earlier: usize,
    pub(super) model: String,
    pub(super) version: String,
    pub(super) order: Order,
}

/// The answers of one protocol.
pub(super) struct Words<S> {
    pub(super) refuse: fn(Refusal) -> Response,
    /// Refuses a submit for a reason.
    pub(super) explain: fn(&Reason) -> Response,
    /// Answers an accepted submit.
    pub(super) show: S,
}

/// Handles one submit according to its script.
pub(super) async fn submit(
    shared: &Shared,
    line: &Line,
    mut arrival: Arrival,
    words: Words<impl FnOnce(&Job) -> Response>,
) -> Response {
    arrival.order.script = arrival.order.script.of_run(&arrival.key);
    let script = &arrival.order.script;
    let fault = script.submit.get(arrival.earlier).cloned();
    tokio::time::sleep(Duration::from_millis(script.delay_submit_ms.into())).await;
    let accept = || {
        let job = shared.job(arrival);
        let answer = (words.show)(&job);
        shared.ledger().accept(job);
        answer
    };
    match fault {
        None => accept(),
        Some(SubmitFault::Refuse(refusal)) => (words.refuse)(refusal),
        Some(SubmitFault::Reason(reason)) => (words.explain)(&reason),
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

/// Returns the answer to a faulty read.
pub(super) fn misread(line: &Line, fault: PollFault, refuse: fn(Refusal) -> Response) -> Response {
    match fault {
        PollFault::Refuse(refusal) => refuse(refusal),
        PollFault::Named(NamedPollFault::Garbage) => garbage().into_response(),
        PollFault::Named(NamedPollFault::Cut) => line.cut(),
    }
}

/// Returns whether the request has a key with that scheme; any key is valid except `bad`.
pub(super) fn has_key(headers: &HeaderMap, scheme: &str) -> bool {
    let value = headers.get(header::AUTHORIZATION);
    let key = value.and_then(|value| value.to_str().ok()?.strip_prefix(scheme));
    key.is_some_and(|key| !matches!(key.trim(), "" | "bad"))
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
pub(super) fn base(shared: &Shared, headers: &HeaderMap) -> String {
    match headers
        .get(header::HOST)
        .and_then(|value| value.to_str().ok())
    {
        Some(host) => format!("http://{host}"),
        None => format!("http://{}", shared.address),
    }
}

/// Adds `Retry-After` if the status is 429 or 503.
pub(super) fn with_pause(status: StatusCode, mut answer: Response) -> Response {
    if matches!(
        status,
        StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE
    ) {
        let pause = header::HeaderValue::from_static("1");
        answer.headers_mut().insert(header::RETRY_AFTER, pause);
    }
    answer
}

/// Adds the script's `Retry-After` while the job runs.
pub(super) fn hinted(job: &Job, now: Instant, mut answer: Response) -> Response {
    if let Some(seconds) = job.order.script.hint
        && !job.phase(now).ended()
    {
        answer
            .headers_mut()
            .insert(header::RETRY_AFTER, seconds.into());
    }
    answer
}

/// Adds the price of a finished job, if its script has one.
pub(super) fn with_price(price: Option<&str>, mut answer: Response) -> Response {
    if let Some(price) = price.and_then(|price| header::HeaderValue::from_str(price).ok()) {
        answer
            .headers_mut()
            .insert("x-litellm-response-cost", price);
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

impl Shared {
    /// Creates a job from a submit.
    fn job(&self, arrival: Arrival) -> Job {
        let Arrival {
            key,
            earlier: _,
            model,
            version,
            order,
        } = arrival;
        let mut id = Uuid::new_v4().simple().to_string();
        id.truncate(26); // the length of Replicate's own ids
        let seconds = order.script.seconds;
        Job {
            id,
            key,
            model,
            version,
            order,
            created: (SystemTime::now(), Instant::now()),
            run_time: seconds.map_or(self.job_time, |seconds| seconds.0),
            progress: Progress::default(),
        }
    }
}
