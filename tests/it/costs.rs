//! What runs cost: on events, in the result store, in `genflow status`, in metrics, and added up by `genflow costs`.

use std::path::PathBuf;

use chrono::NaiveDate;
use genflow::domain::{CostSource, EventType, Generated, ProviderName, Request};
use genflow::engines::kafka::Headers;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::support::requests::{FAL, OPENAI, REPLICATE};
use CostSource::{Estimate, Metered, Provider};

use crate::retry::{commands_done, retry};
use crate::storage::manifest;
use crate::support::described::Described as _;
use crate::support::requests::{IMAGE_MODEL, at, image, script, video};
use crate::support::{Space, Watched, eventually};

/// Prices of the models of these stories.
const PRICES: &str = r#"
[[price]]
models = ["fal:simulated/image"]
per = "billable_unit"
usd = 0.025

[[price]]
models = ["replicate:simulated/image"]
per = "image"
usd = 0.01

[[price]]
models = ["openai:gpt-image-2"]
per = "million_text_tokens"
usd = 5.0

[[price]]
models = ["openai:gpt-image-2"]
per = "million_output_tokens"
usd = 30.0
"#;

/// US dollars, and where they are from.
type Reported = (f64, Option<CostSource>);

/// A file of prices, removed at the end of its story.
struct PricesFile(PathBuf);

impl PricesFile {
    fn new() -> Self {
        let name = format!("prices-{}.toml", Uuid::new_v4().simple());
        let file = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(name);
        std::fs::write(&file, PRICES).unwrap();
        Self(file)
    }

    fn setting(&self) -> (&str, &str) {
        ("PRICES_FILE", self.0.to_str().unwrap())
    }
}

impl Drop for PricesFile {
    fn drop(&mut self) {
        std::fs::remove_file(&self.0).ok();
    }
}

fn asked(provider: ProviderName, make: fn(&str) -> Request, sim: &Value) -> Request {
    at(provider, script(make(provider.as_str()), sim))
}

async fn result(space: &Space, request: &Request) -> Generated {
    let story = space.story(request.id.as_str()).await;
    let last = story.last().unwrap();
    assert_eq!(last.event_type, EventType::Completed, "{last:#?}");
    last.result.clone().unwrap()
}

fn cost(result: &Generated) -> Option<Reported> {
    Some((result.cost_usd?, result.cost_source))
}

/// Requests, and what their results say about their cost.
fn priced_and_unpriced() -> Vec<(Request, Option<Reported>)> {
    let quick = |mut sim: Value| {
        sim["seconds"] = json!(0.1);
        sim
    };
    let metered = quick(json!({"units": "3"}));
    let reported = quick(json!({"price": "0.25"}));
    let silent = quick(json!({"unmetered": true}));
    let plain = quick(json!({}));
    vec![
        (asked(FAL, image, &metered), Some((0.075, Some(Metered)))),
        (asked(FAL, image, &reported), Some((0.25, Some(Provider)))),
        (asked(FAL, image, &silent), None),
        // Three words, and an image of a thousand tokens.
        (
            asked(OPENAI, image, &json!({})),
            Some((0.030_015, Some(Metered))),
        ),
        (
            asked(REPLICATE, image, &plain),
            Some((0.01, Some(Estimate))),
        ),
        (asked(REPLICATE, video, &plain), None),
    ]
}

/// Whether `submit` waits for the job or `fetch` does, the best number is on the event, and everywhere that shows it.
async fn the_best_number_is_reported(submit_wait: &str) {
    let prices = PricesFile::new();
    let space = Space::with(&[prices.setting(), ("SUBMIT_WAIT", submit_wait)]).await;
    let all = Watched::start(&space, "all", &[]);
    for (request, expected) in priced_and_unpriced() {
        space.send(&request).await;

        let made = result(&space, &request).await;

        assert_eq!(cost(&made), expected, "{request:?}");
        assert_eq!(made.cost_source.is_some(), expected.is_some());
        assert_eq!(manifest(&space, request.id.as_str())["result"], json!(made));
        let status = space
            .succeed(&["status", request.id.as_str(), "--json"])
            .await;
        let status: Value = serde_json::from_str(&status).unwrap();
        assert_eq!(status["result"], json!(made));
    }
    for (provider, model, source, sum) in [
        ("fal", "simulated/image", "METERED", "0.075"),
        ("fal", "simulated/image", "PROVIDER", "0.25"),
        ("openai", "gpt-image-2", "METERED", "0.030015"),
        ("replicate", "simulated/image", "ESTIMATE", "0.01"),
    ] {
        let name = "genflow_provider_cost_usd_sum";
        let labels = format!("provider=\"{provider}\",model=\"{model}\",source=\"{source}\"");
        all.says("metrics", &format!("{name}{{{labels}}} {sum}\n"))
            .await;
    }
}

#[tokio::test]
async fn a_fetched_job_reports_the_best_number_for_its_cost() {
    Box::pin(the_best_number_is_reported("0s")).await;
}

#[tokio::test]
async fn a_quick_job_reports_the_best_number_for_its_cost() {
    Box::pin(the_best_number_is_reported("30s")).await;
}

