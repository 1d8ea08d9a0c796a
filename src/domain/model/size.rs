//! The size: exact pixels, a class such as `720p`, and the ratio of width to height.
//!
//! Models take a size in one of many forms. The first that suits is used: for exact pixels two numbers, an object, a
//! list of sizes, a ratio with a class, a class alone; for anything else the ratio and the class first. An adapted
//! size keeps the ratio within 3 % and the class within 10 % (contract, 6.11).

mod asked;
mod offers;

use std::cmp::Ordering;

use serde_json::{Value, json};

use self::asked::{Asked, Class, Pixels, preset, ratio_of};
use self::offers::{offers, refuse};
use super::binder::{Binder, sent};
use super::names;
use super::profile::Profile;
use super::schema::{Form, Property};
use super::value::{number, shown};
use crate::domain::{Media, Single};

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

/// A ratio, with a class if the model has classes; or a class alone, if the ratio is that of a picture.
fn ratio_and_class(binder: &Binder<'_>, asked: &Asked<'_>) -> Option<Fit> {
    let mut fit = Fit {
        properties: Vec::new(),
        note: None,
    };
    let mut notes = Vec::new();
    if let Some(ratio) = asked.ratio {
        match Ratios::of(binder) {
            Ratios::Property(name, property) => {
                let (value, own) = nearest_ratio(property, ratio, asked.ratio_text)?;
                if far(own, ratio) > SAME {
                    notes.push(format!("{} is the nearest ratio", sent(name, &value)));
                }
                fit.properties.push((name.to_owned(), value));
            }
            Ratios::OfPicture(picture) => {
                notes.push(format!("the result has the ratio of {picture}"))
            }
            Ratios::None => return None,
        }
    } else if let Some(word) = asked.word {
        let (name, property) = ratio_property(binder.profile)?;
        let value = super::value::text(property, word)?;
        fit.properties.push((name.to_owned(), value));
    }
    if asked.pixels.is_some() || asked.class.is_some() {
        match class_of(binder.profile, asked) {
            Classes::Sent(name, value, is_exact) => {
                if !is_exact {
                    notes.push(format!("{} is the nearest size", sent(name, &value)));
                }
                fit.properties.push((name.to_owned(), value));
            }
            Classes::Fixed(is_exact) => {
                if !is_exact {
                    notes.push("the model has one size".to_owned());
                }
            }
            Classes::TooFar => return None,
            // Exact pixels become a ratio; a class cannot.
            Classes::None if asked.class.is_some() || fit.properties.is_empty() => return None,
            Classes::None => {
                notes.push("the model makes a size of its own with this ratio".to_owned())
            }
        }
    }
    if !notes.is_empty() {
        fit.note = Some(notes.join("; "));
    }
    Some(fit)
}

/// How a model takes a ratio.
enum Ratios<'p> {
    Property(&'static str, &'p Property),
    /// From a picture, which is bound to this property.
    OfPicture(String),
    None,
}

impl<'p> Ratios<'p> {
    fn of(binder: &Binder<'p>) -> Self {
        let profile = binder.profile;
        let picture = names::FIRST_FRAME.iter().find(|name| binder.is_set(name));
        match ratio_property(profile) {
            Some((name, property)) => match profile.ignored(name, |other| binder.is_set(other)) {
                Some(by) => Self::OfPicture(by.to_owned()),
                None => Self::Property(name, property),
            },
            None => match (binder.media, picture) {
                (Media::Video, Some(picture)) => Self::OfPicture((*picture).to_owned()),
                (Media::Video | Media::Image, _) => Self::None,
            },
        }
    }
}

fn ratio_property(profile: &Profile) -> Option<(&'static str, &Property)> {
    let is_ratio = |property: &Property| {
        let has_ratios = property
            .choices
            .iter()
            .any(|choice| ratio_of_choice(choice).is_some());
        has_ratios || property.choices.is_empty() && property.forms == [Form::Text]
    };
    // A text of any form is a ratio only under a name that says so.
    let (named, sized) = names::RATIO.split_at(3);
    let listed = |property: &Property| is_ratio(property) && !property.choices.is_empty();
    profile
        .first(named, is_ratio)
        .or_else(|| profile.first(sized, listed))
}

fn ratio_of_choice(choice: &Value) -> Option<f64> {
    let text = choice.as_str()?;
    // `1280:720` is a size, not a ratio.
    ratio_of(text)
        .filter(|_| Pixels::of(choice).is_none())
        .or_else(|| preset(text))
}

/// Returns the choice next to a ratio, if it is near enough, and its own ratio.
fn nearest_ratio(property: &Property, ratio: f64, text: Option<&str>) -> Option<(Value, f64)> {
    let ratios = property
        .choices
        .iter()
        .filter_map(|choice| Some((choice, ratio_of_choice(choice)?)));
    let best = ratios.min_by(|one, other| by(far(one.1, ratio), far(other.1, ratio)));
    let near = best.filter(|(_, own)| far(*own, ratio) <= RATIO);
    near.map(|(choice, own)| (choice.clone(), own)).or_else(|| {
        let free = property.takes_any_text();
        free.then(|| {
            (
                Value::from(text.map_or_else(|| asked::in_smallest_numbers(ratio), str::to_owned)),
                ratio,
            )
        })
    })
}

/// How a model takes a class.
enum Classes<'p> {
    /// The property, its value, and whether that is what was asked.
    Sent(&'p str, Value, bool),
    /// The model has this one class; whether it is exactly what was asked.
    Fixed(bool),
    /// No class is near enough.
    TooFar,
    None,
}

fn class_of<'p>(profile: &'p Profile, asked: &Asked<'_>) -> Classes<'p> {
    let Some((name, classes)) = classes(profile, asked.media) else {
        let fixed = profile
            .fixed("resolution")
            .and_then(|fixed| Class::of(&shown(fixed), asked.media));
        return match fixed {
            Some(class) => match asked.distance(class) {
                Some(_) => Classes::Fixed(asked.is(class)),
                None => Classes::TooFar,
            },
            None => Classes::None,
        };
    };
    let near = classes
        .into_iter()
        .filter_map(|(value, class)| Some((asked.distance(class)?, value, class)));
    match near.min_by(|one, other| by(one.0, other.0)) {
        Some((_, value, class)) => Classes::Sent(name, value, asked.is(class)),
        None => Classes::TooFar,
    }
}

/// Returns the property for classes, and each of its values with the class that it means.
fn classes(profile: &Profile, media: Media) -> Option<(&str, Vec<(Value, Class)>)> {
    let of_choices = |name: &str, property: &Property| -> Vec<_> {
        let class = |choice: &Value| match name {
            "megapixels" => Class::of_megapixels(&shown(choice)),
            _ => Class::of(&shown(choice), media),
        };
        let choices = property.choices.iter();
        choices
            .filter_map(|choice| Some((choice.clone(), class(choice)?)))
            .collect()
    };
    if let Some(binding) = profile.binding("resolution") {
        let property = profile.property(&binding.property)?;
        let values = match binding.values.is_empty() {
            true => of_choices(&binding.property, property),
            false => {
                let values = binding.values.iter();
                values
                    .filter_map(|(class, value)| {
                        Some((Value::from(value.as_str()), Class::of(class, media)?))
                    })
                    .collect()
            }
        };
        return Some((&binding.property, values));
    }
    let all = names::CLASS
        .iter()
        .filter_map(|name| Some((*name, profile.property(name)?)));
    let mut all = all.map(|(name, property)| (name, of_choices(name, property)));
    all.find(|(_, classes)| !classes.is_empty())
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
