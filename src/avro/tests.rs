use std::collections::BTreeMap;

use apache_avro::schema_compatibility::SchemaCompatibility;
use serde_json::{Value as Json, json};

use super::*;
use crate::domain::{
    BatchSummary, ErrorCode, EventError, Generated, Notify, Output, Progress, RecordPosition,
    Sealed,
};

fn id<T: TryFrom<String>>(text: &str) -> T
where
    T::Error: std::fmt::Debug,
{
    text.to_owned().try_into().unwrap()
}

fn names(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    pairs
        .iter()
        .map(|(name, text)| ((*name).to_owned(), (*text).to_owned()))
        .collect()
}

fn video() -> VideoSpec {
    VideoSpec {
        prompt: "a lake at dawn, наводнение".to_owned(),
        duration: 7,
        resolution: "1280x720".to_owned(),
        fps: 24,
        style: "noir".to_owned(),
        provider: Some(ProviderName::Replicate),
        model: Some("owner/name:abc".to_owned()),
        params: names(&[("seed", "7"), ("steps", "[1, 2]")]),
        input_urls: vec!["https://example.com/in.png".to_owned()],
    }
}

fn image() -> ImageSpec {
    ImageSpec {
        prompt: "a cat".to_owned(),
        width: 512,
        height: 768,
        style: "sketch".to_owned(),
        num_images: 4,
        provider: Some(ProviderName::Replicate),
        model: Some("owner/name".to_owned()),
        params: names(&[("seed", "7")]),
        input_urls: vec!["https://example.com/in.png".to_owned()],
    }
}

fn bare_video() -> VideoSpec {
    VideoSpec {
        prompt: "x".to_owned(),
        ..VideoSpec::default()
    }
}

fn bare_image() -> ImageSpec {
    ImageSpec {
        prompt: "x".to_owned(),
        ..ImageSpec::default()
    }
}

fn bare(spec: Spec) -> Request {
    Request {
        id: id("r-1"),
        user: id("u"),
        spec,
        priority: Priority::Normal,
        timeout: None,
        targets: Targets::default(),
        notify_on: Vec::new(),
        metadata: BTreeMap::new(),
        requested_at: None,
    }
}

fn full(spec: Spec) -> Request {
    Request {
        priority: Priority::High,
        timeout: Some(Duration::from_secs(90)),
        targets: Targets::parse(
            Some("https://example.com/hook?a=b"),
            Some("a@example.com"),
            Some("https://hooks.example.com/s"),
        )
        .unwrap(),
        notify_on: vec![
            EventType::Started,
            EventType::Progress,
            EventType::Completed,
            EventType::Failed,
            EventType::Cancelled,
            EventType::Rejected,
        ],
        metadata: names(&[("order", "7"), ("shop", "Zürich")]),
        requested_at: Some(1_700_000_000_123),
        ..bare(spec)
    }
}

fn batch() -> BatchSpec {
    BatchSpec {
        strategy: Strategy::Sequential,
        max_concurrent: 9,
        on_failure: OnFailure::Stop,
        items: vec![
            BatchItem {
                request_id: id("i-1"),
                spec: Spec::Image(image()),
                webhook_url: Some("https://example.com/item".parse().unwrap()),
                notify_on: vec![EventType::Completed],
                metadata: names(&[("k", "v")]),
            },
            BatchItem {
                request_id: id("i-2"),
                spec: Spec::Video(video()),
                webhook_url: None,
                notify_on: Vec::new(),
                metadata: BTreeMap::new(),
            },
            BatchItem {
                request_id: id("i-3"),
                spec: Spec::Image(bare_image()),
                webhook_url: None,
                notify_on: Vec::new(),
                metadata: BTreeMap::new(),
            },
        ],
    }
}

fn every_request() -> Vec<Request> {
    let small = BatchSpec {
        strategy: Strategy::Parallel,
        max_concurrent: 3,
        on_failure: OnFailure::Continue,
        items: batch().items.split_off(2),
    };
    let specs = [
        Spec::Video(video()),
        Spec::Video(bare_video()),
        Spec::Image(image()),
        Spec::Image(bare_image()),
        Spec::Batch(batch()),
        Spec::Batch(small),
    ];
    let mut requests = Vec::new();
    for spec in specs {
        requests.push(bare(spec.clone()));
        requests.push(full(spec));
    }
    requests
}

#[test]
fn every_request_reads_back_as_it_was_written() {
    for request in every_request() {
        let datum = write_request(&request).unwrap();

        assert_eq!(read_request(&REQUEST.schema, &datum).unwrap(), request);
    }
}

#[test]
fn every_priority_reads_back_as_it_was_written() {
    for priority in [Priority::Low, Priority::Normal, Priority::High] {
        let request = Request {
            priority,
            ..bare(Spec::Image(bare_image()))
        };

        let datum = write_request(&request).unwrap();

        assert_eq!(
            read_request(&REQUEST.schema, &datum).unwrap().priority,
            priority
        );
    }
}

