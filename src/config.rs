//! The only reader of the environment: strings in, typed settings out, all faults at once.
//!
//! `.env.example` is the manual of these variables; a test holds it and this file together. Later code trusts the
//! values. A role that was not chosen does not ask for what only it needs.

mod egress;
mod intake;
mod kafka;
mod notifier;
mod provider;
mod retries;
mod store;
mod temporal;
mod vars;
mod worker;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

pub use self::egress::{Egress, Nat64, Ports};
pub use self::intake::{Backoff, Intake, RateLimit, Steps};
pub use self::kafka::{GroupProtocol, Kafka, Topics};
pub use self::notifier::{Email, Notifier, NotifyKey};
pub use self::provider::{Named, Own, Provider, Rates};
pub use self::retries::{Pauses, Tries};
pub use self::store::{Keys, S3};
pub use self::temporal::Temporal;
use self::vars::Vars;
pub(crate) use self::vars::duration;
pub use self::vars::{Fault, Faults, Secret};
pub use self::worker::{Pollers, Worker};

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
    /// Whom mail is from; few mail servers take it.
    pub const EMAIL_FROM: &str = "genflow <genflow@localhost>";
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

    /// Checks that a consumer's drain ends before its group gives it up. Only consumers are in groups: a worker may take
    /// longer.
    ///
    /// # Errors
    /// It would not.
    pub fn check_drain(&self) -> Result<(), Faults> {
        if self.grace < self.kafka.session_timeout {
            return Ok(());
        }
        Err(Faults(vec![Fault {
            variable: "SHUTDOWN_GRACE",
            problem: "is not below KAFKA_SESSION_TIMEOUT, want less: the group would not wait for the drain".to_owned(),
        }]))
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
    let kafka = kafka::read(vars);
    let retries = retries::read(vars);
    let nat64 = egress::nat64(vars);
    let grace = vars.duration("SHUTDOWN_GRACE", "25s");
    Config {
        schema_registry_url: registry_url(vars),
        temporal: temporal::read(vars),
        intake: intake::read(vars, &retries),
        worker: worker::read(vars, mock_external_apis, &retries, &nat64),
        notifier: notifier::read(vars, &nat64),
        notify_keys: notifier::notify_keys(vars),
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

fn registry_url(vars: &mut Vars<'_>) -> String {
    let url = vars.url(
        "SCHEMA_REGISTRY_URL",
        "http://127.0.0.1:8081/apis/ccompat/v7",
    );
    url.as_str().trim_end_matches('/').to_owned()
}

#[cfg(test)]
mod tests;
