//! Simulates the APIs that genflow calls by description, each under its own path, with its own formats and key header,
//! and as lenient as the real one.
//!
//! This module has what they share: a call, a submit, and a read of a job.

mod bfl;
mod comfyui;
mod google;
mod luma;
mod runway;

use std::{sync::Arc, time::Instant};

use axum::{
    Router,
    body::to_bytes,
    extract::{ConnectInfo, FromRequest, Request},
    http::{HeaderMap, Method, StatusCode, Uri},
    response::{IntoResponse, Response},
    routing::any,
};
use serde_json::{Map, Value, json};

use super::{
    LARGEST_BODY, SimulatorState,
    job::SimulatedJob,
    line::Line,
    order::Order,
    play::{self, Arrival, ErrorShape, base, client_id},
};
use crate::domain::Media;

/// Returns the routes of all of them.
pub(super) fn routes() -> Router<Arc<SimulatorState>> {
    Router::new()
        .route("/bfl/{*path}", any(bfl::route))
        .route("/comfyui/{*path}", any(comfyui::route))
        .route("/google/{*path}", any(google::route))
        .route("/luma/{*path}", any(luma::route))
        .route("/runway/{*path}", any(runway::route))
}

/// One call of such an API.
struct Call {
    shared: Arc<SimulatorState>,
    line: Line,
    method: Method,
    uri: Uri,
    headers: HeaderMap,
    /// Null if it is not JSON.
    body: Value,
}

impl FromRequest<Arc<SimulatorState>> for Call {
    type Rejection = StatusCode;

    async fn from_request(
        request: Request,
        shared: &Arc<SimulatorState>,
    ) -> Result<Self, Self::Rejection> {
        let (parts, body) = request.into_parts();
        let line = parts.extensions.get::<ConnectInfo<Line>>();
        let ConnectInfo(line) = line.ok_or(StatusCode::INTERNAL_SERVER_ERROR)?.clone();
        let body = to_bytes(body, LARGEST_BODY).await;
        let body = body.map_err(|_| StatusCode::PAYLOAD_TOO_LARGE)?;
        Ok(Self {
            shared: shared.clone(),
            line,
            method: parts.method,
            uri: parts.uri,
            headers: parts.headers,
            body: serde_json::from_slice(&body).unwrap_or(Value::Null),
        })
    }
}

impl Call {
    /// Returns the path below `prefix`.
    fn path(&self, prefix: &str) -> String {
        let path = self.uri.path();
        path.strip_prefix(prefix).unwrap_or(path).to_owned()
    }

    /// Returns a part of the query, decoded.
    fn query(&self, name: &str) -> Option<String> {
        let pairs = self.uri.query()?.split('&');
        let pair = pairs.filter_map(|pair| pair.split_once('='));
        let (_, value) = pair.into_iter().find(|(known, _)| *known == name)?;
        let value = percent_encoding::percent_decode_str(value).decode_utf8();
        Some(value.ok()?.into_owned())
    }

    /// Returns whether the call has a key: any is valid except `bad`.
    fn has_key(&self, header: &str, prefix: &str) -> bool {
        let key = self.headers.get(header).and_then(|key| key.to_str().ok());
        let key = key.and_then(|key| key.strip_prefix(prefix));
        !matches!(key.map(str::trim), None | Some("" | "bad"))
    }

    fn base(&self) -> String {
        base(&self.shared, &self.headers)
    }

    /// Handles a submit of outputs of this kind. `input` has the inputs under the names of [`Order::of`].
    async fn submit(
        &self,
        kind: Media,
        input: Map<String, Value>,
        problem: ErrorShape,
        show: impl FnOnce(&SimulatedJob) -> Response,
    ) -> Response {
        let key = client_id(&self.headers, &self.body);
        let earlier = self.shared.ledger().arrive(&key);
        let model = match kind {
            Media::Video => "simulated/video",
            Media::Image => "simulated/image",
        };
        let order = match Order::of(model, Value::Object(input)) {
            Ok(order) => order,
            Err(error) => return problem(StatusCode::BAD_REQUEST, "invalid", &error),
        };
        let arrival = Arrival {
            key,
            account: String::new(),
            earlier,
            model: model.to_owned(),
            order,
            callback: None,
        };
        play::submit(&self.shared, &self.line, arrival, problem, show).await
    }

    /// Answers a read of a job with what `show` returns; `None`: there is no such job.
    fn read(
        &self,
        id: &str,
        problem: ErrorShape,
        show: impl FnOnce(&mut SimulatedJob, Instant) -> Response,
    ) -> Option<Response> {
        let mut ledger = self.shared.ledger();
        let job = ledger.job(id)?;
        Some(play::read(job, &self.line, problem, show))
    }

    /// Cancels a job; `None`: there is no such job. The answer is `done`, or what the job's script refuses it with.
    fn cancel(&self, id: &str, problem: ErrorShape, done: StatusCode) -> Option<Response> {
        let mut ledger = self.shared.ledger();
        let refusal = ledger.job(id)?.cancel(Instant::now());
        Some(match refusal {
            Some(refusal) => play::refuse(problem, refusal),
            None => done.into_response(),
        })
    }
}

/// Returns the inputs under the names of [`Order::of`], from pairs of those names and values; nulls are left out.
fn renamed<const N: usize>(pairs: [(&str, &Value); N]) -> Map<String, Value> {
    let set = pairs.into_iter().filter(|(_, value)| !value.is_null());
    set.map(|(name, value)| (name.to_owned(), value.clone()))
        .collect()
}

/// Adds the sides of a text such as `1280:720` to the inputs.
fn add_sides(input: &mut Map<String, Value>, ratio: &str) -> Option<()> {
    let (width, height) = ratio.split_once(':')?;
    let side = |text: &str| Some(json!(text.parse::<u32>().ok()?));
    input.insert("width".to_owned(), side(width)?);
    input.insert("height".to_owned(), side(height)?);
    Some(())
}
