//! Publishes records: each send returns when all in-sync replicas have acknowledged the record.
//!
//! The producer is idempotent, so a retry inside the client makes no second copy and does not change the order. After
//! a fatal error, librdkafka refuses every further send: the client is dropped, and the next send creates a new one.

use std::sync::Arc;
use std::time::Duration;

use parking_lot::{Mutex, MutexGuard};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{Header, OwnedHeaders};
use rdkafka::producer::{FutureProducer, FutureRecord, Producer as _};
use rdkafka::util::Timeout;

use super::connection::{Connection, STATISTICS};
use super::{ClientError, Headers, LOOKUP_TIMEOUT, partitions};
use crate::domain::RecordPosition;
use crate::engines::config;
use crate::engines::health::Health;

/// Why a record was not acknowledged.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// It is larger than the topic allows; a retry does not help.
    #[error("the record is too large for {topic}")]
    TooLarge { topic: String },
    /// The broker did not acknowledge it; a retry may succeed.
    #[error("the brokers did not acknowledge a record for {topic}")]
    Refused {
        topic: String,
        /// librdkafka's error, or why the brokers refuse the connection.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// librdkafka refused the settings.
    #[error("the Kafka producer cannot be created")]
    Client(#[source] ClientError),
}

/// A record to publish.
#[derive(Clone, Debug, Default)]
pub struct Message<'a> {
    pub topic: &'a str,
    /// Records with equal keys keep their order.
    pub key: Option<&'a [u8]>,
    /// `None` is a tombstone.
    pub value: Option<&'a [u8]>,
    /// Name and value of each header, in order.
    pub headers: Headers,
}

/// A producer, cheap to share.
pub struct Producer {
    config: config::Kafka,
    name: &'static str,
    connection: Connection,
    client: Mutex<Option<Arc<FutureProducer<Connection>>>>,
}

impl std::fmt::Debug for Producer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Producer")
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}

/// How long a record may wait for its broker before the send fails; the caller decides whether to retry.
const MESSAGE_TIMEOUT: Duration = Duration::from_secs(30);
/// The largest produce request, in bytes; topics set their own, smaller bounds.
const LARGEST_MESSAGE: &str = "8388608";

impl Producer {
    /// Creates a producer; it connects on the first send.
    ///
    /// # Errors
    /// [`Error::Client`] when librdkafka refuses the settings.
    pub fn new(config: &config::Kafka, name: &'static str) -> Result<Self, Error> {
        Self::with(config, name, None)
    }

    /// Like [`Self::new`], for the roles of a process: `health` reports that the brokers refuse the connection.
    ///
    /// # Errors
    /// As [`Self::new`].
    pub fn of_roles(config: &config::Kafka, health: &Arc<Health>) -> Result<Self, Error> {
        Self::with(config, "producer", Some(health.clone()))
    }

    fn with(
        config: &config::Kafka,
        name: &'static str,
        health: Option<Arc<Health>>,
    ) -> Result<Self, Error> {
        let producer = Self {
            config: config.clone(),
            name,
            connection: Connection::new(config, name, health),
            client: Mutex::default(),
        };
        producer.client()?;
        Ok(producer)
    }

    /// Publishes one record and returns when the broker has acknowledged it.
    ///
    /// # Errors
    /// [`Error::TooLarge`] is final, [`Error::Refused`] is worth a retry.
    pub async fn send(&self, message: Message<'_>) -> Result<(), Error> {
        self.place(message).await.map(drop)
    }

    /// Like [`Producer::send`], and returns the record's position.
    ///
    /// # Errors
    /// As [`Producer::send`].
    pub async fn place(&self, message: Message<'_>) -> Result<RecordPosition, Error> {
        let client = self.client()?;
        let topic = message.topic;
        let mut record = FutureRecord::<[u8], [u8]>::to(topic).headers(owned(&message.headers));
        record.key = message.key;
        record.payload = message.value;
        let source = match client.send(record, Timeout::Never).await {
            Ok(placed) => {
                return Ok(RecordPosition {
                    topic: topic.to_owned(),
                    partition: placed.partition,
                    offset: placed.offset,
                });
            }
            Err((source, _)) => source,
        };
        if client.client().fatal_error().is_some() {
            self.locked().take_if(|failed| Arc::ptr_eq(failed, &client));
        }
        self.connection
            .note_denied(&format!("topic {topic}"), &source);
        match source.rdkafka_error_code() {
            Some(RDKafkaErrorCode::MessageSizeTooLarge) => Err(Error::TooLarge {
                topic: topic.to_owned(),
            }),
            Some(_) | None => Err(Error::Refused {
                topic: topic.to_owned(),
                source: match self.connection.refusal() {
                    Some(refusal) => refusal.into(),
                    None => source.into(),
                },
            }),
        }
    }

    /// Counts the records on a topic. Blocks until the brokers have answered.
    ///
    /// # Errors
    /// [`Error::Refused`].
    pub(super) fn count(&self, topic: &str) -> Result<u64, Error> {
        let client = self.client()?;
        let refused = |source: KafkaError| Error::Refused {
            topic: topic.to_owned(),
            source: source.into(),
        };
        let mut records = 0;
        for partition in partitions(client.client(), topic).map_err(refused)? {
            let offsets = client.client();
            let offsets = offsets.fetch_watermarks(topic, partition, LOOKUP_TIMEOUT);
            let (low, high) = offsets.map_err(refused)?;
            records += u64::try_from(high - low).unwrap_or_default();
        }
        Ok(records)
    }

    fn locked(&self) -> MutexGuard<'_, Option<Arc<FutureProducer<Connection>>>> {
        self.client.lock()
    }

    fn client(&self) -> Result<Arc<FutureProducer<Connection>>, Error> {
        let mut current = self.locked();
        if let Some(client) = current.as_ref() {
            return Ok(client.clone());
        }
        let client: FutureProducer<Connection> = super::client(&self.config, self.name)
            .set("enable.idempotence", "true")
            .set("acks", "all")
            .set("linger.ms", "2")
            .set("compression.type", "lz4")
            .set("message.max.bytes", LARGEST_MESSAGE)
            .set(
                "message.timeout.ms",
                MESSAGE_TIMEOUT.as_millis().to_string(),
            )
            .set("statistics.interval.ms", STATISTICS.as_millis().to_string())
            .create_with_context(self.connection.clone())
            .map_err(|source| Error::Client(source.into()))?;
        Ok(current.insert(Arc::new(client)).clone())
    }
}

fn owned(headers: &Headers) -> OwnedHeaders {
    headers.iter().fold(
        OwnedHeaders::new_with_capacity(headers.len()),
        |all, (key, value)| {
            all.insert(Header {
                key,
                value: value.as_deref(),
            })
        },
    )
}
