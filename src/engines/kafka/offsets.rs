//! The committed offsets of a group without members, each with a note: a small memory that Kafka keeps.
//!
//! Kafka accepts notes up to `offset.metadata.max.bytes` (4096 by default). It forgets an offset that was not committed
//! again for `offsets.retention.minutes` (7 days by default), or whose topic was deleted.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer as _};
use rdkafka::error::{KafkaError, KafkaResult};
use rdkafka::{Offset, TopicPartitionList};

use crate::engines::config;

/// Why a group's offsets could not be read or committed.
#[derive(Debug, thiserror::Error)]
#[error("the offsets of group {group} cannot be {wanted}")]
pub struct Error {
    group: String,
    wanted: &'static str,
    #[source]
    source: KafkaError,
}

/// What a group has committed for a partition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Committed {
    /// The committed offset; its meaning is the caller's.
    pub offset: i64,
    /// The metadata committed with the offset.
    pub note: String,
}

/// The committed offsets of one group on one topic.
pub struct Offsets {
    consumer: Arc<BaseConsumer>,
    group: String,
    topic: String,
}

impl std::fmt::Debug for Offsets {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Offsets")
            .field("group", &self.group)
            .field("topic", &self.topic)
            .finish_non_exhaustive()
    }
}

const CALL_TIMEOUT: Duration = Duration::from_secs(15);

impl Offsets {
    /// Creates a client; it connects on the first call.
    ///
    /// # Errors
    /// librdkafka refuses the settings.
    pub fn open(kafka: &config::Kafka, group: String, topic: &str) -> Result<Self, Error> {
        let consumer: KafkaResult<BaseConsumer> = super::client(kafka, "offsets")
            .set("group.id", &group)
            .set("enable.auto.commit", "false")
            .set("enable.auto.offset.store", "false")
            .set("allow.auto.create.topics", "false")
            .create();
        match consumer {
            Ok(consumer) => Ok(Self {
                consumer: Arc::new(consumer),
                group,
                topic: topic.to_owned(),
            }),
            Err(source) => Err(Error {
                group,
                wanted: "read",
                source,
            }),
        }
    }

    /// Returns what is committed, without the partitions that have no commit.
    ///
    /// # Errors
    /// The group's coordinator does not answer, or refuses.
    pub async fn read(
        &self,
        partitions: impl Iterator<Item = i32>,
    ) -> Result<BTreeMap<i32, Committed>, Error> {
        let mut list = TopicPartitionList::new();
        for partition in partitions {
            list.add_partition(&self.topic, partition);
        }
        let consumer = self.consumer.clone();
        let asked = move || {
            let answer = consumer.committed_offsets(list, CALL_TIMEOUT)?;
            let mut found = BTreeMap::new();
            for element in answer.elements() {
                element.error()?;
                if let Offset::Offset(offset) = element.offset() {
                    let note = element.metadata().to_owned();
                    found.insert(element.partition(), Committed { offset, note });
                }
            }
            Ok(found)
        };
        self.call("read", asked).await
    }

    /// Commits, and returns when the coordinator has acknowledged it.
    ///
    /// # Errors
    /// The group's coordinator does not answer, or refuses.
    pub async fn commit(&self, entries: &BTreeMap<i32, Committed>) -> Result<(), Error> {
        let mut list = TopicPartitionList::new();
        for (partition, Committed { offset, note }) in entries {
            let mut element = list.add_partition(&self.topic, *partition);
            element
                .set_offset(Offset::Offset(*offset))
                .map_err(|source| self.error("committed", source))?;
            element.set_metadata(note);
        }
        let consumer = self.consumer.clone();
        self.call("committed", move || {
            consumer.commit(&list, CommitMode::Sync)
        })
        .await
    }

    /// Runs a call that blocks on the broker, on a thread of its own.
    async fn call<T: Send + 'static>(
        &self,
        wanted: &'static str,
        call: impl FnOnce() -> KafkaResult<T> + Send + 'static,
    ) -> Result<T, Error> {
        let called = tokio::task::spawn_blocking(call).await;
        called
            .unwrap_or(Err(KafkaError::Canceled))
            .map_err(|source| self.error(wanted, source))
    }

    fn error(&self, wanted: &'static str, source: KafkaError) -> Error {
        Error {
            group: self.group.clone(),
            wanted,
            source,
        }
    }
}
