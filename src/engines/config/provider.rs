//! Settings of the generation APIs: the default for videos, the default for images, and others that a spec may name.

use std::fmt;

use url::Url;

use super::vars::Vars;
use crate::domain::{Media, ProviderName, Secret, shown};

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
pub struct Named {
    pub replicate: Own,
    pub openai: Own,
    pub fal: Own,
}

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
        match name {
            ProviderName::Replicate => &self.replicate,
            ProviderName::OpenAi => &self.openai,
            ProviderName::Fal => &self.fal,
        }
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
        base_url: vars.url(url, base_url(name)),
        api_key: key(vars, api_key, mocked),
        wants_key: needs_key(name).then_some(api_key),
        model: vars.string(model_name, model(name, media)),
    }
}

pub(super) fn named(vars: &mut Vars<'_>, mocked: bool) -> Named {
    let mut own = |name, [url, key_variable, rate]: [&'static str; 3]| Own {
        base_url: vars.url(url, base_url(name)),
        api_key: key(vars, key_variable, mocked),
        key_variable,
        rate: vars.rate(rate),
    };
    Named {
        replicate: own(
            ProviderName::Replicate,
            [
                "REPLICATE_API_BASE_URL",
                "REPLICATE_API_KEY",
                "REPLICATE_RATE_LIMIT",
            ],
        ),
        openai: own(
            ProviderName::OpenAi,
            ["OPENAI_API_BASE_URL", "OPENAI_API_KEY", "OPENAI_RATE_LIMIT"],
        ),
        fal: own(
            ProviderName::Fal,
            ["FAL_API_BASE_URL", "FAL_API_KEY", "FAL_RATE_LIMIT"],
        ),
    }
}

fn key(vars: &mut Vars<'_>, variable: &'static str, mocked: bool) -> Option<Secret> {
    let simulated = || mocked.then(|| Secret::new("simulated".to_owned()));
    vars.key(variable).or_else(simulated)
}

/// A self-hosted server that speaks Replicate's API (Cog) may need no key.
fn needs_key(name: ProviderName) -> bool {
    match name {
        ProviderName::Replicate => false,
        ProviderName::OpenAi | ProviderName::Fal => true,
    }
}

fn base_url(name: ProviderName) -> &'static str {
    match name {
        ProviderName::Replicate => "https://api.replicate.com",
        ProviderName::OpenAi => "https://api.openai.com",
        ProviderName::Fal => "https://queue.fal.run",
    }
}

/// Returns the model that each provider uses unless the settings or the request name one.
pub(super) fn model(name: ProviderName, kind: Media) -> &'static str {
    match (name, kind) {
        (ProviderName::Replicate, Media::Video) => "minimax/video-01",
        (ProviderName::Replicate, _) => "black-forest-labs/flux-schnell",
        (ProviderName::OpenAi, Media::Video) => "sora-2",
        (ProviderName::OpenAi, _) => "gpt-image-1",
        (ProviderName::Fal, Media::Video) => "fal-ai/minimax/video-01",
        (ProviderName::Fal, _) => "fal-ai/flux/schnell",
    }
}
