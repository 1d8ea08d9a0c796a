//! The findings of `genflow doctor`. They are kept for a minute, because the checks call every engine.

use std::panic::resume_unwind;
use std::time::Duration;

use axum::Json;
use axum::extract::{Query, State};
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::runtime::Handle;
use tokio::sync::Mutex;
use tokio::task::spawn_blocking;
use tokio::time::Instant;

use super::Shared;
use crate::engines::clock::now;
use crate::operate::doctor::{Report, examine};

const KEPT: Duration = Duration::from_secs(60);

/// The last report.
#[derive(Debug, Default)]
pub(super) struct Checked(Mutex<Option<(Instant, i64, Report)>>);

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Asked {
    /// Check again, whatever is kept.
    fresh: bool,
}

/// Makes all checks, on a thread of their own: some of them cannot move to another thread.
async fn examined(shared: Shared) -> Report {
    let runtime = Handle::current();
    let checking = move || runtime.block_on(Box::pin(examine(&shared.config, false)));
    match spawn_blocking(checking).await {
        Ok(report) => report,
        Err(error) => resume_unwind(error.into_panic()),
    }
}

pub(super) async fn doctor(
    State(shared): State<Shared>,
    Query(asked): Query<Asked>,
) -> Json<Value> {
    // One at a time: a second page waits for the same report.
    let mut kept = shared.checked.0.lock().await;
    let usable = kept
        .as_ref()
        .filter(|(at, _, _)| !asked.fresh && at.elapsed() < KEPT);
    let (at, report) = match usable {
        Some((_, at, report)) => (*at, report.clone()),
        None => {
            let report = examined(shared.clone()).await;
            *kept = Some((Instant::now(), now(), report.clone()));
            (now(), report)
        }
    };
    Json(json!({ "at": at, "ok": report.ok, "checks": report.checks }))
}
