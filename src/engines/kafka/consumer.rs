//! Feeds the records of one topic to a handler, at least once.
//!
//! Owns all that is Kafka for a role: the group, bounded concurrency with one record of a key at a time, pauses
//! between tries, back-pressure, the dead-letter topic and its fuse, commits behind the watermark, and the drain at the
//! end. An offset is stored only when its record and all before it are done; librdkafka commits what is stored. A
//! record is done when its handler said Ok, or when it is on the dead-letter topic and the handler was notified.
//!
//! No record stops those of other keys. A record that the fuse holds, and one whose key has its share of the memory, is
//! deferred: only its offset is kept, and a second reader reads it again when its turn comes.

mod bytes_held;
mod concurrency_limit;
mod connect;
mod dead_letter;
mod deferred;
mod fuse;
mod group;
mod key_order;
mod poll_loop;
mod record_task;
mod schedule;
mod slots;
mod watermark;

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use rdkafka::consumer::Consumer as _;
use rdkafka::error::KafkaError;
use rdkafka::message::{BorrowedMessage, Headers as _, Message as _, Timestamp};
use tokio_util::sync::CancellationToken;

pub(crate) use self::fuse::Fuse;
use self::group::Group;
use super::{Headers, Record, producer::Producer};
use crate::domain::{ErrorCode, RecordPosition};
use crate::engines::config;
use crate::engines::health::Health;
use crate::engines::kafka::consumer::deferred::Reread;
use crate::engines::kafka::consumer::poll_loop::Flow;
use crate::engines::kafka::consumer::record_task::Settler;
pub use crate::engines::kafka::consumer::slots::Place;

/// An error of any kind, to be told and not to be matched.
pub type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// Why a record can never succeed.
#[derive(Debug)]
pub struct Rejection {
    /// From the closed list of `dlq.reason`.
    pub reason: ErrorCode,
    /// What is wrong, for a person. The text of its causes may depend on settings, its own must not (contract, rule 10).
    pub error: BoxError,
    /// Who may be at fault.
    pub fault: Fault,
}

/// Who may be at fault that a record is rejected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// Perhaps this system, as far as the reason can be a fault of a system at all.
    Unclear,
    /// The producer, for certain: however many there are, they say nothing about this system.
    Producer,
}

impl Rejection {
    /// Makes a rejection whose reason says who may be at fault.
    pub fn new(reason: ErrorCode, error: impl Into<BoxError>) -> Self {
        Self {
            reason,
            error: error.into(),
            fault: Fault::Unclear,
        }
    }

    /// Lays it at the producer's door.
    pub fn by_producer(self) -> Self {
        Self {
            fault: Fault::Producer,
            ..self
        }
    }
}

/// What to do with a record that was not handled.
#[derive(Debug)]
pub enum Failure {
    /// It can never succeed: park it on the dead-letter topic and move on.
    Reject(Rejection),
    /// It may succeed later: hold its key and try again after a pause, for as long as it takes.
    Retry(Cause, BoxError),
}

/// Why a record has to be tried again; a closed set, it is a label.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cause {
    /// Temporal does not answer.
    TemporalUnavailable,
    /// Temporal asks for less.
    TemporalExhausted,
    /// Temporal would refuse any record: no such namespace or search attribute, no permission.
    TemporalRefused,
    /// What the handler did not end cannot be handed over now; other records need that not.
    HandoverUnavailable,
    /// The registry does not answer, or not as it should.
    RegistryUnavailable,
    /// Kafka did not take what we sent.
    KafkaUnavailable,
    /// Too many records in a row would be parked for one reason.
    Fuse,
    /// Our own code panicked at this record.
    Panicked,
    /// Something of ours failed.
    Internal,
    /// The record is carried out elsewhere, and that ended too early.
    Interrupted,
}

impl Cause {
    /// Returns its name in metrics and logs.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::TemporalUnavailable => "temporal_unavailable",
            Self::TemporalExhausted => "temporal_exhausted",
            Self::TemporalRefused => "temporal_refused",
            Self::HandoverUnavailable => "handover_unavailable",
            Self::RegistryUnavailable => "registry_unavailable",
            Self::KafkaUnavailable => "kafka_unavailable",
            Self::Fuse => "fuse",
            Self::Panicked => "panicked",
            Self::Internal => "internal",
            Self::Interrupted => "interrupted",
        }
    }

    /// Whether it lies beyond the record, so that the role is not ready.
    fn is_systemic(self) -> bool {
        !matches!(self, Self::Panicked | Self::Interrupted)
    }

    /// Whether the cause does not affect other records. A record held for it gives up its place, so that others run.
    fn is_others_chance(self) -> bool {
        matches!(self, Self::Fuse | Self::HandoverUnavailable)
    }

    /// Whether less at once would help.
    fn is_eased_by_less(self) -> bool {
        self.is_systemic() && !self.is_others_chance()
    }
}

