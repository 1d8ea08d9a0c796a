//! Feeds the records of one topic to a handler, at least once.
//!
//! Owns a role's whole use of Kafka: the group, bounded concurrency with one record of a key at a time, pauses between
//! attempts, back-pressure, the dead-letter topic and its fuse, commits up to the watermark, and the drain at the end.
//! An offset is stored only when its record and all before it are done; librdkafka commits stored offsets. A record is
//! done when its handler returned Ok, or when it is on the dead-letter topic and the handler was notified.
//!
//! No record blocks records of other keys. A record is deferred if the fuse holds it or its key has used up its share
//! of the memory: only its offset is kept, and a second reader reads the record again when its turn comes.

mod bounds;
mod concurrency_limit;
mod connect;
mod dead_letter;
mod deferred;
mod depth;
mod fuse;
mod group;
mod key_order;
mod poll_loop;
mod record_task;
mod schedule;
mod slots;
mod watermark;

use std::sync::Arc;
use std::time::Duration;

use rdkafka::consumer::Consumer as _;
use tokio_util::sync::CancellationToken;

use self::bounds::Bounds;
use self::deferred::DeferredReader;
pub(crate) use self::fuse::Fuse;
use self::group::Group;
use self::poll_loop::PollLoop;
use self::record_task::RecordTasks;
use self::schedule::Schedule;
pub use self::slots::Slots;
use super::Record;
use super::connection::Connection;
use super::producer::Producer;
use crate::domain::ErrorCode;
use crate::engines::config;
use crate::engines::health::Health;

/// An error of any kind, for logs and headers; callers do not match on it.
pub type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// Why a record can never succeed.
#[derive(Debug)]
pub struct Rejection {
    /// One of the closed list of `dlq.reason`.
    pub reason: ErrorCode,
    /// What is wrong, for a person. The error's own text must not depend on settings, because a `REJECTED` event
    /// carries it (contract, rule 10); the texts of its causes may.
    pub error: BoxError,
    /// Whether the fault may lie in this system; the fuse counts such rejections only.
    pub fault: RejectionFault,
}

/// Who may have caused a rejection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RejectionFault {
    /// The reason decides: some reasons may have their cause in this system.
    Unclear,
    /// Certainly the producer: such rejections, however many, say nothing about this system.
    Producer,
}

impl Rejection {
    /// Creates a rejection whose reason decides whether this system may be at fault.
    pub fn new(reason: ErrorCode, error: impl Into<BoxError>) -> Self {
        debug_assert!(ErrorCode::REASONS.contains(&reason), "{reason:?}");
        Self {
            reason,
            error: error.into(),
            fault: RejectionFault::Unclear,
        }
    }

    /// Marks the rejection as the producer's fault.
    pub fn by_producer(self) -> Self {
        Self {
            fault: RejectionFault::Producer,
            ..self
        }
    }
}

/// What to do with a record that was not handled.
#[derive(Debug)]
pub enum Failure {
    /// It can never succeed: dead-letter it and go on.
    Reject(Rejection),
    /// It may succeed later: hold its key and retry after a pause, without limit.
    Retry(Cause, BoxError),
}

/// Why an attempt did not succeed; another one may.
pub type Failed = (Cause, BoxError);

/// Why a record is retried; a closed set, because it is a metric label.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cause {
    /// Temporal does not answer.
    TemporalUnavailable,
    /// Temporal answers that it is overloaded (`ResourceExhausted`).
    TemporalExhausted,
    /// Temporal would refuse any record: the namespace or a search attribute is missing, or permission is.
    TemporalRefused,
    /// The record's unfinished work cannot be handed over at present; most other records need no hand-over.
    HandoverUnavailable,
    /// The schema registry does not answer, or gives no usable answer.
    RegistryUnavailable,
    /// Kafka did not acknowledge a record that we sent.
    KafkaUnavailable,
    /// The fuse is blown: too many records in a row would be dead-lettered for one reason.
    Fuse,
    /// Our own code panicked on this record.
    Panicked,
    Internal,
    /// A stop, or the end of a task that the handler waits for, came before the record was done.
    Interrupted,
}

impl Cause {
    /// Returns the name used in metrics and logs.
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

    /// True if the cause is not the record itself, so that the role is not ready.
    fn is_systemic(self) -> bool {
        !matches!(self, Self::Panicked | Self::Interrupted)
    }

