//! What Kafka and Temporal report from time to time, this process's version, and the spans it lost.

use std::time::Duration;

use super::catalogue;

/// The state of a Kafka client, and what it has done since its last report.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct KafkaClientReport {
    pub brokers_up: usize,
    /// Records that are not yet acknowledged.
    pub queued: u64,
    /// 99th percentile of the slowest broker.
    pub round_trip: Duration,
    /// 99th percentile of the strictest broker.
    pub throttle: Duration,
    pub done: KafkaTotals,
}

/// Counts of a Kafka client.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct KafkaTotals {
    pub sent: u64,
    pub received: u64,
    pub sent_bytes: u64,
    pub received_bytes: u64,
    pub send_errors: u64,
    pub receive_errors: u64,
    pub timeouts: u64,
    pub retries: u64,
}

/// A Kafka client of a role reported its statistics.
pub fn kafka_client_reported(client: &str, report: KafkaClientReport) {
    catalogue::KAFKA_BROKERS_UP.set(report.brokers_up as f64, &[client]);
    catalogue::KAFKA_QUEUED.set(report.queued as f64, &[client]);
    catalogue::KAFKA_ROUND_TRIP.set(report.round_trip, &[client]);
    catalogue::KAFKA_THROTTLE.set(report.throttle, &[client]);
    let done = report.done;
    catalogue::KAFKA_RECORDS.add(done.sent, &[client, "sent"]);
    catalogue::KAFKA_RECORDS.add(done.received, &[client, "received"]);
    catalogue::KAFKA_BYTES.add(done.sent_bytes, &[client, "sent"]);
    catalogue::KAFKA_BYTES.add(done.received_bytes, &[client, "received"]);
    catalogue::KAFKA_ERRORS.add(done.send_errors, &[client, "send"]);
    catalogue::KAFKA_ERRORS.add(done.receive_errors, &[client, "receive"]);
    catalogue::KAFKA_ERRORS.add(done.timeouts, &[client, "timeout"]);
    catalogue::KAFKA_ERRORS.add(done.retries, &[client, "retry"]);
}

/// Number of records on a dead-letter topic.
pub fn dead_letters(topic: &str, records: u64) {
    catalogue::DEAD_LETTERS.set(records as f64, &[topic]);
}

/// Number of runs that are not finished and have this age, a label.
pub fn runs_open(age: &'static str, runs: u64) {
    catalogue::RUNS_OPEN.set(runs as f64, &[age]);
}

/// Number of deliveries that a workflow has to make, of this age, a label.
pub fn deliveries_open(age: &'static str, deliveries: u64) {
    catalogue::DELIVERIES_OPEN.set(deliveries as f64, &[age]);
}

/// The version of this process.
pub fn version_reported(version: &str) {
    catalogue::BUILD_INFO.set(1.0, &[version]);
}

/// The collector will not have these spans. `cause`: `queue_full`, `not_exported`, `refused` or `stopped`. It logs nothing:
/// it is called where a span closes, and the exporter warns.
pub(in crate::engines::telemetry) fn spans_lost(cause: &'static str, spans: u64) {
    catalogue::SPANS_LOST.add(spans, &[cause]);
}
