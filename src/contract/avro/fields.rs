//! Reads a record's fields by name; an error names the field.
//!
//! The value was resolved to our schema, so an error here means a bug in genflow.

#![expect(
    clippy::wildcard_enum_match_arm,
    reason = "a value of any other type is an error"
)]

use std::collections::BTreeMap;

use apache_avro::schema::SchemaKind;
use apache_avro::types::Value;

use crate::domain::Invalid;

/// The fields of one Avro record, and the path that leads to it.
pub(crate) struct Fields<'v> {
    path: &'static str,
    fields: &'v [(String, Value)],
}

/// A type that a field's value can be read as.
pub(crate) trait Read<'v>: Sized {
    fn read(value: &'v Value) -> Option<Self>;
}

impl<'v> Fields<'v> {
    pub(crate) fn of(value: &'v Value) -> Result<Self, Invalid> {
        Self::at("", value)
    }

    fn at(path: &'static str, value: &'v Value) -> Result<Self, Invalid> {
        match inner(value) {
            Value::Record(fields) => Ok(Self { path, fields }),
            other => Err(Invalid::new(path, unexpected(other))),
        }
    }

    /// Reads a field. In a union, the value is that of the branch.
    pub(crate) fn get<T: Read<'v>>(&self, name: &str) -> Result<T, Invalid> {
        let value = inner(self.value(name)?);
        T::read(value).ok_or_else(|| self.wrong(name, &unexpected(value)))
    }

    pub(crate) fn records(&self, name: &'static str) -> Result<Vec<Fields<'v>>, Invalid> {
        let items: Vec<&Value> = self.get(name)?;
        items
            .into_iter()
            .map(|item| Fields::at(name, item))
            .collect()
    }

    /// Returns the index of a union's branch, and the record in it.
    pub(crate) fn branch(&self, name: &'static str) -> Result<(u32, Fields<'v>), Invalid> {
        match self.value(name)? {
            Value::Union(branch, record) => Ok((*branch, Fields::at(name, record)?)),
            other => Err(self.wrong(name, &unexpected(other))),
        }
    }

    fn value(&self, name: &str) -> Result<&'v Value, Invalid> {
        let found = self.fields.iter().find(|(field, _)| field == name);
        found
            .map(|(_, value)| value)
            .ok_or_else(|| self.wrong(name, "is missing"))
    }

    fn wrong(&self, name: &str, problem: &str) -> Invalid {
        let dot = if self.path.is_empty() { "" } else { "." };
        Invalid::new(format!("{}{dot}{name}", self.path), problem)
    }
}

impl<'v> Read<'v> for &'v Value {
    fn read(value: &'v Value) -> Option<Self> {
        Some(value)
    }
}

/// A string or the symbol of an enum.
impl<'v> Read<'v> for &'v str {
    fn read(value: &'v Value) -> Option<Self> {
        match value {
            Value::String(text) | Value::Enum(_, text) => Some(text),
            _ => None,
        }
    }
}

impl Read<'_> for String {
    fn read(value: &Value) -> Option<Self> {
        <&str>::read(value).map(str::to_owned)
    }
}

impl Read<'_> for i32 {
    fn read(value: &Value) -> Option<Self> {
        match value {
            Value::Int(number) => Some(*number),
            _ => None,
        }
    }
}

impl Read<'_> for i64 {
    fn read(value: &Value) -> Option<Self> {
        match value {
            Value::Long(number) | Value::TimestampMillis(number) => Some(*number),
            _ => None,
        }
    }
}

impl Read<'_> for bool {
    fn read(value: &Value) -> Option<Self> {
        match value {
            Value::Boolean(value) => Some(*value),
            _ => None,
        }
    }
}

impl<'v, T: Read<'v>> Read<'v> for Option<T> {
    fn read(value: &'v Value) -> Option<Self> {
        match value {
            Value::Null => Some(None),
            value => T::read(value).map(Some),
        }
    }
}

impl<'v, T: Read<'v>> Read<'v> for Vec<T> {
    fn read(value: &'v Value) -> Option<Self> {
        match value {
            Value::Array(items) => items.iter().map(|item| T::read(inner(item))).collect(),
            _ => None,
        }
    }
}

impl<'v> Read<'v> for BTreeMap<String, String> {
    fn read(value: &'v Value) -> Option<Self> {
        let Value::Map(entries) = value else {
            return None;
        };
        let read = |(name, item)| Some((String::clone(name), String::read(inner(item))?));
        entries.iter().map(read).collect()
    }
}

/// Returns the value inside a union, or the value itself.
fn inner(value: &Value) -> &Value {
    match value {
        Value::Union(_, branch) => branch,
        other => other,
    }
}

fn unexpected(value: &Value) -> String {
    let kind = format!("{:?}", SchemaKind::from(value)).to_lowercase();
    format!("has the type {kind}, expected one that the schema of this genflow version has there")
}
