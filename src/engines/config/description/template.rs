//! Templates of bodies and paths. A placeholder is a name in braces.

use std::collections::BTreeSet;

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde::{Deserialize, Deserializer, de};
use serde_json::{Map, Value};

/// A template of a JSON body: a string that is exactly one placeholder, such as `"{prompt}"`, is replaced by a value.
#[derive(Clone, Debug)]
pub struct Body(Value);

impl Default for Body {
    fn default() -> Self {
        Self(Value::Object(Map::new()))
    }
}

impl<'de> Deserialize<'de> for Body {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let body = Value::deserialize(deserializer)?;
        match body.is_object() {
            true => Ok(Self(body)),
            false => Err(de::Error::custom("expected a table")),
        }
    }
}

impl Body {
    /// Returns the names of the placeholders.
    pub fn names(&self) -> BTreeSet<&str> {
        let mut names = BTreeSet::new();
        collect(&self.0, &mut names);
        names
    }

    /// Fills in the placeholders. Omits a table or list in which no placeholder has a value, so an optional input can
    /// have a table of its own.
    pub fn fill(&self, value: &impl Fn(&str) -> Option<Value>) -> Value {
        let fields = self.0.as_object().into_iter().flatten();
        let filled = fields.filter_map(|(name, field)| {
            let field = fill(field, value).into_value()?;
            Some((name.clone(), field))
        });
        Value::Object(filled.collect())
    }
}

fn collect<'v>(part: &'v Value, names: &mut BTreeSet<&'v str>) {
    match part {
        Value::String(text) => names.extend(placeholder(text)),
        Value::Array(items) => items.iter().for_each(|item| collect(item, names)),
        Value::Object(fields) => fields.values().for_each(|field| collect(field, names)),
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

fn placeholder(text: &str) -> Option<&str> {
    let name = text.strip_prefix('{')?.strip_suffix('}')?;
    let good = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-');
    (!name.is_empty() && name.chars().all(good)).then_some(name)
}

/// A filled part of a body.
enum Part {
    /// It has no placeholder.
    Constant(Value),
    /// At least one of its placeholders has a value.
    Set(Value),
    Unset,
}

impl Part {
    fn into_value(self) -> Option<Value> {
        match self {
            Self::Constant(value) | Self::Set(value) => Some(value),
            Self::Unset => None,
        }
    }

    /// Combines the filled elements of a table or list.
    fn of<T>(parts: Vec<(T, Self)>, whole: impl FnOnce(Vec<(T, Value)>) -> Value) -> Self {
        let is_set = parts.iter().any(|(_, part)| matches!(part, Self::Set(_)));
        let is_unset = parts.iter().any(|(_, part)| matches!(part, Self::Unset));
        let kept = parts.into_iter();
        let kept = kept.filter_map(|(key, part)| Some((key, part.into_value()?)));
        match (is_set, is_unset) {
            (true, _) => Self::Set(whole(kept.collect())),
            (false, true) => Self::Unset,
            (false, false) => Self::Constant(whole(kept.collect())),
        }
    }
}

fn fill(part: &Value, value: &impl Fn(&str) -> Option<Value>) -> Part {
    match part {
        Value::String(text) => match placeholder(text) {
            Some(name) => value(name).map_or(Part::Unset, Part::Set),
            None => Part::Constant(part.clone()),
        },
        Value::Array(items) => {
            let parts = items.iter().map(|item| ((), fill(item, value)));
            Part::of(parts.collect(), |items| {
                items.into_iter().map(|(_, item)| item).collect()
            })
        }
        Value::Object(fields) => {
            let parts = fields
                .iter()
                .map(|(name, field)| (name.clone(), fill(field, value)));
            Part::of(parts.collect(), |fields| fields.into_iter().collect())
        }
        Value::Null | Value::Bool(_) | Value::Number(_) => Part::Constant(part.clone()),
    }
}

/// A path below the base URL, with placeholders, such as `/v1/tasks/{id}`.
#[derive(Clone, Debug)]
pub struct PathTemplate(Vec<Piece>);

#[derive(Clone, Debug)]
enum Piece {
    Fixed(String),
    Placeholder(String),
}

/// Characters that are escaped in a path. Slashes are not: an id may have several segments (Google's do).
const NO_PATH: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'_')
    .remove(b'.')
    .remove(b'~')
    .remove(b'/');

impl PathTemplate {
    fn parse(text: &str) -> Result<Self, String> {
        let wrong = || {
            format!(
                "is {text:?}, expected a path below base_url that begins with /, such as /v1/tasks/{{id}}"
            )
        };
        if !text.starts_with('/') || text.starts_with("//") {
            return Err(wrong());
        }
        let mut pieces = Vec::new();
        let mut rest = text;
        while let Some((fixed, after)) = rest.split_once('{') {
            let (name, after) = after.split_once('}').ok_or_else(wrong)?;
            pieces.push(Piece::Fixed(fixed.to_owned()));
            pieces.push(Piece::Placeholder(name.to_owned()));
            rest = after;
        }
        pieces.push(Piece::Fixed(rest.to_owned()));
        Ok(Self(pieces))
    }

    /// Returns the names of the placeholders.
    pub fn names(&self) -> BTreeSet<&str> {
        let names = self.0.iter().filter_map(|piece| match piece {
            Piece::Placeholder(name) => Some(name.as_str()),
            Piece::Fixed(_) => None,
        });
        names.collect()
    }

    /// Returns the path with each placeholder replaced by its value; `None` if a value is missing or has a segment `.`
    /// or `..`.
    pub fn fill(&self, value: impl Fn(&str) -> Option<String>) -> Option<String> {
        let mut path = String::new();
        for piece in &self.0 {
            match piece {
                Piece::Fixed(text) => path.push_str(text),
                Piece::Placeholder(name) => {
                    let value = value(name)?;
                    if value.split('/').any(|part| matches!(part, "." | "..")) {
                        return None;
                    }
                    path.extend(utf8_percent_encode(&value, NO_PATH));
                }
            }
        }
        Some(path)
    }
}

impl<'de> Deserialize<'de> for PathTemplate {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Self::parse(&text).map_err(de::Error::custom)
    }
}
