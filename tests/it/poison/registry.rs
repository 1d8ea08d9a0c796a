//! A faulty registry, and producers with other versions of the schema.

use apache_avro::Schema;
use apache_avro::reader::datum::GenericDatumReader;
use apache_avro::types::Value;
use apache_avro::writer::datum::GenericDatumWriter;
use genflow::contract::avro;
use genflow::domain::{EventType, Request};
use genflow::engines::kafka::Headers;
use serde_json::{Value as Json, json};

use crate::support::ledger::types;
use crate::support::proxy::{Fault, Proxy};
use crate::support::requests::image;
use crate::support::{Space, Watched, nowhere};

/// Registers another version of the schema of requests, like a producer of that version; returns its id and the schema.
pub(super) async fn registered(
    space: &Space,
    subject: &str,
    edit: impl FnOnce(&mut Json),
) -> (u32, Schema) {
    let mut text: Json = serde_json::from_str(avro::REQUEST.text).unwrap();
    edit(&mut text);
    let url = format!(
        "{}/subjects/{subject}/versions",
        space
            .config
            .schema_registry
            .url
            .as_str()
            .trim_end_matches('/')
    );
    let body = json!({ "schema": text.to_string() });
    let answer = reqwest::Client::new().post(url).json(&body).send();
    let answer = answer.await.unwrap().text().await.unwrap();
    let id = serde_json::from_str::<Json>(&answer).unwrap()["id"].as_u64();
    let id = id.unwrap_or_else(|| panic!("not registered: {answer}"));
    (
        u32::try_from(id).unwrap(),
        Schema::parse_str(&text.to_string()).unwrap(),
    )
}

fn subject(space: &Space) -> String {
    format!("{}-value", space.config.kafka.topics.requests)
}

async fn send_framed(space: &Space, request: &Request, id: u32, datum: &[u8]) {
    let topic = &space.config.kafka.topics.requests;
    let value = avro::frame(id, datum);
    space
        .produce(topic, request.id.as_str(), Some(&value), Headers::new())
        .await;
}

/// Sends a request with a schema that is not in any cache yet.
async fn send_anew(space: &Space, request: &Request) {
    let name = format!("extra_{}", request.id.as_str().replace('-', "_"));
    let (id, _) = registered(space, &subject(space), |text| {
        let field = json!({"name": name, "type": ["null", "string"], "default": null});
        text["fields"].as_array_mut().unwrap().push(field);
    })
    .await;
    let datum = [&avro::write_request(request).unwrap()[..], &[0]].concat();
    send_framed(space, request, id, &datum).await;
}

#[tokio::test]
async fn while_the_registry_is_in_trouble_a_record_waits_and_nothing_is_dead_lettered() {
    let space = Space::new().await;
    let address = nowhere();
    let url = format!("http://{address}");
    let intake = Watched::start(&space, "intake", &[("SCHEMA_REGISTRY_URL", &url)]);
    let _worker = space.start(&["worker"]);
    let refused = image("refused");
    send_anew(&space, &refused).await;
    waits(&space, &intake).await;

    let proxy = Proxy::at(address, space.config.schema_registry.url.as_str()).await;

    completes(&space, &intake, &refused).await;
    let faults = [500, 503, 429, 401, 403, 404].map(Fault::Status);
    for fault in faults.into_iter().chain([Fault::Silence]) {
        proxy.fault(Some(fault));
        let request = image("waits");
        send_anew(&space, &request).await;
        waits(&space, &intake).await;

        proxy.fault(None);

        completes(&space, &intake, &request).await;
    }
    assert_eq!(space.dead_letters().await.len(), 0);
}

async fn waits(space: &Space, intake: &Watched) {
    // Unavailable, or it answers with a status, or it denies the call.
    intake.says("readyz", "the schema registry ").await;
    assert_eq!(intake.status("readyz").await, 503);
    assert_eq!(space.dead_letters().await.len(), 0);
}

