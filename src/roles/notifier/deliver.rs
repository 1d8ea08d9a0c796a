//! What the consumer's first attempt and a workflow's later attempts share: reading the event, planning, making one
//! attempt, and reporting the end.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tracing::Instrument as _;
use url::Url;

use super::channels::{Channels, UnusableChannel};
use super::endpoints::{Closed, Endpoints, Seen};
use super::plan::{self, Notification};
use crate::contract::avro;
use crate::contract::avro::RECEIPT;
use crate::contract::delivery::Parcel;
use crate::contract::receipt::{NotificationEnd, NotificationOutcome, Receipt};
use crate::contract::seal;
use crate::contract::seal::Sealer;
use crate::domain::{ErrorCode, Event};
use crate::engines::config::{Config, Topics};
use crate::engines::failpoint;
use crate::engines::kafka::Headers;
use crate::engines::kafka::consumer::{BoxError, Cause, Failure, Rejection};
use crate::engines::kafka::producer::{Message, Producer};
use crate::engines::registry;
use crate::engines::registry::Registry;
use crate::engines::telemetry::{events, spans};
use crate::roles::notifier::attempt::{NotNow, Notice, Tried};
use crate::roles::notifier::operator_alerts;

/// Delivers notifications, one attempt at a time.
pub struct Deliverer {
    registry: Arc<Registry>,
    producer: Arc<Producer>,
    sealer: Sealer,
    pub(super) channels: Channels,
    /// The operators' targets, for failure digests.
    pub(super) operators: Vec<Notification>,
    endpoints: Endpoints,
    /// The Slack target for requests that name none.
    default_slack: Option<Url>,
    topics: Topics,
    /// Pauses between attempts.
    pub(super) schedule: Vec<Duration>,
    try_timeout: Duration,
}

