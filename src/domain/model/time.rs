//! The length of a video, in seconds or in frames, and its frames per second.

use std::collections::BTreeMap;

use serde_json::Value;

use super::binder::Binder;
use super::names;
use super::schema::Property;
use super::value::{allowed, as_number, close, listed, number};
use crate::domain::VideoSpec;

/// How far the length may be from what was asked, where a model counts frames, in seconds.
const TOLERANCE: f64 = 0.25;

/// Binds the length in seconds, and the frames per second, which `params` may override.
pub(super) fn bind(binder: &mut Binder<'_>, video: &VideoSpec, params: &BTreeMap<String, String>) {
    let rate = bind_fps(binder, video.fps);
    let by_params = names::FPS
        .iter()
        .find_map(|name| as_number(&serde_json::from_str(params.get(*name)?).ok()?));
    let rate = by_params.or(rate);
    let Some(seconds) = video.duration else {
        return;
    };
    let profile = binder.profile;
    let is_time = |property: &Property| {
        let counts = property
            .default
            .as_ref()
            .is_some_and(|default| as_number(default).is_some());
        property.is_number() || property.lists_numbers() || counts
    };
    if let Some((name, property)) = profile.first(names::DURATION, is_time) {
        let multiple = profile.multiple(name);
        match number(property, multiple, f64::from(seconds)) {
            Some(value) => binder.put("duration", name, value),
            None => {
                let lengths: Vec<_> = property
                    .choices
                    .iter()
                    .filter(|it| as_number(it).is_some())
                    .collect();
                let allowed = match lengths.is_empty() {
                    true => allowed(property, multiple),
                    false => listed(lengths),
                };
                binder.invalid(
                    "duration",
                    seconds,
                    allowed,
                    "choose one of these lengths, in seconds; genflow does not round it",
                );
            }
        }
        return;
    }
    if let Some((name, property)) = profile.first(names::FRAMES, is_time) {
        return bind_frames(binder, seconds, rate, name, property);
    }
    match profile.fixed("duration").and_then(as_number) {
        Some(fixed) if close(fixed, f64::from(seconds)) => {}
        Some(fixed) => {
            let hint = format!("the model always makes {fixed} seconds");
            binder.invalid("duration", seconds, fixed.to_string(), hint);
        }
        None => binder.unsupported("duration", seconds, None),
    }
}

/// Binds the frames per second; returns how many the film will have, if that is known.
fn bind_fps(binder: &mut Binder<'_>, fps: Option<i32>) -> Option<f64> {
    let profile = binder.profile;
    let found = profile.first(names::FPS, |it| it.is_number() || !it.choices.is_empty());
    let fixed = profile.fixed("fps").and_then(as_number);
    let Some(asked) = fps else {
        let default = found.and_then(|(_, property)| property.default.as_ref());
        return default.and_then(as_number).or(fixed);
    };
    let exact = f64::from(asked);
    match (found, fixed) {
        (Some((name, property)), _) => match number(property, profile.multiple(name), exact) {
            Some(value) => binder.put("fps", name, value),
            None => binder.invalid("fps", asked, allowed(property, None), ""),
        },
        (None, Some(fixed)) if close(fixed, exact) => {}
        (None, Some(fixed)) => {
            let hint = format!("the model always makes {fixed} frames per second");
            binder.invalid("fps", asked, fixed.to_string(), hint);
        }
        (None, None) => {
            binder.unsupported("fps", asked, None);
            return None;
        }
    }
    Some(exact)
}

/// Binds a length to a number of frames.
fn bind_frames(
    binder: &mut Binder<'_>,
    seconds: i32,
    rate: Option<f64>,
    name: &str,
    property: &Property,
) {
    let Some(rate) = rate.filter(|rate| *rate > 0.0) else {
        let hint = "the model counts frames, and its frame rate is not known: set the number of frames in params";
        return binder.unsupported("duration", seconds, hint.to_owned());
    };
    let wanted = f64::from(seconds) * rate;
    let frames = match property.choices.is_empty() {
        true => on_grid(property, binder.profile.frame_grid(name), wanted),
        false => {
            let numbers = property.choices.iter().filter_map(as_number);
            numbers.min_by(|one, other| (one - wanted).abs().total_cmp(&(other - wanted).abs()))
        }
    };
    let fits = |frames: &f64| (frames - wanted).abs() / rate <= TOLERANCE;
    match frames
        .filter(fits)
        .and_then(|frames| Some((frames, number(property, None, frames)?)))
    {
        Some((frames, value)) => {
            if !close(frames, wanted) {
                let length = frames / rate;
                binder.adapted(
                    "duration",
                    &format!("{frames} frames at {rate} a second are {length:.2} s"),
                );
            }
            binder.put("duration", name, value);
        }
        None => {
            let seconds_of = |frames: f64| (frames / rate * 100.0).floor() / 100.0;
            let allowed = match (property.minimum, property.maximum) {
                _ if !property.choices.is_empty() => {
                    let lengths = property.choices.iter().filter_map(as_number);
                    let lengths: Vec<_> = lengths
                        .map(|frames| Value::from(seconds_of(frames)))
                        .collect();
                    listed(&lengths)
                }
                (Some(least), Some(most)) => {
                    format!("{} to {}", seconds_of(least), seconds_of(most))
                }
                (None, Some(most)) => format!("up to {}", seconds_of(most)),
                (Some(least), None) => format!("{} or more", seconds_of(least)),
                (None, None) => String::new(),
            };
            let hint = format!("seconds at {rate} frames a second");
            binder.invalid("duration", seconds, allowed, hint);
        }
    }
}

/// Returns the number of frames next to `wanted` that is on the grid and in the property's range.
fn on_grid(property: &Property, (step, offset): (u32, u32), wanted: f64) -> Option<f64> {
    let (step, offset) = (f64::from(step), f64::from(offset));
    let at = |index: f64| index * step + offset;
    let mut frames = at(((wanted - offset) / step).round().max(0.0));
    if let Some(least) = property.minimum.filter(|least| frames < *least) {
        frames = at(((least - offset) / step).ceil());
    }
    if let Some(most) = property.maximum.filter(|most| frames > *most) {
        frames = at(((most - offset) / step).floor());
    }
    Some(frames)
}
