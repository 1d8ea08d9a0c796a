//! Settings of the generation APIs: the default for videos, the default for images, and others that a spec may name.

use std::fmt;

use url::Url;

use super::Worker;
use super::vars::Vars;
use crate::contract::run::DefaultProviders;
use crate::domain::Secret;
use crate::domain::shown;
use crate::domain::{Media, ProviderName};

/// One generation API.
#[derive(Clone)]
pub struct Provider {
    /// The protocol that it speaks.
    pub name: ProviderName,
    /// Base URL of its API.
    pub base_url: Url,
    /// API key, if one is set.
    pub api_key: Option<Secret>,
    /// The variable of the key, if the provider needs one: without the key nothing is sent.
    pub wants_key: Option<&'static str>,
    /// Model of requests that name none.
    pub model: String,
}

/// Settings of a provider that a spec names.
#[derive(Clone)]
pub struct Own {
    /// Base URL of its API.
    pub base_url: Url,
    /// API key, if one is set.
    pub api_key: Option<Secret>,
    /// The variable of the key.
    pub key_variable: &'static str,
}

/// Settings of the providers that a spec may name, whatever the default providers are.
#[derive(Clone, Debug)]
pub struct Named {
    /// Set by `REPLICATE_API_…`.
    pub replicate: Own,
    /// Set by `OPENAI_API_…`.
    pub openai: Own,
    /// Set by `FAL_API_…`.
    pub fal: Own,
}

/// Maximum submits per second to each provider, by all workers together; `None`: no limit.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Rates {
    /// Submits per second to Replicate.
    pub replicate: Option<f64>,
    /// Submits per second to OpenAI.
    pub openai: Option<f64>,
    /// Submits per second to fal.
    pub fal: Option<f64>,
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

impl Rates {
    /// Returns the limit of a provider.
    pub fn of(&self, name: ProviderName) -> Option<f64> {
        match name {
            ProviderName::Replicate => self.replicate,
            ProviderName::OpenAi => self.openai,
            ProviderName::Fal => self.fal,
        }
    }
}

impl Named {
    /// Returns the settings of a provider.
    pub fn of(&self, name: ProviderName) -> &Own {
        match name {
            ProviderName::Replicate => &self.replicate,
            ProviderName::OpenAi => &self.openai,
            ProviderName::Fal => &self.fal,
        }
    }
}

impl Worker {
    /// Returns the providers of specs that name none.
    pub fn default_providers(&self) -> DefaultProviders {
        DefaultProviders {
            video: self.video.name,
            image: self.image.name,
        }
    }

    /// Returns the settings of provider `name` for `kind`: those of the default provider if it is that one, else the
    /// provider's own.
    pub fn provider(&self, kind: Media, name: ProviderName) -> Provider {
        let configured = match kind {
            Media::Video => &self.video,
            Media::Image => &self.image,
        };
        if configured.name == name {
            return configured.clone();
        }
        let own = self.named.of(name);
        Provider {
            name,
            base_url: own.base_url.clone(),
            api_key: own.api_key.clone(),
            wants_key: Some(own.key_variable),
            model: model(name, kind).to_owned(),
        }
    }

    /// Replaces the base URL of each provider for which `place` returns one.
    #[cfg(feature = "dev")]
    pub(crate) fn relocate(&mut self, place: impl Fn(ProviderName) -> Option<Url>) {
        let Named {
            replicate,
            openai,
            fal,
        } = &mut self.named;
        let places = [
            (self.video.name, &mut self.video.base_url),
            (self.image.name, &mut self.image.base_url),
            (ProviderName::Replicate, &mut replicate.base_url),
            (ProviderName::OpenAi, &mut openai.base_url),
            (ProviderName::Fal, &mut fal.base_url),
        ];
        for (name, url) in places {
            if let Some(there) = place(name) {
                *url = there;
            }
        }
    }
}

pub(super) fn video(vars: &mut Vars<'_>, mocked: bool) -> Provider {
    let names = [
        "VIDEO_PROVIDER",
        "VIDEO_API_BASE_URL",
        "VIDEO_API_KEY",
        "VIDEO_MODEL",
    ];
    configured(vars, mocked, Media::Video, names)
}

pub(super) fn image(vars: &mut Vars<'_>, mocked: bool) -> Provider {
    let names = [
        "IMAGE_PROVIDER",
        "IMAGE_API_BASE_URL",
        "IMAGE_API_KEY",
        "IMAGE_MODEL",
    ];
    configured(vars, mocked, Media::Image, names)
}

fn configured(
    vars: &mut Vars<'_>,
    mocked: bool,
    media: Media,
    [provider, url, api_key, model_name]: [&'static str; 4],
) -> Provider {
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
    let mut own = |url, key_variable, name| Own {
        base_url: vars.url(url, base_url(name)),
        api_key: key(vars, key_variable, mocked),
        key_variable,
    };
    Named {
        replicate: own(
            "REPLICATE_API_BASE_URL",
            "REPLICATE_API_KEY",
            ProviderName::Replicate,
        ),
        openai: own(
            "OPENAI_API_BASE_URL",
            "OPENAI_API_KEY",
            ProviderName::OpenAi,
        ),
        fal: own("FAL_API_BASE_URL", "FAL_API_KEY", ProviderName::Fal),
    }
}

pub(super) fn rates(vars: &mut Vars<'_>) -> Rates {
    Rates {
        replicate: vars.rate("REPLICATE_RATE_LIMIT"),
        openai: vars.rate("OPENAI_RATE_LIMIT"),
        fal: vars.rate("FAL_RATE_LIMIT"),
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

fn model(name: ProviderName, kind: Media) -> &'static str {
    match (name, kind) {
        (ProviderName::Replicate, Media::Video) => "minimax/video-01",
        (ProviderName::Replicate, _) => "black-forest-labs/flux-schnell",
        (ProviderName::OpenAi, Media::Video) => "sora-2",
        (ProviderName::OpenAi, _) => "gpt-image-1",
        (ProviderName::Fal, Media::Video) => "fal-ai/minimax/video-01",
        (ProviderName::Fal, _) => "fal-ai/flux/schnell",
    }
}
