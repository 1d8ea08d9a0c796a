//! Deliveries: a notification that its first try did not deliver, in the hands of a workflow.
//!
//! What stands here stands in histories: fields are added with a default, never removed or retyped. No target does: the
//! event goes along as it came, its targets sealed, and the one that is meant is named by its hash.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _};

use super::receipt::{Channel, DeliveryError, End};

/// The input of `delivery.v1`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Delivery {
    /// What goes where.
    pub parcel: Parcel,
    /// How often it was tried before.
    #[serde(default)]
    pub tries: u32,
    /// Milliseconds since the epoch.
    #[serde(default)]
    pub first_try_at: Option<i64>,
    /// What the target answered last, if it did.
    #[serde(default)]
    pub status: Option<u16>,
    /// Behind which pause of the schedule the next try comes, from 1; 0 where there was no first try.
    #[serde(default)]
    pub step: u32,
    /// How often in a row the next try has waited for its endpoint.
    #[serde(default)]
    pub waited: u32,
    /// How often that was for an open circuit.
    #[serde(default)]
    pub shut: u32,
    /// Its run was closed from outside, as this says: it is only to be told of.
    #[serde(default)]
    pub lost: Option<DeliveryError>,
    /// Pause before the next try.
    pub pause_ms: u64,
}

/// One event to one target.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Parcel {
    /// The event's record as it came.
    pub event: Raw,
    /// The event's id.
    pub event_id: String,
    /// The event's request.
    pub request_id: String,
    /// When it occurred, in milliseconds since the epoch.
    pub occurred_at: i64,
    /// W3C trace context of the event's record.
    #[serde(default)]
    pub traceparent: Option<String>,
    /// By which way.
    pub channel: Channel,
    /// First 16 hex digits of the target's SHA-256.
    pub target_hash: String,
}

/// Bytes; base64 in JSON.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Raw(pub Vec<u8>);

/// The input of `deliver.v1`: one try.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Deliver {
    /// What goes where.
    pub parcel: Parcel,
    /// Behind which pause of the schedule it comes, from 1; 0 is the first try.
    pub step: u32,
    /// How often this step found no place at its endpoint.
    #[serde(default)]
    pub waited: u32,
    /// How often that was for an open circuit.
    #[serde(default)]
    pub shut: u32,
}

/// What came of one try.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Delivered {
    /// It ended.
    Ended {
        /// How.
        end: End,
        /// Whether it was tried; else there was nothing to try.
        sent: bool,
    },
    /// It may succeed later.
    Later {
        /// What the target answered, if it did.
        #[serde(default)]
        status: Option<u16>,
        /// Why not this time.
        error: DeliveryError,
        /// Whether it was tried; else its endpoint was known not to answer.
        sent: bool,
        /// Until the next try; `None`: that was the last.
        #[serde(default)]
        pause_ms: Option<u64>,
    },
    /// Its endpoint had no place free: this step is not over.
    Wait {
        /// Until it is looked again.
        pause_ms: u64,
        /// Its circuit is open.
        #[serde(default)]
        shut: bool,
    },
}

/// The input of `conclude.v1`: what a notification came to.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Conclude {
    /// What went where.
    pub parcel: Parcel,
    /// What it came to.
    pub end: End,
    /// How often it was tried.
    pub tries: u32,
    /// Milliseconds since the epoch.
    #[serde(default)]
    pub first_try_at: Option<i64>,
    /// Milliseconds since the epoch.
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
        let delivery = Delivery {
            parcel: parcel(),
            tries: 1,
            first_try_at: Some(2),
            status: Some(500),
            step: 1,
            waited: 0,
            shut: 0,
            lost: None,
            pause_ms: 3,
        };
        let mut written = serde_json::to_value(&delivery).unwrap();
        assert_eq!(written["parcel"]["event"], "AAAAAAf/");
        let again: Delivery = serde_json::from_value(written.clone()).unwrap();
        assert_eq!(again, delivery);

        let fields = written.as_object_mut().unwrap();
        fields.remove("tries");
        fields.remove("first_try_at");
        fields.insert("of_a_later_version".to_owned(), json!(7));
        let older: Delivery = serde_json::from_value(written).unwrap();
        assert_eq!((older.tries, older.first_try_at), (0, None));
    }
}
