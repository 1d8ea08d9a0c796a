//! The catalogue of metrics: every name, kind, help text, label and bucket. Only `events` changes their values.
//!
//! A test compares it with what the events count and with what the dashboards in `grafana/` show. Labels are
//! closed sets or names from the configuration; never ids, addresses, offsets or error text.

use metrics::{IntoF64, KeyName, Label, Recorder as _};
use metrics_exporter_prometheus::{BuildError, Matcher, PrometheusBuilder, PrometheusRecorder};

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

/// Bounds for work that takes microseconds.
const TINY: &[f64] = &[
    0.000_01, 0.000_025, 0.000_05, 0.000_1, 0.000_25, 0.000_5, 0.001, 0.002_5, 0.01, 0.1,
];
/// Bounds for work that takes milliseconds in normal operation.
const FAST: &[f64] = &[
    0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0, 1800.0,
];
/// Bounds for calls over the internet: some answer at once, some generate an image first.
const CALL: &[f64] = &[
    0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0, 600.0,
];
/// Bounds for runs: images take seconds, videos minutes, a deadline may be days.
const RUN: &[f64] = &[
    1.0, 2.5, 5.0, 10.0, 20.0, 30.0, 60.0, 120.0, 300.0, 600.0, 1200.0, 1800.0, 3600.0, 7200.0,
    21_600.0, 86_400.0,
];
/// Bounds for the wait of a run: milliseconds in normal operation, hours in a backlog.
const WAIT: &[f64] = &[
    0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0, 1800.0, 3600.0, 21_600.0,
];
/// Bounds for notifications: the first attempt takes milliseconds, the last one comes days later.
const NOTIFICATION: &[f64] = &[
    0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 15.0, 60.0, 300.0, 1800.0, 7200.0, 21_600.0, 86_400.0,
    259_200.0,
];
/// Bounds for the price of one generation.
const DOLLARS: &[f64] = &[
    0.001, 0.005, 0.01, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0,
];

pub(super) const REQUESTS: Metric = counter("genflow_requests_total", &["outcome", "kind"])
    .help("Requests consumed from Kafka, by kind and outcome: started or duplicate.");
pub(super) const DECODE_SECONDS: Metric =
    histogram(TINY, "genflow_decode_seconds", &[]).help("Time to decode and validate a request.");
pub(super) const START_SECONDS: Metric = histogram(FAST, "genflow_start_seconds", &[])
    .help("Time that Temporal takes to start a workflow.");
pub(super) const COMMANDS: Metric = counter("genflow_commands_total", &["action", "outcome"])
    .help("Commands consumed from Kafka, by action and outcome.");
pub(super) const RECORDS_REJECTED: Metric =
    counter("genflow_records_rejected_total", &["topic", "reason"])
        .help("Records dead-lettered, by the topic they came from and the reason.");
pub(super) const RECORDS_TRUNCATED: Metric = counter("genflow_records_truncated_total", &["topic"])
    .help(
        "Records dead-lettered without their value, because it was too large even for the \
dead-letter topic.",
    );
pub(super) const RECORDS_RETRIED: Metric =
    counter("genflow_records_retried_total", &["topic", "cause"]).help(
        "Failed attempts to handle a record that are retried after a pause, by topic and cause.",
    );
pub(super) const RECORD_SECONDS: Metric = histogram(FAST, "genflow_record_seconds", &["topic"])
    .help("Time from the first attempt to handle a record to its completion, pauses included.");
pub(super) const RECORDS_IN_FLIGHT: Metric =
    gauge("genflow_records_in_flight", &["topic"]).help("Records consumed and not yet done.");
pub(super) const CONSUMER_LAG: Metric =
    gauge("genflow_consumer_lag_records", &["topic", "partition"])
        .help("Records not yet committed, by partition.");
pub(super) const OLDEST_UNFINISHED: Metric =
    gauge("genflow_oldest_unfinished_record_seconds", &["topic"])
        .help("Age of the oldest record that was consumed and is not yet done; 0 if all are done.");
pub(super) const CONSUMER_PAUSED: Metric = gauge("genflow_consumer_paused", &["topic", "cause"])
    .help("1 while the partitions of a topic are paused, by cause; else 0.");
