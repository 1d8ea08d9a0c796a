//! The JSON Schema of webhook bodies, made of the Avro schema of the events that they carry. It has no references, so that
//! it can be a part of another document.

use serde_json::{Map, Value, json};

/// Returns the JSON Schema of a webhook's body.
pub(super) fn webhook(event: &Value) -> Value {
    let mut data = convert(event);
    // Only the notifier may see it.
    data["properties"].as_object_mut().unwrap().remove("notify");
    json!({
        "$schema": "http://json-schema.org/draft-07/schema#",
        "title": "Webhook of genflow",
        "description": "The body of a webhook (Standard Webhooks 1.0). Later versions may add fields, and values to lists of values.",
        "type": "object",
        "required": ["type", "timestamp", "data"],
        "properties": {
            "type": {
                "type": "string",
                "description": "What happened, such as genflow.request.completed.",
                "pattern": "^genflow\\.request\\.[a-z]+$",
            },
            "timestamp": {
                "type": "string",
                "format": "date-time",
                "description": "When it happened.",
            },
            "data": data,
            "truncated": {
                "type": "boolean",
                "description": "True if the body lacks parts of the event, because it would be longer than 20 kB.",
            },
        },
    })
}

/// Converts an Avro schema: a record, a type, or the name of one that was defined before.
fn convert(avro: &Value) -> Value {
    match avro {
        Value::String(name) => primitive(name),
        Value::Array(union) => optional(union),
        _ => match avro["type"].as_str().unwrap() {
            "record" => record(avro),
            "array" => json!({ "type": "array", "items": convert(&avro["items"]) }),
            "map" => json!({ "type": "object", "additionalProperties": convert(&avro["values"]) }),
            // Not `enum`, because a later version may add a symbol.
            "enum" => json!({ "type": "string", "examples": avro["symbols"] }),
            name => logical(primitive(name), avro["logicalType"].as_str()),
        },
    }
}

fn primitive(name: &str) -> Value {
    let kind = match name {
        "string" | "boolean" => name,
        "int" | "long" => "integer",
        "float" | "double" => "number",
        // Of these, only the event types are named again, in `notify`.
        "bytes" | "EventType" => "string",
        other => panic!("no JSON Schema for {other}"),
    };
    json!({ "type": kind })
}

fn logical(mut schema: Value, kind: Option<&str>) -> Value {
    match kind {
        Some("uuid") => schema["format"] = "uuid".into(),
        Some("timestamp-millis") => {
            schema["description"] = "Milliseconds since the Unix epoch.".into();
        }
        _ => {}
    }
    schema
}

/// Converts a union of null and another type.
fn optional(union: &[Value]) -> Value {
    let [null, other] = union else {
        panic!("a union of more than two types");
    };
    assert_eq!(null, "null");
    let mut schema = convert(other);
    schema["type"] = json!([schema["type"], "null"]);
    schema
}

fn record(avro: &Value) -> Value {
    let fields = avro["fields"].as_array().unwrap();
    let name = |field: &Value| field["name"].as_str().unwrap().to_owned();
    let properties: Map<_, _> = fields
        .iter()
        .map(|field| {
            let mut schema = convert(&field["type"]);
            if let Some(doc) = field.get("doc") {
                schema["description"] = doc.clone();
            }
            (name(field), schema)
        })
        .collect();
    let required = fields.iter().filter(|field| field.get("default").is_none());
    let required: Vec<_> = required.map(name).collect();
    json!({
        "type": "object",
        "description": avro["doc"],
        "required": required,
        "properties": properties,
    })
}

/// Returns the schema without room for fields that it does not name.
pub(super) fn strict(mut schema: Value) -> Value {
    match &mut schema {
        Value::Object(fields) => {
            if fields.contains_key("properties") {
                fields.insert("additionalProperties".to_owned(), false.into());
            }
            for value in fields.values_mut() {
                *value = strict(value.take());
            }
        }
        Value::Array(values) => {
            for value in values {
                *value = strict(value.take());
            }
        }
        _ => {}
    }
    schema
}
