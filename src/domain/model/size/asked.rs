//! The size that a request asks for, and the forms in which models write sizes.

use std::fmt;

use serde_json::Value;

use super::super::binder::Binder;
use super::super::limits;
use super::{RATIO, SAME, USUAL_AREA, far};
use crate::domain::{Media, Single};

/// How far a class of lines may be from what was asked, as a part of it.
const LINES: f64 = 0.1;
/// How far a class of areas may be from what was asked, as a factor.
const CLASS_AREA: f64 = 1.5;

/// What a request asks for. At least one of pixels, class, ratio and word is set.
pub(super) struct Asked<'a> {
    pub(super) media: Media,
    /// The request's field, for notes and problems.
    pub(super) field: &'static str,
    pub(super) pixels: Option<Pixels>,
    pub(super) class: Option<Class>,
    /// Width to height.
    pub(super) ratio: Option<f64>,
    /// The ratio as the request has it.
    pub(super) ratio_text: Option<&'a str>,
    /// A word that some models have among their ratios, such as `match_input_image`.
    pub(super) word: Option<&'a str>,
    class_text: Option<&'a str>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Pixels {
    pub(super) width: u32,
    pub(super) height: u32,
}

/// A class of sizes.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Class {
    /// Pixels of the short side: `720p`.
    Lines(f64),
    /// Pixels in all: `2K` and `1 MP` of an image.
    Area(f64),
}

impl<'a> Asked<'a> {
    /// Reads the size of a request. Returns `None` if it asks for none, or if it contradicts itself, which is recorded.
    pub(super) fn of(binder: &mut Binder<'_>, single: &'a Single) -> Option<Self> {
        let ratio_text = single.common().aspect_ratio.as_deref();
        let ratio_text = ratio_text.map(str::trim).filter(|text| !text.is_empty());
        let mut asked = Self {
            media: single.media(),
            field: "aspect_ratio",
            pixels: None,
            class: None,
            ratio: ratio_text.and_then(ratio_of),
            ratio_text,
            word: None,
            class_text: None,
        };
        asked.word = ratio_text.filter(|_| asked.ratio.is_none());
        match single {
            Single::Image(image) => match (image.width, image.height) {
                (Some(width), Some(height)) => {
                    let side = |side: i32| u32::try_from(side).unwrap_or_default();
                    asked.field = "width";
                    asked.pixels = Some(Pixels {
                        width: side(width),
                        height: side(height),
                    });
                }
                (Some(width), None) => return missing(binder, "height", &format!("width {width}")),
                (None, Some(height)) => {
                    return missing(binder, "width", &format!("height {height}"));
                }
                (None, None) => {}
            },
            Single::Video(video) => {
                if let Some(text) = video.resolution.as_deref() {
                    asked.field = "resolution";
                    asked.pixels = Pixels::parse(text, 'x');
                    asked.class = Class::of(text, Media::Video).filter(|_| asked.pixels.is_none());
                    asked.class_text = Some(text);
                    if asked.pixels.is_none() && asked.class.is_none() {
                        let allowed = "WIDTHxHEIGHT, or a class from 64p such as 720p".to_owned();
                        binder.invalid("resolution", text, allowed, "");
                        return None;
                    }
                }
            }
        }
        asked.without_contradiction(binder)
    }

    /// Checks that the ratio fits the pixels, which then give the ratio. Returns `None` if nothing is asked, or if
    /// the two contradict each other, which is recorded.
    fn without_contradiction(mut self, binder: &mut Binder<'_>) -> Option<Self> {
        if let Some(pixels) = self.pixels {
            let differs = self
                .ratio
                .is_some_and(|ratio| far(ratio, pixels.ratio()) > RATIO);
            if differs || self.word.is_some() {
                let own = in_smallest_numbers(pixels.ratio());
                let hint = format!("{pixels} has this ratio: set one of the two, or equal ratios");
                binder.invalid("aspect_ratio", self.ratio_shown(), own, hint);
                return None;
            }
            self.ratio = Some(pixels.ratio());
            self.ratio_text = None;
        }
        (!self.is_empty()).then_some(self)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.pixels.is_none() && self.class.is_none() && !self.asks_ratio()
    }

    pub(super) fn asks_ratio(&self) -> bool {
        self.ratio.is_some() || self.word.is_some()
    }

    pub(super) fn without_class(self) -> Self {
        Self {
            class: None,
            class_text: None,
            field: "aspect_ratio",
            ..self
        }
    }

    pub(super) fn without_ratio(self) -> Self {
        Self {
            ratio: None,
            ratio_text: None,
            word: None,
            ..self
        }
    }

