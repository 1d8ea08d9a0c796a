//! Spans: one function for each kind of work.
//!
//! The spans of records and attempts put their ids on each log line about them; they are of the level ERROR, so that a
//! warning has its ids whatever LOG_LEVEL is. All others exist only if traces are on. Names and attributes follow the
//! semantic conventions of OpenTelemetry for messaging and HTTP, and those of Temporal's SDKs. No attribute has a URL's
//! path or query, a header, a body or an address: they may be secrets.

use std::borrow::Cow;

use reqwest::header::{HeaderMap, HeaderValue};
use reqwest::{Response, StatusCode};
use tracing::field::Empty;
use tracing::{Instrument as _, Span, error_span};
use url::Url;

use super::traces::{self, Attribute, Kind};
use crate::domain::{Event, ProviderName, RecordPosition};

/// What is known of an attempt at an activity.
#[derive(Clone, Copy, Debug, Default)]
pub struct ActivityAttempt<'l> {
    pub activity: &'l str,
    /// The id of the activity's workflow.
    pub workflow: &'l str,
    pub run_id: &'l str,
    pub number: u32,
    pub request_id: Option<&'l str>,
    pub traceparent: Option<&'l str>,
}

/// The work on a record of a consumer.
pub fn record(position: &RecordPosition, group: &str, traceparent: Option<&str>) -> Span {
    let topic = position.topic.as_str();
    let span = error_span!(
        target: traces::TARGET, "record", topic, request_id = Empty, trace_id = Empty
    );
    traces::start(
        &span,
        traceparent,
        Kind::Consumer,
        || format!("process {topic}"),
        || {
            vec![
                Attribute::new("messaging.system", "kafka"),
                Attribute::new("messaging.operation.type", "process"),
                Attribute::new("messaging.operation.name", "process"),
                Attribute::new("messaging.destination.name", topic),
                Attribute::new(
                    "messaging.destination.partition.id",
                    position.partition.to_string(),
                ),
                Attribute::new("messaging.kafka.offset", position.offset),
                Attribute::new("messaging.consumer.group.name", group),
            ]
        },
    );
    record_trace_id(&span, traceparent);
    span
}

/// The current record is about this request.
pub fn of_request(id: &str) {
    let span = Span::current();
    if !traces::is_first(&span) {
        return;
    }
    span.record("request_id", id);
    traces::add(&span, || vec![Attribute::new("genflow.request_id", id)]);
}

/// An attempt at an activity.
pub fn attempt(of: &ActivityAttempt<'_>) -> Span {
    let (activity, workflow, attempt) = (of.activity, of.workflow, of.number);
    let span = error_span!(
        target: traces::TARGET, "attempt", activity, workflow, attempt, request_id = Empty, trace_id = Empty
    );
    if let Some(id) = of.request_id {
        span.record("request_id", id);
    }
    // An activity that belongs to no request, such as a sweep, is part of no trace.
    if of.traceparent.is_some() {
        traces::start(
            &span,
            of.traceparent,
            Kind::Internal,
            || format!("RunActivity:{activity}"),
            || {
                let mut all = vec![
                    Attribute::new("temporalWorkflowID", workflow),
                    Attribute::new("temporalRunID", of.run_id),
                    Attribute::new("genflow.attempt", i64::from(attempt)),
                ];
                all.extend(
                    of.request_id
                        .map(|id| Attribute::new("genflow.request_id", id)),
                );
                all
            },
        );
    }
    record_trace_id(&span, of.traceparent);
    span
}

fn record_trace_id(span: &Span, given: Option<&str>) {
    if let Some(trace) = traces::traceparent(span).as_deref().or(given)
        && let Some(id) = traces::trace_id(trace)
    {
        span.record("trace_id", id);
    }
}

/// Opens a span below the current one; none without a collector.
fn child(
    open: impl FnOnce() -> Span,
    kind: Kind,
    name: impl FnOnce() -> String,
    attributes: impl FnOnce() -> Vec<Attribute>,
) -> Span {
    if !traces::are_on() {
        return Span::none();
    }
    let span = open();
    traces::start(&span, None, kind, name, attributes);
    span
}

/// The start of a request's workflow.
pub fn start_workflow(workflow_type: &str, workflow: &str) -> Span {
    child(
        || error_span!(target: traces::TARGET, "start"),
        Kind::Client,
        || format!("StartWorkflow:{workflow_type}"),
        || vec![Attribute::new("temporalWorkflowID", workflow)],
    )
}

