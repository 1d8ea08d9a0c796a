//! Where a round runs: topics, queues and folders of its own, and roles as processes of this binary.

use std::collections::BTreeMap;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use tokio::time::sleep;
use uuid::Uuid;

use super::costs::Costs;
use super::events::Events;
use crate::contract::avro;
use crate::dev::engines::Engines;
use crate::dev::engines::process::{self, Process};
use crate::dev::own_names;
use crate::domain::{Event, Request};
use crate::engines::config::Config;
use crate::engines::kafka::admin::Asked;
use crate::engines::kafka::producer::{Message, Producer};
use crate::engines::publisher::Publisher;
use crate::engines::registry::{Registry, subject};
use crate::operate::setup;

/// How long a role may take to be ready; what it is to do may take ten times as long.
const SOON: Duration = Duration::from_secs(60);

/// The engines, and the folder for what the rounds write.
pub(super) struct Stages<'a> {
    pub(super) engines: &'a Engines,
    pub(super) data: PathBuf,
}

/// Topics, queues, folders and settings of one round.
pub(super) struct Stage {
    pub(super) config: Config,
    variables: BTreeMap<String, String>,
    folder: PathBuf,
    pub(super) registry: Arc<Registry>,
    producer: Arc<Producer>,
    publisher: Publisher,
    schema: u32,
}

/// A running role or bare loop.
pub(super) struct Role {
    process: Process,
    /// Where a role serves its pages.
    pages: String,
}

impl Stages<'_> {
    /// Opens the next round's stage, with these settings besides the usual ones.
    pub(super) async fn open(&self, settings: &[(&str, &str)]) -> anyhow::Result<Stage> {
        let mut name = format!("b{}", Uuid::new_v4().simple());
        name.truncate(9);
        let folder = self.data.join(&name);
        std::fs::create_dir_all(&folder)?;
        let at = |part: &str| folder.join(part).display().to_string();
        let engines = self.engines;
        let usual = [
            ("KAFKA_BROKERS", engines.kafka_brokers.clone()),
            ("SCHEMA_REGISTRY_URL", engines.schema_registry_url.clone()),
            ("TEMPORAL_HOST", engines.temporal_host.clone()),
            ("RESULTS_DIR", at("results")),
            ("TEMP_DIR", at("temp")),
            ("WEBHOOK_ALLOW_PRIVATE", "true".to_owned()),
            ("LOG_LEVEL", "warn".to_owned()),
        ];
        let settings = settings
            .iter()
            .map(|(name, value)| (*name, (*value).to_owned()));
        let variables: BTreeMap<String, String> = usual
            .into_iter()
            .chain(own_names(&name))
            .chain(settings)
            .map(|(name, value)| (name.to_owned(), value))
            .collect();
        let config = Config::load(|name| variables.get(name).cloned())?;
        setup::run(&config, Asked::ONE_COPY, &mut std::io::sink()).await?;
        let registry = Arc::new(Registry::new(&config.schema_registry));
        let producer = Arc::new(Producer::new(&config.kafka, "bench")?);
        let subject = subject(&config.kafka.topics.requests);
        Ok(Stage {
            schema: registry.id_of(&subject, &avro::REQUEST).await?,
            publisher: Publisher::new(producer.clone(), registry.clone(), &config.kafka),
            producer,
            registry,
            config,
            variables,
            folder,
        })
    }

    /// Returns the size of what Kafka has written to the topics of a stage.
    pub(super) fn kafka_bytes(&self, stage: &Stage) -> anyhow::Result<u64> {
        let mut bytes = 0;
        for partition in std::fs::read_dir(self.data.join("kafka/data"))? {
            let partition = partition?;
            let name = partition.file_name();
            if name
                .to_string_lossy()
                .starts_with(&stage.config.kafka.group)
            {
                for file in std::fs::read_dir(partition.path())? {
                    let file = file?;
                    if file.path().extension().is_some_and(|it| it == "log") {
                        bytes += file.metadata()?.len();
                    }
                }
            }
        }
        Ok(bytes)
    }

    /// Begins to measure these processes and the Temporal server.
    pub(super) fn measure(&self, roles: &[&Role]) -> anyhow::Result<Costs> {
        let watched = |role: &&Role| {
            let pid = role.process.pid().context("a process has ended")?;
            Ok((role.process.name(), pid))
        };
        let roles: anyhow::Result<_> = roles.iter().map(watched).collect();
        let temporal = self.engines.pid("Temporal").context("no Temporal")?;
        Costs::begin(roles?, ("Temporal", temporal))
    }
}

