//! Receives the callbacks of providers and wakes the poller of the job: at once on this worker, through the run's
//! workflow on another.
//!
//! The listener may be public: everything is bounded, nothing is trusted before the token in the path and the signature
//! are verified, and even then a callback only causes a poll.

mod connections;

use std::collections::{HashSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use axum::Router;
use axum::body::{Body, to_bytes};
use axum::extract::{Path, Request, State};
use axum::http::{HeaderMap, StatusCode};
use axum::routing::{get, post};
use parking_lot::Mutex;
use ring::digest::{SHA256, digest};
use tokio::net::TcpListener;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use self::connections::Connections;
use super::steps::Work;
use crate::domain::{ProviderName, WorkflowId, hex};
use crate::engines::clock::now;
use crate::engines::config;
use crate::engines::failpoint;
use crate::engines::http;
use crate::engines::provider::Refused;
use crate::engines::telemetry::events;
use crate::engines::temporal::client::Temporal;

/// Limit on the bytes of a callback. Replicate's contains the whole prediction.
const MAX_BODY: usize = 1024 * 1024;
/// How long a body may take to arrive, and how long Temporal may take for a signal.
const STEP_TIME: Duration = Duration::from_secs(10);
/// How long a poller on this worker may take to confirm that it is the current one.
const TAKE_TIME: Duration = Duration::from_secs(2);
/// Number of callbacks that are remembered, so that their repeats have no effect.
const REMEMBERED: usize = 4096;
/// The answer to `GET /callbacks/ping`, by which `genflow doctor` recognizes a worker.
pub(crate) const PONG: &str = "genflow takes callbacks here\n";

struct Shared {
    work: Arc<Work>,
    temporal: Temporal,
    taken: Mutex<Remembered>,
}

/// The last callbacks that had their effect.
#[derive(Default)]
struct Remembered {
    known: HashSet<String>,
    order: VecDeque<String>,
}

/// What became of a callback.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Outcome {
    /// The job is polled on this worker, at once.
    Woken,
    /// The job's workflow got a signal; the worker that polls the job notices within seconds.
    Signalled,
    /// No open run has the id.
    Ended,
    Repeated,
    Refused(Refused),
    /// The body is too long, or did not arrive in time.
    Unread,
    /// Temporal did not take the signal.
    Failed,
}

/// Listens for callbacks; `None` if none are asked for.
///
/// # Errors
/// `CALLBACK_ADDR` cannot be listened on.
pub(super) async fn listen(settings: &config::Worker) -> anyhow::Result<Option<TcpListener>> {
    let Some(callbacks) = &settings.callbacks else {
        return Ok(None);
    };
    let addr = callbacks.addr;
    let listener = TcpListener::bind(addr).await;
    let listener = listener.with_context(|| format!("CALLBACK_ADDR: cannot listen on {addr}"))?;
    Ok(Some(listener))
}

/// Takes callbacks until `stop`.
///
/// # Errors
/// The server fails.
pub(super) async fn serve(
    listener: Option<TcpListener>,
    work: &Arc<Work>,
    temporal: &Temporal,
    stop: &CancellationToken,
) -> std::io::Result<()> {
    let Some(listener) = listener else {
        stop.cancelled().await;
        return Ok(());
    };
    let shared = Shared {
        work: work.clone(),
        temporal: temporal.clone(),
        taken: Mutex::default(),
    };
    http::serve(Connections::of(listener), routes(shared), stop).await
}

fn routes(shared: Shared) -> Router {
    Router::new()
        .route("/callbacks/ping", get(|| async { PONG }))
        .route("/callbacks/{provider}/{token}/{workflow}", post(take))
        .with_state(Arc::new(shared))
}

