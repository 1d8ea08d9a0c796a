//! The AsyncAPI document: the topics by the names that they have by default, their keys, headers and schemas, and the
//! webhooks.

use genflow::contract::avro;
use genflow::contract::avro::Ours;
use genflow::contract::headers;
use genflow::engines::config::{Config, Topics};
use serde_json::{Map, Value, json};

/// Headers of events, each with what it holds.
pub(super) const EVENT_HEADERS: [(&str, &str); 9] = [
    ("ce_specversion", "Version of CloudEvents: 1.0."),
    ("ce_id", "The event's id, the same on every copy."),
    (
        "ce_type",
        "What happened, such as genflow.request.completed.",
    ),
    ("ce_source", "The installation of genflow: CE_SOURCE."),
    ("ce_subject", "The request's id."),
    ("ce_time", "When it happened (RFC 3339)."),
    ("ce_dataschema", "URL of the schema in the registry."),
    (
        "content-type",
        "application/avro; the value is framed as Confluent does it.",
    ),
    (
        "traceparent",
        "Trace context (W3C), if the request's record had one or genflow traces.",
    ),
];

/// Headers of dead letters, beside those of the record itself.
const REFUSAL_HEADERS: [(&str, &str); 8] = [
    ("dlq.reason", "Why the record was refused, as a code."),
    ("dlq.error", "Why the record was refused, as text."),
    ("dlq.original.topic", "The record's topic."),
    ("dlq.original.partition", "The record's partition."),
    ("dlq.original.offset", "The record's offset."),
    (
        "dlq.original.timestamp",
        "The record's time, in milliseconds since the Unix epoch.",
    ),
    ("dlq.attempts", "How often the record was refused."),
    ("dlq.group", "The consumer group that refused it."),
];

const DELIVERY_HEADERS: [(&str, &str); 4] = [
    ("dlq.channel", "WEBHOOK, EMAIL or SLACK."),
    ("dlq.target_hash", "Hash of the target."),
    (
        "dlq.reason",
        "Why the notification was given up, as a code.",
    ),
    ("dlq.attempts", "How often it was tried."),
];

/// One topic: its name in the document, its name, the schema of its values, and what genflow does with it.
struct Row<'a> {
    name: &'static str,
    topic: &'a str,
    schema: Option<&'static str>,
    summary: &'static str,
}

/// Returns the document; `webhook` is the JSON Schema of webhooks.
pub(super) fn document(webhook: &Value) -> Value {
    let topics = Config::load(|_| None).unwrap().kafka.topics;
    let rows = rows(&topics);
    let channels: Map<_, _> = rows
        .iter()
        .map(Row::channel)
        .chain([webhook_channel()])
        .collect();
    let operations: Map<_, _> = rows
        .iter()
        .map(|row| operation(row.name, row.action(), row.summary))
        .chain([operation(
            "webhooks",
            "send",
            "genflow notifies the receiver of an event.",
        )])
        .collect();
    let mut messages: Map<_, _> = rows.iter().map(Row::message).collect();
    messages.insert("webhook".to_owned(), webhook_message(webhook));
    json!({
        "asyncapi": "3.0.0",
        "info": {
            "title": "genflow",
            "version": env!("CARGO_PKG_VERSION"),
            "description": "What genflow reads from Kafka, what it publishes there, and its webhooks. An installation may give \
                the topics other names.",
            "license": { "name": "Apache-2.0" },
        },
        "defaultContentType": "application/avro",
        "channels": channels,
        "operations": operations,
        "components": { "messages": messages, "schemas": schemas() },
    })
}

fn rows(topics: &Topics) -> [Row<'_>; 7] {
    let row = |name, topic, schema, summary| Row {
        name,
        topic,
        schema,
        summary,
    };
    let event = Some("GenerationEvent");
    [
        row(
            "requests",
            topics.requests.as_str(),
            Some("GenerationRequest"),
            "genflow runs each request once.",
        ),
        row(
            "commands",
            &topics.commands,
            Some("GenerationCommand"),
            "genflow cancels a request, or runs it again.",
        ),
        row(
            "events",
            &topics.events,
            event,
            "genflow publishes the life of each request.",
        ),
        row(
            "results",
            &topics.results,
            event,
            "genflow publishes the outcome of each run; compacted.",
        ),
        row(
            "requestsDlq",
            &topics.dlq,
            None,
            "genflow sets aside requests and commands that it refuses, with their bytes unchanged.",
        ),
        row(
            "notifications",
            &topics.notifications,
            Some("NotificationReceipt"),
            "genflow publishes how each notification ended.",
        ),
        row(
            "notificationsDlq",
            &topics.notifications_dlq,
            event,
            "genflow sets aside events whose notification it gave up.",
        ),
    ]
}

