//! What a model offers for sizes, and why a size is refused.

use super::asked::Asked;
use super::has_sizes;
use super::shape::{classes, ratio_property};
use crate::domain::Media;
use crate::domain::model::binder::Binder;
use crate::domain::model::profile::Profile;
use crate::domain::model::schema::{Form, Property};
use crate::domain::model::value::{allowed, listed, shown};
use crate::domain::model::{limits, names};

/// Returns whether a model has an input for a ratio, and for a size.
pub(super) fn offers(profile: &Profile, media: Media) -> (bool, bool) {
    let sides = profile
        .property(names::WIDTH)
        .is_some_and(Property::is_number);
    let pixels = names::PIXELS
        .iter()
        .filter_map(|name| Some((*name, profile.property(name)?)));
    let has_pixels = pixels.into_iter().any(|(name, property)| {
        property.has(&Form::Sides) || profile.pixels(name).is_some() || has_sizes(property)
    });
    let exact = sides || has_pixels;
    let classed = classes(profile, media).is_some() || profile.fixed("resolution").is_some();
    (exact || ratio_property(profile).is_some(), exact || classed)
}

/// Records why the size cannot be made.
pub(super) fn refuse(binder: &mut Binder<'_>, asked: &Asked<'_>) {
    let profile = binder.profile;
    let mut offers = Vec::new();
    if let Some((name, property)) = ratio_property(profile) {
        offers.push(format!("{name} {}", listed(&property.choices)));
    }
    if let Some((name, classes)) = classes(profile, asked.media) {
        offers.push(format!(
            "{name} {}",
            listed(classes.iter().map(|(value, _)| value))
        ));
    } else if let Some(fixed) = profile.fixed("resolution") {
        offers.push(format!("{} only", shown(fixed)));
    }
    if let Some((name, property)) = profile.first(names::PIXELS, has_sizes) {
        offers.push(format!("{name} {}", listed(&property.choices)));
    }
    for name in names::PIXELS {
        if let Some(limits) = profile.pixels(name) {
            let limits::Pixels {
                multiple,
                longest,
                ratio,
                ..
            } = limits;
            offers.push(format!(
                "{name} in multiples of {multiple}, up to {longest}, at most {ratio}:1"
            ));
        }
    }
    for name in [names::WIDTH, names::HEIGHT] {
        if let Some(property) = profile
            .property(name)
            .filter(|property| property.is_number())
        {
            offers.push(format!(
                "{name} {}",
                allowed(property, profile.multiple(name))
            ));
        }
    }
    if offers.is_empty() {
        return binder.unsupported(
            asked.field,
            asked,
            "the model chooses the size itself".to_owned(),
        );
    }
    offers.dedup();
    binder.invalid(
        asked.field,
        asked,
        offers.join("; "),
        "choose a size near one of these, or leave it out",
    );
}
