//! The environment of a measurement: separate topics and queues, events for its receivers, the notifier as a process.

use std::collections::BTreeMap;
use std::net::TcpListener;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use genflow::contract::seal;
use genflow::contract::seal::Sealer;
use genflow::dev::engines::Engines;
use genflow::dev::own_names;
use genflow::domain::{Event, EventType, Generated, Kind, Notify, Output, Targets};
use genflow::engines::config::Config;
use genflow::engines::kafka::admin::Asked;
use genflow::engines::kafka::producer::Producer;
use genflow::engines::publisher::Publisher;
use genflow::engines::registry::Registry;
use genflow::operate::setup;
use rustix::process::{Pid, Signal, kill_process};
use tokio::time::sleep;
use url::Url;
use uuid::Uuid;

/// Topics, queues and settings of one measurement.
pub(crate) struct Stage {
    variables: BTreeMap<String, String>,
    publisher: Publisher,
    sealer: Sealer,
}

/// A running notifier.
pub(crate) struct Notifier {
    process: Child,
    pages: String,
}

impl Stage {
    pub(crate) async fn set(engines: &Engines, name: &str, settings: &[(&str, String)]) -> Self {
        let ours = [
            ("KAFKA_BROKERS", engines.kafka_brokers.clone()),
            ("SCHEMA_REGISTRY_URL", engines.schema_registry_url.clone()),
            ("TEMPORAL_HOST", engines.temporal_host.clone()),
            ("WEBHOOK_ALLOW_PRIVATE", "true".to_owned()),
            ("LOG_LEVEL", "error".to_owned()),
        ];
        let variables: BTreeMap<_, _> = ours
            .into_iter()
            .chain(own_names(name))
            .chain(settings.iter().cloned())
            .map(|(name, value)| (name.to_owned(), value))
            .collect();
        let config = Config::load(|name| variables.get(name).cloned()).unwrap();
        setup::run(&config, Asked::ONE_COPY, &mut std::io::sink())
            .await
            .unwrap();
        let registry = Registry::new(&config.schema_registry_url).unwrap();
        let producer = Producer::new(&config.kafka, "bench").unwrap();
        Self {
            variables,
            publisher: Publisher::new(producer.into(), registry.into(), config.kafka.topics),
            sealer: Sealer::new(&config.notify_keys).unwrap(),
        }
    }

    /// Returns the outcome of a new request, with `webhook` as target.
    pub(crate) fn event(&self, webhook: &str) -> Event {
        let request_id = Uuid::new_v4().to_string();
        let mut event = Event {
            event_id: Uuid::new_v4().to_string(),
            retry: 0,
            sequence: 2,
            batch_id: None,
            // Many users, each with one or two endpoints, because one user gets only half of the slots.
            user_id: format!("user of {}", Url::parse(webhook).unwrap().authority()),
            kind: Kind::Image,
            event_type: EventType::Completed,
            occurred_at: genflow::engines::clock::now(),
            workflow_id: Some(request_id.clone()),
            run_id: Some(Uuid::new_v4().to_string()),
            progress: None,
            result: Some(generated(&request_id)),
            batch: None,
            error: None,
            record: None,
            notify: None,
            metadata: BTreeMap::from([("order".to_owned(), "7".to_owned())]),
            request_id,
        };
        let targets = Targets::parse(Some(webhook), None, None).unwrap();
        let sealed = self.sealer.seal(&targets, seal::context(&event)).unwrap();
        event.notify = Some(Notify {
            on: vec![EventType::Completed],
            sealed,
        });
        event
    }

    /// Publishes an event; returns when Kafka has it.
    pub(crate) async fn publish(&self, event: Event) {
        self.publisher.publish(&[event], None).await.unwrap();
    }

    /// Starts the notifier with a group of that name, which reads all events from the beginning.
    ///
    /// The process starts through the guard, so it ends with this process, however this process ends.
    pub(crate) fn notifier(&self, group: &str) -> Notifier {
        let port = {
            let listener = TcpListener::bind("127.0.0.1:0").unwrap();
            listener.local_addr().unwrap().port()
        };
        let address = format!("127.0.0.1:{port}");
        let binary = env!("CARGO_BIN_EXE_genflow");
        let parent = std::process::id().to_string();
        let queue = &self.variables["TEMPORAL_TASK_QUEUE"];
        let process = Command::new(binary)
            .args(["guard", "--parent", &parent, "--", binary, "notifier"])
            .env_clear()
            .envs(&self.variables)
            .env("KAFKA_GROUP", format!("{queue}-{group}"))
            .env("HTTP_ADDR", &address)
            .current_dir(env!("CARGO_TARGET_TMPDIR"))
            .stdin(Stdio::null())
            .spawn()
            .unwrap();
        Notifier {
            process,
            pages: format!("http://{address}"),
        }
    }
}

fn generated(request: &str) -> Generated {
    Generated {
        outputs: vec![Output {
            uri: format!("file:///results/{request}/0-0.png"),
            url: None,
            content_type: "image/png".to_owned(),
            bytes: 1_048_576,
            sha256: "0123456789abcdef".repeat(4),
            width: Some(1024),
            height: Some(1024),
            duration_seconds: None,
        }],
        provider: "replicate".to_owned(),
        provider_job_id: "job".to_owned(),
        elapsed_ms: 4_200,
        cost_usd: None,
        sent: None,
        notes: Vec::new(),
    }
}

impl Notifier {
    /// Waits until the notifier reports that it is ready.
    pub(crate) async fn ready(&self) {
        let url = format!("{}/readyz", self.pages);
        let is_ready = async || Some(reqwest::get(&url).await.ok()?.status().is_success());
        while is_ready().await != Some(true) {
            sleep(Duration::from_millis(50)).await;
        }
    }

    /// Returns how many notifications the notifier has handed over to their workflows.
    pub(crate) async fn handed_over(&self) -> u64 {
        let page = reqwest::get(format!("{}/metrics", self.pages)).await;
        let text = page.unwrap().text().await.unwrap();
        text.lines()
            .filter(|line| line.starts_with("genflow_notifications_handed_over_total{"))
            .filter_map(|line| line.rsplit(' ').next()?.parse::<u64>().ok())
            .sum()
    }

    /// Returns the notifier's CPU time, as reported by Linux.
    pub(crate) fn cpu(&self) -> Duration {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.process.id())).unwrap();
        let (_, behind_the_name) = stat.rsplit_once(')').unwrap();
        // User and system time, the 14th and 15th field, in ticks of 10 ms.
        let fields = behind_the_name.split_whitespace().skip(11).take(2);
        let ticks: u64 = fields.map(|field| field.parse::<u64>().unwrap()).sum();
        Duration::from_millis(ticks * 10)
    }

    /// Stops the notifier by SIGTERM.
    pub(crate) async fn stop(mut self) {
        kill_process(Pid::from_child(&self.process), Signal::TERM).unwrap();
        let waiting = tokio::task::spawn_blocking(move || self.process.wait().unwrap());
        waiting.await.unwrap();
    }
}
