//! Traces: keeps what is known of a span while it is open, and gives it to the exporter when it closes.
//!
//! A span of `tracing` is part of a trace once [`start`] was called for it. What it then carries is among the span's
//! extensions, so that the current span is known wherever `tracing` knows it. Without a collector no layer is installed,
//! and the functions here do nothing.

mod exporter;
mod otlp;
#[cfg(test)]
mod tests;

use std::time::{SystemTime, UNIX_EPOCH};

use rand::RngExt as _;
use tracing::{Dispatch, Metadata, Span, Subscriber, span};
use tracing_subscriber::Registry;
use tracing_subscriber::filter::{FilterFn, LevelFilter, filter_fn};
use tracing_subscriber::layer::Context;
use tracing_subscriber::registry::{LookupSpan, SpanRef};

pub(super) use self::exporter::Exporter;
pub(super) use self::otlp::{Attribute, Kind};
use self::otlp::{Status, StatusCode};
use crate::engines::config::Sampler;

/// The target of all spans that may be part of a trace.
pub(super) const TARGET: &str = "genflow::span";
/// The bits of a trace's id that are random: 56, in W3C's trace context.
const RANDOM: u64 = (1 << 56) - 1;

/// A W3C trace context: which span of which trace, and whether the trace is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct TraceContext {
    trace: u128,
    span: u64,
    is_kept: bool,
}

/// What a span has once it has the id of its request.
struct Named;

/// A span that is part of a trace and has not ended.
struct OpenSpan {
    context: TraceContext,
    parent: Option<u64>,
    name: String,
    kind: Kind,
    began: SystemTime,
    attributes: Vec<Attribute>,
    /// Set if the work failed.
    failure: Option<String>,
}

/// The layer that exports spans.
pub(super) struct Traces {
    sampler: Sampler,
    exporter: Exporter,
}

impl TraceContext {
    fn parse(text: &str) -> Option<Self> {
        let mut parts = text.split('-').skip(1);
        let mut next = || parts.next();
        let (trace, span, flags) = (next()?, next()?, next()?);
        let context = Self {
            trace: u128::from_str_radix(trace, 16).ok()?,
            span: u64::from_str_radix(span, 16).ok()?,
            is_kept: u8::from_str_radix(flags, 16).ok()? & 1 == 1,
        };
        (context.trace != 0 && context.span != 0).then_some(context)
    }

    fn traceparent(self) -> String {
        let Self {
            trace,
            span,
            is_kept,
        } = self;
        format!("00-{trace:032x}-{span:016x}-{:02x}", u8::from(is_kept))
    }
}

impl Traces {
    pub(super) fn new(sampler: Sampler, exporter: Exporter) -> Self {
        Self { sampler, exporter }
    }

    /// Lets only genflow's own spans through, and no events.
    pub(super) fn filter() -> FilterFn<impl Fn(&Metadata<'_>) -> bool> {
        let is_ours = |metadata: &Metadata<'_>| metadata.is_span() && metadata.target() == TARGET;
        filter_fn(is_ours).with_max_level_hint(LevelFilter::ERROR)
    }

    fn keeps(&self, trace: u128, parent: Option<TraceContext>) -> bool {
        match parent {
            Some(parent) if self.sampler.follows_parent => parent.is_kept,
            // By the part of the id that is random everywhere, and the high values of it, as OpenTelemetry's consistent
            // sampling does: samplers of one ratio keep the same traces.
            Some(_) | None => {
                let (random, ratio) = (trace & u128::from(RANDOM), self.sampler.ratio);
                ratio > 0.0 && random as f64 >= (1.0 - ratio) * (RANDOM + 1) as f64
            }
        }
    }

    fn open(
        &self,
        parent: Option<TraceContext>,
        name: String,
        kind: Kind,
        attributes: Vec<Attribute>,
    ) -> OpenSpan {
        let mut random = rand::rng();
        let trace = parent.map_or_else(|| random.random_range(1..=u128::MAX), |it| it.trace);
        OpenSpan {
            context: TraceContext {
                trace,
                span: random.random_range(1..=u64::MAX),
                is_kept: self.keeps(trace, parent),
            },
            parent: parent.map(|parent| parent.span),
            name,
            kind,
            began: SystemTime::now(),
            attributes,
            failure: None,
        }
    }
}

