//! What waits before the console's topics show it: records that intake has not committed, and runs that have published no event,
//! because no worker has taken their first step. Kafka and Temporal are asked for both while a page is open.

use std::time::Duration;

use axum::Json;
use axum::extract::State;
use serde_json::{Value, json};
use tokio::sync::Mutex;
use tokio::time::Instant;

use super::Shared;
use super::detail::{part, within};
use super::known::Reading;
use crate::domain::time::rfc3339;
use crate::engines::clock::now;
use crate::engines::kafka::admin;
use crate::workflows::{batch, generation};

/// How long the numbers are kept, so that many pages cost no more than one.
const KEPT: Duration = Duration::from_secs(5);
/// How long Temporal may count a run after its last event, in milliseconds.
const CLOSING: i64 = 10_000;

/// The last numbers.
#[derive(Debug, Default)]
pub(super) struct Backlog(Mutex<Option<(Instant, Value)>>);

pub(super) async fn backlog(State(shared): State<Shared>) -> Json<Value> {
    // One at a time: a second page waits for the same numbers.
    let mut kept = shared.backlog.0.lock().await;
    if let Some((at, numbers)) = &*kept
        && at.elapsed() < KEPT
    {
        return Json(numbers.clone());
    }
    let (records, runs) = tokio::join!(within(records(&shared)), within(runs(&shared)));
    let records = match records {
        Ok(admin::Backlog { records, oldest }) => json!({ "value": records, "oldest": oldest }),
        Err(why) => part(Err(why)),
    };
    let numbers = json!({ "records": records, "runs": part(runs) });
    *kept = Some((Instant::now(), numbers.clone()));
    Json(numbers)
}

/// Looks up the records that intake has not committed.
async fn records(shared: &Shared) -> anyhow::Result<admin::Backlog> {
    let kafka = &shared.config.kafka;
    let group = format!("{}-intake", kafka.group);
    Ok(admin::backlog(kafka, &group, &kafka.topics.requests).await?)
}

/// Counts the open runs without an event. Runs that Temporal may still count as open are taken off, so while many runs
/// end, the number is too small.
async fn runs(shared: &Shared) -> anyhow::Result<Value> {
    let temporal = shared.temporal().await?;
    let query = format!(
        "WorkflowType IN ('{}', '{}') AND TaskQueue = '{}' AND ExecutionStatus = 'Running' AND StartTime >= '{}'",
        generation::NAME,
        batch::NAME,
        temporal.task_queue(),
        rfc3339(shared.known.since()),
    );
    let open = temporal.count(&query).await?;
    let memory = shared.known.memory();
    anyhow::ensure!(
        memory.events == Reading::Live,
        "the events are not read yet"
    );
    let known = u64::try_from(memory.requests.runs_since(now() - CLOSING))?;
    Ok(json!(open.saturating_sub(known)))
}