pub(super) const REBALANCES: Metric = counter("genflow_rebalances_total", &["topic"])
    .help("Rebalances: changes of the partitions that this process consumes.");
pub(super) const EVENTS_PUBLISHED: Metric = counter("genflow_events_published_total", &["type"])
    .help("Lifecycle events acknowledged by Kafka, repeats included.");
pub(super) const PROVIDER_CALL_SECONDS: Metric = histogram(
    CALL,
    "genflow_provider_call_seconds",
    &["provider", "step", "outcome"],
)
.help("Duration of a call to a provider's API, by step and outcome: ok, or why it failed.");
pub(super) const PROVIDER_UNKNOWN_STATES: Metric =
    counter("genflow_provider_unknown_states_total", &["provider"])
        .help("Times a job entered a state that this version does not know.");
pub(super) const FALLBACKS: Metric = counter("genflow_fallbacks_total", &["provider", "code"])
    .help("Runs that a provider declined so that they fell back to another model, by error code.");
pub(super) const CALLBACKS: Metric =
    counter("genflow_callbacks_total", &["provider", "outcome"]).help(
        "Callbacks of providers by outcome: woken (polled on this worker), signalled (polled on another), ended (no \
open run), repeated, or refused as forged, stale, malformed, unread or failed.",
    );
pub(super) const CALLBACKS_MISSED: Metric =
    counter("genflow_callbacks_missed_total", &["provider"])
        .help("Jobs that a poll found ended although their provider should have called back.");
pub(super) const PROVIDER_COST: Metric =
    histogram(DOLLARS, "genflow_provider_cost_usd", &["provider", "model", "source"]).help(
        "Cost of a generation in US dollars, by source: PROVIDER (reported), METERED (reported quantities at \
genflow's prices) or ESTIMATE; the sum is the money spent. Models that genflow does not know are \"other\".",
    );
pub(super) const BUDGET_RESERVATIONS: Metric =
    counter("genflow_budget_reservations_total", &["budget", "outcome"]).help(
        "Requests for a reservation on a budget, by budget (user or all) and outcome: granted, \
refused, full or unanswered.",
    );
pub(super) const RUN_SECONDS: Metric = histogram(RUN, "genflow_run_seconds", &["kind", "outcome"])
    .help("Time from the start of a run to its outcome.");
pub(super) const RUNS_FAILED: Metric = counter("genflow_runs_failed_total", &["kind", "code"])
    .help("Runs whose outcome is FAILED, by error code.");
pub(super) const RUN_WAIT_SECONDS: Metric = histogram(WAIT, "genflow_run_wait_seconds", &["kind"])
    .help(
        "Time from the start of a run to the first submit of its job: waiting for a worker, \
and for its turn at the provider.",
    );
pub(super) const RUN_WORK_SECONDS: Metric =
    histogram(RUN, "genflow_run_work_seconds", &["kind", "outcome"]).help(
        "Time from the first submit of a job that the provider accepted to the outcome of \
its run.",
    );
pub(super) const RUNS_SWEPT: Metric = counter("genflow_runs_swept_total", &["cause"]).help(
    "Workflows closed from outside, for which genflow started another workflow to settle \
them, by cause.",
);
pub(super) const SWEEP_TIME: Metric =
    gauge("genflow_last_whole_sweep_timestamp_seconds", &["sweep"]).help(
        "Time of this process's last sweep that settled all workflows closed from outside; \
until then, the process start.",
    );
pub(super) const STORED_BYTES: Metric =
    counter("genflow_stored_bytes_total", &[]).help("Bytes of outputs stored.");
pub(super) const STORE_FAILURES: Metric =
    counter("genflow_store_failures_total", &["place", "cause"])
        .help("Failed operations on the store or the temp folder, by place and cause.");
pub(super) const SLOTS_USED: Metric = gauge("genflow_worker_slots_used", &["queue"])
    .help("Activities that a worker is running, by task queue: main, fetch, submit or notify.");
pub(super) const PROCESS_MEMORY: Metric = gauge("genflow_worker_process_memory_bytes", &[])
    .help("Resident memory of a worker's process.");
