//! The shared engines: started by the first test that needs them, stopped with the process.
//!
//! Their processes have a parent-death signal, so they end with this process, however it ends.

use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use genflow::dev::engines::{EnginePorts, Engines, Existing, Options, default_cache};
use genflow::dev::simulator;
use genflow::dev::simulator::Simulator;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::janitor::Janitor;

/// The addresses of the engines.
pub(crate) struct Running {
    pub(crate) kafka: String,
    pub(crate) registry: String,
    pub(crate) temporal: String,
    pub(crate) simulator: String,
    pub(crate) smtp: String,
    pub(crate) maildir: PathBuf,
    pub(crate) janitor: Janitor,
}

/// Returns the engines, started once.
pub(crate) fn engines() -> &'static Running {
    static RUNNING: OnceLock<Running> = OnceLock::new();
    RUNNING.get_or_init(|| {
        let (sender, receiver) = std::sync::mpsc::channel();
        // A thread that lives as long as the process: it owns the engines and runs the simulator.
        std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_multi_thread()
                .worker_threads(1)
                .enable_all()
                .build()
                .unwrap();
            runtime.block_on(async move {
                let engines = start().await;
                let options = simulator::SimulatorOptions {
                    listen: ([127, 0, 0, 1], 0).into(),
                    job_time: Duration::from_millis(300),
                };
                let simulator = Simulator::bind(options).await.unwrap();
                let running = Running {
                    kafka: engines.kafka_brokers.clone(),
                    registry: engines.schema_registry_url.clone(),
                    temporal: engines.temporal_host.clone(),
                    simulator: format!("http://{}", simulator.address()),
                    smtp: engines.smtp_url.clone(),
                    maildir: engines.maildir.clone().unwrap(),
                    janitor: Janitor::start(&engines.kafka_brokers),
                };
                sender.send(running).unwrap();
                simulator.run(CancellationToken::new()).await.unwrap();
                drop(engines);
            });
        });
        receiver.recv().expect("the engines started")
    })
}

/// Returns settings with an engine whose address does not look local, and with secrets that are not public.
pub(crate) async fn elsewhere() -> [(&'static str, &'static str); 3] {
    let engines = tokio::task::spawn_blocking(engines).await.unwrap();
    let (_, port) = engines.temporal.rsplit_once(':').unwrap();
    // On Linux, this address connects to the machine itself.
    let temporal = format!("0.0.0.0:{port}").leak();
    [
        ("TEMPORAL_HOST", temporal),
        (
            "NOTIFY_KEYS",
            "own:AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=",
        ),
        (
            "WEBHOOK_SIGNING_SECRET",
            "whsec_AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=",
        ),
    ]
}

impl Running {
    /// Returns these engines as existing ones, for a start of others.
    pub(super) fn existing(&self) -> Existing {
        Existing {
            kafka_brokers: Some(self.kafka.clone()),
            schema_registry_url: Some(self.registry.clone()),
            temporal_host: Some(self.temporal.clone()),
            smtp_url: Some(self.smtp.clone()),
        }
    }
}

/// Starts the engines that `existing` lacks, for one test; also returns their data folder, which is named after `use_`.
pub(super) async fn extra(use_: &str, existing: Existing) -> (Engines, PathBuf) {
    let options = Options {
        existing,
        ..options(&format!("{use_}-{}", Uuid::new_v4().simple()))
    };
    match Engines::start(&options).await {
        Ok(engines) => (engines, options.data),
        Err(error) => panic!("the {use_} did not start: {error}"),
    }
}

async fn start() -> Engines {
    sweep(Path::new(env!("CARGO_TARGET_TMPDIR")));
    match Engines::start(&options("engines")).await {
        Ok(engines) => engines,
        Err(error) => panic!("the engines did not start: {error}"),
    }
}

/// Returns the options for engines, with a folder of this run that is named after `use_`.
fn options(use_: &str) -> Options {
    let root = PathBuf::from(env!("CARGO_TARGET_TMPDIR"));
    let set = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
    Options {
        cache: default_cache(),
        data: root.join(format!("{use_}-{}", std::process::id())),
        keep: false,
        guard: env!("CARGO_BIN_EXE_genflow").into(),
        ports: EnginePorts::Free,
        existing: Existing {
            kafka_brokers: set("KAFKA_BROKERS"),
            schema_registry_url: set("SCHEMA_REGISTRY_URL"),
            temporal_host: set("TEMPORAL_HOST"),
            // Always started, because tests read its Maildir.
            smtp_url: None,
        },
        progress: Arc::new(|progress| eprintln!("engines: {progress}")),
    }
}

/// Removes folders of test runs that have ended.
fn sweep(root: &Path) {
    for entry in std::fs::read_dir(root).into_iter().flatten().flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        let owner = name
            .rsplit_once('-')
            .and_then(|(_, pid)| pid.parse::<u32>().ok());
        if owner.is_some_and(|pid| !Path::new(&format!("/proc/{pid}")).exists()) {
            std::fs::remove_dir_all(entry.path()).ok();
        }
    }
}
