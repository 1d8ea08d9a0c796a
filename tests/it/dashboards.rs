//! Every expression of the dashboards and alerts, on a real Prometheus that has scraped a sample load: none fails, and
//! none is without a result, except those that are rightly so in a system without trouble.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use genflow::domain::{Request, Targets};
use genflow::engines::clock::now;
use serde_json::{Value, json};
use tokio::process::{Child, Command};

use crate::batch::batch;
use crate::retry::{commands_done, retry};
use crate::support::receiver::{Answer, Receiver};
use crate::support::requests::{FAL, OPENAI, REPLICATE, at, falling_back, image, script, video};
use crate::support::{Space, Watched, eventually, nowhere};

/// Panels whose series appear only with trouble that this load does not make. Each other one must show something.
const QUIET: [(&str, &str); 11] = [
    ("Alerts that fire", "none fires"),
    ("Calls refused", "no address is forbidden"),
    ("Callbacks", "no provider is asked to call back"),
    ("Callbacks missed", "no provider is asked to call back"),
    ("Dead letters without their value", "no record is too large"),
    ("Deliveries lost", "no delivery is closed from outside"),
    ("Records retried", "all engines answer"),
    ("Spans lost", "there are no traces"),
    ("Store failures", "the store works"),
    ("Workflows closed from outside", "no workflow is terminated"),
    ("Temp folders left", "no worker has crashed"),
];

/// Prices of the load's models.
const PRICES: &str = r#"
[[price]]
models = ["fal:simulated/image", "openai:gpt-image-2", "replicate:simulated/image", "replicate:simulated/video"]
per = "run"
usd = 0.01
"#;

/// What two rounds of the load amount to.
const COUNTED: [&str; 6] = [
    // Of each round's two cut connections, one job is found in its provider's list; the other provider has none.
    "sum(genflow_provider_call_seconds_count{step=\"submit\", outcome=\"unknown\"}) == 4",
    "sum(genflow_money_at_risk_total{provider=\"fal\", cause=\"ambiguous\"}) == 2",
    "sum(genflow_generation_failures_total{provider=\"fal\", code=\"submit_ambiguous\"}) == 2",
    "sum(genflow_spent_usd_count{priority=\"NORMAL\"}) == sum(genflow_provider_cost_usd_count) > 0",
    "sum(genflow_request_start_delay_seconds_count) == 20",
    "max(genflow_dead_letters{topic=~\".*[.]dlq\", topic!~\".*notifications.*\"}) == 2",
];

/// A Prometheus that scrapes one process every second; it ends with the test.
struct Prometheus {
    _process: Child,
    url: String,
}

impl Prometheus {
    /// Starts it. Says so and returns `None` if it is not installed.
    fn start(space: &Space, target: SocketAddr) -> Option<Self> {
        let (folder, address) = (space.folder().join("prometheus"), nowhere());
        std::fs::create_dir_all(&folder).unwrap();
        let config = json!({
            "global": {"scrape_interval": "1s", "evaluation_interval": "1s"},
            "rule_files": [grafana().join("alerts.yml")],
            "scrape_configs": [{
                "job_name": "genflow",
                "static_configs": [{"targets": [target.to_string()]}],
            }],
        });
        // JSON is YAML too.
        let file = folder.join("prometheus.yml");
        std::fs::write(&file, config.to_string()).unwrap();
        let started = binary().into_iter().find_map(|program| {
            let mut prometheus = Command::new(program);
            prometheus
                .arg(format!("--config.file={}", file.display()))
                .arg(format!(
                    "--storage.tsdb.path={}",
                    folder.join("data").display()
                ))
                .arg(format!("--web.listen-address={address}"))
                .stdout(Stdio::null())
                .stderr(std::fs::File::create(folder.join("log")).unwrap())
                .kill_on_drop(true);
            prometheus.spawn().ok()
        });
        let Some(process) = started else {
            eprintln!(
                "skipped: this story needs Prometheus, which .ci/files unpacks; or apt-get install prometheus"
            );
            return None;
        };
        Some(Self {
            _process: process,
            url: format!("http://{address}/api/v1"),
        })
    }

