//! Settings of the generation APIs: the default for videos, the default for images, and others that a spec may name.

use std::collections::BTreeMap;
use std::fmt;

use url::Url;

use super::vars::Vars;
use crate::domain::{Fallback, MOST_FALLBACKS, Media, ProviderName, Secret, shown};

/// The generation API for a kind of media.
#[derive(Clone)]
pub struct Provider {
    /// The protocol that it speaks.
    pub name: ProviderName,
    pub base_url: Url,
    pub api_key: Option<Secret>,
    /// The variable of the key, if the provider needs one: without the key nothing is sent.
    pub wants_key: Option<&'static str>,
    /// Model of requests that name none.
    pub model: String,
}

/// The settings of each provider, whatever the default providers are. A spec may name any of them.
#[derive(Clone, Debug)]
pub struct Named(BTreeMap<ProviderName, Own>);

/// Settings of one provider.
#[derive(Clone)]
pub struct Own {
    pub base_url: Url,
    pub api_key: Option<Secret>,
    /// The variable of the key.
    pub key_variable: &'static str,
    /// Maximum submits per second, by all workers together; `None`: no limit.
    pub rate: Option<f64>,
}

/// What genflow knows about a provider without any setting.
struct Facts {
    /// The variables of its base URL, its key, and its limit of submits per second.
    variables: [&'static str; 3],
    base_url: &'static str,
    needs_key: bool,
    /// Empty if the provider makes no videos.
    video_model: &'static str,
    image_model: &'static str,
}

/// Hides the login that the URL may contain.
impl fmt::Debug for Provider {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Provider")
            .field("name", &self.name)
            .field("base_url", &shown(&self.base_url))
            .field("model", &self.model)
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for Own {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Own")
            .field("base_url", &shown(&self.base_url))
            .finish_non_exhaustive()
    }
}

impl Named {
    pub fn of(&self, name: ProviderName) -> &Own {
        // `named` reads the settings of every provider.
        &self.0[&name]
    }

    #[cfg(feature = "dev")]
    pub(super) fn iter_mut(&mut self) -> impl Iterator<Item = (ProviderName, &mut Own)> {
        self.0.iter_mut().map(|(name, own)| (*name, own))
    }
}

/// Reads the default provider for a kind of media.
pub(super) fn default(vars: &mut Vars<'_>, mocked: bool, media: Media) -> Provider {
    let [provider, url, api_key, model_name] = match media {
        Media::Video => [
            "VIDEO_PROVIDER",
            "VIDEO_API_BASE_URL",
            "VIDEO_API_KEY",
            "VIDEO_MODEL",
        ],
        Media::Image => [
            "IMAGE_PROVIDER",
            "IMAGE_API_BASE_URL",
            "IMAGE_API_KEY",
            "IMAGE_MODEL",
        ],
    };
    let name = vars.provider(provider);
    Provider {
        name,
        base_url: vars.url(url, facts(name).base_url),
        api_key: key(vars, api_key, mocked),
        wants_key: facts(name).needs_key.then_some(api_key),
        model: vars.string(model_name, model(name, media)),
    }
}

/// Reads what requests without fallbacks of their own fall back to: `provider/model`, or a provider for its default
/// model, with commas in between.
pub(super) fn fallback(vars: &mut Vars<'_>, name: &'static str) -> Vec<Fallback> {
    let expected = format!(
        "at most {MOST_FALLBACKS} entries such as fal, or replicate/google/veo-3.1, with commas in between"
    );
    let entry = |text: &str| {
        let (provider, model) = match text.trim().split_once('/') {
            Some((provider, model)) => (provider, Some(model.to_owned())),
            None => (text.trim(), None),
        };
        let provider = ProviderName::parse(name, provider).ok()?;
        let is_name = model.as_ref().is_none_or(|model| !model.is_empty());
        is_name.then_some(Fallback { provider, model })
    };
    let entries = vars.read(name, &expected, |text| {
        let entries: Option<Vec<_>> = text.split(',').map(entry).collect();
        entries.filter(|entries| entries.len() <= MOST_FALLBACKS)
    });
    entries.unwrap_or_default()
}

pub(super) fn named(vars: &mut Vars<'_>, mocked: bool) -> Named {
    let own = |name| {
        let [url, key_variable, rate] = facts(name).variables;
        let own = Own {
            base_url: vars.url(url, facts(name).base_url),
            api_key: key(vars, key_variable, mocked),
            key_variable,
            rate: vars.rate(rate),
        };
        (name, own)
    };
    Named(ProviderName::ALL.map(own).into())
}

fn key(vars: &mut Vars<'_>, variable: &'static str, mocked: bool) -> Option<Secret> {
    let simulated = || mocked.then(|| Secret::new("simulated".to_owned()));
    vars.key(variable).or_else(simulated)
}

/// Returns the model that each provider uses unless the settings or the request name one.
pub(super) fn model(name: ProviderName, kind: Media) -> &'static str {
    match kind {
        Media::Video => facts(name).video_model,
        Media::Image => facts(name).image_model,
    }
}

fn facts(name: ProviderName) -> Facts {
    match name {
        ProviderName::Replicate => Facts {
            variables: [
                "REPLICATE_API_BASE_URL",
                "REPLICATE_API_KEY",
                "REPLICATE_RATE_LIMIT",
            ],
            base_url: "https://api.replicate.com",
            // A self-hosted server that speaks Replicate's API (Cog) may need none.
            needs_key: false,
            video_model: "bytedance/seedance-1-pro",
            image_model: "black-forest-labs/flux-schnell",
        },
        ProviderName::OpenAi => Facts {
            variables: ["OPENAI_API_BASE_URL", "OPENAI_API_KEY", "OPENAI_RATE_LIMIT"],
            base_url: "https://api.openai.com",
            needs_key: true,
            video_model: "",
            image_model: "gpt-image-2",
        },
        ProviderName::Fal => Facts {
            variables: ["FAL_API_BASE_URL", "FAL_API_KEY", "FAL_RATE_LIMIT"],
            base_url: "https://queue.fal.run",
            needs_key: true,
            video_model: "fal-ai/bytedance/seedance/v1/pro/text-to-video",
            image_model: "fal-ai/flux/schnell",
        },
    }
}
