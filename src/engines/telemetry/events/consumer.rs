//! Events of the consumer: what happens to the records of a topic.

use std::error::Error;
use std::time::Duration;

use metrics::{counter, gauge, histogram};
use tracing::{debug, error, info, warn};

use super::{catalogue, worth_a_line};
use crate::domain::{ErrorCode, RecordPosition};

/// A record that can never succeed was parked on a dead-letter topic.
#[derive(Debug)]
pub struct RecordRejected<'a> {
    /// Position of the record.
    pub position: &'a RecordPosition,
    /// The reason in `dlq.reason`; a label.
    pub reason: ErrorCode,
    /// What is wrong.
    pub error: &'a (dyn Error + 'static),
}

/// A record was parked without its value, which is too large even for the dead-letter topic.
#[derive(Debug)]
pub struct RecordTruncated<'a> {
    /// Position of the complete record, which lasts for the retention of its topic.
    pub position: &'a RecordPosition,
}

/// The consumer met an error and continues; librdkafka retries by itself.
#[derive(Debug)]
pub struct ConsumerStumbled<'a> {
    /// The topic that it consumes.
    pub topic: &'a str,
    /// The error of librdkafka.
    pub error: &'a (dyn Error + 'static),
    /// Number of errors in a row.
    pub times: u32,
}

/// A record was not handled, and is held for another attempt.
#[derive(Debug)]
pub struct RecordHeld<'a> {
    /// Position of the record.
    pub position: &'a RecordPosition,
    /// Why it is retried, from a closed set; a label.
    pub cause: &'static str,
    /// Why it was not handled.
    pub error: &'a (dyn Error + 'static),
    /// Attempts so far, from 1.
    pub tries: u32,
}

/// A record is done: handled, a duplicate, or parked.
#[derive(Debug)]
pub struct RecordHandled<'a> {
    /// Topic of the record; a label.
    pub topic: &'a str,
    /// Time since it was taken, pauses included.
    pub elapsed: Duration,
}

/// Number of records in flight; no log line.
#[derive(Debug)]
pub struct RecordsInFlight<'a> {
    /// Topic of the records; a label.
    pub topic: &'a str,
    /// Records that are taken and not done.
    pub count: usize,
}

/// Number of records of a partition of this process that are not committed; no log line.
#[derive(Debug)]
pub struct ConsumerLag<'a> {
    /// Topic of the partition; a label.
    pub topic: &'a str,
    /// The partition; a label.
    pub partition: i32,
    /// Records that are not committed.
    pub records: u64,
}

/// Age of the oldest record in flight; no log line.
#[derive(Debug)]
pub struct OldestUnfinished<'a> {
    /// Topic of the record; a label.
    pub topic: &'a str,
    /// Time since it was written to its topic; zero if there is none.
    pub age: Duration,
}

/// The partitions of a topic were paused or resumed.
#[derive(Debug)]
pub struct ConsumerPaused<'a> {
    /// Topic of the partitions; a label.
    pub topic: &'a str,
    /// Why they are or were paused, from a closed set; a label.
    pub cause: &'static str,
    /// Whether they are paused now.
    pub paused: bool,
}

/// A rebalance changed the partitions of this process.
#[derive(Debug)]
pub struct Rebalanced<'a> {
    /// Topic of the partitions; a label.
    pub topic: &'a str,
    /// Number of partitions that this process has now.
    pub partitions: usize,
}

impl RecordRejected<'_> {
    /// Logs and counts it.
    pub fn emit(self) {
        let Self {
            position,
            reason,
            error,
        } = self;
        let reason = reason.as_str();
        warn!(%position, reason, error, "record rejected");
        counter!(catalogue::RECORDS_REJECTED, "topic" => position.topic.clone(), "reason" => reason).increment(1);
    }
}

impl RecordTruncated<'_> {
    /// Logs and counts it.
    pub fn emit(self) {
        let position = self.position;
        error!(%position, "record parked without its value");
        counter!(catalogue::RECORDS_TRUNCATED, "topic" => position.topic.clone()).increment(1);
    }
}

impl ConsumerStumbled<'_> {
    /// Logs it.
    pub fn emit(self) {
        let Self {
            topic,
            error,
            times,
        } = self;
        if worth_a_line(times) {
            warn!(topic, times, error, "consumer error, librdkafka retries");
        }
    }
}

impl RecordHeld<'_> {
    /// Logs and counts it.
    pub fn emit(self) {
        let Self {
            position,
            cause,
            error,
            tries,
        } = self;
        if worth_a_line(tries) {
            warn!(%position, cause, tries, error, "record held");
        }
        counter!(catalogue::RECORDS_RETRIED, "topic" => position.topic.clone(), "cause" => cause)
            .increment(1);
    }
}

impl RecordHandled<'_> {
    /// Logs and counts it.
    pub fn emit(self) {
        let Self { topic, elapsed } = self;
        debug!(topic, ?elapsed, "record handled");
        histogram!(catalogue::RECORD_SECONDS, "topic" => topic.to_owned()).record(elapsed);
    }
}

impl RecordsInFlight<'_> {
    /// Sets the metric.
    pub fn emit(self) {
        let Self { topic, count } = self;
        gauge!(catalogue::RECORDS_IN_FLIGHT, "topic" => topic.to_owned()).set(count as f64);
    }
}

impl ConsumerLag<'_> {
    /// Sets the metric.
    pub fn emit(self) {
        let Self {
            topic,
            partition,
            records,
        } = self;
        gauge!(catalogue::CONSUMER_LAG, "topic" => topic.to_owned(), "partition" => partition.to_string())
            .set(records as f64);
    }
}

impl OldestUnfinished<'_> {
    /// Sets the metric.
    pub fn emit(self) {
        let Self { topic, age } = self;
        gauge!(catalogue::OLDEST_UNFINISHED, "topic" => topic.to_owned()).set(age);
    }
}

impl Rebalanced<'_> {
    /// Logs and counts it.
    pub fn emit(self) {
        let Self { topic, partitions } = self;
        info!(topic, partitions, "partitions rebalanced");
        counter!(catalogue::REBALANCES, "topic" => topic.to_owned()).increment(1);
    }
}

impl ConsumerPaused<'_> {
    /// Logs it and sets the metric.
    pub fn emit(self) {
        let Self {
            topic,
            cause,
            paused,
        } = self;
        info!(topic, cause, paused, "partitions paused or resumed");
        gauge!(catalogue::CONSUMER_PAUSED, "topic" => topic.to_owned(), "cause" => cause)
            .set(if paused { 1.0 } else { 0.0 });
    }
}
