//! A space of one test: its own topics, groups, queues and folders on the shared engines.

use std::collections::BTreeMap;
use std::fs::OpenOptions;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use genflow::contract::avro;
use genflow::domain::{Action, Command, Event, Request, RequestId};
use genflow::engines::config::Config;
use genflow::engines::kafka::admin::Asked;
use genflow::engines::kafka::producer::{Message, Producer};
use genflow::engines::kafka::tail;
use genflow::engines::kafka::tail::{From, Tail};
use genflow::engines::kafka::{Headers, Record};
use genflow::engines::registry::Registry;
use genflow::engines::temporal::client::Temporal;
use genflow::operate::setup;
use serde_json::Value;
use temporalio_client::{Client, ClientOptions, Connection, ConnectionOptions};
use uuid::Uuid;

use super::described::Described as _;
use super::engines::{Running, engines};
use super::ledger;
use super::process::Process;
use super::reader::{Reader, decode};
use super::settings;
use super::{SOON, eventually, within};

/// A space of one test.
pub(crate) struct Space {
    pub(crate) engines: &'static Running,
    pub(crate) variables: BTreeMap<String, String>,
    /// Boxed, because it is part of the tests' futures.
    pub(crate) config: Box<Config>,
    pub(crate) registry: Arc<Registry>,
    folder: PathBuf,
    producer: Producer,
    processes: AtomicUsize,
    began: Instant,
}

impl Space {
    /// Creates the space: topics, schemas, search attributes, folders.
    pub(crate) async fn new() -> Self {
        Self::with(&[]).await
    }

