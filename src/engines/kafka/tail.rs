//! Reads all partitions of a topic and follows new records, for a person who watches; without a group, without commits.

use std::sync::Arc;

use rdkafka::consumer::{Consumer as _, StreamConsumer};
use rdkafka::error::{KafkaError, KafkaResult, RDKafkaErrorCode};
use rdkafka::{Offset, TopicPartitionList};

use super::connection::{Connection, ask};
use super::{ClientError, LOOKUP_TIMEOUT, Record, Refusal, partitions, reader};
use crate::engines::config;

/// Where to start reading.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum From {
    /// At the oldest record.
    Beginning,
    /// At the first record of this time or later, in milliseconds since the epoch.
    Since(i64),
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
    #[error("no Kafka broker answers at {brokers}")]
    Unreachable {
        /// `KAFKA_BROKERS` as configured.
        brokers: String,
        #[source]
        source: KafkaError,
    },
    /// The brokers refuse the connection.
    #[error(transparent)]
    NotConnected(Refusal),
    #[error("the Kafka client cannot be created")]
    Client(#[source] ClientError),
    #[error("topic {0} does not exist, run: genflow setup")]
    NoTopic(String),
    /// The brokers refused a call, or reading failed for good.
    #[error("topic {topic} cannot be read")]
    Broken {
        topic: String,
        #[source]
        source: KafkaError,
    },
}

/// A client that reads without a group.
pub(super) type Reader = StreamConsumer<Connection>;

/// A reader of one topic.
pub struct Tail {
    consumer: Arc<Reader>,
    topic: String,
    partitions: usize,
}

impl Tail {
    /// Starts to read; no record that is published after this returns is missed.
    ///
    /// # Errors
    /// No broker answers, the topic does not exist, or the brokers refuse to let it be read.
    pub async fn open(kafka: &config::Kafka, topic: &str, from: From) -> Result<Self, Error> {
        let name = topic.to_owned();
        let look_up = move |consumer: &Reader, partitions: &[i32]| {
            let mut list = TopicPartitionList::new();
            let times = match from {
                From::Since(millis) => Some(offsets_since(consumer, &name, partitions, millis)?),
                From::Beginning | From::End => None,
            };
            for &partition in partitions {
                let since = times
                    .as_ref()
                    .and_then(|it| it.find_partition(&name, partition));
                let offset = match (from, since.map(|element| element.offset())) {
                    (From::Since(_), Some(found @ Offset::Offset(_))) => found,
                    (From::Beginning, _) => Offset::Beginning,
                    // No record is of this time or later.
                    (From::Since(_) | From::End, _) => {
                        // librdkafka resolves `Offset::End` later, when a new record may already be there: so look it
                        // up now.
                        let (_, end) =
                            consumer.fetch_watermarks(&name, partition, LOOKUP_TIMEOUT)?;
                        Offset::Offset(end)
                    }
                };
                list.add_partition_offset(&name, partition, offset)?;
            }
            Ok(list)
        };
        let (consumer, list) = open(kafka, "watch", topic, look_up).await?;
        let assigned = consumer.assign(&list);
        assigned.map_err(|source| Error::Broken {
            topic: topic.to_owned(),
            source,
        })?;
        Ok(Self {
            consumer,
            topic: topic.to_owned(),
            partitions: list.count(),
        })
    }

    pub fn partitions(&self) -> usize {
        self.partitions
    }

