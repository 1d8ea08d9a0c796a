//! The catalogue of metrics: every name, kind, help text, label and bucket.
//!
//! A test compares it with what the events count and with what the dashboards in `grafana/` show. Labels are
//! closed sets or names from the configuration; never ids, addresses, offsets or error text.

use metrics::{KeyName, Recorder as _};
use metrics_exporter_prometheus::{BuildError, Matcher, PrometheusBuilder, PrometheusRecorder};

/// One metric.
#[derive(Clone, Copy, Debug)]
pub struct Metric {
    /// Its full name.
    pub name: &'static str,
    /// Its type.
    pub kind: MetricKind,
    /// Help text for operators.
    pub help: &'static str,
    /// Its labels; every series has all of them.
    pub labels: &'static [&'static str],
}

/// The type of a metric.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum MetricKind {
    /// Only rises.
    Counter,
    /// Rises and falls.
    Gauge,
    /// Counts values by size; these are the upper bounds of its buckets.
    Histogram(&'static [f64]),
}

use MetricKind::{Counter, Gauge, Histogram};

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

/// Requests consumed from Kafka, by kind and outcome: started or duplicate.
pub const REQUESTS: &str = "genflow_requests_total";
/// Time to decode and validate a request.
pub const DECODE_SECONDS: &str = "genflow_decode_seconds";
/// Time that Temporal takes to start a workflow.
pub const START_SECONDS: &str = "genflow_start_seconds";
/// Commands consumed from Kafka, by action and outcome.
pub const COMMANDS: &str = "genflow_commands_total";
/// Records parked on a dead-letter topic, by the topic they came from and the reason.
pub const RECORDS_REJECTED: &str = "genflow_records_rejected_total";
/// Records parked without their value, because it was too large even for the dead-letter topic.
pub const RECORDS_TRUNCATED: &str = "genflow_records_truncated_total";
/// Failed attempts to handle a record that are retried after a pause, by topic and cause.
pub const RECORDS_RETRIED: &str = "genflow_records_retried_total";
/// Time from consuming a record to completing it, pauses included.
pub const RECORD_SECONDS: &str = "genflow_record_seconds";
/// Records consumed and not yet done.
pub const RECORDS_IN_FLIGHT: &str = "genflow_records_in_flight";
/// Records not yet committed, by partition.
pub const CONSUMER_LAG: &str = "genflow_consumer_lag_records";
/// Age of the oldest record that was consumed and is not yet done; 0 if there is none.
pub const OLDEST_UNFINISHED: &str = "genflow_oldest_unfinished_record_seconds";
/// 1 while the partitions of a topic are paused, by cause; else 0.
pub const CONSUMER_PAUSED: &str = "genflow_consumer_paused";
/// Rebalances: changes of the partitions that this process consumes.
pub const REBALANCES: &str = "genflow_rebalances_total";
/// Lifecycle events acknowledged by Kafka, repeats included.
pub const EVENTS_PUBLISHED: &str = "genflow_events_published_total";
/// Duration of a call to a provider's API, by step and outcome: ok, or why it failed.
pub const PROVIDER_CALL_SECONDS: &str = "genflow_provider_call_seconds";
/// Times a job entered a state that this version does not know.
pub const PROVIDER_UNKNOWN_STATES: &str = "genflow_provider_unknown_states_total";
/// Price of a generation as the provider reports it, in US dollars; the sum is the money spent.
pub const PROVIDER_COST: &str = "genflow_provider_cost_usd";
/// Time from the start of a run to its outcome.
pub const RUN_SECONDS: &str = "genflow_run_seconds";
/// Runs whose outcome is FAILED, by error code.
pub const RUNS_FAILED: &str = "genflow_runs_failed_total";
/// Time from the start of a run to the first submit of its job: waiting for a worker, and for its turn at the provider.
pub const RUN_WAIT_SECONDS: &str = "genflow_run_wait_seconds";
/// Time from the first submit of a job that the provider accepted to the outcome of its run.
pub const RUN_WORK_SECONDS: &str = "genflow_run_work_seconds";
/// Workflows closed from outside, for which genflow started another workflow to settle them, by cause.
pub const RUNS_SWEPT: &str = "genflow_runs_swept_total";
/// Time of this process's last sweep that settled all workflows closed from outside; until then, the process start.
pub const SWEEP_TIME: &str = "genflow_last_whole_sweep_timestamp_seconds";
/// Bytes of outputs stored.
pub const STORED_BYTES: &str = "genflow_stored_bytes_total";
/// Failed operations on the store or the temp folder, by place and cause.
pub const STORE_FAILURES: &str = "genflow_store_failures_total";
/// Activities that a worker is running, by task queue: main, fetch, submit or notify.
pub const SLOTS_USED: &str = "genflow_worker_slots_used";
/// Resident memory of a worker's process.
pub const PROCESS_MEMORY: &str = "genflow_worker_process_memory_bytes";
/// Memory in use by a worker's container, or by its machine; compared with MEMORY_LIMIT_BYTES.
pub const MEASURED_MEMORY: &str = "genflow_worker_measured_memory_bytes";
/// Temp folders that a crash left behind, removed at start.
pub const TEMP_FOLDERS_SWEPT: &str = "genflow_temp_folders_swept_total";
/// Time from an event to the end of its notification, by channel and outcome.
pub const NOTIFICATION_SECONDS: &str = "genflow_notification_seconds";
/// Steps of delivery workflows that did not deliver and are retried after a pause, by channel.
pub const NOTIFICATION_RETRIES: &str = "genflow_notification_retries_total";
/// Duration of one attempt to deliver a notification, by channel and outcome.
pub const NOTIFICATION_TRY_SECONDS: &str = "genflow_notification_try_seconds";
/// Delivery attempts in flight.
pub const NOTIFICATION_TRIES_IN_FLIGHT: &str = "genflow_notification_tries_in_flight";
/// Notifications handed over to a workflow, by channel and reason.
pub const NOTIFICATIONS_HANDED_OVER: &str = "genflow_notifications_handed_over_total";
/// Deliveries that were closed from outside and cannot be read: they get no receipt.
pub const NOTIFICATIONS_LOST: &str = "genflow_notifications_lost_total";
/// Open circuits: endpoints and targets that get no attempts for a while, because earlier ones failed.
pub const NOTIFICATION_CIRCUITS_OPEN: &str = "genflow_notification_circuits_open";
/// Messages to the operators about failures, by channel and outcome.
pub const OPS_MESSAGES: &str = "genflow_ops_messages_total";
/// Outbound calls refused by the address (SSRF) rules, by caller and reason.
pub const CALLS_REFUSED: &str = "genflow_calls_refused_total";
/// 1 while a role is ready, else 0.
pub const READY: &str = "genflow_ready";

