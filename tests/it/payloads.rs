//! What Temporal stores, encrypted: nothing of a request can be read there, and whatever reads it still works. Keys change
//! while runs are open, and processes with and without keys share a namespace.

mod server;
mod stored;

use genflow::contract::receipt::NotificationOutcome;
use genflow::domain::{ErrorCode, EventType, Request, Targets};
use genflow::engines::temporal::client::Temporal;
use serde_json::{Value, json};

use self::stored::Stored;
use crate::batch::{batch, ids, spec};
use crate::closed::{OFTEN, terminate};
use crate::notify::receipts;
use crate::retry::{commands_done, retry};
use crate::secrets::needles::Needles;
use crate::support::ledger::types;
use crate::support::receiver::{Answer, Receiver};
use crate::support::requests::{IMAGE_MODEL, common, image, script, video};
use crate::support::stories::stories;
use crate::support::{Space, Watched, eventually};

const ONE: &str = "one:AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=";
const TWO: &str = "two:ICEiIyQlJicoKSorLC0uLzAxMjM0NTY3ODk6Ozw9Pj8=";
const KEYS: &str = "PAYLOAD_KEYS";
/// The only field that is not encrypted: the static details of what a client starts, its fingerprint.
const FINGERPRINT: [&str; 1] = ["temporal.api.sdk.v1.UserMetadata.details"];

/// Returns the type of the last event of a request.
async fn outcome(space: &Space, request: &Request) -> EventType {
    let events = space.story(request.id.as_str()).await;
    *types(&events).last().unwrap()
}

/// Returns an image with needles in its prompt, its metadata, its target and a param, which the provider refuses.
fn refused(needles: &mut Needles, receiver: &Receiver) -> Request {
    let mut request = script(image("refused"), &json!({"fail": needles.make("param")}));
    common(&mut request).prompt = format!("a {} fox", needles.make("prompt"));
    let metadata = needles.make("metadata");
    request.metadata.insert("note".to_owned(), metadata);
    let webhook = receiver
        .url
        .replace("secret-token", &needles.make("webhook"));
    request.targets = Targets::parse(Some(&webhook), None, None).unwrap();
    request
}

/// Returns a batch with needles in the prompt and the metadata of an item.
fn group(needles: &mut Needles) -> Request {
    let mut request = batch("group", &[json!({}), json!({})]);
    let (prompt, metadata) = (needles.make("itemprompt"), needles.make("itemmetadata"));
    let item = &mut spec(&mut request).items[0];
    item.metadata.insert("note".to_owned(), metadata);
    match &mut item.spec {
        genflow::domain::Single::Image(image) => image.common.prompt = prompt,
        genflow::domain::Single::Video(_) => panic!("no image"),
    }
    request
}

#[tokio::test]
async fn nothing_of_a_request_can_be_read_at_temporal() {
    let (bad, operators) = (
        Receiver::answering(&[Answer::Status(500)]).await,
        Receiver::start(&[]).await,
    );
    let space = Space::with(&[
        (KEYS, ONE),
        ("NOTIFY_SCHEDULE", "100ms"),
        ("SLACK_ALLOWED_HOSTS", "127.0.0.1"),
        ("OPS_SLACK_WEBHOOK_URL", &operators.url),
    ])
    .await;
    let prices = space.folder().join("prices.toml");
    let rule =
        format!("[[price]]\nmodels = [\"replicate:{IMAGE_MODEL}\"]\nper = \"run\"\nusd = 0.1\n");
    std::fs::write(&prices, rule).unwrap();
    let budget = [
        ("PRICES_FILE", prices.to_str().unwrap()),
        ("BUDGET_USER_DAY_USD", "100"),
    ];
    let _all = space.start_with(&["all"], &budget);
    let mut needles = Needles::default();
    let (refused, group) = (refused(&mut needles, &bad), group(&mut needles));
    // Its job runs while the search reads the details of heartbeats.
    let mut running = script(image("running"), &json!({"stuck": true}));
    common(&mut running).prompt = needles.make("running");
    let requests = [&refused, &group, &running];
    for request in requests {
        space.send(request).await;
    }
    assert_eq!(outcome(&space, &refused).await, EventType::Failed);
    assert_eq!(outcome(&space, &group).await, EventType::Completed);
    space.job_runs(running.id.as_str()).await;
    operators.wait(1).await;
    let receipts = receipts(&space, 1).await;
    assert_eq!(receipts[0].outcome, NotificationOutcome::GivenUp);

    let mut wanted: Vec<_> = requests.map(|request| request.id.to_string()).into();
    wanted.extend(ids(&group));
    let others = ["deliver/", "digest/SLACK/", "budget/"];
    wanted.extend(others.map(str::to_owned));
    let stored = eventually("a heartbeat is stored", async || {
        let stored = Box::pin(Stored::read(&space, &wanted)).await;
        stored.has_heartbeats.then_some(stored)
    })
    .await;

    assert_eq!(stored.plain, FINGERPRINT.into());
    let found = needles.found(&stored.bytes);
    assert!(found.is_empty(), "{found:?}");
}

