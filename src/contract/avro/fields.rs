//! Reads a record's fields by name; the error of each getter names the field and what is expected.
//!
//! The value was resolved to our schema, so an error here means a bug of ours or a union with a branch of a later
//! version.

#![expect(
    clippy::wildcard_enum_match_arm,
    reason = "a value of any other type is an error"
)]

use std::collections::BTreeMap;

use apache_avro::types::Value;

use crate::domain::Invalid;

/// The fields of one Avro record, and the path that leads to it.
pub(crate) struct Fields<'v> {
    path: &'static str,
    fields: &'v [(String, Value)],
}

impl<'v> Fields<'v> {
    pub(crate) fn of(value: &'v Value) -> Result<Self, Invalid> {
        Self::at("", value)
    }

    fn at(path: &'static str, value: &'v Value) -> Result<Self, Invalid> {
        match inner(value) {
            Value::Record(fields) => Ok(Self { path, fields }),
            other => Err(Invalid::new(
                path,
                format!("is {}, expected a record", name_of(other)),
            )),
        }
    }

    fn get(&self, name: &str) -> Result<&'v Value, Invalid> {
        let found = self.fields.iter().find(|(field, _)| field == name);
        found
            .map(|(_, value)| value)
            .ok_or_else(|| self.wrong(name, "is missing"))
    }

    fn wrong(&self, name: &str, problem: &str) -> Invalid {
        let dot = if self.path.is_empty() { "" } else { "." };
        Invalid::new(format!("{}{dot}{name}", self.path), problem)
    }

    fn unlike(&self, name: &str, value: &Value, wanted: &str) -> Invalid {
        self.wrong(name, &format!("is {}, expected {wanted}", name_of(value)))
    }

    pub(crate) fn string(&self, name: &str) -> Result<&'v str, Invalid> {
        match inner(self.get(name)?) {
            Value::String(text) => Ok(text),
            other => Err(self.unlike(name, other, "a string")),
        }
    }

    pub(crate) fn optional_string(&self, name: &str) -> Result<Option<&'v str>, Invalid> {
        match inner(self.get(name)?) {
            Value::Null => Ok(None),
            Value::String(text) => Ok(Some(text)),
            other => Err(self.unlike(name, other, "a string or null")),
        }
    }

    pub(crate) fn int(&self, name: &str) -> Result<i32, Invalid> {
        match inner(self.get(name)?) {
            Value::Int(number) => Ok(*number),
            other => Err(self.unlike(name, other, "an int")),
        }
    }

    pub(crate) fn optional_int(&self, name: &str) -> Result<Option<i32>, Invalid> {
        match inner(self.get(name)?) {
            Value::Null => Ok(None),
            Value::Int(number) => Ok(Some(*number)),
            other => Err(self.unlike(name, other, "an int or null")),
        }
    }

    pub(crate) fn optional_long(&self, name: &str) -> Result<Option<i64>, Invalid> {
        match inner(self.get(name)?) {
            Value::Null => Ok(None),
            Value::Long(number) => Ok(Some(*number)),
            other => Err(self.unlike(name, other, "a long or null")),
        }
    }

    pub(crate) fn optional_bool(&self, name: &str) -> Result<Option<bool>, Invalid> {
        match inner(self.get(name)?) {
            Value::Null => Ok(None),
            Value::Boolean(value) => Ok(Some(*value)),
            other => Err(self.unlike(name, other, "a boolean or null")),
        }
    }

    pub(crate) fn optional_millis(&self, name: &str) -> Result<Option<i64>, Invalid> {
        match inner(self.get(name)?) {
            Value::Null => Ok(None),
            Value::TimestampMillis(millis) | Value::Long(millis) => Ok(Some(*millis)),
            other => Err(self.unlike(name, other, "timestamp-millis or null")),
        }
    }

    pub(crate) fn symbol(&self, name: &str) -> Result<&'v str, Invalid> {
        match inner(self.get(name)?) {
            Value::Enum(_, symbol) => Ok(symbol),
            other => Err(self.unlike(name, other, "an enum symbol")),
        }
    }

    pub(crate) fn symbols(&self, name: &str) -> Result<Vec<&'v str>, Invalid> {
        let mut symbols = Vec::new();
        for item in self.array(name)? {
            match inner(item) {
                Value::Enum(_, symbol) => symbols.push(symbol.as_str()),
                other => return Err(self.unlike(name, other, "enum symbols")),
            }
        }
        Ok(symbols)
    }

    pub(crate) fn strings_by_name(&self, name: &str) -> Result<BTreeMap<String, String>, Invalid> {
        let value = inner(self.get(name)?);
        let Value::Map(entries) = value else {
            return Err(self.unlike(name, value, "a map of strings"));
        };
        let mut strings = BTreeMap::new();
        for (key, item) in entries {
            match inner(item) {
                Value::String(text) => strings.insert(key.clone(), text.clone()),
                other => return Err(self.unlike(name, other, "a map of strings")),
            };
        }
        Ok(strings)
    }

    pub(crate) fn records(&self, name: &'static str) -> Result<Vec<Fields<'v>>, Invalid> {
        self.array(name)?
            .iter()
            .map(|item| Fields::at(name, item))
            .collect()
    }

    /// Returns the index of a union's branch, and the record in it.
    pub(crate) fn branch(&self, name: &'static str) -> Result<(u32, Fields<'v>), Invalid> {
        let value = self.get(name)?;
        match value {
            Value::Union(branch, record) => Ok((*branch, Fields::at(name, record)?)),
            other => Err(self.unlike(name, other, "a union")),
        }
    }

    fn array(&self, name: &str) -> Result<&'v [Value], Invalid> {
        match inner(self.get(name)?) {
            Value::Array(items) => Ok(items),
            other => Err(self.unlike(name, other, "an array")),
        }
    }
}

/// Returns the value inside a union, or the value itself.
fn inner(value: &Value) -> &Value {
    match value {
        Value::Union(_, branch) => branch,
        other => other,
    }
}

fn name_of(value: &Value) -> String {
    format!("{:?}", apache_avro::schema::SchemaKind::from(value)).to_lowercase()
}