    /// Waits for the next record or the end of a partition. Cancel-safe.
    ///
    /// # Errors
    /// Only when reading failed for good; an unreachable broker is waited for.
    pub async fn next(&self) -> Result<Next, Error> {
        loop {
            match self.consumer.recv().await {
                Ok(message) => return Ok(Next::Record((&message).into())),
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

/// Returns the offset of each partition's first record of this time or later; for a partition without one, the end.
fn offsets_since(
    consumer: &Reader,
    topic: &str,
    partitions: &[i32],
    millis: i64,
) -> KafkaResult<TopicPartitionList> {
    let mut list = TopicPartitionList::new();
    for &partition in partitions {
        list.add_partition_offset(topic, partition, Offset::Offset(millis))?;
    }
    consumer.offsets_for_times(list, LOOKUP_TIMEOUT)
}

/// Creates a reader of `topic`, and calls `look_up`, which may block on the broker, with it and the topic's partitions.
pub(super) async fn open<T: Send + 'static>(
    kafka: &config::Kafka,
    name: &str,
    topic: &str,
    look_up: impl FnOnce(&Reader, &[i32]) -> KafkaResult<T> + Send + 'static,
) -> Result<(Arc<Reader>, T), Error> {
    let broken = |source| Error::Broken {
        topic: topic.to_owned(),
        source,
    };
    let connection = Connection::new(kafka, name, None);
    let consumer = reader(kafka, name).create_with_context(connection.clone());
    let consumer: Arc<Reader> = Arc::new(consumer.map_err(|source| Error::Client(source.into()))?);
    let asked = topic.to_owned();
    let looking_up = ask(&consumer, move |consumer| {
        let found = partitions(consumer.client(), &asked)?;
        match found.is_empty() {
            true => Ok(None),
            false => look_up(consumer, &found).map(Some),
        }
    });
    match looking_up.await {
        Ok(Some(found)) => Ok((consumer, found)),
        Ok(None) => Err(Error::NoTopic(topic.to_owned())),
        Err(source) if is_unreachable(&source) => Err(match connection.refusal() {
            Some(refusal) => Error::NotConnected(refusal),
            None => Error::Unreachable {
                brokers: kafka.brokers.clone(),
                source,
            },
        }),
        Err(source) => Err(broken(source)),
    }
}

/// Returns whether a reader goes on after an error. librdkafka looks for the coordinator of its group, although it uses
/// none: whether this principal has rights on a group by that name does not matter.
pub(super) fn is_passing(error: &KafkaError) -> bool {
    is_unreachable(error)
        || matches!(
            error.rdkafka_error_code(),
            Some(
                RDKafkaErrorCode::LeaderNotAvailable
                    | RDKafkaErrorCode::NotLeaderForPartition
                    | RDKafkaErrorCode::GroupAuthorizationFailed
            )
        )
}

/// Returns whether an error means that no broker answered.
fn is_unreachable(error: &KafkaError) -> bool {
    matches!(
        error.rdkafka_error_code(),
        Some(
            RDKafkaErrorCode::AllBrokersDown
                | RDKafkaErrorCode::BrokerTransportFailure
                | RDKafkaErrorCode::OperationTimedOut
                | RDKafkaErrorCode::Resolve
        )
    )
}

#[cfg(test)]
mod tests {
    use rdkafka::mocking::MockCluster;
    use rdkafka::types::RDKafkaRespErr;

    use super::*;
    use crate::engines::config::Config;

    #[tokio::test]
    async fn a_topic_that_may_not_be_read_is_not_reported_as_missing_nor_the_broker_as_away() {
        let cluster = MockCluster::new(1).unwrap();
        cluster.create_topic("hidden", 1, 1).unwrap();
        let denied = RDKafkaRespErr::RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED;
        cluster.topic_error("hidden", denied).unwrap();
        let brokers = cluster.bootstrap_servers();
        let kafka = Config::of(&[("KAFKA_BROKERS", &brokers)]).unwrap().kafka;
        let open = async |topic| Tail::open(&kafka, topic, From::Beginning).await.err();

        let (hidden, missing) = (open("hidden").await, open("missing").await);

        assert!(matches!(hidden, Some(Error::Broken { .. })), "{hidden:?}");
        assert!(matches!(missing, Some(Error::NoTopic(_))), "{missing:?}");
    }

    #[test]
    fn only_errors_of_the_connection_mean_that_no_broker_answers() {
        for (code, unreachable) in [
            (RDKafkaErrorCode::BrokerTransportFailure, true),
            (RDKafkaErrorCode::OperationTimedOut, true),
            (RDKafkaErrorCode::TopicAuthorizationFailed, false),
            (RDKafkaErrorCode::LeaderNotAvailable, false),
        ] {
            let error = KafkaError::MetadataFetch(code);
            assert_eq!(is_unreachable(&error), unreachable, "{code}");
        }
    }
}
