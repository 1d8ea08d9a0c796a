//! Deliveries: a notification that a first attempt did not settle, or for which none could be made, and the workflow
//! that delivers it.
//!
//! These types are stored in workflow histories: add fields only with a default, and never remove or retype
//! one. Histories contain no target: a delivery carries its event as it was received, with sealed targets, and
//! names its target by the hash.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _};

use super::receipt::{Channel, DeliveryError, NotificationEnd};

/// The input of `delivery.v1`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeliveryInput {
    pub parcel: Parcel,
    /// Number of earlier attempts.
    #[serde(default)]
    pub tries: u32,
    /// Time of the first attempt, in milliseconds since the epoch.
    #[serde(default)]
    pub first_try_at: Option<i64>,
    /// Status of the last answer, if there was one.
    #[serde(default)]
    pub status: Option<u16>,
    /// Step of the next attempt: the number of the schedule's pause before it, from 1; 0 if there was no first
    /// attempt.
    #[serde(default)]
    pub step: u32,
    /// How many times in a row the next attempt has waited for its endpoint.
    #[serde(default)]
    pub waited: u32,
    /// How many of these waits were for an open circuit.
    #[serde(default)]
    pub shut: u32,
    /// Set if an earlier workflow of this delivery was closed from outside: this one then only reports that as the end.
    #[serde(default)]
    pub lost: Option<DeliveryError>,
    /// The person who asked for this delivery, if it is not the notifier's own. Histories keep it as a record.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub asked_by: Option<String>,
    /// Pause before the next attempt, in milliseconds.
    pub pause_ms: u64,
}

/// One event to one target.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Parcel {
    /// The value of the event's record as it was received.
    pub event: Raw,
    pub event_id: String,
    pub request_id: String,
    /// Time of the event, in milliseconds since the epoch.
    pub occurred_at: i64,
    /// W3C trace context of the event's record.
    #[serde(default)]
    pub traceparent: Option<String>,
    pub channel: Channel,
    /// First 16 hex digits of the target's SHA-256.
    pub target_hash: String,
}

/// Bytes; base64 in JSON.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Raw(pub Vec<u8>);

/// The input of `deliver.v1`: one attempt.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Deliver {
    pub parcel: Parcel,
    /// Step of the attempt: the number of the schedule's pause before it, from 1; 0 is the first attempt.
    pub step: u32,
    /// How many times this step has waited for its endpoint.
    #[serde(default)]
    pub waited: u32,
    /// How many of these waits were for an open circuit.
    #[serde(default)]
    pub shut: u32,
}

/// The result of one attempt.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Delivered {
    Ended {
        end: NotificationEnd,
        /// Whether an attempt was made; false if there was nothing to attempt.
        sent: bool,
    },
    /// A later attempt may succeed.
    Later {
        /// Status of the answer, if there was one.
        #[serde(default)]
        status: Option<u16>,
        error: DeliveryError,
        /// Whether an attempt was made; false if, for example, a circuit was open.
        sent: bool,
        /// Pause before the next attempt, in milliseconds; `None` after the last one.
        #[serde(default)]
        pause_ms: Option<u64>,
    },
    /// No attempt was made: the endpoint's circuit is open, or the endpoint or the user has no free slot. The
    /// step is repeated.
    Wait {
        /// Pause before the step is repeated, in milliseconds.
        pause_ms: u64,
        /// Whether the endpoint's circuit is open.
        #[serde(default)]
        shut: bool,
    },
}

/// The input of `conclude.v1`: the end of a notification.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Conclude {
    pub parcel: Parcel,
    pub end: NotificationEnd,
    pub tries: u32,
    /// Time of the first attempt, in milliseconds since the epoch.
    #[serde(default)]
    pub first_try_at: Option<i64>,
    /// Time of the end, in milliseconds since the epoch.
    pub ended_at: i64,
}

impl Parcel {
    /// Returns the id of its workflow.
    pub fn workflow(&self) -> String {
        let (event, hash) = (&self.event_id, &self.target_hash);
        format!("deliver/{event}/{}/{hash}", self.channel.as_str())
    }
}

impl Serialize for Raw {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&BASE64.encode(&self.0))
    }
}

impl<'de> Deserialize<'de> for Raw {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        BASE64.decode(text).map(Self).map_err(D::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn parcel() -> Parcel {
        Parcel {
            event: Raw(vec![0, 0, 0, 0, 7, 255]),
            event_id: "92f851a0-b346-56ba-a96a-2664761e241d".to_owned(),
            request_id: "order-7".to_owned(),
            occurred_at: 1,
            traceparent: None,
            channel: Channel::Webhook,
            target_hash: "19f1352238b91533".to_owned(),
        }
    }

    #[test]
    fn the_id_of_a_delivery_names_event_channel_and_target() {
        assert_eq!(
            parcel().workflow(),
            "deliver/92f851a0-b346-56ba-a96a-2664761e241d/WEBHOOK/19f1352238b91533"
        );
    }

    #[test]
    fn an_input_reads_as_it_was_written_and_without_what_came_later() {
        let delivery = DeliveryInput {
            parcel: parcel(),
            tries: 1,
            first_try_at: Some(2),
            status: Some(500),
            step: 1,
            waited: 0,
            shut: 0,
            lost: None,
            asked_by: None,
            pause_ms: 3,
        };
        let mut written = serde_json::to_value(&delivery).unwrap();
        assert_eq!(written["parcel"]["event"], "AAAAAAf/");
        let again: DeliveryInput = serde_json::from_value(written.clone()).unwrap();
        assert_eq!(again, delivery);
        assert!(
            written.get("asked_by").is_none(),
            "as older builds wrote it"
        );
        let asked = DeliveryInput {
            asked_by: Some("ann".to_owned()),
            ..delivery
        };
        let written_by_hand = serde_json::to_value(&asked).unwrap();
        let again: DeliveryInput = serde_json::from_value(written_by_hand).unwrap();
        assert_eq!(again, asked);

        let fields = written.as_object_mut().unwrap();
        fields.remove("tries");
        fields.remove("first_try_at");
        fields.insert("of_a_later_version".to_owned(), json!(7));
        let older: DeliveryInput = serde_json::from_value(written).unwrap();
        assert_eq!((older.tries, older.first_try_at), (0, None));
    }
}
