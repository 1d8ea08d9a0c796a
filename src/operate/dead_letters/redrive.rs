//! Redrives dead letters one after the other: each is acknowledged and noted before the next is sent.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::time::Duration;

use tokio::time::{Interval, MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;

use super::deliver::{self, Deliveries};
use super::rules::Way;
use super::{Contents, Error, Filter, Letter, Opener, Position, Progress, Rules, Skip, renewed};
use crate::contract::delivery::Parcel;
use crate::domain::RecordPosition;
use crate::engines::clock::now;
use crate::engines::config::{Config, Topics};
use crate::engines::kafka::producer;
use crate::engines::kafka::producer::{Message, Producer};
use crate::engines::kafka::snapshot::{Extent, Snapshot};
use crate::engines::telemetry::events;

/// What to redrive, and how.
#[derive(Clone, Debug)]
pub struct Order {
    /// The dead letters that are selected.
    pub selection: Selection,
    /// Which of these may be sent, and with what changes.
    pub rules: Rules,
    /// Only count, send nothing.
    pub dry_run: bool,
    /// The highest rate, in dead letters per second.
    pub rate: u32,
    /// Name of the operator, for the log.
    pub by: String,
}

/// The dead letters that are selected.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Selection {
    /// All that match a filter.
    Matching(Filter),
    /// Those at these positions.
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
    pub letter: &'a Letter,
    /// Where it was sent.
    pub to: &'a Destination,
    /// The request's new id, if it was given one.
    pub new_id: Option<&'a str>,
    /// When it was sent, in milliseconds since the epoch.
    pub at: i64,
}

/// A callback that receives each dead letter that was sent.
pub type Tell<'t> = dyn FnMut(&Redriven<'_>) -> std::io::Result<()> + Send + 't;

/// The result of a redrive.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Summary {
    /// Number of dead letters sent, or with a dry run to be sent, by reason.
    pub sent: BTreeMap<String, u64>,
    /// Number of selected dead letters that were not sent, by why not.
    pub skipped: BTreeMap<Skip, u64>,
    /// Selected positions that hold no dead letter.
    pub missing: Vec<Position>,
    /// Number of sent dead letters that the memory has no room for; the next redrive sends them again.
    pub left_out: i64,
    /// True if a stop came before the end.
    pub interrupted: bool,
}

/// Redrives dead letters, and calls `tell` for each once it is noted. A stop lets the current one finish.
///
/// # Errors
/// An engine does not answer, or `tell` fails. What was sent before is noted, so another run continues after it.
pub async fn redrive(
    config: &Config,
    order: &Order,
    stop: &CancellationToken,
    tell: &mut Tell<'_>,
) -> Result<Summary, Error> {
    let kafka = &config.kafka;
    let extent = order.selection.extent();
    let shelf = order.rules.shelf.topic(&kafka.topics);
    let mut snapshot = Snapshot::open(kafka, shelf, extent).await?;
    let mut run = Run {
        topics: &kafka.topics,
        order,
        opener: Opener::new(&config.schema_registry_url, &kafka.topics)?,
        progress: Progress::open(kafka, shelf, snapshot.bounds()).await?,
        deliveries: Deliveries::new(&config.temporal),
        producer: Producer::new(kafka, "redrive")?,
        pace: pace(order.rate),
        summary: Summary::default(),
    };
    let mut missing = match &order.selection {
        Selection::At(positions) => positions.clone(),
        Selection::Matching(_) => BTreeSet::new(),
    };
    loop {
        let next = tokio::select! {
            biased;
            () = stop.cancelled() => { run.summary.interrupted = true; break }
            next = snapshot.next() => next?,
        };
        let Some(record) = next else {
            run.summary.missing = missing.into_iter().collect();
            break;
        };
        let letter = Letter { record };
        missing.remove(&letter.position());
        if !run.one(&letter, stop, tell).await? {
            run.summary.interrupted = true;
            break;
        }
    }
    run.summary.left_out = run.progress.left_out();
    Ok(run.summary)
}

/// What is to be sent.
enum Sending<'t> {
    /// A record: its topic, and its new id and value if it gets a new id.
    Record(&'t str, Option<(String, Vec<u8>)>),
    /// A notification, and its user.
    Parcel(Parcel, String),
}

/// The state of one redrive.
struct Run<'a> {
    topics: &'a Topics,
    order: &'a Order,
    opener: Opener,
    progress: Progress,
    deliveries: Deliveries,
    producer: Producer,
    pace: Interval,
    summary: Summary,
}

