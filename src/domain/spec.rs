//! What to make: a video, images, or a batch of them, with the contract's bounds.
//!
//! What stands here stands in histories: fields are added with a default, never removed or retyped. One of a later
//! version is passed over, so that workers of two versions can run side by side.

mod check;
mod params;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use url::Url;

pub(super) use self::check::check_metadata;
pub(crate) use self::params::urls;

use super::{EventType, Invalid, Kind, RequestId};

/// What a request asks for.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Spec {
    /// One video.
    Video(VideoSpec),
    /// Images from one prompt.
    Image(ImageSpec),
    /// Many of both.
    Batch(BatchSpec),
}

/// One video to generate. What is `None` takes the model's own default.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct VideoSpec {
    /// What images have too.
    #[serde(flatten)]
    pub common: Common,
    /// Seconds, 1 to 600.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub duration: Option<i32>,
    /// Width x height in pixels, as `1920x1080`, or a class, as `720p`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub resolution: Option<String>,
    /// Frames per second, 1 to 120.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fps: Option<i32>,
    /// Whether it has sound.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub audio: Option<bool>,
}

/// One or more images to generate from one prompt. What is `None` takes the model's own default.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct ImageSpec {
    /// What videos have too.
    #[serde(flatten)]
    pub common: Common,
    /// Pixels, 64 to 8192.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub width: Option<i32>,
    /// Pixels, 64 to 8192.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub height: Option<i32>,
    /// 1 to 16.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub num_images: Option<i32>,
    /// File format, as `png`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub output_format: Option<String>,
}

/// What videos and images have in common. What is `None` takes the model's own default.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Common {
    /// 1 to 10,000 characters.
    pub prompt: String,
    /// What it must not show.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub negative_prompt: Option<String>,
    /// Width to height, as `16:9`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub aspect_ratio: Option<String>,
    /// A word that the model knows.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub style: Option<String>,
    /// Makes a generation repeatable.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub seed: Option<i64>,
    /// Files that the model starts from.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub inputs: Vec<Input>,
    /// Which outside API serves; `None` takes the configured one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub provider: Option<ProviderName>,
    /// Which of its models; `None` takes the configured one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub model: Option<String>,
    /// Inputs by the model's own names: each value is JSON text.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub params: BTreeMap<String, String>,
    /// What happens to a field that the model has no input for.
    #[serde(skip_serializing_if = "OnUnsupported::is_refuse")]
    pub on_unsupported: OnUnsupported,
    /// Providers to try in turn if nothing was accepted.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub fallback: Vec<Fallback>,
}

/// A file that the model starts from.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Input {
    /// http or https. It goes to the provider as it was parsed here, so that both see the same host in it.
    pub url: Url,
    /// What it is to the output.
    #[serde(default, skip_serializing_if = "Role::is_unspecified")]
    pub role: Role,
}

/// What an input is to the output.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum Role {
    /// The request does not say.
    #[default]
    Unspecified,
    /// A video begins with it.
    FirstFrame,
    /// A video ends with it.
    LastFrame,
    /// It is edited.
    Source,
    /// The output resembles it.
    Reference,
    /// It says where the source is edited.
    Mask,
}

/// What happens to a field that the model has no input for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum OnUnsupported {
    /// The request fails before anything is paid.
    #[default]
    Refuse,
    /// It is left out.
    Drop,
}

/// Another provider to try.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Fallback {
    /// Which outside API.
    pub provider: ProviderName,
    /// Which of its models; `None` takes the configured one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub model: Option<String>,
}

/// Many videos and images under one id.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct BatchSpec {
    /// Order of the items.
    pub strategy: Strategy,
    /// Items running at once, 1 to 500.
    pub max_concurrent: i32,
    /// What a failed item does to the rest.
    pub on_failure: OnFailure,
    /// 1 to 10,000 items.
    pub items: Vec<BatchItem>,
}

/// One request of a batch.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct BatchItem {
    /// Names the item's own request.
    pub request_id: RequestId,
    /// A video or images; never a batch.
    pub spec: Spec,
    /// Where to POST the item's events.
    pub webhook_url: Option<Url>,
    /// Types to notify of; empty takes the batch's.
    pub notify_on: Vec<EventType>,
    /// Given back in the item's events.
    pub metadata: BTreeMap<String, String>,
}

/// Order of a batch's items.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum Strategy {
    /// As many at once as `max_concurrent` says.
    Parallel,
    /// One after the other.
    Sequential,
}

/// What a failed item does to the rest of its batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum OnFailure {
    /// The others go on.
    Continue,
    /// No further item starts.
    Stop,
}

/// The outside APIs that genflow speaks to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ProviderName {
    /// Replicate's HTTP API, also spoken by Cog servers.
    Replicate,
    /// OpenAI's HTTP API for images and videos.
    OpenAi,
    /// fal's queue API.
    Fal,
}

impl ProviderName {
    /// All there are.
    pub const ALL: [Self; 3] = [Self::Replicate, Self::OpenAi, Self::Fal];

    /// Returns the name as users write it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Replicate => "replicate",
            Self::OpenAi => "openai",
            Self::Fal => "fal",
        }
    }

    /// Returns the provider of that name.
    ///
    /// # Errors
    /// [`Invalid`] with the names there are.
    pub fn parse(field: &'static str, raw: &str) -> Result<Self, Invalid> {
        let known = Self::ALL.into_iter().find(|name| name.as_str() == raw);
        known.ok_or_else(|| {
            let names = Self::ALL.map(Self::as_str).join(", ");
            let shown = crate::domain::invalid::beginning(raw);
            Invalid::new(field, format!("is {shown:?}, want one of: {names}"))
        })
    }
}

impl Spec {
    /// Returns what kind of thing is made.
    pub fn kind(&self) -> Kind {
        match self {
            Self::Video(_) => Kind::Video,
            Self::Image(_) => Kind::Image,
            Self::Batch(_) => Kind::Batch,
        }
    }

    /// Returns the provider it names, if it names one.
    pub fn provider(&self) -> Option<ProviderName> {
        self.common().and_then(|common| common.provider)
    }

    /// Returns what videos and images have in common; a batch has its items.
    pub fn common(&self) -> Option<&Common> {
        match self {
            Self::Video(video) => Some(&video.common),
            Self::Image(image) => Some(&image.common),
            Self::Batch(_) => None,
        }
    }
}

impl Common {
    /// Returns what asks for this prompt, and for nothing else.
    pub fn new(prompt: impl Into<String>) -> Self {
        Self {
            prompt: prompt.into(),
            ..Self::default()
        }
    }
}

impl OnUnsupported {
    fn is_refuse(&self) -> bool {
        *self == Self::Refuse
    }
}

impl Role {
    /// All there are, as they stand in Avro and JSON.
    pub(crate) const ALL: [(&'static str, Self); 6] = [
        ("UNSPECIFIED", Self::Unspecified),
        ("FIRST_FRAME", Self::FirstFrame),
        ("LAST_FRAME", Self::LastFrame),
        ("SOURCE", Self::Source),
        ("REFERENCE", Self::Reference),
        ("MASK", Self::Mask),
    ];

    fn is_unspecified(&self) -> bool {
        *self == Self::Unspecified
    }
}

#[cfg(test)]
mod tests;
