//! What happens to the records of a topic on their way to their handler.

use std::error::Error;
use std::time::Duration;

use metrics::{counter, gauge, histogram};
use tracing::{debug, error, info, warn};

use super::{catalogue, worth_a_line};
use crate::domain::{ErrorCode, RecordPosition};

/// A record that can never succeed was parked on a dead-letter topic.
#[derive(Debug)]
pub struct RecordRejected<'a> {
    /// Where it stands.
    pub position: &'a RecordPosition,
    /// As in `dlq.reason`.
    pub reason: ErrorCode,
    /// What is wrong.
    pub error: &'a (dyn Error + 'static),
}

/// A record was parked without its value, which not even the dead-letter topic takes.
#[derive(Debug)]
pub struct RecordTruncated<'a> {
    /// Where the whole of it stands, for as long as its topic keeps it.
    pub position: &'a RecordPosition,
}

/// The consumer met an error that it goes on after; librdkafka tries again by itself.
#[derive(Debug)]
pub struct ConsumerStumbled<'a> {
    /// The topic it reads.
    pub topic: &'a str,
    /// What librdkafka says.
    pub error: &'a (dyn Error + 'static),
    /// How often in a row.
    pub times: u32,
}

/// A record did not succeed and is held for another try.
#[derive(Debug)]
pub struct RecordHeld<'a> {
    /// Where it stands.
    pub position: &'a RecordPosition,
    /// Why it is tried again; from a closed set, it is a label.
    pub cause: &'static str,
    /// Why it did not succeed.
    pub error: &'a (dyn Error + 'static),
    /// Tries so far, from 1.
    pub tries: u32,
}

/// A record is done: handled, known, or parked.
#[derive(Debug)]
pub struct RecordHandled<'a> {
    /// Where it came from.
    pub topic: &'a str,
    /// Since it was taken.
    pub elapsed: Duration,
}

/// How many records are taken and not done; no log line.
#[derive(Debug)]
pub struct RecordsInFlight<'a> {
    /// Where they came from.
    pub topic: &'a str,
    /// How many.
    pub count: usize,
}

/// How many records of a partition of this process are not committed yet; no log line.
#[derive(Debug)]
pub struct ConsumerLag<'a> {
    /// Where they stand.
    pub topic: &'a str,
    /// The partition; a label.
    pub partition: i32,
    /// How many.
    pub records: u64,
}

/// How old the oldest record is that was taken and is not done; no log line.
#[derive(Debug)]
pub struct OldestUnfinished<'a> {
    /// Where it came from.
    pub topic: &'a str,
    /// Since it was written to its topic; zero when there is none.
    pub age: Duration,
}

/// The partitions of a topic were paused, or go on.
#[derive(Debug)]
pub struct ConsumerPaused<'a> {
    /// Their topic.
    pub topic: &'a str,
    /// Why they are, or were, paused; from a closed set, it is a label.
    pub cause: &'static str,
    /// Whether they are now.
    pub paused: bool,
}

/// The group gave this process other partitions.
#[derive(Debug)]
pub struct Rebalanced<'a> {
    /// Their topic.
    pub topic: &'a str,
    /// How many it has now.
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
            warn!(topic, times, error, "consumer stumbled");
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
    /// Shows it.
    pub fn emit(self) {
        let Self { topic, count } = self;
        gauge!(catalogue::RECORDS_IN_FLIGHT, "topic" => topic.to_owned()).set(count as f64);
    }
}

impl ConsumerLag<'_> {
    /// Shows it.
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
    /// Shows it.
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
    /// Logs and shows it.
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
