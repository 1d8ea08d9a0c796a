//! Histories: those recorded under `tests/histories/`, and new ones of every ending, replay with the current workflows.
//!
//! `genflow replay`, which operators run before a deploy, makes the same check.
//!
//! `GENFLOW_RECORD=0.1 cargo test --test it replays` records a history of every ending of every workflow as
//! `tests/histories/0.1/{ending}.json`: the tests that create one have `replays` in their names. Each release records
//! once; its histories stay, because its runs may still be open. Names of folders on the
//! recording machine are replaced.

mod operator;
mod recorded;

use std::collections::BTreeSet;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use genflow::contract::receipt::{NotificationOutcome, Receipt};
use genflow::domain::{EventType, OnFailure, ProviderName, Request};
use genflow::operate::replay::{
    Effect, Misfit, Replayer, types_of_notifications, types_of_requests,
};
use genflow::workflows::generation::Generation;
use serde_json::{Value, json};
use temporalio_client::{
    Client, NamespacedClient as _, UntypedWorkflow, WorkflowExecutionInfo, WorkflowHandle,
};

pub(crate) use self::recorded::{each_text, keep};
use self::recorded::{of_json, recorded, replay};
use crate::batch::{batch, ids, spec};
use crate::notify;
use crate::support::described::Described as _;
use crate::support::receiver::Receiver;
use crate::support::requests::{at, falling_back, image, script, video};
use crate::support::{Space, eventually};

#[tokio::test]
async fn every_recorded_history_replays() {
    if std::env::var_os("GENFLOW_RECORD").is_some() {
        return;
    }
    let mut types = BTreeSet::new();
    for (name, history) in recorded() {
        replay(&name, &history).await;
        types.insert(of_json(&history).workflow_type);
        each_text(&mut serde_json::from_slice(&history).unwrap(), &|text| {
            for folder in ["/tmp", "/root", "/home", "/work", "/var"] {
                assert!(!text.contains(folder), "{name} has {folder}: {text}");
            }
            None
        });
    }
    for kind in [types_of_requests(), types_of_notifications()].concat() {
        assert!(types.contains(&kind), "no history of {kind} is recorded");
    }
}

/// Changes the payloads of one kind of event in a history; returns how many there are.
fn each_payload(
    history: &mut Value,
    attributes: &str,
    field: &str,
    to: &dyn Fn(Value) -> Value,
) -> usize {
    let events = history["events"].as_array_mut().unwrap();
    let payloads = events.iter_mut().filter_map(|event| {
        let payload = event["attributes"].get_mut(attributes)?;
        payload.pointer_mut(&format!("/{field}/payloads/0"))
    });
    let changed = payloads.map(|payload| {
        let data = payload["data"].as_str().unwrap_or_default();
        let held = serde_json::from_slice(&BASE64.decode(data).unwrap()).unwrap_or_default();
        *payload = json!({
            "metadata": {"encoding": BASE64.encode("json/plain")},
            "data": BASE64.encode(to(held).to_string()),
        });
    });
    changed.count()
}

async fn misfit_of(history: &Value) -> Misfit {
    let misfit = replayed(history).await;
    misfit.expect("the changed history still matches")
}

/// Replays a history that a test has changed; returns how it differs from what this build does.
pub(crate) async fn replayed(history: &Value) -> Option<Misfit> {
    let recorded = of_json(history.to_string().as_bytes());
    Replayer::new().unwrap().replay(&recorded).await.unwrap()
}

#[tokio::test]
async fn a_result_of_any_activity_that_cannot_be_read_fails_the_task() {
    let mut types = BTreeSet::new();
    for (name, history) in recorded() {
        let mut history: Value = serde_json::from_slice(&history).unwrap();
        let results = "ActivityTaskCompletedEventAttributes";
        let unreadable = |_| json!({"of_a_later_build": true});
        if each_payload(&mut history, results, "result", &unreadable) > 0 {
            let misfit = misfit_of(&history).await;
            let wanted = "cannot read the result of an activity";
            assert!(misfit.problem.contains(wanted), "{name}: {misfit:?}");
            let started = &history["events"][0]["attributes"];
            let started = &started["WorkflowExecutionStartedEventAttributes"];
            types.insert(
                started["workflow_type"]["name"]
                    .as_str()
                    .unwrap()
                    .to_owned(),
            );
        }
    }
    // All types except the claim and the budget, which have no activity.
    let all = [types_of_requests(), types_of_notifications()].concat();
    assert_eq!(types.len(), all.len() - 2, "{types:?}");
}

