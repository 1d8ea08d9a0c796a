//! Schemas of other versions: messages written with them are readable, and no schema was changed in a breaking way.

use apache_avro::schema_compatibility::SchemaCompatibility;
use serde_json::{Value as Json, json};

use super::*;
use crate::contract::receipt::Channel;
use crate::domain::Single;

fn all() -> [&'static Ours; 4] {
    [&REQUEST, &COMMAND, &EVENT, &RECEIPT]
}

fn visit(schema: &Json, seen: &mut impl FnMut(&Json)) {
    match schema {
        Json::Object(map) => {
            seen(schema);
            map.values().for_each(|value| visit(value, seen));
        }
        Json::Array(items) => items.iter().for_each(|item| visit(item, seen)),
        Json::Null | Json::Bool(_) | Json::Number(_) | Json::String(_) => {}
    }
}

#[test]
fn every_schema_is_named_as_its_file_and_every_enum_falls_back_to_unknown() {
    for ours in all() {
        let name = ours.schema.name().unwrap();
        assert_eq!(name.fullname(None), format!("genflow.v1.{}", ours.name));
        let mut enums = 0;
        visit(
            &serde_json::from_str(ours.text).unwrap(),
            &mut |node: &Json| {
                if node["type"] == "enum" {
                    enums += 1;
                    assert_eq!(node["default"], "UNKNOWN", "{node}");
                    assert_eq!(node["symbols"][0], "UNKNOWN", "{node}");
                }
            },
        );
        assert!(enums > 0, "{}", ours.name);
    }
}

/// Returns the symbols of the enum of that name, without `UNKNOWN`.
fn symbols(ours: &Ours, name: &str) -> Vec<String> {
    let mut symbols = Vec::new();
    let schema = serde_json::from_str(ours.text).unwrap();
    visit(&schema, &mut |node: &Json| {
        if node["type"] == "enum" && node["name"] == name {
            let all = node["symbols"].as_array().unwrap().iter().skip(1);
            symbols.extend(all.map(|symbol| symbol.as_str().unwrap().to_owned()));
        }
    });
    symbols
}

#[test]
fn the_schemas_have_every_event_type_and_every_channel() {
    for ours in [&*EVENT, &*REQUEST] {
        let types = EventType::ALL.map(EventType::as_str);
        assert_eq!(symbols(ours, "EventType"), types, "{}", ours.name);
    }
    let channels = Channel::ALL.map(Channel::as_str);
    assert_eq!(symbols(&RECEIPT, "Channel"), channels);
}

#[test]
fn every_former_version_reads_the_current_one_and_is_read_by_it() {
    let history = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("schemas/history");
    let mut versions = 0;
    for version in std::fs::read_dir(history).unwrap() {
        let folder = version.unwrap().path();
        versions += 1;
        for ours in all() {
            let file = folder.join(format!("{}.avsc", ours.name));
            let former = Schema::parse_str(&std::fs::read_to_string(&file).unwrap()).unwrap();

            SchemaCompatibility::can_read(&former, &ours.schema)
                .unwrap_or_else(|error| panic!("{} cannot be read now: {error}", file.display()));
            SchemaCompatibility::can_read(&ours.schema, &former)
                .unwrap_or_else(|error| panic!("{} cannot read ours: {error}", file.display()));
        }
    }
    assert!(versions > 0);
}

/// Edits every node of that `name` in the schema's JSON.
fn edited(ours: &Ours, name: &str, edit: impl Fn(&mut Json)) -> Schema {
    fn walk(node: &mut Json, name: &str, edit: &impl Fn(&mut Json)) {
        if node["name"] == name && node.get("fields").or_else(|| node.get("symbols")).is_some() {
            edit(node);
        }
        match node {
            Json::Object(map) => map.values_mut().for_each(|node| walk(node, name, edit)),
            Json::Array(items) => items.iter_mut().for_each(|node| walk(node, name, edit)),
            Json::Null | Json::Bool(_) | Json::Number(_) | Json::String(_) => {}
        }
    }
    let mut text = serde_json::from_str(ours.text).unwrap();
    walk(&mut text, name, &edit);
    Schema::parse_str(&text.to_string()).unwrap()
}