/// The publishing of an event; other records are not traced.
pub fn publish(topic: &str, event: &Event) -> Span {
    child(
        || error_span!(target: traces::TARGET, "publish"),
        Kind::Producer,
        || format!("send {topic}"),
        || {
            vec![
                Attribute::new("messaging.system", "kafka"),
                Attribute::new("messaging.operation.type", "send"),
                Attribute::new("messaging.operation.name", "send"),
                Attribute::new("messaging.destination.name", topic),
                Attribute::new("messaging.message.id", &*event.event_id),
                Attribute::new("genflow.event.type", event.event_type.as_str()),
                Attribute::new("genflow.request_id", &*event.request_id),
            ]
        },
    )
}

/// One step at a provider, with all its HTTP calls. `step`: `submit`, `poll`, `cancel` or `find`.
pub fn provider_step(provider: ProviderName, step: &'static str) -> Span {
    child(
        || error_span!(target: traces::TARGET, "provider"),
        Kind::Internal,
        || format!("{step} {}", provider.as_str()),
        || vec![Attribute::new("genflow.provider", provider.as_str())],
    )
}

/// An operation on the result store. `place`: `disk` or `bucket`.
pub fn store(operation: &'static str, place: &'static str) -> Span {
    child(
        || error_span!(target: traces::TARGET, "store"),
        Kind::Internal,
        || format!("store {operation}"),
        || vec![Attribute::new("genflow.store.place", place)],
    )
}

/// One attempt at a notification. `channel`: `WEBHOOK`, `EMAIL` or `SLACK`.
pub fn delivery(channel: &'static str, event: &Event) -> Span {
    child(
        || error_span!(target: traces::TARGET, "deliver"),
        Kind::Client,
        || format!("deliver {channel}"),
        || {
            let mut all = vec![
                Attribute::new("genflow.channel", channel),
                Attribute::new("genflow.event.type", event.event_type.as_str()),
                Attribute::new("genflow.request_id", &*event.request_id),
                Attribute::new("messaging.message.id", &*event.event_id),
            ];
            if channel != "EMAIL" {
                all.push(Attribute::new("http.request.method", "POST"));
            }
            all
        },
    )
}

/// The current attempt at a notification was answered with an HTTP status or an SMTP reply.
pub fn delivery_answered(channel: &'static str, status: u16) {
    let name = match channel {
        "EMAIL" => "genflow.smtp.status",
        _ => "http.response.status_code",
    };
    traces::add(&Span::current(), || {
        vec![Attribute::new(name, i64::from(status))]
    });
}

/// The current work failed. `error`: from a closed set.
pub fn failed(error: &str) {
    traces::fail(&Span::current(), error);
}

/// Returns the `traceparent` to send on: that of the current span, or `given` if traces are off.
pub fn traceparent(given: Option<&str>) -> Option<Cow<'_, str>> {
    let current = traces::traceparent(&Span::current()).map(Cow::Owned);
    current.or(given.map(Cow::Borrowed))
}

/// Sends an HTTP request as a span of its own, with a `traceparent`; without traces, as it is.
///
/// # Errors
/// There was no answer.
pub async fn http(
    client: &reqwest::Client,
    mut request: reqwest::Request,
) -> reqwest::Result<Response> {
    if !traces::are_on() {
        return client.execute(request).await;
    }
    let span = exchange(request.method().as_str(), request.url());
    propagate(&span, request.headers_mut());
    let answered = client.execute(request).instrument(span.clone()).await;
    match &answered {
        Ok(response) => exchanged(&span, response.status()),
        Err(error) if error.is_timeout() => traces::fail(&span, "timeout"),
        Err(_) => traces::fail(&span, "unanswered"),
    }
    answered
}

fn exchange(method: &str, url: &Url) -> Span {
    let span = error_span!(target: traces::TARGET, "http");
    traces::start(
        &span,
        None,
        Kind::Client,
        || method.to_owned(),
        || {
            let mut all = vec![
                Attribute::new("http.request.method", method),
                Attribute::new("url.scheme", url.scheme()),
                Attribute::new("server.address", url.host_str().unwrap_or_default()),
            ];
            let port = url.port_or_known_default().map(i64::from);
            all.extend(port.map(|port| Attribute::new("server.port", port)));
            all
        },
    );
    span
}

fn propagate(span: &Span, headers: &mut HeaderMap) {
    let trace = traces::traceparent(span).map(HeaderValue::try_from);
    if let Some(Ok(trace)) = trace {
        headers.insert("traceparent", trace);
    }
}

fn exchanged(span: &Span, status: StatusCode) {
    traces::add(span, || {
        let code = i64::from(status.as_u16());
        vec![Attribute::new("http.response.status_code", code)]
    });
    if status.is_client_error() {
        traces::fail(span, "4xx");
    } else if status.is_server_error() {
        traces::fail(span, "5xx");
    }
}