/// The work a role does on one record. Called again with the same record, it must do no harm.
pub trait Handler: Send + Sync + 'static {
    /// Handles one record, which has a place among those that are handled at once.
    fn handle(
        &self,
        record: &Record,
        place: Place<'_>,
    ) -> impl Future<Output = Result<(), Failure>> + Send;

    /// Is told that the record stands on the dead-letter topic; an error holds the record and calls again.
    fn parked(
        &self,
        record: &Record,
        rejection: &Rejection,
    ) -> impl Future<Output = Result<(), BoxError>> + Send;
}

/// What to consume, and how.
#[derive(Clone, Debug)]
pub struct Options {
    /// Names the role in logs, metrics and `/readyz`.
    pub role: &'static str,
    /// Topic to read.
    pub topic: String,
    /// Consumer group.
    pub group: String,
    /// Where rejected records are parked.
    pub dlq: String,
    /// Records handled at once, less those that wait without their place.
    pub concurrency: usize,
    /// After so many refusals in a row for one reason that may lie in the system, records are held; 0: never.
    pub fuse: u32,
}

#[cfg(test)]
impl Options {
    /// Returns options of one record at a time; `fuse` as in [`Self::fuse`].
    pub(crate) fn of(fuse: u32) -> Self {
        Self {
            role: "test",
            topic: "t".to_owned(),
            group: "g".to_owned(),
            dlq: "d".to_owned(),
            concurrency: 1,
            fuse,
        }
    }
}

/// Why the group cannot go on. A bad record never ends the loop.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// librdkafka refused the settings or the subscription.
    #[error("no consumer of {topic} can be made")]
    Client {
        /// Topic name.
        topic: String,
        /// What librdkafka says.
        #[source]
        source: KafkaError,
    },
    /// The consumer met an error it cannot recover from.
    #[error("the consumer of {topic} cannot go on")]
    Fatal {
        /// Topic name.
        topic: String,
        /// What librdkafka says.
        #[source]
        source: KafkaError,
    },
}

/// How long a partition that goes to another member waits for what runs on it, at most.
const PATIENCE: Duration = Duration::from_secs(5);

/// Feeds every record of `options.topic` to `handler`, at least once, until `stop`.
///
/// # Errors
/// Only when the group cannot go on.
pub async fn run<H: Handler>(
    kafka: &config::Kafka,
    options: Options,
    producer: Arc<Producer>,
    handler: H,
    health: Arc<Health>,
    stop: CancellationToken,
) -> Result<(), Error> {
    // Ends what waits for another try also where it is not the stop that ends the loop.
    let stop = stop.child_token();
    let patience = PATIENCE.min(kafka.session_timeout / 3);
    let schedule = poll_loop::schedule(&options, stop.clone());
    let group = Arc::new(Group::new(&options.topic, patience, schedule));
    let consumer = Arc::new(connect::client(kafka, &options, group.clone())?);
    if connect::reached(&consumer, &options, &health, &stop)
        .await
        .is_none()
    {
        return Ok(());
    }
    consumer
        .subscribe(&[&options.topic])
        .map_err(|source| Error::Client {
            topic: options.topic.clone(),
            source,
        })?;
    let settler = Arc::new(Settler::new(options.clone(), producer, handler, health));
    let reread = Reread::new(kafka.clone(), options.clone());
    let mut flow = Flow::new(options, consumer, group, settler, reread);
    let ended = flow.until(&stop).await;
    stop.cancel();
    flow.drain().await;
    ended
}

/// Copies a record out of librdkafka's memory.
pub(super) fn detach(message: &BorrowedMessage<'_>) -> Record {
    let mut headers = Headers::new();
    for header in message.headers().into_iter().flat_map(|all| all.iter()) {
        headers.push((header.key.to_owned(), header.value.map(<[u8]>::to_vec)));
    }
    Record {
        position: RecordPosition {
            topic: message.topic().to_owned(),
            partition: message.partition(),
            offset: message.offset(),
        },
        key: message.key().map(<[u8]>::to_vec),
        value: message.payload().map(<[u8]>::to_vec),
        headers,
        timestamp: message.timestamp().to_millis(),
        stamped_by_broker: matches!(message.timestamp(), Timestamp::LogAppendTime(_)),
    }
}
