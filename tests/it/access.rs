//! Who may ask: keys of requests and commands.

use genflow::domain::EventType;
use genflow::kafka::Headers;
use serde_json::json;

use crate::support::Space;
use crate::support::ledger::types;
use crate::support::space::{image, script};

const OPEN: &str = "open-sesame";
const ANNS: &str = "anns-own-key";
const BOBS: &str = "bobs-own-key";

fn keys(list: &str) -> [(&str, &str); 2] {
    [("REQUIRE_API_KEY", "true"), ("API_KEYS", list)]
}

fn with(key: &str) -> Headers {
    vec![("X-Api-Key".to_owned(), Some(key.as_bytes().to_vec()))]
}

#[tokio::test]
async fn a_request_needs_a_key_of_its_user_and_the_key_is_seen_nowhere() {
    let space = Space::with(&keys(&format!("{OPEN},{ANNS}:ann,{BOBS}:bob"))).await;
    let all = space.start_with(&["all"], &[("LOG_LEVEL", "debug")]);
    let (open, anns) = (image("open"), image("anns"));
    space.send(&image("none")).await;
    space.send_with(&image("wrong"), with("guessed-key")).await;
    space.send_with(&image("bobs"), with(BOBS)).await;
    space.send_with(&open, with(OPEN)).await;
    space.send_with(&anns, with(ANNS)).await;

    for good in [&open, &anns] {
        let events = space.story(good.id.as_str()).await;
        assert_eq!(types(&events).last(), Some(&EventType::Completed));
    }
    let topics = &space.config.kafka.topics;
    let mut dlq = space.read(&topics.dlq).await;
    let mut errors = Vec::new();
    for _ in 0..3 {
        let parked = dlq.next().await;
        assert_eq!(parked.header("dlq.reason"), Some("unauthorized"));
        assert!(
            !parked
                .headers
                .iter()
                .any(|(name, _)| name.eq_ignore_ascii_case("x-api-key"))
        );
        errors.push(parked.header("dlq.error").unwrap().to_owned());
    }
    for part in ["is missing", "is none of", "bound to another user"] {
        assert!(
            errors.iter().any(|error| error.contains(part)),
            "{errors:?}"
        );
    }
    space.caught_up("intake", &topics.requests).await;
    for key in [OPEN, ANNS, BOBS, "guessed-key"] {
        assert!(!all.output().contains(key), "{key} in the log");
    }
}

#[tokio::test]
async fn a_request_that_runs_is_a_duplicate_also_after_its_keys_were_changed() {
    let space = Space::new().await;
    let _worker = space.start(&["worker"]);
    let mut intake = space.start_with(&["intake"], &keys("old-key-of-ours"));
    let mut request = image("rotated");
    request.targets.webhook = Some("http://127.0.0.1:9/hook".parse().unwrap());
    space.send_with(&request, with("old-key-of-ours")).await;
    space.story(request.id.as_str()).await;
    assert!(intake.terminate().await.success());

    // Another key seals its targets now, too.
    let sealer = format!("new:{}=", "A".repeat(43));
    let mut changed = keys("new-key-of-ours").to_vec();
    changed.push(("NOTIFY_KEYS", &sealer));
    let _intake = space.start_with(&["intake"], &changed);
    space.send_with(&request, with("old-key-of-ours")).await;
    let topics = &space.config.kafka.topics;
    space.caught_up("intake", &topics.requests).await;

    assert_eq!(space.read(&topics.dlq).await.all().await.len(), 0);
    assert_eq!(space.bill(request.id.as_str()).await.accepted, 1);
}

#[tokio::test]
async fn a_command_needs_a_key_of_the_user_of_its_request() {
    let space = Space::with(&keys(&format!("{ANNS}:ann,{BOBS}:bob"))).await;
    let _all = space.start(&["all"]);
    let request = script(image("guarded"), &json!({"stuck": true}));
    let id = request.id.as_str();
    space.send_with(&request, with(ANNS)).await;
    space.events().await.event().await;

    let topics = &space.config.kafka.topics;
    let mut dlq = space.read(&topics.dlq).await;
    for refused in [Headers::new(), with("guessed-key"), with(BOBS)] {
        space.cancel_with(id, refused).await;
        let parked = dlq.next().await;
        assert_eq!(parked.header("dlq.reason"), Some("unauthorized"));
        assert_eq!(
            parked.header("dlq.original.topic"),
            Some(topics.commands.as_str())
        );
    }
    space.cancel_with(id, with(ANNS)).await;

    let events = space.story(id).await;
    assert_eq!(types(&events).last(), Some(&EventType::Cancelled));
}
