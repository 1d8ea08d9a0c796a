//! The body of a webhook, by Standard Webhooks 1.0. Pure.

use serde::Serialize;
use serde_json::{Value, json};

use crate::domain::Event;
use crate::domain::time::rfc3339;

#[derive(Serialize)]
struct Body {
    #[serde(rename = "type")]
    kind: String,
    timestamp: String,
    data: Value,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    truncated: bool,
}

/// The longest body, in bytes: Standard Webhooks recommends less than 20 kB.
const LONGEST_BODY: usize = 20_000;

/// What truncation adds to a body.
const TRUNCATED: &str = ",\"truncated\":true";

/// Returns the body for `event`, without `notify`, which only genflow may see. A body above 20 kB loses bulky fields.
pub(crate) fn body(event: &Event) -> Result<Vec<u8>, serde_json::Error> {
    let mut body = Body {
        kind: event.event_type.cloud_type(),
        timestamp: rfc3339(event.occurred_at),
        data: serde_json::to_value(event)?,
        truncated: false,
    };
    if let Some(data) = body.data.as_object_mut() {
        data.remove("notify");
    }
    let mut text = serde_json::to_vec(&body)?;
    for cut in [empty_sent, empty_metadata, empty_urls, drop_outputs] {
        if text.len() <= LONGEST_BODY {
            break;
        }
        body.truncated = true;
        cut(&mut body.data, text.len() + TRUNCATED.len() - LONGEST_BODY);
        text = serde_json::to_vec(&body)?;
    }
    Ok(text)
}

/// Returns the body of a test. Its type is one that no event has, and it names no request.
pub(crate) fn test_body(now: i64) -> Result<Vec<u8>, serde_json::Error> {
    let about = "This is a test that an operator of genflow has sent. It is about no request.";
    serde_json::to_vec(&Body {
        kind: "genflow.test".to_owned(),
        timestamp: rfc3339(now),
        data: json!({ "test": true, "message": about }),
        truncated: false,
    })
}

// Bulky fields are emptied, not removed, so that the body keeps the shape of the schema.

/// Empties the fields that say how the model's input differs from the request.
fn empty_sent(data: &mut Value, _: usize) {
    for (path, nothing) in [
        ("/result/sent", Value::Null),
        ("/result/notes", json!([])),
        ("/error/problems", json!([])),
        ("/tried", json!([])),
    ] {
        if let Some(value) = data.pointer_mut(path) {
            *value = nothing;
        }
    }
}

fn empty_metadata(data: &mut Value, _: usize) {
    if let Some(metadata) = data.pointer_mut("/metadata") {
        *metadata = json!({});
    }
}

fn empty_urls(data: &mut Value, _: usize) {
    let outputs = data.pointer_mut("/result/outputs");
    for output in outputs.and_then(Value::as_array_mut).into_iter().flatten() {
        if let Some(url) = output.pointer_mut("/url") {
            *url = Value::Null;
        }
    }
}

/// Drops the last outputs, as few as are needed to save this many bytes.
fn drop_outputs(data: &mut Value, mut bytes: usize) {
    let outputs = data.pointer_mut("/result/outputs");
    let Some(outputs) = outputs.and_then(Value::as_array_mut) else {
        return;
    };
    while bytes > 0
        && let Some(output) = outputs.pop()
    {
        bytes = bytes.saturating_sub(output.to_string().len());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{Generated, Note, Notify, Output, Sealed};
    use crate::roles::notifier::testing::event;

    fn parsed(event: &Event) -> (usize, Value) {
        let text = body(event).unwrap();
        (text.len(), serde_json::from_slice(&text).unwrap())
    }

    fn big(outputs: usize, url: usize) -> Event {
        let output = Output {
            uri: format!("file:///{}", "u".repeat(100)),
            url: Some("x".repeat(url)),
            content_type: "image/png".to_owned(),
            bytes: 1,
            sha256: "0".repeat(64),
            width: None,
            height: None,
            duration_seconds: None,
        };
        let result = Generated {
            outputs: vec![output; outputs],
            provider: "replicate".to_owned(),
            provider_job_id: "job".to_owned(),
            elapsed_ms: 1,
            cost_usd: None,
            cost_source: None,
            sent: None,
            notes: Vec::new(),
            model: None,
        };
        Event {
            result: Some(result),
            metadata: [("key".to_owned(), "m".repeat(8000))].into(),
            ..event()
        }
    }

    #[test]
    fn the_body_is_the_event_without_notify() {
        let notify = Notify {
            on: vec![],
            sealed: Sealed(vec![1]),
        };

        let (_, body) = parsed(&Event {
            notify: Some(notify),
            ..event()
        });

        assert_eq!(body["type"], "genflow.request.completed");
        assert_eq!(body["timestamp"], "2023-11-14T22:13:20.123Z");
        assert_eq!(body["data"]["request_id"], "order-7");
        assert_eq!(body["data"]["type"], "COMPLETED");
        assert_eq!(body["data"].get("notify"), None);
        assert_eq!(body.get("truncated"), None);
    }

    #[test]
    fn a_body_too_long_loses_what_was_sent_to_the_model_first() {
        let mut event = big(1, 100);
        let result = event.result.as_mut().unwrap();
        result.sent = Some("s".repeat(30_000));
        let note = Note {
            field: "fps".to_owned(),
            kind: "dropped".to_owned(),
            details: String::new(),
        };
        result.notes.push(note);

        let (length, body) = parsed(&event);

        assert!(length <= LONGEST_BODY, "{length}");
        let data = &body["data"];
        assert_eq!(data["result"]["sent"], Value::Null);
        assert_eq!(data["result"]["notes"], json!([]));
        assert_ne!(data["metadata"], json!({}));
        assert_eq!(body["truncated"], true);
    }

    #[test]
    fn a_body_too_long_loses_what_is_bulky_and_no_more_than_it_must() {
        for (event, metadata, urls, outputs) in [
            (big(1, 100), true, true, 1),
            (big(10, 1500), false, true, 10),
            (big(10, 2500), false, false, 10),
            (big(100, 100), false, false, 65),
        ] {
            let (length, body) = parsed(&event);

            assert!(length <= LONGEST_BODY, "{length}");
            let data = &body["data"];
            let kept = data["result"]["outputs"].as_array().unwrap();
            assert_eq!(data["metadata"] != json!({}), metadata);
            assert_eq!(kept.len(), outputs, "in {length} bytes");
            let has_url = kept.iter().all(|output| output["url"].is_string());
            assert_eq!(has_url && !kept.is_empty(), urls);
            assert_eq!(body.get("truncated").is_some(), !metadata);
            let again: Event = serde_json::from_value(data.clone()).unwrap();
            assert_eq!(again.event_id, event.event_id);
        }
    }
}
