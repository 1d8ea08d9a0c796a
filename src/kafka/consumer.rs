//! Feeds the records of one topic to a handler, at least once.
//!
//! Owns all that is Kafka for a role: the group, bounded concurrency with one record of a key at a time, pauses
//! between tries, back-pressure, the dead-letter topic and its fuse, commits behind the watermark, and the drain at the
//! end. An offset is stored only when its record and all before it are done; librdkafka commits what is stored. A
//! record is done when its handler said Ok, or when it stands on the dead-letter topic and the handler was told.

mod brake;
mod dead_letter;
mod fuse;
mod group;
mod lanes;
mod schedule;
mod settle;
mod watermark;

use std::future::Future;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use rdkafka::consumer::{CommitMode, Consumer as _, StreamConsumer};
use rdkafka::error::KafkaError;
use rdkafka::message::{BorrowedMessage, Headers as _, Message as _};
use tokio::sync::oneshot;
use tokio::task::JoinSet;
use tokio::time::{MissedTickBehavior, interval, timeout};
use tokio_util::sync::CancellationToken;

use self::group::{Context, Group};
use self::settle::{Settled, Settler};
use super::{Headers, Record, producer::Producer};
use crate::admin::Health;
use crate::config::{self, GroupProtocol};
use crate::domain::{ErrorCode, RecordPosition};
use crate::telemetry::events::{
    ConsumerPaused, ConsumerStumbled, OldestUnfinished, RecordsInFlight,
};

/// An error of any kind, to be told and not to be matched.
pub type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// Why a record can never succeed.
#[derive(Debug)]
pub struct Rejection {
    /// From the closed list of `dlq.reason`.
    pub reason: ErrorCode,
    /// What is wrong, for a person.
    pub error: BoxError,
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

    /// Whether less at once would help. Not with a blown fuse: a record that fares well is what mends it.
    fn is_eased_by_less(self) -> bool {
        self.is_systemic() && self != Self::Fuse
    }
}

/// The work a role does on one record. Called again with the same record, it must do no harm.
pub trait Handler: Send + Sync + 'static {
    /// Handles one record.
    fn handle(&self, record: &Record) -> impl Future<Output = Result<(), Failure>> + Send;

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
    /// Records handled at once.
    pub concurrency: usize,
    /// After so many refusals in a row for one reason that may lie in the system, records are held; 0: never.
    pub fuse: u32,
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

/// Records taken and not yet done, for each one that may be handled at once: what waits behind a slow key.
const TAKEN_PER_SLOT: usize = 64;

/// How often gauges are told.
const TICK: Duration = Duration::from_secs(1);
/// How long as much may be taken as may be until the partitions pause.
const PAUSE_AFTER: Duration = Duration::from_secs(2);
/// How long a partition that goes to another member waits for what runs on it, at most.
const PATIENCE: Duration = Duration::from_secs(5);
/// How long the group has to let a member go that has committed what it did.
const CLOSE_TIME: Duration = Duration::from_secs(2);
/// How long the brokers have to tell of a topic.
const METADATA_TIMEOUT: Duration = Duration::from_secs(5);
/// Pause before they are asked again.
const METADATA_PAUSE: Duration = Duration::from_secs(1);

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
    let patience = PATIENCE.min(kafka.session_timeout / 3);
    let group = Arc::new(Group::new(&options.topic, patience, stop.clone()));
    let consumer = Arc::new(client(kafka, &options, group.clone())?);
    if reached(&consumer, &options, &health, &stop).await.is_none() {
        return Ok(());
    }
    consumer
        .subscribe(&[&options.topic])
        .map_err(|source| Error::Client {
            topic: options.topic.clone(),
            source,
        })?;
    let settler = Arc::new(Settler::new(options.clone(), producer, handler, health));
    let mut flow = Flow {
        consumer,
        group,
        running: JoinSet::new(),
        settler,
        paused: None,
        full_since: None,
        stumbles: 0,
        options,
    };
    let ended = flow.until(&stop).await;
    flow.drain().await;
    ended
}

struct Flow<H> {
    options: Options,
    consumer: Arc<StreamConsumer<Context<Record>>>,
    group: Arc<Group<Record>>,
    running: JoinSet<()>,
    settler: Arc<Settler<H>>,
    /// Why the partitions are paused, if they are.
    paused: Option<&'static str>,
    /// Since when as much is taken as may be.
    full_since: Option<Instant>,
    stumbles: u32,
}