    pub(super) fn size_text(&self) -> &'a str {
        self.class_text.unwrap_or_default()
    }

    pub(super) fn ratio_shown(&self) -> &'a str {
        self.ratio_text.or(self.word).unwrap_or_default()
    }

    /// Returns pixels for a ratio or class: of the class, or of the area of `default`, or of a usual one. The sides are
    /// multiples of `step`, and not above `most`.
    pub(super) fn computed(
        &self,
        default: Option<Pixels>,
        step: f64,
        most: [f64; 2],
    ) -> Option<Pixels> {
        let ratio = self
            .ratio
            .or(default.map(Pixels::ratio).filter(|_| self.class.is_some()))?;
        let area = match self.class {
            Some(Class::Lines(lines)) => lines * lines * ratio.max(1.0 / ratio),
            Some(Class::Area(area)) => area,
            None => default.map_or(USUAL_AREA, Pixels::area),
        };
        let width = (area * ratio).sqrt();
        let sides = [width, width / ratio];
        let excess = (sides[0] / most[0]).max(sides[1] / most[1]).max(1.0);
        let [width, height] = [0, 1].map(|at| {
            let steps = (sides[at] / excess / step).round().max(1.0);
            (steps * step).min((most[at] / step).floor() * step) as u32
        });
        let pixels = Pixels { width, height };
        (far(pixels.ratio(), ratio) <= RATIO).then_some(pixels)
    }

    /// Returns how far a class is from what was asked; `None` if it is too far.
    pub(super) fn distance(&self, class: Class) -> Option<f64> {
        match (self.pixels, self.class) {
            (Some(pixels), _) => class.distance(pixels),
            (None, Some(asked)) => match (asked, class) {
                (Class::Lines(asked), Class::Lines(lines)) => near(lines, asked),
                (Class::Area(one), Class::Area(other)) => {
                    Some(far(one, other)).filter(|far| *far <= CLASS_AREA.ln())
                }
                (Class::Lines(lines), Class::Area(area))
                | (Class::Area(area), Class::Lines(lines)) => {
                    let ratio = self.ratio.unwrap_or(1.0);
                    let own = lines * lines * ratio.max(1.0 / ratio);
                    Some(far(own, area)).filter(|far| *far <= CLASS_AREA.ln())
                }
            },
            (None, None) => None,
        }
    }

    /// Returns whether a class is exactly what was asked.
    pub(super) fn is(&self, class: Class) -> bool {
        match self.pixels {
            Some(pixels) => class.is(pixels),
            None => self.class == Some(class),
        }
    }
}

impl fmt::Display for Asked<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let size = self.pixels.map(|pixels| pixels.to_string());
        let size = size.or_else(|| self.class_text.map(str::to_owned));
        let ratio = self.ratio_text.or(self.word).map(str::to_owned);
        let parts: Vec<_> = size.into_iter().chain(ratio).collect();
        f.write_str(&parts.join(" at "))
    }
}

impl Pixels {
    /// Reads a size that a model offers: `1280x720`, `1280*720`, `1280 * 720` or `1280:720`.
    pub(super) fn of(choice: &Value) -> Option<Self> {
        let text = choice.as_str()?;
        let smallest = |pixels: &Self| pixels.width.min(pixels.height) >= 64;
        ['x', '*', ':']
            .into_iter()
            .find_map(|sign| Self::parse(text, sign))
            .filter(smallest)
    }

    fn parse(text: &str, sign: char) -> Option<Self> {
        let (width, height) = text.split_once(sign)?;
        let side = |text: &str| text.trim().parse().ok().filter(|side| *side > 0);
        Some(Self {
            width: side(width)?,
            height: side(height)?,
        })
    }

    pub(super) fn ratio(self) -> f64 {
        f64::from(self.width) / f64::from(self.height)
    }

    pub(super) fn area(self) -> f64 {
        f64::from(self.width) * f64::from(self.height)
    }

    /// Returns the nearest size whose sides are multiples of `step`.
    pub(super) fn on_grid(self, step: u32) -> Self {
        let side = |side: u32| {
            ((f64::from(side) / f64::from(step)).round().max(1.0) * f64::from(step)) as u32
        };
        Self {
            width: side(self.width),
            height: side(self.height),
        }
    }

    pub(super) fn are_within(self, limits: &limits::Pixels) -> bool {
        let (long, short) = (self.width.max(self.height), self.width.min(self.height));
        let on_grid = self.width.is_multiple_of(limits.multiple)
            && self.height.is_multiple_of(limits.multiple);
        on_grid
            && long <= limits.longest
            && f64::from(long) <= f64::from(short) * f64::from(limits.ratio)
            && self.area() <= f64::from(limits.area)
    }
}

