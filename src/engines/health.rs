//! HTTP pages for operators: `/livez`, `/readyz`, `/metrics`.
//!
//! `/livez` answers as long as the process runs. `/readyz` is 200 while every chosen role is ready and none drains. The
//! server runs until `stop`, which must come after the roles have drained, so that `/readyz` can report the drain.

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use parking_lot::Mutex;
use serde::Serialize;
use tokio::net::TcpListener;
use tokio::time::interval;
use tokio_util::sync::CancellationToken;

use crate::engines::telemetry::events;
use crate::engines::{http, telemetry};

/// Interval at which the recorder aggregates histogram samples, so that they do not pile up between scrapes.
const UPKEEP: Duration = Duration::from_secs(5);

/// The readiness of each role; shared by all roles of the process.
#[derive(Debug, Default)]
pub struct Health {
    inner: Mutex<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    draining: bool,
    /// Why a role is not ready; `None` if it is ready.
    roles: BTreeMap<&'static str, Option<String>>,
}

/// One line of `/readyz`.
#[derive(Serialize)]
struct ReadyzLine<'a> {
    role: &'a str,
    ready: bool,
    why: &'a str,
}

impl Health {
    /// Adds a role, which is not ready yet.
    pub fn register(&self, role: &'static str) {
        self.set(role, Some("starting".to_owned()));
    }

    /// Marks `role` as ready, unless the process drains.
    pub fn ready(&self, role: &'static str) {
        self.set(role, None);
    }

    /// Marks `role` as not ready, with the reason.
    pub fn not_ready(&self, role: &'static str, why: &str) {
        self.set(role, Some(why.to_owned()));
    }

    /// Marks the process as draining: from now on no role is ready, even if it calls [`Self::ready`].
    pub fn drain(&self) {
        let roles: Vec<_> = {
            let mut inner = self.inner.lock();
            inner.draining = true;
            inner.roles.keys().copied().collect()
        };
        for role in roles {
            self.not_ready(role, "draining");
        }
    }

    fn set(&self, role: &'static str, why: Option<String>) {
        let mut inner = self.inner.lock();
        let now = if inner.draining {
            Some("draining".to_owned())
        } else {
            why
        };
        let before = inner.roles.insert(role, now.clone());
        if before.as_ref() == Some(&now) {
            return;
        }
        // Under the lock, so that the last change is also the last that is reported.
        events::readiness_changed(role, now.is_none(), now.as_deref().unwrap_or_default());
    }

    /// Returns whether all roles are ready (false before the first is registered), and one line of JSON per role.
    fn report(&self) -> (bool, String) {
        let inner = self.inner.lock();
        let mut lines = String::new();
        for (role, why) in &inner.roles {
            let line = ReadyzLine {
                role,
                ready: why.is_none(),
                why: why.as_deref().unwrap_or_default(),
            };
            lines.push_str(&serde_json::to_string(&line).unwrap_or_default());
            lines.push('\n');
        }
        let ready = !inner.roles.is_empty() && inner.roles.values().all(Option::is_none);
        (ready, lines)
    }
}

/// Serves on `listener` until `stop`.
///
/// # Errors
/// The listener fails.
pub async fn serve(
    listener: TcpListener,
    health: Arc<Health>,
    metrics: telemetry::Handle,
    stop: CancellationToken,
) -> io::Result<()> {
    let routes = routes(health, metrics.clone());
    tokio::select! {
        served = http::serve(listener, routes, &stop) => served,
        () = keep_up(&metrics) => Ok(()),
    }
}

/// Keeps the samples of histograms from piling up, for as long as it is polled.
pub(crate) async fn keep_up(metrics: &telemetry::Handle) {
    let mut ticks = interval(UPKEEP);
    loop {
        ticks.tick().await;
        metrics.upkeep();
    }
}

fn routes(health: Arc<Health>, metrics: telemetry::Handle) -> Router {
    Router::new()
        .route("/livez", get(|| async { "ok" }))
        .route("/readyz", get(ready).with_state(health))
        .route("/metrics", get(scrape).with_state(metrics))
}

async fn ready(State(health): State<Arc<Health>>) -> Response {
    let (ready, lines) = health.report();
    let status = if ready {
        StatusCode::OK
    } else {
        StatusCode::SERVICE_UNAVAILABLE
    };
    (
        status,
        [(header::CONTENT_TYPE, "application/x-ndjson")],
        lines,
    )
        .into_response()
}

async fn scrape(State(metrics): State<telemetry::Handle>) -> Response {
    let kind = "text/plain; version=0.0.4; charset=utf-8";
    ([(header::CONTENT_TYPE, kind)], metrics.render()).into_response()
}

#[cfg(test)]
mod tests;
