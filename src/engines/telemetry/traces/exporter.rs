//! Sends spans to the collector, many in one call. Spans are lost rather than work delayed: if the collector is too slow,
//! the queue fills, and further spans are dropped and counted.

use std::io::Write as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime};

use flate2::Compression;
use flate2::write::GzEncoder;
use prost::Message as _;
use reqwest::header::{CONTENT_ENCODING, CONTENT_TYPE, HeaderValue};
use reqwest::{Client, StatusCode};
use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, sleep, timeout, timeout_at};

use super::otlp::{
    Attribute, Export, Exported, Partial, Resource, ResourceSpans, Scope, ScopeSpans, Span,
};
use crate::engines::config;
use crate::engines::http;
use crate::engines::telemetry::events;

/// Spans that wait for an export.
const QUEUE: usize = 4096;
/// Spans of one export.
const BATCH: usize = 512;
/// Attempts at one export.
const TRIES: u32 = 4;
/// The longest pause before the next of them, also if the collector asks for a longer one.
const LONGEST_PAUSE: Duration = Duration::from_secs(30);
/// Limit on a flush: the process is about to end.
const FLUSH: Duration = Duration::from_secs(5);

/// A queue to the task that exports; cheap to clone.
#[derive(Clone, Debug)]
pub(in crate::engines::telemetry) struct Exporter {
    queue: mpsc::Sender<Item>,
    dropped: Arc<AtomicU64>,
}

#[derive(Debug)]
enum Item {
    Span(Box<Span>),
    /// Export now, and answer then.
    Flush(oneshot::Sender<()>),
}

/// The task's side.
struct Task {
    queue: mpsc::Receiver<Item>,
    dropped: Arc<AtomicU64>,
    reported: u64,
    client: Client,
    settings: config::Traces,
    /// Exports in a row that failed.
    failures: u32,
}

impl Exporter {
    /// Starts the task on the current runtime.
    ///
    /// # Errors
    /// The HTTP client cannot be built.
    pub(in crate::engines::telemetry) fn start(
        settings: &config::Traces,
    ) -> Result<Self, reqwest::Error> {
        let client = http::client()
            .timeout(settings.timeout)
            .default_headers(settings.headers.clone())
            .build()?;
        let (sender, queue) = mpsc::channel(QUEUE);
        let dropped = Arc::new(AtomicU64::new(0));
        let task = Task {
            queue,
            dropped: dropped.clone(),
            reported: 0,
            client,
            settings: settings.clone(),
            failures: 0,
        };
        tokio::spawn(task.run());
        Ok(Self {
            queue: sender,
            dropped,
        })
    }

    pub(super) fn send(&self, span: Span) {
        match self.queue.try_send(Item::Span(Box::new(span))) {
            Ok(()) => {}
            Err(TrySendError::Full(_)) => {
                self.dropped.fetch_add(1, Ordering::Relaxed);
                events::spans_lost("queue_full", 1);
            }
            // The runtime, and with it the task, has ended.
            Err(TrySendError::Closed(_)) => events::spans_lost("stopped", 1),
        }
    }

    /// Exports what is queued, within a few seconds.
    pub(in crate::engines::telemetry) async fn flush(&self) {
        let (done, is_done) = oneshot::channel();
        let flushing = async {
            if self.queue.send(Item::Flush(done)).await.is_ok() {
                is_done.await.ok();
            }
        };
        if timeout(FLUSH, flushing).await.is_err() {
            tracing::warn!("the last spans were not exported within {FLUSH:?}");
        }
    }
}

impl Task {
    async fn run(mut self) {
        while let Some(first) = self.queue.recv().await {
            let mut spans = Vec::new();
            let mut flushed = take(first, &mut spans);
            let due = Instant::now() + self.settings.pause;
            while flushed.is_none() && spans.len() < BATCH {
                match timeout_at(due, self.queue.recv()).await {
                    Ok(Some(item)) => flushed = take(item, &mut spans),
                    Ok(None) | Err(_) => break,
                }
            }
            if !spans.is_empty() {
                self.export(spans).await;
            }
            if let Some(done) = flushed {
                done.send(()).ok();
            }
        }
    }