async fn completes(space: &Space, intake: &Watched, request: &Request) {
    let events = space.story(request.id.as_str()).await;
    assert_eq!(types(&events).last(), Some(&EventType::Completed));
    intake
        .says("readyz", "\"role\":\"intake\",\"ready\":true")
        .await;
}

/// Returns the fields of a request's datum.
fn fields_of(request: &Request) -> Vec<(String, Value)> {
    let datum = avro::write_request(request).unwrap();
    let reader = GenericDatumReader::builder(&avro::REQUEST.schema)
        .build()
        .unwrap();
    match reader.read_value(&mut datum.as_slice()).unwrap() {
        Value::Record(fields) => fields,
        other => panic!("not a record: {other:?}"),
    }
}

fn written(schema: &Schema, fields: Vec<(String, Value)>) -> Vec<u8> {
    let writer = GenericDatumWriter::builder(schema).build().unwrap();
    writer.write_value_to_vec(Value::Record(fields)).unwrap()
}

/// Returns the definition of that name, at any depth.
fn node<'j>(json: &'j mut Json, name: &str) -> Option<&'j mut Json> {
    if json["name"] == name && (json.get("symbols").is_some() || json.get("fields").is_some()) {
        return Some(json);
    }
    match json {
        Json::Object(map) => map.values_mut().find_map(|json| node(json, name)),
        Json::Array(items) => items.iter_mut().find_map(|json| node(json, name)),
        _ => None,
    }
}

fn push(json: &mut Json, name: &str, list: &str, item: Json) {
    let node = node(json, name).unwrap();
    node[list].as_array_mut().unwrap().push(item);
}

#[tokio::test]
async fn a_producer_with_an_older_schema_is_understood() {
    let space = Space::new().await;
    let _all = space.start(&["all"]);
    let left_out = ["priority", "notify_on", "metadata", "requested_at"];
    let (id, older) = registered(&space, &subject(&space), |text| {
        let fields = text["fields"].as_array_mut().unwrap();
        // The older schema still defines `EventType`, with the items of a batch.
        fields.retain(|field| !left_out.contains(&field["name"].as_str().unwrap()));
    })
    .await;
    let request = image("older");
    let mut fields = fields_of(&request);
    fields.retain(|(name, _)| !left_out.contains(&name.as_str()));

    send_framed(&space, &request, id, &written(&older, fields)).await;

    let events = space.story(request.id.as_str()).await;
    assert_eq!(types(&events).last(), Some(&EventType::Completed));
    assert!(events[0].metadata.is_empty(), "the default");
}

#[tokio::test]
async fn a_producer_with_a_newer_schema_is_understood() {
    let space = Space::new().await;
    let _all = space.start(&["all"]);
    let (id, newer) = registered(&space, &subject(&space), |text| {
        let campaign = json!({"name": "campaign", "type": "string", "default": ""});
        push(text, "GenerationRequest", "fields", campaign);
        let mood = json!({"name": "mood", "type": ["null", "long"], "default": null});
        push(text, "ImageSpec", "fields", mood);
        push(text, "Priority", "symbols", json!("URGENT"));
        push(text, "EventType", "symbols", json!("ARCHIVED"));
    })
    .await;
    let request = image("newer");
    let mut fields = fields_of(&request);
    fields.push(("campaign".to_owned(), Value::String("spring".to_owned())));
    for (name, value) in &mut fields {
        match (name.as_str(), value) {
            ("spec", Value::Union(1, spec)) => {
                let Value::Record(spec) = &mut **spec else {
                    panic!("not a record");
                };
                let mood = Value::Union(1, Box::new(Value::Long(7)));
                spec.push(("mood".to_owned(), mood));
            }
            ("priority", value) => *value = Value::Enum(4, "URGENT".to_owned()),
            ("notify_on", Value::Array(types)) => {
                types.push(Value::Enum(7, "ARCHIVED".to_owned()));
            }
            _ => {}
        }
    }

    send_framed(&space, &request, id, &written(&newer, fields)).await;

    let events = space.story(request.id.as_str()).await;
    assert_eq!(types(&events).last(), Some(&EventType::Completed));
    assert_eq!(events[0].metadata, request.metadata);
}
