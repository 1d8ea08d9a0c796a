//! Redrives dead letters one after the other: each is acknowledged before the next is sent.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::time::Duration;

use tokio::time::{Interval, MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;

use super::deliver::{self, Deliveries, Redelivery};
use super::fresh_id::fresh_id;
use super::last_copy::LastCopies;
use super::policy::Route;
use super::{Contents, DeadLetter, Filter, Opener, Position, RedrivePolicy, Skip};
use crate::domain::RecordPosition;
use crate::engines::config::{Config, Topics};
use crate::engines::kafka::producer;
use crate::engines::kafka::producer::{Message, Producer};
use crate::engines::kafka::snapshot::{Extent, Snapshot};
use crate::engines::telemetry::events;

/// What to redrive, and how.
#[derive(Clone, Debug)]
pub struct RedriveOrder {
    /// The dead letters that are selected.
    pub selection: Selection,
    /// Which of these may be sent, and with what changes.
    pub policy: RedrivePolicy,
    /// Only count, send nothing.
    pub dry_run: bool,
    /// The highest rate, in dead letters per second.
    pub rate: u32,
}

/// The dead letters that are selected.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Selection {
    Matching(Filter),
    At(BTreeSet<Position>),
}

/// Where a dead letter was sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Destination {
    /// To the topic it came from; its new position there.
    Record(RecordPosition),
    /// To the delivery workflow with this id.
    Workflow(String),
}

impl fmt::Display for Destination {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Record(position) => position.fmt(f),
            Self::Workflow(id) => f.write_str(id),
        }
    }
}

/// A dead letter that was sent again.
#[derive(Debug)]
pub struct Redriven<'a> {
    /// The dead letter as it stays on its topic.
    pub letter: &'a DeadLetter,
    /// Where it was sent.
    pub to: &'a Destination,
    /// The request's new id, if it was given one.
    pub new_id: Option<&'a str>,
}

/// A callback that receives each dead letter that was sent.
pub type OnRedriven<'r> = dyn FnMut(&Redriven<'_>) -> std::io::Result<()> + Send + 'r;

/// The result of a redrive.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Summary {
    /// Number of dead letters sent, or with a dry run to be sent, by reason.
    pub sent: BTreeMap<String, u64>,
    /// Number of selected dead letters that were not sent, by the cause.
    pub skipped: BTreeMap<Skip, u64>,
    /// Selected positions that hold no dead letter.
    pub missing: BTreeSet<Position>,
    /// True if a stop came before the end.
    pub interrupted: bool,
}

/// Redrives dead letters, and calls `report` for each that was sent. A stop lets the current one finish.
///
/// # Errors
/// An engine does not answer, or `report` fails.
pub async fn redrive(
    config: &Config,
    order: &RedriveOrder,
    stop: &CancellationToken,
    report: &mut OnRedriven<'_>,
) -> anyhow::Result<Summary> {
    let mut run = tokio::select! {
        run = RedriveRun::open(config, order) => run?,
        () = stop.cancelled() => {
            return Ok(Summary { interrupted: true, ..Summary::default() });
        }
    };
    loop {
        let next = tokio::select! {
            biased;
            () = stop.cancelled() => {
                run.summary.interrupted = true;
                return Ok(run.summary);
            }
            next = run.next() => next?,
        };
        let Some((letter, sending)) = next else {
            run.summary.missing = run.missing;
            return Ok(run.summary);
        };
        run.send(&letter, sending, report).await?;
    }
}

/// What is to be sent.
enum Sending<'t> {
    /// A record to its topic, with its key and value unchanged.
    Record(&'t str),
    /// A request to its topic under a new id, and the value with that id.
    Renamed(&'t str, String, Vec<u8>),
    /// A notification, to a workflow.
    Notification(Redelivery),
}

/// The state of one redrive.
struct RedriveRun<'a> {
    topics: &'a Topics,
    order: &'a RedriveOrder,
    snapshot: Snapshot,
    copies: LastCopies,
    opener: Opener,
    deliveries: Deliveries,
    producer: Producer,
    pace: Interval,
    /// Selected positions that were not read yet.
    missing: BTreeSet<Position>,
    summary: Summary,
}

impl<'a> RedriveRun<'a> {
    async fn open(config: &'a Config, order: &'a RedriveOrder) -> anyhow::Result<Self> {
        let (kafka, selection) = (&config.kafka, &order.selection);
        let topic = order.policy.topic.name(&kafka.topics);
        let mut copies = LastCopies::default();
        let mut missing = BTreeSet::new();
        match selection {
            Selection::At(positions) => missing.clone_from(positions),
            // The topic is read twice. A dead letter is superseded only by a later one, which may be after the end of
            // the selected period, so this reading goes on to the end of the topic.
            Selection::Matching(_) => {
                let mut snapshot = Snapshot::open(kafka, topic, selection.extent()).await?;
                while let Some(record) = snapshot.next().await? {
                    copies.add(&DeadLetter(record));
                }
            }
        }
        Ok(Self {
            topics: &kafka.topics,
            order,
            snapshot: Snapshot::open(kafka, topic, selection.extent()).await?,
            copies,
            opener: Opener::new(&config.schema_registry, &kafka.topics),
            deliveries: Deliveries::new(&config.temporal),
            producer: Producer::new(kafka, "redrive")?,
            pace: pace(order.rate),
            missing,
            summary: Summary::default(),
        })
    }