impl Run<'_> {
    /// Sends one dead letter if it is selected and may be sent; returns `false` if a stop came first.
    async fn one(
        &mut self,
        letter: &Letter,
        stop: &CancellationToken,
        tell: &mut Tell<'_>,
    ) -> Result<bool, Error> {
        if !self.is_meant(letter).await? {
            return Ok(true);
        }
        let rules = &self.order.rules;
        let sent_before = self.progress.has(letter.position());
        let sending = match rules.judge(letter, sent_before, self.topics) {
            Err(skip) => return Ok(self.skip(skip)),
            Ok(Way::Topic(topic)) if rules.new_id => match self.renew(letter, topic).await? {
                Some(renewed) => Sending::Record(topic, Some(renewed)),
                None => return Ok(self.skip(Skip::NoRequest)),
            },
            Ok(Way::Topic(topic)) => Sending::Record(topic, None),
            Ok(Way::Workflow) => match deliver::parcel(&self.opener, letter).await? {
                Ok((parcel, user)) => Sending::Parcel(parcel, user),
                Err(skip) => return Ok(self.skip(skip)),
            },
        };
        if self.order.dry_run {
            self.count(letter);
            return Ok(true);
        }
        tokio::select! {
            biased;
            () = stop.cancelled() => return Ok(false),
            _ = self.pace.tick() => {}
        }
        let (to, new_id) = match sending {
            Sending::Record(topic, renewed) => {
                let sent = self.send(letter, topic, renewed.as_ref()).await?;
                (sent.map(Destination::Record), renewed.map(|(id, _)| id))
            }
            Sending::Parcel(parcel, user) => {
                let started = self.deliveries.start(parcel, &user).await?;
                (started.map(Destination::Workflow), None)
            }
        };
        match to {
            Ok(to) => self.note(letter, &to, new_id.as_deref(), tell).await?,
            Err(skip) => drop(self.skip(skip)),
        }
        Ok(true)
    }

    /// Sends one dead letter to its topic.
    async fn send(
        &self,
        letter: &Letter,
        topic: &str,
        renewed: Option<&(String, Vec<u8>)>,
    ) -> Result<Result<RecordPosition, Skip>, Error> {
        let (key, value) = match renewed {
            Some((id, value)) => (Some(id.as_bytes()), Some(value.as_slice())),
            None => (letter.record.key.as_deref(), letter.record.value.as_deref()),
        };
        let message = Message {
            topic,
            key,
            value,
            headers: self.order.rules.headers(letter),
        };
        match self.producer.place(message).await {
            Ok(to) => Ok(Ok(to)),
            Err(producer::Error::TooLarge { .. }) => Ok(Err(Skip::TooLarge)),
            Err(error @ (producer::Error::Refused { .. } | producer::Error::Client(_))) => {
                Err(error.into())
            }
        }
    }

    /// Notes that a dead letter was sent, and reports it. From the send to the note nothing yields to a stop, so that
    /// whatever was sent is noted.
    async fn note(
        &mut self,
        letter: &Letter,
        to: &Destination,
        new_id: Option<&str>,
        tell: &mut Tell<'_>,
    ) -> Result<(), Error> {
        let at = now();
        events::dead_letter_redriven(
            &letter.record.position,
            to,
            letter.reason(),
            letter.attempts(),
            &self.order.by,
        );
        self.progress.note(letter.position()).await?;
        self.count(letter);
        tell(&Redriven {
            letter,
            to,
            new_id,
            at,
        })?;
        Ok(())
    }

    async fn is_meant(&self, letter: &Letter) -> Result<bool, Error> {
        let Selection::Matching(filter) = &self.order.selection else {
            return Ok(true);
        };
        if !filter.takes(letter) || filter.user.is_none() {
            return Ok(filter.takes(letter));
        }
        let opened = self.opener.open(letter).await?;
        Ok(filter.takes_user(opened.user.as_deref()))
    }

    /// Returns a request's new id and its value with that id; `None` if the dead letter is no valid request.
    async fn renew(
        &self,
        letter: &Letter,
        topic: &str,
    ) -> Result<Option<(String, Vec<u8>)>, Error> {
        let Contents::Request(mut request) = self.opener.open(letter).await?.contents else {
            return Ok(None);
        };
        let Ok(id) = renewed(&request.id, letter.position()) else {
            return Ok(None);
        };
        request.id = id;
        let value = self.opener.encode(topic, &request).await?;
        Ok(Some((request.id.to_string(), value)))
    }

    fn count(&mut self, letter: &Letter) {
        let reason = letter.reason().to_owned();
        *self.summary.sent.entry(reason).or_default() += 1;
    }

    fn skip(&mut self, why: Skip) -> bool {
        *self.summary.skipped.entry(why).or_default() += 1;
        true
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
}

fn pace(rate: u32) -> Interval {
    let mut pace = interval(Duration::from_secs(1) / rate.max(1));
    pace.set_missed_tick_behavior(MissedTickBehavior::Delay);
    pace
}
