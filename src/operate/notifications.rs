//! Notifications at a person's request: what became of them, one of them again, and a test of a target.
//!
//! A notification that is sent again is the same one: the event, the target and the `webhook-id` (the id of the event) are
//! those of the first time, so a receiver that has it recognises the repeat. It runs as a delivery of its own, which names
//! the person who asked, and publishes another receipt. genflow never does this by itself.

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use apache_avro::Schema;
use url::Url;

use crate::contract::avro::{self, RECEIPT};
use crate::contract::delivery::{Parcel, Raw};
use crate::contract::receipt::{Channel, Receipt};
use crate::domain::Event;
use crate::engines::config::{Config, Faults};
use crate::engines::kafka::Record;
use crate::engines::kafka::snapshot::{Extent, Snapshot};
use crate::engines::registry::{self, Registry};
use crate::operate::dead_letters::{Deliveries, Redelivery, Skip};
use crate::roles::notifier::{self, TestAnswer};

/// The events of a request, and how its notifications ended.
#[derive(Debug, Default)]
pub(crate) struct Notified {
    /// In their order, with the records that they came in.
    pub events: Vec<(Event, Record)>,
    /// The newest receipt of each notification.
    pub receipts: Vec<Receipt>,
}

/// Which notifications of a request a person means.
#[derive(Clone, Debug, Default)]
pub(crate) struct Chosen {
    /// The id or the type of an event; without one, the newest event of which anyone was notified.
    pub event: Option<String>,
    pub channel: Option<Channel>,
    /// The hash of one target.
    pub target_hash: Option<String>,
}

/// What was sent again, or with a dry run would be.
#[derive(Debug, Default)]
pub(crate) struct Resent {
    pub sent: Vec<Receipt>,
    /// How many were left out, by reason.
    pub left: BTreeMap<String, usize>,
}

/// The header of an event's record that names its request.
const SUBJECT: &str = "ce_subject";

/// Reads receipts of a part of the topic, the newest last: those of one request, or all, that are wanted.
///
/// # Errors
/// An engine does not answer.
pub(crate) async fn receipts(
    config: &Config,
    registry: &Registry,
    extent: Extent,
    request: Option<&str>,
    is_wanted: impl Fn(&Receipt) -> bool,
) -> anyhow::Result<Vec<Receipt>> {
    let topic = &config.kafka.topics.notifications;
    let mut snapshot = Snapshot::open(&config.kafka, topic, extent).await?;
    let mut receipts = Vec::new();
    while let Some(record) = snapshot.next().await? {
        let key = record
            .key
            .as_deref()
            .and_then(|key| str::from_utf8(key).ok());
        if request.is_some() && key != request {
            continue;
        }
        if let Some((schema, datum)) = opened(registry, &record).await? {
            let read = avro::read_as::<Receipt>(&schema, datum, &RECEIPT).ok();
            receipts.extend(read.filter(&is_wanted));
        }
    }
    receipts.sort_by_key(|receipt| receipt.ended_at);
    Ok(receipts)
}

/// Returns the writer's schema and the datum of a record; `None` if it can never be read.
async fn opened<'r>(
    registry: &Registry,
    record: &'r Record,
) -> anyhow::Result<Option<(Arc<Schema>, &'r [u8])>> {
    let Some(value) = record.value.as_deref() else {
        return Ok(None);
    };
    let Ok((id, datum)) = avro::unframe(value) else {
        return Ok(None);
    };
    match registry.schema(id).await {
        Ok(schema) => Ok(Some((schema, datum))),
        Err(error @ registry::Error::Call(_)) => Err(error.into()),
        Err(_) => Ok(None),
    }
}

impl Notified {
    /// Reads what parts of the topics of events and of receipts have of a request.
    ///
    /// # Errors
    /// An engine does not answer.
    pub(crate) async fn read(
        config: &Config,
        registry: &Registry,
        request: &str,
        [events, ends]: [Extent; 2],
    ) -> anyhow::Result<Self> {
        let mut found = Self::default();
        let topic = &config.kafka.topics.events;
        let mut snapshot = Snapshot::open(&config.kafka, topic, events).await?;
        let mut known = BTreeSet::new();
        while let Some(record) = snapshot.next().await? {
            if record.header(SUBJECT) != Some(request) {
                continue;
            }
            let read = match opened(registry, &record).await? {
                Some((schema, datum)) => avro::read_event(&schema, datum).ok(),
                None => None,
            };
            if let Some(event) = read
                && known.insert(event.event_id.clone())
            {
                found.events.push((event, record));
            }
        }
        let receipts = receipts(config, registry, ends, Some(request), |_| true).await?;
        let receipts = receipts.into_iter();
        let newest: BTreeMap<_, _> = receipts.map(|it| (it.receipt_id.clone(), it)).collect();
        found.receipts = newest.into_values().collect();
        Ok(found)
    }