    /// Waits until a selected dead letter may be sent; returns `None` after the last. Counts those that are not sent.
    async fn next(&mut self) -> anyhow::Result<Option<(DeadLetter, Sending<'a>)>> {
        while let Some(record) = self.snapshot.next().await? {
            let letter = DeadLetter(record);
            self.missing.remove(&letter.position());
            if !self.order.selection.takes(&letter) {
                continue;
            }
            match self.prepare(&letter).await {
                Ok(_) if self.order.dry_run => self.count(&letter),
                Ok(sending) => {
                    self.pace.tick().await;
                    return Ok(Some((letter, sending)));
                }
                Err(error) => self.skip(error)?,
            }
        }
        Ok(None)
    }

    /// Decides what to send; a [`Skip`] is an error.
    async fn prepare(&self, letter: &DeadLetter) -> anyhow::Result<Sending<'a>> {
        let policy = &self.order.policy;
        let route = policy.route(letter, self.topics)?;
        if self.copies.has_later(letter) {
            return Err(Skip::Superseded.into());
        }
        match route {
            Route::Topic(topic) if policy.new_id => self.renamed(letter, topic).await,
            Route::Topic(topic) => Ok(Sending::Record(topic)),
            Route::Workflow => {
                let notification = deliver::notification(&self.opener, letter).await?;
                match self.deliveries.has_delivered(&notification).await? {
                    true => Err(Skip::Delivered.into()),
                    false => Ok(Sending::Notification(notification)),
                }
            }
        }
    }

    async fn renamed(&self, letter: &DeadLetter, topic: &'a str) -> anyhow::Result<Sending<'a>> {
        let Contents::Request(mut request) = self.opener.open(letter).await?.contents else {
            return Err(Skip::NoRequest.into());
        };
        let id = fresh_id(&request.id, letter.position())?;
        // A request that had the new id before has a dead letter of its own with more attempts; that one may be sent.
        if id != request.id && self.copies.has_fresh(&id) {
            return Err(Skip::Superseded.into());
        }
        request.id = id;
        let value = self.opener.encode(topic, &request).await?;
        Ok(Sending::Renamed(topic, request.id.to_string(), value))
    }

    /// Sends one dead letter and reports it. No stop comes between the two.
    async fn send(
        &mut self,
        letter: &DeadLetter,
        sending: Sending<'_>,
        report: &mut OnRedriven<'_>,
    ) -> anyhow::Result<()> {
        let record = &letter.0;
        let (sent, new_id) = match sending {
            Sending::Record(topic) => {
                let (key, value) = (record.key.as_deref(), record.value.as_deref());
                (self.produce(letter, topic, key, value).await, None)
            }
            Sending::Renamed(topic, id, value) => {
                let (key, value) = (Some(id.as_bytes()), Some(value.as_slice()));
                (self.produce(letter, topic, key, value).await, Some(id))
            }
            Sending::Notification(notification) => {
                let started = self.deliveries.start(notification).await;
                (started.map(Destination::Workflow), None)
            }
        };
        let to = match sent {
            Ok(to) => to,
            Err(error) => return self.skip(error),
        };
        events::dead_letter_redriven(&record.position, &to, letter.reason(), letter.attempts());
        self.count(letter);
        Ok(report(&Redriven {
            letter,
            to: &to,
            new_id: new_id.as_deref(),
        })?)
    }

    async fn produce(
        &self,
        letter: &DeadLetter,
        topic: &str,
        key: Option<&[u8]>,
        value: Option<&[u8]>,
    ) -> anyhow::Result<Destination> {
        let message = Message {
            topic,
            key,
            value,
            headers: self.order.policy.headers(letter),
        };
        match self.producer.place(message).await {
            Ok(to) => Ok(Destination::Record(to)),
            Err(producer::Error::TooLarge { .. }) => Err(Skip::TooLarge.into()),
            Err(error @ (producer::Error::Refused { .. } | producer::Error::Client(_))) => {
                Err(error.into())
            }
        }
    }

    fn count(&mut self, letter: &DeadLetter) {
        let reason = letter.reason().to_owned();
        *self.summary.sent.entry(reason).or_default() += 1;
    }

    /// Counts a skipped dead letter; returns any other error.
    fn skip(&mut self, error: anyhow::Error) -> anyhow::Result<()> {
        let why = error.downcast::<Skip>()?;
        *self.summary.skipped.entry(why).or_default() += 1;
        Ok(())
    }
}

impl Selection {
    fn extent(&self) -> Extent {
        match self {
            Self::At(positions) => {
                let pairs = positions.iter().map(|at| (at.partition, at.offset));
                Extent::At(pairs.collect())
            }
            Self::Matching(filter) => filter.since.map_or(Extent::All, Extent::Since),
        }
    }

    fn takes(&self, letter: &DeadLetter) -> bool {
        match self {
            Self::At(_) => true,
            Self::Matching(filter) => filter.takes(letter),
        }
    }
}

fn pace(rate: u32) -> Interval {
    let mut pace = interval(Duration::from_secs(1) / rate.max(1));
    pace.set_missed_tick_behavior(MissedTickBehavior::Delay);
    pace
}
