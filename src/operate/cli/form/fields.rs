//! A JSON object's fields by name: null counts as left out, and each error says which field and what is wanted.

#![expect(
    clippy::wildcard_enum_match_arm,
    reason = "what is not wanted is an error, whatever else a value can be"
)]

use std::collections::BTreeMap;

use serde_json::{Map, Value as Json};

use crate::domain::Invalid;

/// One JSON object, and the path that leads to it.
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
                let problem = format!("is {}, want an object", name_of(other));
                Err(Invalid::new(field, problem))
            }
        }
    }

    /// Holds every field against those that may stand there; `silent` ones may too, but are not offered.
    pub(super) fn allow(&self, names: &[&str], silent: &[&str]) -> Result<(), Invalid> {
        for name in self.fields.keys().map(String::as_str) {
            if !names.contains(&name) && !silent.contains(&name) {
                let problem = format!("is unknown here, want one of: {}", names.join(", "));
                return Err(self.wrong(name, &problem));
            }
        }
        Ok(())
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
        Err(self.wrong(name, &format!("is {}, want {wanted}", name_of(value))))
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
        let outside = |_| self.wrong(name, &format!("is {number}, want a whole number"));
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
                Err(self.wrong(name, &format!("is {value}, want a whole number")))
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

    /// Milliseconds since the epoch, or RFC 3339.
    pub(super) fn time(&self, name: &str) -> Result<Option<i64>, Invalid> {
        let wanted = "milliseconds since the epoch or a time as 2026-01-31T12:00:00Z";
        match self.get(name) {
            None => Ok(None),
            Some(Json::Number(number)) if number.is_i64() => Ok(number.as_i64()),
            Some(Json::String(text)) => match chrono::DateTime::parse_from_rfc3339(text) {
                Ok(time) => Ok(Some(time.timestamp_millis())),
                Err(_) => Err(self.wrong(name, &format!("is {text:?}, want {wanted}"))),
            },
            Some(other) => self.unlike(name, other, wanted),
        }
    }

    /// One of some words, in any case.
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
                let problem = format!("is {text:?}, want one of: {}", all.join(", "));
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
                other => return self.unlike(name, other, "strings"),
            }
        }
        Ok(Some(strings))
    }

    /// A map of texts; what is no string stands there as its JSON text.
    pub(super) fn texts(&self, name: &str) -> Result<Option<BTreeMap<String, String>>, Invalid> {
        self.map(name, |value| match value {
            Json::String(text) => text.clone(),
            other => other.to_string(),
        })
    }

    /// A map of JSON texts; a string that is JSON text already stands as it is, as the schema has it.
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
        Json::Bool(_) => "true or false",
        Json::Number(_) => "a number",
        Json::String(_) => "a string",
        Json::Array(_) => "an array",
        Json::Object(_) => "an object",
    }
}