/// Every metric there is.
pub const CATALOGUE: &[Metric] = &[
    Metric {
        name: REQUESTS,
        kind: Counter,
        help: "Requests consumed from Kafka, by kind and outcome: started or duplicate.",
        labels: &["outcome", "kind"],
    },
    Metric {
        name: DECODE_SECONDS,
        kind: Histogram(TINY),
        help: "Time to decode and validate a request.",
        labels: &[],
    },
    Metric {
        name: START_SECONDS,
        kind: Histogram(FAST),
        help: "Time that Temporal takes to start a workflow.",
        labels: &[],
    },
    Metric {
        name: COMMANDS,
        kind: Counter,
        help: "Commands consumed from Kafka, by action and outcome.",
        labels: &["action", "outcome"],
    },
    Metric {
        name: RECORDS_REJECTED,
        kind: Counter,
        help: "Records parked on a dead-letter topic, by the topic they came from and the reason.",
        labels: &["topic", "reason"],
    },
    Metric {
        name: RECORDS_TRUNCATED,
        kind: Counter,
        help: "Records parked without their value, because it was too large even for the dead-letter topic.",
        labels: &["topic"],
    },
    Metric {
        name: RECORDS_RETRIED,
        kind: Counter,
        help: "Failed attempts to handle a record that are retried after a pause, by topic and cause.",
        labels: &["topic", "cause"],
    },
    Metric {
        name: RECORD_SECONDS,
        kind: Histogram(FAST),
        help: "Time from consuming a record to completing it, pauses included.",
        labels: &["topic"],
    },
    Metric {
        name: RECORDS_IN_FLIGHT,
        kind: Gauge,
        help: "Records consumed and not yet done.",
        labels: &["topic"],
    },
    Metric {
        name: CONSUMER_LAG,
        kind: Gauge,
        help: "Records not yet committed, by partition.",
        labels: &["topic", "partition"],
    },
    Metric {
        name: OLDEST_UNFINISHED,
        kind: Gauge,
        help: "Age of the oldest record that was consumed and is not yet done; 0 if there is none.",
        labels: &["topic"],
    },
    Metric {
        name: CONSUMER_PAUSED,
        kind: Gauge,
        help: "1 while the partitions of a topic are paused, by cause; else 0.",
        labels: &["topic", "cause"],
    },
    Metric {
        name: REBALANCES,
        kind: Counter,
        help: "Rebalances: changes of the partitions that this process consumes.",
        labels: &["topic"],
    },
    Metric {
        name: EVENTS_PUBLISHED,
        kind: Counter,
        help: "Lifecycle events acknowledged by Kafka, repeats included.",
        labels: &["type"],
    },
    Metric {
        name: PROVIDER_CALL_SECONDS,
        kind: Histogram(CALL),
        help: "Duration of a call to a provider's API, by step and outcome: ok, or why it failed.",
        labels: &["provider", "step", "outcome"],
    },
    Metric {
        name: PROVIDER_UNKNOWN_STATES,
        kind: Counter,
        help: "Times a job entered a state that this version does not know.",
        labels: &["provider"],
    },
    Metric {
        name: PROVIDER_COST,
        kind: Histogram(DOLLARS),
        help: "Price of a generation as the provider reports it, in US dollars; the sum is the money spent.",
        labels: &["provider"],
    },
    Metric {
        name: RUN_SECONDS,
        kind: Histogram(RUN),
        help: "Time from the start of a run to its outcome.",
        labels: &["kind", "outcome"],
    },
    Metric {
        name: RUNS_FAILED,
        kind: Counter,
        help: "Runs whose outcome is FAILED, by error code.",
        labels: &["kind", "code"],
    },
    Metric {
        name: RUN_WAIT_SECONDS,
        kind: Histogram(WAIT),
        help: "Time from the start of a run to the first submit of its job: waiting for a worker, and for its turn at the provider.",
        labels: &["kind"],
    },
    Metric {
        name: RUN_WORK_SECONDS,
        kind: Histogram(RUN),
        help: "Time from the first submit of a job that the provider accepted to the outcome of its run.",
        labels: &["kind", "outcome"],
    },
    Metric {
        name: RUNS_SWEPT,
        kind: Counter,
        help: "Workflows closed from outside, for which genflow started another workflow to settle them, by cause.",
        labels: &["cause"],
    },
    Metric {
        name: SWEEP_TIME,
        kind: Gauge,
        help: "Time of this process's last sweep that settled all workflows closed from outside; until then, the process start.",
        labels: &["sweep"],
    },
    Metric {
        name: STORED_BYTES,
        kind: Counter,
        help: "Bytes of outputs stored.",
        labels: &[],
    },
    Metric {
        name: STORE_FAILURES,
        kind: Counter,
        help: "Failed operations on the store or the temp folder, by place and cause.",
        labels: &["place", "cause"],
    },
    Metric {
        name: SLOTS_USED,
        kind: Gauge,
        help: "Activities that a worker is running, by task queue: main, fetch, submit or notify.",
        labels: &["queue"],
    },
    Metric {
        name: PROCESS_MEMORY,
        kind: Gauge,
        help: "Resident memory of a worker's process.",
        labels: &[],
    },
    Metric {
        name: MEASURED_MEMORY,
        kind: Gauge,
        help: "Memory in use by a worker's container, or by its machine; compared with MEMORY_LIMIT_BYTES.",
        labels: &[],
    },
    Metric {
        name: TEMP_FOLDERS_SWEPT,
        kind: Counter,
        help: "Temp folders that a crash left behind, removed at start.",
        labels: &[],
    },
    Metric {
        name: NOTIFICATION_SECONDS,
        kind: Histogram(NOTIFICATION),
        help: "Time from an event to the end of its notification, by channel and outcome.",
        labels: &["channel", "outcome"],
    },
    Metric {
        name: NOTIFICATION_RETRIES,
        kind: Counter,
        help: "Steps of delivery workflows that did not deliver and are retried after a pause, by channel.",
        labels: &["channel"],
    },
    Metric {
        name: NOTIFICATION_TRY_SECONDS,
        kind: Histogram(CALL),
        help: "Duration of one attempt to deliver a notification, by channel and outcome.",
        labels: &["channel", "outcome"],
    },
    Metric {
        name: NOTIFICATION_TRIES_IN_FLIGHT,
        kind: Gauge,
        help: "Delivery attempts in flight.",
        labels: &[],
    },
    Metric {
        name: NOTIFICATIONS_HANDED_OVER,
        kind: Counter,
        help: "Notifications handed over to a workflow, by channel and reason.",
        labels: &["channel", "why"],
    },
    Metric {
        name: NOTIFICATIONS_LOST,
        kind: Counter,
        help: "Deliveries that were closed from outside and cannot be read: they get no receipt.",
        labels: &[],
    },
    Metric {
        name: NOTIFICATION_CIRCUITS_OPEN,
        kind: Gauge,
        help: "Open circuits: endpoints and targets that get no attempts for a while, because earlier ones failed.",
        labels: &[],
    },
    Metric {
        name: OPS_MESSAGES,
        kind: Counter,
        help: "Messages to the operators about failures, by channel and outcome.",
        labels: &["channel", "outcome"],
    },
    Metric {
        name: CALLS_REFUSED,
        kind: Counter,
        help: "Outbound calls refused by the address (SSRF) rules, by caller and reason.",
        labels: &["caller", "reason"],
    },
    Metric {
        name: READY,
        kind: Gauge,
        help: "1 while a role is ready, else 0.",
        labels: &["role"],
    },
];

/// Builds a recorder with the help texts and buckets of the catalogue.
///
/// # Errors
/// If a histogram of the catalogue has no bounds.
pub(super) fn recorder() -> Result<PrometheusRecorder, BuildError> {
    let mut builder = PrometheusBuilder::new();
    for metric in CATALOGUE {
        if let Histogram(bounds) = metric.kind {
            let name = Matcher::Full(metric.name.to_owned());
            builder = builder.set_buckets_for_metric(name, bounds)?;
        }
    }
    let recorder = builder.build_recorder();
    for metric in CATALOGUE {
        let (name, help) = (KeyName::from(metric.name), metric.help.into());
        match metric.kind {
            Counter => recorder.describe_counter(name, None, help),
            Gauge => recorder.describe_gauge(name, None, help),
            Histogram(_) => recorder.describe_histogram(name, None, help),
        }
    }
    Ok(recorder)
}
