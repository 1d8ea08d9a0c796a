//! The state of a binding, and the fields that bind to one property by its name and form.

use std::collections::BTreeMap;
use std::fmt::Display;

use serde_json::{Map, Value};

use super::Bound;
use super::names;
use super::profile::{Origin, Profile};
use super::schema::{Form, Property};
use super::value::{allowed, file_format, number, shown, text};
use crate::domain::{Media, Note, OnUnsupported, Problem, Single};

/// Limit on the characters of each text of a note or problem.
const LONGEST: usize = 300;
/// What helps with any field that a model has no input for.
const OR_DROP: &str = "leave it out, or set on_unsupported to DROP";
/// Limit on the notes, and on the problems.
const MOST: usize = 50;

pub(super) struct Binder<'p> {
    pub(super) profile: &'p Profile,
    pub(super) media: Media,
    drops: bool,
    pub(super) input: Map<String, Value>,
    /// The request's field that each property comes from.
    pub(super) origins: BTreeMap<String, String>,
    /// Properties that must keep their value because of another one, by name.
    gates: BTreeMap<String, String>,
    prompt: Option<String>,
    notes: Vec<Note>,
    problems: Vec<Problem>,
}

impl<'p> Binder<'p> {
    pub(super) fn new(profile: &'p Profile, single: &Single) -> Self {
        Self {
            profile,
            media: single.media(),
            drops: single.common().on_unsupported == OnUnsupported::Drop,
            input: Map::new(),
            origins: BTreeMap::new(),
            gates: BTreeMap::new(),
            prompt: None,
            notes: Vec::new(),
            problems: Vec::new(),
        }
    }

    pub(super) fn finish(self) -> Result<Bound, Vec<Problem>> {
        if !self.problems.is_empty() {
            return Err(self.problems);
        }
        Ok(Bound {
            input: self.input,
            notes: self.notes,
            estimate_usd: None,
            // One that a param replaced is reported like any other input.
            prompt: self.prompt.filter(|name| {
                self.origins
                    .get(name)
                    .is_some_and(|field| field == "prompt")
            }),
        })
    }

    /// Returns whether the list of problems is full.
    pub(super) fn is_full(&self) -> bool {
        self.problems.len() >= MOST
    }

    /// Returns whether a field without an input is left out.
    pub(super) fn drops(&self) -> bool {
        // While a schema cannot be read, the model may have the input after all.
        self.drops && self.profile.origin != Origin::Unreadable
    }

    /// Sends a property, and those that must be sent together with it.
    pub(super) fn put(&mut self, field: &str, name: &str, value: Value) {
        let profile = self.profile;
        for (other, gate) in profile.gate(name) {
            if gate != "custom" {
                self.adapted(field, &format!("{name} needs {}", sent(&other, &gate)));
            }
            self.gates.insert(other.clone(), name.to_owned());
            self.set(field, &other, gate);
        }
        self.set(field, name, value);
    }

    fn set(&mut self, field: &str, name: &str, value: Value) {
        let held = self.input.get(name).filter(|held| **held != value);
        if let (Some(held), Some(by)) = (held, self.gates.get(name)) {
            let hint = format!(
                "{by} works only with {}; leave one of the two out",
                sent(name, held)
            );
            return self.invalid(field, shown(&value), shown(held), hint);
        }
        self.origins.insert(name.to_owned(), field.to_owned());
        self.input.insert(name.to_owned(), value);
    }

    pub(super) fn is_set(&self, name: &str) -> bool {
        self.input.contains_key(name)
    }

    /// Returns the request's field that a property comes from.
    pub(super) fn field_of(&self, name: &str) -> String {
        let origin = self.origins.get(name);
        origin.map_or_else(|| name.to_owned(), String::clone)
    }

    pub(super) fn adapted(&mut self, field: &str, details: &str) {
        self.note(field, "adapted", details);
    }

    pub(super) fn overridden(&mut self, field: &str, details: &str) {
        self.note(field, "overridden", details);
    }

    fn note(&mut self, field: &str, kind: &str, details: &str) {
        if self.notes.len() < MOST {
            self.notes.push(Note {
                field: cut(&field),
                kind: kind.to_owned(),
                details: cut(&details),
            });
        }
    }

    /// Records a field that the model has no input for.
    pub(super) fn unsupported(
        &mut self,
        field: &str,
        asked: impl Display,
        hint: impl Into<Option<String>>,
    ) {
        if self.drops() {
            let details = format!(
                "the model has no input for it; {} was not sent",
                cut(&asked)
            );
            self.note(field, "dropped", &details);
            return;
        }
        let hint = match (hint.into(), self.profile.is_known()) {
            (Some(hint), true) => format!("{hint}; {OR_DROP}"),
            (None, true) => format!("the model has no input for it; {OR_DROP}"),
            (_, false) => format!(
                "genflow has no schema of this model, so it sends only prompt and params; check the model's name, set the \
                 model's own input in params, or {OR_DROP}"
            ),
        };
        self.problem(field, Some(cut(&asked)), None, hint);
    }

    /// Records a value that the model does not accept.
    pub(super) fn invalid(
        &mut self,
        field: &str,
        asked: impl Display,
        allowed: String,
        hint: impl Into<String>,
    ) {
        let allowed = Some(allowed).filter(|allowed| !allowed.is_empty());
        self.problem(field, Some(cut(&asked)), allowed, hint.into());
    }