fn push(node: &mut Json, list: &str, item: Json) {
    node[list].as_array_mut().unwrap().push(item);
}

fn without(node: &mut Json, fields: &[&str]) {
    let list = node["fields"].as_array_mut().unwrap();
    list.retain(|field| !fields.contains(&field["name"].as_str().unwrap()));
}

/// Writes `request` with another schema, as a producer of another version would.
fn written_with(writer: &Schema, request: &Request) -> Vec<u8> {
    let datum = write_request(request).unwrap();
    let value = datum::read(&REQUEST.schema, &datum).unwrap();
    let value = resolve::resolve(value, &REQUEST.schema, writer).unwrap();
    GenericDatumWriter::builder(writer)
        .build()
        .unwrap()
        .write_value_to_vec(value)
        .unwrap()
}

#[test]
fn a_later_producer_with_more_nested_fields_is_understood() {
    let hints = json!({"name": "hints", "type": ["null", {"type": "record", "name": "Hints", "fields": [
        {"name": "mood", "type": {"type": "enum", "name": "Mood", "symbols": ["UNKNOWN", "CALM"], "default": "UNKNOWN"}, "default": "CALM"},
        {"name": "more", "type": {"type": "map", "values": {"type": "array", "items": "Mood"}}, "default": {}},
    ]}], "default": null});
    let origin = json!({"name": "origin", "default": {}, "type": {"type": "record", "name": "Origin", "fields": [
        {"name": "region", "type": "string", "default": "eu"},
        {"name": "tier", "type": {"type": "enum", "name": "Tier", "symbols": ["UNKNOWN", "GOLD"], "default": "UNKNOWN"}, "default": "GOLD"},
    ]}});
    let writer = edited(&REQUEST, "VideoSpec", |node| {
        push(node, "fields", hints.clone());
    });
    for request in every_request() {
        let datum = written_with(&writer, &request);
        assert_eq!(read_request(&writer, &datum).unwrap(), request);
    }
    let writer = edited(&REQUEST, "GenerationRequest", |node| {
        node["fields"]
            .as_array_mut()
            .unwrap()
            .insert(1, origin.clone());
    });
    for request in every_request() {
        let datum = written_with(&writer, &request);
        assert_eq!(read_request(&writer, &datum).unwrap(), request);
    }
}

#[test]
fn an_earlier_producer_without_the_optional_fields_gets_their_defaults() {
    let writer = edited(&REQUEST, "GenerationRequest", |node| {
        without(
            node,
            &[
                "priority",
                "timeout_seconds",
                "webhook_url",
                "notify_email",
                "notify_slack",
            ],
        );
        without(node, &["notify_on", "metadata", "requested_at"]);
    });
    let writer = Schema::parse_str(&{
        let mut text = serde_json::to_value(&writer).unwrap();
        strip(
            &mut text,
            "ImageSpec",
            &[
                "width",
                "style",
                "provider",
                "params",
                "inputs",
                "on_unsupported",
                "seed",
            ],
        );
        text.to_string()
    })
    .unwrap();
    let request = bare(Single::Image(bare_image()).into());

    let read = read_request(&writer, &written_with(&writer, &request)).unwrap();

    let defaults = [
        EventType::Completed,
        EventType::Failed,
        EventType::Cancelled,
        EventType::Rejected,
    ];
    let expected = Request {
        notify_on: defaults.to_vec(),
        ..request
    };
    assert_eq!(read, expected);
}

fn strip(node: &mut Json, name: &str, fields: &[&str]) {
    if node["name"] == name && node.get("fields").is_some() {
        without(node, fields);
    }
    match node {
        Json::Object(map) => map.values_mut().for_each(|node| strip(node, name, fields)),
        Json::Array(items) => items.iter_mut().for_each(|node| strip(node, name, fields)),
        Json::Null | Json::Bool(_) | Json::Number(_) | Json::String(_) => {}
    }
}

