//! The only reader of the environment: strings in, typed settings out, all faults at once.
//!
//! `.env.example` is the manual of these variables; a test holds it and this file together. Later code trusts the
//! values. A role that was not chosen does not ask for what only it needs.

mod provider;
mod vars;

use std::net::SocketAddr;
use std::num::NonZeroU32;
use std::path::PathBuf;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use url::Url;

pub use self::provider::{Named, Own, Provider};
use self::vars::Vars;
pub(crate) use self::vars::duration;
pub use self::vars::{Fault, Faults, Secret};
use crate::access::ApiKeys;

/// All settings.
#[derive(Clone, Debug)]
pub struct Config {
    /// Kafka and its topics.
    pub kafka: Kafka,
    /// Base URL of the schema registry, without a trailing slash.
    pub schema_registry_url: String,
    /// The Temporal server.
    pub temporal: Temporal,
    /// What intake needs.
    pub intake: Intake,
    /// What the worker needs.
    pub worker: Worker,
    /// What the notifier needs.
    pub notifier: Notifier,
    /// Keys that seal and open notification targets; the first seals.
    pub notify_keys: Vec<NotifyKey>,
    /// Logs.
    pub log: Log,
    /// Where `/livez`, `/readyz` and `/metrics` are served.
    pub http_addr: SocketAddr,
    /// How long a stop may take.
    pub grace: Duration,
    /// Start the provider simulator in this process and use it.
    pub mock_external_apis: bool,
}

/// Kafka: where it is, and the names of the topics.
#[derive(Clone, Debug)]
pub struct Kafka {
    /// `host:port[,host:port]`.
    pub brokers: String,
    /// Further librdkafka settings, as `security.protocol=SASL_SSL`.
    pub options: Vec<(String, String)>,
    /// Topic names.
    pub topics: Topics,
    /// Prefix of the consumer groups.
    pub group: String,
    /// `session.timeout.ms` of the consumers.
    pub session_timeout: Duration,
    /// How the members of a group agree on their partitions.
    pub group_protocol: GroupProtocol,
    /// Makes the members static (KIP-345): a restart within the session time-out moves no partition.
    pub group_instance: Option<String>,
    /// Refusals in a row for one systemic reason after which records are held; 0: never.
    pub dlq_fuse: u32,
}

/// How the members of a consumer group agree on their partitions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GroupProtocol {
    /// By the members, cooperative-sticky (KIP-429).
    Classic,
    /// By the brokers (KIP-848), Kafka 4.0 and later.
    Consumer,
}

impl std::str::FromStr for GroupProtocol {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        match text {
            "classic" => Ok(Self::Classic),
            "consumer" => Ok(Self::Consumer),
            _ => Err(()),
        }
    }
}

/// The names of the topics (contract, section 4).
#[derive(Clone, Debug)]
pub struct Topics {
    /// Generation requests, in.
    pub requests: String,
    /// Commands, in.
    pub commands: String,
    /// The whole lifecycle, out.
    pub events: String,
    /// The outcome of every run, out; compacted.
    pub results: String,
    /// Records that cannot be used.
    pub dlq: String,
    /// Receipts of notifications.
    pub notifications: String,
    /// Notifications given up.
    pub notifications_dlq: String,
}

/// The Temporal server and our place in it.
#[derive(Clone, Debug)]
pub struct Temporal {
    /// As `http://host:port`.
    pub url: Url,
    /// Namespace.
    pub namespace: String,
    /// Queue of workflows, `submit` and `finish`; `fetch` has the same name with `-fetch` behind it.
    pub task_queue: String,
    /// API key of a hosted server.
    pub api_key: Option<Secret>,
}

