//! The whole path of a request on the real engines: Kafka, workflow, file, events, webhook.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use genflow::domain::{Event, EventType, Targets};
use genflow::roles::notifier::user_secret;
use serde_json::{Value, json};

use crate::support::Space;
use crate::support::ledger::types;
use crate::support::receiver::{Delivery, Receiver};
use crate::support::requests::{image, script, video};

#[tokio::test]
async fn an_image_request_becomes_a_file_a_row_of_events_and_a_signed_webhook() {
    let space = Space::new().await;
    let receiver = Receiver::start(&[]).await;
    let _all = space.start(&["all"]);
    let mut request = image("path");
    request.targets = Targets::parse(Some(&receiver.url), None, None).unwrap();

    space.send_with(&request, trace()).await;

    let events = space.story(request.id.as_str()).await;
    assert_eq!(types(&events).first(), Some(&EventType::Started));
    let completed = events.last().unwrap();
    check_fields(completed, request.id.as_str());
    let bytes = check_file(&space, completed, "image/png");
    assert_eq!(&bytes[1..4], b"PNG");
    check_headers(&space, request.id.as_str()).await;
    check_result(&space, completed).await;
    assert_eq!(space.bill(request.id.as_str()).await.accepted, 1);
    assert_eq!(space.temp_leftovers(), Vec::<String>::new());
    let delivery = receiver.wait(1).await.remove(0);
    check_webhook(&space, &delivery, completed);
    check_receipt(&space).await;
}

#[tokio::test]
async fn a_video_request_becomes_a_film_that_plays() {
    let space = Space::new().await;
    let _all = space.start(&["all"]);
    let request = script(video("film"), &json!({"seconds": 2.0}));

    space.send(&request).await;

    let events = space.story(request.id.as_str()).await;
    assert!(
        types(&events).contains(&EventType::Progress),
        "{:?}",
        types(&events)
    );
    let completed = events.last().unwrap();
    let bytes = check_file(&space, completed, "video/mp4");
    let length = bytes.len() as u64;
    let film = mp4::Mp4Reader::read_header(std::io::Cursor::new(bytes), length).unwrap();
    assert_eq!(film.tracks().len(), 1);
    let output = &completed.result.as_ref().unwrap().outputs[0];
    assert_eq!(output.duration_seconds.unwrap().round(), 2.0);
    assert!(output.width.unwrap() > 0 && output.height.unwrap() > 0);
}

const TRACE: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

fn trace() -> genflow::engines::kafka::Headers {
    vec![("traceparent".to_owned(), Some(TRACE.as_bytes().to_vec()))]
}

fn check_fields(completed: &Event, request: &str) {
    assert_eq!(completed.event_type, EventType::Completed);
    assert_eq!(completed.request_id, request);
    assert_eq!(completed.workflow_id.as_deref(), Some(request));
    assert_eq!(
        (
            completed.user_id.as_str(),
            completed.kind.as_str(),
            completed.retry
        ),
        ("ann", "IMAGE", 0)
    );
    assert!(completed.run_id.as_ref().is_some_and(|run| run.len() == 36));
    assert_eq!(completed.metadata["order"], "7");
    assert_eq!(completed.error, None);
    assert_eq!(completed.batch_id, None);
    let result = completed.result.as_ref().unwrap();
    assert_eq!(result.provider, "replicate");
    assert!(!result.provider_job_id.is_empty());
    assert!((1..60_000).contains(&result.elapsed_ms));
    assert_eq!(
        (result.outputs[0].width, result.outputs[0].height),
        (Some(64), Some(64))
    );
    let sealed = &completed.notify.as_ref().unwrap().sealed.0;
    assert!(!sealed.windows(12).any(|part| part == b"secret-token"));
}

