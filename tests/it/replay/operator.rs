//! `genflow replay`, before a deploy: open runs, runs by name, and runs that cannot continue.

use genflow::operate::replay::{Effect, Replayer};
use serde_json::{Value, json};

use super::recorded::{of_json, recorded};
use crate::notify;
use crate::support::receiver::Receiver;
use crate::support::requests::{image, script};
use crate::support::{Space, eventually};

fn completed() -> (String, Vec<u8>) {
    let mut all = recorded().into_iter();
    all.find(|(name, _)| name.ends_with("/completed")).unwrap()
}

/// Returns a recorded run, up to the start of its `fetch`.
fn open_history() -> Value {
    let (_, text) = completed();
    let mut history: Value = serde_json::from_slice(&text).unwrap();
    let events = history["events"].as_array_mut().unwrap();
    let fetch = |event: &Value| scheduled(event)["activity_type"]["name"] == "fetch.v1";
    let at = events.iter().position(fetch).unwrap();
    events.truncate(at + 1);
    history
}

fn scheduled(event: &Value) -> &Value {
    &event["attributes"]["ActivityTaskScheduledEventAttributes"]
}

async fn misfit(history: &Value) -> Option<(i64, String)> {
    let recorded = of_json(history.to_string().as_bytes());
    assert!(recorded.open);
    let replayed = Replayer::new().unwrap().replay(&recorded).await.unwrap();
    replayed.map(|misfit| (misfit.event, misfit.kind))
}

#[tokio::test]
async fn a_run_that_no_build_has_begun_continues() {
    let mut history = open_history();
    history["events"].as_array_mut().unwrap().truncate(1);

    assert_eq!(misfit(&history).await, None);
}

#[tokio::test]
async fn the_last_step_of_an_open_run_is_compared_too() {
    let mut history = open_history();
    let last = history["events"].as_array().unwrap().len();

    assert_eq!(misfit(&history).await, None);
    let name = "/attributes/ActivityTaskScheduledEventAttributes/activity_type/name";
    *history["events"][last - 1].pointer_mut(name).unwrap() = json!("fetch.v9");
    let (event, kind) = misfit(&history).await.unwrap();

    assert_eq!(event, i64::try_from(last).unwrap());
    assert_eq!(kind, "ActivityTaskScheduled");
}

#[tokio::test]
async fn a_damaged_history_fails_with_its_event() {
    let (_, text) = completed();
    let text = String::from_utf8(text).unwrap();
    let damaged = of_json(text.replace("finish.v1", "end.v1").as_bytes());

    let misfit = Replayer::new().unwrap().replay(&damaged).await.unwrap();

    let misfit = misfit.expect("the damaged history still matches");
    assert_eq!(misfit.kind, "ActivityTaskScheduled");
    assert_eq!(misfit.effect, Effect::NoProgress);
    assert!(misfit.problem.contains("finish.v1"), "{misfit:?}");
    assert_eq!(damaged.workflow_type, "generation.v1");
}

#[tokio::test]
async fn open_runs_replay_and_so_do_those_that_are_named() {
    let space = Space::with(&[("NOTIFY_SCHEDULE", "100ms,1h")]).await;
    let _all = space.start(&["all"]);
    let stuck = script(image("stuck"), &json!({"stuck": true}));
    let made = image("made");
    for request in [&stuck, &made] {
        space.send(request).await;
    }
    let receiver = Receiver::start(&[500, 500]).await;
    let reported = notify::publish_to(&space, &receiver.url).await;
    space.story(made.id.as_str()).await;
    let accepted = async || (space.bill(stuck.id.as_str()).await.accepted == 1).then_some(());
    eventually("the job runs", accepted).await;
    receiver.wait(2).await;

    // Visibility lags a little.
    let lines = eventually("both are listed as open", async || {
        let printed = space.succeed(&["replay", "--json"]).await;
        let lines = printed.lines().filter(|line| line.starts_with('{'));
        let lines: Vec<Value> = lines
            .map(|line| serde_json::from_str(line).unwrap())
            .collect();
        (lines.len() == 2).then_some(lines)
    })
    .await;
    assert_eq!(lines[0]["workflow_id"], stuck.id.as_str());
    assert_eq!(lines[1]["workflow_type"], "delivery.v1");
    assert!(
        lines[1]["workflow_id"]
            .as_str()
            .unwrap()
            .contains(&reported.event_id)
    );
    assert!(
        lines
            .iter()
            .all(|line| line["ok"] == true && line["open"] == true)
    );
    let printed = space.succeed(&["replay", "--limit", "1"]).await;
    assert!(
        printed.contains("generation.v1: 1 open, 1 replayed"),
        "{printed}"
    );
    assert!(
        printed.contains("2 replayed: all can continue under this build"),
        "{printed}"
    );

    let first = format!("{}~0", made.id);
    let printed = space.succeed(&["replay", stuck.id.as_str(), &first]).await;
    for id in [&stuck.id, &made.id] {
        assert!(
            printed.contains(&format!("ok    {id}  generation.v1")),
            "{printed}"
        );
    }
    let (code, printed) = space.run(&["replay", "nobody"]).await;
    assert_eq!((code, printed.as_str()), (1, "request nobody not found\n"));
    let nowhere = [("TEMPORAL_NAMESPACE", "nowhere")];
    for command in [
        &["replay"][..],
        &["replay", "a"],
        &["status", "a"],
        &["list"],
    ] {
        let (code, printed) = space.run_with(command, &nowhere).await;
        assert_eq!(code, 69, "{command:?}: {printed}");
        assert!(printed.contains("nowhere"), "{command:?}: {printed}");
    }
}
