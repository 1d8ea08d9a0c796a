//! Receipts: how one notification ended, as published on `gen.notifications`.
//!
//! The serde shape of [`Receipt`] is that of `schemas/NotificationReceipt.avsc`, field by field. A receipt does not
//! contain the target, only its hash and its text without the secret parts. [`NotificationEnd`] and its parts are
//! stored in workflow histories: add fields only with a default, and never remove or retype one.

use serde::{Deserialize, Serialize};
use uuid::{Uuid, uuid};

/// UUID namespace of receipt ids.
const RECEIPT_IDS: Uuid = uuid!("6c0ef626-8246-50ff-913c-405528baccf2");

/// How one notification ended.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename = "NotificationReceipt")]
pub struct Receipt {
    /// UUIDv5 of event, channel and target, so a repeat has the same id.
    pub receipt_id: String,
    pub event_id: String,
    pub request_id: String,
    pub channel: Channel,
    /// The target without its secret parts.
    pub target: String,
    /// First 16 hex digits of the target's SHA-256.
    pub target_hash: String,
    pub outcome: NotificationOutcome,
    /// Status of the last answer: HTTP, or an SMTP reply code.
    #[serde(default)]
    pub status: Option<i32>,
    /// Number of attempts.
    pub tries: i32,
    /// Milliseconds since the epoch; `ended_at` if there was no attempt.
    pub first_try_at: i64,
    /// Milliseconds since the epoch.
    pub ended_at: i64,
    /// Why it was not delivered.
    #[serde(default)]
    pub error: Option<DeliveryError>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum Channel {
    /// Not known to this version.
    Unknown,
    /// A signed POST.
    Webhook,
    Email,
    /// A Slack incoming webhook.
    Slack,
}

/// How a notification ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename = "DeliveryOutcome", rename_all = "SCREAMING_SNAKE_CASE")]
pub enum NotificationOutcome {
    /// Not known to this version.
    Unknown,
    /// The target accepted it.
    Delivered,
    /// It could not be delivered; the event is on `gen.notifications.dlq`.
    GivenUp,
    /// The event was older than `NOTIFY_MAX_AGE`.
    Expired,
    /// Nothing was sent, although no target refused it: no notifier knew the target or served its channel, or genflow
    /// sends no email about such an event.
    Skipped,
}

/// Why a notification was not delivered.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[error("{code}: {message}")]
pub struct DeliveryError {
    /// One of a closed list of codes.
    pub code: String,
    /// A text for people; contains no part of the target.
    pub message: String,
}

/// How a notification ended, with the last answer; delivery workflows store it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NotificationEnd {
    pub outcome: NotificationOutcome,
    /// Status of the last answer: HTTP, or an SMTP reply code.
    #[serde(default)]
    pub status: Option<u16>,
    /// Why it was not delivered.
    #[serde(default)]
    pub error: Option<DeliveryError>,
}

impl NotificationEnd {
    pub(crate) fn delivered(status: u16) -> Self {
        Self {
            outcome: NotificationOutcome::Delivered,
            status: Some(status),
            error: None,
        }
    }

    pub(crate) fn given_up(status: Option<u16>, error: DeliveryError) -> Self {
        Self {
            outcome: NotificationOutcome::GivenUp,
            status,
            error: Some(error),
        }
    }

    pub(crate) fn skipped(error: DeliveryError) -> Self {
        Self {
            outcome: NotificationOutcome::Skipped,
            status: None,
            error: Some(error),
        }
    }

    pub(crate) fn expired() -> Self {
        let error = DeliveryError::new("expired", "the event was older than NOTIFY_MAX_AGE");
        Self {
            outcome: NotificationOutcome::Expired,
            status: None,
            error: Some(error),
        }
    }
}

impl DeliveryError {
    /// Creates an error; `code` is from the closed list.
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
    /// All channels that this version knows.
    pub(crate) const ALL: [Self; 3] = [Self::Webhook, Self::Email, Self::Slack];

    /// Parses the name of a channel that this version knows.
    pub fn parse(text: &str) -> Option<Self> {
        let mut known = Self::ALL.into_iter();
        known.find(|channel| channel.as_str() == text)
    }

    /// Returns the name for receipts, headers, ids, logs and metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Unknown => "UNKNOWN",
            Self::Webhook => "WEBHOOK",
            Self::Email => "EMAIL",
            Self::Slack => "SLACK",
        }
    }
}

impl NotificationOutcome {
    /// Returns the name for receipts, logs and metrics.
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

    fn receipt(
        channel: Channel,
        outcome: NotificationOutcome,
        error: Option<DeliveryError>,
    ) -> Receipt {
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
            (Channel::Webhook, NotificationOutcome::Delivered, None),
            (
                Channel::Email,
                NotificationOutcome::Skipped,
                Some(error.clone()),
            ),
            (
                Channel::Slack,
                NotificationOutcome::Expired,
                Some(error.clone()),
            ),
            (Channel::Unknown, NotificationOutcome::Unknown, None),
            (Channel::Webhook, NotificationOutcome::GivenUp, Some(error)),
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
    fn a_receipt_id_is_unique_per_event_channel_and_target() {
        let id = Receipt::id("e", Channel::Webhook, "t");

        assert_eq!(id, Receipt::id("e", Channel::Webhook, "t"));
        assert_ne!(id, Receipt::id("e", Channel::Slack, "t"));
        assert_ne!(id, Receipt::id("e", Channel::Webhook, "u"));
        assert_ne!(id, Receipt::id("f", Channel::Webhook, "t"));
    }
}
