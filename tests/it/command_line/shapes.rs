//! The JSON of each command is as `docs/command-line.md` shows it.

use std::collections::BTreeSet;

use genflow::operate::cli::pages::json_of;
use serde_json::Value;

use crate::support::receiver::Receiver;
use crate::support::{Space, eventually};

/// Runs commands, and notes of which the JSON was as the reference shows it.
struct Shapes {
    space: Space,
    seen: BTreeSet<String>,
}

fn keys(value: &Value) -> BTreeSet<&str> {
    let object = value.as_object().unwrap();
    // Left out if it is empty.
    let always = object.keys().filter(|key| *key != "tried");
    always.map(String::as_str).collect()
}

impl Shapes {
    /// Runs `genflow COMMAND ARGUMENTS --json`, and returns the objects that it prints; each must have the keys of an example.
    async fn read(&mut self, command: &str, arguments: &[&str]) -> Vec<Value> {
        let words: Vec<_> = command.split(' ').collect();
        let line = [&words[..], arguments, &["--json"]].concat();
        let (_, printed) = self.space.run(&line).await;
        let lines = printed.lines().filter(|line| line.starts_with('{'));
        let objects: Vec<Value> = lines
            .map(|line| serde_json::from_str(line).unwrap())
            .collect();
        assert!(!objects.is_empty(), "{line:?}: {printed}");
        for object in &objects {
            // What is submitted is followed by events.
            let shown_by = match object.get("event_id") {
                Some(_) if command == "submit" => "watch",
                Some(_) | None => command,
            };
            let examples = json_of(shown_by).unwrap().lines();
            let examples = examples.map(|line| serde_json::from_str(line).unwrap());
            let examples: Vec<Value> = examples.collect();
            assert!(
                examples.iter().any(|example| keys(example) == keys(object)),
                "{command}: {object}"
            );
        }
        self.seen.insert(command.to_owned());
        objects
    }
}

#[tokio::test]
async fn json_is_as_the_reference_shows_it() {
    let space = Space::with(&[("BUDGET_MONTH_USD", "100")]).await;
    let _all = space.start_with(&["all"], &[("BUDGET_MONTH_USD", "")]);
    let topic = space.config.kafka.topics.requests.clone();
    space
        .produce(&topic, "poison", Some(b"not avro"), Vec::new())
        .await;
    let folder = space.folder().join("files").display().to_string();
    let receiver = Receiver::start(&[]).await;
    let mut shapes = Shapes {
        space,
        seen: BTreeSet::new(),
    };

    let submit = [
        "image",
        "--id",
        "shape-1",
        "--prompt",
        "a fox",
        "--width",
        "64",
        "--height",
        "64",
        "--webhook-url",
        &receiver.url,
        "--watch",
    ];
    let events = shapes.read("submit", &submit).await;
    assert_eq!(events[0]["request_id"], "shape-1");
    assert_eq!(events.last().unwrap()["type"], "COMPLETED");
    shapes.space.closed("shape-1").await;
    eventually("the notification has ended", async || {
        let ended = ["notifications", "list", "shape-1"];
        let listed = shapes.space.succeed(&ended).await;
        listed.contains("DELIVERED").then_some(())
    })
    .await;
    let receipts = shapes.read("notifications list", &["shape-1"]).await;
    assert_eq!(receipts[0]["outcome"], "DELIVERED");
    let again = ["shape-1", "--dry-run"];
    let again = shapes.read("notifications resend", &again).await;
    assert_eq!(again[0]["sent"].as_array().unwrap().len(), 1);
    let tested = shapes.read("notifications test", &[&receiver.url]).await;
    assert_eq!(tested[0]["delivered"], true);
    let watched = shapes.read("watch", &["shape-1"]).await;
    assert_eq!(watched[0]["type"], "STARTED");
    let status = shapes.read("status", &["shape-1"]).await;
    assert_eq!(status[0]["state"], "completed");
    let files = shapes.read("get", &["shape-1", "-o", &folder]).await;
    assert!(std::fs::exists(files[0]["path"].as_str().unwrap()).unwrap());
    // Visibility lags a little.
    let space = &shapes.space;
    eventually("the run is listed", async || {
        let listed = space.succeed(&["list", "--state", "completed"]).await;
        listed.contains("shape-1").then_some(())
    })
    .await;
    let runs = shapes.read("list", &[]).await;
    assert_eq!(runs[0]["request_id"], "shape-1");
    let costs = shapes.read("costs", &[]).await;
    assert_eq!(costs[0]["total"]["runs"], 1);
    shapes.read("budget", &[]).await;
    let replayed = shapes.read("replay", &["shape-1"]).await;
    assert_eq!(replayed[0]["ok"], true);

    let letters = eventually("the dead letter is listed", async || {
        let (_, printed) = shapes.space.run(&["dlq", "list"]).await;
        printed.contains("undecodable").then_some(printed)
    })
    .await;
    let header = "position  age      reason";
    assert!(letters.starts_with(header), "{letters}");
    let letters = shapes.read("dlq list", &[]).await;
    let position = format!("{}:{}", letters[0]["partition"], letters[0]["offset"]);
    let letter = shapes.read("dlq show", &[&position]).await;
    assert_eq!(letter[0]["bytes"], 8);
    let redriven = shapes.read("dlq redrive", &[&position]).await;
    assert_eq!(redriven[0]["position"], position.as_str());
    assert_eq!(redriven[1]["sent"]["undecodable"], 1);

    let model = "black-forest-labs/flux-schnell";
    shapes.read("models list", &[]).await;
    shapes.read("models show", &[model, "--offline"]).await;
    let check = ["image", "--prompt", "a fox", "--model", model, "--offline"];
    shapes.read("models check", &check).await;
    shapes.read("cancel", &["shape-1"]).await;
    shapes.read("cancel", &["--user", "cli", "--dry-run"]).await;
    shapes.read("retry", &["shape-1"]).await;
    let doctor = shapes.read("doctor", &[]).await;
    let example: Value = serde_json::from_str(json_of("doctor").unwrap()).unwrap();
    assert_eq!(keys(&doctor[0]["checks"][0]), keys(&example["checks"][0]));
    shapes.read("health", &[]).await;
    shapes.read("setup", &["--replication", "1"]).await;
    shapes.read("webhook-secret", &["ann"]).await;
    let settings = shapes.read("config show", &["kafka_brokers"]).await;
    assert_eq!(settings[0]["source"], "environment");
    shapes.read("config check", &[]).await;
    shapes.read("secrets", &[]).await;
    let env = shapes.space.folder().join("shapes.env");
    let init = ["--provider", "simulator", "-o", env.to_str().unwrap()];
    let made = shapes.read("init", &init).await;
    assert_eq!(made[0]["path"], env.to_str().unwrap());

    let with_json = super::covered::paths();
    let with_json = with_json.into_iter().filter(|path| json_of(path).is_some());
    assert_eq!(shapes.seen, with_json.collect());
}
