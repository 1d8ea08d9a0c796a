//! Histories: those recorded under `tests/histories/` and fresh ones of every ending replay with today's workflows.
//!
//! What an operator does before a deploy, `genflow replay`, stands on the same.
//!
//! `GENFLOW_RECORD=NAME cargo test --test it` records the fresh ones beside them, as `{ending}.{NAME}.json`: what an earlier
//! release has recorded stays, since its runs may still be open. Folders of the machine are replaced.

mod operator;

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use genflow::domain::{EventType, OnFailure, ProviderName, Request};
use genflow::notifier::{Outcome, Receipt};
use genflow::temporal::replay::{Recorded, Replayer};
use genflow::temporal::workflows::generation::Generation;
use serde_json::{Value, json};
use temporalio_client::{
    Client, NamespacedClient as _, UntypedWorkflow, WorkflowExecutionInfo, WorkflowHandle,
};

use crate::batch::{batch, ids, spec};
use crate::notify;
use crate::support::receiver::Receiver;
use crate::support::requests::at;
use crate::support::requests::{image, script, video};
use crate::support::{Space, eventually};

fn folder() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/histories")
}

async fn replay(name: &str, history: &[u8]) {
    let recorded = Recorded::from_json(history).unwrap();
    let misfit = Replayer::new().unwrap().replay(&recorded).await.unwrap();
    if let Some(misfit) = misfit {
        panic!("{name} does not replay: {misfit:?}");
    }
}

#[tokio::test]
async fn every_recorded_history_replays() {
    let mut names = BTreeSet::new();
    for entry in std::fs::read_dir(folder()).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        let history = std::fs::read(&path).unwrap();
        replay(&name, &history).await;
        each_text(&mut serde_json::from_slice(&history).unwrap(), &|text| {
            for folder in ["/tmp", "/root", "/home", "/work", "/var"] {
                assert!(!text.contains(folder), "{name} has {folder}: {text}");
            }
            None
        });
        names.insert(name.split('.').next().unwrap().to_owned());
    }
    let endings = [
        "ambiguous",
        "batch-cancelled",
        "batch-completed",
        "batch-continued",
        "batch-first",
        "batch-stopped",
        "cancelled",
        "claimed",
        "completed",
        "deadline",
        "delivery-cancelled",
        "delivery-continued",
        "delivery-delivered",
        "delivery-ended",
        "delivery-first",
        "delivery-given-up",
        "digest",
        "digest-continued",
        "ended",
        "failed",
        "limited",
        "progress",
        "refused",
        "stored",
    ];
    assert_eq!(names.into_iter().collect::<Vec<_>>(), endings);
}

#[tokio::test]
async fn a_run_of_every_ending_replays() {
    let space = Space::with(&[("SWEEP_INTERVAL", "300ms")]).await;
    let _all = space.start(&["all"]);
    let mut late = script(image("deadline"), &json!({"stuck": true}));
    late.timeout = Some(Duration::from_secs(8));
    let stuck = script(image("cancelled"), &json!({"stuck": true}));
    let claimed = image("claimed");
    let stored = at(ProviderName::OpenAi, image("stored"));
    let ambiguous = script(image("ambiguous"), &json!({"submit": [502]}));
    let endings: [(&str, Request, EventType); 8] = [
        ("completed", image("completed"), EventType::Completed),
        (
            "progress",
            script(video("progress"), &json!({"seconds": 2.0})),
            EventType::Completed,
        ),
        (
            "refused",
            script(image("refused"), &json!({"submit": [422]})),
            EventType::Failed,
        ),
        (
            "failed",
            script(image("failed"), &json!({"fail": "no"})),
            EventType::Failed,
        ),
        ("stored", stored, EventType::Completed),
        (
            "ambiguous",
            at(ProviderName::OpenAi, ambiguous),
            EventType::Failed,
        ),
        ("deadline", late, EventType::Failed),
        ("cancelled", stuck.clone(), EventType::Cancelled),
    ];
    for (_, request, _) in &endings {
        space.send(request).await;
    }
    space.cancel(claimed.id.as_str()).await;
    let accepted = async || (space.bill(stuck.id.as_str()).await.accepted == 1).then_some(());
    eventually("the job runs", accepted).await;
    space.cancel(stuck.id.as_str()).await;

    let client = space.client().await;
    for (name, request, ending) in &endings {
        let events = space.story(request.id.as_str()).await;
        assert_eq!(events.last().unwrap().kind_of_event, *ending, "{name}");
        check(&client, name, request.id.as_str()).await;
    }
    space.closed(claimed.id.as_str()).await;
    check(&client, "claimed", claimed.id.as_str()).await;
    check_end(&space, &client).await;
}

