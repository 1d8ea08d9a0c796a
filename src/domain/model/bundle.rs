//! genflow's own copy of the schemas of well-known models, for when a provider's cannot be read: `schemas/models`.
//!
//! It has the properties that genflow binds, and not all others. OpenAI publishes no schemas, so its table is the
//! only one.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use serde::Deserialize;
use serde_json::Value;

use super::limits::Limits;
use super::profile::{Origin, Profile, without_version};
use super::schema::Schema;
use crate::domain::ProviderName;
use crate::domain::glob::is_like;

const REPLICATE: &str = include_str!("../../../schemas/models/replicate.json");
const OPENAI: &str = include_str!("../../../schemas/models/openai.json");
const FAL: &str = include_str!("../../../schemas/models/fal.json");
const LIMITS: &str = include_str!("../../../schemas/models/limits.toml");

/// A test parses all of them.
static BUNDLE: LazyLock<Bundle> = LazyLock::new(|| Bundle {
    models: [
        (ProviderName::REPLICATE, REPLICATE),
        (ProviderName::OPENAI, OPENAI),
        (ProviderName::FAL, FAL),
    ]
    .map(|(provider, text)| (provider, serde_json::from_str(text).unwrap_or_default()))
    .into(),
    limits: toml::from_str(LIMITS).unwrap_or_default(),
});

struct Bundle {
    models: BTreeMap<ProviderName, BTreeMap<String, Model>>,
    limits: Limits,
}

#[derive(Deserialize)]
struct Model {
    input: Value,
}

/// Returns what is known about a model. `published` is its schema, if the provider's could be read.
pub fn profile(provider: ProviderName, model: &str, published: Option<Schema>) -> Profile {
    let origin = match published {
        Some(_) => Origin::Provider,
        None => Origin::Bundled,
    };
    let schema = published.or_else(|| schema(provider, model));
    Profile::new(provider, model, schema, origin, &BUNDLE.limits)
}

/// Returns what is known about a model whose input schema the settings have; `None` if that is no schema.
pub fn described(
    provider: ProviderName,
    model: &str,
    input: &Value,
    origin: Origin,
) -> Option<Profile> {
    let schema = Schema::parse(&Value::Null, input)?;
    Some(Profile::new(
        provider,
        model,
        Some(schema),
        origin,
        &BUNDLE.limits,
    ))
}

/// Returns the names of the models that genflow has a copy of. They may be patterns (`domain::glob`).
pub fn names(provider: ProviderName) -> impl Iterator<Item = &'static str> {
    let models = BUNDLE.models.get(&provider).into_iter();
    models.flat_map(|models| models.keys().map(String::as_str))
}

/// Returns the published input schema of a model, as genflow's copy has it.
pub fn input(provider: ProviderName, model: &str) -> Option<&'static Value> {
    let models = BUNDLE.models.get(&provider)?;
    let model = without_version(model);
    let named = models.get(model);
    let described = || {
        models
            .iter()
            .find(|(glob, _)| is_like(glob, model))
            .map(|(_, it)| it)
    };
    named.or_else(described).map(|model| &model.input)
}

fn schema(provider: ProviderName, model: &str) -> Option<Schema> {
    Schema::parse(&Value::Null, input(provider, model)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bundle_is_readable_and_each_limit_is_of_a_property() {
        let limits: Limits = toml::from_str(LIMITS).unwrap();
        for (provider, text) in [
            (ProviderName::REPLICATE, REPLICATE),
            (ProviderName::OPENAI, OPENAI),
            (ProviderName::FAL, FAL),
        ] {
            let models: BTreeMap<String, Model> = serde_json::from_str(text).unwrap();
            for model in models.keys() {
                let schema = schema(provider, model).unwrap();
                for required in &schema.required {
                    assert!(
                        schema.properties.contains_key(required),
                        "{model} {required}"
                    );
                }
                for limit in limits.of(&format!("{}:{model}", provider.as_str())) {
                    for property in limit.properties() {
                        assert!(
                            schema.properties.contains_key(property),
                            "{model} {property}"
                        );
                    }
                }
            }
        }
        assert!(!limits.of("replicate:minimax/video-01").is_empty());
    }

    #[test]
    fn a_version_and_a_snapshot_have_the_schema_of_their_model() {
        assert!(input(ProviderName::REPLICATE, "minimax/video-01:abc").is_some());
        assert!(input(ProviderName::OPENAI, "gpt-image-2-2026-04-21").is_some());
        assert!(input(ProviderName::OPENAI, "dall-e-2").is_none());
    }
}
