//! The size as a ratio of width to height, as a class such as `720p`, or as both.

use serde_json::Value;

use super::asked::{Asked, Class, Pixels, in_smallest_numbers, preset, ratio_of};
use super::{Fit, RATIO, SAME, by, far};
use crate::domain::Media;
use crate::domain::model::binder::{Binder, sent};
use crate::domain::model::names;
use crate::domain::model::profile::Profile;
use crate::domain::model::schema::{Form, Property};
use crate::domain::model::value::{self, shown};

/// A ratio, with a class if the model has classes; or a class alone, if the ratio is that of a picture.
pub(super) fn ratio_and_class(binder: &Binder<'_>, asked: &Asked<'_>) -> Option<Fit> {
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
        let value = value::text(property, word)?;
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

pub(super) fn ratio_property(profile: &Profile) -> Option<(&'static str, &Property)> {
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
                Value::from(text.map_or_else(|| in_smallest_numbers(ratio), str::to_owned)),
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
pub(super) fn classes(profile: &Profile, media: Media) -> Option<(&str, Vec<(Value, Class)>)> {
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