/// The end of a run that was terminated.
async fn check_end(space: &Space, client: &Client) {
    let request = script(image("ended"), &json!({"stuck": true}));
    space.send(&request).await;
    let accepted = async || (space.bill(request.id.as_str()).await.accepted == 1).then_some(());
    eventually("the job runs", accepted).await;
    let handle = client.get_workflow_handle::<Generation>(request.id.to_string());
    handle.terminate(Default::default()).await.unwrap();
    let events = space.story(request.id.as_str()).await;
    assert_eq!(events.last().unwrap().kind_of_event, EventType::Failed);
    let workflow = request.id.run(0);
    let run_id = space.temporal().await.run_id(&workflow).await.unwrap();
    let end = format!("end/{workflow}/{run_id}");
    closes(client, &end).await;
    check(client, "ended", &end).await;
}

#[tokio::test]
async fn a_batch_of_every_ending_replays() {
    let settings = [("BATCH_SEGMENT", "3"), ("BATCH_PROGRESS_INTERVAL", "1ms")];
    let space = Space::with(&settings).await;
    let _all = space.start(&["all"]);
    let fails = json!({"fail": "no"});
    let taken = batch("completed", &[json!({}), fails.clone(), json!({})]);
    let mut stopped = batch("stopped", &[fails, json!({"seconds": 1.0}), json!({})]);
    spec(&mut stopped).max_concurrent = 2;
    spec(&mut stopped).on_failure = OnFailure::Stop;
    let mut stuck = batch("cancelled", &vec![json!({"stuck": true}); 3]);
    spec(&mut stuck).max_concurrent = 2;
    let endings = [
        ("batch-completed", taken.clone(), EventType::Completed),
        ("batch-stopped", stopped, EventType::Failed),
        ("batch-cancelled", stuck.clone(), EventType::Cancelled),
        (
            "batch-continued",
            batch("continued", &vec![json!({}); 5]),
            EventType::Completed,
        ),
    ];
    let mut first = image("taken");
    first.id = ids(&taken)[2].clone().try_into().unwrap();
    space.send(&first).await;
    space.story(first.id.as_str()).await;
    for (_, request, _) in &endings {
        space.send(request).await;
    }
    let accepted = async || (space.bill(&ids(&stuck)[1]).await.accepted == 1).then_some(());
    eventually("the job runs", accepted).await;
    space.cancel(stuck.id.as_str()).await;

    let client = space.client().await;
    for (name, request, ending) in &endings {
        let events = space.story(request.id.as_str()).await;
        assert_eq!(events.last().unwrap().kind_of_event, *ending, "{name}");
        check(&client, name, request.id.as_str()).await;
    }
    // The run that it went on from.
    let continued = &endings[3].1;
    let events = space.story(continued.id.as_str()).await;
    let run_id = events[0].run_id.clone();
    let first = history(&client, continued.id.as_str(), run_id).await;
    keep("batch-first", &first).await;
}

