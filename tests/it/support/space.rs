//! A space of one test: its own topics, groups, queues and folders on the shared engines.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use genflow::avro;
use genflow::config::Config;
use genflow::domain::EventType;
use genflow::domain::{
    Action, Command, Event, ImageSpec, Priority, Request, Spec, Targets, VideoSpec,
};
use genflow::kafka::producer::{Message, Producer};
use genflow::kafka::tail::{From, Next, Tail};
use genflow::kafka::{Headers, Record};
use genflow::registry::Registry;
use genflow::setup;
use genflow::temporal::client::Temporal;
use serde_json::Value;
use uuid::Uuid;

use super::engines::{Running, engines};
use super::ledger;
use super::process::Process;
use super::{SOON, eventually, within};

/// A space of one test.
pub(crate) struct Space {
    pub(crate) engines: &'static Running,
    pub(crate) variables: BTreeMap<String, String>,
    /// Boxed: the futures of the stories hold it.
    pub(crate) config: Box<Config>,
    pub(crate) registry: Arc<Registry>,
    folder: PathBuf,
    producer: Producer,
    processes: AtomicUsize,
}

impl Space {
    /// Makes the space: topics, schemas, search attributes, folders.
    pub(crate) async fn new() -> Self {
        Self::with(&[]).await
    }

    /// Makes the space with further settings.
    pub(crate) async fn with(settings: &[(&str, &str)]) -> Self {
        let engines = tokio::task::spawn_blocking(engines).await.unwrap();
        let name = format!("t{}", &Uuid::new_v4().simple().to_string()[..12]);
        let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR"))
            .join(format!("{name}-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let mut variables = variables(engines, &name, &folder);
        for (variable, value) in settings {
            variables.insert((*variable).to_owned(), (*value).to_owned());
        }
        let config = Box::new(Config::load(|name| variables.get(name).cloned()).unwrap());
        setup::run(&config, false, &mut std::io::sink())
            .await
            .unwrap();
        let registry = Arc::new(Registry::new(&config.schema_registry_url).unwrap());
        let producer = Producer::new(&config.kafka, "test").unwrap();
        Self {
            engines,
            variables,
            config,
            registry,
            folder,
            producer,
            processes: AtomicUsize::new(0),
        }
    }

    /// Starts a role, or any other command, as a process.
    pub(crate) fn start(&self, arguments: &[&str]) -> Process {
        self.start_with(arguments, &[])
    }

    /// The same with further settings.
    pub(crate) fn start_with(&self, arguments: &[&str], settings: &[(&str, &str)]) -> Process {
        self.start_through(&[], arguments, settings)
    }

    /// The same by a command that becomes `genflow`.
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

    /// Returns the folder of this space, which goes with it.
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

    /// Names of the temp folders that attempts have left.
    pub(crate) fn temp_leftovers(&self) -> Vec<String> {
        let instances = std::fs::read_dir(self.temp())
            .into_iter()
            .flatten()
            .flatten();
        let folders = instances.filter(|entry| entry.path().is_dir());
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

    /// Sends a request as any producer would.
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

    /// How many records of `topic` the group of `role` has not committed.
    pub(crate) async fn lag(&self, role: &str, topic: &str) -> u64 {
        let group = format!("{}-{role}", self.config.kafka.group);
        let lag = genflow::kafka::admin::lag(&self.config.kafka, &group, topic).await;
        lag.unwrap()
    }

    /// Sends a CANCEL.
    pub(crate) async fn cancel(&self, request: &str) {
        self.cancel_with(request, Headers::new()).await;
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
        let tail = Tail::open(&self.config.kafka, topic, From::Beginning)
            .await
            .unwrap();
        Reader {
            tail,
            registry: self.registry.clone(),
        }
    }

    pub(crate) async fn events(&self) -> Reader {
        self.read(&self.config.kafka.topics.events).await
    }

    /// Waits until the run of `request` has closed, then returns its events, held against rule 11.
    pub(crate) async fn story(&self, request: &str) -> Vec<Event> {
        let mut reader = self.events().await;
        let mut events: Vec<Event> = Vec::new();
        let reading = async {
            while !events.iter().any(|event| event.kind_of_event.is_terminal()) {
                let (event, _) = reader.event().await;
                if event.request_id == request {
                    events.push(event);
                }
            }
        };
        within(SOON, &format!("the story of {request} ends"), reading).await;
        self.closed(request).await;
        let all = self.all_events(request).await;
        ledger::check(&all);
        all
    }

    /// Returns all events of `request` that stand on the topic now, repeats included.
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
            temporal.is_closed(&workflow).await.unwrap().then_some(())
        })
        .await;
    }

    /// The jobs that the provider has under this id, as its ledger shows them.
    pub(crate) async fn jobs(&self, workflow: &str) -> Vec<Value> {
        let entry = self.ledger(workflow).await;
        entry["jobs"].as_array().cloned().unwrap_or_default()
    }

    async fn ledger(&self, workflow: &str) -> Value {
        let url = format!("{}/_sim/ledger?key={workflow}", self.engines.simulator);
        let body = reqwest::get(url).await.unwrap().bytes().await.unwrap();
        let value: Value = serde_json::from_slice(&body).unwrap();
        value["entries"][0].clone()
    }

    /// What the provider saw under this id: submits seen, jobs accepted, the jobs.
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
        if !std::thread::panicking() {
            std::fs::remove_dir_all(&self.folder).ok();
        }
    }
}

/// What the provider saw of one run.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Bill {
    pub(crate) submits: u64,
    pub(crate) accepted: u64,
    pub(crate) statuses: Vec<String>,
}

