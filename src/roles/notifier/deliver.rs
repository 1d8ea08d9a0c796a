//! What the consumer's first try and the workflow's later ones have in common: read, plan, try once, tell of the end.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::channels::{Channels, Unusable};
use super::endpoints::{Closed, Endpoints, Seen};
use super::plan::{self, Notification, Rules};
use crate::contract::avro;
use crate::contract::avro::RECEIPT;
use crate::contract::delivery::Parcel;
use crate::contract::receipt::{End, Outcome, Receipt};
use crate::contract::seal;
use crate::contract::seal::Sealer;
use crate::domain::Event;
use crate::engines::config::{Config, Topics};
use crate::engines::failpoint;
use crate::engines::kafka::Headers;
use crate::engines::kafka::consumer::BoxError;
use crate::engines::kafka::producer::{Message, Producer};
use crate::engines::registry;
use crate::engines::registry::Registry;
use crate::engines::telemetry::events::{NotificationEnded, NotificationTried};
use crate::roles::notifier::attempt::{Held, Letter, Tried};
use crate::roles::notifier::operator_alerts as ops;

/// Delivers notifications, one try at a time.
pub struct Deliverer {
    registry: Arc<Registry>,
    producer: Arc<Producer>,
    sealer: Sealer,
    pub(super) channels: Channels,
    /// Whom failures are told to.
    pub(super) ops: Vec<Notification>,
    endpoints: Endpoints,
    rules: Rules,
    topics: Topics,
    /// Pauses between the tries.
    pub(super) schedule: Vec<Duration>,
    pub(super) try_timeout: Duration,
}

