//! What is known of requests: the fold of their events, in bounded memory; and what is done to many of them at once.

pub(super) mod bulk;
mod query;

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use serde::Serialize;

pub(super) use self::query::Filter;
use crate::domain::{BatchSummary, ErrorCode, Event, EventType, Kind, Latest};

/// Where a record is: partition and offset.
pub(super) type At = (i32, i64);

/// The order of the list: when the first known event of a request occurred, and a number that makes it unique.
pub(super) type Key = (i64, u64);

/// The most events, and receipts, of one request whose positions are kept: the first ones, and always the last one.
const MOST_POSITIONS: usize = 100;

/// How far a request has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// Its workflow runs; the provider has reported nothing yet.
    Started,
    /// The provider works on it; of a batch, items run.
    Generating,
    Completed,
    Failed,
    Cancelled,
    /// Intake refused the record.
    Rejected,
}

/// One request.
#[derive(Debug)]
pub(super) struct Row {
    pub id: Arc<str>,
    pub retry: i32,
    pub kind: Kind,
    pub user: Arc<str>,
    pub batch: Option<Arc<str>>,
    pub state: State,
    pub percent: i32,
    pub stage: Option<Arc<str>>,
    pub provider: Option<Arc<str>>,
    pub model: Option<Arc<str>>,
    pub code: Option<ErrorCode>,
    pub cost_usd: Option<f64>,
    /// When the first known event occurred; this and the next two in milliseconds since the epoch.
    pub created: i64,
    pub updated: i64,
    pub ended: Option<i64>,
    /// Sizes in bytes and types of the outputs; empty until it has completed.
    pub outputs: Vec<(i64, Arc<str>)>,
    pub items: Option<BatchSummary>,
    /// Its records on `gen.events` and on `gen.notifications`.
    pub events: Vec<At>,
    pub receipts: Vec<At>,
    latest: Latest,
}

/// The requests that are known, at most a fixed number: the oldest ones that have ended are forgotten first.
#[derive(Debug)]
pub(super) struct Requests {
    most: usize,
    rows: BTreeMap<Key, Row>,
    keys: HashMap<Arc<str>, Key>,
    /// Users, models and other texts that many rows have.
    texts: HashSet<Arc<str>>,
    next: u64,
    /// How many requests were forgotten.
    pub forgotten: u64,
    /// When the youngest of them began, and when the last of them ended.
    forgotten_until: i64,
    forgotten_ended: i64,
}

impl State {
    pub(super) const ALL: [Self; 6] = [
        Self::Started,
        Self::Generating,
        Self::Completed,
        Self::Failed,
        Self::Cancelled,
        Self::Rejected,
    ];

    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Started => "started",
            Self::Generating => "generating",
            Self::Completed => "completed",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
            Self::Rejected => "rejected",
        }
    }

    pub(super) fn is_open(self) -> bool {
        matches!(self, Self::Started | Self::Generating)
    }
}

impl Requests {
    pub(super) fn new(most: usize) -> Self {
        Self {
            most: most.max(1),
            rows: BTreeMap::new(),
            keys: HashMap::new(),
            texts: HashSet::new(),
            next: 0,
            forgotten: 0,
            forgotten_until: i64::MIN,
            forgotten_ended: 0,
        }
    }

    pub(super) fn len(&self) -> usize {
        self.rows.len()
    }

    /// Returns whether a request was forgotten that began at this time or later.
    pub(super) fn has_forgotten_since(&self, since: Option<i64>) -> bool {
        self.forgotten > 0 && since.is_none_or(|since| since <= self.forgotten_until)
    }

    pub(super) fn get(&self, id: &str) -> Option<&Row> {
        self.rows.get(self.keys.get(id)?)
    }

