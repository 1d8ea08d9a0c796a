//! An order: the `input` of a submit, parsed and checked.
//!
//! Knows which inputs mean an image and which a video, and the limits of both; `media` creates the bytes.

use std::fmt::Display;

use serde::Deserialize;
use serde_json::{Map, Value};

use super::script::Script;
use crate::domain::ProviderName;
use crate::domain::model::bundle;

/// A requested job.
#[derive(Clone, Debug)]
pub(super) struct Order {
    /// The `input` as it was parsed; Replicate's answers repeat it.
    pub(super) input: Map<String, Value>,
    pub(super) prompt: String,
    pub(super) media: JobOutput,
    pub(super) script: Script,
}

/// The output of a job.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum JobOutput {
    Images {
        width: u32,
        height: u32,
        count: u32,
    },
    Video {
        width: u32,
        height: u32,
        seconds: f64,
    },
}

impl Order {
    /// Parses the input of a job of `model`. The bundled schema decides whether it is a video; without one, the model's name or
    /// the input's names do.
    ///
    /// # Errors
    /// A text for the answer: which field is wrong, and what is expected.
    pub(super) fn of(model: &str, raw: Value) -> Result<Self, String> {
        #[derive(Deserialize)]
        struct Read {
            prompt: String,
            #[serde(default)]
            sim: Script,
        }
        let Read { prompt, sim } =
            Read::deserialize(&raw).map_err(|error| format!("input: {error}"))?;
        let Value::Object(input) = raw else {
            return Err("input: is not an object".to_owned());
        };
        let media = match is_video(model, &input) {
            true => video(model, &input)?,
            false => images(&input)?,
        };
        Ok(Self {
            media,
            input,
            prompt,
            script: sim,
        })
    }
}

impl Order {
    /// Returns the order with the input as it was sent, which Replicate's answers repeat.
    pub(super) fn echoing(self, raw: Value) -> Self {
        match raw {
            Value::Object(input) => Self { input, ..self },
            Value::Null
            | Value::Bool(_)
            | Value::Number(_)
            | Value::String(_)
            | Value::Array(_) => self,
        }
    }
}

/// Names for the same input, of different models.
const COUNTS: [&str; 4] = ["num_outputs", "num_images", "number_of_images", "n"];
const SECONDS: [&str; 2] = ["duration", "seconds"];
const FRAMES: [&str; 3] = ["num_frames", "video_length", "length"];
const RATES: [&str; 3] = ["fps", "frames_per_second", "frame_rate"];
const SIZES: [&str; 4] = ["resolution", "image_size", "video_size", "size"];
const CLASSES: [&str; 6] = [
    "resolution",
    "quality",
    "mode",
    "image_size",
    "size",
    "megapixels",
];

/// Names that only the schemas of models for videos have.
const OF_VIDEOS: [&str; 8] = [
    "duration",
    "seconds",
    "num_frames",
    "video_length",
    "length",
    "frames_per_second",
    "first_frame_image",
    "start_image",
];

fn is_video(model: &str, input: &Map<String, Value>) -> bool {
    let schemas = ProviderName::NATIVE.map(|provider| bundle::input(provider, model));
    match schemas.into_iter().flatten().next() {
        Some(schema) => OF_VIDEOS
            .iter()
            .any(|name| schema["properties"].get(*name).is_some()),
        None => {
            let names = SECONDS.iter().chain(&RATES).chain(&["resolution"]);
            model.contains("video") || names.into_iter().any(|name| input.contains_key(*name))
        }
    }
}

fn images(input: &Map<String, Value>) -> Result<JobOutput, String> {
    let (width, height) = match sides(input)? {
        Some(sides) => sides,
        None => of_area(
            ratio(input)?.unwrap_or(1.0),
            area(input).unwrap_or(1024.0 * 1024.0),
        ),
    };
    Ok(JobOutput::Images {
        width: within("width", width, 1, 4096)?,
        height: within("height", height, 1, 4096)?,
        count: within(
            "num_outputs",
            number(input, &COUNTS)?.unwrap_or(1.0) as u32,
            1,
            100,
        )?,
    })
}

fn video(model: &str, input: &Map<String, Value>) -> Result<JobOutput, String> {
    let (width, height) = match sides(input)? {
        Some(sides) => sides,
        None => {
            let lines = CLASSES
                .iter()
                .find_map(|name| lines(text(input, &[name])?))
                .unwrap_or(720);
            let ratio = ratio(input)?.unwrap_or(16.0 / 9.0);
            let long = |ratio: f64| (f64::from(lines) * ratio).round() as u32;
            match ratio >= 1.0 {
                true => (long(ratio), lines),
                false => (lines, long(1.0 / ratio)),
            }
        }
    };
    let frames = number(input, &FRAMES)?.map(|frames| frames / rate(input));
    let usual = if model.contains("minimax/video-01") {
        6.0
    } else {
        5.0
    };
    let seconds = number(input, &SECONDS)?.or(frames).unwrap_or(usual);
    Ok(JobOutput::Video {
        width: within("width", width, 1, 8192)?,
        height: within("height", height, 1, 8192)?,
        seconds: within("duration", seconds, 0.1, 3600.0)?,
    })
}

