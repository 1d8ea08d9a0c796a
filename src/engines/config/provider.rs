//! Settings of the generation APIs: the default for videos, the default for images, and others that a spec may name.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use url::Url;

use super::description::{self, Description};
use super::vars::{RATES, Vars, is_rate, trusted};
use crate::domain::{
    Credential, Fallback, MOST_FALLBACKS, Media, ProviderName, parse_http_url, shown,
};

/// How a provider's API is spoken.
#[derive(Clone, Debug)]
pub enum Protocol {
    /// Replicate's HTTP API, also spoken by Cog servers.
    Replicate,
    OpenAi,
    Fal,
    Described(Arc<Description>),
    /// The provider is not configured here: other processes may know its API, this one makes no call.
    Unknown,
}

/// The generation API for a kind of media.
#[derive(Clone)]
pub struct Provider {
    pub name: ProviderName,
    pub protocol: Protocol,
    pub base_url: Url,
    pub api_key: Option<Credential>,
    /// The variable of the key, if the provider needs one: without the key nothing is sent.
    pub wants_key: Option<String>,
    /// Model of requests that name none.
    pub model: String,
}

/// The settings of each provider, whatever the default providers are. A spec may name any of them.
#[derive(Clone, Debug)]
pub struct Named(BTreeMap<ProviderName, Own>);

/// Settings of one provider.
#[derive(Clone)]
pub struct Own {
    pub protocol: Protocol,
    pub base_url: Url,
    pub api_key: Option<Credential>,
    /// The base URL if no variable sets one.
    usual_url: Url,
    /// The variable of the key.
    pub key_variable: String,
    /// Whether nothing can be sent without a key.
    needs_key: bool,
    /// The default models for videos and for images; empty: no default.
    models: [String; 2],
    /// Maximum submits per second, by all workers together; `None`: no limit.
    pub rate: Option<f64>,
}

/// What genflow knows about a provider without any setting.
struct Facts {
    protocol: Protocol,
    /// The variables of its base URL, its key, and its limit of submits per second.
    variables: [&'static str; 3],
    base_url: &'static str,
    needs_key: bool,
    /// The default models for videos and for images; empty: no default.
    models: [&'static str; 2],
}

/// The providers that need no description, by name.
const NATIVE: [(ProviderName, Facts); 3] = [
    (
        ProviderName::REPLICATE,
        Facts {
            protocol: Protocol::Replicate,
            variables: [
                "REPLICATE_API_BASE_URL",
                "REPLICATE_API_KEY",
                "REPLICATE_RATE_LIMIT",
            ],
            base_url: "https://api.replicate.com",
            // A self-hosted server that speaks Replicate's API (Cog) may need none.
            needs_key: false,
            models: ["bytedance/seedance-1-pro", "black-forest-labs/flux-schnell"],
        },
    ),
    (
        ProviderName::OPENAI,
        Facts {
            protocol: Protocol::OpenAi,
            variables: ["OPENAI_API_BASE_URL", "OPENAI_API_KEY", "OPENAI_RATE_LIMIT"],
            base_url: "https://api.openai.com",
            needs_key: true,
            models: ["", "gpt-image-2"],
        },
    ),
    (
        ProviderName::FAL,
        Facts {
            protocol: Protocol::Fal,
            variables: ["FAL_API_BASE_URL", "FAL_API_KEY", "FAL_RATE_LIMIT"],
            base_url: "https://queue.fal.run",
            needs_key: true,
            models: [
                "fal-ai/bytedance/seedance/v1/pro/text-to-video",
                "fal-ai/flux/schnell",
            ],
        },
    ),
];

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
    /// Returns a provider's settings, if it is configured.
    pub fn of(&self, name: ProviderName) -> Option<&Own> {
        self.0.get(&name)
    }

    /// Returns all configured providers, in the order of their names.
    pub fn iter(&self) -> impl Iterator<Item = (ProviderName, &Own)> {
        self.0.iter().map(|(name, own)| (*name, own))
    }

    /// Returns the configured provider with this name.
    pub(super) fn named(&self, text: &str) -> Option<ProviderName> {
        let mut names = self.0.keys();
        names.find(|name| name.as_str() == text).copied()
    }

    /// Returns the names, for people.
    pub fn names(&self) -> String {
        let names: Vec<_> = self.0.keys().map(ProviderName::as_str).collect();
        names.join(", ")
    }

    #[cfg(feature = "dev")]
    pub(super) fn iter_mut(&mut self) -> impl Iterator<Item = &mut Own> {
        self.0.values_mut()
    }
}

impl Own {
    /// Returns these settings as those of a kind of media.
    pub(super) fn of_kind(&self, name: ProviderName, kind: Media) -> Provider {
        Provider {
            name,
            protocol: self.protocol.clone(),
            base_url: self.base_url.clone(),
            api_key: self.api_key.clone(),
            wants_key: match self.protocol {
                Protocol::Described(_) => self.needs_key.then(|| self.key_variable.clone()),
                // A request that names one of these means the hosted API.
                Protocol::Replicate | Protocol::OpenAi | Protocol::Fal | Protocol::Unknown => {
                    Some(self.key_variable.clone())
                }
            },
            model: self.model(kind).to_owned(),
        }
    }

    /// Returns the key under the provider's own name, if the provider is a described one.
    fn described_key(&self) -> Option<Credential> {
        match self.protocol {
            Protocol::Described(_) => self.api_key.clone(),
            Protocol::Replicate | Protocol::OpenAi | Protocol::Fal | Protocol::Unknown => None,
        }
    }

