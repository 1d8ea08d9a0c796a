//! Puts the metrics of Temporal's SDK on this process's page of metrics, and creates the SDK's runtime with them.
//!
//! The SDK's own exporter has a page of its own, on another port. Names are those of Temporal's other SDKs:
//! `temporal_…`, `_total` for counters, and `_seconds` for times.

use std::error::Error;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, anyhow};
use temporalio_common::telemetry::metrics::{
    CoreMeter, Counter, CounterBase, Gauge, GaugeBase, GaugeF64, GaugeF64Base, Histogram,
    HistogramBase, HistogramDuration, HistogramDurationBase, HistogramF64, HistogramF64Base,
    MetricAttributable, MetricAttributes, MetricParameters, NewAttributes, OrderedPromLabelSet,
    TemporalMeter, UpDownCounter, UpDownCounterBase,
};
use temporalio_common::telemetry::{TaskQueueLabelStrategy, TelemetryOptions};
use temporalio_sdk::Runtime;
use temporalio_sdk::runtime::RuntimeOptions;

use crate::engines::telemetry::foreign;
use crate::engines::telemetry::foreign::{Instrument, Kind};

/// Creates the runtime of this process's SDK workers.
pub(crate) fn runtime() -> anyhow::Result<Runtime> {
    let telemetry = TelemetryOptions::builder()
        .metrics(Arc::new(Meter) as Arc<dyn CoreMeter>)
        // Prometheus knows the job, and `foreign` sets the prefix of all names.
        .attach_service_name(false)
        .metric_prefix(String::new())
        .build();
    let options = RuntimeOptions::builder()
        .telemetry_options(telemetry)
        .build()
        .map_err(|why| anyhow!(why));
    let created = options.and_then(|options| Ok(Runtime::from_current_tokio(options)?));
    created.context("cannot create the Temporal runtime")
}

/// Returns the meter of a client's calls.
pub(crate) fn of_calls() -> TemporalMeter {
    let labels = NewAttributes::default();
    TemporalMeter::new(Arc::new(Meter), labels, TaskQueueLabelStrategy::UseNormal)
}

/// Gives the SDK its instruments.
#[derive(Debug)]
struct Meter;

impl CoreMeter for Meter {
    fn new_attributes(&self, attributes: NewAttributes) -> MetricAttributes {
        MetricAttributes::Prometheus {
            labels: Arc::new(attributes.into()),
        }
    }

    fn extend_attributes(
        &self,
        existing: MetricAttributes,
        attributes: NewAttributes,
    ) -> MetricAttributes {
        let mut labels = labels_of(&existing).cloned().unwrap_or_default();
        for pair in attributes.attributes {
            labels.add_kv(pair);
        }
        MetricAttributes::Prometheus {
            labels: Arc::new(labels),
        }
    }

    fn counter(&self, params: MetricParameters) -> Counter {
        Counter::new(instrument(Kind::Counter, &params))
    }

    fn histogram(&self, params: MetricParameters) -> Histogram {
        Histogram::new(instrument(Kind::Histogram, &params))
    }

    fn histogram_f64(&self, params: MetricParameters) -> HistogramF64 {
        HistogramF64::new(instrument(Kind::Histogram, &params))
    }

    fn histogram_duration(&self, params: MetricParameters) -> HistogramDuration {
        HistogramDuration::new(instrument(Kind::Seconds, &params))
    }

    fn gauge(&self, params: MetricParameters) -> Gauge {
        Gauge::new(instrument(Kind::Gauge, &params))
    }

    fn gauge_f64(&self, params: MetricParameters) -> GaugeF64 {
        GaugeF64::new(instrument(Kind::Gauge, &params))
    }

    fn up_down_counter(&self, params: MetricParameters) -> UpDownCounter {
        UpDownCounter::new(instrument(Kind::Gauge, &params))
    }
}

fn instrument(kind: Kind, params: &MetricParameters) -> Arc<Instrument> {
    Arc::new(Instrument::new(kind, &params.name, &params.description))
}

/// Returns the labels that this meter has made.
fn labels_of(attributes: &MetricAttributes) -> Option<&OrderedPromLabelSet> {
    if let MetricAttributes::Prometheus { labels } = attributes {
        Some(labels)
    } else {
        None
    }
}

fn pairs(attributes: &MetricAttributes) -> Vec<(String, String)> {
    let Some(labels) = labels_of(attributes) else {
        return Vec::new();
    };
    let values = labels.as_prom_labels();
    let names = labels.keys_ordered();
    names
        .filter_map(|name| Some((name.to_owned(), values.get(name)?.clone())))
        .collect()
}

type Bound<T> = Result<Box<T>, Box<dyn Error>>;

impl MetricAttributable<Box<dyn CounterBase>> for Instrument {
    fn with_attributes(&self, attributes: &MetricAttributes) -> Bound<dyn CounterBase> {
        Ok(Box::new(self.counter(&pairs(attributes))))
    }
}

impl MetricAttributable<Box<dyn GaugeBase>> for Instrument {
    fn with_attributes(&self, attributes: &MetricAttributes) -> Bound<dyn GaugeBase> {
        Ok(Box::new(self.gauge(&pairs(attributes))))
    }
}

impl MetricAttributable<Box<dyn GaugeF64Base>> for Instrument {
    fn with_attributes(&self, attributes: &MetricAttributes) -> Bound<dyn GaugeF64Base> {
        Ok(Box::new(self.gauge(&pairs(attributes))))
    }
}

impl MetricAttributable<Box<dyn UpDownCounterBase>> for Instrument {
    fn with_attributes(&self, attributes: &MetricAttributes) -> Bound<dyn UpDownCounterBase> {
        Ok(Box::new(self.gauge(&pairs(attributes))))
    }
}

impl MetricAttributable<Box<dyn HistogramBase>> for Instrument {
    fn with_attributes(&self, attributes: &MetricAttributes) -> Bound<dyn HistogramBase> {
        Ok(Box::new(self.histogram(&pairs(attributes))))
    }
}

impl MetricAttributable<Box<dyn HistogramF64Base>> for Instrument {
    fn with_attributes(&self, attributes: &MetricAttributes) -> Bound<dyn HistogramF64Base> {
        Ok(Box::new(self.histogram(&pairs(attributes))))
    }
}

impl MetricAttributable<Box<dyn HistogramDurationBase>> for Instrument {
    fn with_attributes(&self, attributes: &MetricAttributes) -> Bound<dyn HistogramDurationBase> {
        Ok(Box::new(self.histogram(&pairs(attributes))))
    }
}

impl CounterBase for foreign::Counter {
    fn adds(&self, value: u64) {
        self.add(value);
    }
}

impl GaugeBase for foreign::Gauge {
    fn records(&self, value: u64) {
        self.set(value as f64);
    }
}

impl GaugeF64Base for foreign::Gauge {
    fn records(&self, value: f64) {
        self.set(value);
    }
}

impl UpDownCounterBase for foreign::Gauge {
    fn adds(&self, value: i64) {
        self.change(value as f64);
    }
}

impl HistogramBase for foreign::Histogram {
    fn records(&self, value: u64) {
        self.record(value as f64);
    }
}

impl HistogramF64Base for foreign::Histogram {
    fn records(&self, value: f64) {
        self.record(value);
    }
}

impl HistogramDurationBase for foreign::Histogram {
    fn records(&self, value: Duration) {
        self.record(value.as_secs_f64());
    }
}