    pub(super) fn problem(
        &mut self,
        field: &str,
        asked: Option<String>,
        allowed: Option<String>,
        hint: String,
    ) {
        if self.is_full() {
            return;
        }
        let cut = |text: String| text.chars().take(LONGEST).collect::<String>();
        self.problems.push(Problem {
            field: cut(field.to_owned()),
            asked: asked.map(cut),
            allowed: allowed.map(cut),
            hint: Some(cut(hint)).filter(|hint| !hint.is_empty()),
        });
    }

    pub(super) fn prompt(&mut self, prompt: &str) {
        let name = match self.profile.is_known() {
            true => self
                .profile
                .first(names::PROMPT, |it| it.has(&Form::Text))
                .map(|(name, _)| name),
            false => Some("prompt"),
        };
        match name {
            Some(name) => {
                self.put("prompt", name, Value::from(prompt));
                self.prompt = Some(name.to_owned());
            }
            // Never dropped: what would the model make?
            None => {
                let hint = "the model takes no prompt; choose another model".to_owned();
                self.problem("prompt", None, None, hint);
            }
        }
    }

    /// Binds a field whose value is any text.
    pub(super) fn text(&mut self, field: &'static str, asked: Option<&str>) {
        let Some(asked) = asked.filter(|asked| !asked.is_empty()) else {
            return;
        };
        match self
            .profile
            .first(names::of(field), |it| it.has(&Form::Text))
        {
            Some((name, _)) => self.put(field, name, Value::from(asked)),
            None => self.unsupported(field, asked, None),
        }
    }

    /// Binds a whole number of any size.
    pub(super) fn number(&mut self, field: &'static str, asked: Option<i64>) {
        let Some(asked) = asked else { return };
        let Some((name, property)) = self.profile.first(names::of(field), Property::is_number)
        else {
            return self.unsupported(field, asked, None);
        };
        let exact = asked as f64;
        let in_range = property.minimum.is_none_or(|least| exact >= least)
            && property.maximum.is_none_or(|most| exact <= most);
        match in_range {
            true => self.put(field, name, Value::from(asked)),
            false => self.invalid(field, asked, allowed(property, None), ""),
        }
    }

    /// Binds the number of outputs. One is what a model makes by itself, unless its schema says otherwise.
    pub(super) fn count(&mut self, asked: Option<i32>) {
        let count = asked.unwrap_or(1);
        let suits = |property: &Property| property.is_number() || !property.choices.is_empty();
        let Some((name, property)) = self.profile.first(names::COUNT, suits) else {
            if count != 1 {
                let hint = "the model makes one image per request; send a batch instead";
                self.unsupported("num_images", count, hint.to_owned());
            }
            return;
        };
        let is_default = property.default == Some(Value::from(count));
        if is_default || (asked.is_none() && property.default.is_none()) {
            return;
        }
        match number(property, None, f64::from(count)) {
            Some(value) => self.put("num_images", name, value),
            None => self.invalid("num_images", count, allowed(property, None), ""),
        }
    }

    pub(super) fn output_format(&mut self, asked: Option<&str>) {
        let Some(asked) = asked.filter(|asked| !asked.is_empty()) else {
            return;
        };
        let Some((name, property)) = self
            .profile
            .first(names::OUTPUT_FORMAT, |it| it.has(&Form::Text))
        else {
            return self.unsupported("output_format", asked, None);
        };
        match file_format(property, asked) {
            Some(value) => self.put("output_format", name, value),
            None => self.invalid("output_format", asked, allowed(property, None), ""),
        }
    }

    pub(super) fn style(&mut self, asked: Option<&str>) {
        let Some(asked) = asked.map(str::trim).filter(|asked| !asked.is_empty()) else {
            return;
        };
        // A model may have a property for general styles and one for finer ones.
        let all: Vec<_> = names::STYLE
            .iter()
            .filter_map(|name| Some((*name, self.profile.property(name)?)))
            .filter(|(_, property)| property.has(&Form::Text) || !property.choices.is_empty())
            .collect();
        let found = all
            .iter()
            .find_map(|(name, property)| Some((*name, text(property, asked)?)));
        match (found, all.first()) {
            (Some((name, value)), _) => self.put("style", name, value),
            (None, Some((_, property))) => {
                self.invalid("style", asked, allowed(property, None), "")
            }
            (None, None) => self.unsupported(
                "style",
                asked,
                "the model has no input for it: describe it in the prompt".to_owned(),
            ),
        }
    }

    pub(super) fn audio(&mut self, asked: Option<bool>) {
        let Some(asked) = asked else { return };
        let found = self
            .profile
            .first(names::AUDIO, |it| it.has(&Form::Boolean));
        match found {
            Some((name, _)) => self.put("audio", name, Value::from(asked)),
            // Without a switch, a model always makes sound or never does.
            None if self.profile.is_known() && self.profile.always_has_audio() == asked => {
                if !asked {
                    self.adapted("audio", "the model has no switch for sound");
                }
            }
            None if self.profile.always_has_audio() => {
                self.unsupported("audio", asked, "the model always makes sound".to_owned());
            }
            None => self.unsupported("audio", asked, None),
        }
    }
}

fn cut(asked: &impl Display) -> String {
    asked.to_string().chars().take(LONGEST).collect()
}

/// Returns a property and its value for people, such as `aspect_ratio 16:9`.
pub(super) fn sent(name: &str, value: &Value) -> String {
    format!("{name} {}", shown(value))
}
