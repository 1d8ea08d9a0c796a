//! The records of a topic that a group has not committed: how many there are, and since when the oldest waits.

use std::collections::BTreeMap;
use std::time::Duration;

use rdkafka::consumer::{Consumer as _, StreamConsumer};
use rdkafka::error::KafkaError;
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};
use tokio::time::timeout;

use super::{Error, Lookup};
use crate::engines::config;
use crate::engines::kafka::connection::Connection;
use crate::engines::kafka::snapshot::{Extent, Snapshot};
use crate::engines::kafka::tail;
use crate::engines::kafka::{LOOKUP_TIMEOUT, partitions};

/// The records of a topic that a group has not committed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Backlog {
    pub records: u64,
    /// Timestamp of the oldest record in milliseconds since the epoch. `None` if there is no record, or if it could not be
    /// read, for example because this principal may not read the topic.
    pub oldest: Option<i64>,
}

/// How long to try to read the oldest records. Without them, the number is still of use.
const PATIENCE: Duration = Duration::from_secs(3);

/// Counts the records of `topic` that `group` has not committed, and reads the first one of each partition; a partition
/// without a commit counts from its start.
///
/// # Errors
/// As [`lag`]. That no record can be read is no error.
pub async fn backlog(kafka: &config::Kafka, group: &str, topic: &str) -> Result<Backlog, Error> {
    let waiting = waiting(kafka, group, topic).await?;
    let reading = oldest(kafka, topic, waiting.first);
    let oldest = match timeout(PATIENCE, reading).await {
        Ok(Ok(oldest)) => oldest,
        Ok(Err(error)) => {
            tracing::debug!(topic, %error, "the oldest waiting record cannot be read");
            None
        }
        Err(_) => None,
    };
    Ok(Backlog {
        records: waiting.records,
        oldest,
    })
}

/// Counts the records of `topic` that `group` has not committed; a partition without a commit counts from its start.
///
/// # Errors
/// [`Error::Topic`] if the brokers do not answer, [`Error::Client`] if the settings are refused.
pub async fn lag(kafka: &config::Kafka, group: &str, topic: &str) -> Result<u64, Error> {
    Ok(waiting(kafka, group, topic).await?.records)
}

/// Where a group has to go on.
#[derive(Default)]
struct Waiting {
    records: u64,
    /// The first uncommitted offset of each partition that has such records.
    first: BTreeMap<i32, i64>,
}

async fn waiting(kafka: &config::Kafka, group: &str, topic: &str) -> Result<Waiting, Error> {
    let asked = topic.to_owned();
    let failed = |source| Error::Topic {
        topic: topic.to_owned(),
        source,
    };
    let look_up = move |consumer: &StreamConsumer<Connection>| uncommitted(consumer, &asked);
    Lookup::of_group(kafka, group)?.ask(look_up, failed).await
}

fn uncommitted(consumer: &StreamConsumer<Connection>, topic: &str) -> Result<Waiting, KafkaError> {
    let mut list = TopicPartitionList::new();
    for partition in partitions(consumer.client(), topic)? {
        list.add_partition(topic, partition);
    }
    let mut waiting = Waiting::default();
    for committed in consumer.committed_offsets(list, LOOKUP_TIMEOUT)?.elements() {
        let partition = committed.partition();
        let (low, high) = consumer.fetch_watermarks(topic, partition, LOOKUP_TIMEOUT)?;
        let from = match committed.offset() {
            Offset::Offset(offset) => offset.max(low),
            Offset::Beginning
            | Offset::End
            | Offset::Stored
            | Offset::Invalid
            | Offset::OffsetTail(_) => low,
        };
        if from < high {
            waiting.records += (high - from).unsigned_abs();
            waiting.first.insert(partition, from);
        }
    }
    Ok(waiting)
}

/// Reads the first record of each partition from these offsets on, and returns the earliest timestamp. An offset may have
/// no record, for example if it is the marker of a transaction: then the next record counts.
async fn oldest(
    kafka: &config::Kafka,
    topic: &str,
    first: BTreeMap<i32, i64>,
) -> Result<Option<i64>, tail::Error> {
    if first.is_empty() {
        return Ok(None);
    }
    let mut snapshot = Snapshot::open(kafka, topic, Extent::FirstFrom(first)).await?;
    let mut oldest = None;
    while let Some(record) = snapshot.next().await? {
        oldest = [oldest, record.timestamp].into_iter().flatten().min();
    }
    Ok(oldest)
}