/// What intake needs.
#[derive(Clone, Debug)]
pub struct Intake {
    /// Records in flight at once.
    pub concurrency: usize,
    /// Age above which a record is `too_old`; `None` takes nine tenths of the namespace's retention.
    pub dedup_window: Option<Duration>,
    /// Who may ask.
    pub api_keys: ApiKeys,
    /// How often a user may start, if that is limited.
    pub rate_limit: Option<RateLimit>,
    /// Deadline of a video whose request names none.
    pub video_timeout: Duration,
    /// Deadline of images whose request names none.
    pub image_timeout: Duration,
    /// Deadline of a batch whose request names none.
    pub batch_timeout: Duration,
    /// Items after which a batch continues as new.
    pub batch_segment: u32,
    /// Shortest time between two PROGRESS events of a batch.
    pub batch_progress_interval: Duration,
    /// Bounds and pauses of a run's steps; they travel with the workflow's input.
    pub steps: Steps,
}

/// How often a user may start.
#[derive(Clone, Copy, Debug)]
pub struct RateLimit {
    /// Starts a minute, over time.
    pub per_minute: NonZeroU32,
    /// Starts at once.
    pub burst: NonZeroU32,
    /// How long a record above the limit may wait.
    pub hold: Duration,
}

/// Bounds and pauses of a run's steps.
#[derive(Clone, Copy, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct Steps {
    /// A worker that is silent for so long has lost its activity.
    pub heartbeat_ms: u64,
    /// How often a submit that was not accepted is sent.
    pub submit_attempts: u32,
    /// First pause between tries of an activity; it doubles.
    pub backoff_ms: u64,
    /// Longest pause between tries.
    pub backoff_max_ms: u64,
    /// Shortest time between two PROGRESS events.
    pub progress_every_ms: u64,
    /// Most PROGRESS events of a run.
    pub progress_most: u32,
}

/// What the worker needs.
#[derive(Clone, Debug)]
pub struct Worker {
    /// How often each worker looks for runs that were closed from outside.
    pub sweep_interval: Duration,
    /// Where downloads go before they are stored.
    pub temp_dir: PathBuf,
    /// Where results are stored.
    pub results_dir: PathBuf,
    /// Who makes videos.
    pub video: Provider,
    /// Who makes images.
    pub image: Provider,
    /// Who makes either where a spec names another provider than these two.
    pub named: Named,
    /// Pay twice rather than fail when it is unknown whether a submit was accepted.
    pub submit_ambiguous_resubmit: bool,
    /// Pause between two looks at a provider's job.
    pub poll_interval: Duration,
    /// Largest output that is stored, in bytes.
    pub max_output_bytes: u64,
    /// How often an output is downloaded and stored before the run fails.
    pub store_attempts: u32,
    /// Activities of `submit` and `finish` at once.
    pub activity_slots: usize,
    /// Activities of `fetch` at once.
    pub fetch_slots: usize,
    /// Workflows kept in memory; 0 replays each from its history at every step.
    pub cached_workflows: usize,
}

/// What the notifier needs.
#[derive(Clone, Debug)]
pub struct Notifier {
    /// Master secrets of webhook signatures; the first signs first.
    pub signing_secrets: Vec<Secret>,
    /// Call private, loopback and link-local addresses too.
    pub allow_private: bool,
    /// Events handled at once.
    pub concurrency: usize,
    /// How long one try may take.
    pub try_timeout: Duration,
    /// How often a webhook is tried.
    pub attempts: u32,
    /// First pause between tries; it doubles.
    pub backoff: Duration,
    /// Age above which an event is not notified of any more.
    pub max_age: Duration,
}

/// A key that seals notification targets.
#[derive(Clone, Debug)]
pub struct NotifyKey {
    /// Names the key in what it sealed.
    pub id: String,
    /// 32 bytes, base64.
    pub key: Secret,
}

/// How logs are written.
#[derive(Clone, Debug)]
pub struct Log {
    /// A level or a `tracing` filter.
    pub level: String,
    /// JSON instead of text.
    pub json: bool,
    /// Append to this file instead of standard error.
    pub file: Option<PathBuf>,
}