/// Why an event's notifications are not known.
#[derive(Debug, thiserror::Error)]
pub(super) enum Unread {
    /// Its schema is not known.
    #[error(transparent)]
    Schema(#[from] registry::Error),
    /// It is none.
    #[error(transparent)]
    Event(#[from] avro::Error),
    /// Its targets do not open.
    #[error(transparent)]
    Seal(#[from] seal::Error),
}

/// What came of trying.
#[derive(Debug)]
pub(super) enum Attempt {
    /// It was tried.
    Sent(Tried),
    /// It was not: its endpoint is not asked now.
    Kept(Closed),
    /// This process serves no such channel.
    Unserved,
}

/// The longest first try: it holds a place of the consumer (contract, section 7).
const FIRST_TRY: Duration = Duration::from_secs(5);
/// How long a later try waits in the line for a place; then its workflow waits.
const LATER_WAIT: Duration = Duration::from_secs(2);

impl Deliverer {
    /// Makes no call.
    ///
    /// # Errors
    /// [`Unusable`] when the signing secrets are malformed or no HTTP client can be built.
    pub fn new(
        config: &Config,
        registry: Arc<Registry>,
        producer: Arc<Producer>,
        sealer: Sealer,
    ) -> Result<Self, Unusable> {
        let settings = &config.notifier;
        let default_slack = settings.default_slack.as_ref();
        Ok(Self {
            registry,
            producer,
            sealer,
            channels: Channels::new(settings)?,
            ops: ops::targets(settings),
            endpoints: Endpoints::new(settings.concurrency),
            rules: Rules {
                default_slack: default_slack.map(|url| url.expose().clone()),
            },
            topics: config.kafka.topics.clone(),
            schedule: settings.schedule.clone(),
            try_timeout: settings.try_timeout,
        })
    }

    /// Reads an event as it stands on its topic.
    pub(super) async fn read(&self, value: &[u8]) -> Result<Event, Unread> {
        let (id, datum) = avro::unframe(value)?;
        let writer = self.registry.schema(id).await?;
        Ok(avro::read_event(&writer, datum)?)
    }

    /// Returns whom an event is told to.
    pub(super) fn plan(&self, event: &Event) -> Result<Vec<Notification>, Unread> {
        let wanted = plan::wanted(event);
        let opened = wanted.map(|notify| self.sealer.open(&notify.sealed, seal::context(event)));
        Ok(plan::plan(event, opened.transpose()?.as_ref(), &self.rules))
    }

    /// The consumer's try: short, and it may wait for a place as long.
    pub(super) async fn first(&self, letter: &Letter<'_>, notification: &Notification) -> Attempt {
        let limit = FIRST_TRY.min(self.try_timeout);
        self.attempt(letter, notification, limit, FIRST_TRY).await
    }

    /// The workflow's try: it takes its time. It waits a little for a place, or first tries would always be ahead of it.
    pub(super) async fn later(&self, letter: &Letter<'_>, notification: &Notification) -> Attempt {
        let limit = self.try_timeout;
        self.attempt(letter, notification, limit, LATER_WAIT).await
    }

    async fn attempt(
        &self,
        letter: &Letter<'_>,
        notification: &Notification,
        limit: Duration,
        patience: Duration,
    ) -> Attempt {
        let Some(channel) = self.channels.of(&notification.target) else {
            return Attempt::Unserved;
        };
        // A later try has more time.
        if limit < self.try_timeout && channel.is_slower_than(limit) {
            return Attempt::Kept(Closed::Slow);
        }
        let (user, endpoint) = (&letter.event.user_id, notification.endpoint());
        let share = match self.endpoints.share(user, endpoint) {
            Ok(share) => share,
            Err(closed) => return Attempt::Kept(closed),
        };
        if let Err(Held(_)) = channel.turn(user).await {
            return Attempt::Kept(Closed::Full);
        }
        let place = match share.enter(patience).await {
            Ok(place) => place,
            Err(closed) => return Attempt::Kept(closed),
        };
        // The place goes back unused: the endpoint is not asked.
        if let Some(tried) = channel.limited(user) {
            return Attempt::Sent(tried);
        }
        let began = Instant::now();
        let tried = match Box::pin(channel.send(letter, limit)).await {
            Ok(tried) => tried,
            // The place goes back unused, and says nothing of the endpoint.
            Err(Held(_)) => return Attempt::Kept(Closed::Full),
        };
        place.seen(seen(&tried));
        NotificationTried {
            channel: notification.channel().as_str(),
            outcome: match &tried {
                Tried::Delivered(_) => "delivered",
                Tried::Refused { .. } => "refused",
                Tried::Later { .. } => "later",
            },
            elapsed: began.elapsed(),
        }
        .emit();
        Attempt::Sent(tried)
    }

    /// Publishes what is given up and then the receipt; returns when the broker has both.
    pub(super) async fn report(&self, parcel: &Parcel, receipt: &Receipt) -> Result<(), BoxError> {
        let key = Some(parcel.request_id.as_bytes());
        if receipt.outcome == Outcome::GivenUp {
            let given_up = Message {
                topic: &self.topics.notifications_dlq,
                key,
                value: Some(&parcel.event.0),
                headers: given_up_headers(parcel, receipt),
            };
            self.producer.send(given_up).await?;
            failpoint::hit("notify.parked").await;
        }
        let topic = &self.topics.notifications;
        let value = self.registry.encode(topic, &RECEIPT, receipt).await?;
        let message = Message {
            topic,
            key,
            value: Some(&value),
            headers: Headers::new(),
        };
        self.producer.send(message).await?;
        let since = receipt.ended_at.saturating_sub(parcel.occurred_at);
        NotificationEnded {
            channel: receipt.channel.as_str(),
            outcome: receipt.outcome.as_str(),
            elapsed: Duration::from_millis(u64::try_from(since).unwrap_or(0)),
            tries: u32::try_from(receipt.tries).unwrap_or(0),
        }
        .emit();
        failpoint::hit("notify.reported").await;
        Ok(())
    }
}

/// What a try tells of its endpoint.
fn seen(tried: &Tried) -> Seen {
    match tried {
        Tried::Later { status: None, .. } => Seen::Silent,
        Tried::Later { .. } => Seen::Unwell,
        Tried::Delivered(_) | Tried::Refused { .. } => Seen::Well,
    }
}

/// Makes the receipt of one notification; `shown` is its target without its secret parts.
pub(super) fn receipt(
    parcel: &Parcel,
    shown: String,
    end: End,
    tries: u32,
    first_try_at: Option<i64>,
    ended_at: i64,
) -> Receipt {
    let id = Receipt::id(&parcel.event_id, parcel.channel, &parcel.target_hash);
    Receipt {
        receipt_id: id.to_string(),
        event_id: parcel.event_id.clone(),
        request_id: parcel.request_id.clone(),
        channel: parcel.channel,
        target: shown,
        target_hash: parcel.target_hash.clone(),
        outcome: end.outcome,
        status: end.status.map(i32::from),
        tries: i32::try_from(tries).unwrap_or(i32::MAX),
        first_try_at: first_try_at.unwrap_or(ended_at),
        ended_at,
        error: end.error,
    }
}

fn given_up_headers(parcel: &Parcel, receipt: &Receipt) -> Headers {
    let reason = receipt.error.as_ref().map_or("", |error| &error.code);
    let header = |name: &str, value: String| (name.to_owned(), Some(value.into_bytes()));
    let ours = [
        header("dlq.channel", receipt.channel.as_str().to_owned()),
        header("dlq.target_hash", receipt.target_hash.clone()),
        header("dlq.reason", reason.to_owned()),
        header("dlq.attempts", receipt.tries.to_string()),
    ];
    let trace = parcel.traceparent.clone();
    let trace = trace.map(|trace| header("traceparent", trace));
    ours.into_iter().chain(trace).collect()
}

impl std::fmt::Debug for Deliverer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Deliverer").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
