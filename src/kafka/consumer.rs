//! Feeds the records of one topic to a handler, at least once.
//!
//! Owns all that is Kafka for a role: the group, bounded concurrency with one record of a key at a time, pauses
//! between tries, the dead-letter topic, commits behind the watermark, and the drain at the end. An offset is stored
//! only when its record and all before it are done; librdkafka commits what is stored. A record is done when its
//! handler said Ok, or when it stands on the dead-letter topic and the handler was told.

mod assignment;
mod lanes;
mod settle;

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use rdkafka::consumer::{CommitMode, Consumer as _, StreamConsumer};
use rdkafka::error::KafkaError;
use rdkafka::message::{BorrowedMessage, Headers as _, Message as _};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use self::assignment::{Assignment, Context, Epoch};
use self::lanes::Lanes;
use self::settle::{Settled, Settler};
use super::{Headers, Record, producer::Producer};
use crate::admin::Health;
use crate::config;
use crate::domain::{ErrorCode, RecordPosition};
use crate::telemetry::events::{ConsumerStumbled, RecordsInFlight};

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
    Retry(BoxError),
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
    let assignment = Arc::new(Assignment::new(&options.topic));
    let consumer = Arc::new(client(kafka, &options, assignment.clone())?);
    if reached(&consumer, &options, &health, &stop).await.is_none() {
        return Ok(());
    }
    consumer
        .subscribe(&[&options.topic])
        .map_err(|source| Error::Client {
            topic: options.topic.clone(),
            source,
        })?;
    let settler = Arc::new(Settler::new(
        options.clone(),
        producer,
        handler,
        health,
        stop.clone(),
    ));
    let mut flow = Flow {
        consumer,
        assignment,
        lanes: Lanes::default(),
        running: JoinSet::new(),
        settler,
        paused: false,
        stumbles: 0,
        options,
    };
    let ended = flow.until(&stop).await;
    flow.drain().await;
    ended
}

/// A record at work, and the assignment it came by.
struct Ticket {
    record: Record,
    epoch: Epoch,
}

struct Flow<H> {
    options: Options,
    consumer: Arc<StreamConsumer<Context>>,
    assignment: Arc<Assignment>,
    lanes: Lanes<Ticket>,
    running: JoinSet<(Ticket, Settled)>,
    settler: Arc<Settler<H>>,
    paused: bool,
    stumbles: u32,
}

impl<H: Handler> Flow<H> {
    async fn until(&mut self, stop: &CancellationToken) -> Result<(), Error> {
        let consumer = self.consumer.clone();
        loop {
            // All arms are cancel-safe: a message that `recv` has not returned stays in librdkafka's queue.
            tokio::select! {
                biased;
                () = stop.cancelled() => return Ok(()),
                Some(joined) = self.running.join_next() => self.settled(joined),
                received = consumer.recv() => match received {
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
        let RecordPosition {
            partition, offset, ..
        } = record.position;
        // None: the partition was taken away since; its new owner gets the record.
        if let Some(epoch) = self.assignment.take(partition, offset) {
            let lane = lanes::of(partition, record.key.as_deref(), offset);
            self.lanes.push(lane, Ticket { record, epoch });
        }
    }

    fn start_what_may_run(&mut self) {
        while self.running.len() < self.options.concurrency {
            let Some(ticket) = self.lanes.next() else {
                break;
            };
            let settler = self.settler.clone();
            self.running.spawn(async move {
                let settled = settler.settle(&ticket.record).await;
                (ticket, settled)
            });
        }
        RecordsInFlight {
            topic: &self.options.topic,
            count: self.running.len(),
        }
        .emit();
    }

    fn settled(&mut self, joined: Result<(Ticket, Settled), tokio::task::JoinError>) {
        let Ok((ticket, settled)) = joined else {
            // A handler that panicked leaves its record undone: the watermark stays and a restart tries again.
            return;
        };
        let RecordPosition {
            partition, offset, ..
        } = ticket.record.position;
        self.lanes
            .done(&lanes::of(partition, ticket.record.key.as_deref(), offset));
        if settled == Settled::Done
            && let Some(reached) = self.assignment.finish(ticket.epoch, partition, offset)
            && let Err(error) = self
                .consumer
                .store_offset(&self.options.topic, partition, reached)
        {
            // The partition was taken away a moment ago: its new owner reads the record again.
            tracing::debug!(partition, offset, %error, "offset not stored");
        }
    }

    /// Pauses when enough is taken, and goes on polling: a consumer that does not poll is put out of its group.
    fn pause_or_resume(&mut self) {
        let most = self.options.concurrency * TAKEN_PER_SLOT;
        let taken = self.lanes.len();
        let fresh = self.assignment.take_note_of_change();
        let pause = if self.paused {
            taken > most / 2
        } else {
            taken >= most
        };
        if pause == self.paused && !(pause && fresh) {
            return;
        }
        let done = self.consumer.assignment().and_then(|all| match pause {
            true => self.consumer.pause(&all),
            false => self.consumer.resume(&all),
        });
        match done {
            Ok(()) => self.paused = pause,
            Err(error) => tracing::debug!(%error, pause, "partitions not paused or resumed"),
        }
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
        while let Some(joined) = self.running.join_next().await {
            self.settled(joined);
        }
        let consumer = self.consumer;
        // Committing and closing block on the broker.
        let closed = tokio::task::spawn_blocking(move || {
            if let Err(error) = consumer.commit_consumer_state(CommitMode::Sync) {
                tracing::debug!(%error, "nothing more to commit");
            }
            consumer.unsubscribe();
        });
        if closed.await.is_err() {
            tracing::warn!("the consumer did not close");
        }
    }
}

/// Waits until the brokers tell of the topic; `None` when a stop comes first.
async fn reached(
    consumer: &Arc<StreamConsumer<Context>>,
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
    assignment: Arc<Assignment>,
) -> Result<StreamConsumer<Context>, Error> {
    let heartbeat = (kafka.session_timeout / 10).min(Duration::from_secs(3));
    super::client(kafka, options.role)
        .set("group.id", &options.group)
        .set("enable.auto.commit", "true")
        .set("auto.commit.interval.ms", "500")
        .set("enable.auto.offset.store", "false")
        .set("auto.offset.reset", "earliest")
        .set("partition.assignment.strategy", "cooperative-sticky")
        .set(
            "session.timeout.ms",
            kafka.session_timeout.as_millis().to_string(),
        )
        .set("heartbeat.interval.ms", heartbeat.as_millis().to_string())
        .set("fetch.wait.max.ms", "100")
        .set("queued.max.messages.kbytes", "16384")
        .set("statistics.interval.ms", "5000")
        .create_with_context(Context::new(assignment))
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