/// Without a key, the same search finds all that it looks for.
#[tokio::test]
async fn the_search_finds_what_is_not_encrypted() {
    let bad = Receiver::answering(&[Answer::Status(500)]).await;
    let space = Space::with(&[("NOTIFY_SCHEDULE", "100ms")]).await;
    let _all = space.start(&["all"]);
    let mut needles = Needles::default();
    let refused = refused(&mut needles, &bad);
    space.send(&refused).await;
    assert_eq!(outcome(&space, &refused).await, EventType::Failed);

    let stored = Stored::read(&space, &[refused.id.to_string()]).await;

    let mut names = needles.names();
    // Sealed by intake.
    names.remove("webhook");
    assert_eq!(needles.found(&stored.bytes), names);
    assert!(stored.plain.len() > 1 && stored.keys.is_empty());
}

#[tokio::test]
async fn commands_and_duplicates_read_what_is_encrypted() {
    let space = Space::with(&[(KEYS, ONE), OFTEN, ("PAYLOAD_COMPRESSION", "true")]).await;
    let _all = space.start(&["all"]);
    let mut again = script(image("again"), &json!({"fail": "no", "runs": 1}));
    common(&mut again).prompt = "a red fox ".repeat(300);
    let (cancelled, closed) = (
        script(video("cancelled"), &json!({"stuck": true})),
        script(video("closed"), &json!({"stuck": true})),
    );
    let group = batch("group", &[json!({}), json!({})]);
    let requests = [&again, &cancelled, &closed, &group];
    for request in requests {
        space.send(request).await;
    }
    assert_eq!(outcome(&space, &again).await, EventType::Failed);
    assert_eq!(outcome(&space, &group).await, EventType::Completed);
    for open in [&cancelled, &closed] {
        space.job_runs(open.id.as_str()).await;
    }

    space.cancel_and_wait(&cancelled.id).await;
    terminate(&space.client().await, &closed).await;
    retry(&space, &again.id, "c1").await;
    retry(&space, &again.id, "c1").await;
    commands_done(&space).await;

    assert_eq!(outcome(&space, &cancelled).await, EventType::Cancelled);
    let ended = space.story(closed.id.as_str()).await.pop().unwrap();
    assert_eq!(ended.error.unwrap().code, ErrorCode::Terminated);
    let temporal = space.temporal().await;
    eventually("the retry completes", async || {
        let status = temporal.status(&again.id.run(1)).await.unwrap();
        status.filter(|status| status.result.is_some())
    })
    .await;
    assert!(temporal.status(&again.id.run(2)).await.unwrap().is_none());
    duplicates(&space, &again, &group).await;
    operators(&space, &again, &group).await;
}

/// Sends requests again: the same is a duplicate, also of an item; one with other content is a conflict.
async fn duplicates(space: &Space, again: &Request, group: &Request) {
    let mut item = image("item");
    item.id = ids(group)[0].clone().try_into().unwrap();
    let mut other = again.clone();
    other.metadata.clear();
    for request in [again, group, &other, &item] {
        space.send(request).await;
    }
    let topics = &space.config.kafka.topics;
    space.caught_up("intake", &topics.requests).await;
    let letters = space.dead_letters().await;
    let keys: Vec<_> = letters.iter().map(|record| record.key.clone()).collect();
    let conflicts = [&other, &item].map(|request| Some(request.id.as_str().as_bytes().to_vec()));
    assert_eq!(keys.len(), 2, "{letters:#?}");
    assert!(conflicts.iter().all(|key| keys.contains(key)));
}

async fn operators(space: &Space, again: &Request, group: &Request) {
    let id = again.id.as_str();
    let status = space.succeed(&["status", id, "--json"]).await;
    assert!(status.contains("\"completed\""), "{status}");
    let listed = space.succeed(&["list"]).await;
    assert!(
        listed.contains(id) && listed.contains(group.id.as_str()),
        "{listed}"
    );
    let item = &ids(group)[0];
    let replayed = space
        .succeed(&["replay", &format!("{id}~0"), id, group.id.as_str(), item])
        .await;
    assert!(!replayed.contains("FAIL"), "{replayed}");
    // A process without the key says what it lacks; it can list all the same.
    let without = [(KEYS, "")];
    let (code, said) = space.run_with(&["replay", id], &without).await;
    assert_ne!(code, 0);
    assert!(
        said.contains("the key \"one\", which is not in PAYLOAD_KEYS"),
        "{said}"
    );
    let (code, listed) = space.run_with(&["list"], &without).await;
    assert!(code == 0 && listed.contains(id), "{listed}");
}

/// Returns the finding of doctor about payloads.
async fn finding(space: &Space, settings: &[(&str, &str)]) -> Value {
    let (_, printed) = space.run_with(&["doctor", "--json"], settings).await;
    let json = &printed[printed.find('{').unwrap()..];
    let mut reports = serde_json::Deserializer::from_str(json).into_iter::<Value>();
    let report = reports.next().unwrap().unwrap();
    let checks = report["checks"].as_array().unwrap().iter();
    let mut found = checks.filter(|check| check["check"] == "payloads");
    found.next().cloned().unwrap()
}

