//! `params`: inputs by the model's own names. They win over every other field, so some names are kept from them.

use std::collections::BTreeMap;

use serde_json::Value;
use url::Url;

use crate::domain::invalid::beginning;
use crate::domain::{Faults, Invalid};

/// How many outputs a job makes, in the words of the models: `num_images` has a bound, and these would pass it by.
const COUNTS: [&str; 9] = [
    "n",
    "num_images",
    "num_outputs",
    "num_samples",
    "number_of_images",
    "number_of_outputs",
    "image_num",
    "sampleCount",
    "batch_size",
];

/// What decides how a provider answers, or to whom. genflow reads one kind of answer, and finds its jobs by
/// `genflow_id`: with another a job would be paid for and its result lost.
const PROTOCOL: [&str; 5] = [
    "stream",
    "partial_images",
    "sync_mode",
    "genflow_id",
    "fal_webhook",
];

/// The names are the same for all providers: the configured one and those of `fallback` are not known here.
pub(super) fn check(faults: &mut Faults, params: &BTreeMap<String, String>) {
    for (name, text) in params {
        let wanted = if matches!(name.as_str(), "model" | "version") {
            "would change the model, want it in spec.model"
        } else if COUNTS.contains(&name.as_str()) {
            "would change how many outputs are made, want spec.num_images"
        } else if PROTOCOL.contains(&name.as_str()) || name.starts_with("webhook") {
            "would change how the provider answers genflow, want it left out"
        } else {
            ""
        };
        let shown = beginning(name);
        if !wanted.is_empty() {
            faults.add("spec.params", format!("has {shown:?}, which {wanted}"));
        }
        if let Err(error) = serde_json::from_str::<Value>(text) {
            let problem = format!("has {shown:?}, whose value is not JSON text: {error}");
            faults.add("spec.params", problem);
        }
    }
}

/// Returns each http or https URL in the values of `params`, with the beginning of its name.
///
/// # Errors
/// The name of one whose host another parser may read otherwise: a backslash is a slash to some, part of the host to
/// others. It goes to the provider as it is written.
pub(crate) fn urls(params: &BTreeMap<String, String>) -> Result<Vec<(String, Url)>, Invalid> {
    let mut found = Vec::new();
    for (name, text) in params {
        // A value that is not JSON text was refused before.
        let value = serde_json::from_str(text).unwrap_or_default();
        collect(name, &value, &mut found)?;
    }
    Ok(found)
}

fn collect(name: &str, value: &Value, found: &mut Vec<(String, Url)>) -> Result<(), Invalid> {
    match value {
        Value::String(text) => {
            let parsed = Url::parse(text).ok();
            let Some(url) = parsed.filter(|url| matches!(url.scheme(), "http" | "https")) else {
                return Ok(());
            };
            if text.contains(|c: char| c == '\\' || c.is_whitespace() || c.is_control()) {
                let shown = beginning(name);
                let problem = format!(
                    "has {shown:?}, whose URL holds a space or backslash, want it percent-encoded"
                );
                return Err(Invalid::new("spec.params", problem));
            }
            found.push((beginning(name), url));
            Ok(())
        }
        Value::Array(items) => items.iter().try_for_each(|item| collect(name, item, found)),
        Value::Object(fields) => fields
            .values()
            .try_for_each(|field| collect(name, field, found)),
        Value::Null | Value::Bool(_) | Value::Number(_) => Ok(()),
    }
}
