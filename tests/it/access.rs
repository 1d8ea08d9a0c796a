//! API keys: records with a valid key, with another user's key, without a key; and keys do not appear in logs or
//! topics.

use std::collections::BTreeSet;

use genflow::domain::{ErrorCode, EventType, Request, Single, Spec, Targets};
use genflow::engines::kafka::{Headers, Record};
use serde_json::json;

use crate::support::described::Described as _;
use crate::support::ledger::types;
use crate::support::process::Process;
use crate::support::receiver::Receiver;
use crate::support::requests::{image, script};
use crate::support::{Space, eventually};

const OPEN: &str = "open-topsecret";
const HASHED: &str = "hashed-topsecret";
const ANNS: &str = "anns-topsecret";
const BOBS: &str = "bobs-topsecret";
/// Output of: printf hashed-topsecret | sha256sum
const DIGEST: &str = "ee625aeef9dc7eef889a0ae90cba152f72575c36948825fd12c1281e36316622";

async fn guarded() -> Space {
    let keys = format!("{OPEN}, sha256:{DIGEST}, {ANNS}:ann, {BOBS}:bob");
    let settings = [
        ("REQUIRE_API_KEY", "true"),
        ("API_KEYS", &keys),
        // The most detailed level: a key that is logged at all appears here.
        ("LOG_LEVEL", "info,genflow=trace"),
    ];
    Space::with(&settings).await
}

fn key(name: &str, key: &str) -> Headers {
    vec![(name.to_owned(), Some(key.as_bytes().to_vec()))]
}

fn bobs(name: &str) -> Request {
    let mut request = image(name);
    request.user = "bob".to_owned().try_into().unwrap();
    request
}

fn invalid(name: &str) -> Request {
    let mut request = image(&format!("invalid-{name}"));
    if let Spec::Single(Single::Image(image)) = &mut request.spec {
        image.width = Some(1);
    }
    request
}

/// Waits for `count` dead letters; checks that each is unauthorized and contains no part of a key.
async fn unauthorized(space: &Space, count: usize) -> Vec<Record> {
    let mut dlq = space.read(&space.config.kafka.topics.dlq).await;
    let mut letters = Vec::new();
    for _ in 0..count {
        letters.push(dlq.next().await);
    }
    let all = space.read(&space.config.kafka.topics.dlq).await.all().await;
    assert_eq!(all.len(), count, "no further");
    for record in &letters {
        assert_eq!(record.header("dlq.reason"), Some("unauthorized"));
        let is_key = |(name, _): &(String, _)| name.eq_ignore_ascii_case("x-api-key");
        assert!(!record.headers.iter().any(is_key));
        let shown = format!("{:?}", record.headers.iter().map(text).collect::<Vec<_>>());
        assert!(!shown.contains("topsecret"), "{shown}");
    }
    letters
}

fn text((name, value): &(String, Option<Vec<u8>>)) -> (String, String) {
    let value = value.as_deref().unwrap_or_default();
    (name.clone(), String::from_utf8_lossy(value).into_owned())
}

fn shows_no_key(process: &Process) {
    let output = process.output();
    assert!(output.contains("record rejected"), "it logs:\n{output}");
    assert!(!output.contains("topsecret"), "{output}");
}

#[tokio::test]
async fn a_request_needs_a_key_that_may_ask_for_its_user() {
    let space = guarded().await;
    let receiver = Receiver::start(&[]).await;
    let all = space.start(&["all"]);
    let with_webhook = |mut request: Request| {
        request.targets = Targets::parse(Some(&receiver.url), None, None).unwrap();
        request
    };
    let refused = [
        (with_webhook(image("none")), Headers::new()),
        (with_webhook(image("empty")), key("x-api-key", "")),
        (
            with_webhook(image("wrong")),
            key("x-api-key", "wrong-topsecret"),
        ),
        (with_webhook(image("others")), key("X-Api-Key", BOBS)),
        (with_webhook(bobs("others")), key("x-api-key", ANNS)),
        (with_webhook(image("digest")), key("x-api-key", DIGEST)),
        // A sender without a key does not learn of other faults, nor do the targets in the request.
        (with_webhook(invalid("none")), Headers::new()),
        (with_webhook(invalid("others")), key("x-api-key", BOBS)),
    ];
    let taken = [
        (with_webhook(image("plain")), key("x-api-key", OPEN)),
        (with_webhook(bobs("plain")), key("X-API-Key", OPEN)),
        (with_webhook(image("hashed")), key("x-api-key", HASHED)),
        (with_webhook(image("bound")), key("X-Api-Key", ANNS)),
        (with_webhook(bobs("bound")), key("x-api-key", BOBS)),
    ];

    for (request, headers) in refused.iter().chain(&taken) {
        space.send_with(request, headers.clone()).await;
    }

    for (request, _) in &taken {
        let events = space.story(request.id.as_str()).await;
        assert_eq!(types(&events).last(), Some(&EventType::Completed));
    }
    let letters = unauthorized(&space, refused.len()).await;
    let errors: BTreeSet<_> = letters
        .iter()
        .map(|record| record.header("dlq.error").unwrap())
        .collect();
    assert_eq!(errors.len(), 3, "missing, unknown, another's: {errors:?}");
    let topics = &space.config.kafka.topics;
    space.caught_up("intake", &topics.requests).await;
    space.caught_up("notifier", &topics.events).await;
    for (request, _) in &refused {
        let events = space.all_events(request.id.as_str()).await;
        assert_eq!(types(&events), [EventType::Rejected]);
        let error = events[0].error.clone().unwrap();
        assert_eq!(error.code, ErrorCode::Unauthorized);
        assert_eq!(space.bill(request.id.as_str()).await.submits, 0);
    }
    // The senders of refused requests did not prove that they are the tenant, so no target is notified.
    assert_eq!(receiver.got().len(), taken.len());
    shows_no_key(&all);
}