fn rate(input: &Map<String, Value>) -> f64 {
    number(input, &RATES)
        .ok()
        .flatten()
        .filter(|rate| *rate > 0.0)
        .unwrap_or(16.0)
}

/// Returns exact sides, however the model takes them.
fn sides(input: &Map<String, Value>) -> Result<Option<(u32, u32)>, String> {
    let own = (number(input, &["width"])?, number(input, &["height"])?);
    let object = SIZES.iter().find_map(|name| input.get(*name)?.as_object());
    let of_object = object.map(|size| (size.get("width"), size.get("height")));
    let side = |side: Option<&Value>| side.and_then(Value::as_f64);
    let pair = match (own, of_object) {
        ((Some(width), height), _) => Some((width, height.unwrap_or(1024.0))),
        ((None, Some(height)), _) => Some((1024.0, height)),
        ((None, None), Some((width, height))) => {
            Some((side(width).unwrap_or(512.0), side(height).unwrap_or(512.0)))
        }
        ((None, None), None) => None,
    };
    if let Some((width, height)) = pair {
        return Ok(Some((width as u32, height as u32)));
    }
    for name in SIZES {
        let Some(raw) = text(input, &[name]) else {
            continue;
        };
        if let Some((width, height)) = raw.split_once(['x', '*']) {
            return match (width.trim().parse(), height.trim().parse()) {
                (Ok(width @ 1..=8192), Ok(height @ 1..=8192)) => Ok(Some((width, height))),
                _ => Err(format!(
                    "input.{name}: is {raw:?}, expected a size such as \"1920x1080\""
                )),
            };
        }
    }
    Ok(None)
}

/// Returns the ratio, from `aspect_ratio` or one of fal's words for sizes.
fn ratio(input: &Map<String, Value>) -> Result<Option<f64>, String> {
    let preset = match text(input, &["image_size", "video_size"]) {
        Some("landscape_16_9") => Some(16.0 / 9.0),
        Some("portrait_16_9") => Some(9.0 / 16.0),
        Some("landscape_4_3") => Some(4.0 / 3.0),
        Some("portrait_4_3") => Some(3.0 / 4.0),
        Some(_) | None => None,
    };
    let Some((width, height)) = text(input, &["aspect_ratio"]).and_then(|raw| raw.split_once(':'))
    else {
        return Ok(preset);
    };
    match (width.parse::<f64>(), height.parse::<f64>()) {
        (Ok(width), Ok(height)) if width > 0.0 && height > 0.0 => Ok(Some(width / height)),
        _ => Err(format!(
            "input.aspect_ratio: is \"{width}:{height}\", expected one such as \"16:9\""
        )),
    }
}

/// Returns the area of a class such as `2K` or `1 MP`.
fn area(input: &Map<String, Value>) -> Option<f64> {
    CLASSES.iter().find_map(|name| {
        let raw = text(input, &[name])?.to_ascii_lowercase();
        let side = raw
            .strip_suffix('k')
            .and_then(|text| text.trim().parse::<f64>().ok());
        let megapixels = raw.trim_end_matches("mp").trim().parse::<f64>().ok();
        side.map(|side| (side * 1024.0).powi(2))
            .or(megapixels.map(|number| number * 1e6))
    })
}

/// Returns sides with a ratio and an area, in steps of 16 pixels.
fn of_area(ratio: f64, area: f64) -> (u32, u32) {
    let width = (area * ratio).sqrt();
    let step = |side: f64| (side / 16.0).round().max(1.0) as u32 * 16;
    (step(width), step(width / ratio))
}

/// Returns the lines of a class such as `720p`, `4k`, or a mode of kling.
fn lines(text: &str) -> Option<u32> {
    match text {
        "standard" => Some(720),
        "pro" => Some(1080),
        "4k" => Some(2160),
        _ => text.strip_suffix(['p', 'P'])?.parse().ok(),
    }
}

fn text<'i>(input: &'i Map<String, Value>, names: &[&str]) -> Option<&'i str> {
    names.iter().find_map(|name| input.get(*name)?.as_str())
}

/// Returns a number, which may be written as a text such as `5` or `5s`.
fn number(input: &Map<String, Value>, names: &[&str]) -> Result<Option<f64>, String> {
    let found = names
        .iter()
        .find_map(|name| Some((*name, input.get(*name)?)));
    let Some((name, value)) = found.filter(|(_, value)| !value.is_null()) else {
        return Ok(None);
    };
    let number = match value {
        Value::String(text) => text.trim_end_matches('s').parse().ok(),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::Array(_) | Value::Object(_) => {
            value.as_f64()
        }
    };
    number
        .map(Some)
        .ok_or_else(|| format!("input.{name}: is {value}, expected a number"))
}

fn within<T: PartialOrd + Display + Copy>(
    name: &str,
    value: T,
    low: T,
    high: T,
) -> Result<T, String> {
    if (low..=high).contains(&value) {
        return Ok(value);
    }
    Err(format!(
        "input.{name}: is {value}, expected {low} to {high}"
    ))
}

#[cfg(test)]
mod tests;