#[test]
fn the_order_of_branches_and_symbols_is_the_writers_own() {
    let mut text: Json = serde_json::from_str(REQUEST.text).unwrap();
    let specs = text["fields"][2]["type"].as_array_mut().unwrap();
    let [video, image] = specs.get_disjoint_mut([0, 1]).unwrap();
    std::mem::swap(video, image);
    // A type is defined where it is first named, so a swap of the branches must swap the definitions back.
    let mut definitions: Vec<_> = video["fields"].as_array_mut().unwrap().iter_mut().collect();
    for field in image["fields"].as_array_mut().unwrap() {
        let other = definitions
            .iter_mut()
            .find(|other| other["name"] == field["name"]);
        if let Some(other) = other {
            std::mem::swap(*other, field);
        }
    }
    let writer = Schema::parse_str(&text.to_string()).unwrap();
    let writer = {
        let mut text = serde_json::to_value(&writer).unwrap();
        reverse_symbols(&mut text);
        Schema::parse_str(&text.to_string()).unwrap()
    };
    for request in every_request() {
        let datum = written_with(&writer, &request);

        assert_eq!(read_request(&writer, &datum).unwrap(), request);
    }
}

fn reverse_symbols(node: &mut Json) {
    if let Some(symbols) = node.get_mut("symbols").and_then(Json::as_array_mut) {
        symbols.reverse();
    }
    match node {
        Json::Object(map) => map.values_mut().for_each(reverse_symbols),
        Json::Array(items) => items.iter_mut().for_each(reverse_symbols),
        Json::Null | Json::Bool(_) | Json::Number(_) | Json::String(_) => {}
    }
}

#[test]
fn a_symbol_of_a_later_version_is_read_as_unknown() {
    let writer = edited(&COMMAND, "Action", |node| {
        push(node, "symbols", json!("PAUSE"));
    });
    let mut record = apache_avro::types::Record::new(&writer).unwrap();
    for (name, text) in [("command_id", "c"), ("request_id", "r")] {
        record.put(name, text);
    }
    record.put(
        "action",
        apache_avro::types::Value::Enum(3, "PAUSE".to_owned()),
    );
    for name in ["reason", "issued_by", "issued_at"] {
        record.put(name, None::<&str>);
    }
    let datum = GenericDatumWriter::builder(&writer)
        .build()
        .unwrap()
        .write_value_to_vec(record)
        .unwrap();

    let error = read_command(&writer, &datum).unwrap_err();

    assert_eq!(
        error.to_string(),
        "action is unknown, expected CANCEL or RETRY"
    );
}

#[test]
fn a_symbol_of_a_later_version_in_a_request_refuses_it_only_where_it_says_how_to_run() {
    let renamed = |name: &str, symbol: &str| {
        edited(&REQUEST, name, |node| {
            let symbols = node["symbols"].as_array_mut().unwrap();
            let known = symbols.iter_mut().find(|known| **known == symbol);
            *known.unwrap() = json!("LATER");
        })
    };
    let request = Request {
        priority: Priority::High,
        notify_on: vec![EventType::Started, EventType::Failed],
        ..bare(Spec::Batch(batch()))
    };
    let datum = write_request(&request).unwrap();
    let read = |name, symbol| read_request(&renamed(name, symbol), &datum);

    assert_eq!(read("Priority", "HIGH").unwrap().priority, Priority::Normal);
    assert_eq!(
        read("EventType", "STARTED").unwrap().notify_on,
        [EventType::Failed]
    );
    for (name, symbol, reported) in [
        ("BatchStrategy", "SEQUENTIAL", "spec.strategy is unknown"),
        ("OnFailure", "STOP", "spec.on_failure is unknown"),
        (
            "InputRole",
            "MASK",
            "spec.items[0].spec.inputs[5].role is unknown, expected one of UNSPECIFIED, FIRST_FRAME, ",
        ),
        (
            "OnUnsupported",
            "DROP",
            "spec.items[0].spec.on_unsupported is unknown, expected REFUSE or DROP",
        ),
    ] {
        let error = read(name, symbol).unwrap_err().to_string();
        assert!(error.contains(reported), "{error}");
    }
}