    /// Creates the space with further settings.
    pub(crate) async fn with(settings: &[(&str, &str)]) -> Self {
        let engines = tokio::task::spawn_blocking(engines).await.unwrap();
        let began = Instant::now();
        let name = format!("t{}", &Uuid::new_v4().simple().to_string()[..12]);
        let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR"))
            .join(format!("{name}-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let mut variables = settings::of(engines, &name, &folder);
        for (variable, value) in settings {
            variables.insert((*variable).to_owned(), (*value).to_owned());
        }
        let config = Box::new(Config::load(|name| variables.get(name).cloned()).unwrap());
        setup::run(&config, Asked::ONE_COPY, &mut std::io::sink())
            .await
            .unwrap();
        let registry = Arc::new(Registry::new(&config.schema_registry));
        let producer = Producer::new(&config.kafka, "test").unwrap();
        Self {
            engines,
            variables,
            config,
            registry,
            folder,
            producer,
            processes: AtomicUsize::new(0),
            began,
        }
    }

    /// Starts a role, or any other command, as a process.
    pub(crate) fn start(&self, arguments: &[&str]) -> Process {
        self.start_with(arguments, &[])
    }

    /// Like [`Self::start`], with further settings.
    pub(crate) fn start_with(&self, arguments: &[&str], settings: &[(&str, &str)]) -> Process {
        self.start_through(&[], arguments, settings)
    }

    /// Like [`Self::start_with`], through a command that becomes `genflow`.
    pub(crate) fn start_through(
        &self,
        through: &[&str],
        arguments: &[&str],
        settings: &[(&str, &str)],
    ) -> Process {
        let mut variables = self.variables.clone();
        for (variable, value) in settings {
            variables.insert((*variable).to_owned(), (*value).to_owned());
        }
        let number = self.processes.fetch_add(1, Ordering::Relaxed);
        let log = self.folder.join(format!("{number}-{}.log", arguments[0]));
        Process::start_through(through, arguments, &variables, log)
    }

    /// Returns the folder of this space, which is removed with the space.
    pub(crate) fn folder(&self) -> &Path {
        &self.folder
    }

    /// Returns a name that no other space has.
    pub(crate) fn name(&self) -> &str {
        &self.config.kafka.group
    }

    pub(crate) fn results(&self) -> PathBuf {
        self.folder.join("results")
    }

    pub(crate) fn temp(&self) -> PathBuf {
        self.folder.join("temp")
    }

    /// Returns the names of temp folders that attempts have left.
    pub(crate) fn temp_leftovers(&self) -> Vec<String> {
        let instances = std::fs::read_dir(self.temp())
            .into_iter()
            .flatten()
            .flatten();
        // Beside the workers' folders there is one for the schemas of models.
        let is_worker = |name: &std::ffi::OsStr| name.to_string_lossy().starts_with("worker-");
        let folders =
            instances.filter(|entry| entry.path().is_dir() && is_worker(&entry.file_name()));
        let inner = folders.flat_map(|entry| {
            std::fs::read_dir(entry.path())
                .into_iter()
                .flatten()
                .flatten()
        });
        inner
            .map(|entry| entry.file_name().to_string_lossy().into_owned())
            .collect()
    }

    /// Sends a request like any producer.
    pub(crate) async fn send(&self, request: &Request) {
        self.send_with(request, Headers::new()).await;
    }

    pub(crate) async fn send_with(&self, request: &Request, headers: Headers) {
        let topic = &self.config.kafka.topics.requests;
        let datum = avro::write_request(request).unwrap();
        let value = self.framed(topic, &avro::REQUEST, &datum).await;
        self.produce(topic, request.id.as_str(), Some(&value), headers)
            .await;
    }

    pub(crate) async fn framed(&self, topic: &str, ours: &avro::Ours, datum: &[u8]) -> Vec<u8> {
        let id = self
            .registry
            .id_of(&format!("{topic}-value"), ours)
            .await
            .unwrap();
        avro::frame(id, datum)
    }

    pub(crate) async fn produce(
        &self,
        topic: &str,
        key: &str,
        value: Option<&[u8]>,
        headers: Headers,
    ) {
        self.producer
            .send(Message {
                topic,
                key: Some(key.as_bytes()),
                value,
                headers,
            })
            .await
            .unwrap();
    }

    /// Waits until the group of `role` has committed all of `topic`.
    pub(crate) async fn caught_up(&self, role: &str, topic: &str) {
        eventually("the group has caught up", async || {
            (self.lag(role, topic).await == 0).then_some(())
        })
        .await;
    }

    /// Returns how many records of `topic` the group of `role` has not committed.
    pub(crate) async fn lag(&self, role: &str, topic: &str) -> u64 {
        let group = format!("{}-{role}", self.config.kafka.group);
        eventually("the brokers know the lag", async || {
            let lag = genflow::engines::kafka::admin::lag(&self.config.kafka, &group, topic);
            lag.await.ok()
        })
        .await
    }

    /// Sends a CANCEL.
    pub(crate) async fn cancel(&self, request: &str) {
        self.cancel_with(request, Headers::new()).await;
    }

    /// Sends a CANCEL for the first run of `request`, and waits until its workflow has it.
    pub(crate) async fn cancel_and_wait(&self, request: &RequestId) {
        self.cancel(request.as_str()).await;
        let (temporal, workflow) = (self.temporal().await, request.run(0));
        eventually("the cancel reaches the workflow", async || {
            let asked = temporal.is_cancel_asked(&workflow).await;
            asked.then_some(())
        })
        .await;
    }

    pub(crate) async fn cancel_with(&self, request: &str, headers: Headers) {
        let command = Command {
            id: Uuid::new_v4().to_string().try_into().unwrap(),
            request: request.to_owned().try_into().unwrap(),
            action: Action::Cancel,
            reason: Some("the test says so".to_owned()),
            issued_by: None,
        };
        let topic = &self.config.kafka.topics.commands;
        let value = self
            .framed(
                topic,
                &avro::COMMAND,
                &avro::write_command(&command, None).unwrap(),
            )
            .await;
        self.produce(topic, request, Some(&value), headers).await;
    }

    /// Reads a topic from its beginning.
    pub(crate) async fn read(&self, topic: &str) -> Reader {
        // A busy broker may need a while before it knows a topic that it has just created.
        let tail = eventually("the topic is known", async || {
            match Tail::open(&self.config.kafka, topic, From::Beginning).await {
                Err(tail::Error::NoTopic(_)) => None,
                opened => Some(opened.unwrap()),
            }
        })
        .await;
        Reader::of(tail, self.registry.clone())
    }

    pub(crate) async fn events(&self) -> Reader {
        self.read(&self.config.kafka.topics.events).await
    }

    /// Waits until the run of `request` has closed, checks its events against rule 11, and returns them.
    pub(crate) async fn story(&self, request: &str) -> Vec<Event> {
        let mut reader = self.events().await;
        let mut events: Vec<Event> = Vec::new();
        let reading = async {
            while !events.iter().any(|event| event.event_type.is_terminal()) {
                let (event, _) = reader.event().await;
                if event.request_id == request {
                    events.push(event);
                }
            }
        };
        within(SOON, &format!("the outcome of {request}"), reading).await;
        self.closed(request).await;
        let all = self.all_events(request).await;
        ledger::check(&all);
        all
    }

    /// Returns all events of `request` that are on the topic now, including repeats.
    pub(crate) async fn all_events(&self, request: &str) -> Vec<Event> {
        let records = self
            .read(&self.config.kafka.topics.events)
            .await
            .all()
            .await;
        let mut events = Vec::new();
        for record in &records {
            let event = decode(&self.registry, record).await;
            if event.request_id == request {
                events.push(event);
            }
        }
        events
    }

    /// Returns all dead letters of requests and commands that exist now.
    pub(crate) async fn dead_letters(&self) -> Vec<Record> {
        let topic = &self.config.kafka.topics.dlq;
        self.read(topic).await.all().await
    }

    /// Runs a command to its end; returns its exit code and its output.
    pub(crate) async fn run(&self, arguments: &[&str]) -> (i32, String) {
        self.run_with(arguments, &[]).await
    }

    /// Like [`Self::run`], with further settings.
    pub(crate) async fn run_with(
        &self,
        arguments: &[&str],
        settings: &[(&str, &str)],
    ) -> (i32, String) {
        let mut process = self.start_with(arguments, settings);
        let status = process.ended().await;
        (status.code().unwrap(), process.output())
    }

    /// Runs a command, asserts that it succeeds, and returns its output.
    pub(crate) async fn succeed(&self, arguments: &[&str]) -> String {
        let (code, printed) = self.run(arguments).await;
        assert_eq!(code, 0, "{arguments:?}: {printed}");
        printed
    }

    /// Returns the SDK's own client, for calls that no role makes.
    pub(crate) async fn client(&self) -> Client {
        let options = ConnectionOptions::new(self.config.temporal.url.clone())
            .identity("test".to_owned())
            .build();
        let connection = Connection::connect(options).await.unwrap();
        Client::new(connection, ClientOptions::new("default").build()).unwrap()
    }

    pub(crate) async fn temporal(&self) -> Temporal {
        Temporal::connect(&self.config.temporal).await.unwrap()
    }

    /// Waits until the workflow of `request` has closed.
    pub(crate) async fn closed(&self, request: &str) {
        let temporal = self.temporal().await;
        let workflow = genflow::domain::RequestId::try_from(request.to_owned())
            .unwrap()
            .run(0);
        eventually("the workflow closes", async || {
            temporal.is_closed(&workflow).await.then_some(())
        })
        .await;
    }

    /// Waits until the provider has the one job of a workflow.
    pub(crate) async fn job_runs(&self, workflow: &str) {
        eventually("the job runs", async || {
            (self.bill(workflow).await.accepted == 1).then_some(())
        })
        .await;
    }

    /// Returns the jobs with this id in the simulator's ledger.
    pub(crate) async fn jobs(&self, workflow: &str) -> Vec<Value> {
        let entry = self.ledger(workflow).await;
        entry["jobs"].as_array().cloned().unwrap_or_default()
    }

    /// Returns the simulator's ledger entry with this id.
    pub(crate) async fn ledger(&self, workflow: &str) -> Value {
        let url = format!("{}/_sim/ledger?key={workflow}", self.engines.simulator);
        let body = reqwest::get(url).await.unwrap().bytes().await.unwrap();
        let value: Value = serde_json::from_slice(&body).unwrap();
        value["entries"][0].clone()
    }

    /// Returns what the provider received with this id: submits, accepted jobs, and the jobs' statuses.
    pub(crate) async fn bill(&self, workflow: &str) -> Bill {
        let entry = self.ledger(workflow).await;
        let statuses = entry["jobs"].as_array().cloned().unwrap_or_default();
        Bill {
            submits: entry["submits"].as_u64().unwrap_or(0),
            accepted: entry["accepted"].as_u64().unwrap_or(0),
            statuses: statuses
                .iter()
                .map(|job| job["status"].as_str().unwrap_or_default().to_owned())
                .collect(),
        }
    }
}

impl Drop for Space {
    fn drop(&mut self) {
        note_time(self.began.elapsed());
        if self.config.kafka.brokers == self.engines.kafka {
            let topics = self.variables.iter();
            let topics = topics.filter(|(name, _)| name.starts_with("TOPIC_"));
            let topics = topics.map(|(_, topic)| topic.clone()).collect();
            self.engines.janitor.delete(topics);
        }
        if !std::thread::panicking() {
            std::fs::remove_dir_all(&self.folder).ok();
        }
    }
}

/// Appends the time of the story that this thread runs to `stories.tsv`; `.ci/run` prints the slowest.
fn note_time(took: Duration) {
    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join("stories.tsv");
    let file = OpenOptions::new().create(true).append(true).open(path);
    let thread = std::thread::current();
    let story = thread.name().unwrap_or_default();
    file.and_then(|mut file| writeln!(file, "{:.1}\t{story}", took.as_secs_f64()))
        .unwrap();
}

/// The submits and jobs of one run at the provider.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Bill {
    pub(crate) submits: u64,
    pub(crate) accepted: u64,
    pub(crate) statuses: Vec<String>,
}
