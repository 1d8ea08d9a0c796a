//! An order: the `input` of a submit, parsed and checked.
//!
//! Knows which inputs mean an image and which a video, and the limits of both; `media` creates the bytes.

use std::fmt::Display;

use serde::{Deserialize, de};
use serde_json::{Map, Value};

use super::script::Script;

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

/// The fields of `input` that the simulator reads.
#[derive(Deserialize)]
struct InputFields {
    prompt: String,
    width: Option<u32>,
    height: Option<u32>,
    num_outputs: Option<u32>,
    duration: Option<f64>,
    fps: Option<f64>,
    resolution: Option<Resolution>,
    #[serde(default)]
    sim: Script,
}

impl Order {
    /// Parses the input of a job of `model`. If the input does not show whether it is a video, the model's name does.
    ///
    /// # Errors
    /// A text for the answer: which field is wrong, and what is expected.
    pub(super) fn of(model: &str, raw: Value) -> Result<Self, String> {
        let fields = InputFields::deserialize(&raw).map_err(|error| format!("input: {error}"))?;
        let Value::Object(input) = raw else {
            return Err("input: is not an object".to_owned());
        };
        Ok(Self {
            media: media(model, &fields)?,
            input,
            prompt: fields.prompt,
            script: fields.sim,
        })
    }
}

fn media(model: &str, fields: &InputFields) -> Result<JobOutput, String> {
    let is_video = fields.duration.is_some()
        || fields.fps.is_some()
        || fields.resolution.is_some()
        || model.contains("video");
    if !is_video {
        return Ok(JobOutput::Images {
            width: within("width", fields.width.unwrap_or(1024), 1, 4096)?,
            height: within("height", fields.height.unwrap_or(1024), 1, 4096)?,
            count: within("num_outputs", fields.num_outputs.unwrap_or(1), 1, 100)?,
        });
    }
    let Resolution { width, height } = fields.resolution.unwrap_or(Resolution {
        width: 1280,
        height: 720,
    });
    Ok(JobOutput::Video {
        width,
        height,
        seconds: within("duration", fields.duration.unwrap_or(5.0), 0.1, 3600.0)?,
    })
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

/// The size of a video, written `1920x1080` or `1080p`.
#[derive(Clone, Copy)]
struct Resolution {
    width: u32,
    height: u32,
}

impl<'de> Deserialize<'de> for Resolution {
    fn deserialize<D: de::Deserializer<'de>>(source: D) -> Result<Self, D::Error> {
        let raw = String::deserialize(source)?;
        let sides = match raw.split_once('x') {
            Some((width, height)) => (width.parse().ok(), height.parse().ok()),
            None => {
                let lines = raw.strip_suffix('p').and_then(|lines| lines.parse().ok());
                let width = lines.and_then(|lines: u32| lines.checked_mul(16));
                (width.map(|sixteen| sixteen / 9), lines)
            }
        };
        match sides {
            (Some(width @ 1..=8192), Some(height @ 1..=8192)) => Ok(Self { width, height }),
            _ => Err(de::Error::custom(format!(
                "resolution is {raw:?}, expected one such as \"1920x1080\" or \"1080p\""
            ))),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn is_video(order: &Order) -> bool {
        matches!(order.media, JobOutput::Video { .. })
    }

    #[test]
    fn a_prompt_alone_is_one_square_picture() {
        let order = Order::of("me/mine", json!({"prompt": "a cat"})).unwrap();

        assert_eq!(
            order.media,
            JobOutput::Images {
                width: 1024,
                height: 1024,
                count: 1
            }
        );
    }

    #[test]
    fn the_name_of_the_model_decides_if_the_input_does_not() {
        let film = Order::of("minimax/video-01", json!({"prompt": "a cat"})).unwrap();

        assert!(is_video(&film));
    }

    #[test]
    fn any_field_of_a_video_makes_a_video() {
        for film in [
            json!({"duration": 3}),
            json!({"fps": 24}),
            json!({"resolution": "720p"}),
        ] {
            let mut input = film;
            input["prompt"] = json!("a cat");

            assert!(is_video(&Order::of("me/mine", input).unwrap()));
        }
    }

    #[test]
    fn resolutions_are_read_in_both_spellings() {
        for (raw, want) in [
            ("1920x1080", (1920, 1080)),
            ("720p", (1280, 720)),
            ("512x768", (512, 768)),
        ] {
            let JobOutput::Video { width, height, .. } =
                Order::of("me/mine", json!({"prompt": "", "resolution": raw}))
                    .unwrap()
                    .media
            else {
                panic!("{raw} made no video");
            };

            assert_eq!((width, height), want);
        }
    }

    #[test]
    fn a_fault_is_named() {
        for (input, want) in [
            (json!("a cat"), "invalid type"),
            (json!({}), "missing field `prompt`"),
            (json!({"prompt": 7}), "invalid type: integer"),
            (
                json!({"prompt": "", "width": 5000}),
                "input.width: is 5000, expected 1 to 4096",
            ),
            (
                json!({"prompt": "", "num_outputs": 0}),
                "input.num_outputs: is 0",
            ),
            (json!({"prompt": "", "duration": 0}), "input.duration: is 0"),
            (
                json!({"prompt": "", "resolution": "0x9"}),
                "expected one such as \"1920x1080\" or \"1080p\"",
            ),
            (
                json!({"prompt": "", "sim": {"sumbit": []}}),
                "unknown field `sumbit`",
            ),
            (
                json!({"prompt": "", "sim": {"submit": [200]}}),
                "did not match",
            ),
            (
                json!({"prompt": "", "sim": {"cancel": [200]}}),
                "expected 300 to 599",
            ),
            (
                json!({"prompt": "", "sim": {"seconds": -1}}),
                "the number of seconds is -1, expected 0 or more",
            ),
        ] {
            let error = Order::of("me/mine", input).unwrap_err();

            assert!(error.contains(want), "{error}");
        }
    }
}
