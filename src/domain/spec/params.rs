//! `params`: inputs by the model's own names. They override every other field, so some names are not allowed.

use std::collections::BTreeMap;

use serde_json::Value;
use url::Url;

use crate::domain::invalid::beginning;
use crate::domain::{Invalid, InvalidFields, parse_http_url};

/// The models' names for the number of outputs. `spec.num_images` has a bound, which these would bypass.
const COUNTS: [&str; 10] = [
    "n",
    "num_images",
    "num_outputs",
    "num_samples",
    "number_of_images",
    "number_of_outputs",
    "image_num",
    "sampleCount",
    "batch_size",
    "max_images",
];

/// Names that change how the provider answers, or whom it calls. genflow reads one kind of answer and finds its
/// jobs by `genflow_id`; with another answer or id it would pay for a job and lose the result.
const PROTOCOL: [&str; 5] = [
    "stream",
    "partial_images",
    "sync_mode",
    "genflow_id",
    "fal_webhook",
];

/// Refuses reserved names, and values that are not JSON text. The names are the same for all providers, since the
/// provider of a request is not known here.
pub(super) fn check(faults: &mut InvalidFields, params: &BTreeMap<String, String>) {
    for (name, text) in params {
        let wanted = if matches!(name.as_str(), "model" | "version") {
            "would change the model; set spec.model instead"
        } else if COUNTS.contains(&name.as_str()) {
            "would change how many outputs are made; remove it, or for images set spec.num_images instead"
        } else if PROTOCOL.contains(&name.as_str()) || name.starts_with("webhook") {
            "would change how the provider answers genflow; remove it"
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

/// Returns each string in the values of `params`, at any depth, that is an http or https URL, with the first characters
/// of its param's name.
///
/// # Errors
/// Names the param whose URL another parser may read with a different host: some parsers read a backslash as a
/// slash, others as part of the host. The provider receives the URL as written.
pub(crate) fn urls(params: &BTreeMap<String, String>) -> Result<Vec<(String, Url)>, Invalid> {
    let mut found = Vec::new();
    for (name, text) in params {
        // Values that are not JSON text were refused earlier.
        let value = serde_json::from_str(text).unwrap_or_default();
        collect(name, &value, &mut found)?;
    }
    Ok(found)
}

fn collect(name: &str, value: &Value, found: &mut Vec<(String, Url)>) -> Result<(), Invalid> {
    match value {
        Value::String(text) => {
            let Some(url) = parse_http_url(text) else {
                return Ok(());
            };
            if text.contains(|c: char| c == '\\' || c.is_whitespace() || c.is_control()) {
                let shown = beginning(name);
                let problem = format!(
                    "has {shown:?}, whose URL contains a space, control character or backslash; percent-encode it"
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
