//! Dead letters: the newest ones of a topic, and one of them with its value. Nothing shows a secret.

use std::collections::BTreeMap;

use axum::Json;
use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse as _, Response};
use serde::Deserialize;
use serde_json::{Value, json};

use super::Shared;
use super::access::refused;
use crate::domain::error_chain::causes;
use crate::engines::kafka::snapshot::{Extent, Snapshot};
use crate::operate::dead_letters::redact::{beginning, header, redacted, redacted_value};
use crate::operate::dead_letters::{DeadLetter, DlqTopic, Filter, Opener, Position};

/// The most dead letters of a list; the newest ones.
const MOST: usize = 500;

/// The query of the list; as JSON, which dead letters to redrive.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Asked {
    topic: String,
    reason: Option<String>,
    /// The whole key.
    key: Option<String>,
    /// Milliseconds since the epoch, as `until`.
    since: Option<i64>,
    until: Option<i64>,
    /// Part of the line that the list shows.
    q: Option<String>,
}

impl Asked {
    /// Returns the filter, or `None` if only the list has this query.
    pub(super) fn redrive(&self) -> Option<Filter> {
        let is_list = !self.topic.is_empty() || self.q.as_deref().is_some_and(|it| !it.is_empty());
        (!is_list).then(|| self.filter())
    }

    fn filter(&self) -> Filter {
        let named = |text: &Option<String>| text.clone().filter(|text| !text.is_empty());
        Filter {
            reasons: named(&self.reason).into_iter().collect(),
            since: self.since,
            until: self.until,
            key: named(&self.key),
        }
    }
}

pub(super) async fn list(State(shared): State<Shared>, Query(asked): Query<Asked>) -> Response {
    let Some(topic) = topic(&asked.topic) else {
        return unknown_topic();
    };
    match read(&shared, topic, &asked).await {
        Ok(answer) => Json(answer).into_response(),
        Err(error) => refused(StatusCode::BAD_GATEWAY, &format!("{error:#}")),
    }
}

async fn read(shared: &Shared, topic: DlqTopic, asked: &Asked) -> anyhow::Result<Value> {
    let config = &shared.config;
    let name = topic.name(&config.kafka.topics);
    let mut snapshot = Snapshot::open(&config.kafka, name, Extent::All).await?;
    let (mut letters, mut reasons) = (Vec::new(), BTreeMap::<String, u64>::new());
    let filter = asked.filter();
    let text = asked.q.as_deref().unwrap_or_default().to_lowercase();
    while let Some(record) = snapshot.next().await? {
        let letter = DeadLetter(record);
        *reasons.entry(letter.reason().to_owned()).or_default() += 1;
        let shown = summary(&letter);
        if filter.takes(&letter) && shown.to_string().to_lowercase().contains(&text) {
            letters.push((letter.0.timestamp, letter.position(), shown));
        }
    }
    let total = letters.len();
    letters.sort_unstable_by_key(|(time, position, _)| std::cmp::Reverse((*time, *position)));
    letters.truncate(MOST);
    let items: Vec<_> = letters.into_iter().map(|(_, _, shown)| shown).collect();
    Ok(json!({ "topic": name, "items": items, "total": total, "reasons": reasons }))
}

/// Returns a line of the list.
fn summary(letter: &DeadLetter) -> Value {
    let from = letter.original();
    json!({
        "position": letter.position().to_string(),
        "at": letter.0.timestamp,
        "reason": redacted(letter.reason()),
        "key": letter.key().map(|key| redacted(&key)),
        "attempts": letter.attempts(),
        "from": from.map(|from| redacted(&from.to_string())),
        "channel": letter.notification().map(|(channel, _)| channel.as_str()),
        "error": redacted(letter.error()),
    })
}

/// Shows one dead letter: its headers, and its value as JSON, or how it begins and why it cannot be read.
pub(super) async fn one(
    State(shared): State<Shared>,
    Path((name, position)): Path<(String, String)>,
) -> Response {
    let (Some(topic), Ok(position)) = (topic(&name), position.parse::<Position>()) else {
        return unknown_topic();
    };
    match open(&shared, topic, position).await {
        Ok(Some(answer)) => Json(answer).into_response(),
        Ok(None) => refused(
            StatusCode::NOT_FOUND,
            "the topic no longer has this dead letter",
        ),
        Err(error) => refused(StatusCode::BAD_GATEWAY, &format!("{error:#}")),
    }
}

async fn open(
    shared: &Shared,
    topic: DlqTopic,
    position: Position,
) -> anyhow::Result<Option<Value>> {
    let config = &shared.config;
    let extent = Extent::At([(position.partition, position.offset)].into());
    let name = topic.name(&config.kafka.topics);
    let mut snapshot = Snapshot::open(&config.kafka, name, extent).await?;
    let Some(record) = snapshot.next().await? else {
        return Ok(None);
    };
    let letter = DeadLetter(record);
    let opener = Opener::new(&config.schema_registry, &config.kafka.topics);
    let opened = opener.json(&letter).await;
    let value = opened.unwrap_or_else(|error| Err(causes(&error)));
    let bytes = letter.0.value.as_deref().unwrap_or_default();
    let headers = letter.0.headers.iter();
    let headers: Vec<_> = headers
        .map(|(name, value)| json!([redacted(name), header(name, value.as_deref())]))
        .collect();
    Ok(Some(json!({
        "letter": summary(&letter),
        "headers": headers,
        "bytes": bytes.len(),
        "value": value.as_ref().ok().cloned().map(redacted_value),
        "unreadable": value.as_ref().err().map(|why| redacted(why)),
        "begins": value.is_err().then(|| beginning(bytes)),
    })))
}

/// Reads `requests` or `notifications`; without a name, the dead letters of requests.
pub(super) fn topic(name: &str) -> Option<DlqTopic> {
    match name {
        "" | "requests" => Some(DlqTopic::Requests),
        "notifications" => Some(DlqTopic::Notifications),
        _ => None,
    }
}

fn unknown_topic() -> Response {
    let why =
        "no such dead letter, expected topic requests or notifications and a position such as 0:15";
    refused(StatusCode::BAD_REQUEST, why)
}