pub(super) const MEASURED_MEMORY: Metric = gauge("genflow_worker_measured_memory_bytes", &[]).help(
    "Memory in use by a worker's container, or by its machine; compared with \
MEMORY_LIMIT_BYTES.",
);
pub(super) const TEMP_FOLDERS_SWEPT: Metric = counter("genflow_temp_folders_swept_total", &[])
    .help("Temp folders that a crash left behind, removed at start.");
pub(super) const NOTIFICATION_SECONDS: Metric = histogram(
    NOTIFICATION,
    "genflow_notification_seconds",
    &["channel", "outcome"],
)
.help("Time from an event to the end of its notification, by channel and outcome.");
pub(super) const NOTIFICATION_RETRIES: Metric =
    counter("genflow_notification_retries_total", &["channel"]).help(
        "Steps of delivery workflows that did not deliver and are retried after a pause, by \
channel.",
    );
pub(super) const NOTIFICATION_TRY_SECONDS: Metric = histogram(
    CALL,
    "genflow_notification_try_seconds",
    &["channel", "outcome"],
)
.help("Duration of one attempt to deliver a notification, by channel and outcome.");
pub(super) const NOTIFICATION_TRIES_IN_FLIGHT: Metric =
    gauge("genflow_notification_tries_in_flight", &[]).help("Delivery attempts in flight.");
pub(super) const NOTIFICATIONS_HANDED_OVER: Metric = counter(
    "genflow_notifications_handed_over_total",
    &["channel", "why"],
)
.help("Notifications handed over to a workflow, by channel and reason.");
pub(super) const NOTIFICATIONS_LOST: Metric = counter("genflow_notifications_lost_total", &[])
    .help("Deliveries that were closed from outside and cannot be read: they get no receipt.");
pub(super) const NOTIFICATION_CIRCUITS_OPEN: Metric =
    gauge("genflow_notification_circuits_open", &[]).help(
        "Open circuits: endpoints and targets that get no attempts for a while, because \
earlier ones failed.",
    );
pub(super) const OPS_MESSAGES: Metric =
    counter("genflow_ops_messages_total", &["channel", "outcome"])
        .help("Messages to the operators about failures, by channel and outcome.");
pub(super) const CALLS_REFUSED: Metric =
    counter("genflow_calls_refused_total", &["caller", "reason"])
        .help("Outbound calls refused by the address (SSRF) rules, by caller and reason.");
pub(super) const READY: Metric =
    gauge("genflow_ready", &["role"]).help("1 while a role is ready, else 0.");

/// Every metric there is.
pub(super) const CATALOGUE: &[Metric] = &[
    REQUESTS,
    DECODE_SECONDS,
    START_SECONDS,
    COMMANDS,
    RECORDS_REJECTED,
    RECORDS_TRUNCATED,
    RECORDS_RETRIED,
    RECORD_SECONDS,
    RECORDS_IN_FLIGHT,
    CONSUMER_LAG,
    OLDEST_UNFINISHED,
    CONSUMER_PAUSED,
    REBALANCES,
    EVENTS_PUBLISHED,
    PROVIDER_CALL_SECONDS,
    PROVIDER_UNKNOWN_STATES,
    FALLBACKS,
    CALLBACKS,
    CALLBACKS_MISSED,
    PROVIDER_COST,
    BUDGET_RESERVATIONS,
    RUN_SECONDS,
    RUNS_FAILED,
    RUN_WAIT_SECONDS,
    RUN_WORK_SECONDS,
    RUNS_SWEPT,
    SWEEP_TIME,
    STORED_BYTES,
    STORE_FAILURES,
    SLOTS_USED,
    PROCESS_MEMORY,
    MEASURED_MEMORY,
    TEMP_FOLDERS_SWEPT,
    NOTIFICATION_SECONDS,
    NOTIFICATION_RETRIES,
    NOTIFICATION_TRY_SECONDS,
    NOTIFICATION_TRIES_IN_FLIGHT,
    NOTIFICATIONS_HANDED_OVER,
    NOTIFICATIONS_LOST,
    NOTIFICATION_CIRCUITS_OPEN,
    OPS_MESSAGES,
    CALLS_REFUSED,
    READY,
];

/// Builds a recorder with the help texts and buckets of the catalogue.
///
/// # Errors
/// If a histogram of the catalogue has no bounds.
pub(super) fn recorder() -> Result<PrometheusRecorder, BuildError> {
    let mut builder = PrometheusBuilder::new();
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