/// Reads a topic.
pub(crate) struct Reader {
    tail: Tail,
    registry: Arc<Registry>,
}

impl Reader {
    /// Waits for the next record.
    pub(crate) async fn next(&mut self) -> Record {
        within(SOON, "a record comes", async {
            loop {
                if let Next::Record(record) = self.tail.next().await.unwrap() {
                    return record;
                }
            }
        })
        .await
    }

    /// Waits for the next event.
    pub(crate) async fn event(&mut self) -> (Event, Record) {
        let record = self.next().await;
        (decode(&self.registry, &record).await, record)
    }

    /// Returns all records that stand on the topic now.
    pub(crate) async fn all(&mut self) -> Vec<Record> {
        let mut records = Vec::new();
        let mut ended = std::collections::BTreeSet::new();
        within(SOON, "the topic is read", async {
            while ended.len() < self.tail.partitions() {
                match self.tail.next().await.unwrap() {
                    Next::Record(record) => records.push(record),
                    Next::End(partition) => {
                        ended.insert(partition);
                    }
                }
            }
        })
        .await;
        records
    }
}

pub(crate) async fn decode(registry: &Registry, record: &Record) -> Event {
    let (id, datum) = avro::unframe(record.value.as_deref().unwrap()).unwrap();
    avro::read_event(&registry.schema(id).await.unwrap(), datum).unwrap()
}

/// A request for one small image, of one's own id.
pub(crate) fn image(name: &str) -> Request {
    let spec = ImageSpec {
        prompt: "a red fox".to_owned(),
        width: 64,
        height: 64,
        ..ImageSpec::default()
    };
    request(name, Spec::Image(spec))
}

/// A request for one short video.
pub(crate) fn video(name: &str) -> Request {
    let spec = VideoSpec {
        prompt: "waves".to_owned(),
        duration: 2,
        resolution: "320x180".to_owned(),
        ..VideoSpec::default()
    };
    request(name, Spec::Video(spec))
}

fn request(name: &str, spec: Spec) -> Request {
    let id = format!("{name}-{}", &Uuid::new_v4().simple().to_string()[..8]);
    Request {
        id: id.try_into().unwrap(),
        user: "ann".to_owned().try_into().unwrap(),
        spec,
        priority: Priority::Normal,
        timeout: None,
        targets: Targets::default(),
        notify_on: EventType::TOLD_BY_DEFAULT.to_vec(),
        metadata: BTreeMap::from([("order".to_owned(), "7".to_owned())]),
        requested_at: None,
    }
}

/// Tells the simulator how to treat a request.
pub(crate) fn script(mut request: Request, script: &Value) -> Request {
    let params = match &mut request.spec {
        Spec::Image(image) => &mut image.params,
        Spec::Video(video) => &mut video.params,
        Spec::Batch(_) => panic!("a batch has no params"),
    };
    params.insert("sim".to_owned(), script.to_string());
    request
}

fn variables(engines: &Running, name: &str, folder: &Path) -> BTreeMap<String, String> {
    let at = |part: &str| folder.join(part).display().to_string();
    let pairs = [
        ("KAFKA_BROKERS", engines.kafka.clone()),
        ("SCHEMA_REGISTRY_URL", engines.registry.clone()),
        ("TEMPORAL_HOST", engines.temporal.clone()),
        ("TEMPORAL_TASK_QUEUE", name.to_owned()),
        ("KAFKA_GROUP", name.to_owned()),
        ("KAFKA_SESSION_TIMEOUT", "6s".to_owned()),
        ("SHUTDOWN_GRACE", "5s".to_owned()),
        ("TOPIC_REQUESTS", format!("{name}.requests")),
        ("TOPIC_COMMANDS", format!("{name}.commands")),
        ("TOPIC_EVENTS", format!("{name}.events")),
        ("TOPIC_RESULTS", format!("{name}.results")),
        ("TOPIC_REQUESTS_DLQ", format!("{name}.requests.dlq")),
        ("TOPIC_NOTIFICATIONS", format!("{name}.notifications")),
        (
            "TOPIC_NOTIFICATIONS_DLQ",
            format!("{name}.notifications.dlq"),
        ),
        ("VIDEO_API_BASE_URL", engines.simulator.clone()),
        ("IMAGE_API_BASE_URL", engines.simulator.clone()),
        ("REPLICATE_API_BASE_URL", engines.simulator.clone()),
        ("OPENAI_API_BASE_URL", engines.simulator.clone()),
        ("FAL_API_BASE_URL", format!("{}/fal", engines.simulator)),
        ("VIDEO_API_KEY", "test".to_owned()),
        ("REPLICATE_API_KEY", "test".to_owned()),
        ("OPENAI_API_KEY", "test".to_owned()),
        ("FAL_API_KEY", "test".to_owned()),
        ("IMAGE_API_KEY", "test".to_owned()),
        ("RESULTS_DIR", at("results")),
        ("TEMP_DIR", at("temp")),
        ("HTTP_ADDR", "127.0.0.1:0".to_owned()),
        ("WEBHOOK_ALLOW_PRIVATE", "true".to_owned()),
        ("FETCH_POLL_INTERVAL", "100ms".to_owned()),
        ("HEARTBEAT_TIMEOUT", "3s".to_owned()),
        ("RETRY_BACKOFF", "200ms".to_owned()),
        ("PROGRESS_INTERVAL", "200ms".to_owned()),
        ("NOTIFY_SCHEDULE", "100ms,200ms,400ms,800ms".to_owned()),
        ("LOG_LEVEL", "info".to_owned()),
    ];
    pairs
        .into_iter()
        .map(|(name, value)| (name.to_owned(), value))
        .collect()
}
