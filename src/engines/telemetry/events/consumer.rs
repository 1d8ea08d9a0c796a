//! Events of the consumer: what happens to the records of a topic.

use std::error::Error;
use std::time::Duration;

use tracing::{debug, error, info, warn};

use super::{catalogue, worth_a_line};
use crate::domain::{ErrorCode, RecordPosition};

/// A record that can never succeed was published on a dead-letter topic.
pub fn record_rejected(
    position: &RecordPosition,
    reason: ErrorCode,
    error: &(dyn Error + 'static),
) {
    let reason = reason.as_str();
    warn!(%position, reason, error, "record rejected");
    catalogue::RECORDS_REJECTED.add(1, &[&position.topic, reason]);
}

/// A record was dead-lettered without its value, which is too large even for the dead-letter topic. The complete
/// record, at `position`, lasts for the retention of its topic.
pub fn record_truncated(position: &RecordPosition) {
    error!(%position, "record dead-lettered without its value");
    catalogue::RECORDS_TRUNCATED.add(1, &[&position.topic]);
}

/// The consumer met an error, the `times`-th in a row. It continues: librdkafka or the consumer retries.
pub fn consumer_stumbled(topic: &str, error: &(dyn Error + 'static), times: u32) {
    if worth_a_line(times) {
        warn!(topic, times, error, "consumer error, will be retried");
    }
}

/// The brokers, or the token server, refuse `client`; counted from 1 since the last time that they accepted it.
pub fn brokers_refused(client: &str, refusal: &(dyn Error + 'static), times: u32) {
    if worth_a_line(times) {
        warn!(
            client,
            times,
            error = refusal,
            "refused by Kafka, will be retried"
        );
    }
}

/// A record was not handled at attempt `tries`, counted from 1, and is held for another one.
pub fn record_held(
    position: &RecordPosition,
    cause: &'static str,
    error: &(dyn Error + 'static),
    tries: u32,
) {
    if worth_a_line(tries) {
        warn!(%position, cause, tries, error, "record held");
    }
    catalogue::RECORDS_RETRIED.add(1, &[&position.topic, cause]);
}

/// A record is done: handled, a duplicate, or dead-lettered. `elapsed`: since its first attempt began, or the first one
/// after it was deferred; pauses included.
pub fn record_handled(topic: &str, elapsed: Duration) {
    debug!(topic, ?elapsed, "record handled");
    catalogue::RECORD_SECONDS.record(elapsed, &[topic]);
}

/// Number of records that are taken and not done.
pub fn records_in_flight(topic: &str, count: usize) {
    catalogue::RECORDS_IN_FLIGHT.set(count as f64, &[topic]);
}

/// Number of records of a partition of this process that are not committed.
pub fn consumer_lag(topic: &str, partition: i32, records: u64) {
    catalogue::CONSUMER_LAG.set(records as f64, &[topic, &partition.to_string()]);
}

/// Time since the oldest record in flight was written to its topic; zero if no record is in flight.
pub fn oldest_unfinished(topic: &str, age: Duration) {
    catalogue::OLDEST_UNFINISHED.set(age, &[topic]);
}

/// A rebalance changed the partitions of this process; `partitions` is their number now.
pub fn rebalanced(topic: &str, partitions: usize) {
    info!(topic, partitions, "partitions rebalanced");
    catalogue::REBALANCES.add(1, &[topic]);
}

/// The partitions of a topic were paused or resumed. `cause`: why they are or were paused.
pub fn consumer_paused(topic: &str, cause: &'static str, paused: bool) {
    info!(topic, cause, paused, "partitions paused or resumed");
    catalogue::CONSUMER_PAUSED.set(u8::from(paused), &[topic, cause]);
}