    async fn export(&mut self, spans: Vec<Span>) {
        let count = u64::try_from(spans.len()).unwrap_or(u64::MAX);
        let body = self.body(spans);
        match self.send(body).await {
            Ok(partial) => {
                self.failures = 0;
                if let Some(partial) = partial {
                    let refused = u64::try_from(partial.rejected_spans).unwrap_or(0);
                    events::spans_lost("refused", refused.min(count));
                    let why = partial.error_message;
                    tracing::warn!(why, "the collector refused some spans");
                }
            }
            Err(error) => {
                events::spans_lost("not_exported", count);
                self.failures = self.failures.saturating_add(1);
                if self.failures.is_power_of_two() {
                    let times = self.failures;
                    tracing::warn!(spans = count, times, error, "spans were not exported");
                }
            }
        }
        let dropped = self.dropped.load(Ordering::Relaxed);
        if dropped > self.reported.saturating_mul(2) {
            tracing::warn!(dropped, "spans were dropped: the collector is too slow");
            self.reported = dropped;
        }
    }

    fn body(&self, spans: Vec<Span>) -> Vec<u8> {
        let attributes = self.settings.resource.iter();
        let attributes = attributes.map(|(name, value)| Attribute::new(name, &**value));
        let export = Export {
            resource_spans: vec![ResourceSpans {
                resource: Some(Resource {
                    attributes: attributes.collect(),
                }),
                scope_spans: vec![ScopeSpans {
                    scope: Some(Scope {
                        name: env!("CARGO_PKG_NAME").to_owned(),
                        version: env!("CARGO_PKG_VERSION").to_owned(),
                    }),
                    spans,
                }],
            }],
        };
        let body = export.encode_to_vec();
        if !self.settings.gzip {
            return body;
        }
        let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
        // Writing to memory does not fail.
        encoder.write_all(&body).ok();
        encoder.finish().unwrap_or_default()
    }

    /// Sends an export until the collector accepts it, or refuses it for good. Returns how many spans were refused,
    /// if some were, and why.
    async fn send(&self, body: Vec<u8>) -> Result<Option<Partial>, String> {
        let mut pause = Duration::from_millis(500);
        for attempt in 1.. {
            let (why, asked) = match self.post(body.clone()).await {
                Ok(answer) if answer.status().is_success() => {
                    let answer = answer.bytes().await.unwrap_or_default();
                    let partial = Exported::decode(answer).unwrap_or_default().partial;
                    return Ok(partial.filter(|partial| partial.rejected_spans > 0));
                }
                Ok(answer) => {
                    let status = answer.status();
                    let why = format!("the collector answered {status}");
                    if !is_passing(status) {
                        return Err(why);
                    }
                    (why, http::retry_after(answer.headers(), SystemTime::now()))
                }
                Err(error) => (format!("the collector was not reached: {error}"), None),
            };
            if attempt == TRIES {
                return Err(why);
            }
            // Spans of other requests wait meanwhile.
            sleep(
                asked
                    .and_then(http::capped)
                    .unwrap_or(pause)
                    .min(LONGEST_PAUSE),
            )
            .await;
            pause *= 2;
        }
        Ok(None)
    }

    async fn post(&self, body: Vec<u8>) -> Result<reqwest::Response, String> {
        let mut request = self
            .client
            .post(self.settings.endpoint.clone())
            .header(CONTENT_TYPE, "application/x-protobuf")
            .body(body);
        if self.settings.gzip {
            request = request.header(CONTENT_ENCODING, HeaderValue::from_static("gzip"));
        }
        let sent = request.send().await;
        sent.map_err(|error| format!("{:#}", anyhow::Error::from(error.without_url())))
    }
}

fn take(item: Item, spans: &mut Vec<Span>) -> Option<oneshot::Sender<()>> {
    match item {
        Item::Span(span) => {
            spans.push(*span);
            None
        }
        Item::Flush(done) => Some(done),
    }
}

/// The statuses after which OTLP allows another attempt.
fn is_passing(status: StatusCode) -> bool {
    matches!(status.as_u16(), 429 | 502 | 503 | 504)
}
