//! The catalogue of metrics: every name, kind, help text, label and bucket.
//!
//! A test holds it equal to what the events count and to what the dashboards in `grafana/` show. Labels are closed
//! sets or names from the configuration; never ids, addresses, offsets or error text.

use metrics::{KeyName, Recorder as _};
use metrics_exporter_prometheus::{BuildError, Matcher, PrometheusBuilder, PrometheusRecorder};

/// One metric.
#[derive(Clone, Copy, Debug)]
pub struct Metric {
    /// Its full name.
    pub name: &'static str,
    /// How it counts.
    pub kind: MetricKind,
    /// What it tells, for people.
    pub help: &'static str,
    /// The labels it bears, always all of them.
    pub labels: &'static [&'static str],
}

/// How a metric counts.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum MetricKind {
    /// Only rises.
    Counter,
    /// Rises and falls.
    Gauge,
    /// Counts values by size, up to each of these bounds.
    Histogram(&'static [f64]),
}

use MetricKind::{Counter, Gauge, Histogram};

/// Bounds for work that takes microseconds.
const TINY: &[f64] = &[
    0.000_01, 0.000_025, 0.000_05, 0.000_1, 0.000_25, 0.000_5, 0.001, 0.002_5, 0.01, 0.1,
];
/// Bounds for work that takes milliseconds when all is well.
const FAST: &[f64] = &[
    0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0, 1800.0,
];
/// Bounds for calls over the internet: some answer at once, some make an image first.
const CALL: &[f64] = &[
    0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0, 600.0,
];
/// Bounds for runs: images take seconds, videos minutes, a deadline may be days.
const RUN: &[f64] = &[
    1.0, 2.5, 5.0, 10.0, 20.0, 30.0, 60.0, 120.0, 300.0, 600.0, 1200.0, 1800.0, 3600.0, 7200.0,
    21_600.0, 86_400.0,
];
/// Bounds for the wait of a run: milliseconds when all is well, hours behind a backlog.
const WAIT: &[f64] = &[
    0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0, 1800.0, 3600.0, 21_600.0,
];
/// Bounds for notifications: the first try takes milliseconds, the last is days later.
const NOTIFICATION: &[f64] = &[
    0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 15.0, 60.0, 300.0, 1800.0, 7200.0, 21_600.0, 86_400.0,
    259_200.0,
];
/// Bounds for the price of one generation.
const DOLLARS: &[f64] = &[
    0.001, 0.005, 0.01, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0,
];