impl Stage {
    /// Starts a role and waits until it is ready.
    pub(super) async fn role(&self, name: &'static str) -> anyhow::Result<Role> {
        self.role_with(name, &[]).await
    }

    /// Like [`Stage::role`], with further settings.
    pub(super) async fn role_with(
        &self,
        name: &'static str,
        settings: &[(&str, &str)],
    ) -> anyhow::Result<Role> {
        let address = {
            let free = TcpListener::bind("127.0.0.1:0")?;
            free.local_addr()?
        };
        let mut command = self.command(&std::env::current_exe()?)?;
        command.arg(name).env("HTTP_ADDR", address.to_string());
        command.envs(settings.iter().copied());
        let role = self
            .start(name, command, format!("http://{address}"))
            .await?;
        let waiting = async {
            while role.page("readyz").await.is_err() {
                sleep(Duration::from_millis(20)).await;
            }
        };
        role.process.until(SOON, waiting).await?;
        Ok(role)
    }

    /// Starts a role of the Python peer, and waits until it is ready.
    pub(super) async fn peer(&self, python: &Path, name: &'static str) -> anyhow::Result<Role> {
        let mut command = self.command(python)?;
        command.args(["-c", include_str!("../../../benches/peer/peer.py"), name]);
        self.start_and_read(name, command).await
    }

    /// Starts a bare loop, and waits until it is ready: it begins a moment later.
    pub(super) async fn bare(&self, arguments: &[&str]) -> anyhow::Result<Role> {
        let mut command = self.command(&std::env::current_exe()?)?;
        command.arg("bare").args(arguments);
        self.start_and_read("bare", command).await
    }

    /// Starts `genflow dev` with engines of its own; returns after how many seconds it was ready.
    pub(super) async fn dev(&self) -> anyhow::Result<f64> {
        let mut command = self.command(&std::env::current_exe()?)?;
        // Without the settings that name this stage's engines.
        command.env_clear();
        let kept = ["PATH", "HOME", "XDG_CACHE_HOME"];
        command.envs(
            kept.into_iter()
                .filter_map(|name| Some((name, std::env::var_os(name)?))),
        );
        command.args(["dev", "--ports", "free"]);
        let dev = self.start("dev", command, String::new()).await?;
        let said = dev.says("ready after").await?;
        dev.stop().await;
        Ok(said.trim_end_matches(" s").parse()?)
    }

    /// Returns a command that starts `program` with the settings of this stage, in its folder, and ends with this
    /// process. A path with a slash is one from the folder of this process.
    fn command(&self, program: &Path) -> anyhow::Result<Command> {
        let program = match program.components().count() {
            1 => program.to_owned(),
            _ => std::path::absolute(program)?,
        };
        let mut command = process::command(&std::env::current_exe()?, program);
        command.env_clear().envs(&self.variables);
        command.env("PATH", std::env::var_os("PATH").unwrap_or_default());
        command.current_dir(&self.folder);
        Ok(command)
    }

    async fn start(
        &self,
        name: &'static str,
        command: Command,
        pages: String,
    ) -> anyhow::Result<Role> {
        // Two processes of a role run at once while one replaces the other.
        let mut logs = (1..).map(|number| self.folder.join(format!("{name}-{number}.log")));
        let log = logs.find(|log| !log.exists()).context("no free name")?;
        let process = Process::start(name, command, log).await?;
        Ok(Role { process, pages })
    }

