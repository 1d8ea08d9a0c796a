//! Limits of models that their schemas do not express, only their descriptions: data, in `schemas/models/limits.toml`.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::Value;

use crate::domain::glob::is_like;

/// All limits, for all models.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Limits {
    #[serde(default)]
    limit: Vec<Limit>,
}

/// What is known about some models. Keys are names of properties.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Limit {
    /// Patterns of provider and name, such as `replicate:minimax/hailuo-*`.
    models: Vec<String>,
    /// If these properties have one of these values, `only` applies.
    pub(super) when: BTreeMap<String, Vec<Value>>,
    /// These properties must have one of these values.
    pub(super) only: BTreeMap<String, Vec<Value>>,
    /// The first property needs all of the others.
    pub(super) needs: BTreeMap<String, Vec<String>>,
    /// The first property may be sent only together with these values of others.
    pub(super) gate: BTreeMap<String, BTreeMap<String, Value>>,
    /// The values are multiples of this.
    pub(super) grid: BTreeMap<String, u32>,
    pub(super) frames: Option<FrameGrid>,
    /// Maximum number of files.
    pub(super) max_items: BTreeMap<String, usize>,
    /// The model ignores the first property if one of the others is set.
    pub(super) ignored_with: BTreeMap<String, Vec<String>>,
    /// If the first property is set, the model ignores the others.
    pub(super) overrides: BTreeMap<String, Vec<String>>,
    /// What the model makes without having a property for it, by the request's field.
    pub(super) fixed: BTreeMap<String, Value>,
    /// The model always makes sound.
    pub(super) always_audio: bool,
    /// The property for a field of the request, if its name does not show it.
    pub(super) bind: BTreeMap<String, Binding>,
    /// Properties that mean something other than their names suggest.
    pub(super) not: Vec<String>,
    /// Texts of sizes that a property accepts, although its schema lists none.
    pub(super) pixels: BTreeMap<String, Pixels>,
}

/// Numbers of frames are multiples of `step`, plus `offset`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct FrameGrid {
    pub(super) property: String,
    pub(super) step: u32,
    pub(super) offset: u32,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Binding {
    pub(super) property: String,
    /// The property's values for values of the field, such as `pro` for `1080p`.
    #[serde(default)]
    pub(super) values: BTreeMap<String, String>,
}

/// Sizes such as `1280x720`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Pixels {
    /// Both sides are multiples of this.
    pub(super) multiple: u32,
    /// Limit on the long side.
    pub(super) longest: u32,
    /// Limit on the pixels of the image.
    pub(super) area: u32,
    /// Limit on long side to short side.
    pub(super) ratio: u32,
}

#[cfg(test)]
impl Limit {
    /// Returns the properties that it is about, but for those that a model may lack.
    pub(super) fn properties(&self) -> impl Iterator<Item = &String> {
        let pairs = self
            .when
            .keys()
            .chain(self.only.keys())
            .chain(self.needs.keys());
        let pairs = pairs
            .chain(self.needs.values().flatten())
            .chain(self.gate.keys());
        let pairs = pairs
            .chain(self.grid.keys())
            .chain(self.max_items.keys())
            .chain(self.pixels.keys());
        let bound = self.bind.values().map(|binding| &binding.property);
        pairs
            .chain(bound)
            .chain(self.frames.as_ref().map(|grid| &grid.property))
    }
}

impl Limits {
    /// Returns the limits of a model; `name` includes its provider, such as `fal:fal-ai/flux/dev`.
    pub(super) fn of(&self, name: &str) -> Vec<Limit> {
        let matching = self
            .limit
            .iter()
            .filter(|limit| limit.models.iter().any(|glob| is_like(glob, name)));
        matching.cloned().collect()
    }
}