    /// Calls its API; `None` while it does not answer.
    async fn ask(&self, path: &str, query: &[(&str, &str)]) -> Option<Value> {
        let url = reqwest::Url::parse_with_params(&format!("{}/{path}", self.url), query).unwrap();
        reqwest::get(url).await.ok()?.json().await.ok()
    }

    /// Waits until the roles have been scraped once more.
    async fn scrapes_again(&self) {
        let now = now() as f64 / 1000.0;
        let newer = format!("timestamp(up{{job=\"genflow\"}}) > {now}");
        eventually("another scrape", async || self.run(&newer).await.ok()).await;
    }

    /// Runs an expression.
    ///
    /// # Errors
    /// Prometheus's, or that there is no result.
    async fn run(&self, expression: &str) -> Result<(), String> {
        let answer = self.ask("query", &[("query", expression)]).await;
        let answer = answer.ok_or("no answer")?;
        if answer["status"] != "success" {
            return Err(answer.to_string());
        }
        let found = answer["data"]["result"].as_array().unwrap();
        (!found.is_empty())
            .then_some(())
            .ok_or_else(|| "no result".to_owned())
    }
}

/// Returns where the program may be: on the path, or where `.ci/files` unpacks it.
fn binary() -> [PathBuf; 2] {
    let unpacked = "../tools/prometheus/usr/bin/prometheus";
    let unpacked = Path::new(env!("CARGO_TARGET_TMPDIR")).join(unpacked);
    [PathBuf::from("prometheus"), unpacked]
}

fn grafana() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("grafana")
}

/// A panel, and its expressions with Grafana's variables replaced.
struct Panel {
    title: String,
    expressions: Vec<String>,
}

fn panels() -> Vec<Panel> {
    let mut found = Vec::new();
    for file in std::fs::read_dir(grafana().join("dashboards")).unwrap() {
        let text = std::fs::read_to_string(file.unwrap().path()).unwrap();
        let dashboard: Value = serde_json::from_str(&text).unwrap();
        let variables = dashboard["templating"]["list"].as_array().unwrap();
        let variables = variables.iter().filter(|one| one["type"] == "query");
        let names: Vec<_> = variables.map(|one| one["name"].as_str().unwrap()).collect();
        for panel in dashboard["panels"].as_array().unwrap() {
            let expression = |target: &Value| {
                let mut expression = target["expr"].as_str().unwrap().to_owned();
                for (variable, value) in [("__rate_interval", "1m"), ("__range", "5m")] {
                    expression = expression.replace(&format!("${variable}"), value);
                }
                for name in &names {
                    expression = expression.replace(&format!("${name}"), ".*");
                }
                assert!(!expression.contains('$'), "{expression}");
                expression
            };
            found.push(Panel {
                title: panel["title"].as_str().unwrap().to_owned(),
                expressions: panel["targets"]
                    .as_array()
                    .unwrap()
                    .iter()
                    .map(expression)
                    .collect(),
            });
        }
    }
    found
}

/// Returns the metrics of Temporal's SDK that the docs name, without those of failures, of long polls that ended without
/// a task, of workflows that were not cached, and of their replay: a short and healthy load has none of these.
fn documented() -> Vec<&'static str> {
    let page = include_str!("../../docs/operating/metrics.md");
    let rows = page.lines().filter_map(|line| line.strip_prefix("| `"));
    let names = rows.filter_map(|row| row.split('`').next());
    let rare = ["fail", "empty", "no_task", "miss", "replay"];
    let names = names.filter(|name| name.starts_with("temporal_"));
    let names = names.filter(|name| !rare.iter().any(|part| name.contains(part)));
    names.collect()
}