    /// Returns the notifications that a person means, and their event.
    fn chosen(&self, chosen: &Chosen) -> Option<(Vec<&Receipt>, &Event, &Record)> {
        let is_meant = |event: &Event| {
            let asked = chosen.event.as_deref();
            asked.is_none_or(|asked| {
                event.event_id == asked || event.event_type.as_str().eq_ignore_ascii_case(asked)
            })
        };
        let is_wanted = |receipt: &Receipt| {
            let hash = chosen.target_hash.as_deref();
            chosen
                .channel
                .is_none_or(|channel| receipt.channel == channel)
                && hash.is_none_or(|hash| receipt.target_hash == hash)
        };
        self.events
            .iter()
            .rev()
            .filter(|(event, _)| is_meant(event))
            .map(|(event, record)| {
                let its_own = self.receipts.iter();
                let its_own = its_own.filter(|it| it.event_id == event.event_id && is_wanted(it));
                (its_own.collect::<Vec<_>>(), event, record)
            })
            .find(|(receipts, ..)| !receipts.is_empty())
    }
}

/// Sends notifications of a request again, at once and then by the schedule, for a person. With a dry run, only says which.
/// Both lists are empty if no notification fits the choice.
///
/// # Errors
/// An engine does not answer.
pub(crate) async fn resend(
    config: &Config,
    notified: &Notified,
    chosen: &Chosen,
    asked_by: &str,
    dry_run: bool,
) -> anyhow::Result<Resent> {
    let mut resent = Resent::default();
    let Some((receipts, event, record)) = notified.chosen(chosen) else {
        return Ok(resent);
    };
    if dry_run {
        resent.sent = receipts.into_iter().cloned().collect();
        return Ok(resent);
    }
    let deliveries = Deliveries::new(&config.temporal);
    for receipt in receipts {
        match deliveries
            .start(again(receipt, event, record, asked_by))
            .await
        {
            Ok(workflow) => {
                tracing::info!(asked_by, workflow, "a notification is sent again");
                resent.sent.push(receipt.clone());
            }
            Err(error) => {
                let why = error.downcast::<Skip>()?;
                *resent.left.entry(why.to_string()).or_default() += 1;
            }
        }
    }
    Ok(resent)
}

/// Returns the notification of a receipt, as it was sent the first time.
fn again(receipt: &Receipt, event: &Event, record: &Record, asked_by: &str) -> Redelivery {
    Redelivery {
        parcel: Parcel {
            event: Raw(record.value.clone().unwrap_or_default()),
            event_id: event.event_id.clone(),
            request_id: event.request_id.clone(),
            occurred_at: event.occurred_at,
            traceparent: record.traceparent().map(str::to_owned),
            channel: receipt.channel,
            target_hash: receipt.target_hash.clone(),
        },
        user: event.user_id.clone(),
        asked_by: Some(asked_by.to_owned()),
    }
}

/// Sends a test webhook to `target` for a person, signed with the secrets of `user`.
///
/// # Errors
/// The signing secret is the public one of development, or malformed.
pub(crate) async fn test(
    config: &Config,
    target: &Url,
    user: &str,
    asked_by: &str,
) -> anyhow::Result<TestAnswer> {
    let secrets = config.check_signing_secrets();
    secrets.map_err(|fault| Faults(vec![fault]))?;
    let answer = notifier::test_webhook(&config.notifier, target, user).await?;
    let (host, id) = (target.host_str().unwrap_or_default(), &answer.webhook_id);
    let status = answer.status;
    tracing::info!(
        asked_by,
        host,
        webhook_id = id,
        status,
        "a test webhook was sent"
    );
    Ok(answer)
}