#[test]
fn a_batch_within_a_batch_is_not_written() {
    let mut outer = batch();
    outer.items[0].spec = Spec::Batch(batch());

    assert!(write_request(&bare(Spec::Batch(outer))).is_err());
}

#[test]
fn every_command_reads_back_as_it_was_written() {
    for action in [Action::Cancel, Action::Retry] {
        for text in [None, Some("because".to_owned())] {
            let command = Command {
                id: id("c-1"),
                request: id("r-1"),
                action,
                reason: text.clone(),
                issued_by: text,
            };

            let datum = write_command(&command, Some(1_700_000_000_123)).unwrap();

            assert_eq!(read_command(&COMMAND.schema, &datum).unwrap(), command);
        }
    }
}

fn bare_event() -> Event {
    Event {
        event_id: "92f851a0-b346-56ba-a96a-2664761e241d".to_owned(),
        request_id: "r-1".to_owned(),
        retry: 0,
        sequence: 0,
        batch_id: None,
        user_id: "u".to_owned(),
        kind: Kind::Unknown,
        kind_of_event: EventType::Started,
        occurred_at: 1_700_000_000_123,
        workflow_id: None,
        run_id: None,
        progress: None,
        result: None,
        batch: None,
        error: None,
        record: None,
        notify: None,
        metadata: BTreeMap::new(),
    }
}

fn output() -> Output {
    Output {
        uri: "file:///results/a.png".to_owned(),
        url: None,
        content_type: "image/png".to_owned(),
        bytes: 5_000_000_000,
        sha256: "ab".repeat(32),
        width: None,
        height: None,
        duration_seconds: None,
    }
}

fn full_event() -> Event {
    Event {
        retry: 2,
        sequence: 5,
        batch_id: Some("b-1".to_owned()),
        kind: Kind::Video,
        kind_of_event: EventType::Failed,
        workflow_id: Some("r-1~2".to_owned()),
        run_id: Some("run".to_owned()),
        progress: Some(Progress {
            percent: 40,
            stage: "processing".to_owned(),
            message: Some("step 4".to_owned()),
        }),
        result: Some(Generated {
            outputs: vec![
                output(),
                Output {
                    url: Some("https://cdn.example.com/a.png".to_owned()),
                    width: Some(1),
                    height: Some(2),
                    duration_seconds: Some(1.5),
                    ..output()
                },
            ],
            provider: "replicate".to_owned(),
            provider_job_id: "job".to_owned(),
            elapsed_ms: 12_345,
            cost_usd: Some(0.02),
        }),
        batch: Some(BatchSummary {
            total: 5,
            completed: 1,
            failed: 2,
            cancelled: 1,
            not_started: 1,
        }),
        error: Some(EventError::new(ErrorCode::ProviderFailed, "boom", true)),
        record: Some(RecordPosition {
            topic: "gen.requests".to_owned(),
            partition: 3,
            offset: 9_000_000_000,
        }),
        notify: Some(Notify {
            on: vec![EventType::Completed, EventType::Rejected],
            sealed: Sealed(vec![0, 1, 254, 255]),
        }),
        metadata: names(&[("order", "7")]),
        ..bare_event()
    }
}

#[test]
fn every_event_reads_back_as_it_was_written() {
    for event in [bare_event(), full_event()] {
        let datum = write(&EVENT, &event).unwrap();

        assert_eq!(read_event(&EVENT.schema, &datum).unwrap(), event);
    }
}

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

/// Writes `request` with another schema: as a producer of another version would.
fn written_with(writer: &Schema, request: &Request) -> Vec<u8> {
    let datum = write_request(request).unwrap();
    let mut rest = datum.as_slice();
    let reader = GenericDatumReader::builder(&REQUEST.schema)
        .build()
        .unwrap();
    let value = reader.read_value(&mut rest).unwrap();
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
            &["width", "style", "provider", "params", "input_urls"],
        );
        text.to_string()
    })
    .unwrap();
    let request = bare(Spec::Image(bare_image()));

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
    let spec = &mut text["fields"][2]["type"];
    spec.as_array_mut().unwrap().swap(0, 1);
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

    assert_eq!(error.to_string(), "action is unknown, want CANCEL or RETRY");
}

#[test]
fn a_spec_of_a_later_version_is_not_taken_for_another() {
    let mut text: Json = serde_json::from_str(REQUEST.text).unwrap();
    let audio = json!({"type": "record", "name": "AudioSpec", "fields": [{"name": "prompt", "type": "string"}]});
    push(&mut text["fields"][2], "type", audio);
    let writer = Schema::parse_str(&text.to_string()).unwrap();
    let ours = write_request(&bare(Spec::Image(bare_image()))).unwrap();
    let reader = GenericDatumReader::builder(&writer).build().unwrap();
    let Value::Record(mut fields) = reader.read_value(&mut ours.as_slice()).unwrap() else {
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