#[tokio::test]
async fn a_cancel_needs_a_key_that_may_ask_for_the_user_of_the_run() {
    let space = guarded().await;
    let all = space.start(&["all"]);
    let request = script(image("runs"), &json!({"stuck": true}));
    let id = request.id.as_str();
    space.send_with(&request, key("x-api-key", OPEN)).await;
    eventually("the job runs", async || {
        (space.bill(id).await.accepted == 1).then_some(())
    })
    .await;

    for headers in [
        Headers::new(),
        key("x-api-key", "wrong-topsecret"),
        key("x-api-key", BOBS),
    ] {
        space.cancel_with(id, headers).await;
    }
    let letters = unauthorized(&space, 3).await;
    let commands = space.config.kafka.topics.commands.as_str();
    for record in &letters {
        assert_eq!(record.header("dlq.original.topic"), Some(commands));
    }
    let run = request.id.run(0);
    assert!(!space.temporal().await.is_cancel_asked(&run).await);

    space.cancel_with(id, key("X-Api-Key", ANNS)).await;
    let events = space.story(id).await;
    assert_eq!(types(&events).last(), Some(&EventType::Cancelled));
    unauthorized(&space, 3).await;
    shows_no_key(&all);
}

#[tokio::test]
async fn a_free_id_is_claimed_by_the_first_user_who_asks() {
    let space = guarded().await;
    let _all = space.start(&["all"]);
    let request = image("claimed");

    let id = request.id.as_str();
    space.cancel_with(id, key("x-api-key", BOBS)).await;
    let commands = space.config.kafka.topics.commands.clone();
    space.caught_up("commands", &commands).await;
    space.send_with(&request, key("x-api-key", ANNS)).await;

    let mut dlq = space.read(&space.config.kafka.topics.dlq).await;
    let reason = dlq.next().await;
    assert_eq!(reason.header("dlq.reason"), Some("cancelled_before_start"));
    assert_eq!(space.bill(id).await.submits, 0);
}

#[tokio::test]
async fn a_request_that_runs_is_a_duplicate_when_its_key_is_no_longer_good() {
    let space = Space::with(&[("REQUIRE_API_KEY", "true")]).await;
    let _worker = space.start(&["worker"]);
    let old = [
        ("API_KEYS", "old-topsecret"),
        ("GENFLOW_FAILPOINT", "intake.started=kill"),
    ];
    let mut first = space.start_with(&["intake"], &old);
    let request = image("rotated");
    let headers = key("x-api-key", "old-topsecret");
    space.send_with(&request, headers.clone()).await;
    first.ended().await; // started but not committed, so the record is read again

    let second = space.start_with(&["intake"], &[("API_KEYS", "new-topsecret")]);
    let events = space.story(request.id.as_str()).await;
    assert_eq!(types(&events).last(), Some(&EventType::Completed));
    space.send_with(&request, headers.clone()).await; // and once more after the end
    let topic = &space.config.kafka.topics.requests;
    space.caught_up("intake", topic).await;
    unauthorized(&space, 0).await;

    let late = image("late");
    space.send_with(&late, headers).await;
    let letter = unauthorized(&space, 1).await.remove(0);
    assert_eq!(letter.key.as_deref(), Some(late.id.as_str().as_bytes()));
    assert_eq!(space.bill(request.id.as_str()).await.accepted, 1);
    shows_no_key(&second);
}

#[tokio::test]
async fn the_command_line_sends_the_key_of_the_shell() {
    let space = guarded().await;
    let _all = space.start(&["all"]);
    let submit = [
        "submit", "image", "--prompt", "a fox", "--width", "64", "--height", "64", "--watch",
    ];
    let run = async |arguments: &[&str], settings: &[(&str, &str)]| {
        let mut process = space.start_with(arguments, settings);
        let code = process.ended().await.code();
        (code, process.output())
    };

    let (code, printed) = run(&submit, &[]).await;
    assert_eq!(code, Some(2), "{printed}");
    assert!(printed.contains("unauthorized"), "{printed}");
    let (code, printed) = run(&submit, &[("GENFLOW_API_KEY", OPEN)]).await;
    assert_eq!(code, Some(0), "{printed}");
    let (code, printed) = run(&[&submit[..], &["--api-key", HASHED]].concat(), &[]).await;
    assert_eq!(code, Some(0), "{printed}");

    let stuck = script(image("stuck"), &json!({"stuck": true}));
    space.send_with(&stuck, key("x-api-key", ANNS)).await;
    space.job_runs(stuck.id.as_str()).await;
    let cancel = ["cancel", stuck.id.as_str()];
    let (code, printed) = run(&cancel, &[("GENFLOW_API_KEY", ANNS)]).await;
    assert_eq!(code, Some(0), "{printed}");
    let events = space.story(stuck.id.as_str()).await;
    assert_eq!(types(&events).last(), Some(&EventType::Cancelled));
}

#[tokio::test]
async fn an_intake_that_requires_keys_but_has_none_does_not_start() {
    let space = Space::with(&[("REQUIRE_API_KEY", "true")]).await;

    let mut intake = space.start(&["intake"]);

    assert_eq!(intake.ended().await.code(), Some(64));
    let printed = intake.output();
    assert!(
        printed.contains("API_KEYS: is empty, expected at least one key, or REQUIRE_API_KEY=false"),
        "{printed}"
    );
}
