//! What to make: a video, images, or a batch of them, with the contract's bounds.
//!
//! What stands here stands in histories: fields are added with a default, never removed or retyped. One of a later
//! version is passed over, so that workers of two versions can run side by side.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use url::Url;

use super::{EventType, Invalid, InvalidId, Kind, RequestId};

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

/// One video to generate.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct VideoSpec {
    /// 1 to 10,000 characters.
    pub prompt: String,
    /// Seconds, 1 to 600.
    pub duration: i32,
    /// Width x height in pixels, as `1920x1080`.
    pub resolution: String,
    /// Frames per second, 1 to 120.
    pub fps: i32,
    /// A word the model knows.
    pub style: String,
    /// Which outside API serves; `None` takes the configured one.
    pub provider: Option<ProviderName>,
    /// Which of its models; `None` takes the configured one.
    pub model: Option<String>,
    /// Further model inputs: each value is JSON text.
    pub params: BTreeMap<String, String>,
    /// URLs of input media.
    pub input_urls: Vec<String>,
}

/// One or more images to generate from one prompt.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct ImageSpec {
    /// 1 to 10,000 characters.
    pub prompt: String,
    /// Pixels, 64 to 8192.
    pub width: i32,
    /// Pixels, 64 to 8192.
    pub height: i32,
    /// A word the model knows.
    pub style: String,
    /// 1 to 16.
    pub num_images: i32,
    /// Which outside API serves; `None` takes the configured one.
    pub provider: Option<ProviderName>,
    /// Which of its models; `None` takes the configured one.
    pub model: Option<String>,
    /// Further model inputs: each value is JSON text.
    pub params: BTreeMap<String, String>,
    /// URLs of input media.
    pub input_urls: Vec<String>,
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
            Invalid::new(field, format!("is {raw:?}, want one of: {names}"))
        })
    }
}

impl Default for VideoSpec {
    fn default() -> Self {
        Self {
            prompt: String::new(),
            duration: 10,
            resolution: "1920x1080".to_owned(),
            fps: 30,
            style: "realistic".to_owned(),
            provider: None,
            model: None,
            params: BTreeMap::new(),
            input_urls: Vec::new(),
        }
    }
}

impl Default for ImageSpec {
    fn default() -> Self {
        Self {
            prompt: String::new(),
            width: 1024,
            height: 1024,
            style: "photorealistic".to_owned(),
            num_images: 1,
            provider: None,
            model: None,
            params: BTreeMap::new(),
            input_urls: Vec::new(),
        }
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
        match self {
            Self::Video(video) => video.provider,
            Self::Image(image) => image.provider,
            Self::Batch(_) => None,
        }
    }

    /// Holds the spec against the contract's bounds.
    ///
    /// # Errors
    /// The first field out of bounds, with what is wanted.
    pub fn check(&self) -> Result<(), Invalid> {
        match self {
            Self::Video(video) => video.check(),
            Self::Image(image) => image.check(),
            Self::Batch(batch) => batch.check(),
        }
    }
}

impl VideoSpec {
    fn check(&self) -> Result<(), Invalid> {
        check_prompt(&self.prompt)?;
        within("spec.duration", self.duration, 1..=600)?;
        within("spec.fps", self.fps, 1..=120)?;
        let sides = self
            .resolution
            .split_once('x')
            .map(|(w, h)| (w.parse::<u16>(), h.parse::<u16>()));
        if !matches!(sides, Some((Ok(1..), Ok(1..)))) {
            return Err(Invalid::new(
                "spec.resolution",
                format!(
                    "is {:?}, want WIDTHxHEIGHT, each 1 to 65535",
                    self.resolution
                ),
            ));
        }
        check_model(
            self.model.as_deref(),
            &self.style,
            &self.params,
            &self.input_urls,
        )
    }
}

impl ImageSpec {
    fn check(&self) -> Result<(), Invalid> {
        check_prompt(&self.prompt)?;
        within("spec.width", self.width, 64..=8192)?;
        within("spec.height", self.height, 64..=8192)?;
        within("spec.num_images", self.num_images, 1..=16)?;
        check_model(
            self.model.as_deref(),
            &self.style,
            &self.params,
            &self.input_urls,
        )
    }
}

impl BatchSpec {
    fn check(&self) -> Result<(), Invalid> {
        within("spec.max_concurrent", self.max_concurrent, 1..=500)?;
        if !(1..=10_000).contains(&self.items.len()) {
            return Err(Invalid::new(
                "spec.items",
                format!("has {} items, want 1 to 10000", self.items.len()),
            ));
        }
        let mut seen = std::collections::BTreeSet::new();
        for (index, item) in self.items.iter().enumerate() {
            if !seen.insert(&item.request_id) {
                return Err(Invalid::new(
                    "spec.items",
                    format!("names {} twice", item.request_id),
                ));
            }
            item.check().map_err(|error| error.of_item(index))?;
        }
        Ok(())
    }
}

impl BatchItem {
    fn check(&self) -> Result<(), Invalid> {
        if self.spec.kind() == Kind::Batch {
            return Err(Invalid::new("spec", "is a batch, want a video or images"));
        }
        self.spec.check()?;
        check_metadata(&self.metadata)
    }
}

/// Holds the metadata of a request or an item against the contract's bounds.
pub(super) fn check_metadata(metadata: &BTreeMap<String, String>) -> Result<(), Invalid> {
    let bytes: usize = metadata
        .iter()
        .map(|(key, value)| key.len() + value.len())
        .sum();
    if metadata.len() > 32 || bytes > 8 * 1024 {
        let entries = metadata.len();
        return Err(Invalid::new(
            "metadata",
            format!(
                "has {entries} entries of {bytes} bytes in all, want at most 32 and 8192 bytes"
            ),
        ));
    }
    Ok(())
}

fn check_prompt(prompt: &str) -> Result<(), Invalid> {
    match prompt.chars().count() {
        1..=10_000 => Ok(()),
        length => Err(Invalid::new(
            "spec.prompt",
            format!("is {length} characters, want 1 to 10000"),
        )),
    }
}

fn check_model(
    model: Option<&str>,
    style: &str,
    params: &BTreeMap<String, String>,
    input_urls: &[String],
) -> Result<(), Invalid> {
    if style.chars().count() > 128 {
        return Err(Invalid::new("spec.style", "is longer than 128 characters"));
    }
    if model.is_some_and(|model| !(1..=256).contains(&model.chars().count())) {
        return Err(Invalid::new(
            "spec.model",
            "is empty or longer than 256 characters",
        ));
    }
    for (name, text) in params {
        if let Err(error) = serde_json::from_str::<serde_json::Value>(text) {
            return Err(Invalid::new(
                "spec.params",
                format!("{name} is not JSON text: {error}"),
            ));
        }
    }
    for input in input_urls {
        if !Url::parse(input).is_ok_and(|url| matches!(url.scheme(), "http" | "https")) {
            return Err(Invalid::new(
                "spec.input_urls",
                "holds what is not an http or https URL",
            ));
        }
    }
    Ok(())
}

fn within(
    field: &'static str,
    value: i32,
    range: std::ops::RangeInclusive<i32>,
) -> Result<(), Invalid> {
    if range.contains(&value) {
        return Ok(());
    }
    Err(Invalid::new(
        field,
        format!("is {value}, want {} to {}", range.start(), range.end()),
    ))
}

impl From<InvalidId> for Invalid {
    fn from(error: InvalidId) -> Self {
        Self::new("request_id", error.to_string())
    }
}

#[cfg(test)]
mod tests;
