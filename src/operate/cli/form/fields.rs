//! The fields of a JSON object by name. Null counts as left out; each error names the field and what is expected.

#![expect(
    clippy::wildcard_enum_match_arm,
    reason = "every other type of value is an error"
)]

use std::collections::BTreeMap;

use serde_json::{Map, Value as Json};

use crate::domain::Invalid;

/// One JSON object, and its path in the request.
pub(super) struct Form<'j> {
    path: String,
    fields: &'j Map<String, Json>,
}

impl<'j> Form<'j> {
    pub(super) fn of(path: &str, json: &'j Json) -> Result<Self, Invalid> {
        match json {
            Json::Object(fields) => Ok(Self {
                path: path.to_owned(),
                fields,
            }),
            other => {
                let field = if path.is_empty() { "the request" } else { path };
                let problem = format!("is {}, expected an object", name_of(other));
                Err(Invalid::new(field, problem))
            }
        }
    }

    /// Rejects fields other than `names`.
    pub(super) fn allow(&self, names: &[&str]) -> Result<(), Invalid> {
        match self
            .fields
            .keys()
            .find(|name| !names.contains(&name.as_str()))
        {
            Some(name) => {
                let problem = format!("is unknown here, expected one of: {}", names.join(", "));
                Err(self.wrong(name, &problem))
            }
            None => Ok(()),
        }
    }

    pub(super) fn wrong(&self, name: &str, problem: &str) -> Invalid {
        let dot = if self.path.is_empty() { "" } else { "." };
        Invalid::new(format!("{}{dot}{name}", self.path), problem)
    }

    pub(super) fn has(&self, name: &str) -> bool {
        self.get(name).is_some()
    }

