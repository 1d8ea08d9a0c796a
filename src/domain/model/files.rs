//! Input files, by their role.

use serde_json::Value;
use url::Url;

use super::binder::Binder;
use super::schema::Property;
use super::{bundle, names};
use crate::domain::{Input, Media, Role, shown};

/// Binds the inputs, role by role. The order of the files within a role is kept.
pub(super) fn bind(binder: &mut Binder<'_>, inputs: &[Input]) {
    let by_role = |role: Role| -> Vec<File<'_>> {
        let numbered = inputs.iter().enumerate();
        let files = numbered.filter(|(_, input)| input.role == role);
        files
            .map(|(index, input)| File {
                field: format!("inputs[{index}]"),
                url: &input.url,
                role,
            })
            .collect()
    };
    let plain = by_role(Role::Unspecified);
    if binder.media == Media::Video && plain.len() > 1 && list_of_references(binder).is_none() {
        for file in &plain {
            let hint = "the model takes no list of references: give each input a role".to_owned();
            binder.unsupported(&file.field, shown(file.url), hint);
        }
    } else {
        place(binder, &plain);
    }
    let masks = by_role(Role::Mask);
    for role in [
        Role::FirstFrame,
        Role::LastFrame,
        Role::Source,
        Role::Reference,
    ] {
        place(binder, &by_role(role));
    }
    let is_source = |input: &Input| matches!(input.role, Role::Source | Role::Unspecified);
    if let Some(mask) = masks.first()
        && !inputs.iter().any(is_source)
    {
        let hint = "a mask needs an input with the role SOURCE".to_owned();
        return binder.problem(&mask.field, Some("MASK".to_owned()), None, hint);
    }
    place(binder, &masks);
}

struct File<'a> {
    field: String,
    url: &'a Url,
    role: Role,
}

/// Binds the files of one role to the property that the model has for it.
fn place(binder: &mut Binder<'_>, files: &[File<'_>]) {
    let Some(first) = files.first() else { return };
    let Some((name, is_list)) = property(binder, first.role, files.len()) else {
        for file in files {
            let hint = no_input(binder, file.role);
            binder.unsupported(&file.field, role_name(file.role), hint);
        }
        return;
    };
    if !is_list {
        return place_each(binder, &name, files);
    }
    let mut urls = match binder.input.get(&name) {
        Some(Value::Array(urls)) => urls.clone(),
        Some(_) | None => Vec::new(),
    };
    urls.extend(files.iter().map(|file| Value::from(file.url.as_str())));
    if let Some(most) = binder
        .profile
        .max_items(&name)
        .filter(|most| urls.len() > *most)
    {
        let hint = format!("{name} takes at most {most} files");
        return binder.invalid("inputs", urls.len(), format!("up to {most}"), hint);
    }
    binder.put("inputs", &name, Value::Array(urls));
}

/// Binds files to a property for one file, and its numbered siblings (`input_image`, `input_image_2`).
fn place_each(binder: &mut Binder<'_>, name: &str, files: &[File<'_>]) {
    for (index, file) in files.iter().enumerate() {
        let own = match index {
            0 => name.to_owned(),
            _ => format!("{name}_{}", index + 1),
        };
        if index > 0 && binder.profile.property(&own).is_none() {
            let hint =
                format!("the model takes one file with this role, as {name}; remove this one");
            binder.invalid(&file.field, role_name(file.role), "one".to_owned(), hint);
        } else {
            binder.put(&file.field, &own, Value::from(file.url.as_str()));
        }
    }
}

/// Returns the property for the files of a role, and whether it is a list.
fn property(binder: &Binder<'_>, role: Role, count: usize) -> Option<(String, bool)> {
    let (binding, groups): (&str, &[&[&str]]) = match (binder.media, role) {
        (Media::Video, Role::Unspecified) if count > 1 => {
            ("reference", &[names::REFERENCE, names::PICTURES])
        }
        (Media::Video, Role::Unspecified) => (
            "first_frame",
            &[names::FIRST_FRAME, names::REFERENCE, names::PICTURES],
        ),
        (Media::Image, Role::Unspecified) => ("source", &[names::SOURCE_IMAGE, names::REFERENCE]),
        (Media::Video, Role::FirstFrame) => ("first_frame", &[names::FIRST_FRAME]),
        (Media::Video, Role::LastFrame) => ("last_frame", &[names::LAST_FRAME]),
        (Media::Video, Role::Source) => ("source", &[names::SOURCE_VIDEO]),
        (Media::Image, Role::Source) => ("source", &[names::SOURCE_IMAGE]),
        (_, Role::Reference) => ("reference", &[names::REFERENCE, names::PICTURES]),
        (_, Role::Mask) => ("mask", &[names::MASK]),
        (Media::Image, Role::FirstFrame | Role::LastFrame) => return None,
    };
    let profile = binder.profile;
    if let Some(bound) = profile.binding(binding) {
        let property = profile.schema.properties.get(&bound.property)?;
        return Some((bound.property.clone(), property.is_files()));
    }
    // Another role may have taken a property for one file.
    let is_free = |name: &str, property: &Property| property.is_files() || !binder.is_set(name);
    let all = groups.iter().flat_map(|group| group.iter());
    let all = all.filter_map(|name| Some((*name, profile.property(name)?)));
    let mut suitable =
        all.filter(|(name, it)| (it.is_file() || it.is_files()) && is_free(name, it));
    // A property for one file does not suit several, unless nothing else does.
    let first = suitable.next()?;
    let takes_all = |(name, property): &(&str, &Property)| {
        property.is_files() || count == 1 || profile.property(&format!("{name}_{count}")).is_some()
    };
    let best = match takes_all(&first) {
        true => first,
        false => suitable.find(takes_all).unwrap_or(first),
    };
    Some((best.0.to_owned(), best.1.is_files()))
}

fn list_of_references<'p>(binder: &Binder<'p>) -> Option<&'p Property> {
    let all = names::REFERENCE.iter().chain(names::PICTURES);
    let all = all.filter_map(|name| binder.profile.property(name));
    all.into_iter().find(|property| property.is_files())
}

/// Returns what to do about a role that the model has no input for: the name of fal's variant that may have one.
fn no_input(binder: &Binder<'_>, role: Role) -> Option<String> {
    let model = &binder.profile.model;
    let variant = match (binder.media, role) {
        (Media::Video, Role::FirstFrame | Role::Unspecified) => "image-to-video",
        (Media::Video, Role::LastFrame) => "first-last-frame-to-video",
        (Media::Video, Role::Reference) => "reference-to-video",
        (Media::Image, Role::Source | Role::Mask | Role::Reference | Role::Unspecified) => "edit",
        (Media::Video, Role::Source | Role::Mask)
        | (Media::Image, Role::FirstFrame | Role::LastFrame) => return None,
    };
    let base = model
        .strip_suffix("/text-to-video")
        .or_else(|| model.strip_suffix("/text-to-image"));
    let sibling = format!("{}/{variant}", base.unwrap_or(model));
    let exists = bundle::names(binder.profile.provider).any(|name| name == sibling);
    exists.then(|| format!("use the model {sibling}, which has an input for it"))
}

fn role_name(role: Role) -> &'static str {
    let found = Role::ALL.iter().find(|(_, known)| *known == role);
    found.map_or("UNSPECIFIED", |(name, _)| name)
}