    /// Starts a process that prints `ready`, and waits for it.
    async fn start_and_read(&self, name: &'static str, command: Command) -> anyhow::Result<Role> {
        let role = self.start(name, command, String::new()).await?;
        role.says("ready").await?;
        Ok(role)
    }

    /// Returns the id of a request or workflow of this round.
    pub(super) fn id(&self, number: usize) -> String {
        format!("{}-{number}", self.config.temporal.task_queue)
    }

    /// Sends a request; returns when Kafka has it.
    pub(super) async fn send(&self, request: &Request) -> anyhow::Result<()> {
        self.send_as(request.id.as_str(), request).await
    }

    /// Like [`Stage::send`], with another record key.
    pub(super) async fn send_as(&self, key: &str, request: &Request) -> anyhow::Result<()> {
        let datum = avro::write_request(request)?;
        let value = avro::frame(self.schema, &datum);
        let message = Message {
            topic: &self.config.kafka.topics.requests,
            key: Some(key.as_bytes()),
            value: Some(&value),
            headers: Vec::new(),
        };
        Ok(self.producer.send(message).await?)
    }

    /// Returns the partition of a key, found with a record on the topic of events, which has as many as that of requests.
    pub(super) async fn partition_of(&self, key: &str) -> anyhow::Result<i32> {
        let message = Message {
            topic: &self.config.kafka.topics.events,
            key: Some(key.as_bytes()),
            value: Some(b"probe"),
            ..Message::default()
        };
        Ok(self.producer.place(message).await?.partition)
    }

    /// Publishes an event; returns when Kafka has it.
    pub(super) async fn publish(&self, event: Event) -> anyhow::Result<()> {
        Ok(self.publisher.publish(&[event], None).await?)
    }

    /// Starts to read the events that are published from now on.
    pub(super) async fn events(&self) -> anyhow::Result<Events> {
        Events::open(&self.config, self.registry.clone()).await
    }

    /// Removes the results, which may be large.
    pub(super) fn remove_results(&self) -> anyhow::Result<()> {
        Ok(std::fs::remove_dir_all(self.folder.join("results"))?)
    }
}

impl Role {
    async fn page(&self, name: &str) -> reqwest::Result<String> {
        let page = reqwest::get(format!("{}/{name}", self.pages)).await?;
        page.error_for_status()?.text().await
    }

    /// Waits until a metric, summed over its labels, has reached `number`.
    pub(super) async fn counted(&self, name: &str, number: usize) -> anyhow::Result<()> {
        let value = |line: &str| {
            let rest = line.strip_prefix(name)?;
            let labelled = rest.starts_with(['{', ' ']).then_some(rest)?;
            labelled.rsplit(' ').next()?.parse::<usize>().ok()
        };
        while self
            .page("metrics")
            .await?
            .lines()
            .filter_map(value)
            .sum::<usize>()
            < number
        {
            sleep(Duration::from_millis(50)).await;
        }
        Ok(())
    }

    /// Waits for a line of the output that starts with `word`; returns the rest of it.
    async fn says(&self, word: &str) -> anyhow::Result<String> {
        let line = async {
            loop {
                let output = self.process.output().await;
                let complete = output.rsplit_once('\n').map_or("", |(lines, _)| lines);
                if let Some(rest) = complete.lines().find_map(|line| line.strip_prefix(word)) {
                    return rest.trim().to_owned();
                }
                sleep(Duration::from_millis(10)).await;
            }
        };
        self.until(line).await
    }

    /// Waits for the end of a bare loop; returns how long it took.
    pub(super) async fn seconds(&self) -> anyhow::Result<f64> {
        Ok(self.says("seconds").await?.parse()?)
    }

    /// Runs `work` to its end, unless the process ends first or it takes too long.
    pub(super) async fn until<T>(&self, work: impl Future<Output = T>) -> anyhow::Result<T> {
        Ok(self.process.until(SOON * 10, work).await?)
    }

    pub(super) async fn stop(self) {
        self.process.stop().await;
    }
}