/// Requests taken from Kafka, by what they ask for and what came of them: started or duplicate.
pub const REQUESTS: &str = "genflow_requests_total";
/// Time from the bytes of a request to its validated form.
pub const DECODE_SECONDS: &str = "genflow_decode_seconds";
/// Time that Temporal takes to start a workflow.
pub const START_SECONDS: &str = "genflow_start_seconds";
/// Commands taken from Kafka, by action and what came of them.
pub const COMMANDS: &str = "genflow_commands_total";
/// Records parked on a dead-letter topic, by the topic they came from.
pub const RECORDS_REJECTED: &str = "genflow_records_rejected_total";
/// Records parked without their value, because it was too large even for the dead-letter topic.
pub const RECORDS_TRUNCATED: &str = "genflow_records_truncated_total";
/// Tries at a record that ended in a pause before the next one.
pub const RECORDS_RETRIED: &str = "genflow_records_retried_total";
/// Time from taking a record to being done with it, pauses included.
pub const RECORD_SECONDS: &str = "genflow_record_seconds";
/// Records taken and not done yet.
pub const RECORDS_IN_FLIGHT: &str = "genflow_records_in_flight";
/// Records that are not committed yet, by partition.
pub const CONSUMER_LAG: &str = "genflow_consumer_lag_records";
/// Age of the oldest record that was taken and is not done; 0 when there is none.
pub const OLDEST_UNFINISHED: &str = "genflow_oldest_unfinished_record_seconds";
/// 1 while the partitions of a topic are paused, by why; else 0.
pub const CONSUMER_PAUSED: &str = "genflow_consumer_paused";
/// Changes of the partitions that this process consumes.
pub const REBALANCES: &str = "genflow_rebalances_total";
/// Lifecycle events acknowledged by Kafka, repeats included.
pub const EVENTS_PUBLISHED: &str = "genflow_events_published_total";
/// Time of a call to an outside API, by step and what came of it: ok, or why not.
pub const PROVIDER_CALL_SECONDS: &str = "genflow_provider_call_seconds";
/// Jobs in a state that this version does not know.
pub const PROVIDER_UNKNOWN_STATES: &str = "genflow_provider_unknown_states_total";
/// What a provider said that a generation costs, in US dollars; the sum is what was spent.
pub const PROVIDER_COST: &str = "genflow_provider_cost_usd";
/// Time from the start of a run to its outcome.
pub const RUN_SECONDS: &str = "genflow_run_seconds";
/// Runs whose outcome is FAILED, by the code of their error.
pub const RUNS_FAILED: &str = "genflow_runs_failed_total";
/// Time from the start of a run to the first send of its job: waiting for a worker, and for its turn at the provider.
pub const RUN_WAIT_SECONDS: &str = "genflow_run_wait_seconds";
/// Time from the first send of a job that was taken to the outcome of its run.
pub const RUN_WORK_SECONDS: &str = "genflow_run_work_seconds";
/// Runs that were closed from outside, and were given their outcome.
pub const RUNS_SWEPT: &str = "genflow_runs_swept_total";
/// When a sweep last left nothing open.
pub const SWEEP_TIME: &str = "genflow_last_whole_sweep_timestamp_seconds";
/// Bytes of outputs stored.
pub const STORED_BYTES: &str = "genflow_stored_bytes_total";
/// Tries at the store or the temp folder that failed, by where and why.
pub const STORE_FAILURES: &str = "genflow_store_failures_total";
/// Activities that a worker runs, by task queue: main, fetch, submit or notify.
pub const SLOTS_USED: &str = "genflow_worker_slots_used";
/// Resident memory of a worker's process.
pub const PROCESS_MEMORY: &str = "genflow_worker_process_memory_bytes";
/// Memory in use by a worker's container, or by its machine; what MEMORY_LIMIT_BYTES is held against.
pub const MEASURED_MEMORY: &str = "genflow_worker_measured_memory_bytes";
/// Temp folders that a crash left and a start removed.
pub const TEMP_FOLDERS_SWEPT: &str = "genflow_temp_folders_swept_total";
/// Time from an event to the end of a notification of it, by channel and what came of it.
pub const NOTIFICATION_SECONDS: &str = "genflow_notification_seconds";
/// Tries at a notification that ended in a pause before the next one.
pub const NOTIFICATION_RETRIES: &str = "genflow_notification_retries_total";
/// Time of one try at a notification, by channel and what came of it.
pub const NOTIFICATION_TRY_SECONDS: &str = "genflow_notification_try_seconds";
/// Tries at notifications under way.
pub const NOTIFICATION_TRIES_IN_FLIGHT: &str = "genflow_notification_tries_in_flight";
/// Notifications that became a workflow's to deliver, by why.
pub const NOTIFICATIONS_HANDED_OVER: &str = "genflow_notifications_handed_over_total";
/// Deliveries and digests that were closed from outside and cannot be read: nothing tells how they ended.
pub const NOTIFICATIONS_LOST: &str = "genflow_notifications_lost_total";
/// Endpoints and targets that are not asked for a while, because they did not answer.
pub const NOTIFICATION_CIRCUITS_OPEN: &str = "genflow_notification_circuits_open";
/// Messages to the operators about failures, by channel and what came of it.
pub const OPS_MESSAGES: &str = "genflow_ops_messages_total";
/// Addresses given by users or providers that were not called, by who would have and what is not allowed.
pub const CALLS_REFUSED: &str = "genflow_calls_refused_total";
/// 1 while a role is ready, else 0.
pub const READY: &str = "genflow_ready";

