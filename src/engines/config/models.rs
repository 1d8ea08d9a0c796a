//! `ALLOWED_MODELS`: the models that a request may name, as patterns by kind and provider.

use std::fmt;

use super::provider::Named;
use super::vars::Vars;
use crate::domain::glob::is_like;
use crate::domain::{Media, ProviderName};

/// The models that requests may name; without patterns, any.
#[derive(Clone, Debug, Default)]
pub struct AllowedModels(Vec<Pattern>);

/// `[video:|image:]provider/model`; `*` is any provider, or any part of a model.
#[derive(Clone, Debug)]
struct Pattern {
    text: String,
    /// `None`: both kinds.
    kind: Option<Media>,
    /// `None`: any provider.
    provider: Option<ProviderName>,
    model: String,
}

impl AllowedModels {
    /// Returns whether every model is allowed.
    pub fn are_any(&self) -> bool {
        self.0.is_empty()
    }

    /// Returns whether a request of this kind may use the provider's model.
    pub fn allow(&self, kind: Media, provider: ProviderName, model: &str) -> bool {
        self.are_any()
            || self.0.iter().any(|pattern| {
                pattern.kind.is_none_or(|only| only == kind)
                    && pattern.provider.is_none_or(|only| only == provider)
                    && fits(&pattern.model, model)
            })
    }
}

impl fmt::Display for AllowedModels {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let patterns: Vec<_> = self.0.iter().map(|pattern| pattern.text.as_str()).collect();
        f.write_str(&patterns.join(", "))
    }
}

impl Pattern {
    fn parse(text: &str, named: &Named) -> Option<Self> {
        let (kind, rest) = match text.split_once(':') {
            Some(("video", rest)) => (Some(Media::Video), rest),
            Some(("image", rest)) => (Some(Media::Image), rest),
            Some(_) | None => (None, text),
        };
        let (provider, model) = rest.split_once('/')?;
        let provider = match provider {
            "*" => None,
            name => Some(named.named(name)?),
        };
        (!model.is_empty()).then(|| Self {
            text: text.to_owned(),
            kind,
            provider,
            model: model.to_owned(),
        })
    }
}

/// Replicate runs the version of `owner/name:version` and ignores the name. So a pattern without a version does not
/// match a model with one.
fn fits(pattern: &str, model: &str) -> bool {
    match (pattern.split_once(':'), model.split_once(':')) {
        (Some((names, versions)), Some((name, version))) => {
            is_like(names, name) && is_like(versions, version)
        }
        (None, None) => is_like(pattern, model),
        (Some(_), None) | (None, Some(_)) => false,
    }
}

pub(super) fn allowed(vars: &mut Vars<'_>, named: &Named) -> AllowedModels {
    let name = "ALLOWED_MODELS";
    let Some(text) = vars.optional(name) else {
        return AllowedModels::default();
    };
    let mut patterns = Vec::new();
    for entry in text.split(',').map(str::trim) {
        match Pattern::parse(entry, named) {
            Some(pattern) => patterns.push(pattern),
            None => {
                let wanted =
                    "expected [video:|image:]provider/model, such as video:replicate/minimax/*";
                vars.fault(name, &format!("has the entry {entry:?}, {wanted}"));
            }
        }
    }
    AllowedModels(patterns)
}

#[cfg(test)]
mod tests {
    use super::super::Config;
    use super::*;

    const REPLICATE: ProviderName = ProviderName::REPLICATE;
    const OPENAI: ProviderName = ProviderName::OPENAI;
    const FAL: ProviderName = ProviderName::FAL;

    fn load(text: &str) -> Result<AllowedModels, String> {
        let lookup = |name: &str| (name == "ALLOWED_MODELS").then(|| text.to_owned());
        let config = Config::load(lookup).map_err(|faults| faults.to_string())?;
        Ok(config.intake.allowed_models)
    }

    #[test]
    fn a_model_is_allowed_by_kind_provider_and_pattern() {
        use Media::{Image, Video};

        let some =
            load("video:replicate/minimax/*, image:openai/gpt-image-*,*/me/mine:5c*").unwrap();

        for (kind, provider, model, allowed) in [
            (Video, REPLICATE, "minimax/video-01", true),
            (Video, REPLICATE, "minimax/video-01:abc", false),
            (Image, REPLICATE, "minimax/video-01", false),
            (Video, FAL, "minimax/video-01", false),
            (Video, REPLICATE, "other/minimax/x", false),
            (Image, OPENAI, "gpt-image-2", true),
            (Image, OPENAI, "gpt-image", false),
            (Image, FAL, "me/mine:5c1", true),
            (Video, REPLICATE, "me/mine:6c1", false),
            (Video, REPLICATE, "me/mine", false),
        ] {
            assert_eq!(some.allow(kind, provider, model), allowed, "{model}");
            assert!(load("").unwrap().allow(kind, provider, model));
        }
    }

    #[test]
    fn a_star_is_any_number_of_characters() {
        for (pattern, text, like) in [
            ("a", "a", true),
            ("a", "ab", false),
            ("*", "", true),
            ("a*", "a", true),
            ("*b", "ab", true),
            ("a*b", "ab", true),
            ("a*b", "a", false),
            ("ab*ba", "aba", false),
            ("a*b*c", "axbxbxc", true),
            ("a*b*c", "acb", false),
            ("**", "x", true),
            ("a*bc*d", "abd", false),
        ] {
            assert_eq!(is_like(pattern, text), like, "{pattern} {text}");
        }
    }

    #[test]
    fn an_entry_that_is_no_pattern_is_a_fault() {
        for entry in [
            "flux",
            "replicate",
            "replicate/",
            "audio:fal/x",
            "me/mine",
            "fal/x,",
        ] {
            let fault = load(entry).unwrap_err();
            assert!(fault.contains("ALLOWED_MODELS: has the entry"), "{fault}");
        }
    }
}
