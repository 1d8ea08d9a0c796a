//! The questions that a person on call asks. Each story brings about the state that its question is about, and reads the
//! answer from the console's API, from the command line and from the metrics. `docs/operating/questions.md` has the same
//! answers for people.

mod waiting;

use chrono::DateTime;
use genflow::domain::{Request, Targets};
use genflow::engines::clock::now;
use serde_json::{Value, json};

use self::waiting::Sent;
use crate::console::{Console, keys};
use crate::doctor::doctor;
use crate::support::gate::Gate;
use crate::support::receiver::Receiver;
use crate::support::requests::{FAL, at, image, script};
use crate::support::{Space, Watched, eventually};

/// Makes a worker write results of `submit` that only its own build can read.
const OTHER_BUILD: [(&str, &str); 1] = [("GENFLOW_FAILPOINT", "submit.result=later")];

/// A webhook at a port on which no process listens, and which no test gets.
const NOBODY: &str = "http://127.0.0.1:1/hook/secret-token";

/// The price of the images of these stories.
const PRICES: &str = r#"
[[price]]
models = ["fal:simulated/image"]
per = "billable_unit"
usd = 0.25
"#;

/// Runs a command with `--json`, and returns the objects that it prints.
async fn command(space: &Space, arguments: &[&str]) -> Vec<Value> {
    let (_, printed) = space.run(&[arguments, &["--json"]].concat()).await;
    let lines = printed.lines().filter(|line| line.starts_with('{'));
    lines
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

fn of(user: &str, mut request: Request) -> Request {
    request.user = user.to_owned().try_into().unwrap();
    request
}

/// Returns a request whose outcome is told to a webhook.
fn told(user: &str, webhook: &str) -> Request {
    let mut request = of(user, image("told"));
    request.targets = Targets::parse(Some(webhook), None, None).unwrap();
    request
}

#[tokio::test]
async fn where_is_order_7_and_why_is_it_slow() {
    let space = Space::new().await;
    let all = Watched::start(&space, "all", &[]);
    let console = Console::start(&space, &keys()).await;
    // Its provider is busy at first, and then takes its time.
    let faults = json!({"submit": [429], "seconds": 600});
    let order = script(image("order-7"), &faults);
    let id = order.id.as_str();
    space.send(&order).await;

    let row = console.row(&order, "generating").await;
    assert_eq!((&row["user"], &row["ended"]), (&json!("ann"), &Value::Null));
    // The steps say what took so long: a second attempt at the submit, and now the job itself.
    let steps = eventually("the job is polled", async || {
        let found = console.get(&format!("/requests/{id}")).await;
        let steps = found["timeline"]["value"]["steps"].as_array()?.clone();
        let last = steps.last()?;
        (last["outcome"] == "open" && last["started_at"].is_i64()).then_some(steps)
    })
    .await;
    let submit = &steps[0];
    assert_eq!(submit["name"], "submit.v1");
    assert_eq!(submit["outcome"], "done");
    assert!(submit["attempts"].as_i64() >= Some(2), "{submit}");
    assert!(submit["failure"].is_string(), "{submit}");
    assert_eq!(steps[steps.len() - 1]["name"], "fetch.v1");

    let status = eventually("a worker answers", async || {
        let status = command(&space, &["status", id]).await.remove(0);
        (status["source"] == "worker").then_some(status)
    })
    .await;
    assert_eq!(status["state"], "generating");
    assert_eq!(status["attempts"], 2, "sends to the provider");
    assert!(status["submitted_at"].as_i64() >= status["started_at"].as_i64());

    // One run, which waited for nothing of ours, and one submit that the provider did not take.
    let busy = "genflow_provider_call_seconds_count{provider=\"replicate\",step=\"submit\",outcome=\"not_accepted\"} 1";
    all.says("metrics", busy).await;
    assert_eq!(all.sum("genflow_run_wait_seconds_count").await, 1.0);
    eventually("the run is listed", async || {
        let listed = command(&space, &["list", "--state", "running"]).await;
        (listed.len() == 1).then_some(())
    })
    .await;
    // A worker counts the open runs when it starts, and then every minute.
    let another = Watched::start(&space, "worker", &[]);
    eventually("the open run is counted", async || {
        (another.sum("genflow_runs_open").await == 1.0).then_some(())
    })
    .await;
}

#[tokio::test]
async fn what_failed_in_the_last_hour_by_cause() {
    let space = Space::new().await;
    let all = Watched::start(&space, "all", &[]);
    let console = Console::start(&space, &keys()).await;
    let failing = |why: &str| script(image("fails"), &json!({"fail": why}));
    let requests = [
        image("made"),
        failing("out of memory"),
        failing("out of memory"),
        failing("NSFW content detected"),
    ];
    let topic = space.config.kafka.topics.requests.clone();
    space
        .produce(&topic, "odd", Some(b"no avro"), Vec::new())
        .await;
    for request in &requests {
        space.send(request).await;
    }
    for request in &requests {
        space.story(request.id.as_str()).await;
    }

    let codes = json!({"content_policy": 1, "provider_failed": 2});
    let numbers = eventually("the console knows them", async || {
        let numbers = console.get("/stats").await["requests"].clone();
        (numbers["completed"] == 1 && numbers["failed"] == 3).then_some(numbers)
    })
    .await;
    assert_eq!(numbers["codes"], codes);
    let hour = now() - 3_600_000;
    let listed = console
        .get(&format!("/requests?state=failed&since={hour}"))
        .await;
    assert_eq!((&listed["total"], &listed["codes"]), (&json!(3), &codes));

    // A dry run sends nothing: it counts, and names the requests.
    for (code, count) in [("provider_failed", 2), ("content_policy", 1)] {
        let retry = ["retry", "--code", code, "--since", "1h", "--dry-run"];
        let plan = command(&space, &retry).await.remove(0);
        assert_eq!(plan["would"], count, "{code}: {plan}");
    }
    let letters = command(&space, &["dlq", "list", "--since", "1h"]).await;
    assert_eq!(letters.len(), 1, "{letters:?}");
    assert_eq!(letters[0]["reason"], "undecodable");

    let refused =
        format!("genflow_records_rejected_total{{topic=\"{topic}\",reason=\"undecodable\"}} 1");
    for counted in [
        "genflow_runs_failed_total{kind=\"IMAGE\",code=\"provider_failed\"} 2",
        "genflow_runs_failed_total{kind=\"IMAGE\",code=\"content_policy\"} 1",
        "genflow_generation_failures_total{provider=\"replicate\",code=\"provider_failed\"} 2",
        &refused,
    ] {
        all.says("metrics", counted).await;
    }
}

#[tokio::test]
async fn whose_endpoint_is_down() {
    let space = Space::with(&[("NOTIFY_SCHEDULE", "100ms,100ms")]).await;
    let all = Watched::start(&space, "all", &[]);
    let console = Console::start(&space, &keys()).await;
    let well = Receiver::start(&[]).await;
    let requests = [told("ann", &well.url), told("bob", NOBODY)];
    for request in &requests {
        space.send(request).await;
    }
    for request in &requests {
        console.row(request, "completed").await;
    }

    eventually("both notifications have ended", async || {
        let endpoints = console.get("/stats").await["endpoints"].clone();
        (endpoints == json!({"all": 2, "failing": 1})).then_some(())
    })
    .await;
    // Those that fail come first.
    let down = console.get("/endpoints").await["items"][0].clone();
    assert_eq!(down["last"]["outcome"], "GIVEN_UP");
    assert_eq!(down["target"], "http://127.0.0.1/…");
    // A target has no user: the request of its newest notification has.
    let newest = down["last"]["request_id"].as_str().unwrap();
    let found = console.get(&format!("/requests/{newest}")).await;
    assert_eq!(found["row"]["user"], "bob");

    let list = ["notifications", "list", "--undelivered", "--since", "1h"];
    let undelivered = command(&space, &list).await;
    assert_eq!(undelivered.len(), 1, "{undelivered:?}");
    assert_eq!(undelivered[0]["target_hash"], down["target_hash"]);
    assert_eq!(undelivered[0]["tries"], 3);
    let letters = command(&space, &["dlq", "list", "--notifications"]).await;
    assert_eq!(letters.len(), 1, "{letters:?}");
    let whose = (&letters[0]["user_id"], &letters[0]["target_hash"]);
    assert_eq!(whose, (&json!("bob"), &down["target_hash"]));

    for (outcome, count) in [("GIVEN_UP", 1), ("DELIVERED", 1)] {
        let ended = format!(
            "genflow_notification_seconds_count{{channel=\"WEBHOOK\",outcome=\"{outcome}\"}} {count}"
        );
        all.says("metrics", &ended).await;
    }
    // No metric says whose it is.
    assert!(!all.page("metrics").await.contains("bob"));
}

#[tokio::test]
async fn what_did_user_alice_cost_this_month() {
    let today = DateTime::from_timestamp_millis(now()).unwrap();
    let month = today.format("%Y-%m-01T00:00:00Z").to_string();
    let since = DateTime::parse_from_rfc3339(&month).unwrap();
    let since = since.timestamp_millis();
    let space = Space::new().await;
    let prices = space.folder().join("prices.toml");
    std::fs::write(&prices, PRICES).unwrap();
    let prices = ("PRICES_FILE", prices.to_str().unwrap());
    let all = Watched::start(&space, "all", &[prices]);
    // It reads a week by default.
    let console = Console::start(&space, &[keys()[0], ("CONSOLE_PERIOD", "31d")]).await;
    let made = |user: &str, units: &str| {
        let sim = json!({"units": units, "seconds": 0.1});
        of(user, at(FAL, script(image("made"), &sim)))
    };
    let requests = [made("alice", "1"), made("alice", "2"), made("bob", "4")];
    for request in &requests {
        space.send(request).await;
    }
    for request in &requests {
        space.story(request.id.as_str()).await;
    }

    // The console shows what each request cost; this story adds it up, as a person would.
    let query = format!("/requests?user=alice&state=completed&since={since}&limit=1000");
    let found = eventually("the console knows hers", async || {
        let found = console.get(&query).await;
        (found["total"] == 2).then_some(found)
    })
    .await;
    assert_eq!(found["next"], Value::Null, "there is one page");
    let rows = found["items"].as_array().unwrap().iter();
    let costs = rows.map(|row| row["cost_usd"].as_f64().unwrap());
    assert_eq!(costs.sum::<f64>(), 0.75);

    let costs = ["costs", "--user", "alice", "--since", &month];
    let costs = command(&space, &costs).await.remove(0);
    assert_eq!(costs["total"]["runs"], 2, "{costs}");
    assert_eq!(costs["total"]["cost_usd"], 0.75, "{costs}");

    // The metrics have what all users cost together: none has a user as a label.
    for total in ["genflow_provider_cost_usd_sum", "genflow_spent_usd_sum"] {
        assert_eq!(all.sum(total).await, 1.75, "{total}");
    }
    assert!(!all.page("metrics").await.contains("alice"));
}

/// Waits until the console says that so many records wait for intake, and when the oldest was sent.
async fn until_the_oldest_is(console: &Console, records: u64, oldest: &Sent) {
    eventually("the console has the oldest record", async || {
        let waiting = console.get("/backlog").await["records"].clone();
        let is_oldest = oldest.is_at(waiting["oldest"].as_i64());
        (waiting["value"] == records && is_oldest).then_some(())
    })
    .await;
}

#[tokio::test]
async fn is_intake_behind_and_by_how_long() {
    let space = Space::new().await;
    let topic = &space.config.kafka.topics.requests;
    let console = Console::start(&space, &keys()).await;
    let gate = Gate::before(&space.engines.temporal).await;
    let address = gate.address.to_string();
    let mut held = Watched::start(&space, "intake", &[("TEMPORAL_HOST", &address)]);
    held.ready().await;

    // It runs, and cannot start anything.
    gate.shut();
    let first = Sent::send(&space, &image("waits")).await;
    for _ in 0..2 {
        space.send(&image("waits")).await;
    }
    held.says("readyz", "holds records").await;
    eventually("the oldest record is two seconds old", async || {
        let age = held.sum("genflow_oldest_unfinished_record_seconds").await;
        (age >= 2.0).then_some(())
    })
    .await;
    assert!(held.sum("genflow_records_in_flight").await >= 1.0);

    // It does not even run. No process has a metric of it, but the brokers have what it has not committed.
    held.process.terminate().await;
    let group = format!("group {}-intake", space.name());
    let waits = |found: &str| {
        let start = format!("lag 3 on {topic}, the oldest ");
        found.starts_with(&start) && found.ends_with(" old, no members")
    };
    let (report, asked) = eventually("the group is empty", async || {
        let asked = now();
        let report = doctor(&space, &[]).await;
        waits(report.found(&group)).then_some((report, asked))
    })
    .await;
    first.has_age_in(report.found(&group), asked);
    assert_eq!(report.verdict(&group), "warn");
    let asked = now();
    let report = console.get("/doctor?fresh=true").await;
    let mut checks = report["checks"].as_array().unwrap().iter();
    let check = checks.find(|check| check["check"] == group.as_str());
    let check = check.unwrap();
    let found = check["found"].as_str().unwrap();
    assert!(waits(found), "{found}");
    first.has_age_in(found, asked);
    assert_eq!(check["advice"], "start genflow intake");
    until_the_oldest_is(&console, 3, &first).await;

    // It runs again, and says by how long it was behind.
    let mut again = Watched::start(&space, "intake", &[]);
    space.caught_up("intake", topic).await;
    let delay = "genflow_request_start_delay_seconds";
    assert_eq!(again.sum(&format!("{delay}_count")).await, 3.0);
    assert!(again.sum(&format!("{delay}_sum")).await >= 2.0);
    let report = doctor(&space, &[]).await;
    assert_eq!(report.found(&group), format!("lag 0 on {topic}, 1 member"));

    // The records that it has committed are older, and count no more.
    again.process.terminate().await;
    let next = Sent::send(&space, &image("waits")).await;
    until_the_oldest_is(&console, 1, &next).await;
}

#[tokio::test]
async fn was_anything_paid_twice_or_ambiguously() {
    let space = Space::with(&[
        ("SUBMIT_AMBIGUOUS", "resubmit"),
        ("SUBMIT_MAX_ATTEMPTS", "2"),
    ])
    .await;
    let all = Watched::start(&space, "all", &[]);
    let console = Console::start(&space, &keys()).await;
    // The provider takes the job, and its answer is lost.
    let cut = |name: &str, times: usize| {
        let faults = json!({"seconds": 0.1, "submit": vec!["accept_cut"; times]});
        at(FAL, script(image(name), &faults))
    };
    let (twice, ambiguous) = (cut("twice", 1), cut("ambiguous", 2));
    for request in [&twice, &ambiguous] {
        space.send(request).await;
    }
    for request in [&twice, &ambiguous] {
        space.story(request.id.as_str()).await;
        assert_eq!(space.bill(request.id.as_str()).await.accepted, 2);
    }

    console.row(&ambiguous, "failed").await;
    let found = console.get("/requests?code=submit_ambiguous").await;
    assert_eq!(found["total"], 1);
    assert_eq!(found["items"][0]["id"], ambiguous.id.as_str());
    // What was sent twice has completed like any other; its steps say that it was sent again.
    console.row(&twice, "completed").await;
    let found = console.get(&format!("/requests/{}", twice.id)).await;
    let submit = &found["timeline"]["value"]["steps"][0];
    assert!(submit["attempts"].as_i64() >= Some(2), "{submit}");
    let why = submit["failure"].as_str().unwrap();
    assert!(why.contains("SUBMIT_AMBIGUOUS=resubmit"), "{why}");

    let retry = ["retry", "--code", "submit_ambiguous", "--dry-run"];
    let plan = command(&space, &retry).await.remove(0);
    assert_eq!(plan["ids"], json!([ambiguous.id.as_str()]));
    let status = command(&space, &["status", ambiguous.id.as_str()]).await;
    assert_eq!(status[0]["error"]["code"], "submit_ambiguous");
    // No command lists what was sent twice: the log does.
    let log = all.process.output();
    let is_named =
        |line: &str| line.contains("submit_repeated") && line.contains(twice.id.as_str());
    assert!(log.lines().any(is_named), "{log}");

    for counted in [
        "genflow_money_at_risk_total{provider=\"fal\",cause=\"resent\"} 2",
        "genflow_money_at_risk_total{provider=\"fal\",cause=\"ambiguous\"} 1",
        "genflow_provider_call_seconds_count{provider=\"fal\",step=\"submit\",outcome=\"unknown\"} 3",
    ] {
        all.says("metrics", counted).await;
    }
}

#[tokio::test]
async fn is_it_safe_to_deploy() {
    let space = Space::new().await;
    let _intake = space.start(&["intake"]);
    let mut running = Watched::start(&space, "worker", &OTHER_BUILD);
    let console = Console::start(&space, &keys()).await;
    let open = script(image("open"), &json!({"seconds": 600}));
    space.send(&open).await;
    console.row(&open, "generating").await;

    // The build that is to be deployed says that it cannot continue the run, the one that runs says that it can.
    let run = format!("  {}  generation.v1", open.id);
    let (code, printed) = eventually("the open run is listed", async || {
        let (code, printed) = space.run(&["replay"]).await;
        printed.contains(&run).then_some((code, printed))
    })
    .await;
    assert_eq!(code, 1, "{printed}");
    assert!(printed.contains(&format!("FAIL{run}")), "{printed}");
    assert!(printed.contains("would make no progress"), "{printed}");
    let (code, printed) = space.run_with(&["replay"], &OTHER_BUILD).await;
    assert_eq!(code, 0, "{printed}");
    assert!(printed.contains("all can continue"), "{printed}");
    assert_eq!(doctor(&space, &[]).await.failing(), Vec::<&str>::new());

    // The console knows what a deploy would meet, and not whether the new build can continue it.
    let session = console.get("/session").await;
    assert_eq!(session["version"], env!("CARGO_PKG_VERSION"));
    assert_eq!(console.get("/stats").await["requests"]["running"], 1);
    assert_eq!(console.get("/doctor?fresh=true").await["ok"], true);
    let version = format!(
        "genflow_build_info{{version=\"{}\"}} 1",
        env!("CARGO_PKG_VERSION")
    );
    running.says("metrics", &version).await;
    let failed = "temporal_workflow_task_execution_failed_total";
    assert_eq!(running.sum(failed).await, 0.0);

    // It is deployed nevertheless: the next thing that happens to the run shows it.
    assert!(running.process.terminate().await.success());
    let deployed = Watched::start(&space, "worker", &[]);
    deployed.ready().await;
    space.cancel(open.id.as_str()).await;
    eventually("its workflow tasks fail", async || {
        (deployed.sum(failed).await >= 1.0).then_some(())
    })
    .await;
}
