//! What a metric is, and the recorder of all metrics. The [`catalogue`] lists them; only `events` changes their values.

mod catalogue;

use metrics::{IntoF64, KeyName, Label, Recorder as _};
use metrics_exporter_prometheus::{BuildError, Matcher, PrometheusBuilder, PrometheusRecorder};

pub(super) use self::catalogue::*;
use super::foreign;

/// One metric.
#[derive(Clone, Copy, Debug)]
pub(super) struct Metric {
    pub(super) name: &'static str,
    pub(super) kind: MetricKind,
    /// Names of its labels; every series has all of them.
    pub(super) labels: &'static [&'static str],
    /// For operators.
    pub(super) help: &'static str,
}

/// The type of a metric.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum MetricKind {
    Counter,
    Gauge,
    /// With the upper bounds of its buckets.
    Histogram(&'static [f64]),
}

impl Metric {
    const fn help(self, help: &'static str) -> Self {
        Self { help, ..self }
    }

    /// Adds to a counter. `values` are those of the labels, in the order of the catalogue, as in all methods here.
    pub(super) fn add(&self, count: u64, values: &[&str]) {
        metrics::counter!(self.name, self.series(values)).increment(count);
    }

    /// Sets a gauge.
    pub(super) fn set(&self, value: impl IntoF64, values: &[&str]) {
        metrics::gauge!(self.name, self.series(values)).set(value);
    }

    /// Raises a gauge, or lowers it if `by` is below zero.
    pub(super) fn change(&self, by: f64, values: &[&str]) {
        metrics::gauge!(self.name, self.series(values)).increment(by);
    }

    /// Adds a value to a histogram.
    pub(super) fn record(&self, value: impl IntoF64, values: &[&str]) {
        metrics::histogram!(self.name, self.series(values)).record(value);
    }

    fn series(&self, values: &[&str]) -> Vec<Label> {
        debug_assert_eq!(self.labels.len(), values.len(), "{}", self.name);
        let pairs = self.labels.iter().zip(values);
        pairs
            .map(|(name, value)| Label::new(*name, (*value).to_owned()))
            .collect()
    }
}

const fn metric(kind: MetricKind, name: &'static str, labels: &'static [&'static str]) -> Metric {
    Metric {
        name,
        kind,
        labels,
        help: "",
    }
}

const fn counter(name: &'static str, labels: &'static [&'static str]) -> Metric {
    metric(MetricKind::Counter, name, labels)
}

const fn gauge(name: &'static str, labels: &'static [&'static str]) -> Metric {
    metric(MetricKind::Gauge, name, labels)
}

const fn histogram(
    bounds: &'static [f64],
    name: &'static str,
    labels: &'static [&'static str],
) -> Metric {
    metric(MetricKind::Histogram(bounds), name, labels)
}

/// Builds a recorder with the help texts and buckets of the catalogue.
///
/// # Errors
/// If a histogram of the catalogue has no bounds.
pub(super) fn recorder() -> Result<PrometheusRecorder, BuildError> {
    let mut builder = foreign::buckets(PrometheusBuilder::new())?;
    for metric in CATALOGUE {
        if let MetricKind::Histogram(bounds) = metric.kind {
            let name = Matcher::Full(metric.name.to_owned());
            builder = builder.set_buckets_for_metric(name, bounds)?;
        }
    }
    let recorder = builder.build_recorder();
    for metric in CATALOGUE {
        let (name, help) = (KeyName::from(metric.name), metric.help.into());
        match metric.kind {
            MetricKind::Counter => recorder.describe_counter(name, None, help),
            MetricKind::Gauge => recorder.describe_gauge(name, None, help),
            MetricKind::Histogram(_) => recorder.describe_histogram(name, None, help),
        }
    }
    Ok(recorder)
}
