//! The size: exact pixels, a class such as `720p`, and the ratio of width to height.
//!
//! Models take a size in one of many forms. The first that suits is used: for exact pixels two numbers, an object, a
//! list of sizes, a ratio with a class, a class alone; for anything else the ratio and the class first. An adapted
//! size keeps the ratio within 3 % and the class within 10 % (contract, 6.11).

mod asked;
mod offers;
mod shape;

use std::cmp::Ordering;

use serde_json::{Value, json};

use self::asked::{Asked, Pixels, preset};
use self::offers::{offers, refuse};
use self::shape::ratio_and_class;
use super::binder::Binder;
use super::names;
use super::schema::{Form, Property};
use super::value::{number, shown};
use crate::domain::Single;

/// How far a ratio may be from what was asked, as a difference of logarithms. No two ratios of one model are this close.
const RATIO: f64 = 0.03;
/// A ratio this near is the same ratio, written with whole pixels.
const SAME: f64 = 0.005;
/// How far the area of a listed size may be from what was asked, as a factor.
const AREA: f64 = 1.25;
/// What the sides of computed sizes are multiples of, unless the model says it: models of images work on such grids.
const USUAL_STEP: f64 = 8.0;
/// The area to compute a size from, if a request sets only a ratio and the model has no default size.
const USUAL_AREA: f64 = 1024.0 * 1024.0;

/// A form of the size that a model accepts.
struct Fit {
    /// Properties to send.
    properties: Vec<(String, Value)>,
    /// How it differs from what was asked.
    note: Option<String>,
}

pub(super) fn bind(binder: &mut Binder<'_>, single: &Single) {
    let Some(mut asked) = Asked::of(binder, single) else {
        return;
    };
    loop {
        if let Some(fit) = fit(binder, &asked) {
            for (name, value) in fit.properties {
                binder.put(asked.field, &name, value);
            }
            if let Some(note) = fit.note {
                binder.adapted(asked.field, &format!("{asked} was asked; {note}"));
            }
            return;
        }
        // A part that the model has no input for must not hide the other.
        let (offers_ratio, offers_size) = offers(binder.profile, asked.media);
        if asked.class.is_some() && !offers_size {
            binder.unsupported(
                "resolution",
                asked.size_text(),
                "the model chooses the size itself".to_owned(),
            );
            asked = asked.without_class();
        } else if asked.class.is_some() && asked.asks_ratio() && !offers_ratio {
            binder.unsupported("aspect_ratio", asked.ratio_shown(), None);
            asked = asked.without_ratio();
        } else {
            return refuse(binder, &asked);
        }
        if asked.is_empty() {
            return;
        }
    }
}

/// Returns the first form that suits.
fn fit(binder: &Binder<'_>, asked: &Asked<'_>) -> Option<Fit> {
    let forms: &[fn(&Binder<'_>, &Asked<'_>) -> Option<Fit>] = match (asked.word, asked.pixels) {
        // A word such as `auto` is a value of the ratio.
        (Some(_), _) => &[ratio_and_class],
        (None, Some(_)) => &[two_numbers, object, free_size, listed_size, ratio_and_class],
        (None, None) => &[ratio_and_class, object, two_numbers, free_size, listed_size],
    };
    forms.iter().find_map(|form| form(binder, asked))
}

fn has_sizes(property: &Property) -> bool {
    property
        .choices
        .iter()
        .any(|choice| Pixels::of(choice).is_some())
}

/// `width` and `height`.
fn two_numbers(binder: &Binder<'_>, asked: &Asked<'_>) -> Option<Fit> {
    let profile = binder.profile;
    let side = |name| {
        profile
            .property(name)
            .filter(|property| property.is_number())
    };
    let (width, height) = (side(names::WIDTH)?, side(names::HEIGHT)?);
    let multiple = |name| profile.multiple(name);
    let default = pixels_of(width.default.as_ref(), height.default.as_ref());
    let steps = [names::WIDTH, names::HEIGHT].map(|name| multiple(name).unwrap_or(USUAL_STEP));
    let most = [width.maximum, height.maximum].map(|most| most.unwrap_or(f64::MAX));
    let computed = || asked.computed(default, steps[0].max(steps[1]), most);
    let pixels = asked.pixels.or_else(computed)?;
    let value = |property, name, side| number(property, multiple(name), f64::from(side));
    Some(Fit {
        properties: vec![
            (
                names::WIDTH.to_owned(),
                value(width, names::WIDTH, pixels.width)?,
            ),
            (
                names::HEIGHT.to_owned(),
                value(height, names::HEIGHT, pixels.height)?,
            ),
        ],
        note: asked.pixels.is_none().then(|| format!("{pixels} was sent")),
    })
}

