//! Where a round runs: topics, queues and folders of its own, and roles as processes of this binary.

use std::collections::BTreeMap;
use std::net::TcpListener;
use std::path::PathBuf;
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, bail};
use tokio::time::sleep;
use uuid::Uuid;

use super::measure;
use crate::contract::avro;
use crate::dev::engines::Engines;
use crate::dev::engines::process::{self, Process};
use crate::dev::own_names;
use crate::domain::{Event, EventType, Request};
use crate::engines::config::Config;
use crate::engines::kafka::admin::Asked;
use crate::engines::kafka::producer::{Message, Producer};
use crate::engines::kafka::tail::{From, Next, Tail};
use crate::engines::registry::Registry;
use crate::operate::setup;

/// How long a role may take to be ready; its output may take ten times as long.
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
    producer: Producer,
    schema: u32,
}

/// A running process.
pub(super) struct Role {
    process: Process,
    /// Its CPU time when the measurement began, in milliseconds.
    began: f64,
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
        let registry = Arc::new(Registry::new(&config.schema_registry_url)?);
        let subject = format!("{}-value", config.kafka.topics.requests);
        Ok(Stage {
            schema: registry.id_of(&subject, &avro::REQUEST).await?,
            producer: Producer::new(&config.kafka, "bench")?,
            registry,
            config,
            variables,
            folder,
        })
    }
}

impl Stage {
    /// Starts a role and waits until it is ready.
    pub(super) async fn role(&self, name: &'static str) -> anyhow::Result<Role> {
        let address = {
            let free = TcpListener::bind("127.0.0.1:0")?;
            free.local_addr()?
        };
        let mut command = self.command(&std::env::current_exe()?)?;
        command.arg(name).env("HTTP_ADDR", address.to_string());
        let role = self.start(name, command).await?;
        let url = format!("http://{address}/readyz");
        let ready = async || {
            reqwest::get(&url)
                .await
                .is_ok_and(|page| page.status().is_success())
        };
        let waiting = async {
            while !ready().await {
                sleep(Duration::from_millis(20)).await;
            }
        };
        role.process.until(SOON, waiting).await?;
        Ok(role)
    }

    /// Returns a command that starts `program` with the settings of this stage, in its folder, and ends with this
    /// process. A path with a slash is one from the folder of this process.
    pub(super) fn command(&self, program: &std::path::Path) -> anyhow::Result<Command> {
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

    pub(super) async fn start(&self, name: &'static str, command: Command) -> anyhow::Result<Role> {
        let log = self.folder.join(format!("{name}.log"));
        let process = Process::start(name, command, log).await?;
        Ok(Role {
            process,
            began: 0.0,
        })
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

    /// Starts to read the events that are published from now on.
    pub(super) async fn events(&self) -> anyhow::Result<Events> {
        let topic = &self.config.kafka.topics.events;
        Ok(Events {
            tail: Tail::open(&self.config.kafka, topic, From::End).await?,
            registry: self.registry.clone(),
        })
    }
}

/// A reader of events.
pub(super) struct Events {
    tail: Tail,
    registry: Arc<Registry>,
}

impl Events {
    pub(super) async fn next(&self) -> anyhow::Result<Event> {
        loop {
            if let Next::Record(record) = self.tail.next().await? {
                let value = record
                    .value
                    .as_deref()
                    .context("an event without a value")?;
                let (id, datum) = avro::unframe(value)?;
                return Ok(avro::read_event(&*self.registry.schema(id).await?, datum)?);
            }
        }
    }

    /// Reads until `number` records contain `text`, whatever their format is.
    pub(super) async fn contain(&self, text: &str, number: usize) -> anyhow::Result<()> {
        let mut left = number;
        while left > 0 {
            if let Next::Record(record) = self.tail.next().await? {
                let value = record.value.unwrap_or_default();
                let found = value
                    .windows(text.len())
                    .any(|part| part == text.as_bytes());
                left -= usize::from(found);
            }
        }
        Ok(())
    }

    /// Reads until that many events of a type have come.
    ///
    /// # Errors
    /// A request failed, or the topic cannot be read.
    pub(super) async fn reached(&self, wanted: EventType, number: usize) -> anyhow::Result<()> {
        let mut left = number;
        while left > 0 {
            let event = self.next().await?;
            left -= usize::from(event.event_type == wanted);
            if event.event_type.is_terminal() && event.event_type != EventType::Completed {
                bail!(
                    "{} ended as {:?}: {:?}",
                    event.request_id,
                    event.event_type,
                    event.error
                );
            }
        }
        Ok(())
    }
}

impl Role {
    pub(super) fn pid(&self) -> anyhow::Result<u32> {
        self.process.pid().context("the process has ended")
    }

    /// Notes the CPU time that the process has used so far.
    pub(super) fn begin(&mut self) -> anyhow::Result<()> {
        self.began = measure::cpu_ms(self.pid()?)?;
        Ok(())
    }

    /// CPU time since [`Role::begin`], in milliseconds.
    pub(super) fn cpu_ms(&self) -> anyhow::Result<f64> {
        Ok(measure::cpu_ms(self.pid()?)? - self.began)
    }

    /// Waits for a line of the output that starts with `word`; returns the rest of it.
    pub(super) async fn says(&self, word: &str) -> anyhow::Result<String> {
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
        Ok(self.process.until(SOON * 10, line).await?)
    }

    pub(super) async fn stop(self) {
        self.process.stop().await;
    }
}