/// The settings of development: known to all, so never for production.
pub mod dev {
    /// Seals notification targets.
    pub const NOTIFY_KEYS: &str = "dev:Z2VuZmxvdy1kZXYta2V5LW5vdC1mb3ItcHJvZHVjdCE=";
    /// Signs webhooks.
    pub const WEBHOOK_SIGNING_SECRET: &str = "whsec_Z2VuZmxvdy1kZXYtc2VjcmV0LW5vdC1mb3ItcHJvZA==";
}

impl Config {
    /// Reads all settings through `lookup`.
    ///
    /// # Errors
    /// Every fault there is, a line each.
    pub fn load(lookup: impl Fn(&str) -> Option<String>) -> Result<Self, Faults> {
        let mut vars = Vars::new(&lookup);
        let config = read(&mut vars);
        vars.finish(config)
    }

    /// Returns the names of all variables that are read.
    pub fn variables() -> Vec<&'static str> {
        let nothing = |_: &str| None;
        let mut vars = Vars::new(&nothing);
        read(&mut vars);
        vars.names()
    }
}

fn read(vars: &mut Vars<'_>) -> Config {
    let debug = vars.flag("DEBUG", false);
    let mock_external_apis = vars.flag("MOCK_EXTERNAL_APIS", false);
    let kafka = kafka(vars);
    let grace = vars.duration("SHUTDOWN_GRACE", "25s");
    if grace >= kafka.session_timeout {
        vars.fault(
            "SHUTDOWN_GRACE",
            "is not below KAFKA_SESSION_TIMEOUT, want less: the group would not wait for the drain",
        );
    }
    Config {
        schema_registry_url: registry_url(vars),
        temporal: temporal(vars),
        intake: intake(vars),
        worker: worker(vars, mock_external_apis),
        notifier: notifier(vars),
        notify_keys: notify_keys(vars),
        log: Log {
            level: vars.string("LOG_LEVEL", if debug { "debug" } else { "info" }),
            json: vars.flag("USE_JSON_LOGGING", false),
            file: vars.optional("LOG_FILE_PATH").map(PathBuf::from),
        },
        http_addr: vars.parsed(
            "HTTP_ADDR",
            "127.0.0.1:9464",
            "host:port, the host as an IP address",
        ),
        kafka,
        grace,
        mock_external_apis,
    }
}

fn kafka(vars: &mut Vars<'_>) -> Kafka {
    let brokers = vars.string("KAFKA_BROKERS", "127.0.0.1:9092");
    let good = |broker: &str| {
        broker
            .rsplit_once(':')
            .is_some_and(|(host, port)| !host.is_empty() && port.parse::<u16>().is_ok())
    };
    if !brokers.split(',').all(good) {
        vars.fault(
            "KAFKA_BROKERS",
            &format!("is {brokers:?}, want host:port[,host:port]"),
        );
    }
    let options = vars.string("KAFKA_OPTIONS", "");
    let mut pairs = Vec::new();
    for option in options
        .split(',')
        .map(str::trim)
        .filter(|option| !option.is_empty())
    {
        match option.split_once('=') {
            Some((name, value)) => pairs.push((name.to_owned(), value.to_owned())),
            None => vars.fault(
                "KAFKA_OPTIONS",
                "want name=value[,name=value] of librdkafka",
            ),
        }
    }
    let topic = |vars: &mut Vars<'_>, name, default| vars.name(name, default);
    Kafka {
        brokers,
        options: pairs,
        topics: Topics {
            requests: topic(vars, "TOPIC_REQUESTS", "gen.requests"),
            commands: topic(vars, "TOPIC_COMMANDS", "gen.commands"),
            events: topic(vars, "TOPIC_EVENTS", "gen.events"),
            results: topic(vars, "TOPIC_RESULTS", "gen.results"),
            dlq: topic(vars, "TOPIC_REQUESTS_DLQ", "gen.requests.dlq"),
            notifications: topic(vars, "TOPIC_NOTIFICATIONS", "gen.notifications"),
            notifications_dlq: topic(vars, "TOPIC_NOTIFICATIONS_DLQ", "gen.notifications.dlq"),
        },
        group: vars.name("KAFKA_GROUP", "genflow"),
        session_timeout: vars.duration("KAFKA_SESSION_TIMEOUT", "45s"),
        group_protocol: vars.parsed("KAFKA_GROUP_PROTOCOL", "classic", "classic or consumer"),
        group_instance: vars.optional("KAFKA_GROUP_INSTANCE_ID"),
        dlq_fuse: vars.parsed("DLQ_FUSE", "100", "a number of records, 0 for no fuse"),
    }
}