    fn model(&self, kind: Media) -> &str {
        let [video, image] = &self.models;
        match kind {
            Media::Video => video,
            Media::Image => image,
        }
    }
}

impl Provider {
    /// Returns a provider that is not configured here.
    pub(super) fn unknown(name: ProviderName) -> Self {
        Self {
            name,
            protocol: Protocol::Unknown,
            // Never called.
            base_url: trusted(Url::parse("http://unknown.invalid")),
            api_key: None,
            wants_key: None,
            model: String::new(),
        }
    }
}

/// Reads the default provider for a kind of media.
pub(super) fn default(vars: &mut Vars<'_>, mocked: bool, named: &Named, media: Media) -> Provider {
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
    let asked = vars.string(provider, ProviderName::REPLICATE.as_str());
    let known = named.named(&asked);
    let Some((name, own)) = known.and_then(|name| Some((name, named.of(name)?))) else {
        let names = named.names();
        vars.fault(provider, &format!("is {asked:?}, expected one of: {names}"));
        return Provider::unknown(ProviderName::REPLICATE);
    };
    Provider {
        base_url: vars.url(url, own.usual_url.as_str()),
        api_key: key(vars, api_key, mocked).or_else(|| own.described_key()),
        wants_key: own.needs_key.then(|| api_key.to_owned()),
        model: vars.string(model_name, own.model(media)),
        ..own.of_kind(name, media)
    }
}

/// Reads what requests without fallbacks of their own fall back to: `provider/model`, or a provider for its default
/// model, with commas in between.
pub(super) fn fallback(vars: &mut Vars<'_>, named: &Named, name: &'static str) -> Vec<Fallback> {
    let expected = format!(
        "at most {MOST_FALLBACKS} entries such as fal, or replicate/google/veo-3.1, with commas in between"
    );
    let entry = |text: &str| {
        let (provider, model) = match text.trim().split_once('/') {
            Some((provider, model)) => (provider, Some(model.to_owned())),
            None => (text.trim(), None),
        };
        let provider = named.named(provider)?;
        let is_name = model.as_ref().is_none_or(|model| !model.is_empty());
        is_name.then_some(Fallback { provider, model })
    };
    let entries = vars.read(name, &expected, |text| {
        let entries: Option<Vec<_>> = text.split(',').map(entry).collect();
        entries.filter(|entries| entries.len() <= MOST_FALLBACKS)
    });
    entries.unwrap_or_default()
}

/// Reads the settings of all providers.
pub(super) fn named(vars: &mut Vars<'_>, mocked: bool) -> Named {
    let native = NATIVE.map(|(name, facts)| (name, native(vars, mocked, facts)));
    let mut named = BTreeMap::from(native);
    named.extend(described(vars, mocked));
    Named(named)
}

/// Reads the providers that `PROVIDERS_FILE` describes.
fn described(vars: &mut Vars<'_>, mocked: bool) -> BTreeMap<ProviderName, Own> {
    let variable = "PROVIDERS_FILE";
    let Some(file) = vars.optional(variable) else {
        return BTreeMap::new();
    };
    let text =
        std::fs::read_to_string(&file).map_err(|error| vec![format!("cannot be read: {error}")]);
    match text.and_then(|text| description::read(&text)) {
        Ok(read) => read
            .into_iter()
            .map(|(name, description)| (name, of_description(vars, mocked, name, description)))
            .collect(),
        Err(faults) => {
            for fault in faults {
                vars.fault(variable, &format!("{file}: {fault}"));
            }
            BTreeMap::new()
        }
    }
}

/// Returns the settings of a described provider: its description, overridden by its own variables (`{NAME}_…`).
fn of_description(
    vars: &mut Vars<'_>,
    mocked: bool,
    name: ProviderName,
    description: Description,
) -> Own {
    let named = |setting| description::variable_of(name, setting);
    let file = "PROVIDERS_FILE";
    let base_url = match vars.set_by_platform(&named("API_BASE_URL")) {
        None => description.base_url.clone(),
        Some(text) => parse_http_url(&text).unwrap_or_else(|| {
            let variable = named("API_BASE_URL");
            vars.fault(file, &format!("{variable} is not an http or https URL"));
            description.base_url.clone()
        }),
    };
    let rate = vars.set_by_platform(&named("RATE_LIMIT"));
    let rate = rate.and_then(|text| {
        let rate = text.parse().ok().filter(is_rate);
        if rate.is_none() {
            let variable = named("RATE_LIMIT");
            vars.fault(file, &format!("{variable} is {text:?}, expected {RATES}"));
        }
        rate
    });
    let key_variable = description.key.as_ref().map(|key| key.variable.clone());
    let key_variable = key_variable.unwrap_or_else(|| named("API_KEY"));
    let api_key = vars.key_of(file, &key_variable);
    let default = &description.default;
    Own {
        usual_url: base_url.clone(),
        base_url,
        api_key: api_key.or_else(|| simulated(mocked)),
        key_variable,
        needs_key: description.key.is_some(),
        models: [default.video.clone(), default.image.clone()],
        rate,
        protocol: Protocol::Described(Arc::new(description)),
    }
}

fn native(vars: &mut Vars<'_>, mocked: bool, facts: Facts) -> Own {
    let Facts {
        protocol,
        variables: [url, key_variable, rate],
        base_url,
        needs_key,
        models,
    } = facts;
    Own {
        protocol,
        base_url: vars.url(url, base_url),
        usual_url: trusted(Url::parse(base_url)),
        api_key: key(vars, key_variable, mocked),
        key_variable: key_variable.to_owned(),
        needs_key,
        rate: vars.rate(rate),
        models: models.map(str::to_owned),
    }
}

fn key(vars: &mut Vars<'_>, variable: &'static str, mocked: bool) -> Option<Credential> {
    vars.key(variable).or_else(|| simulated(mocked))
}

fn simulated(mocked: bool) -> Option<Credential> {
    mocked.then(|| Credential::new("simulated".to_owned()))
}