impl fmt::Display for Pixels {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}x{}", self.width, self.height)
    }
}

impl Class {
    /// Reads a class: `720p`, `4k`, `2K`, `1 MP`.
    pub(super) fn of(text: &str, media: Media) -> Option<Self> {
        let text = text.trim().to_ascii_lowercase();
        let number = |end: &str| {
            text.strip_suffix(end)?
                .trim()
                .parse::<f64>()
                .ok()
                .filter(|it| *it > 0.0)
        };
        if let Some(lines) = number("p").filter(|lines| *lines >= 64.0) {
            return Some(Self::Lines(lines));
        }
        if let Some(thousands) = number("k") {
            // Of a video: 2K has 1440 lines, 4K 2160.
            return Some(match media {
                Media::Video if thousands < 3.0 => Self::Lines(thousands * 720.0),
                Media::Video => Self::Lines(thousands * 540.0),
                Media::Image => Self::Area((thousands * 1024.0).powi(2)),
            });
        }
        let megapixels = number("mp").filter(|_| media == Media::Image);
        megapixels.map(|number| Self::Area(number * 1e6))
    }

    /// Reads a number of megapixels, such as `0.25`.
    pub(super) fn of_megapixels(text: &str) -> Option<Self> {
        let number = text.trim().parse::<f64>().ok();
        let number = number.filter(|number| (0.01..=100.0).contains(number));
        number.map(|number| Self::Area(number * 1e6))
    }

    /// Returns how far pixels are from the class; `None` if they are too far.
    fn distance(self, pixels: Pixels) -> Option<f64> {
        match self {
            Self::Lines(lines) => near(lines, f64::from(pixels.width.min(pixels.height))),
            Self::Area(area) => {
                Some(far(area, pixels.area())).filter(|far| *far <= CLASS_AREA.ln())
            }
        }
    }

    pub(super) fn is_near(self, pixels: Pixels) -> bool {
        self.distance(pixels).is_some()
    }

    /// Returns whether pixels are exactly of the class.
    pub(super) fn is(self, pixels: Pixels) -> bool {
        match self {
            Self::Lines(lines) => far(lines, f64::from(pixels.width.min(pixels.height))) <= SAME,
            Self::Area(area) => far(area, pixels.area()) <= SAME,
        }
    }
}

fn near(lines: f64, asked: f64) -> Option<f64> {
    ((lines - asked).abs() <= LINES * asked).then(|| far(lines, asked))
}

/// Reads a ratio such as `16:9`.
pub(super) fn ratio_of(text: &str) -> Option<f64> {
    let (width, height) = text.split_once(':')?;
    let side = |text: &str| {
        text.trim()
            .parse::<f64>()
            .ok()
            .filter(|side| side.is_finite() && *side > 0.0)
    };
    Some(side(width)? / side(height)?)
}

/// Returns the ratio of one of fal's named sizes, such as `landscape_16_9`.
pub(super) fn preset(name: &str) -> Option<f64> {
    Some(match name {
        "square" | "square_hd" => 1.0,
        "landscape_4_3" => 4.0 / 3.0,
        "landscape_16_9" => 16.0 / 9.0,
        "portrait_4_3" => 3.0 / 4.0,
        "portrait_16_9" => 9.0 / 16.0,
        _ => return None,
    })
}

/// Writes a ratio in small numbers, such as `16:9`.
pub(super) fn in_smallest_numbers(ratio: f64) -> String {
    let exact = (1..=64).map(|height| (f64::from(height) * ratio, height));
    let best = exact.min_by(|one, other| {
        let miss =
            |(width, height): &(f64, i32)| far(width.round().max(1.0) / f64::from(*height), ratio);
        // The smallest of equal ones: 16:9, not 32:18.
        let (one, other) = (miss(one), miss(other));
        if (one - other).abs() < 1e-9 {
            std::cmp::Ordering::Equal
        } else {
            one.total_cmp(&other)
        }
    });
    best.map_or_else(
        || "1:1".to_owned(),
        |(width, height)| format!("{}:{height}", width.round().max(1.0)),
    )
}

fn missing<T>(binder: &mut Binder<'_>, field: &str, other: &str) -> Option<T> {
    binder.problem(
        field,
        None,
        None,
        format!("is missing, but {other} is set; set both or neither"),
    );
    None
}

#[cfg(test)]
mod tests;