impl<S: Subscriber + for<'l> LookupSpan<'l>> tracing_subscriber::Layer<S> for Traces {
    fn on_close(&self, id: span::Id, ctx: Context<'_, S>) {
        let Some(span) = ctx.span(&id) else { return };
        let ended = span.extensions_mut().remove::<OpenSpan>();
        if let Some(open) = ended
            && open.context.is_kept
        {
            self.exporter.send(open.end());
        }
    }
}

impl OpenSpan {
    fn end(self) -> otlp::Span {
        let nanos = |time: SystemTime| {
            let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
            u64::try_from(since.as_nanos()).unwrap_or(u64::MAX)
        };
        let began = nanos(self.began);
        let failed = self.failure.map(|why| Status {
            message: why,
            code: StatusCode::Error.into(),
        });
        otlp::Span {
            trace_id: self.context.trace.to_be_bytes().to_vec(),
            span_id: self.context.span.to_be_bytes().to_vec(),
            parent_span_id: self
                .parent
                .map_or_else(Vec::new, |parent| parent.to_be_bytes().to_vec()),
            name: self.name,
            kind: self.kind.into(),
            start_time_unix_nano: began,
            end_time_unix_nano: nanos(SystemTime::now()).max(began),
            attributes: self.attributes,
            status: failed,
            flags: 1,
        }
    }
}

/// Returns whether a collector gets the spans of this thread.
pub(super) fn are_on() -> bool {
    tracing::dispatcher::get_default(Dispatch::is::<Traces>)
}

/// Makes a span part of a trace: below the span that `remote`, a `traceparent`, names, else below the nearest span around
/// it, else as the first of a new trace. Does nothing if traces are off.
pub(super) fn start(
    span: &Span,
    remote: Option<&str>,
    kind: Kind,
    name: impl FnOnce() -> String,
    attributes: impl FnOnce() -> Vec<Attribute>,
) {
    with(span, |traces, span| {
        let parent = remote.and_then(TraceContext::parse);
        let parent = parent.or_else(|| nearest(&span, |open| open.context));
        let open = traces.open(parent, name(), kind, attributes());
        span.extensions_mut().replace(open);
    });
}

/// Returns whether a span is named for the first time: a record that is held is handled many times.
pub(super) fn is_first(span: &Span) -> bool {
    let first = span.with_subscriber(|(id, dispatch)| {
        let span = dispatch.downcast_ref::<Registry>()?.span(id)?;
        Some(span.extensions_mut().replace(Named).is_none())
    });
    first.flatten().unwrap_or(false)
}

/// Adds attributes to the part that the nearest span has in its trace.
pub(super) fn add(span: &Span, attributes: impl FnOnce() -> Vec<Attribute>) {
    with(span, |_, span| {
        nearest(&span, |open| open.attributes.extend(attributes()));
    });
}

/// Marks the nearest span as failed. `error`: from a closed set.
pub(super) fn fail(span: &Span, error: &str) {
    with(span, |_, span| {
        nearest(&span, |open| {
            open.attributes.push(Attribute::new("error.type", error));
            open.failure = Some(error.to_owned());
        });
    });
}

/// Returns the `traceparent` of the nearest span.
pub(super) fn traceparent(span: &Span) -> Option<String> {
    let context = with(span, |_, span| nearest(&span, |open| open.context));
    context.flatten().map(TraceContext::traceparent)
}

/// Returns the trace id of a `traceparent`.
pub(super) fn trace_id(traceparent: &str) -> Option<&str> {
    TraceContext::parse(traceparent)?;
    traceparent.split('-').nth(1)
}

fn with<T>(span: &Span, f: impl FnOnce(&Traces, SpanRef<'_, Registry>) -> T) -> Option<T> {
    let found = span.with_subscriber(|(id, dispatch)| {
        let traces = dispatch.downcast_ref::<Traces>()?;
        let span = dispatch.downcast_ref::<Registry>()?.span(id)?;
        Some(f(traces, span))
    });
    found.flatten()
}

/// Calls `f` with the nearest span that is part of a trace: `span` itself, or one around it.
fn nearest<T>(span: &SpanRef<'_, Registry>, f: impl FnOnce(&mut OpenSpan) -> T) -> Option<T> {
    let mut f = Some(f);
    span.scope().find_map(|span| {
        let mut extensions = span.extensions_mut();
        let open = extensions.get_mut::<OpenSpan>()?;
        f.take().map(|f| f(open))
    })
}
