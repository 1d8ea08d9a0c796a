//! Reads all partitions of a topic and follows new records, for a person who watches; without a group, without commits.

use std::time::Duration;

use rdkafka::consumer::{Consumer as _, StreamConsumer};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::{Offset, TopicPartitionList};

use super::Record;
use super::consumer::detach;
use crate::engines::config;

/// Where to start reading.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum From {
    /// At the oldest record.
    Beginning,
    /// After the records that exist when [`Tail::open`] is called.
    End,
}

/// What was read next.
#[derive(Debug)]
pub enum Next {
    /// A record; those of one partition come in their order.
    Record(Record),
    /// The end of this partition was reached; reported again each time it is reached again.
    End(i32),
}

/// Why a topic cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// No broker answered.
    #[error("no Kafka broker answers at {brokers}")]
    Unreachable {
        /// `KAFKA_BROKERS` as configured.
        brokers: String,
        /// librdkafka's error.
        #[source]
        source: KafkaError,
    },
    /// The topic does not exist.
    #[error("topic {0} does not exist, run: genflow setup")]
    NoTopic(String),
    /// librdkafka refused the settings, or reading failed for good.
    #[error("topic {topic} cannot be read")]
    Broken {
        /// Topic name.
        topic: String,
        /// librdkafka's error.
        #[source]
        source: KafkaError,
    },
}

/// A reader of one topic.
pub struct Tail {
    consumer: StreamConsumer,
    topic: String,
    partitions: usize,
}

impl std::fmt::Debug for Tail {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mut shown = f.debug_struct("Tail");
        shown.field("topic", &self.topic).finish_non_exhaustive()
    }
}

const CALL_TIMEOUT: Duration = Duration::from_secs(5);

impl Tail {
    /// Starts to read; no record that is published after this returns is missed.
    ///
    /// # Errors
    /// No broker answers, or the topic does not exist.
    pub async fn open(kafka: &config::Kafka, topic: &str, from: From) -> Result<Self, Error> {
        let client = super::reader(kafka, "watch");
        let broken = |source| Error::Broken {
            topic: topic.to_owned(),
            source,
        };
        let consumer: StreamConsumer = client.create().map_err(broken)?;
        let (brokers, name) = (kafka.brokers.clone(), topic.to_owned());
        let opened = tokio::task::spawn_blocking(move || {
            let partitions = assign(&consumer, &name, from).map_err(|error| match error {
                None => Error::NoTopic(name.clone()),
                Some(source) => Error::Unreachable { brokers, source },
            })?;
            Ok(Self {
                consumer,
                topic: name,
                partitions,
            })
        });
        opened
            .await
            .unwrap_or_else(|_| Err(broken(KafkaError::Canceled)))
    }

    /// Returns how many partitions are read.
    pub fn partitions(&self) -> usize {
        self.partitions
    }

    /// Waits for the next record. Cancel-safe.
    ///
    /// # Errors
    /// Only when reading failed for good; an unreachable broker is waited for.
    pub async fn next(&self) -> Result<Next, Error> {
        loop {
            match self.consumer.recv().await {
                Ok(message) => return Ok(Next::Record(detach(&message))),
                Err(KafkaError::PartitionEOF(partition)) => return Ok(Next::End(partition)),
                Err(source) if is_passing(&source) => {}
                Err(source) => {
                    return Err(Error::Broken {
                        topic: self.topic.clone(),
                        source,
                    });
                }
            }
        }
    }
}

/// Assigns all partitions; `Err(None)` means that the topic does not exist.
fn assign(consumer: &StreamConsumer, topic: &str, from: From) -> Result<usize, Option<KafkaError>> {
    let metadata = consumer.fetch_metadata(Some(topic), CALL_TIMEOUT)?;
    let found = metadata.topics().iter().find(|t| t.name() == topic);
    let Some(found) = found.filter(|t| t.error().is_none() && !t.partitions().is_empty()) else {
        return Err(None);
    };
    let mut list = TopicPartitionList::new();
    for partition in found.partitions() {
        let offset = match from {
            From::Beginning => Offset::Beginning,
            // librdkafka resolves `Offset::End` later, when a new record may already be there: so look it up now.
            From::End => {
                let (_, end) = consumer.fetch_watermarks(topic, partition.id(), CALL_TIMEOUT)?;
                Offset::Offset(end)
            }
        };
        list.add_partition_offset(topic, partition.id(), offset)?;
    }
    consumer.assign(&list)?;
    Ok(list.count())
}

pub(super) fn is_passing(error: &KafkaError) -> bool {
    matches!(
        error.rdkafka_error_code(),
        Some(
            RDKafkaErrorCode::AllBrokersDown
                | RDKafkaErrorCode::BrokerTransportFailure
                | RDKafkaErrorCode::OperationTimedOut
                | RDKafkaErrorCode::Resolve
                | RDKafkaErrorCode::LeaderNotAvailable
                | RDKafkaErrorCode::NotLeaderForPartition
        )
    )
}
