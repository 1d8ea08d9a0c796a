//! What a template sees of an event: texts for people, one line each. Pure.
//!
//! Untrusted text (ids, messages, metadata) loses its line breaks, control characters and marks that change the
//! writing direction, and is cut to a length, so it can only be text in a mail. The templates escape it, so it
//! is not HTML either.

use std::collections::BTreeMap;

use serde::Serialize;
use url::Url;

use super::advice::advice;
use crate::domain::{BatchSummary, ErrorCode, Event, EventType, Kind, Output};
use crate::roles::notifier::wording::{dollars, line, moment, size};

/// An event, for templates. `docs/email.md` describes these fields for authors of templates.
#[derive(Debug, Default, Serialize)]
pub(super) struct View {
    event: String,
    /// `started`, `progress`, `completed`, `failed`, `cancelled` or `rejected`.
    state: String,
    /// `image`, `video`, `batch` or `request`.
    kind: &'static str,
    /// What happened, such as `Image completed`.
    headline: String,
    request: String,
    /// 0 for the first run.
    retry: i32,
    user: String,
    batch_id: Option<String>,
    /// Such as `2023-11-14 22:13 UTC`.
    at: String,
    progress: Option<ProgressView>,
    outputs: Vec<File>,
    /// Number of outputs that are not listed.
    more: usize,
    /// Such as `1 min 5 s`.
    elapsed: Option<String>,
    provider: Option<String>,
    cost_usd: Option<String>,
    batch: Option<BatchSummary>,
    error: Option<Trouble>,
    /// Position of a rejected record: `topic/partition/offset`.
    record: Option<String>,
    metadata: BTreeMap<String, String>,
}

#[derive(Debug, Serialize)]
struct ProgressView {
    percent: i32,
    stage: String,
    message: Option<String>,
}

#[derive(Debug, Serialize)]
struct File {
    /// The last part of its storage URI.
    name: String,
    /// Its public URL; http or https only.
    url: Option<String>,
    content_type: String,
    /// Such as `1.4 MB`.
    size: String,
    /// Such as `1024 × 768`, or `1280 × 720, 5 s`.
    shape: Option<String>,
    /// URL of an image to show in the mail itself.
    thumbnail: Option<String>,
}

#[derive(Debug, Serialize)]
struct Trouble {
    code: &'static str,
    message: String,
    retryable: bool,
    advice: &'static str,
}

/// Longest names, ids and addresses, in characters.
const SHORT: usize = 200;
/// Longest messages.
const LONG: usize = 1000;
/// Longest link.
const LINK: usize = 4000;
/// Most outputs listed.
const LISTED: usize = 16;
/// Most images shown in a mail, and the largest one in bytes: people read mail on phones too.
const SHOWN: usize = 4;
const LARGEST_SHOWN: i64 = 2_000_000;

impl View {
    /// Returns a view with the values that all events have, to check templates with.
    pub(super) fn sparse() -> Self {
        let some = || "some".to_owned();
        Self {
            event: some(),
            state: some(),
            kind: "some",
            headline: some(),
            request: some(),
            at: some(),
            ..Self::default()
        }
    }

    /// Returns a view with all values, to check templates with.
    pub(super) fn full() -> Self {
        let some = || Some("some".to_owned());
        Self {
            retry: 1,
            user: "some".to_owned(),
            batch_id: some(),
            progress: Some(ProgressView {
                percent: 40,
                stage: "rendering".to_owned(),
                message: some(),
            }),
            outputs: vec![File {
                name: "0.png".to_owned(),
                url: some(),
                content_type: "image/png".to_owned(),
                size: size(1),
                shape: some(),
                thumbnail: some(),
            }],
            more: 1,
            elapsed: some(),
            provider: some(),
            cost_usd: some(),
            batch: Some(BatchSummary {
                total: 4,
                completed: 1,
                failed: 1,
                cancelled: 1,
                not_started: 1,
            }),
            error: Some(Trouble {
                code: "provider_failed",
                message: "the job failed".to_owned(),
                retryable: true,
                advice: advice(ErrorCode::ProviderFailed),
            }),
            record: some(),
            metadata: BTreeMap::from([("key".to_owned(), "value".to_owned())]),
            ..Self::sparse()
        }
    }

