//! The catalogue of metrics: every name, kind, help text, label and bucket.
//!
//! A test compares it with what the events count and with what the dashboards in `grafana/` show. Labels are
//! closed sets or names from the configuration; never ids, addresses, offsets or error text.

use super::{Metric, counter, gauge, histogram};

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

/// One bound: only the sum is of interest.
const TOTAL: &[f64] = &[1.0];

pub(in super::super) const REQUESTS: Metric =
    counter("genflow_requests_total", &["outcome", "kind"])
        .help("Requests consumed from Kafka, by kind and outcome: started or duplicate.");
pub(in super::super) const DECODE_SECONDS: Metric =
    histogram(TINY, "genflow_decode_seconds", &[]).help("Time to decode and validate a request.");
pub(in super::super) const START_SECONDS: Metric = histogram(FAST, "genflow_start_seconds", &[])
    .help("Time that Temporal takes to start a workflow.");
pub(in super::super) const COMMANDS: Metric =
    counter("genflow_commands_total", &["action", "outcome"])
        .help("Commands consumed from Kafka, by action and outcome.");
pub(in super::super) const RECORDS_REJECTED: Metric =
    counter("genflow_records_rejected_total", &["topic", "reason"])
        .help("Records dead-lettered, by the topic they came from and the reason.");
pub(in super::super) const RECORDS_TRUNCATED: Metric =
    counter("genflow_records_truncated_total", &["topic"]).help(
        "Records dead-lettered without their value, because it was too large even for the \
dead-letter topic.",
    );
pub(in super::super) const RECORDS_RETRIED: Metric =
    counter("genflow_records_retried_total", &["topic", "cause"]).help(
        "Failed attempts to handle a record that are retried after a pause, by topic and cause.",
    );
pub(in super::super) const RECORD_SECONDS: Metric =
    histogram(FAST, "genflow_record_seconds", &["topic"])
        .help("Time from the first attempt to handle a record to its completion, pauses included.");
pub(in super::super) const RECORDS_IN_FLIGHT: Metric =
    gauge("genflow_records_in_flight", &["topic"]).help("Records consumed and not yet done.");
pub(in super::super) const CONSUMER_LAG: Metric =
    gauge("genflow_consumer_lag_records", &["topic", "partition"])
        .help("Records not yet committed, by partition.");
pub(in super::super) const OLDEST_UNFINISHED: Metric =
    gauge("genflow_oldest_unfinished_record_seconds", &["topic"])
        .help("Age of the oldest record that was consumed and is not yet done; 0 if all are done.");
pub(in super::super) const CONSUMER_PAUSED: Metric =
    gauge("genflow_consumer_paused", &["topic", "cause"])
        .help("1 while the partitions of a topic are paused, by cause; else 0.");
pub(in super::super) const REBALANCES: Metric = counter("genflow_rebalances_total", &["topic"])
    .help("Rebalances: changes of the partitions that this process consumes.");
pub(in super::super) const EVENTS_PUBLISHED: Metric =
    counter("genflow_events_published_total", &["type"])
        .help("Lifecycle events acknowledged by Kafka, repeats included.");
pub(in super::super) const PROVIDER_CALL_SECONDS: Metric = histogram(
    CALL,
    "genflow_provider_call_seconds",
    &["provider", "step", "outcome"],
)
.help(
    "Duration of a call to a provider's API, by step and outcome: ok, or why it failed. A submit with the outcome unknown \
is ambiguous: the provider may have accepted it.",
);
pub(in super::super) const PROVIDER_UNKNOWN_STATES: Metric =
    counter("genflow_provider_unknown_states_total", &["provider"])
        .help("Times a job entered a state that this version does not know.");
pub(in super::super) const FALLBACKS: Metric =
    counter("genflow_fallbacks_total", &["provider", "code"]).help(
        "Runs that a provider declined so that they fell back to another model, by error code.",
    );
pub(in super::super) const CALLBACKS: Metric =
    counter("genflow_callbacks_total", &["provider", "outcome"]).help(
        "Callbacks of providers by outcome: woken (polled on this worker), signalled (polled on another), ended (no \
open run), repeated, or refused as forged, stale, malformed, unread or failed.",
    );
pub(in super::super) const CALLBACKS_MISSED: Metric =
    counter("genflow_callbacks_missed_total", &["provider"])
        .help("Jobs that a poll found ended although their provider should have called back.");
pub(in super::super) const PROVIDER_COST: Metric =
    histogram(DOLLARS, "genflow_provider_cost_usd", &["provider", "model", "source"]).help(
        "Cost of a generation in US dollars, by source: PROVIDER (reported), METERED (reported quantities at \
genflow's prices) or ESTIMATE; the sum is the money spent. Models that genflow does not know are \"other\".",
    );
