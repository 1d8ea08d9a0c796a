//! `genflow replay`, before a deploy: open runs, runs by name, exported histories, and runs that cannot continue.

use std::path::Path;

use clap::Parser as _;
use genflow::engines::config::Config;
use genflow::operate::cli::run::operate;
use genflow::operate::cli::{Cli, Command};
use genflow::operate::replay::{Recorded, Replayer};
use serde_json::{Value, json};

use super::recorded::{exported, recorded};
use crate::notify;
use crate::support::receiver::Receiver;
use crate::support::requests::{image, script};
use crate::support::{Space, eventually};

/// Returns a recorded run, up to the start of its `fetch`.
fn open_history() -> Value {
    let (_, text) = recorded()
        .into_iter()
        .find(|(name, _)| name.ends_with("/completed"))
        .unwrap();
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
    let recorded = Recorded::from_json(history.to_string().as_bytes()).unwrap();
    assert!(recorded.open);
    let replayed = Replayer::new().unwrap().replay(&recorded).await.unwrap();
    replayed.map(|misfit| (misfit.event, misfit.kind))
}

#[tokio::test]
async fn a_run_that_nobody_has_begun_goes_on() {
    let mut history = open_history();
    history["events"].as_array_mut().unwrap().truncate(1);

    assert_eq!(misfit(&history).await, None);
}

#[tokio::test]
async fn what_an_open_run_did_last_is_held_against_this_build_too() {
    let mut history = open_history();
    let last = history["events"].as_array().unwrap().len();

    assert_eq!(misfit(&history).await, None);
    let name = "/attributes/ActivityTaskScheduledEventAttributes/activity_type/name";
    *history["events"][last - 1].pointer_mut(name).unwrap() = json!("fetch.v9");
    let (event, kind) = misfit(&history).await.unwrap();

    assert_eq!(event, i64::try_from(last).unwrap());
    assert_eq!(kind, "ActivityTaskScheduled");
}

/// Replays a file; returns the exit code and the standard output. No server is needed.
async fn replayed(file: &Path) -> (u8, String) {
    let file = file.to_str().unwrap();
    let cli = Cli::try_parse_from(["genflow", "replay", "--file", file]).unwrap();
    let Command::Operator(command) = cli.command else {
        panic!("not an operator command");
    };
    let config = Config::load(|_| None).unwrap();
    let mut out = Vec::new();
    let code = Box::pin(operate(&config, &command, &mut out)).await;
    let code = code.unwrap_or_else(|error| error.exit_code());
    (code, String::from_utf8(out).unwrap())
}

#[tokio::test]
async fn an_exported_history_goes_on_and_a_damaged_one_fails_with_its_event() {
    let exported = exported();
    let text = std::fs::read_to_string(&exported).unwrap();
    let folder = std::env::temp_dir().join(format!("genflow-replay-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let (damaged, foreign) = (folder.join("damaged.json"), folder.join("foreign.json"));
    std::fs::write(&damaged, text.replace("finish.v1", "end.v1")).unwrap();
    std::fs::write(&foreign, r#"{"events": []}"#).unwrap();

    let (code, printed) = replayed(&exported).await;
    assert_eq!(code, 0, "{printed}");
    assert!(printed.starts_with("ok    "), "{printed}");
    let (code, printed) = replayed(&damaged).await;
    assert_eq!(code, 1, "{printed}");
    for wanted in [
        "FAIL  ",
        "generation.v1",
        "ActivityTaskScheduled",
        "finish.v1",
        "make no progress",
    ] {
        assert!(printed.contains(wanted), "{wanted} in {printed}");
    }
    for bad in [&foreign, &folder.join("none.json")] {
        assert_eq!(replayed(bad).await, (64, String::new()));
    }
    std::fs::remove_dir_all(&folder).unwrap();
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
    let reported = notify::tell(&space, &receiver.url).await;
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