#[tokio::test]
async fn a_job_that_another_worker_adopts_keeps_its_quote() {
    let prices = PricesFile::new();
    let space = Space::with(&[prices.setting()]).await;
    let _intake = space.start(&["intake"]);
    let killed = [("GENFLOW_FAILPOINT", "submit.kept=kill")];
    let mut first = space.start_with(&["worker"], &killed);
    let request = asked(FAL, image, &json!({"units": "2"}));
    space.send(&request).await;
    first.ended().await;
    // The prices of the day when the job was sent count.
    std::fs::write(&prices.0, "").unwrap();

    let _second = space.start(&["worker"]);

    let made = result(&space, &request).await;
    assert_eq!(cost(&made), Some((0.05, Some(Metered))));
    assert_eq!(made.model.as_deref(), Some(IMAGE_MODEL));
    assert_eq!(space.bill(request.id.as_str()).await.accepted, 1);
}

/// Returns what the simulator bills for the jobs of a run, at the prices of these stories.
async fn billed(space: &Space, workflow: &str) -> (u64, f64) {
    let entry = space.ledger(workflow).await;
    let jobs = entry["jobs"].as_array().unwrap();
    let done = jobs.iter().filter(|job| job["status"] == "succeeded");
    let units = done.map(|job| job["units"].as_str().unwrap().parse::<f64>().unwrap());
    units.fold((0, 0.0), |(runs, usd), units| {
        (runs + 1, usd + units * 0.025)
    })
}

#[tokio::test]
async fn costs_agree_with_what_the_provider_bills_whatever_is_repeated() {
    let prices = PricesFile::new();
    let space = Space::with(&[prices.setting()]).await;
    let _all = space.start(&["all"]);
    let once = asked(FAL, image, &json!({"units": "1"}));
    let sent_twice = asked(FAL, image, &json!({"units": "4"}));
    // The first run fails, the second is billed.
    let retried = asked(
        FAL,
        image,
        &json!({"units": "7", "fail": "out of luck", "runs": 1}),
    );
    let mut bobs = asked(REPLICATE, image, &json!({}));
    bobs.user = "bob".to_owned().try_into().unwrap();
    let unpriced = asked(REPLICATE, video, &json!({}));
    for request in [&once, &sent_twice, &sent_twice, &retried, &bobs, &unpriced] {
        space.send(request).await;
    }
    for request in [&once, &sent_twice, &retried, &bobs, &unpriced] {
        space.story(request.id.as_str()).await;
    }
    retry(&space, &retried.id, "again").await;
    commands_done(&space).await;
    let again = retried.id.run(1);
    let temporal = space.temporal().await;
    eventually("the second run closes", async || {
        temporal.is_closed(&again).await.then_some(())
    })
    .await;
    repeat_results(&space).await;

    let by_user = costs(&space, &["--by", "user"]).await;
    let by_model = costs(&space, &["--by", "model", "--user", "ann"]).await;

    let by_kind = costs(&space, &["--by", "kind"]).await;
    let by_day = costs(&space, &["--by", "day"]).await;

    let mut ann = (0, 0.0);
    for id in [
        once.id.run(0),
        sent_twice.id.run(0),
        retried.id.run(0),
        again,
    ] {
        let (runs, usd) = billed(&space, id.as_str()).await;
        ann = (ann.0 + runs, ann.1 + usd);
    }
    assert_eq!(ann.0, 3, "the failed run is not billed");
    assert_eq!(
        by_user["groups"],
        json!([
            {"user": "ann", "runs": 4, "cost_usd": ann.1, "estimated_usd": 0.0, "unpriced": 1},
            {"user": "bob", "runs": 1, "cost_usd": 0.01, "estimated_usd": 0.01, "unpriced": 0},
        ])
    );
    assert_eq!(by_user["total"]["runs"], json!(5));
    let of_kind = |group: &Value| (group["kind"].clone(), group["runs"].clone());
    let kinds: Vec<_> = groups(&by_kind).iter().map(of_kind).collect();
    assert_eq!(
        kinds,
        [(json!("IMAGE"), json!(4)), (json!("VIDEO"), json!(1)),]
    );
    let mut runs = 0;
    for group in groups(&by_day) {
        // Two if midnight passed meanwhile.
        let day = group["day"].as_str().unwrap();
        assert!(NaiveDate::parse_from_str(day, "%Y-%m-%d").is_ok(), "{day}");
        runs += group["runs"].as_u64().unwrap();
    }
    assert_eq!(runs, 5);
    for by in [&by_kind, &by_day] {
        assert_eq!(by["total"], by_user["total"]);
    }
    let models: Vec<_> = by_model["groups"]
        .as_array()
        .unwrap()
        .iter()
        .map(|group| &group["model"])
        .collect();
    assert_eq!(models, ["fal:simulated/image", "replicate:simulated/video"]);
    let table = space.succeed(&["costs", "--by", "provider"]).await;
    assert!(table.starts_with("provider "), "{table}");
    let none = costs(&space, &["--until", "1d", "--since", "2d"]).await;
    assert_eq!(
        (&none["groups"], &none["oldest"]),
        (&json!([]), &Value::Null)
    );
}

fn groups(costs: &Value) -> &[Value] {
    costs["groups"].as_array().unwrap()
}

async fn costs(space: &Space, arguments: &[&str]) -> Value {
    let line = [&["costs", "--json"], arguments].concat();
    serde_json::from_str(&space.succeed(&line).await).unwrap()
}

/// Publishes all outcomes once more, as a repeated `finish` does.
async fn repeat_results(space: &Space) {
    let topic = &space.config.kafka.topics.results;
    let records = space.read(topic).await.all().await;
    assert!(records.len() >= 6, "{}", records.len());
    for record in records {
        let key = String::from_utf8(record.key.unwrap()).unwrap();
        let value = record.value.unwrap();
        space
            .produce(topic, &key, Some(&value), Headers::new())
            .await;
    }
}
