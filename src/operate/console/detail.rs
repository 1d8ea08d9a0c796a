//! One request: its row, its events and receipts from Kafka, and its run from Temporal.

use std::collections::BTreeSet;
use std::time::Duration;

use axum::Json;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse as _, Response};
use serde_json::{Value, json};
use tokio::time::timeout;

use super::Shared;
use super::access::refused;
use super::api::RowJson;
use super::follow::{read_event, read_receipt};
use super::media::workflow;
use super::topic::Topic;
use crate::domain::{Event, Latest};
use crate::engines::kafka::Record;
use crate::engines::kafka::snapshot::{Extent, Snapshot};
use crate::operate::requests::At;

/// How long each source may take; the others are shown without it.
const PATIENCE: Duration = Duration::from_secs(8);

pub(super) async fn request(State(shared): State<Shared>, Path(id): Path<String>) -> Response {
    let (row, events, receipts, retry) = {
        let memory = shared.known.memory();
        let Some(row) = memory.requests.get(&id) else {
            let why = "the console does not know this request: it is older than the console's memory, or never arrived";
            return refused(StatusCode::NOT_FOUND, why);
        };
        let json = json!(RowJson::of(row));
        (json, row.events.clone(), row.receipts.clone(), row.retry)
    };
    let run = match retry {
        0 => id.clone(),
        retry => format!("{id}~{retry}"),
    };
    let (events, receipts, timeline) = tokio::join!(
        within(events_at(&shared, events)),
        within(receipts_at(&shared, receipts)),
        within(timeline(&shared, &run)),
    );
    Json(json!({
        "row": row,
        "run": run,
        "events": events,
        "receipts": receipts,
        "timeline": timeline,
    }))
    .into_response()
}

/// Returns `{"value": …}`, or `{"error": …}` if the source fails or takes too long.
async fn within(source: impl Future<Output = anyhow::Result<Value>>) -> Value {
    match timeout(PATIENCE, source).await {
        Ok(Ok(value)) => json!({ "value": value }),
        Ok(Err(error)) => json!({ "error": format!("{error:#}") }),
        Err(_) => json!({ "error": format!("no answer within {PATIENCE:?}") }),
    }
}

/// Reads the events at these positions, in their order and without repeats, as webhooks have them.
async fn events_at(shared: &Shared, positions: Vec<At>) -> anyhow::Result<Value> {
    let mut events: Vec<Event> = Vec::new();
    for record in records(shared, Topic::Events, positions).await? {
        events.extend(read_event(&shared.registry, &record).await.ok());
    }
    events.sort_by_key(|event| event.occurred_at);
    let mut latest = None;
    events.retain(|event| {
        let after = Latest::after(latest.as_ref(), event);
        let is_new = after.is_some();
        latest = after.or(latest.take());
        is_new
    });
    Ok(json!(events.iter().map(Event::public).collect::<Vec<_>>()))
}

/// Reads the receipts at these positions, without repeats.
async fn receipts_at(shared: &Shared, positions: Vec<At>) -> anyhow::Result<Value> {
    let mut receipts = Vec::new();
    for record in records(shared, Topic::Receipts, positions).await? {
        receipts.extend(read_receipt(&shared.registry, &record).await.ok());
    }
    let mut seen = BTreeSet::new();
    receipts.retain(|receipt| seen.insert(receipt.receipt_id.clone()));
    receipts.sort_by_key(|receipt| receipt.ended_at);
    Ok(json!(receipts))
}

async fn records(shared: &Shared, topic: Topic, positions: Vec<At>) -> anyhow::Result<Vec<Record>> {
    let mut records = Vec::new();
    if positions.is_empty() {
        return Ok(records);
    }
    let config = &shared.config;
    let extent = Extent::At(positions.into_iter().collect());
    let mut snapshot = Snapshot::open(&config.kafka, topic.name(config), extent).await?;
    while let Some(record) = snapshot.next().await? {
        records.push(record);
    }
    Ok(records)
}

async fn timeline(shared: &Shared, run: &str) -> anyhow::Result<Value> {
    let Some(workflow) = workflow(run) else {
        return Ok(Value::Null);
    };
    let temporal = shared.temporal().await?;
    Ok(json!(temporal.timeline(&workflow).await?))
}
