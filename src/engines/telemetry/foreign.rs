//! Metrics that a library names: those of Temporal's SDK, on the same page as ours.

use metrics::{Key, KeyName, Label, Unit};
use metrics_exporter_prometheus::{BuildError, Matcher, PrometheusBuilder};

/// What their names begin with.
pub(crate) const TEMPORAL: &str = "temporal_";

/// Bounds of their histograms, all of them in seconds.
const SECONDS: &[f64] = &[
    0.01, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 60.0, 600.0, 3600.0,
];

/// Sets the bounds of their histograms.
pub(super) fn buckets(builder: PrometheusBuilder) -> Result<PrometheusBuilder, BuildError> {
    builder.set_buckets_for_metric(Matcher::Prefix(TEMPORAL.to_owned()), SECONDS)
}

/// A metric of a library, without its labels.
#[derive(Clone, Debug)]
pub(crate) struct Instrument(KeyName);

/// A counter with its labels.
pub(crate) struct Counter(metrics::Counter);
/// A gauge with its labels.
pub(crate) struct Gauge(metrics::Gauge);
/// A histogram with its labels.
pub(crate) struct Histogram(metrics::Histogram);

/// The kind of an instrument.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Counter,
    Gauge,
    Histogram,
    /// A histogram of times.
    Seconds,
}

impl Instrument {
    /// Names an instrument as Prometheus recommends, and describes it.
    pub(crate) fn new(kind: Kind, name: &str, help: &str) -> Self {
        let suffix = match kind {
            Kind::Counter => "_total",
            Kind::Seconds => "_seconds",
            Kind::Gauge | Kind::Histogram => "",
        };
        let name = KeyName::from(format!("{TEMPORAL}{}{suffix}", name.replace('-', "_")));
        let help = help.to_owned().into();
        let described = name.clone();
        metrics::with_recorder(|recorder| match kind {
            Kind::Counter => recorder.describe_counter(described, None, help),
            Kind::Gauge => recorder.describe_gauge(described, None, help),
            Kind::Histogram => recorder.describe_histogram(described, None, help),
            Kind::Seconds => recorder.describe_histogram(described, Some(Unit::Seconds), help),
        });
        Self(name)
    }

    fn key(&self, labels: &[(String, String)]) -> Key {
        let labels = labels.iter();
        let labels = labels.map(|(name, value)| Label::new(name.clone(), value.clone()));
        Key::from_parts(self.0.clone(), labels.collect::<Vec<_>>())
    }

    pub(crate) fn counter(&self, labels: &[(String, String)]) -> Counter {
        let key = self.key(labels);
        Counter(metrics::with_recorder(|recorder| {
            recorder.register_counter(&key, &METADATA)
        }))
    }

    pub(crate) fn gauge(&self, labels: &[(String, String)]) -> Gauge {
        let key = self.key(labels);
        Gauge(metrics::with_recorder(|recorder| {
            recorder.register_gauge(&key, &METADATA)
        }))
    }

    pub(crate) fn histogram(&self, labels: &[(String, String)]) -> Histogram {
        let key = self.key(labels);
        Histogram(metrics::with_recorder(|recorder| {
            recorder.register_histogram(&key, &METADATA)
        }))
    }
}

static METADATA: metrics::Metadata<'static> =
    metrics::Metadata::new(module_path!(), metrics::Level::INFO, Some(module_path!()));

impl Counter {
    pub(crate) fn add(&self, count: u64) {
        self.0.increment(count);
    }
}

impl Gauge {
    pub(crate) fn set(&self, value: f64) {
        self.0.set(value);
    }

    pub(crate) fn change(&self, by: f64) {
        self.0.increment(by);
    }
}

impl Histogram {
    pub(crate) fn record(&self, value: f64) {
        self.0.record(value);
    }
}