fn registry_url(vars: &mut Vars<'_>) -> String {
    let url = vars.url(
        "SCHEMA_REGISTRY_URL",
        "http://127.0.0.1:8081/apis/ccompat/v7",
    );
    url.as_str().trim_end_matches('/').to_owned()
}

fn temporal(vars: &mut Vars<'_>) -> Temporal {
    let host = vars.string("TEMPORAL_HOST", "127.0.0.1:7233");
    let text = if host.contains("://") {
        host.clone()
    } else {
        format!("http://{host}")
    };
    let url = Url::parse(&text)
        .ok()
        .filter(|url| url.has_host() && matches!(url.scheme(), "http" | "https"));
    if url.is_none() {
        vars.fault(
            "TEMPORAL_HOST",
            &format!("is {host:?}, want host:port or a URL"),
        );
    }
    Temporal {
        url: url.unwrap_or_else(vars::no_url),
        namespace: vars.name("TEMPORAL_NAMESPACE", "default"),
        task_queue: vars.name("TEMPORAL_TASK_QUEUE", "genflow"),
        api_key: vars.optional("TEMPORAL_API_KEY").map(Secret::new),
    }
}

fn intake(vars: &mut Vars<'_>) -> Intake {
    Intake {
        concurrency: vars.number("INTAKE_CONCURRENCY", 16, 1..=1000) as usize,
        dedup_window: vars.optional_duration("DEDUP_WINDOW"),
        api_keys: api_keys(vars),
        rate_limit: rate_limit(vars),
        video_timeout: vars.duration("VIDEO_TIMEOUT", "1h"),
        image_timeout: vars.duration("IMAGE_TIMEOUT", "10m"),
        batch_timeout: vars.duration("BATCH_TIMEOUT", "24h"),
        batch_segment: vars.number("BATCH_SEGMENT", 500, 1..=1000) as u32,
        batch_progress_interval: vars.duration("BATCH_PROGRESS_INTERVAL", "5s"),
        steps: Steps {
            heartbeat_ms: vars.millis("HEARTBEAT_TIMEOUT", "10s"),
            submit_attempts: vars.number("SUBMIT_MAX_ATTEMPTS", 5, 1..=100) as u32,
            backoff_ms: vars.millis("RETRY_BACKOFF", "1s"),
            backoff_max_ms: vars.millis("RETRY_BACKOFF_MAX", "1m"),
            progress_every_ms: vars.millis("PROGRESS_INTERVAL", "10s"),
            progress_most: vars.number("PROGRESS_MAX", 50, 0..=1000) as u32,
        },
    }
}

fn api_keys(vars: &mut Vars<'_>) -> ApiKeys {
    let required = vars.flag("REQUIRE_API_KEY", false);
    let keys = vars.string("API_KEYS", "");
    ApiKeys::parse(required, &keys).unwrap_or_else(|problem| {
        vars.fault("API_KEYS", &problem);
        ApiKeys::default()
    })
}

fn rate_limit(vars: &mut Vars<'_>) -> Option<RateLimit> {
    let limited = vars.flag("ENABLE_RATE_LIMITING", false);
    let wanted = "a number from 1";
    let limit = RateLimit {
        per_minute: vars.parsed("RATE_LIMIT_PER_MINUTE", "60", wanted),
        burst: vars.parsed("RATE_LIMIT_BURST", "20", wanted),
        hold: vars.duration("RATE_LIMIT_HOLD", "10s"),
    };
    limited.then_some(limit)
}