#[tokio::test]
async fn keys_change_while_a_run_is_open() {
    let space = Space::with(&[(KEYS, ONE)]).await;
    let _intake = space.start(&["intake"]);
    let failpoint = [("GENFLOW_FAILPOINT", "submit.sent=kill")];
    let mut before = space.start_with(&["worker"], &failpoint);
    let request = image("rotated");
    space.send(&request).await;
    before.ended().await;
    // The record of the attempt, which the next one reads.
    let stored = Stored::read(&space, &[request.id.to_string()]).await;
    assert!(stored.has_heartbeats);
    assert_eq!(stored.plain, FINGERPRINT.into());

    let both = format!("{TWO},{ONE}");
    let _after = space.start_with(&["worker"], &[(KEYS, &both)]);

    assert_eq!(outcome(&space, &request).await, EventType::Completed);
    assert_eq!(space.bill(request.id.as_str()).await.submits, 1);
    let stored = Stored::read(&space, &[request.id.to_string()]).await;
    assert_eq!(stored.keys, ["one", "two"].map(str::to_owned).into());
    // Without the key, the outcome is unknown: it must not look like a run without one.
    let mut settings = space.config.temporal.clone();
    settings.payloads.keys.clear();
    let temporal = Temporal::connect(&settings).await.unwrap();
    let error = temporal.status(&request.id.run(0)).await.unwrap_err();
    let cause = std::error::Error::source(&error).unwrap().to_string();
    assert!(cause.contains("which is not in PAYLOAD_KEYS"), "{cause}");
}

#[tokio::test]
async fn a_worker_without_the_key_fails_no_run_and_says_which_key_it_lacks() {
    let space = Space::new().await;
    let with = [(KEYS, ONE)];
    let _intake = space.start_with(&["intake"], &with);
    let without = Watched::start(&space, "worker", &[]);
    without.says("readyz", "\"ready\":true").await;
    let requests = ["first", "second", "third", "fourth"].map(image);
    for request in &requests {
        space.send(request).await;
    }

    without
        .says(
            "readyz",
            "the key \\\"one\\\", which is not in PAYLOAD_KEYS",
        )
        .await;
    let lacking = finding(&space, &[]).await;
    assert_eq!(lacking["verdict"], "FAIL", "{lacking}");
    let known = finding(&space, &with).await;
    assert_eq!(known["verdict"], "ok", "{known}");
    assert_eq!(known["found"], "are encrypted with the key one");

    // The other one goes on taking some of the tasks.
    let _worker = space.start_with(&["worker"], &with);
    for events in stories(&space, &requests.each_ref()).await {
        assert_eq!(types(&events).last(), Some(&EventType::Completed));
    }
    for request in &requests {
        assert_eq!(space.bill(request.id.as_str()).await.submits, 1);
    }
    let log = without.process.output();
    assert!(
        log.contains("the key \"one\", which is not in PAYLOAD_KEYS"),
        "{log}"
    );
}

/// The fingerprint of a batch that has continued as new is only in its memo.
#[tokio::test]
async fn an_intake_without_the_key_holds_what_it_cannot_compare() {
    let space = Space::with(&[("BATCH_SEGMENT", "1")]).await;
    let with = [(KEYS, ONE)];
    let mut intake = space.start_with(&["intake"], &with);
    let _worker = space.start_with(&["worker"], &with);
    let group = batch("group", &[json!({}), json!({})]);
    space.send(&group).await;
    assert_eq!(outcome(&space, &group).await, EventType::Completed);
    assert!(intake.terminate().await.success());

    let mut without = space.start(&["intake"]);
    space.send(&group).await;
    eventually("it says which key it lacks", async || {
        let said = without.output();
        said.contains("the key \"one\", which is not in PAYLOAD_KEYS")
            .then_some(())
    })
    .await;
    assert!(without.terminate().await.success());
    let _intake = space.start_with(&["intake"], &with);

    let topics = &space.config.kafka.topics;
    space.caught_up("intake", &topics.requests).await;
    let letters = space.dead_letters().await;
    assert!(letters.is_empty(), "{letters:#?}");
}

#[tokio::test]
async fn a_worker_with_keys_does_what_was_started_without() {
    let space = Space::new().await;
    let _intake = space.start(&["intake"]);
    let requests = [
        script(image("plain"), &json!({})),
        batch("group", &[json!({}), json!({})]),
    ];
    for request in &requests {
        space.send(request).await;
    }

    let _worker = space.start_with(&["worker"], &[(KEYS, ONE)]);

    for request in &requests {
        assert_eq!(outcome(&space, request).await, EventType::Completed);
    }
    // Also by an intake that cannot read what the worker has encrypted.
    for request in &requests {
        space.send(request).await;
    }
    let topics = &space.config.kafka.topics;
    space.caught_up("intake", &topics.requests).await;
    assert!(space.dead_letters().await.is_empty());
}