pub(in super::super) const BUDGET_RESERVATIONS: Metric =
    counter("genflow_budget_reservations_total", &["budget", "outcome"]).help(
        "Requests for a reservation on a budget, by budget (user or all) and outcome: granted, \
refused, full, late or unanswered.",
    );
pub(in super::super) const RUN_SECONDS: Metric =
    histogram(RUN, "genflow_run_seconds", &["kind", "outcome"])
        .help("Time from the start of a run to its outcome.");
pub(in super::super) const RUNS_FAILED: Metric =
    counter("genflow_runs_failed_total", &["kind", "code"])
        .help("Runs whose outcome is FAILED, by error code.");
pub(in super::super) const RUN_WAIT_SECONDS: Metric =
    histogram(WAIT, "genflow_run_wait_seconds", &["kind"]).help(
        "Time from the start of a run to the first submit of its job: waiting for a worker, \
and for its turn at the provider.",
    );
pub(in super::super) const RUN_WORK_SECONDS: Metric =
    histogram(RUN, "genflow_run_work_seconds", &["kind", "outcome"]).help(
        "Time from the first submit of a job that the provider accepted to the outcome of \
its run.",
    );
pub(in super::super) const RUNS_SWEPT: Metric = counter("genflow_runs_swept_total", &["cause"])
    .help(
        "Workflows closed from outside, for which genflow started another workflow to settle \
them, by cause.",
    );
pub(in super::super) const SWEEP_TIME: Metric =
    gauge("genflow_last_whole_sweep_timestamp_seconds", &["sweep"]).help(
        "Time of this process's last sweep that settled all workflows closed from outside; \
until then, the process start.",
    );
pub(in super::super) const STORED_BYTES: Metric =
    counter("genflow_stored_bytes_total", &[]).help("Bytes of outputs stored.");
pub(in super::super) const STORE_FAILURES: Metric =
    counter("genflow_store_failures_total", &["place", "cause"])
        .help("Failed operations on the store or the temp folder, by place and cause.");
pub(in super::super) const SLOTS_USED: Metric = gauge("genflow_worker_slots_used", &["queue"])
    .help("Activities that a worker is running, by task queue: main, fetch, submit or notify.");
pub(in super::super) const PROCESS_MEMORY: Metric =
    gauge("genflow_worker_process_memory_bytes", &[])
        .help("Resident memory of a worker's process.");
pub(in super::super) const MEASURED_MEMORY: Metric =
    gauge("genflow_worker_measured_memory_bytes", &[]).help(
        "Memory in use by a worker's container, or by its machine; compared with \
MEMORY_LIMIT_BYTES.",
    );
pub(in super::super) const TEMP_FOLDERS_SWEPT: Metric =
    counter("genflow_temp_folders_swept_total", &[])
        .help("Temp folders that a crash left behind, removed at start.");
pub(in super::super) const NOTIFICATION_SECONDS: Metric = histogram(
    NOTIFICATION,
    "genflow_notification_seconds",
    &["channel", "outcome"],
)
.help("Time from an event to the end of its notification, by channel and outcome.");
pub(in super::super) const NOTIFICATION_RETRIES: Metric =
    counter("genflow_notification_retries_total", &["channel"]).help(
        "Steps of delivery workflows that did not deliver and are retried after a pause, by \
channel.",
    );
pub(in super::super) const NOTIFICATION_TRY_SECONDS: Metric = histogram(
    CALL,
    "genflow_notification_try_seconds",
    &["channel", "outcome"],
)
.help("Duration of one attempt to deliver a notification, by channel and outcome.");
pub(in super::super) const NOTIFICATION_TRIES_IN_FLIGHT: Metric =
    gauge("genflow_notification_tries_in_flight", &[]).help("Delivery attempts in flight.");
pub(in super::super) const NOTIFICATIONS_HANDED_OVER: Metric = counter(
    "genflow_notifications_handed_over_total",
    &["channel", "why"],
)
.help("Notifications handed over to a workflow, by channel and reason.");
pub(in super::super) const NOTIFICATIONS_LOST: Metric =
    counter("genflow_notifications_lost_total", &[])
        .help("Deliveries that were closed from outside and cannot be read: they get no receipt.");
pub(in super::super) const NOTIFICATION_CIRCUITS_OPEN: Metric =
    gauge("genflow_notification_circuits_open", &[]).help(
        "Open circuits: endpoints and targets that get no attempts for a while, because \
earlier ones failed.",
    );
pub(in super::super) const OPS_MESSAGES: Metric =
    counter("genflow_ops_messages_total", &["channel", "outcome"])
        .help("Messages to the operators about failures, by channel and outcome.");
pub(in super::super) const CALLS_REFUSED: Metric =
    counter("genflow_calls_refused_total", &["caller", "reason"])
        .help("Outbound calls refused by the address (SSRF) rules, by caller and reason.");
pub(in super::super) const READY: Metric =
    gauge("genflow_ready", &["role"]).help("1 while a role is ready, else 0.");