    /// True if the cause does not affect all other records. A record held for it releases its slot, so that others can
    /// run; one success resets the fuse.
    fn spares_others(self) -> bool {
        matches!(self, Self::Fuse | Self::HandoverUnavailable)
    }

    /// True if lower concurrency relieves the cause.
    fn is_eased_by_lower_concurrency(self) -> bool {
        self.is_systemic() && !self.spares_others()
    }
}

/// The work a role does on one record. It must be idempotent: it may be called again with the same record.
pub trait Handler: Send + Sync + 'static {
    /// Handles one record, which has one of the `slots`.
    fn handle(
        &self,
        record: &Record,
        slots: &Slots,
    ) -> impl Future<Output = Result<(), Failure>> + Send;

    /// Called once the record is on the dead-letter topic; on an error the record is held and the call repeated.
    fn dead_lettered(
        &self,
        _record: &Record,
        _rejection: &Rejection,
    ) -> impl Future<Output = Result<(), Failed>> + Send {
        std::future::ready(Ok(()))
    }
}

/// The options of a consumer.
#[derive(Clone, Debug)]
pub struct ConsumerOptions {
    /// The role's name in logs, metrics and `/readyz`.
    pub role: &'static str,
    pub topic: String,
    pub group: String,
    /// Dead-letter topic of rejected records.
    pub dlq: String,
    /// Number of slots: records handled at once, not counting those that released their slot while they wait.
    pub concurrency: usize,
    /// The number of consecutive rejections, for one reason that may lie in this system, after which records are held
    /// instead of dead-lettered; 0 disables it.
    pub fuse: u32,
    /// How long leaving the group may take at the end. It waits for a rebalance that is under way; the partitions of a
    /// member that does not leave stay unread for the session time-out.
    pub leaves_within: Duration,
}

#[cfg(test)]
impl ConsumerOptions {
    /// Returns options with one slot; `fuse` as in [`Self::fuse`].
    pub(crate) fn of(fuse: u32) -> Self {
        Self {
            role: "test",
            topic: "t".to_owned(),
            group: "g".to_owned(),
            dlq: "d".to_owned(),
            concurrency: 1,
            fuse,
            leaves_within: Duration::from_secs(2),
        }
    }
}

/// Why the consumer ended: librdkafka refused the settings or the subscription, or reported a fatal error. A bad record
/// never ends it.
#[derive(Debug, thiserror::Error)]
#[error("the consumer of {topic} {problem}")]
pub struct Error {
    topic: String,
    problem: &'static str,
    #[source]
    source: BoxError,
}

impl Error {
    fn not_created(topic: &str, source: impl Into<BoxError>) -> Self {
        Self {
            topic: topic.to_owned(),
            problem: "cannot be created",
            source: source.into(),
        }
    }
}

/// The longest time that a revoke waits for the records that run on its partitions.
const PATIENCE: Duration = Duration::from_secs(5);

/// Feeds every record of `options.topic` to `handler`, at least once, until `stop`.
///
/// # Errors
/// Only a fatal error of the consumer, see [`Error`].
pub async fn run<H: Handler>(
    kafka: &config::Kafka,
    options: ConsumerOptions,
    producer: Arc<Producer>,
    handler: H,
    health: Arc<Health>,
    stop: CancellationToken,
) -> Result<(), Error> {
    // Cancelled below, so that records waiting for a retry end also when an error ends the loop, and not `stop`.
    let stop = stop.child_token();
    let schedule = Schedule::new(Bounds::of(options.concurrency), stop.clone());
    let patience = PATIENCE.min(kafka.session_timeout / 3);
    let connection = Connection::new(kafka, options.role, Some(health.clone()));
    let group = Group::new(
        &options,
        connection.clone(),
        patience,
        schedule,
        health.clone(),
    );
    let consumer = Arc::new(connect::create(kafka, &options, group)?);
    if !connect::wait_for_topic(&consumer, &options, &health, &stop).await {
        return Ok(());
    }
    consumer
        .subscribe(&[&options.topic])
        .map_err(|source| Error::not_created(&options.topic, source))?;
    let deferred = DeferredReader::new(kafka.clone(), options.clone(), connection);
    let tasks = RecordTasks::new(options.clone(), producer.clone(), handler, health);
    let dlq = options.dlq.clone();
    let mut poll_loop = PollLoop::new(options, consumer, deferred, tasks);
    let ended = tokio::select! {
        ended = poll_loop.run(&stop) => ended,
        never = depth::watch(&producer, &dlq) => match never {},
    };
    stop.cancel();
    poll_loop.drain().await;
    ended
}