/// Requests of all kinds, with the faults of everyday: each becomes an outcome of its own.
fn load(endpoints: &[&Receiver]) -> Vec<Request> {
    let quick = json!({"seconds": 0.1});
    let cut = json!({"seconds": 0.1, "submit": ["accept_cut"]});
    let failing = json!({"seconds": 0.1, "fail": "no luck"});
    let busy = json!({"seconds": 0.1, "submit": [503], "poll": [503]});
    let strange = json!({"seconds": 2, "state": "pondering"});
    let declined = json!({"candidates": 1, "submit": [401]});
    let mut requests = vec![
        at(FAL, script(image("quick"), &quick)),
        at(OPENAI, image("made")),
        script(video("film"), &quick),
        script(image("cut"), &cut),
        at(FAL, script(image("lost"), &cut)),
        script(image("failing"), &failing),
        script(image("busy"), &busy),
        at(REPLICATE, script(image("strange"), &strange)),
        falling_back(at(REPLICATE, script(image("declined"), &declined)), &[FAL]),
        batch("batch", &[quick.clone(), quick]),
    ];
    for (request, endpoint) in requests.iter_mut().zip(endpoints.iter().cycle()) {
        request.targets = Targets::parse(Some(&endpoint.url), None, None).unwrap();
    }
    requests
}

/// Sends the load, and what else people do.
async fn act(space: &Space, endpoints: &[&Receiver]) {
    let requests = load(endpoints);
    for request in &requests {
        space.send(request).await;
    }
    let topics = &space.config.kafka.topics;
    let nonsense = Some(&b"nonsense"[..]);
    space
        .produce(&topics.requests, "key", nonsense, Vec::new())
        .await;
    for request in &requests {
        space.story(request.id.as_str()).await;
    }
    space.send(&requests[0]).await;
    let failed = &requests[5].id;
    retry(space, failed, &format!("again-{failed}")).await;
    commands_done(space).await;
}

#[tokio::test]
async fn no_panel_is_empty_and_no_expression_fails() {
    let well = Receiver::start(&[]).await;
    let failing = Receiver::start(&[500; 6]).await;
    let gone = Receiver::answering(&[Answer::Status(410)]).await;
    let operators = Receiver::start(&[]).await;
    let space = Space::with(&[
        ("BUDGET_DAY_USD", "1000"),
        ("SLACK_ALLOWED_HOSTS", "127.0.0.1"),
        ("OPS_SLACK_WEBHOOK_URL", &operators.url),
    ])
    .await;
    // A budget admits only what has a price.
    let prices = space.folder().join("prices.toml");
    std::fs::write(&prices, PRICES).unwrap();
    let prices = ("PRICES_FILE", prices.to_str().unwrap());
    let all = Watched::start(&space, "all", &[prices]);
    let Some(prometheus) = Prometheus::start(&space, all.address()) else {
        return;
    };
    all.ready().await;
    eventually("Prometheus scrapes", async || {
        prometheus.run("up{job=\"genflow\"} == 1").await.ok()
    })
    .await;

    // Twice: a rate needs two scrapes of a series.
    for _ in 0..2 {
        act(&space, &[&well, &failing, &gone]).await;
    }

    let quiet = QUIET.map(|(title, _)| title);
    let panels = panels();
    for title in quiet {
        assert!(panels.iter().any(|panel| panel.title == title), "{title}");
    }
    eventually("every panel shows something", async || {
        let mut empty = Vec::new();
        for Panel { title, expressions } in &panels {
            let mut is_empty = true;
            for expression in expressions {
                match prometheus.run(expression).await {
                    Ok(()) => is_empty = false,
                    Err(why) if why == "no result" => {}
                    Err(why) => panic!("{title}: {expression}: {why}"),
                }
            }
            if is_empty && !quiet.contains(&title.as_str()) {
                empty.push((title, expressions));
            }
        }
        if !empty.is_empty() {
            eprintln!("still empty: {empty:?}");
            prometheus.scrapes_again().await;
        }
        empty.is_empty().then_some(())
    })
    .await;
    for count in COUNTED {
        eventually(count, async || prometheus.run(count).await.ok()).await;
    }
    let page = all.page("metrics").await;
    for name in documented() {
        assert!(
            page.contains(&format!("# TYPE {name} ")),
            "{name} is not in\n{page}"
        );
    }
    let rules = prometheus.ask("rules", &[]).await.unwrap();
    let groups = rules["data"]["groups"].as_array().unwrap().iter();
    let rules: Vec<_> = groups
        .flat_map(|group| group["rules"].as_array().unwrap())
        .collect();
    assert!(rules.len() > 25, "{rules:#?}");
    for rule in rules {
        assert_eq!(rule["health"], "ok", "{rule:#?}");
    }
}
