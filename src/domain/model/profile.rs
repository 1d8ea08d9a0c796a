//! What is known about a model: its schema and the limits that the schema does not express.

use serde::Serialize;
use serde_json::{Map, Value};

use super::limits::{Binding, Limit, Limits, Pixels};
use super::names;
use super::schema::{Property, Schema};
use crate::domain::{Media, ProviderName};

/// What is known about one model's input.
#[derive(Clone, Debug)]
pub struct Profile {
    /// The model's name.
    pub model: String,
    pub provider: ProviderName,
    pub origin: Origin,
    pub(super) schema: Schema,
    pub(super) limits: Vec<Limit>,
}

/// One input of a model, for people.
#[derive(Clone, Debug)]
pub struct ModelInput {
    pub name: String,
    /// Its values or its type.
    pub accepts: String,
    pub default: Option<Value>,
    pub is_required: bool,
}

/// Where a model's schema comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Origin {
    /// The provider.
    Provider,
    /// genflow's own copy, which may be older than the model.
    Bundled,
    /// No schema is known: only the prompt and `params` can be sent.
    Unknown,
    /// No schema is known, because the provider did not answer: a later attempt may read it.
    Unreadable,
}

impl std::fmt::Display for Origin {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Provider => "schema from the provider",
            Self::Bundled => "schema from genflow's copy",
            Self::Unknown => "schema not known",
            Self::Unreadable => "schema cannot be read now",
        })
    }
}

impl Profile {
    pub fn new(
        provider: ProviderName,
        model: &str,
        schema: Option<Schema>,
        origin: Origin,
        limits: &Limits,
    ) -> Self {
        let origin = if schema.is_some() {
            origin
        } else {
            Origin::Unknown
        };
        Self {
            model: model.to_owned(),
            provider,
            origin,
            schema: schema.unwrap_or_default(),
            limits: limits.of(&full_name(provider, model)),
        }
    }

    /// Returns what the model accepts, by the names of its inputs.
    pub fn inputs(&self) -> impl Iterator<Item = ModelInput> {
        self.schema
            .properties
            .iter()
            .map(|(name, property)| ModelInput {
                name: name.clone(),
                accepts: property.expected(self.multiple(name)),
                default: property.default.clone(),
                is_required: self.schema.required.contains(name),
            })
    }

    /// Returns whether the model's schema has an input with this name.
    pub fn has_input(&self, name: &str) -> bool {
        self.schema.properties.contains_key(name)
    }

    pub(super) fn full_name(&self) -> String {
        full_name(self.provider, &self.model)
    }

    /// Returns the value that the model uses for a property: what is sent, else its default.
    pub(super) fn effective(&self, input: &Map<String, Value>, name: &str) -> Option<Value> {
        let default = || {
            self.schema
                .properties
                .get(name)
                .and_then(|it| it.default.clone())
        };
        input.get(name).cloned().or_else(default)
    }

    /// Returns whether two profiles have the same schema.
    pub fn has_schema_of(&self, other: &Self) -> bool {
        self.schema == other.schema
    }

    /// Returns the names of the properties that differ from an earlier schema.
    pub fn changes_since(&self, before: &Self) -> String {
        let (old, new) = (&before.schema.properties, &self.schema.properties);
        let names = new
            .keys()
            .chain(old.keys().filter(|name| !new.contains_key(*name)));
        let changed: Vec<_> = names
            .filter(|name| old.get(*name) != new.get(*name))
            .map(String::as_str)
            .collect();
        changed.join(", ")
    }

    pub(super) fn is_known(&self) -> bool {
        matches!(self.origin, Origin::Provider | Origin::Bundled)
    }

    /// Returns a property that a field may be bound to, if the model has it.
    pub(super) fn property(&self, name: &str) -> Option<&Property> {
        let property = self.schema.properties.get(name)?;
        let means_another_thing = self
            .limits
            .iter()
            .any(|limit| limit.not.iter().any(|it| it == name));
        (!property.is_deprecated && !property.is_secret && !means_another_thing).then_some(property)
    }

    /// Returns the first of `names` that the model has in a suitable form.
    pub(super) fn first<'n>(
        &self,
        names: &[&'n str],
        suits: impl Fn(&Property) -> bool,
    ) -> Option<(&'n str, &Property)> {
        let found = names
            .iter()
            .filter_map(|name| Some((*name, self.property(name)?)));
        found.into_iter().find(|(_, property)| suits(property))
    }

