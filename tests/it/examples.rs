//! The examples in other languages, each run by the commands of `examples/README.md`: the producer's request runs in
//! genflow, the consumer prints what the fold keeps, and the receiver takes genflow's webhooks and no others.

mod program;
pub(crate) mod workshop;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use genflow::domain::{Event, EventType, Latest, Secret, standard_webhooks};
use reqwest::StatusCode;
use serde_json::json;
use uuid::Uuid;

use self::workshop::{GO, JAVA, Language, PYTHON, TYPESCRIPT, Workshop};
use crate::notify::publish;
use crate::support::Space;
use crate::support::ledger::types;

#[tokio::test]
async fn python() {
    story(&PYTHON).await;
}

#[tokio::test]
async fn typescript() {
    story(&TYPESCRIPT).await;
}

#[tokio::test]
async fn java() {
    story(&JAVA).await;
}

#[tokio::test]
async fn go() {
    story(&GO).await;
}

async fn story(language: &'static Language) {
    let workshop = tokio::task::spawn_blocking(|| Workshop::open(language));
    let Some(workshop) = workshop.await.unwrap() else {
        return;
    };
    workshop.check_types();
    // A new signing secret and the old one, and a key for public signatures.
    let random = |first: u8| BASE64.encode(std::array::from_fn::<u8, 32, _>(|at| first + at as u8));
    let masters = format!("whsec_{},whsec_{}", random(1), random(2));
    let space = Space::with(&[
        ("WEBHOOK_SIGNING_SECRET", &masters),
        ("WEBHOOK_SIGNING_KEY", &format!("whsk_{}", random(3))),
    ])
    .await;
    let _all = space.start(&["all"]);
    let secrets = space.succeed(&["webhook-secret", "alice"]).await;
    let mut receiver = workshop.start(
        &space,
        "receiver",
        &[],
        &[("WEBHOOK_SECRET", &secrets), ("PORT", "0")],
    );
    let url = receiver.listens().await;
    let id = format!("{}-1", language.name);

    // A request that is sent twice runs once.
    for _ in 0..2 {
        let arguments = [id.as_str(), "a red fox in the snow"];
        let mut producer = workshop.start(&space, "producer", &arguments, &[("WEBHOOK_URL", &url)]);
        producer.succeeds().await;
        assert!(producer.lines()[0].starts_with(&format!("sent {id} ")));
    }

    let events = space.story(&id).await;
    assert_eq!(types(&events).last(), Some(&EventType::Completed));
    assert_eq!(events[0].metadata["from"], language.name);
    assert_eq!(space.bill(&id).await.accepted, 1);
    let completed = events.last().unwrap();
    let webhook = format!("{id} 0/{} COMPLETED", completed.sequence);
    receiver.prints(&webhook).await;
    check_consumer(&workshop, &space, &events).await;
    check_receiver(&url, &secrets).await;
    receiver.prints("own-1 0/0 COMPLETED").await;
    // The first line is its address.
    assert_eq!(
        receiver.lines()[1..],
        [webhook, "own-1 0/0 COMPLETED".to_owned()]
    );
}

/// Starts the consumer on a topic with repeats and a second life of a request, and compares what it prints with our fold.
async fn check_consumer(workshop: &Workshop, space: &Space, events: &[Event]) {
    let first = &events[0];
    let event = |retry, sequence, run: &str, after: i64| Event {
        event_id: Uuid::new_v4().to_string(),
        retry,
        sequence,
        run_id: Some(run.to_owned()),
        occurred_at: first.occurred_at + after,
        event_type: EventType::Started,
        result: None,
        notify: None,
        ..first.clone()
    };
    let hour = 3_600_000;
    publish(space, events).await;
    publish(
        space,
        &[
            // A retry, then a new life, which ends what was before: (1, 3) is greater, but late.
            event(1, 0, "b", hour),
            event(0, 0, "c", 3 * hour),
            event(1, 3, "b", 2 * hour),
            first.clone(),
            event(0, 1, "c", 4 * hour),
        ],
    )
    .await;
    let all = space.all_events(&first.request_id).await;
    let mut latest = None;
    let is_new = |event: &&Event| {
        let after = Latest::after(latest.as_ref(), event);
        let is_new = after.is_some();
        latest = after.or(latest.take());
        is_new
    };
    let expected: Vec<_> = all.iter().filter(is_new).map(line).collect();
    assert_eq!(expected.len(), events.len() + 3);

    let mut consumer = workshop.start(space, "consumer", &[], &[]);

    consumer.prints(expected.last().unwrap()).await;
    assert_eq!(consumer.lines(), expected);
}

/// Returns the line that a consumer prints for an event.
fn line(event: &Event) -> String {
    let result = event.result.iter();
    let files = result
        .flat_map(|result| &result.outputs)
        .map(|output| format!(" {}", output.uri));
    let files: String = files.collect();
    let kind = event.event_type.as_str();
    format!(
        "{} {}/{} {kind}{files}",
        event.request_id, event.retry, event.sequence
    )
}

/// Posts webhooks of our own to a receiver: it must take only one that is signed with one of the secrets, and is not old.
async fn check_receiver(url: &str, secrets: &str) {
    let old = secrets.lines().nth(1).unwrap();
    let key = standard_webhooks::bytes_of(&Secret::new(old.to_owned())).unwrap();
    let now = u64::try_from(chrono::Utc::now().timestamp()).unwrap();
    let data = json!({ "request_id": "own-1", "retry": 0, "sequence": 0, "type": "COMPLETED" });
    let body = json!({ "type": "genflow.request.completed", "data": data }).to_string();
    let changed = body.replace("own-1", "own-2");
    let sign = |key: &[u8], at| standard_webhooks::sign(key, ID, at, body.as_bytes());
    const ID: &str = "00000000-0000-4000-8000-000000000000";
    let (refused, taken) = (StatusCode::BAD_REQUEST, StatusCode::NO_CONTENT);
    for (expected, at, signature, body) in [
        (refused, now, sign(&key, now), &changed),
        (refused, now, sign(b"of another user", now), &body),
        (refused, now - 600, sign(&key, now - 600), &body),
        (taken, now, sign(&key, now), &body),
        (taken, now, sign(&key, now), &body),
    ] {
        let sent = reqwest::Client::new()
            .post(url)
            .header("webhook-id", ID)
            .header("webhook-timestamp", at)
            .header("webhook-signature", signature)
            .body(body.clone())
            .send();
        assert_eq!(sent.await.unwrap().status(), expected, "{at} {body}");
    }
}
