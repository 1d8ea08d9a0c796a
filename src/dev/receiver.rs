//! A receiver of webhooks for `genflow dev`: prints each and remembers the last event type of each request.

use std::collections::BTreeMap;
use std::sync::Arc;

use anyhow::Context as _;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::routing::post;
use axum::{Json, Router};
use parking_lot::Mutex;
use serde_json::Value;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::engines::config::Config;

/// Listens for webhooks.
pub(super) struct Receiver {
    listener: Mutex<Option<TcpListener>>,
    url: String,
    seen: Seen,
}

/// The event type of the last webhook of each request.
type Types = BTreeMap<String, String>;

#[derive(Clone)]
struct Seen {
    types: Arc<watch::Sender<Types>>,
}

impl Receiver {
    pub(super) async fn bind(_: &Config) -> anyhow::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0")
            .await
            .context("no port for webhooks")?;
        let url = format!("http://{}/webhook", listener.local_addr()?);
        Ok(Self {
            listener: Mutex::new(Some(listener)),
            url,
            seen: Seen {
                types: Arc::new(watch::Sender::default()),
            },
        })
    }

    pub(super) fn url(&self) -> &str {
        &self.url
    }

    /// Waits for a webhook with the outcome of `request`.
    pub(super) async fn received(&self, request: &str) {
        let is_end = |kind: &String| {
            ["completed", "failed", "cancelled"]
                .iter()
                .any(|end| kind.ends_with(end))
        };
        let mut types = self.seen.types.subscribe();
        if types
            .wait_for(|types| types.get(request).is_some_and(is_end))
            .await
            .is_err()
        {
            tracing::debug!("the receiver is gone");
        }
    }

    pub(super) async fn run(&self, stop: CancellationToken) -> anyhow::Result<()> {
        let listener = self.listener.lock().take();
        let listener = listener.context("the receiver is already running")?;
        let router = Router::new()
            .route("/webhook", post(receive))
            .with_state(self.seen.clone());
        axum::serve(listener, router)
            .with_graceful_shutdown(stop.cancelled_owned())
            .await
            .context("the receiver of webhooks")
    }
}

async fn receive(
    State(seen): State<Seen>,
    headers: HeaderMap,
    Json(body): Json<Value>,
) -> StatusCode {
    let text = |value: Option<&Value>| value.and_then(Value::as_str).unwrap_or_default().to_owned();
    let (kind, request) = (
        text(body.get("type")),
        text(body.pointer("/data/request_id")),
    );
    let signed = if headers.contains_key("webhook-signature") {
        "signed"
    } else {
        "unsigned"
    };
    super::say(&format!("  {request:<24} webhook {kind} arrived, {signed}"));
    seen.types.send_modify(|types| {
        types.insert(request, kind);
    });
    StatusCode::NO_CONTENT
}
