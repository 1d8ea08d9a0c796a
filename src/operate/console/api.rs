//! The console's lists and numbers as JSON.

use axum::Json;
use axum::extract::{Extension, Query, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::Shared;
use super::access::{Who, must_sign_in, refused};
use super::known::{Memory, Reading};
use crate::domain::{ErrorCode, Kind};
use crate::engines::clock::now;
use crate::operate::requests::{Filter, Key, Row, State as RowState};

/// Rows of a page of the list.
const USUAL_LIMIT: usize = 100;
const MOST_ROWS: usize = 1_000;
/// In milliseconds.
const HOUR: i64 = 60 * 60 * 1000;
/// A picture above this size is not shown in the list: there are no thumbnails, so a page would load all of it.
const LARGEST_THUMB: i64 = 2 * 1024 * 1024;

/// The query of the list. All values are text, so that each fault has a message of its own.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Asked {
    /// States separated by commas; `open` means all that have not ended.
    state: Option<String>,
    kind: Option<String>,
    user: Option<String>,
    model: Option<String>,
    code: Option<String>,
    batch: Option<String>,
    q: Option<String>,
    /// Milliseconds since the epoch, as `until`.
    since: Option<i64>,
    until: Option<i64>,
    /// `next` of the page before.
    cursor: Option<String>,
    /// Skips this many.
    offset: usize,
    limit: Option<usize>,
}

/// A row as JSON.
#[derive(Serialize)]
pub(super) struct RowJson<'r> {
    id: &'r str,
    retry: i32,
    kind: Kind,
    user: &'r str,
    batch: Option<&'r str>,
    state: RowState,
    percent: i32,
    stage: Option<&'r str>,
    provider: Option<&'r str>,
    model: Option<&'r str>,
    code: Option<&'static str>,
    cost_usd: Option<f64>,
    created: i64,
    updated: i64,
    ended: Option<i64>,
    outputs: usize,
    /// The number of an output that is a small picture.
    thumb: Option<usize>,
    items: Option<crate::domain::BatchSummary>,
    notified: usize,
}

pub(super) async fn stats(State(shared): State<Shared>) -> Json<Value> {
    Json(numbers(&shared.known.memory(), shared.known.since()))
}

/// Returns the strip: the numbers of requests and endpoints, and how far the topics have been read.
pub(super) fn numbers(memory: &Memory, since: i64) -> Value {
    let letters = |since| memory.letters.each_ref().map(|topic| topic.since(since));
    let [requests_dlq, notifications_dlq] = letters(since);
    json!({
        "requests": memory.requests.numbers(now(), since),
        "endpoints": { "all": memory.endpoints.len(), "failing": memory.endpoints.failing() },
        "dead_letters": {
            "requests": requests_dlq,
            "notifications": notifications_dlq,
            "last_hour": letters(now() - HOUR).iter().sum::<u64>(),
            "reading": memory.letters.each_ref().map(|topic| reading(&topic.reading)),
        },
        "known": {
            "requests": memory.requests.len(),
            "forgotten": memory.requests.forgotten,
            "since": since,
            "events": reading(&memory.events),
            "receipts": reading(&memory.receipts),
        },
        "now": now(),
    })
}

fn reading(reading: &Reading) -> Value {
    match reading {
        Reading::CatchingUp => json!({ "state": "catching_up" }),
        Reading::Live => json!({ "state": "live" }),
        Reading::Failed(why) => json!({ "state": "failed", "why": why }),
    }
}

pub(super) async fn requests(State(shared): State<Shared>, Query(asked): Query<Asked>) -> Response {
    let (filter, cursor) = match (asked.filter(), asked.cursor()) {
        (Ok(filter), Ok(cursor)) => (filter, cursor),
        (Err(why), _) | (_, Err(why)) => return refused(StatusCode::BAD_REQUEST, &why),
    };
    let limit = asked.limit.unwrap_or(USUAL_LIMIT).min(MOST_ROWS);
    let memory = shared.known.memory();
    let found = memory.requests.find(&filter, cursor, asked.offset, limit);
    let rows: Vec<_> = found.rows.iter().map(|row| RowJson::of(row)).collect();
    let next = found
        .next
        .map(|(created, number)| format!("{created}-{number}"));
    Json(json!({
        "items": rows,
        "next": next,
        "total": found.total,
        "states": found.states,
        "codes": found.codes,
    }))
    .into_response()
}