pub(in super::super) const REQUEST_START_DELAY: Metric =
    histogram(WAIT, "genflow_request_start_delay_seconds", &["kind"]).help(
        "Time from the production of a request's record, by its timestamp, to the start of its workflow.",
    );
pub(in super::super) const DEAD_LETTERS: Metric = gauge("genflow_dead_letters", &["topic"]).help(
    "Records on a dead-letter topic, redriven ones included until their retention ends. Every process of a role \
reports the same number.",
);
pub(in super::super) const RUNS_OPEN: Metric = gauge("genflow_runs_open", &["age"]).help(
    "Open runs, by the time since their start. Every worker reports the total: use max, not sum.",
);
pub(in super::super) const DELIVERIES_OPEN: Metric = gauge("genflow_deliveries_open", &["age"]).help(
    "Notifications that a delivery workflow has yet to deliver, by the age of the workflow. Every notifier reports the \
same number.",
);
pub(in super::super) const MONEY_AT_RISK: Metric =
    counter("genflow_money_at_risk_total", &["provider", "cause"]).help(
        "Times that money may be lost or paid twice, by cause: ambiguous (a run ended without knowing whether its job \
exists), resent (after an ambiguous submit), unused (a job that no run used was cancelled), not_cancelled (a job may still run), \
not_kept (the provider's answer), not_stored (the outputs).",
    );
pub(in super::super) const GENERATION_FAILURES: Metric =
    counter("genflow_generation_failures_total", &["provider", "code"]).help(
        "Submits and jobs that ended without a result, by provider and error code. A fallback may still complete the run.",
    );
pub(in super::super) const SPENT: Metric =
    histogram(TOTAL, "genflow_spent_usd", &["model", "priority"]).help(
        "Cost of a generation in US dollars, by model and the request's priority, the only class of users that genflow \
knows; the sum is the money spent.",
    );
pub(in super::super) const TEMP_BYTES: Metric = gauge("genflow_temp_bytes", &[])
    .help("Bytes that the files of a worker have reserved in its temp folder.");
pub(in super::super) const TEMP_LIMIT: Metric = gauge("genflow_temp_limit_bytes", &[])
    .help("Bytes that the files of a worker may have in its temp folder: TEMP_MAX_BYTES, or half of the free space.");
pub(in super::super) const BUILD_INFO: Metric =
    gauge("genflow_build_info", &["version"]).help("1, with the version of this process.");
pub(in super::super) const SPANS_LOST: Metric = counter("genflow_spans_lost_total", &["cause"])
    .help(
        "Spans that the collector does not have, by cause: queue_full (it is too slow), not_exported (it did not answer \
well), refused (it accepted the others of their export) or stopped (the process ends).",
    );
pub(in super::super) const KAFKA_BROKERS_UP: Metric =
    gauge("genflow_kafka_brokers_up", &["client"])
        .help("Brokers to which a Kafka client has a connection.");
pub(in super::super) const KAFKA_QUEUED: Metric =
    gauge("genflow_kafka_queued_records", &["client"])
        .help("Records that a Kafka client has not yet sent, or whose acknowledgement is missing.");
pub(in super::super) const KAFKA_ROUND_TRIP: Metric =
    gauge("genflow_kafka_round_trip_seconds", &["client"]).help(
        "99th percentile of the round-trip time in the last five seconds, of the slowest broker.",
    );
pub(in super::super) const KAFKA_THROTTLE: Metric = gauge("genflow_kafka_throttle_seconds", &["client"])
    .help("99th percentile of the throttle time in the last five seconds, of the broker that throttles most.");
pub(in super::super) const KAFKA_RECORDS: Metric =
    counter("genflow_kafka_records_total", &["client", "direction"])
        .help("Records that a Kafka client has sent or received.");
pub(in super::super) const KAFKA_BYTES: Metric =
    counter("genflow_kafka_bytes_total", &["client", "direction"])
        .help("Bytes that a Kafka client has sent or received.");
pub(in super::super) const KAFKA_ERRORS: Metric = counter("genflow_kafka_errors_total", &["client", "error"])
    .help("Failed requests of a Kafka client, by error: send, receive or timeout; and retry for those sent again.");

/// Every metric there is.
pub(in super::super) const CATALOGUE: &[Metric] = &[
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
    REQUEST_START_DELAY,
    DEAD_LETTERS,
    RUNS_OPEN,
    DELIVERIES_OPEN,
    MONEY_AT_RISK,
    GENERATION_FAILURES,
    SPENT,
    TEMP_BYTES,
    TEMP_LIMIT,
    BUILD_INFO,
    SPANS_LOST,
    KAFKA_BROKERS_UP,
    KAFKA_QUEUED,
    KAFKA_ROUND_TRIP,
    KAFKA_THROTTLE,
    KAFKA_RECORDS,
    KAFKA_BYTES,
    KAFKA_ERRORS,
];