/// Reads the stored file, compares it with its event and the manifest, and returns its bytes.
fn check_file(space: &Space, completed: &Event, content_type: &str) -> Vec<u8> {
    let result = completed.result.as_ref().unwrap();
    let output = &result.outputs[0];
    assert_eq!(output.content_type, content_type);
    let path = url::Url::parse(&output.uri)
        .unwrap()
        .to_file_path()
        .unwrap();
    assert!(path.starts_with(std::fs::canonicalize(space.results()).unwrap()));
    let bytes = std::fs::read(&path).unwrap();
    assert_eq!(bytes.len() as i64, output.bytes);
    let hash = ring::digest::digest(&ring::digest::SHA256, &bytes);
    let hex: String = hash
        .as_ref()
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    assert_eq!(hex, output.sha256);
    let name = path.file_name().unwrap().to_string_lossy().into_owned();
    assert!(name.starts_with(&format!("0-{}.", &hex[..16])), "{name}");
    let manifest = std::fs::read(path.with_file_name("manifest.json")).unwrap();
    let manifest: Value = serde_json::from_slice(&manifest).unwrap();
    assert_eq!(manifest["result"], serde_json::to_value(result).unwrap());
    let names = std::fs::read_dir(path.parent().unwrap()).unwrap().count();
    assert_eq!(names, 2, "the output and the manifest, no incomplete file");
    bytes
}

async fn check_headers(space: &Space, request: &str) {
    for record in space.events().await.all().await {
        assert_eq!(record.key.as_deref(), Some(request.as_bytes()));
        let header = |name: &str| {
            record
                .header(name)
                .unwrap_or_else(|| panic!("{name}"))
                .to_owned()
        };
        assert_eq!(header("ce_specversion"), "1.0");
        assert_eq!(header("ce_subject"), request);
        assert!(header("ce_type").starts_with("genflow.request."));
        assert_eq!(header("ce_source"), "/genflow");
        assert_eq!(header("content-type"), "application/avro");
        assert_eq!(
            header("traceparent")[..35],
            TRACE[..35],
            "the trace id of the request's record"
        );
        chrono::DateTime::parse_from_rfc3339(&header("ce_time")).unwrap();
        let (id, datum) =
            genflow::contract::avro::unframe(record.value.as_deref().unwrap()).unwrap();
        let schema = space.registry.schema(id).await.unwrap();
        let event = genflow::contract::avro::read_event(&schema, datum).unwrap();
        assert_eq!(header("ce_id"), event.event_id);
        let found = reqwest::get(header("ce_dataschema")).await.unwrap();
        assert!(found.status().is_success());
    }
}

async fn check_result(space: &Space, completed: &Event) {
    let mut results = space.read(&space.config.kafka.topics.results).await;
    let (outcome, record) = results.event().await;
    assert_eq!(
        record.key.as_deref(),
        completed.workflow_id.as_deref().map(str::as_bytes)
    );
    assert_eq!(outcome, completed.public());
}

fn check_webhook(space: &Space, delivery: &Delivery, completed: &Event) {
    let header = |name: &str| delivery.headers[name].to_str().unwrap().to_owned();
    assert_eq!(header("webhook-id"), completed.event_id);
    assert_eq!(header("content-type"), "application/json");
    assert_eq!(header("traceparent")[..35], TRACE[..35]);
    let secret = user_secret(&space.config.notifier.signing_secrets[0], "ann").unwrap();
    let key = BASE64
        .decode(secret.expose().strip_prefix("whsec_").unwrap())
        .unwrap();
    let key = ring::hmac::Key::new(ring::hmac::HMAC_SHA256, &key);
    let signed = [
        header("webhook-id").as_bytes(),
        b".",
        header("webhook-timestamp").as_bytes(),
        b".",
        &delivery.body,
    ]
    .concat();
    let signature = BASE64
        .decode(header("webhook-signature").strip_prefix("v1,").unwrap())
        .unwrap();
    ring::hmac::verify(&key, &signed, &signature).unwrap();
    let body: Value = serde_json::from_slice(&delivery.body).unwrap();
    assert_eq!(body["type"], "genflow.request.completed");
    assert_eq!(body["data"]["event_id"], completed.event_id);
    assert!(body["data"].get("notify").is_none());
}

async fn check_receipt(space: &Space) {
    let mut receipts = space.read(&space.config.kafka.topics.notifications).await;
    let record = receipts.next().await;
    let text = String::from_utf8_lossy(record.value.as_deref().unwrap()).into_owned();
    assert!(
        !text.contains("secret-token"),
        "the receipt shows the target redacted"
    );
}
