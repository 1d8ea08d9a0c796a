//! JSON pointers (RFC 6901), with `*` for each element and `{id}` for the job's id.

use serde::{Deserialize, Deserializer, de};
use serde_json::{Map, Value};

/// A place in JSON, such as `/outputs/*/url`; the empty text is the whole.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pointer(Vec<String>);

impl Pointer {
    fn parse(text: &str) -> Result<Self, String> {
        let mut parts = text.split('/');
        if parts.next() != Some("") {
            return Err(format!(
                "is {text:?}, expected a JSON pointer, such as /data/id"
            ));
        }
        let plain = |part: &str| part.replace("~1", "/").replace("~0", "~");
        Ok(Self(parts.map(plain).collect()))
    }

    /// Returns all values at this place, in order; nulls do not count.
    pub fn all<'v>(&self, value: &'v Value, id: &str) -> Vec<&'v Value> {
        let mut found = vec![value];
        for part in &self.0 {
            let below = found.into_iter();
            found = match part.as_str() {
                "*" => below.flat_map(elements).collect(),
                "{id}" => below.filter_map(|value| value.get(id)).collect(),
                part => below.filter_map(|value| child(value, part)).collect(),
            };
        }
        found.retain(|value| !value.is_null());
        found
    }

    /// Returns the first value at this place.
    pub fn first<'v>(&self, value: &'v Value, id: &str) -> Option<&'v Value> {
        self.all(value, id).first().copied()
    }

    /// Returns the text, number or boolean at this place as a text.
    pub fn text(&self, value: &Value, id: &str) -> Option<String> {
        text(self.first(value, id)?)
    }

    /// Returns the object at this place; creates it if it is absent.
    pub(crate) fn object<'v>(&self, value: &'v mut Value) -> Option<&'v mut Map<String, Value>> {
        let mut at = value;
        for part in &self.0 {
            at = at
                .as_object_mut()?
                .entry(part)
                .or_insert_with(|| Value::Object(Map::new()));
        }
        at.as_object_mut()
    }
}

/// Returns a text, number or boolean as a text.
pub(crate) fn text(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(_) | Value::Bool(_) => Some(value.to_string()),
        Value::Null | Value::Array(_) | Value::Object(_) => None,
    }
}

fn child<'v>(value: &'v Value, part: &str) -> Option<&'v Value> {
    match value {
        Value::Array(items) => items.get(part.parse::<usize>().ok()?),
        Value::Object(fields) => fields.get(part),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => None,
    }
}

fn elements(value: &Value) -> Vec<&Value> {
    match value {
        Value::Array(items) => items.iter().collect(),
        Value::Object(fields) => fields.values().collect(),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => Vec::new(),
    }
}

impl<'de> Deserialize<'de> for Pointer {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Self::parse(&text).map_err(de::Error::custom)
    }
}