#[test]
fn an_input_that_is_no_address_and_a_provider_that_is_unknown_are_named_by_their_place() {
    let request = bare(Single::Image(image()).into());
    let datum = write_request(&request).unwrap();
    let with = |from: &[u8], to: &[u8]| {
        let at = datum.windows(from.len()).position(|part| part == from);
        let mut datum = datum.clone();
        datum[at.unwrap()..][..to.len()].copy_from_slice(to);
        read_request(&REQUEST.schema, &datum)
            .unwrap_err()
            .to_string()
    };

    assert_eq!(
        with(b"https://example.com/in.png", b"gopher"),
        "spec.inputs[0].url is not an http or https URL"
    );
    // Which names are configured, the settings decide.
    let refused = with(b"openai", b"Closed");
    let expected = "spec.fallback[0].provider is \"Closed\", expected the name of a provider";
    assert!(refused.starts_with(expected), "{refused}");
}

#[test]
fn an_event_with_an_error_code_of_a_later_version_is_read() {
    let mut datum = write(&EVENT, &full_event()).unwrap();
    let (ours, later) = (b"provider_failed", b"provider_yawned");
    let at = datum.windows(ours.len()).position(|part| part == ours);
    let at = at.unwrap();
    datum[at..at + ours.len()].copy_from_slice(later);

    let error = read_event(&EVENT.schema, &datum).unwrap().error.unwrap();

    assert_eq!(
        (error.code, error.message.as_str()),
        (ErrorCode::Unknown, "boom")
    );
}

#[test]
fn a_spec_of_a_later_version_is_not_taken_for_another() {
    let mut text: Json = serde_json::from_str(REQUEST.text).unwrap();
    let audio = json!({"type": "record", "name": "AudioSpec", "fields": [{"name": "prompt", "type": "string"}]});
    push(&mut text["fields"][2], "type", audio);
    let writer = Schema::parse_str(&text.to_string()).unwrap();
    let ours = write_request(&bare(Single::Image(bare_image()).into())).unwrap();
    let Value::Record(mut fields) = datum::read(&writer, &ours).unwrap() else {
        panic!("not a record");
    };
    let prompt = vec![("prompt".to_owned(), Value::String("x".to_owned()))];
    fields[2].1 = Value::Union(3, Box::new(Value::Record(prompt)));
    let datum = GenericDatumWriter::builder(&writer)
        .build()
        .unwrap()
        .write_value_to_vec(Value::Record(fields))
        .unwrap();

    assert!(matches!(
        read_request(&writer, &datum),
        Err(Error::Datum(_))
    ));
}

#[test]
fn an_error_shows_nothing_of_the_record() {
    let secret = || Value::String("topsecret".to_owned());
    let spec = Value::Record(vec![("prompt".to_owned(), secret())]);
    for (field, kind, value) in [
        ("priority", json!("string"), secret()),
        ("timeout_seconds", json!("string"), secret()),
        ("metadata", json!("string"), secret()),
        (
            "requested_at",
            json!(["null", "string"]),
            Value::Union(1, Box::new(secret())),
        ),
        (
            "spec",
            json!({"type": "record", "name": "AudioSpec", "fields": [{"name": "prompt", "type": "string"}]}),
            spec,
        ),
    ] {
        let writer = json!({"type": "record", "name": "GenerationRequest", "namespace": "genflow.v1", "fields": [
            {"name": "request_id", "type": "string"},
            {"name": "user_id", "type": "string"},
            {"name": field, "type": kind},
        ]});
        let writer = Schema::parse_str(&writer.to_string()).unwrap();
        let fields = [
            ("request_id", secret()),
            ("user_id", secret()),
            (field, value),
        ];
        let fields = fields.map(|(name, value)| (name.to_owned(), value));
        let datum = GenericDatumWriter::builder(&writer)
            .build()
            .unwrap()
            .write_value_to_vec(Value::Record(fields.to_vec()))
            .unwrap();

        let error = anyhow::Error::from(read_request(&writer, &datum).unwrap_err());

        let shown = format!("{error:#} {error:?}");
        assert!(!shown.contains("topsecret"), "{field}: {shown}");
    }
}
