//! One request: its row, its events and receipts from Kafka, and its run from Temporal.

use std::cmp::Reverse;
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
use crate::engines::config::TRACE_ID;
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
    let trace = events.as_ref().ok().and_then(|(_, trace)| trace.as_deref());
    let template = shared.config.console.trace_url.as_ref();
    let trace_url = template
        .zip(trace)
        .map(|(url, trace)| url.replace(TRACE_ID, trace));
    Json(json!({
        "row": row,
        "run": run,
        "trace_url": trace_url,
        "events": part(events.map(|(events, _)| events)),
        "receipts": part(receipts),
        "timeline": part(timeline),
    }))
    .into_response()
}

/// Waits for a source; returns why it cannot be shown if it fails or takes too long.
pub(super) async fn within<T>(
    source: impl Future<Output = anyhow::Result<T>>,
) -> Result<T, String> {
    match timeout(PATIENCE, source).await {
        Ok(Ok(value)) => Ok(value),
        Ok(Err(error)) => Err(format!("{error:#}")),
        Err(_) => Err(format!("no answer within {PATIENCE:?}")),
    }
}

pub(super) fn part(source: Result<Value, String>) -> Value {
    match source {
        Ok(value) => json!({ "value": value }),
        Err(why) => json!({ "error": why }),
    }
}

/// Reads the events at these positions, in their order and without repeats, as webhooks have them. Also returns the id of
/// the trace that the newest of them belong to, if they have one.
async fn events_at(shared: &Shared, positions: Vec<At>) -> anyhow::Result<(Value, Option<String>)> {
    let mut events: Vec<Event> = Vec::new();
    let mut trace = None;
    for record in records(shared, Topic::Events, positions).await? {
        let id = record.traceparent().and_then(|text| text.split('-').nth(1));
        trace = id.map(str::to_owned).or(trace);
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
    let events: Vec<_> = events.iter().map(Event::public).collect();
    Ok((json!(events), trace))
}

/// Reads the receipts at these positions; the newest of each notification, which may have been sent again.
async fn receipts_at(shared: &Shared, positions: Vec<At>) -> anyhow::Result<Value> {
    let mut receipts = Vec::new();
    for record in records(shared, Topic::Receipts, positions).await? {
        receipts.extend(read_receipt(&shared.registry, &record).await.ok());
    }
    receipts.sort_by_key(|receipt| Reverse(receipt.ended_at));
    let mut seen = BTreeSet::new();
    receipts.retain(|receipt| seen.insert(receipt.receipt_id.clone()));
    receipts.reverse();
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