/// Why the notifications of a record cannot be planned.
#[derive(Debug, thiserror::Error)]
pub(super) enum Unread {
    #[error(transparent)]
    Schema(#[from] registry::Error),
    #[error(transparent)]
    Event(#[from] avro::Error),
    /// Its sealed targets cannot be opened.
    #[error(transparent)]
    Seal(#[from] seal::Error),
}

impl Unread {
    /// Returns whether the record may be readable later, because only the registry is unavailable.
    pub(super) fn is_passing(&self) -> bool {
        use registry::Error::{Call, Refused};
        matches!(self, Self::Schema(Call(_) | Refused { .. }))
    }
}

impl From<Unread> for Failure {
    fn from(error: Unread) -> Self {
        if error.is_passing() {
            return Self::Retry(Cause::RegistryUnavailable, error.into());
        }
        let reason = match error {
            Unread::Schema(registry::Error::Unknown(_)) => ErrorCode::UnknownSchema,
            Unread::Schema(_) | Unread::Event(_) | Unread::Seal(_) => ErrorCode::Undecodable,
        };
        Self::Reject(Rejection::new(reason, error))
    }
}

#[derive(Debug)]
pub(super) enum Attempt {
    /// An attempt was made, or an email limit held the message back, which counts as an attempt.
    Sent(Tried),
    /// No attempt was made: the endpoint is closed.
    Closed(Closed),
    /// This process does not serve the channel.
    Unserved,
}

/// Time limit of a first attempt, because it occupies a slot of the consumer (contract, section 7).
const FIRST_TRY: Duration = Duration::from_secs(5);
/// How long a later attempt waits for a slot at its endpoint; after that, its workflow waits instead.
const LATER_WAIT: Duration = Duration::from_secs(2);

impl Deliverer {
    /// Creates a deliverer; makes no network call.
    ///
    /// # Errors
    /// [`UnusableChannel`] if a signing secret or an email template is malformed, the CA certificates cannot be read,
    /// or no HTTP client can be built.
    pub fn new(
        config: &Config,
        registry: Arc<Registry>,
        producer: Arc<Producer>,
        sealer: Sealer,
    ) -> Result<Self, UnusableChannel> {
        let settings = &config.notifier;
        let default_slack = settings.default_slack.as_ref();
        Ok(Self {
            registry,
            producer,
            sealer,
            channels: Channels::new(settings)?,
            operators: operator_alerts::targets(settings),
            endpoints: Endpoints::new(settings.concurrency),
            default_slack: default_slack.map(|url| url.expose().clone()),
            topics: config.kafka.topics.clone(),
            schedule: settings.schedule.clone(),
            try_timeout: settings.try_timeout,
        })
    }

    pub(super) async fn read(&self, value: &[u8]) -> Result<Event, Unread> {
        let (id, datum) = avro::unframe(value)?;
        let writer = self.registry.schema(id).await?;
        Ok(avro::read_event(&writer, datum)?)
    }

    pub(super) fn plan(&self, event: &Event) -> Result<Vec<Notification>, Unread> {
        let wanted = plan::wanted(event);
        let opened = wanted.map(|notify| self.sealer.open(&notify.sealed, seal::context(event)));
        let opened = opened.transpose()?;
        Ok(plan::plan(
            event,
            opened.as_ref(),
            self.default_slack.as_ref(),
        ))
    }

    /// Makes the consumer's attempt: waits for a slot for at most [`FIRST_TRY`], and may then take as long.
    pub(super) async fn first(&self, notice: &Notice<'_>, notification: &Notification) -> Attempt {
        let limit = FIRST_TRY.min(self.try_timeout);
        self.attempt(notice, notification, limit, FIRST_TRY).await
    }

    /// Makes a workflow's attempt, which may take the full `try_timeout`. It also waits briefly for a slot: first
    /// attempts wait too, and would otherwise take every slot that becomes free.
    pub(super) async fn later(&self, notice: &Notice<'_>, notification: &Notification) -> Attempt {
        let limit = self.try_timeout;
        self.attempt(notice, notification, limit, LATER_WAIT).await
    }

    async fn attempt(
        &self,
        notice: &Notice<'_>,
        notification: &Notification,
        limit: Duration,
        patience: Duration,
    ) -> Attempt {
        let Some(channel) = self.channels.of(&notification.target) else {
            return Attempt::Unserved;
        };
        // A later attempt has more time.
        if limit < self.try_timeout && channel.is_slower_than(limit) {
            return Attempt::Closed(Closed::Slow);
        }
        let (user, endpoint) = (&notice.event.user_id, notification.endpoint());
        let mut entry = match self.endpoints.enter(user, endpoint) {
            Ok(entry) => entry,
            Err(closed) => return Attempt::Closed(closed),
        };
        if let Err(NotNow(_)) = channel.turn().await {
            return Attempt::Closed(Closed::Full);
        }
        if let Err(closed) = entry.turn(patience).await {
            return Attempt::Closed(closed);
        }
        // A limited mail is not sent, so the endpoint's circuits do not change.
        if let Some(tried) = channel.limited(user) {
            return Attempt::Sent(tried);
        }
        let began = Instant::now();
        let channel_name = notification.channel().as_str();
        let sending = async {
            let trace = spans::traceparent(notice.traceparent);
            let notice = Notice {
                traceparent: trace.as_deref(),
                ..*notice
            };
            let tried = channel.send(&notice, limit).await;
            trace_end(channel_name, &tried);
            tried
        };
        let sending = sending.instrument(spans::delivery(channel_name, notice.event));
        let tried = match Box::pin(sending).await {
            Ok(tried) => tried,
            // Nothing was sent, so the endpoint's circuits do not change.
            Err(NotNow(_)) => return Attempt::Closed(Closed::Full),
        };
        if let Some(seen) = seen(&tried) {
            entry.seen(seen);
        }
        let outcome = match &tried {
            Tried::Delivered(_) => "delivered",
            Tried::Refused { .. } => "refused",
            Tried::Later { .. } => "later",
        };
        events::notification_tried(channel_name, outcome, began.elapsed());
        Attempt::Sent(tried)
    }

    /// Publishes the receipt, and before it, if the notification was given up, the event to the dead-letter topic.
    /// Returns once the brokers have acknowledged both.
    pub(super) async fn report(&self, parcel: &Parcel, receipt: &Receipt) -> Result<(), BoxError> {
        let key = Some(parcel.request_id.as_bytes());
        if receipt.outcome == NotificationOutcome::GivenUp {
            let given_up = Message {
                topic: &self.topics.notifications_dlq,
                key,
                value: Some(&parcel.event.0),
                headers: given_up_headers(parcel, receipt),
            };
            self.producer.send(given_up).await?;
            failpoint::hit("notify.dead_lettered").await;
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
        events::notification_ended(
            receipt.channel.as_str(),
            receipt.outcome.as_str(),
            Duration::from_millis(u64::try_from(since).unwrap_or(0)),
            u32::try_from(receipt.tries).unwrap_or(0),
        );
        failpoint::hit("notify.reported").await;
        Ok(())
    }
}

/// Records in the span of an attempt how it ended.
fn trace_end(channel: &'static str, tried: &Result<Tried, NotNow>) {
    let (status, error) = match tried {
        Ok(Tried::Delivered(status)) => (Some(*status), None),
        Ok(Tried::Refused { status, error } | Tried::Later { status, error, .. }) => {
            (*status, Some(error.code.as_str()))
        }
        Err(NotNow(_)) => (None, Some("rate_limited")),
    };
    if let Some(status) = status {
        spans::delivery_answered(channel, status);
    }
    if let Some(code) = error {
        spans::failed(code);
    }
}

/// Returns what an attempt shows about its endpoint; `None` if genflow itself refused the message and did not send it.
fn seen(tried: &Tried) -> Option<Seen> {
    match tried {
        Tried::Refused { status: None, .. } => None,
        Tried::Later { status: None, .. } => Some(Seen::Silent),
        Tried::Later { .. } => Some(Seen::Unwell),
        Tried::Delivered(_) | Tried::Refused { .. } => Some(Seen::Well),
    }
}

/// Builds the receipt of one notification; `shown` is its target without the secret parts.
pub(super) fn receipt(
    parcel: &Parcel,
    shown: String,
    end: NotificationEnd,
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

#[cfg(test)]
mod tests;