    pub(super) fn of(event: &Event) -> Self {
        let short = |text: &str| line(text, SHORT);
        let kind = match event.kind {
            Kind::Image => "image",
            Kind::Video => "video",
            Kind::Batch => "batch",
            Kind::Unknown => "request",
        };
        let state = event.event_type.as_str().to_ascii_lowercase();
        let outputs = event.result.iter().flat_map(|result| &result.outputs);
        let count = outputs.clone().count();
        let result = event.result.as_ref();
        Self {
            event: short(&event.event_id),
            headline: format!("{} {}", capital(kind), happened(event.event_type)),
            state,
            kind,
            request: short(&event.request_id),
            retry: event.retry,
            user: short(&event.user_id),
            batch_id: event.batch_id.as_deref().map(short),
            at: moment(event.occurred_at),
            progress: event.progress.as_ref().map(|progress| ProgressView {
                percent: progress.percent,
                stage: short(&progress.stage),
                message: progress.message.as_deref().map(|text| line(text, LONG)),
            }),
            outputs: files(outputs.take(LISTED)),
            more: count.saturating_sub(LISTED),
            elapsed: result.map(|result| elapsed(result.elapsed_ms)),
            provider: result.map(|result| short(&result.provider)),
            cost_usd: result.and_then(dollars),
            batch: event.batch,
            error: event.error.as_ref().map(|error| Trouble {
                code: error.code.as_str(),
                message: line(&error.message, LONG),
                retryable: error.retryable,
                advice: advice(error.code),
            }),
            record: event
                .record
                .as_ref()
                .map(|record| short(&record.to_string())),
            metadata: event
                .metadata
                .iter()
                .map(|(key, value)| (short(key), line(value, LONG)))
                .collect(),
        }
    }
}

fn happened(kind: EventType) -> &'static str {
    match kind {
        EventType::Started => "started",
        EventType::Progress => "in progress",
        EventType::Completed => "completed",
        EventType::Failed => "failed",
        EventType::Cancelled => "cancelled",
        EventType::Rejected => "rejected",
        EventType::Unknown => "changed",
    }
}

fn capital(word: &str) -> String {
    let mut letters = word.chars();
    letters
        .next()
        .map(|first| first.to_ascii_uppercase())
        .into_iter()
        .chain(letters)
        .collect()
}

fn files<'o>(outputs: impl Iterator<Item = &'o Output>) -> Vec<File> {
    let mut shown = 0;
    let mut files = Vec::new();
    for output in outputs {
        let url = output.url.as_deref().and_then(public);
        let thumbnail = url
            .clone()
            .filter(|_| is_small_image(output) && shown < SHOWN);
        shown += usize::from(thumbnail.is_some());
        let name = output.uri.rsplit('/').next().unwrap_or_default();
        files.push(File {
            name: line(name, SHORT),
            url,
            content_type: line(&output.content_type, SHORT),
            size: size(output.bytes),
            shape: shape(output),
            thumbnail,
        });
    }
    files
}

/// Returns a URL that a person can follow. A URL that is too long is left out: cut short, it would not work.
fn public(url: &str) -> Option<String> {
    let url = Url::parse(url).ok()?;
    let good = matches!(url.scheme(), "http" | "https") && url.as_str().len() <= LINK;
    good.then(|| url.into())
}

fn is_small_image(output: &Output) -> bool {
    let kind = output.content_type.as_str();
    let shown_by_all = matches!(
        kind,
        "image/png" | "image/jpeg" | "image/gif" | "image/webp"
    );
    shown_by_all && (1..=LARGEST_SHOWN).contains(&output.bytes)
}

fn shape(output: &Output) -> Option<String> {
    let pixels = output
        .width
        .zip(output.height)
        .map(|(width, height)| format!("{width} × {height}"));
    let seconds = output
        .duration_seconds
        .map(|seconds| format!("{} s", (seconds * 10.0).round() / 10.0));
    let parts: Vec<_> = pixels.into_iter().chain(seconds).collect();
    (!parts.is_empty()).then(|| parts.join(", "))
}

fn elapsed(milliseconds: i64) -> String {
    match milliseconds / 1000 {
        0 => format!("{milliseconds} ms"),
        seconds @ 1..60 => format!("{seconds} s"),
        seconds @ 60..3600 => format!("{} min {} s", seconds / 60, seconds % 60),
        seconds => format!("{} h {} min", seconds / 3600, seconds / 60 % 60),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_public_address_is_a_link() {
        assert_eq!(public("javascript:alert(1)"), None);
        assert_eq!(public("file:///etc/passwd"), None);
        assert_eq!(
            public(&format!("https://a.test/{}", "x".repeat(LINK))),
            None
        );
        assert_eq!(
            public("https://a.test/\"onload=x").as_deref(),
            Some("https://a.test/%22onload=x")
        );
    }

    #[test]
    fn times_are_in_units_that_people_know() {
        assert_eq!(elapsed(900), "900 ms");
        assert_eq!(elapsed(65_000), "1 min 5 s");
        assert_eq!(elapsed(7_260_000), "2 h 1 min");
    }
}