    fn get(&self, name: &str) -> Option<&'j Json> {
        self.fields.get(name).filter(|value| !value.is_null())
    }

    fn unlike<T>(&self, name: &str, value: &Json, wanted: &str) -> Result<T, Invalid> {
        Err(self.wrong(name, &format!("is {}, expected {wanted}", name_of(value))))
    }

    pub(super) fn string(&self, name: &str) -> Result<Option<&'j str>, Invalid> {
        match self.get(name) {
            None => Ok(None),
            Some(Json::String(text)) => Ok(Some(text)),
            Some(other) => self.unlike(name, other, "a string"),
        }
    }

    pub(super) fn required(&self, name: &str) -> Result<&'j str, Invalid> {
        self.string(name)?
            .ok_or_else(|| self.wrong(name, "is missing"))
    }

    pub(super) fn int(&self, name: &str) -> Result<Option<i32>, Invalid> {
        let Some(number) = self.long(name)? else {
            return Ok(None);
        };
        let outside = |_| {
            self.wrong(
                name,
                &format!("is {number}, expected a whole number of 32 bits"),
            )
        };
        i32::try_from(number).map(Some).map_err(outside)
    }

    pub(super) fn long(&self, name: &str) -> Result<Option<i64>, Invalid> {
        let Some(value) = self.get(name) else {
            return Ok(None);
        };
        // Some languages write 10 as 10.0.
        let whole = value.as_i64().or_else(|| {
            let number = value.as_f64().filter(|number| number.fract() == 0.0)?;
            (number.abs() < 1e15).then_some(number as i64)
        });
        match (whole, value) {
            (Some(number), _) => Ok(Some(number)),
            (None, Json::Number(_)) => {
                Err(self.wrong(name, &format!("is {value}, expected a whole number")))
            }
            (None, other) => self.unlike(name, other, "a whole number"),
        }
    }

    pub(super) fn flag(&self, name: &str) -> Result<Option<bool>, Invalid> {
        match self.get(name) {
            None => Ok(None),
            Some(Json::Bool(value)) => Ok(Some(*value)),
            Some(other) => self.unlike(name, other, "true or false"),
        }
    }

    /// Reads a time: milliseconds since the epoch, or RFC 3339.
    pub(super) fn time(&self, name: &str) -> Result<Option<i64>, Invalid> {
        let wanted = "milliseconds since the epoch or a time such as 2026-01-31T12:00:00Z";
        match self.get(name) {
            None => Ok(None),
            Some(Json::Number(number)) if number.is_i64() => Ok(number.as_i64()),
            Some(Json::String(text)) => match chrono::DateTime::parse_from_rfc3339(text) {
                Ok(time) => Ok(Some(time.timestamp_millis())),
                Err(_) => Err(self.wrong(name, &format!("is {text:?}, expected {wanted}"))),
            },
            Some(other) => self.unlike(name, other, wanted),
        }
    }

    /// Reads one of `words`, in upper or lower case.
    pub(super) fn word<T: Copy>(
        &self,
        name: &str,
        words: &[(&str, T)],
    ) -> Result<Option<T>, Invalid> {
        let Some(text) = self.string(name)? else {
            return Ok(None);
        };
        match words
            .iter()
            .find(|(word, _)| word.eq_ignore_ascii_case(text))
        {
            Some((_, value)) => Ok(Some(*value)),
            None => {
                let all: Vec<_> = words.iter().map(|(word, _)| *word).collect();
                let problem = format!("is {text:?}, expected one of: {}", all.join(", "));
                Err(self.wrong(name, &problem))
            }
        }
    }

    pub(super) fn strings(&self, name: &str) -> Result<Option<Vec<String>>, Invalid> {
        let Some(items) = self.array(name)? else {
            return Ok(None);
        };
        let mut strings = Vec::new();
        for item in items {
            match item {
                Json::String(text) => strings.push(text.clone()),
                other => {
                    let problem = format!("contains {}, expected strings", name_of(other));
                    return Err(self.wrong(name, &problem));
                }
            }
        }
        Ok(Some(strings))
    }

    /// Reads a map of strings; a value that is not a string becomes its JSON text.
    pub(super) fn texts(&self, name: &str) -> Result<Option<BTreeMap<String, String>>, Invalid> {
        self.map(name, |value| match value {
            Json::String(text) => text.clone(),
            other => other.to_string(),
        })
    }

    /// Reads a map of JSON texts; a string that is JSON text already is kept, as in the schema.
    pub(super) fn json_texts(
        &self,
        name: &str,
    ) -> Result<Option<BTreeMap<String, String>>, Invalid> {
        self.map(name, |value| match value {
            Json::String(text) if serde_json::from_str::<Json>(text).is_ok() => text.clone(),
            other => other.to_string(),
        })
    }

    fn map(
        &self,
        name: &str,
        text: impl Fn(&Json) -> String,
    ) -> Result<Option<BTreeMap<String, String>>, Invalid> {
        match self.get(name) {
            None => Ok(None),
            Some(Json::Object(entries)) => {
                let entries = entries
                    .iter()
                    .map(|(key, value)| (key.clone(), text(value)));
                Ok(Some(entries.collect()))
            }
            Some(other) => self.unlike(name, other, "an object"),
        }
    }

    pub(super) fn record(&self, name: &str) -> Result<Option<Form<'j>>, Invalid> {
        let path = self.wrong(name, "").field;
        self.get(name).map(|json| Form::of(&path, json)).transpose()
    }

    pub(super) fn records(&self, name: &str) -> Result<Option<Vec<Form<'j>>>, Invalid> {
        let Some(items) = self.array(name)? else {
            return Ok(None);
        };
        let path = self.wrong(name, "").field;
        let forms = items.iter().enumerate();
        let forms = forms.map(|(index, json)| Form::of(&format!("{path}[{index}]"), json));
        forms.collect::<Result<_, _>>().map(Some)
    }

    fn array(&self, name: &str) -> Result<Option<&'j Vec<Json>>, Invalid> {
        match self.get(name) {
            None => Ok(None),
            Some(Json::Array(items)) => Ok(Some(items)),
            Some(other) => self.unlike(name, other, "an array"),
        }
    }
}

fn name_of(value: &Json) -> &'static str {
    match value {
        Json::Null => "null",
        Json::Bool(_) => "a boolean",
        Json::Number(_) => "a number",
        Json::String(_) => "a string",
        Json::Array(_) => "an array",
        Json::Object(_) => "an object",
    }
}