#[tokio::test]
async fn an_event_that_this_build_would_publish_with_other_content_is_found() {
    for (name, history) in recorded() {
        let mut history: Value = serde_json::from_slice(&history).unwrap();
        let changed = |mut input: Value| {
            if let Some(event) = input.pointer_mut("/handed/events/0") {
                event["user_id"] = json!("somebody-else");
            }
            input
        };
        if !name.ends_with("/completed") {
            continue;
        }
        let scheduled = "ActivityTaskScheduledEventAttributes";
        assert!(each_payload(&mut history, scheduled, "input", &changed) > 0);

        let misfit = misfit_of(&history).await;

        assert_eq!(misfit.effect, Effect::OtherContent);
        assert!(
            misfit
                .problem
                .contains("submit.v1: handed.events.0.user_id"),
            "{misfit:?}"
        );
        assert_eq!(misfit.kind, "ActivityTaskScheduled");
    }
}

#[tokio::test]
async fn a_run_of_every_ending_replays() {
    let space = Space::with(&[("SWEEP_INTERVAL", "300ms")]).await;
    let _all = space.start(&["all"]);
    let mut late = script(image("deadline"), &json!({"stuck": true}));
    late.timeout = Some(Duration::from_secs(8));
    let stuck = script(image("cancelled"), &json!({"stuck": true}));
    let claimed = image("claimed");
    let stored = at(ProviderName::OPENAI, image("stored"));
    let ambiguous = script(image("ambiguous"), &json!({"submit": [502]}));
    let declined = script(
        image("fallback"),
        &json!({"candidates": 1, "submit": [401]}),
    );
    let declined = at(ProviderName::REPLICATE, declined);
    let fallback = falling_back(declined, &[ProviderName::FAL]);
    let endings: [(&str, Request, EventType); 9] = [
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
        ("fallback", fallback, EventType::Completed),
        (
            "ambiguous",
            at(ProviderName::OPENAI, ambiguous),
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
        assert_eq!(events.last().unwrap().event_type, *ending, "{name}");
        check(&client, name, request.id.as_str()).await;
    }
    space.closed(claimed.id.as_str()).await;
    check(&client, "claimed", claimed.id.as_str()).await;
    check_end(&space, &client).await;
}

/// Replays the `end.v1` of a terminated run.
async fn check_end(space: &Space, client: &Client) {
    let request = script(image("ended"), &json!({"stuck": true}));
    space.send(&request).await;
    let accepted = async || (space.bill(request.id.as_str()).await.accepted == 1).then_some(());
    eventually("the job runs", accepted).await;
    let handle = client.get_workflow_handle::<Generation>(request.id.to_string());
    handle.terminate(Default::default()).await.unwrap();
    let events = space.story(request.id.as_str()).await;
    assert_eq!(events.last().unwrap().event_type, EventType::Failed);
    let workflow = request.id.run(0);
    let run_id = space.temporal().await.run_id(&workflow).await.unwrap();
    let end = format!("end/{workflow}/{run_id}");
    closes(client, &end).await;
    check(client, "ended", &end).await;
    let day = genflow::engines::clock::now() / 86_400_000;
    let look_back = format!("look-back/{}/{day}", space.config.temporal.task_queue);
    closes(client, &look_back).await;
    check(client, "look-back", &look_back).await;
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
        assert_eq!(events.last().unwrap().event_type, *ending, "{name}");
        check(&client, name, request.id.as_str()).await;
    }
    // The run before its continue-as-new.
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
    let endings: [(&str, &[u16], NotificationOutcome); 3] = [
        (
            "delivery-delivered",
            &[500, 500],
            NotificationOutcome::Delivered,
        ),
        ("delivery-given-up", &[500; 3], NotificationOutcome::GivenUp),
        (
            "delivery-cancelled",
            &[500; 2],
            NotificationOutcome::GivenUp,
        ),
    ];
    for (name, answers, ending) in endings {
        let receiver = Receiver::start(answers).await;
        let event = notify::publish_to(&space, &receiver.url).await;
        if name == "delivery-cancelled" {
            receiver.wait(2).await;
            let id = notify::delivery_of(&space, &event).await;
            let handle = client.get_workflow_handle::<Generation>(id);
            handle.cancel(Default::default()).await.unwrap();
        }
        let of_event = |one: &Receipt| one.event_id == event.event_id;
        let receipt = eventually("the delivery ends", async || {
            notify::receipts(&space, 1).await.into_iter().find(of_event)
        })
        .await;
        assert_eq!(receipt.outcome, ending, "{name}");
        let id = notify::delivery_of(&space, &event).await;
        closes(&client, &id).await;
        check(&client, name, &id).await;
    }
}

/// Replays the history of a workflow, and records it if `GENFLOW_RECORD` is set.
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

/// Returns the id of the run that this history's run continues.
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