impl<H: Handler> Flow<H> {
    async fn until(&mut self, stop: &CancellationToken) -> Result<(), Error> {
        let consumer = self.consumer.clone();
        let mut ticks = interval(TICK);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            // All arms are cancel-safe: a message that `recv` has not returned stays in librdkafka's queue.
            tokio::select! {
                biased;
                () = stop.cancelled() => return Ok(()),
                Some(_) = self.running.join_next() => {}
                _ = ticks.tick() => self.tell(),
                received = consumer.recv(), if self.may_receive() => match received {
                    Ok(message) => self.take(&message),
                    Err(source) => self.stumble(source)?,
                },
            }
            self.start_what_may_run();
            self.pause_or_resume();
        }
    }

    fn take(&mut self, message: &BorrowedMessage<'_>) {
        self.stumbles = 0;
        let record = detach(message);
        self.group.schedule().take(
            message.partition(),
            message.offset(),
            message.key(),
            record.timestamp,
            record,
        );
    }

    fn start_what_may_run(&mut self) {
        loop {
            let (running, held) = (self.running.len(), self.settler.held());
            if running >= self.options.concurrency
                || running.saturating_sub(held) >= self.settler.brake().limit()
            {
                return;
            }
            let Some(ticket) = self.group.schedule().next() else {
                return;
            };
            let (settler, group, consumer) = (
                self.settler.clone(),
                self.group.clone(),
                self.consumer.clone(),
            );
            self.running.spawn(async move {
                let settled = settler.settle(&ticket.item, &ticket.leave).await;
                let topic = &ticket.item.position.topic;
                group.finish(&ticket, settled == Settled::Done, |partition, offset| {
                    if let Err(error) = consumer.store_offset(topic, partition, offset) {
                        // The partition was taken away a moment ago: its new owner reads the record again.
                        tracing::debug!(partition, offset, %error, "offset not stored");
                    }
                });
            });
        }
    }

    /// While enough is taken, nothing more is. Paused partitions give nothing, and must be polled.
    fn may_receive(&self) -> bool {
        self.full_since.is_none() || self.paused.is_some()
    }

    /// Pauses when there is enough to do for a while, or the brake is on, and then goes on polling: a consumer that does
    /// not poll is put out of its group. Not at once, for a pause throws away what librdkafka has fetched.
    fn pause_or_resume(&mut self) {
        let most = self.options.concurrency * TAKEN_PER_SLOT;
        let taken = self.group.schedule().taken();
        let fresh = self.group.take_note_of_change();
        let paused = self.paused.is_some();
        self.full_since = (taken >= if paused { most / 2 } else { most })
            .then(|| self.full_since.unwrap_or_else(Instant::now));
        let full = self
            .full_since
            .is_some_and(|since| paused || since.elapsed() > PAUSE_AFTER);
        // Nothing at work would ever release the brake.
        let braked = self.settler.brake().pauses(paused).filter(|_| taken > 0);
        let why = match braked {
            Some(cause) => Some(cause.as_str()),
            None => full.then_some("full"),
        };
        if why == self.paused && !(why.is_some() && fresh) {
            return;
        }
        let done = self.consumer.assignment().and_then(|all| match why {
            Some(_) => self.consumer.pause(&all),
            None => self.consumer.resume(&all),
        });
        if let Err(error) = done {
            tracing::debug!(%error, why, "partitions not paused or resumed");
            return;
        }
        if let Some(before) = self.paused.filter(|before| why != Some(before)) {
            self.tell_of_pause(before, false);
        }
        if let Some(now) = why.filter(|now| self.paused != Some(now)) {
            self.tell_of_pause(now, true);
        }
        self.paused = why;
    }

    fn tell_of_pause(&self, cause: &'static str, paused: bool) {
        ConsumerPaused {
            topic: &self.options.topic,
            cause,
            paused,
        }
        .emit();
    }

    fn tell(&self) {
        let topic = &self.options.topic;
        let (taken, oldest) = {
            let schedule = self.group.schedule();
            (schedule.taken(), schedule.oldest())
        };
        RecordsInFlight {
            topic,
            count: taken,
        }
        .emit();
        let now = SystemTime::now().duration_since(UNIX_EPOCH);
        let written = oldest.and_then(|millis| u64::try_from(millis).ok());
        let age = written.and_then(|millis| {
            now.unwrap_or_default()
                .checked_sub(Duration::from_millis(millis))
        });
        OldestUnfinished {
            topic,
            age: age.unwrap_or_default(),
        }
        .emit();
    }

    fn stumble(&mut self, source: KafkaError) -> Result<(), Error> {
        if let Some((_, reason)) = self.consumer.client().fatal_error() {
            tracing::error!(reason, "the consumer cannot go on");
            return Err(Error::Fatal {
                topic: self.options.topic.clone(),
                source,
            });
        }
        self.stumbles += 1;
        ConsumerStumbled {
            topic: &self.options.topic,
            error: &source,
            times: self.stumbles,
        }
        .emit();
        Ok(())
    }

    /// Finishes what runs, commits, leaves the group. What only waited is left for the next owner.
    async fn drain(mut self) {
        while self.running.join_next().await.is_some() {}
        let consumer = self.consumer;
        let (done, closed) = oneshot::channel::<()>();
        // Blocks on the brokers, and after a peer's crash until its session is over. A thread and not a task: the
        // runtime would wait for it at its end.
        std::thread::spawn(move || {
            if let Err(error) = consumer.commit_consumer_state(CommitMode::Sync) {
                tracing::debug!(%error, "nothing more to commit");
            }
            consumer.unsubscribe();
            drop(consumer);
            drop(done);
        });
        if timeout(CLOSE_TIME, closed).await.is_err() {
            let topic = self.options.topic;
            tracing::info!(
                topic,
                "left the group without its good-bye: it rebalances, and does not answer"
            );
        }
    }
}