/// An object of `width` and `height`, or the name of a usual ratio.
fn object(binder: &Binder<'_>, asked: &Asked<'_>) -> Option<Fit> {
    let (name, property) = binder
        .profile
        .first(names::PIXELS, |it| it.has(&Form::Sides))?;
    let fit = |value, note| Fit {
        properties: vec![(name.to_owned(), value)],
        note,
    };
    if let (None, None, Some(ratio)) = (asked.pixels, asked.class, asked.ratio) {
        let same = |choice: &&Value| {
            choice
                .as_str()
                .and_then(preset)
                .is_some_and(|it| far(it, ratio) <= SAME)
        };
        if let Some(choice) = property.choices.iter().find(same) {
            return Some(fit(choice.clone(), None));
        }
    }
    let pixels = asked
        .pixels
        .or_else(|| asked.computed(None, 16.0, [f64::MAX; 2]))?;
    let note = asked.pixels.is_none().then(|| format!("{pixels} was sent"));
    Some(fit(
        json!({"width": pixels.width, "height": pixels.height}),
        note,
    ))
}

/// A text of any size on a grid.
fn free_size(binder: &Binder<'_>, asked: &Asked<'_>) -> Option<Fit> {
    let profile = binder.profile;
    let names = names::PIXELS
        .iter()
        .filter(|name| profile.property(name).is_some());
    let (name, limits) = names
        .into_iter()
        .find_map(|name| Some((*name, profile.pixels(name)?)))?;
    let pixels = match asked.pixels {
        Some(pixels) => pixels.on_grid(limits.multiple),
        None => asked.computed(
            None,
            f64::from(limits.multiple),
            [f64::from(limits.longest); 2],
        )?,
    };
    let is_near = asked.pixels.is_none_or(|asked| {
        far(asked.ratio(), pixels.ratio()) <= RATIO && far(asked.area(), pixels.area()) <= AREA.ln()
    });
    let is_exact = asked.pixels == Some(pixels);
    (is_near && pixels.are_within(limits)).then(|| Fit {
        properties: vec![(name.to_owned(), Value::from(pixels.to_string()))],
        note: (!is_exact).then(|| format!("{pixels} was sent")),
    })
}

/// A list of sizes such as `1024x1536`.
fn listed_size(binder: &Binder<'_>, asked: &Asked<'_>) -> Option<Fit> {
    let (name, property) = binder.profile.first(names::PIXELS, has_sizes)?;
    let sizes: Vec<_> = property
        .choices
        .iter()
        .filter_map(|choice| Some((choice, Pixels::of(choice)?)))
        .collect();
    let default = property.default.as_ref().and_then(Pixels::of);
    let ratio = asked.ratio.or(default.map(Pixels::ratio)).unwrap_or(1.0);
    let same = sizes.iter().find(|(_, size)| asked.pixels == Some(*size));
    let near = sizes
        .iter()
        .filter(|(_, size)| far(size.ratio(), ratio) <= RATIO);
    let by_ratio = |one: &&(&Value, Pixels), other: &&(&Value, Pixels)| {
        by(far(one.1.ratio(), ratio), far(other.1.ratio(), ratio))
    };
    let best = match (asked.pixels, asked.class) {
        (Some(_), _) if same.is_some() => same,
        (Some(pixels), _) => near
            .filter(|(_, size)| far(size.area(), pixels.area()) <= AREA.ln())
            .min_by(by_ratio),
        (None, Some(class)) => near
            .filter(|(_, size)| class.is_near(*size))
            .min_by(by_ratio),
        (None, None) => {
            let area = default.map_or(USUAL_AREA, Pixels::area);
            near.min_by(|one, other| by(far(one.1.area(), area), far(other.1.area(), area)))
        }
    };
    let (choice, size) = best?;
    let is_asked = asked.pixels.is_none()
        && asked.class.is_none_or(|class| class.is(*size))
        && far(size.ratio(), ratio) <= SAME;
    let is_exact = same.is_some() || is_asked;
    Some(Fit {
        properties: vec![(name.to_owned(), (*choice).clone())],
        note: (!is_exact).then(|| format!("{} is the nearest size", shown(choice))),
    })
}

fn pixels_of(width: Option<&Value>, height: Option<&Value>) -> Option<Pixels> {
    let side = |value: Option<&Value>| u32::try_from(value?.as_u64()?).ok();
    Some(Pixels {
        width: side(width)?,
        height: side(height)?,
    })
}

/// Returns how far two positive numbers are apart: the difference of their logarithms.
fn far(one: f64, other: f64) -> f64 {
    (one / other).ln().abs()
}

fn by(one: f64, other: f64) -> Ordering {
    one.total_cmp(&other)
}
