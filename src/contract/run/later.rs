//! Serializes a number in an activity's result, to test two builds of one worker; in debug builds with the feature
//! `dev` only.
//!
//! A process with `GENFLOW_FAILPOINT=submit.result=later` writes the number as text, as a later build might, and reads
//! both forms. Other processes cannot read the text.

use serde::de::Error as _;
use serde::{Deserialize as _, Deserializer, Serializer};
use serde_json::Value;

fn is_later() -> bool {
    std::env::var("GENFLOW_FAILPOINT").is_ok_and(|asked| asked == "submit.result=later")
}

pub(crate) fn serialize<S: Serializer>(number: &u32, serializer: S) -> Result<S::Ok, S::Error> {
    if is_later() {
        serializer.collect_str(number)
    } else {
        serializer.serialize_u32(*number)
    }
}

pub(crate) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<u32, D::Error> {
    let value = Value::deserialize(from)?;
    match value.as_str() {
        Some(text) if is_later() => text.parse().map_err(D::Error::custom),
        Some(_) | None => u32::deserialize(value).map_err(D::Error::custom),
    }
}