    /// Adds an event at this position; returns whether it changed anything. A repeat does not.
    pub(super) fn event(&mut self, event: &Event, at: At) -> bool {
        let key = self.keys.get(event.request_id.as_str()).copied();
        let before = key.and_then(|key| self.rows.get(&key));
        let Some(latest) = Latest::after(before.map(|row| &row.latest), event) else {
            return false;
        };
        let key = match key {
            Some(key) => key,
            None => self.add(event, latest.clone()),
        };
        let texts = [
            Some(event.user_id.as_str()),
            event.progress.as_ref().map(|progress| &*progress.stage),
            event.result.as_ref().map(|result| &*result.provider),
            event
                .result
                .as_ref()
                .and_then(|result| result.model.as_deref()),
        ];
        let [user, stage, provider, model] = texts.map(|text| text.map(|text| self.text(text)));
        let types: Vec<_> = event
            .result
            .iter()
            .flat_map(|result| &result.outputs)
            .collect();
        let outputs = types
            .iter()
            .map(|output| (output.bytes, self.text(&output.content_type)));
        let outputs: Vec<_> = outputs.collect();
        let batch = event.batch_id.as_deref().map(|batch| self.text(batch));
        let Some(row) = self.rows.get_mut(&key) else {
            return false;
        };
        row.latest = latest;
        row.retry = event.retry;
        row.updated = event.occurred_at;
        row.user = user.unwrap_or_else(|| row.user.clone());
        row.batch = batch;
        if event.kind != Kind::Unknown {
            row.kind = event.kind;
        }
        remember(&mut row.events, at);
        row.take(event);
        row.stage = stage.filter(|_| row.state.is_open());
        row.provider = provider;
        row.model = model;
        row.outputs = outputs;
        true
    }

    /// Adds a receipt at this position, if the request is known.
    pub(super) fn receipt(&mut self, request: &str, at: At) -> bool {
        let Some(key) = self.keys.get(request) else {
            return false;
        };
        if let Some(row) = self.rows.get_mut(key) {
            remember(&mut row.receipts, at);
        }
        true
    }

    pub(super) fn forget_receipts(&mut self) {
        for row in self.rows.values_mut() {
            row.receipts.clear();
        }
    }

    /// Adds a row for a request that is not known yet, and forgets another one if there are too many.
    fn add(&mut self, event: &Event, latest: Latest) -> Key {
        if self.rows.len() >= self.most {
            self.forget_one();
        }
        let key = (event.occurred_at, self.next);
        self.next += 1;
        let id: Arc<str> = event.request_id.as_str().into();
        self.keys.insert(id.clone(), key);
        let row = Row {
            id,
            retry: event.retry,
            kind: event.kind,
            user: self.text(&event.user_id),
            batch: None,
            state: State::Started,
            percent: 0,
            stage: None,
            provider: None,
            model: None,
            code: None,
            cost_usd: None,
            created: event.occurred_at,
            updated: event.occurred_at,
            ended: None,
            outputs: Vec::new(),
            items: None,
            events: Vec::new(),
            receipts: Vec::new(),
            latest,
        };
        self.rows.insert(key, row);
        key
    }

    fn forget_one(&mut self) {
        let mut ended = self.rows.iter().filter(|(_, row)| !row.state.is_open());
        let oldest = ended.next().or_else(|| self.rows.iter().next());
        let Some(key) = oldest.map(|(key, _)| *key) else {
            return;
        };
        if let Some(row) = self.rows.remove(&key) {
            self.keys.remove(&row.id);
            self.forgotten += 1;
            self.forgotten_until = self.forgotten_until.max(key.0);
            self.forgotten_ended = self.forgotten_ended.max(row.ended.unwrap_or_default());
        }
        // Texts that no row has any more are dropped now and then, so that they do not pile up.
        if self.forgotten.is_multiple_of(10_000) {
            self.texts.retain(|text| Arc::strong_count(text) > 1);
        }
    }

    /// Returns the one copy of a text.
    fn text(&mut self, text: &str) -> Arc<str> {
        if let Some(known) = self.texts.get(text) {
            return known.clone();
        }
        let text: Arc<str> = text.into();
        self.texts.insert(text.clone());
        text
    }
}

impl Row {
    /// Takes over what an event says about the state.
    fn take(&mut self, event: &Event) {
        self.state = match event.event_type {
            EventType::Started => State::Started,
            EventType::Progress => State::Generating,
            EventType::Completed => State::Completed,
            EventType::Failed => State::Failed,
            EventType::Cancelled => State::Cancelled,
            EventType::Rejected => State::Rejected,
            EventType::Unknown => self.state,
        };
        self.ended = (!self.state.is_open()).then_some(event.occurred_at);
        self.percent = match (&event.progress, self.state) {
            (_, State::Completed) => 100,
            (Some(progress), _) => progress.percent,
            (None, State::Started) => 0,
            (None, _) => self.percent,
        };
        self.code = event.error.as_ref().map(|error| error.code);
        self.cost_usd = event.result.as_ref().and_then(|result| result.cost_usd);
        self.items = event.batch;
    }
}

/// Adds a position; once there are too many, the last one is replaced.
fn remember(positions: &mut Vec<At>, at: At) {
    if positions.len() >= MOST_POSITIONS {
        positions.pop();
    }
    positions.push(at);
}

#[cfg(test)]
mod tests;
