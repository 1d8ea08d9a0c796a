//! How one notification ended, as it stands on `gen.notifications`.
//!
//! The serde shape of [`Receipt`] is the shape of `schemas/NotificationReceipt.avsc`, field for field. No target
//! stands in it, only what is left of one when the secret parts are gone, and its hash.
//! [`End`] and what it is made of stand in histories: fields are added with a default, never removed or retyped.

use serde::{Deserialize, Serialize};
use uuid::{Uuid, uuid};

/// The namespace of all receipt ids.
const RECEIPT_IDS: Uuid = uuid!("6c0ef626-8246-50ff-913c-405528baccf2");

/// How one notification ended.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename = "NotificationReceipt")]
pub struct Receipt {
    /// UUIDv5 of event, channel and target: the same however often the notification ends.
    pub receipt_id: String,
    /// The event it tells of.
    pub event_id: String,
    /// The event's request.
    pub request_id: String,
    /// By which way.
    pub channel: Channel,
    /// Redacted.
    pub target: String,
    /// First 16 hex digits of the target's SHA-256.
    pub target_hash: String,
    /// How it ended.
    pub outcome: Outcome,
    /// Last status the target answered.
    #[serde(default)]
    pub status: Option<i32>,
    /// How often it was tried.
    pub tries: i32,
    /// Milliseconds since the epoch; where nothing was tried, when it ended.
    pub first_try_at: i64,
    /// Milliseconds since the epoch.
    pub ended_at: i64,
    /// Why it was not delivered.
    #[serde(default)]
    pub error: Option<DeliveryError>,
}

/// By which way a notification goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum Channel {
    /// Not known to this version.
    Unknown,
    /// A signed POST.
    Webhook,
    /// A mail.
    Email,
    /// A Slack incoming webhook.
    Slack,
}

/// How a notification ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename = "DeliveryOutcome", rename_all = "SCREAMING_SNAKE_CASE")]
pub enum Outcome {
    /// Not known to this version.
    Unknown,
    /// The target took it.
    Delivered,
    /// The target did not take it; the event stands on `gen.notifications.dlq`.
    GivenUp,
    /// The event was too old to tell of.
    Expired,
    /// Nobody refused it: no notifier knew the target, or served its channel.
    Skipped,
}

/// Why a notification was not delivered.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[error("{code}: {message}")]
pub struct DeliveryError {
    /// A word of a closed list.
    pub code: String,
    /// For a person; says nothing of the target.
    pub message: String,
}

/// What a notification came to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct End {
    /// How it ended.
    pub outcome: Outcome,
    /// Last status the target answered.
    #[serde(default)]
    pub status: Option<u16>,
    /// Why it was not delivered.
    #[serde(default)]
    pub error: Option<DeliveryError>,
}

impl End {
    /// It was taken.
    pub(crate) fn delivered(status: u16) -> Self {
        Self {
            outcome: Outcome::Delivered,
            status: Some(status),
            error: None,
        }
    }

    /// It never will be.
    pub(crate) fn given_up(status: Option<u16>, error: DeliveryError) -> Self {
        Self {
            outcome: Outcome::GivenUp,
            status,
            error: Some(error),
        }
    }

    /// It cannot be tried.
    pub(crate) fn skipped(error: DeliveryError) -> Self {
        Self {
            outcome: Outcome::Skipped,
            status: None,
            error: Some(error),
        }
    }

    /// It is too old.
    pub(crate) fn expired() -> Self {
        let error = DeliveryError::new("expired", "the event was older than NOTIFY_MAX_AGE");
        Self {
            outcome: Outcome::Expired,
            status: None,
            error: Some(error),
        }
    }
}

impl DeliveryError {
    /// Names an error by a word of the closed list.
    pub(crate) fn new(code: &str, message: &str) -> Self {
        Self {
            code: code.to_owned(),
            message: message.to_owned(),
        }
    }
}

impl Receipt {
    /// Returns the id of the receipt of one event on one channel to one target.
    pub(crate) fn id(event_id: &str, channel: Channel, target_hash: &str) -> Uuid {
        let name = format!("{event_id}/{}/{target_hash}", channel.as_str());
        Uuid::new_v5(&RECEIPT_IDS, name.as_bytes())
    }
}

impl Channel {
    /// Reads the word of a channel that is known to this version.
    pub fn parse(text: &str) -> Option<Self> {
        let known = [Self::Webhook, Self::Email, Self::Slack];
        known.into_iter().find(|channel| channel.as_str() == text)
    }

    /// Returns the word as it stands in receipts, headers, ids, logs and metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Unknown => "UNKNOWN",
            Self::Webhook => "WEBHOOK",
            Self::Email => "EMAIL",
            Self::Slack => "SLACK",
        }
    }
}

impl Outcome {
    /// Returns the word as it stands in receipts, logs and metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Unknown => "UNKNOWN",
            Self::Delivered => "DELIVERED",
            Self::GivenUp => "GIVEN_UP",
            Self::Expired => "EXPIRED",
            Self::Skipped => "SKIPPED",
        }
    }
}

#[cfg(test)]
mod tests {
    use apache_avro::from_value;
    use apache_avro::reader::datum::GenericDatumReader;

    use super::*;
    use crate::contract::avro;
    use crate::contract::avro::RECEIPT;

    fn receipt(channel: Channel, outcome: Outcome, error: Option<DeliveryError>) -> Receipt {
        let event_id = "92f851a0-b346-56ba-a96a-2664761e241d";
        Receipt {
            receipt_id: Receipt::id(event_id, channel, "0123456789abcdef").to_string(),
            event_id: event_id.to_owned(),
            request_id: "order-7".to_owned(),
            channel,
            target: "https://example.com/…".to_owned(),
            target_hash: "0123456789abcdef".to_owned(),
            outcome,
            status: error.is_some().then_some(503),
            tries: 3,
            first_try_at: 1_700_000_000_123,
            ended_at: 1_700_000_004_567,
            error,
        }
    }

    #[test]
    fn a_receipt_of_every_kind_fits_its_schema_and_reads_back() {
        let error = DeliveryError {
            code: "server_error".to_owned(),
            message: "why".to_owned(),
        };
        for (channel, outcome, error) in [
            (Channel::Webhook, Outcome::Delivered, None),
            (Channel::Email, Outcome::Skipped, Some(error.clone())),
            (Channel::Slack, Outcome::Expired, Some(error.clone())),
            (Channel::Unknown, Outcome::Unknown, None),
            (Channel::Webhook, Outcome::GivenUp, Some(error)),
        ] {
            let receipt = receipt(channel, outcome, error);

            let bytes = avro::write(&RECEIPT, &receipt).unwrap();
            let reader = GenericDatumReader::builder(&RECEIPT.schema)
                .build()
                .unwrap();
            let value = reader.read_value(&mut bytes.as_slice()).unwrap();

            assert_eq!(from_value::<Receipt>(&value).unwrap(), receipt);
        }
    }

    #[test]
    fn a_receipt_id_tells_event_channel_and_target_apart() {
        let id = Receipt::id("e", Channel::Webhook, "t");

        assert_eq!(id, Receipt::id("e", Channel::Webhook, "t"));
        assert_ne!(id, Receipt::id("e", Channel::Slack, "t"));
        assert_ne!(id, Receipt::id("e", Channel::Webhook, "u"));
        assert_ne!(id, Receipt::id("f", Channel::Webhook, "t"));
    }
}
