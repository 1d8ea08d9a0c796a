//! What to generate: a video, images, or a batch of them, with the contract's bounds.
//!
//! Histories contain these types: add fields with a default, never remove or retype one. Fields of a later
//! version are ignored, so that workers of two versions can run side by side.

mod check;
mod params;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use url::Url;

pub(crate) use self::check::MOST_FALLBACKS;
pub(super) use self::check::check_metadata;
pub(crate) use self::params::urls;

use super::{EventType, Kind, ProviderName, RequestId};

/// What a request generates.
#[derive(Clone, Debug, PartialEq)]
#[expect(
    clippy::large_enum_variant,
    reason = "nearly all requests are the larger variant"
)]
pub enum Spec {
    Single(Single),
    Batch(BatchSpec),
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Single {
    Video(VideoSpec),
    Image(ImageSpec),
}

/// Whether a run generates a video or images.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum Media {
    Video,
    Image,
}

/// One video to generate. `None` leaves a field to the model's default.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct VideoSpec {
    #[serde(flatten)]
    pub common: Common,
    /// Seconds, 1 to 600.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub duration: Option<i32>,
    /// Width x height in pixels, such as `1920x1080`, or a class, such as `720p`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub resolution: Option<String>,
    /// Frames per second, 1 to 120.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fps: Option<i32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub audio: Option<bool>,
}

/// One or more images to generate from one prompt. `None` leaves a field to the model's default.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct ImageSpec {
    #[serde(flatten)]
    pub common: Common,
    /// In pixels, 64 to 8192.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub width: Option<i32>,
    /// In pixels, 64 to 8192.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub height: Option<i32>,
    /// 1 to 16.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub num_images: Option<i32>,
    /// File format, such as `png`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub output_format: Option<String>,
}

/// Fields that videos and images share. `None` leaves a field to the model's default.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Common {
    /// 1 to 10,000 characters.
    pub prompt: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub negative_prompt: Option<String>,
    /// Width to height, such as `16:9`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub aspect_ratio: Option<String>,
    /// A word that the model knows.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub style: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub seed: Option<i64>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub inputs: Vec<Input>,
    /// The provider; `None` means the configured one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub provider: Option<ProviderName>,
    /// The provider's model; `None` means the configured one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub model: Option<String>,
    /// Inputs by the model's own names. Each value is JSON text.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub params: BTreeMap<String, String>,
    #[serde(skip_serializing_if = "OnUnsupported::is_refuse")]
    pub on_unsupported: OnUnsupported,
    /// Models to try in order if none before has accepted the job (contract, 6.12); at most 5. If empty, the operator's.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub fallback: Vec<Fallback>,
}

/// A file that the generation starts from.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Input {
    /// http or https. The provider receives the parsed form, so that it sees the same host as intake's checks.
    pub url: Url,
    #[serde(default, skip_serializing_if = "Role::is_unspecified")]
    pub role: Role,
}

/// How the model uses an input.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum Role {
    #[default]
    Unspecified,
    FirstFrame,
    LastFrame,
    /// The picture or video to edit.
    Source,
    /// An example that the output should resemble.
    Reference,
    /// The region of the source to edit.
    Mask,
}

/// How to treat a field that the model has no input for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum OnUnsupported {
    /// The request fails before anything is paid.
    #[default]
    Refuse,
    /// The field is left out.
    Drop,
}

/// A model to try if none before has accepted the job.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fallback {
    pub provider: ProviderName,
    /// The provider's model; `None` means its default one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub model: Option<String>,
}

/// Many videos and images under one id.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct BatchSpec {
    pub strategy: Strategy,
    /// Limit on items that run at once, 1 to 500.
    pub max_concurrent: i32,
    pub on_failure: OnFailure,
    /// 1 to 10,000 items.
    pub items: Vec<BatchItem>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct BatchItem {
    pub request_id: RequestId,
    pub spec: Single,
    /// URL that receives the item's events by POST.
    pub webhook_url: Option<Url>,
    /// Event types that trigger a notification; if empty, those of the batch.
    pub notify_on: Vec<EventType>,
    pub metadata: BTreeMap<String, String>,
}

/// Order in which the items of a batch run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum Strategy {
    /// Up to `max_concurrent` items at once.
    Parallel,
    Sequential,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum OnFailure {
    Continue,
    /// No further item starts.
    Stop,
}

impl Spec {
    pub fn kind(&self) -> Kind {
        match self {
            Self::Single(single) => single.media().into(),
            Self::Batch(_) => Kind::Batch,
        }
    }
}

impl Single {
    pub fn media(&self) -> Media {
        match self {
            Self::Video(_) => Media::Video,
            Self::Image(_) => Media::Image,
        }
    }

    pub fn common(&self) -> &Common {
        match self {
            Self::Video(video) => &video.common,
            Self::Image(image) => &image.common,
        }
    }

    /// Returns the same request for another model.
    pub fn at(&self, provider: ProviderName, model: &str) -> Self {
        let mut other = self.clone();
        let common = match &mut other {
            Self::Video(video) => &mut video.common,
            Self::Image(image) => &mut image.common,
        };
        common.provider = Some(provider);
        common.model = Some(model.to_owned());
        other
    }
}

impl From<Single> for Spec {
    fn from(single: Single) -> Self {
        Self::Single(single)
    }
}

impl From<Media> for Kind {
    fn from(media: Media) -> Self {
        match media {
            Media::Video => Self::Video,
            Media::Image => Self::Image,
        }
    }
}

impl Common {
    /// Returns a spec with this prompt and no other field set.
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
    /// All roles, as Avro and JSON spell them.
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
