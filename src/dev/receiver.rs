//! A receiver of webhooks for `genflow dev`: prints each and remembers the last event type of each request.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::routing::post;
use axum::{Json, Router};
use serde_json::Value;
use tokio::sync::watch;

pub(super) struct Receiver {
    address: SocketAddr,
    types: watch::Sender<Types>,
}

/// The event type of the last webhook of each request.
type Types = BTreeMap<String, String>;

impl Receiver {
    /// Returns the receiver of the server at `address`, which serves its [`Self::router`].
    pub(super) fn new(address: SocketAddr) -> Self {
        Self {
            address,
            types: watch::Sender::default(),
        }
    }

    pub(super) fn base(&self) -> String {
        format!("http://{}", self.address)
    }

    pub(super) fn webhook_url(&self) -> String {
        format!("{}/webhook", self.base())
    }

    pub(super) fn router(&self) -> Router {
        Router::new()
            .route("/webhook", post(receive))
            .with_state(self.types.clone())
    }

    /// Waits for a webhook with the outcome of `request`.
    pub(super) async fn received(&self, request: &str) {
        let is_end = |kind: &String| {
            ["completed", "failed", "cancelled"]
                .iter()
                .any(|end| kind.ends_with(end))
        };
        let mut types = self.types.subscribe();
        let ended = types.wait_for(|types| types.get(request).is_some_and(is_end));
        // It cannot fail, because `self` keeps the sender.
        ended.await.ok();
    }
}

async fn receive(
    State(types): State<watch::Sender<Types>>,
    headers: HeaderMap,
    Json(body): Json<Value>,
) -> StatusCode {
    let text = |pointer: &str| {
        let value = body.pointer(pointer).and_then(Value::as_str);
        value.unwrap_or_default().to_owned()
    };
    let (kind, request) = (text("/type"), text("/data/request_id"));
    let signed = match headers.contains_key("webhook-signature") {
        true => "signed",
        false => "unsigned",
    };
    super::say(&format!("  {request:<24} webhook {kind} arrived, {signed}"));
    types.send_modify(|types| {
        types.insert(request, kind);
    });
    StatusCode::NO_CONTENT
}