pub(super) async fn endpoints(State(shared): State<Shared>) -> Json<Value> {
    let all = shared.known.memory().endpoints.all(now());
    Json(json!({ "items": all }))
}

/// Returns who is signed in, and what the page may offer.
pub(super) async fn session(
    State(shared): State<Shared>,
    Extension(who): Extension<Who>,
) -> Json<Value> {
    let console = &shared.config.console;
    Json(json!({
        "name": who.0,
        "needs_key": must_sign_in(console),
        "can_act": who.0.is_some(),
        "version": env!("CARGO_PKG_VERSION"),
        "temporal_ui": console.temporal_ui,
        "namespace": shared.config.temporal.namespace,
    }))
}

/// Serves the description of the API.
pub(super) async fn openapi() -> Response {
    let kind = [(header::CONTENT_TYPE, "application/json")];
    (kind, include_str!("openapi.json")).into_response()
}

pub(super) async fn not_found() -> Response {
    refused(
        StatusCode::NOT_FOUND,
        "no such path, see /api/v1/openapi.json",
    )
}

impl Asked {
    /// Returns the filter.
    ///
    /// # Errors
    /// What is wrong with a value, and what is expected.
    pub(super) fn filter(&self) -> Result<Filter, String> {
        let named = |text: &Option<String>| text.clone().filter(|text| !text.is_empty());
        Ok(Filter {
            states: states(self.state.as_deref().unwrap_or_default())?,
            kind: named(&self.kind).map(|text| kind(&text)).transpose()?,
            user: named(&self.user),
            model: named(&self.model),
            code: named(&self.code).map(|text| code(&text)).transpose()?,
            batch: named(&self.batch),
            text: named(&self.q),
            since: self.since,
            until: self.until,
        })
    }

    fn cursor(&self) -> Result<Option<Key>, String> {
        let Some(text) = &self.cursor else {
            return Ok(None);
        };
        let parts = text.split_once('-');
        let key =
            parts.and_then(|(created, number)| Some((created.parse().ok()?, number.parse().ok()?)));
        key.map(Some)
            .ok_or_else(|| "cursor is invalid, expected next of the page before".to_owned())
    }
}

fn states(text: &str) -> Result<Vec<RowState>, String> {
    let mut states = Vec::new();
    for name in text.split(',').filter(|name| !name.is_empty()) {
        let open = || RowState::ALL.into_iter().filter(|state| state.is_open());
        match RowState::ALL
            .into_iter()
            .find(|state| state.as_str() == name)
        {
            Some(state) => states.push(state),
            None if name == "open" => states.extend(open()),
            None => {
                let known = RowState::ALL.map(RowState::as_str).join(", ");
                return Err(format!("state is {name:?}, expected open, {known}"));
            }
        }
    }
    Ok(states)
}

fn kind(text: &str) -> Result<Kind, String> {
    let known = [Kind::Video, Kind::Image, Kind::Batch];
    let found = known
        .into_iter()
        .find(|kind| kind.as_str().eq_ignore_ascii_case(text));
    found.ok_or_else(|| format!("kind is {text:?}, expected video, image or batch"))
}

fn code(text: &str) -> Result<ErrorCode, String> {
    let code = ErrorCode::from(text.to_owned());
    if code == ErrorCode::Unknown {
        return Err(format!(
            "code is {text:?}, expected an error code that docs/contract.md lists"
        ));
    }
    Ok(code)
}

impl<'r> RowJson<'r> {
    pub(super) fn of(row: &'r Row) -> Self {
        let mut outputs = row.outputs.iter();
        let thumb =
            outputs.position(|(bytes, kind)| kind.starts_with("image/") && *bytes <= LARGEST_THUMB);
        Self {
            id: &row.id,
            retry: row.retry,
            kind: row.kind,
            user: &row.user,
            batch: row.batch.as_deref(),
            state: row.state,
            percent: row.percent,
            stage: row.stage.as_deref(),
            provider: row.provider.as_deref(),
            model: row.model.as_deref(),
            code: row.code.map(ErrorCode::as_str),
            cost_usd: row.cost_usd,
            created: row.created,
            updated: row.updated,
            ended: row.ended,
            outputs: row.outputs.len(),
            thumb,
            items: row.items,
            notified: row.receipts.len(),
        }
    }
}