/// Waits until the brokers tell of the topic; `None` when a stop comes first.
async fn reached(
    consumer: &Arc<StreamConsumer<Context<Record>>>,
    options: &Options,
    health: &Health,
    stop: &CancellationToken,
) -> Option<()> {
    for tries in 1_u32.. {
        let (asked, topic) = (consumer.clone(), options.topic.clone());
        // Blocks on the broker.
        let asking = tokio::task::spawn_blocking(move || {
            asked.fetch_metadata(Some(&topic), METADATA_TIMEOUT)
        });
        let told = asking.await.ok()?;
        let missing = match told {
            Ok(metadata) => match metadata.topics().iter().find_map(|topic| topic.error()) {
                None => break,
                Some(error) => KafkaError::MetadataFetch(error.into()),
            },
            Err(error) => error,
        };
        health.not_ready(options.role, &format!("topic {}: {missing}", options.topic));
        ConsumerStumbled {
            topic: &options.topic,
            error: &missing,
            times: tries,
        }
        .emit();
        tokio::select! {
            () = tokio::time::sleep(METADATA_PAUSE) => {}
            () = stop.cancelled() => return None,
        }
    }
    health.ready(options.role);
    Some(())
}

fn client(
    kafka: &config::Kafka,
    options: &Options,
    group: Arc<Group<Record>>,
) -> Result<StreamConsumer<Context<Record>>, Error> {
    let mut client = super::client(kafka, options.role);
    client
        .set("group.id", &options.group)
        .set("enable.auto.commit", "true")
        .set("auto.commit.interval.ms", "500")
        .set("enable.auto.offset.store", "false")
        .set("auto.offset.reset", "earliest")
        .set("fetch.wait.max.ms", "100")
        .set("queued.max.messages.kbytes", "16384")
        .set("statistics.interval.ms", "5000");
    match kafka.group_protocol {
        GroupProtocol::Classic => {
            let session = kafka.session_timeout;
            let heartbeat = (session / 10).min(Duration::from_secs(3));
            client
                .set("partition.assignment.strategy", "cooperative-sticky")
                .set("session.timeout.ms", session.as_millis().to_string())
                .set("heartbeat.interval.ms", heartbeat.as_millis().to_string());
        }
        // The brokers keep the time-outs (KIP-848).
        GroupProtocol::Consumer => {
            client.set("group.protocol", "consumer");
        }
    }
    if let Some(instance) = &kafka.group_instance {
        client.set("group.instance.id", format!("{instance}-{}", options.role));
    }
    client
        .create_with_context(Context(group))
        .map_err(|source| Error::Client {
            topic: options.topic.clone(),
            source,
        })
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
    }
}