#[tokio::test]
async fn a_delivery_of_every_ending_replays() {
    let space = Space::with(&[("NOTIFY_SCHEDULE", "100ms,2s")]).await;
    let _notifier = space.start(&["notifier"]);
    let client = space.client().await;
    let endings: [(&str, &[u16], Outcome); 3] = [
        ("delivery-delivered", &[500, 500], Outcome::Delivered),
        ("delivery-given-up", &[500; 3], Outcome::GivenUp),
        ("delivery-cancelled", &[500; 2], Outcome::GivenUp),
    ];
    for (name, answers, ending) in endings {
        let receiver = Receiver::start(answers).await;
        let event = notify::tell(&space, &receiver.url).await;
        if name == "delivery-cancelled" {
            receiver.wait(2).await;
            let id = notify::delivery_of(&space, &event).await;
            let handle = client.get_workflow_handle::<Generation>(id);
            handle.cancel(Default::default()).await.unwrap();
        }
        let of_event = |one: &Receipt| one.event_id == event.event_id;
        let receipt = eventually("it ends", async || {
            notify::receipts(&space, 1).await.into_iter().find(of_event)
        })
        .await;
        assert_eq!(receipt.outcome, ending, "{name}");
        let id = notify::delivery_of(&space, &event).await;
        closes(&client, &id).await;
        check(&client, name, &id).await;
    }
}

/// Replays the history of a workflow, and records it if that is asked for.
pub(crate) async fn check(client: &Client, name: &str, workflow: &str) {
    keep(name, &history(client, workflow, None).await).await;
}

/// Returns the history of a run, by default the newest, as JSON.
pub(crate) async fn history(client: &Client, workflow: &str, run_id: Option<String>) -> Vec<u8> {
    let run = WorkflowExecutionInfo::builder()
        .namespace(client.namespace())
        .workflow_id(workflow.to_owned())
        .maybe_run_id(run_id)
        .build();
    let handle = WorkflowHandle::<Client, UntypedWorkflow>::new(client.clone(), run);
    let history = handle.fetch_history(Default::default()).to_json().await;
    history.unwrap()
}

/// Returns the run from which the run of a history went on.
pub(crate) fn run_before(history: &[u8]) -> Option<String> {
    let history: Value = serde_json::from_slice(history).unwrap();
    let started = &history["events"][0]["attributes"]["WorkflowExecutionStartedEventAttributes"];
    let run_id = started["continued_execution_run_id"].as_str();
    run_id
        .filter(|run_id| !run_id.is_empty())
        .map(str::to_owned)
}

/// Waits until the newest run of a workflow has closed.
pub(crate) async fn closes(client: &Client, workflow: &str) {
    let handle = client.get_workflow_handle::<UntypedWorkflow>(workflow.to_owned());
    eventually("the workflow closes", async || {
        let described = handle.describe(Default::default()).await.ok()?;
        described.close_time().map(|_| ())
    })
    .await;
}

/// Replays a fresh history, and records it if that is asked for.
pub(crate) async fn keep(name: &str, history: &[u8]) {
    if let Ok(release) = std::env::var("GENFLOW_RECORD") {
        let mut history: Value = serde_json::from_slice(history).unwrap();
        each_text(&mut history, &anywhere);
        let path = folder().join(format!("{name}.{release}.json"));
        std::fs::write(path, history.to_string()).unwrap();
    }
    replay(name, history).await;
}

/// Puts another text in the place of each for which `change` has one, in what payloads hold too.
fn each_text(value: &mut Value, change: &dyn Fn(&str) -> Option<String>) {
    match value {
        Value::String(text) => {
            let held = BASE64.decode(&*text).ok();
            let changed = match held.and_then(|bytes| String::from_utf8(bytes).ok()) {
                Some(held) => change(&held).map(|held| BASE64.encode(held)),
                None => change(text),
            };
            if let Some(changed) = changed {
                *text = changed;
            }
        }
        Value::Array(values) => values.iter_mut().for_each(|value| each_text(value, change)),
        Value::Object(fields) => fields
            .values_mut()
            .for_each(|value| each_text(value, change)),
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

/// A text as if the folder of its space were `/srv`.
fn anywhere(text: &str) -> Option<String> {
    let mut parts = text.split(concat!(env!("CARGO_TARGET_TMPDIR"), "/"));
    let mut moved = parts.next()?.to_owned();
    for part in parts {
        let inside = part.find(['/', '"']).map_or("", |at| &part[at..]);
        moved.push_str("/srv");
        moved.push_str(inside);
    }
    (moved != text).then_some(moved)
}
