//! Compares answers with the document of the API: the part of JSON Schema that it uses. A field that it does not have is a
//! fault too, unless it has none at all.

use serde_json::Value;

/// Returns where a value does not fit a schema.
pub(super) fn fits(document: &Value, schema: &Value, value: &Value) -> Result<(), String> {
    if let Some(at) = schema["$ref"].as_str() {
        let schema = document.pointer(at.trim_start_matches('#'));
        let schema = schema.ok_or_else(|| format!("{at} is missing"))?;
        return fits(document, schema, value).map_err(|fault| format!("{at}: {fault}"));
    }
    for choice in ["oneOf", "anyOf"] {
        if let Some(schemas) = schema[choice].as_array() {
            let fitting = schemas
                .iter()
                .filter(|schema| fits(document, schema, value).is_ok());
            let is_right = fitting.count().min(if choice == "oneOf" { 2 } else { 1 }) == 1;
            return is_right
                .then_some(())
                .ok_or_else(|| format!("{choice} does not fit {value}"));
        }
    }
    if let Some(values) = schema["enum"].as_array()
        && !values.contains(value)
    {
        return Err(format!("{value} is not one of {values:?}"));
    }
    let types = match &schema["type"] {
        Value::Array(types) => types.clone(),
        Value::Null => Vec::new(),
        one => vec![one.clone()],
    };
    if !types.is_empty() && !types.iter().any(|kind| is_of(kind.as_str(), value)) {
        return Err(format!("{value} is not of {types:?}"));
    }
    for (at, item) in value.as_array().into_iter().flatten().enumerate() {
        fits(document, &schema["items"], item).map_err(|fault| format!("{at}: {fault}"))?;
    }
    let required = schema["required"].as_array().into_iter().flatten();
    for name in required
        .filter_map(Value::as_str)
        .filter(|_| value.is_object())
    {
        value
            .get(name)
            .ok_or_else(|| format!("{name} is missing"))?;
    }
    for (name, part) in value.as_object().into_iter().flatten() {
        let schema = match (&schema["properties"][name], &schema["additionalProperties"]) {
            (Value::Null, Value::Null) if schema["properties"].is_object() => {
                return Err(format!("{name} is not described"));
            }
            (Value::Null, others) => others,
            (known, _) => known,
        };
        fits(document, schema, part).map_err(|fault| format!("{name}: {fault}"))?;
    }
    Ok(())
}

fn is_of(kind: Option<&str>, value: &Value) -> bool {
    match kind {
        Some("string") => value.is_string(),
        Some("integer") => value.is_i64() || value.is_u64(),
        Some("number") => value.is_number(),
        Some("boolean") => value.is_boolean(),
        Some("array") => value.is_array(),
        Some("object") => value.is_object(),
        Some("null") => value.is_null(),
        _ => false,
    }
}
