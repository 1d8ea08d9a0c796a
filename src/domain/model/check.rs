//! Checks a whole input against the schema and the limits, after all fields are bound.

use serde_json::Value;

use super::binder::{Binder, sent};
use super::names;
use super::schema::{Form, Property};
use super::value::{listed, shown};

pub(super) fn all(binder: &mut Binder<'_>) {
    drop_ignored(binder);
    if !binder.profile.is_known() {
        return;
    }
    values(binder);
    required(binder);
    gates_and_lists(binder);
    limits(binder);
}

/// Drops what the model ignores because of another property, so that the report of what was sent is true.
fn drop_ignored(binder: &mut Binder<'_>) {
    let profile = binder.profile;
    let mut ignored = Vec::new();
    for name in binder.input.keys() {
        if let Some(by) = profile.ignored(name, |other| binder.is_set(other)) {
            ignored.push((name.clone(), by.to_owned()));
        }
    }
    for limit in &profile.limits {
        let set = limit
            .overrides
            .iter()
            .filter(|(name, _)| is_chosen(binder, name));
        for (by, names) in set {
            let names = names.iter().filter(|name| binder.is_set(name));
            ignored.extend(names.map(|name| (name.clone(), by.clone())));
        }
    }
    for (name, by) in ignored {
        let Some(value) = binder.input.remove(&name) else {
            continue;
        };
        let field = binder.field_of(&name);
        // A dropped file would change the picture.
        if field.starts_with("inputs") {
            binder.unsupported(
                &field,
                name.clone(),
                format!("the model ignores {name} together with {by}"),
            );
        } else {
            let details = format!(
                "the model ignores {name} together with {by}; {} was not sent",
                shown(&value)
            );
            binder.adapted(&field, &details);
        }
    }
}

/// Returns whether a property has a value that is not its schema's word for "not set".
fn is_chosen(binder: &Binder<'_>, name: &str) -> bool {
    let unset = |value: &Value| matches!(value.as_str(), Some("None" | "Not set"));
    binder.input.get(name).is_some_and(|value| !unset(value))
}

/// Checks types, choices and ranges: `params` are sent as they are, and limits may send values of their own.
fn values(binder: &mut Binder<'_>) {
    let profile = binder.profile;
    let mut wrong = Vec::new();
    for (name, value) in &binder.input {
        let Some(property) = profile.schema.properties.get(name) else {
            continue;
        };
        if !accepts(property, value) {
            wrong.push((name.clone(), value.clone(), property.expected(None)));
        }
    }
    for (name, value, allowed) in wrong {
        let field = binder.field_of(&name);
        binder.invalid(&field, shown(&value), allowed, "");
    }
}

fn accepts(property: &Property, value: &Value) -> bool {
    let form = match value {
        Value::Null => true,
        Value::Bool(_) => property.has(&Form::Boolean),
        Value::Number(number) => {
            property.has(&Form::Number) || property.has(&Form::Integer) && !number.is_f64()
        }
        Value::String(_) => property.has(&Form::Text) || property.has(&Form::File),
        Value::Array(_) => property
            .forms
            .iter()
            .any(|form| matches!(form, Form::List(_))),
        Value::Object(_) => property.has(&Form::Sides) || property.has(&Form::Object),
    };
    let is_free_number = value.is_number() && property.is_number() && !property.lists_numbers();
    let is_choice = property.choices.is_empty()
        || property.is_open
        || is_free_number
        || property.choices.contains(value)
        || matches!(value, Value::Object(_) | Value::Array(_));
    let in_range = value.as_f64().is_none_or(|number| {
        property.minimum.is_none_or(|least| number >= least)
            && property.maximum.is_none_or(|most| number <= most)
    });
    // A schema that does not say the form accepts any.
    (form || property.forms.is_empty()) && is_choice && in_range
}

/// Checks that each required property is set, or has a default.
fn required(binder: &mut Binder<'_>) {
    let profile = binder.profile;
    let is_missing = |name: &&String| {
        let has_default = profile
            .schema
            .properties
            .get(*name)
            .is_some_and(|it| it.default.is_some());
        !binder.is_set(name) && !has_default
    };
    let missing: Vec<_> = profile.schema.required.iter().filter(is_missing).collect();
    for name in missing {
        let property = profile.schema.properties.get(name);
        let is_file = names::is_file(name);
        let (field, hint) = match is_file {
            true => (
                "inputs".to_owned(),
                format!(
                    "the model requires a file as {name}; add one with its role ({})",
                    names::role(name)
                ),
            ),
            false => (
                format!("params.{name}"),
                format!("the model requires it; set params.{name}"),
            ),
        };
        let allowed = property
            .map(|property| property.expected(None))
            .filter(|allowed| !allowed.is_empty());
        binder.problem(&field, None, allowed, hint);
    }
}

/// Checks gates and the lengths of lists again: `params` may have changed them.
fn gates_and_lists(binder: &mut Binder<'_>) {
    let profile = binder.profile;
    let mut wrong = Vec::new();
    for (name, value) in &binder.input {
        for (other, gate) in profile.gate(name) {
            if profile.effective(&binder.input, &other).as_ref() != Some(&gate) {
                let hint = format!("{name} works only with {}", sent(&other, &gate));
                wrong.push((name.clone(), hint));
            }
        }
        let length = value.as_array().map_or(0, Vec::len);
        if let Some(most) = profile.max_items(name).filter(|most| length > *most) {
            wrong.push((name.clone(), format!("{name} takes at most {most} values")));
        }
    }
    for (name, hint) in wrong {
        let field = binder.field_of(&name);
        binder.problem(&field, None, None, hint);
    }
}

/// Checks limits between properties.
fn limits(binder: &mut Binder<'_>) {
    let profile = binder.profile;
    for limit in &profile.limits {
        let effective = |name: &String| profile.effective(&binder.input, name);
        let holds = |(name, values): (&String, &Vec<Value>)| {
            effective(name).is_some_and(|value| values.contains(&value))
        };
        if !limit.only.is_empty() && limit.when.iter().all(holds) {
            let broken = limit.only.iter().filter(|(name, values)| {
                binder
                    .input
                    .get(*name)
                    .is_some_and(|value| !values.contains(value))
            });
            let broken: Vec<_> = broken
                .map(|(name, values)| (name.clone(), listed(values)))
                .collect();
            let reason = |name: &String| {
                let own = sent(name, &effective(name)?);
                Some(match binder.is_set(name) {
                    true => own,
                    false => format!("the model's default {own}"),
                })
            };
            let when: Vec<_> = limit.when.keys().filter_map(reason).collect();
            for (name, allowed) in broken {
                let asked = binder.input.get(&name).map(shown).unwrap_or_default();
                let field = binder.field_of(&name);
                binder.invalid(
                    &field,
                    asked,
                    allowed,
                    format!("because of {}; change one of the two", when.join(" and ")),
                );
            }
        }
        let needing = limit.needs.iter().filter(|(name, _)| binder.is_set(name));
        let lacking =
            needing.flat_map(|(name, needed)| needed.iter().map(move |needed| (name, needed)));
        let lacking: Vec<_> = lacking
            .filter(|(_, needed)| !binder.is_set(needed))
            .collect();
        for (name, needed) in lacking {
            let field = binder.field_of(name);
            binder.problem(
                &field,
                None,
                None,
                format!("the model takes {name} only with {needed}; add it"),
            );
        }
    }
}