/// Every metric there is.
pub const CATALOGUE: &[Metric] = &[
    Metric {
        name: REQUESTS,
        kind: Counter,
        help: "Requests taken from Kafka, by what they ask for and what came of them: started or duplicate.",
        labels: &["outcome", "kind"],
    },
    Metric {
        name: DECODE_SECONDS,
        kind: Histogram(TINY),
        help: "Time from the bytes of a request to its validated form.",
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
        help: "Commands taken from Kafka, by action and what came of them.",
        labels: &["action", "outcome"],
    },
    Metric {
        name: RECORDS_REJECTED,
        kind: Counter,
        help: "Records parked on a dead-letter topic, by the topic they came from.",
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
        help: "Tries at a record that ended in a pause before the next one.",
        labels: &["topic", "cause"],
    },
    Metric {
        name: RECORD_SECONDS,
        kind: Histogram(FAST),
        help: "Time from taking a record to being done with it, pauses included.",
        labels: &["topic"],
    },
    Metric {
        name: RECORDS_IN_FLIGHT,
        kind: Gauge,
        help: "Records taken and not done yet.",
        labels: &["topic"],
    },
    Metric {
        name: CONSUMER_LAG,
        kind: Gauge,
        help: "Records that are not committed yet, by partition.",
        labels: &["topic", "partition"],
    },
    Metric {
        name: OLDEST_UNFINISHED,
        kind: Gauge,
        help: "Age of the oldest record that was taken and is not done; 0 when there is none.",
        labels: &["topic"],
    },
    Metric {
        name: CONSUMER_PAUSED,
        kind: Gauge,
        help: "1 while the partitions of a topic are paused, by why; else 0.",
        labels: &["topic", "cause"],
    },
    Metric {
        name: REBALANCES,
        kind: Counter,
        help: "Changes of the partitions that this process consumes.",
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
        help: "Time of a call to an outside API, by step and what came of it: ok, or why not.",
        labels: &["provider", "step", "outcome"],
    },
    Metric {
        name: PROVIDER_UNKNOWN_STATES,
        kind: Counter,
        help: "Jobs in a state that this version does not know.",
        labels: &["provider"],
    },
    Metric {
        name: PROVIDER_COST,
        kind: Histogram(DOLLARS),
        help: "What a provider said that a generation costs, in US dollars; the sum is what was spent.",
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
        help: "Runs whose outcome is FAILED, by the code of their error.",
        labels: &["kind", "code"],
    },
    Metric {
        name: RUN_WAIT_SECONDS,
        kind: Histogram(WAIT),
        help: "Time from the start of a run to the first send of its job: waiting for a worker, and for its turn at the provider.",
        labels: &["kind"],
    },
    Metric {
        name: RUN_WORK_SECONDS,
        kind: Histogram(RUN),
        help: "Time from the first send of a job that was taken to the outcome of its run.",
        labels: &["kind", "outcome"],
    },
    Metric {
        name: RUNS_SWEPT,
        kind: Counter,
        help: "Runs that were closed from outside, and were given their outcome.",
        labels: &["cause"],
    },
    Metric {
        name: SWEEP_TIME,
        kind: Gauge,
        help: "When this process last looked for workflows that were closed from outside, and settled all of them.",
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
        help: "Tries at the store or the temp folder that failed, by where and why.",
        labels: &["place", "cause"],
    },
    Metric {
        name: SLOTS_USED,
        kind: Gauge,
        help: "Activities that a worker runs, by task queue: main, fetch, submit or notify.",
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
        help: "Memory in use by a worker's container, or by its machine; what MEMORY_LIMIT_BYTES is held against.",
        labels: &[],
    },
    Metric {
        name: TEMP_FOLDERS_SWEPT,
        kind: Counter,
        help: "Temp folders that a crash left and a start removed.",
        labels: &[],
    },
    Metric {
        name: NOTIFICATION_SECONDS,
        kind: Histogram(NOTIFICATION),
        help: "Time from an event to the end of a notification of it, by channel and what came of it.",
        labels: &["channel", "outcome"],
    },
    Metric {
        name: NOTIFICATION_RETRIES,
        kind: Counter,
        help: "Tries at a notification that ended in a pause before the next one.",
        labels: &["channel"],
    },
    Metric {
        name: NOTIFICATION_TRY_SECONDS,
        kind: Histogram(CALL),
        help: "Time of one try at a notification, by channel and what came of it.",
        labels: &["channel", "outcome"],
    },
    Metric {
        name: NOTIFICATION_TRIES_IN_FLIGHT,
        kind: Gauge,
        help: "Tries at notifications under way.",
        labels: &[],
    },
    Metric {
        name: NOTIFICATIONS_HANDED_OVER,
        kind: Counter,
        help: "Notifications that became a workflow's to deliver, by why.",
        labels: &["channel", "why"],
    },
    Metric {
        name: NOTIFICATIONS_LOST,
        kind: Counter,
        help: "Deliveries and digests that were closed from outside and cannot be read: nothing tells how they ended.",
        labels: &[],
    },
    Metric {
        name: NOTIFICATION_CIRCUITS_OPEN,
        kind: Gauge,
        help: "Endpoints and targets that are not asked for a while, because they did not answer.",
        labels: &[],
    },
    Metric {
        name: OPS_MESSAGES,
        kind: Counter,
        help: "Messages to the operators about failures, by channel and what came of it.",
        labels: &["channel", "outcome"],
    },
    Metric {
        name: CALLS_REFUSED,
        kind: Counter,
        help: "Addresses given by users or providers that were not called, by who would have and what is not allowed.",
        labels: &["caller", "reason"],
    },
    Metric {
        name: READY,
        kind: Gauge,
        help: "1 while a role is ready, else 0.",
        labels: &["role"],
    },
];

/// Makes a recorder that knows the catalogue.
///
/// # Errors
/// When a histogram of the catalogue has no bounds.
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
