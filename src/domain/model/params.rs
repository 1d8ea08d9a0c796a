//! `params`: inputs by the model's own names. They are merged last, so they win.

use std::collections::BTreeMap;

use serde_json::Value;

use super::binder::{Binder, sent};
use super::profile::Origin;
use super::value::shown;

/// How alike two names must be for one to be suggested for the other, from 0 to 1.
const ALIKE: f64 = 0.8;
/// A longer name gets no suggestion.
const LONGEST_NAME: usize = 100;

/// Merges the params; a null removes a property.
pub(super) fn merge(binder: &mut Binder<'_>, params: &BTreeMap<String, String>) {
    for (name, text) in params {
        let field = format!("params.{name}");
        let value: Value = match serde_json::from_str(text) {
            Ok(value) => value,
            Err(error) => {
                binder.invalid(&field, "", "JSON text".to_owned(), error.to_string());
                continue;
            }
        };
        let property = binder.profile.schema.properties.get(name);
        if is_credential(name) || property.is_some_and(|property| property.is_secret) {
            let hint = "params must not contain credentials; remove it".to_owned();
            binder.problem(&field, None, None, hint);
            continue;
        }
        // genflow's own copy of a schema may be older than the model, and has only what genflow binds.
        if property.is_none() && binder.profile.origin == Origin::Provider {
            let needs_hint = !binder.is_full() && !binder.drops();
            let nearest = needs_hint.then(|| nearest(binder, name)).flatten();
            let hint = nearest
                .map(|nearest| format!("the model has no such input; did you mean {nearest}"));
            binder.unsupported(&field, shown(&value), hint);
            continue;
        }
        let overridden = binder.input.get(name).filter(|mapped| **mapped != value);
        if let Some(mapped) = overridden {
            let details = format!("{field} replaced {}", sent(name, mapped));
            binder.overridden(&binder.field_of(name), &details);
        }
        match value.is_null() {
            true => drop(binder.input.remove(name)),
            false => drop(binder.input.insert(name.clone(), value)),
        }
        binder.origins.insert(name.clone(), field);
    }
}

/// Returns whether a name is that of a credential.
fn is_credential(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    ["api_key", "apikey", "secret", "password", "_token"]
        .iter()
        .any(|end| name.ends_with(end))
}

/// Returns the property whose name is most like `name`.
fn nearest<'p>(binder: &Binder<'p>, name: &str) -> Option<&'p str> {
    if name.len() > LONGEST_NAME {
        return None;
    }
    let likeness = |other: &&String| strsim::jaro_winkler(name, other);
    let names = binder.profile.schema.properties.keys();
    let best = names.max_by(|one, other| likeness(one).total_cmp(&likeness(other)))?;
    (likeness(&best) >= ALIKE).then_some(best)
}