async fn take(
    State(shared): State<Arc<Shared>>,
    Path((provider, token, workflow)): Path<(String, String, String)>,
    request: Request,
) -> StatusCode {
    // Only configured ones: each name becomes a label of a metric.
    let named = &shared.work.settings.named;
    let provider = ProviderName::parse("provider", &provider).ok();
    let provider = provider.filter(|name| named.of(*name).is_some());
    let Some((provider, workflow)) = provider.zip(WorkflowId::parse(&workflow)) else {
        return StatusCode::NOT_FOUND;
    };
    let (head, body) = request.into_parts();
    let taken = shared.take(provider, &workflow, &token, &head.headers, body);
    let outcome = taken.await.unwrap_or_else(Outcome::Refused);
    events::callback_taken(provider, outcome.label());
    outcome.status()
}

impl Shared {
    async fn take(
        &self,
        provider: ProviderName,
        workflow: &WorkflowId,
        token: &str,
        headers: &HeaderMap,
        body: Body,
    ) -> Result<Outcome, Refused> {
        let account = self.work.providers.called_back(provider, workflow, token)?;
        let head = account.signed_head(headers, now())?;
        // Read only after the token is verified: callers without one cannot use memory.
        let Ok(Ok(body)) = timeout(STEP_TIME, to_bytes(body, MAX_BODY)).await else {
            return Ok(Outcome::Unread);
        };
        account.verify(&head, &body).await?;
        // A hash, because the provider chooses the length.
        let id = format!("{} {workflow} {}", provider.as_str(), head.id);
        let id = hex(digest(&SHA256, id.as_bytes()).as_ref());
        if self.taken.lock().known.contains(&id) {
            return Ok(Outcome::Repeated);
        }
        let outcome = self.wake(workflow, &id).await;
        if outcome != Outcome::Failed {
            self.taken.lock().remember(id);
        }
        Ok(outcome)
    }

    async fn wake(&self, workflow: &WorkflowId, id: &str) -> Outcome {
        failpoint::hit("callback.verified").await;
        // A poller that is busy, or no longer the current one, does not take it: then the workflow gets it.
        if timeout(TAKE_TIME, self.work.wakes.wake(workflow)).await == Ok(true) {
            return Outcome::Woken;
        }
        let signalling = self.temporal.call_back(workflow, id.to_owned());
        match timeout(STEP_TIME, signalling).await {
            Ok(Ok(true)) => Outcome::Signalled,
            Ok(Ok(false)) => Outcome::Ended,
            Ok(Err(error)) => {
                tracing::warn!(%workflow, error = &error as &dyn std::error::Error, "callback not passed on");
                Outcome::Failed
            }
            Err(_) => Outcome::Failed,
        }
    }
}

impl Remembered {
    fn remember(&mut self, id: String) {
        if self.order.len() >= REMEMBERED
            && let Some(oldest) = self.order.pop_front()
        {
            self.known.remove(&oldest);
        }
        self.known.insert(id.clone());
        self.order.push_back(id);
    }
}

impl Outcome {
    fn label(self) -> &'static str {
        match self {
            Self::Woken => "woken",
            Self::Signalled => "signalled",
            Self::Ended => "ended",
            Self::Repeated => "repeated",
            Self::Refused(Refused::Malformed) => "malformed",
            Self::Refused(Refused::Stale) => "stale",
            Self::Refused(Refused::Forged) => "forged",
            Self::Unread => "unread",
            Self::Failed => "failed",
        }
    }

    /// A provider repeats what is not answered with 2xx.
    fn status(self) -> StatusCode {
        match self {
            // The status does not reveal whether a run exists.
            Self::Woken | Self::Signalled | Self::Ended | Self::Repeated => StatusCode::OK,
            Self::Refused(Refused::Malformed) => StatusCode::BAD_REQUEST,
            Self::Refused(Refused::Stale | Refused::Forged) => StatusCode::UNAUTHORIZED,
            Self::Unread => StatusCode::PAYLOAD_TOO_LARGE,
            Self::Failed => StatusCode::SERVICE_UNAVAILABLE,
        }
    }
}