    /// Returns the property that the limits name for a field of the request.
    pub(super) fn binding(&self, field: &str) -> Option<&Binding> {
        self.limits.iter().find_map(|limit| limit.bind.get(field))
    }

    /// Returns what the model makes without having a property for it.
    pub(super) fn fixed(&self, field: &str) -> Option<&Value> {
        self.limits.iter().find_map(|limit| limit.fixed.get(field))
    }

    pub(super) fn always_has_audio(&self) -> bool {
        self.limits.iter().any(|limit| limit.always_audio)
    }

    /// Returns the values that must be sent together with a property. A model that offers `custom` among its ratios or
    /// sizes reads width and height only with that.
    pub(super) fn gate(&self, name: &str) -> Vec<(String, Value)> {
        if let Some(gate) = self.limits.iter().find_map(|limit| limit.gate.get(name)) {
            return gate
                .iter()
                .map(|(name, value)| (name.clone(), value.clone()))
                .collect();
        }
        if ![names::WIDTH, names::HEIGHT].contains(&name) {
            return Vec::new();
        }
        let custom = Value::from("custom");
        let offers = |name: &&&str| {
            self.property(name)
                .is_some_and(|it| it.choices.contains(&custom))
        };
        let property = names::RATIO.iter().chain(names::PIXELS).find(offers);
        property
            .map(|name| ((*name).to_owned(), custom.clone()))
            .into_iter()
            .collect()
    }

    pub(super) fn pixels(&self, name: &str) -> Option<&Pixels> {
        self.limits.iter().find_map(|limit| limit.pixels.get(name))
    }

    /// Returns what the values of a property are multiples of.
    pub(super) fn multiple(&self, name: &str) -> Option<f64> {
        let grid = self.limits.iter().find_map(|limit| limit.grid.get(name));
        let own = self
            .schema
            .properties
            .get(name)
            .and_then(|it| it.multiple_of);
        grid.map(|grid| f64::from(*grid)).or(own)
    }

    /// Returns the step and offset of a property's numbers of frames.
    pub(super) fn frame_grid(&self, name: &str) -> (u32, u32) {
        let grids = self.limits.iter().filter_map(|limit| limit.frames.as_ref());
        let grid = grids.into_iter().find(|grid| grid.property == name);
        grid.map_or((1, 0), |grid| (grid.step.max(1), grid.offset))
    }

    /// Returns the most files that a property accepts.
    pub(super) fn max_items(&self, name: &str) -> Option<usize> {
        let limit = self
            .limits
            .iter()
            .find_map(|limit| limit.max_items.get(name));
        let own = self.schema.properties.get(name).and_then(|it| it.max_items);
        limit.copied().or(own)
    }

    /// Returns what the model makes, if its inputs show it: only videos have a length, only images a format such as
    /// png.
    pub(super) fn makes(&self) -> Option<Media> {
        let has = |names: &[&str]| names.iter().any(|name| self.property(name).is_some());
        let lasts = has(names::DURATION)
            || has(names::FPS)
            || has(names::LAST_FRAME)
            || has(&["num_frames"])
            || self.fixed("duration").is_some();
        let format = self.first(names::OUTPUT_FORMAT, |it| !it.choices.is_empty());
        let is_picture = |choice: &Value| {
            let word = choice.as_str().map(str::to_lowercase);
            matches!(word.as_deref(), Some("png" | "jpg" | "jpeg" | "webp"))
        };
        let is_still = format.is_some_and(|(_, format)| format.choices.iter().all(is_picture));
        match (lasts, is_still) {
            (true, false) => Some(Media::Video),
            (false, true) => Some(Media::Image),
            (true, true) | (false, false) => None,
        }
    }

    /// Returns the property because of which the model ignores `name`, if `is_set`.
    pub(super) fn ignored(&self, name: &str, is_set: impl Fn(&str) -> bool) -> Option<&str> {
        let by = self
            .limits
            .iter()
            .filter_map(|limit| limit.ignored_with.get(name));
        by.flatten().map(String::as_str).find(|other| is_set(other))
    }
}

/// Returns a model's name after its provider, such as `fal:fal-ai/flux/dev`, as limits and prices have it.
pub(super) fn full_name(provider: ProviderName, model: &str) -> String {
    format!("{}:{}", provider.as_str(), without_version(model))
}

/// Returns a model's name without the version after a colon.
pub(super) fn without_version(model: &str) -> &str {
    model.split_once(':').map_or(model, |(name, _)| name)
}