fn worker(vars: &mut Vars<'_>, mocked: bool) -> Worker {
    let temp_dir = std::env::temp_dir().join("genflow");
    Worker {
        sweep_interval: vars.duration("SWEEP_INTERVAL", "1m"),
        temp_dir: vars.path("TEMP_DIR", &temp_dir),
        results_dir: vars.path("RESULTS_DIR", "results".as_ref()),
        video: provider::video(vars, mocked),
        image: provider::image(vars, mocked),
        named: provider::named(vars, mocked),
        submit_ambiguous_resubmit: vars.one_of("SUBMIT_AMBIGUOUS", &["fail", "resubmit"])
            == "resubmit",
        poll_interval: vars.duration("FETCH_POLL_INTERVAL", "2s"),
        max_output_bytes: vars.number("MAX_OUTPUT_BYTES", 2 * 1024 * 1024 * 1024, 1..=u64::MAX),
        store_attempts: vars.number("STORE_MAX_ATTEMPTS", 5, 1..=100) as u32,
        activity_slots: vars.number("WORKER_ACTIVITY_SLOTS", 100, 1..=100_000) as usize,
        fetch_slots: vars.number("WORKER_FETCH_SLOTS", 2000, 1..=100_000) as usize,
        cached_workflows: vars.number("WORKER_CACHED_WORKFLOWS", 1000, 0..=1_000_000) as usize,
    }
}

fn notifier(vars: &mut Vars<'_>) -> Notifier {
    let secrets = vars.string("WEBHOOK_SIGNING_SECRET", dev::WEBHOOK_SIGNING_SECRET);
    let mut signing_secrets = Vec::new();
    for secret in secrets.split(',').map(str::trim) {
        let bytes = secret
            .strip_prefix("whsec_")
            .and_then(|text| BASE64.decode(text).ok());
        match bytes {
            Some(bytes) if (24..=64).contains(&bytes.len()) => {
                signing_secrets.push(Secret::new(secret.to_owned()))
            }
            Some(_) | None => vars.fault(
                "WEBHOOK_SIGNING_SECRET",
                "want whsec_ and the base64 of 24 to 64 bytes, several by comma",
            ),
        }
    }
    Notifier {
        signing_secrets,
        allow_private: vars.flag("WEBHOOK_ALLOW_PRIVATE", false),
        concurrency: vars.number("NOTIFY_CONCURRENCY", 64, 1..=10_000) as usize,
        try_timeout: vars.duration("NOTIFY_TRY_TIMEOUT", "5s"),
        attempts: vars.number("NOTIFY_MAX_ATTEMPTS", 5, 1..=100) as u32,
        backoff: vars.duration("NOTIFY_BACKOFF", "1s"),
        max_age: vars.duration("NOTIFY_MAX_AGE", "76h"),
    }
}

fn notify_keys(vars: &mut Vars<'_>) -> Vec<NotifyKey> {
    let text = vars.string("NOTIFY_KEYS", dev::NOTIFY_KEYS);
    let mut keys = Vec::new();
    for part in text.split(',').map(str::trim) {
        let pair = part.split_once(':').filter(|(id, key)| {
            (1..=32).contains(&id.len()) && BASE64.decode(key).is_ok_and(|bytes| bytes.len() == 32)
        });
        match pair {
            Some((id, key)) => keys.push(NotifyKey {
                id: id.to_owned(),
                key: Secret::new(key.to_owned()),
            }),
            None => vars.fault(
                "NOTIFY_KEYS",
                "want id:base64 of 32 bytes, several by comma",
            ),
        }
    }
    keys
}

impl Intake {
    /// Checks that somebody is let in. Only intake needs the keys: other roles may do without them.
    ///
    /// # Errors
    /// A key is required and there is none.
    pub fn check_access(&self) -> Result<(), Faults> {
        if self.api_keys.let_in_anybody() {
            return Ok(());
        }
        Err(Faults(vec![Fault {
            variable: "API_KEYS",
            problem: "is empty, want a key at least, or REQUIRE_API_KEY=false".to_owned(),
        }]))
    }
}

#[cfg(test)]
mod tests;
