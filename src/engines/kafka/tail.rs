//! Reads a topic as it stands and as it grows, for a person who watches: all partitions, no group, no commits.

use std::time::Duration;

use rdkafka::consumer::{Consumer as _, StreamConsumer};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::{Offset, TopicPartitionList};

use super::Record;
use super::consumer::detach;
use crate::engines::config;

/// Where to begin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum From {
    /// With the oldest record there is.
    Beginning,
    /// With what comes after the call of [`Tail::open`].
    End,
}

/// What comes next.
#[derive(Debug)]
pub enum Next {
    /// A record; of one partition in its order.
    Record(Record),
    /// All records that a partition holds at present were read; told again whenever it is reached again.
    End(i32),
}

/// Why a topic cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// No broker answered.
    #[error("no Kafka broker answers at {brokers}")]
    Unreachable {
        /// As configured.
        brokers: String,
        /// What librdkafka says.
        #[source]
        source: KafkaError,
    },
    /// The topic is not there.
    #[error("there is no topic {0}, run: genflow setup")]
    NoTopic(String),
    /// The client refuses its settings, or reading broke off for good.
    #[error("topic {topic} cannot be read")]
    Broken {
        /// Topic name.
        topic: String,
        /// What librdkafka says.
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
    /// Begins to read; once this returns, nothing that is published later is missed.
    ///
    /// # Errors
    /// No broker answers, or the topic is not there.
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
    /// Only when reading cannot go on; a broker that is away for a while is waited for.
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

/// Assigns all partitions; `None` in the error says that there is no such topic.
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
            // `Offset::End` is looked up later, when a record may already have come: so it is asked for now.
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