impl Row<'_> {
    fn action(&self) -> &'static str {
        match self.name {
            "requests" | "commands" => "receive",
            _ => "send",
        }
    }

    fn key(&self) -> &'static str {
        match self.name {
            "results" => "The workflow's id.",
            "requestsDlq" => "As on the topic that the record is from.",
            _ => "The request's id.",
        }
    }

    fn channel(&self) -> (String, Value) {
        let channel = json!({
            "address": self.topic,
            "messages": { self.name: { "$ref": format!("#/components/messages/{}", self.name) } },
            "bindings": { "kafka": { "topic": self.topic, "bindingVersion": "0.5.0" } },
        });
        (self.name.to_owned(), channel)
    }

    fn message(&self) -> (String, Value) {
        let mut message = json!({
            "name": self.schema.unwrap_or("DeadLetter"),
            "headers": self.headers(),
            "bindings": { "kafka": {
                "key": { "type": "string", "description": self.key() },
                "bindingVersion": "0.5.0",
            } },
        });
        if let Some(schema) = self.schema {
            message["payload"] = json!({ "$ref": format!("#/components/schemas/{schema}") });
            let kafka = &mut message["bindings"]["kafka"];
            kafka["schemaIdLocation"] = "payload".into();
            kafka["schemaIdPayloadEncoding"] = "confluent".into();
            kafka["schemaLookupStrategy"] = "TopicNameStrategy".into();
        }
        (self.name.to_owned(), message)
    }

    fn headers(&self) -> Value {
        const INPUT: [(&str, &str); 2] = [
            (
                headers::API_KEY,
                "The sender's API key, if the installation asks for one.",
            ),
            ("traceparent", "Trace context (W3C)."),
        ];
        let (all, sure): (&[_], usize) = match self.name {
            "requests" | "commands" => (&INPUT, 0),
            "events" | "results" => (&EVENT_HEADERS, EVENT_HEADERS.len() - 1),
            "requestsDlq" => (&REFUSAL_HEADERS, 1),
            "notificationsDlq" => (&DELIVERY_HEADERS, 3),
            _ => (&[], 0),
        };
        let text = |about| json!({ "type": "string", "description": about });
        let properties: Map<_, _> = all
            .iter()
            .map(|(name, about)| ((*name).to_owned(), text(about)))
            .collect();
        let required: Vec<_> = all.iter().take(sure).map(|(name, _)| *name).collect();
        json!({ "type": "object", "required": required, "properties": properties })
    }
}

fn operation(name: &str, action: &str, summary: &str) -> (String, Value) {
    let operation = json!({
        "action": action,
        "channel": { "$ref": format!("#/channels/{name}") },
        "summary": summary,
    });
    (name.to_owned(), operation)
}

fn webhook_channel() -> (String, Value) {
    let channel = json!({
        "address": null,
        "description": "An HTTP POST to the webhook_url of the request.",
        "messages": { "webhooks": { "$ref": "#/components/messages/webhook" } },
    });
    ("webhooks".to_owned(), channel)
}

fn webhook_message(schema: &Value) -> Value {
    let mut payload = schema.clone();
    payload.as_object_mut().unwrap().remove("$schema");
    let headers = [
        ("webhook-id", "The event's id, the same on every attempt."),
        (
            "webhook-timestamp",
            "When this attempt was made, in seconds since the Unix epoch.",
        ),
        (
            "webhook-signature",
            "Signatures by Standard Webhooks 1.0: v1, and v1a if the installation has a key for it.",
        ),
    ];
    let names = headers.map(|(name, _)| name);
    let properties: Map<_, _> = headers
        .iter()
        .map(|(name, about)| {
            (
                (*name).to_owned(),
                json!({ "type": "string", "description": about }),
            )
        })
        .collect();
    json!({
        "name": "Webhook",
        "contentType": "application/json",
        "headers": { "type": "object", "required": names, "properties": properties },
        "payload": payload,
        "bindings": { "http": { "bindingVersion": "0.3.0" } },
    })
}

/// Returns the Avro schemas, as they are registered.
fn schemas() -> Value {
    let schema = |ours: &Ours| {
        let avro: Value = serde_json::from_str(ours.text).unwrap();
        let schema =
            json!({ "schemaFormat": "application/vnd.apache.avro;version=1.9.0", "schema": avro });
        (ours.name.to_owned(), schema)
    };
    let all: [&Ours; 4] = [&avro::REQUEST, &avro::COMMAND, &avro::EVENT, &avro::RECEIPT];
    all.into_iter().map(schema).collect::<Map<_, _>>().into()
}
