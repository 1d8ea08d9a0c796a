//! The models: their input schemas, which the simulator publishes and checks as the real APIs do.
//!
//! A known model has the schema of genflow's own copy; any other has a usual one. Inputs that a schema does not have are
//! ignored, as on the real APIs, so an input under a wrong name is lost and a test notices it.

use serde_json::{Map, Value, json};

use crate::domain::ProviderName;
use crate::domain::model::bundle;

/// A value that the schema does not accept.
pub(super) struct Fault {
    /// The property's name.
    pub(super) field: String,
    /// Replicate's word for the kind of fault.
    pub(super) kind: &'static str,
    pub(super) description: String,
}

/// Returns the schema of a model's input, with `sim` for the script.
pub(super) fn input(provider: ProviderName, model: &str) -> Value {
    let mut schema = match bundle::input(provider, model) {
        Some(known) => known.clone(),
        None => usual(model),
    };
    schema["type"] = json!("object");
    schema["properties"]["sim"] = json!({"type": "object"});
    schema
}

/// Returns the schema of a model that genflow does not know: exact sizes, and files.
fn usual(model: &str) -> Value {
    let (width, height) = if model.contains("video") {
        (1280, 720)
    } else {
        (1024, 1024)
    };
    let file = json!({"type": "string", "format": "uri"});
    let properties = json!({
        "prompt": {"type": "string"},
        "negative_prompt": {"type": "string"},
        "seed": {"type": "integer"},
        "style": {"type": "string"},
        "width": {"type": "integer", "minimum": 1, "maximum": 8192, "default": width},
        "height": {"type": "integer", "minimum": 1, "maximum": 8192, "default": height},
        "num_outputs": {"type": "integer", "minimum": 1, "maximum": 100, "default": 1},
        "output_format": {"type": "string", "enum": ["png"]},
        "duration": {"type": "number", "minimum": 0.1, "maximum": 3600},
        "resolution": {"type": "string"},
        "fps": {"type": "number", "minimum": 1, "maximum": 120},
        "generate_audio": {"type": "boolean"},
        "image": file,
        "last_image": file,
        "mask": file,
    });
    json!({"properties": properties, "required": ["prompt"]})
}

/// Removes what the schema does not have, and nulls: the model does not see them.
pub(super) fn seen(schema: &Value, mut input: Value) -> Value {
    if let Value::Object(fields) = &mut input {
        fields.retain(|name, value| schema["properties"].get(name).is_some() && !value.is_null());
    }
    input
}

/// Checks an input against a schema.
pub(super) fn faults(schema: &Value, input: &Map<String, Value>) -> Vec<Fault> {
    let required = schema["required"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(Value::as_str);
    let missing = required.filter(|name| !input.contains_key(*name));
    let missing = missing.map(|name| Fault {
        field: name.to_owned(),
        kind: "required",
        description: format!("{name} is required"),
    });
    let wrong = input.iter().filter_map(|(name, value)| {
        let (kind, description) = fault(schema["properties"].get(name)?, value)?;
        Some(Fault {
            field: name.clone(),
            kind,
            description: format!("{name} {description}"),
        })
    });
    missing.chain(wrong).collect()
}

fn fault(property: &Value, value: &Value) -> Option<(&'static str, String)> {
    if let Some(alternatives) = property["anyOf"].as_array() {
        let faults: Option<Vec<_>> = alternatives.iter().map(|it| fault(it, value)).collect();
        return faults?.into_iter().next();
    }
    let suits = match property["type"].as_str() {
        Some("string") => value.is_string(),
        Some("integer") => value.is_i64() || value.is_u64(),
        Some("number") => value.is_number(),
        Some("boolean") => value.is_boolean(),
        Some("array") => value.is_array(),
        Some("object") => value.is_object(),
        Some(_) | None => true,
    };
    if !suits {
        return Some((
            "invalid_type",
            format!("must be of type {}", property["type"]),
        ));
    }
    if let Some(choices) = property["enum"].as_array()
        && !choices.contains(value)
    {
        return Some((
            "enum",
            format!("must be one of the following: {}", property["enum"]),
        ));
    }
    let number = value.as_f64()?;
    let beyond = |limit: &str| property[limit].as_f64();
    if beyond("maximum").is_some_and(|most| number > most) {
        return Some((
            "number_lte",
            format!("must be less than or equal to {}", property["maximum"]),
        ));
    }
    if beyond("minimum").is_some_and(|least| number < least) {
        return Some((
            "number_gte",
            format!("must be greater than or equal to {}", property["minimum"]),
        ));
    }
    None
}
