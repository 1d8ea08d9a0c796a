//! Reads all settings from the environment: strings in, typed values out, all faults at once.
//!
//! `.env.example` documents these variables; a test compares it with what is read. Later code trusts the values. All
//! variables are read, whatever role is chosen; [`crate::app::settings`] checks what only some roles need.

pub mod api_keys;
mod callbacks;
pub mod catalogue;
mod codec_server;
mod console;
pub mod description;
mod egress;
mod intake;
pub mod kafka;
mod log;
pub(crate) mod mail_server;
mod models;
mod notifier;
mod payloads;
mod provider;
mod registry;
mod retries;
pub(crate) mod secret_file;
mod spending;
mod store;
mod temporal;
mod tls_files;
mod traces;
mod vars;
mod worker;

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use url::Url;

pub use self::callbacks::Callbacks;
pub use self::codec_server::CodecServer;
pub use self::console::{Console, Person, TRACE_ID};
pub use self::egress::{Egress, Ports};
pub use self::intake::{Intake, RateLimit};
pub use self::kafka::{Kafka, Topics};
pub use self::log::{Log, LogFile};
pub use self::models::AllowedModels;
pub use self::notifier::{Email, MailLimits, Notifier};
pub use self::payloads::{PayloadCodec, PayloadKey};
pub use self::provider::{Named, Own, Protocol, Provider};
pub use self::registry::{Credentials, SchemaRegistry};
pub use self::retries::{Pauses, Retries};
pub use self::spending::Spending;
pub use self::store::S3;
pub use self::temporal::{Identity, Temporal, Tls};
pub use self::tls_files::TlsFiles;
pub use self::traces::{Sampler, Traces};
use self::vars::Vars;
pub(crate) use self::vars::duration;
pub use self::vars::{Fault, Faults};
pub use self::worker::Worker;
use crate::contract::seal::NotifyKey;
use crate::domain::{Fallback, Media};

/// All settings.
#[derive(Clone, Debug)]
pub struct Config {
    pub kafka: Kafka,
    pub schema_registry: SchemaRegistry,
    pub temporal: Temporal,
    /// API keys, limits, and the settings that each run's input carries.
    pub intake: Intake,
    /// Notifiers use its sweep interval and memory limit too, and intake its providers and its egress rules.
    pub worker: Worker,
    pub notifier: Notifier,
    pub console: Console,
    /// Keys that seal notification targets: the first seals, and each opens what it has sealed.
    pub notify_keys: Vec<NotifyKey>,
    /// `genflow codec-server`.
    pub codec_server: CodecServer,
    pub log: Log,
    /// Where traces are sent; `None`: nowhere.
    pub traces: Option<Traces>,
    /// Where `/livez`, `/readyz` and `/metrics` are served.
    pub http_addr: SocketAddr,
    /// How long the drain may take.
    pub grace: Duration,
    /// Whether to start the provider simulator in this process and use it.
    pub mock_external_apis: bool,
    /// Whether the public secrets of [`dev`] are accepted even if an engine is on another machine.
    pub insecure_dev: bool,
}

/// Defaults for development. They are public, so they must not be used in production.
pub mod dev {
    /// Seals notification targets.
    pub const NOTIFY_KEYS: &str = "dev:Z2VuZmxvdy1kZXYta2V5LW5vdC1mb3ItcHJvZHVjdCE=";
    /// Sender of mail; few mail servers accept it.
    pub const EMAIL_FROM: &str = "genflow <genflow@localhost>";
    /// Signs webhooks.
    pub const WEBHOOK_SIGNING_SECRET: &str = "whsec_Z2VuZmxvdy1kZXYtc2VjcmV0LW5vdC1mb3ItcHJvZA==";

    /// Returns whether a key or secret is one of these.
    pub fn is_public(secret: &crate::domain::Secret) -> bool {
        let secret = secret.expose();
        let sealing = NOTIFY_KEYS.split_once(':').map(|(_, key)| key);
        sealing == Some(secret) || secret == WEBHOOK_SIGNING_SECRET
    }
}

#[cfg(test)]
impl Config {
    /// Reads the settings from `variables`; if two have the same name, the last one counts.
    pub(crate) fn of(variables: &[(&str, &str)]) -> Result<Self, Faults> {
        let value = |name: &str| variables.iter().rfind(|(known, _)| *known == name);
        Self::load(|name| value(name).map(|(_, value)| (*value).to_owned()))
    }
}

impl Config {
    /// Reads all settings through `lookup`. For a name with `*` at its end, `lookup` returns the names of all variables that
    /// begin so, separated by commas.
    ///
    /// # Errors
    /// All faults, one per line.
    pub fn load(lookup: impl Fn(&str) -> Option<String>) -> Result<Self, Faults> {
        Self::load_for(lookup, |_| Vec::new())
    }

    /// Reads all settings through `lookup`; `further` checks what only some roles need.
    ///
    /// # Errors
    /// All faults, one per line.
    pub fn load_for(
        lookup: impl Fn(&str) -> Option<String>,
        further: impl FnOnce(&Self) -> Vec<Fault>,
    ) -> Result<Self, Faults> {
        let mut vars = Vars::new(&lookup);
        let config = read(&mut vars);
        vars.finish(config, further)
    }

    /// Checks that a drain ends within the session time-out: after that, the group gives the consumer's partitions to
    /// others. Only consumers are in groups, so a worker alone may take longer.
    ///
    /// # Errors
    /// `SHUTDOWN_GRACE` is not below `KAFKA_SESSION_TIMEOUT`.
    pub fn check_drain(&self) -> Result<(), Fault> {
        if self.grace < self.kafka.session_timeout {
            return Ok(());
        }
        Err(Fault {
            variable: "SHUTDOWN_GRACE",
            problem: "is not below KAFKA_SESSION_TIMEOUT; expected a shorter time, since the group does not wait longer for the drain".to_owned(),
        })
    }

    /// Returns whether this is development: all engines are on this machine, or `GENFLOW_INSECURE_DEV` is true.
    pub fn is_development(&self) -> bool {
        self.insecure_dev || self.foreign_engines().is_empty()
    }

    /// Returns the variables of the engines that are not on this machine.
    pub fn foreign_engines(&self) -> Vec<&'static str> {
        let local = |url: &Url| url.host_str().is_some_and(is_loopback);
        let engines = [
            ("KAFKA_BROKERS", !kafka::is_foreign(&self.kafka.brokers)),
            ("SCHEMA_REGISTRY_URL", local(&self.schema_registry.url)),
            ("TEMPORAL_HOST", local(&self.temporal.url)),
        ];
        let foreign = engines.into_iter().filter(|(_, is_local)| !is_local);
        foreign.map(|(variable, _)| variable).collect()
    }

    /// Checks the keys that seal targets: the public one of [`dev`] is for development only.
    ///
    /// # Errors
    /// The public key is among them, and this is not development.
    pub fn check_notify_keys(&self) -> Result<(), Fault> {
        let public = self.notify_keys.iter().any(|key| dev::is_public(&key.key));
        self.check_public("NOTIFY_KEYS", public)
    }

    /// Checks the secrets that sign webhooks: the public one of [`dev`] is for development only.
    ///
    /// # Errors
    /// The public secret is among them, and this is not development.
    pub fn check_signing_secrets(&self) -> Result<(), Fault> {
        let public = self.notifier.signing_secrets.iter().any(dev::is_public);
        self.check_public("WEBHOOK_SIGNING_SECRET", public)
    }

    fn check_public(&self, variable: &'static str, public: bool) -> Result<(), Fault> {
        if !public || self.is_development() {
            return Ok(());
        }
        let foreign = self.foreign_engines().join(", ");
        Err(Fault {
            variable,
            problem: format!(
                "holds the public development secret, which is for engines on this machine only, unlike those of \
                 {foreign}; expected one of your own, as genflow secrets prints it, or GENFLOW_INSECURE_DEV=true"
            ),
        })
    }

    /// Returns the names of the variables of secrets, by whether their files are read again.
    fn secret_names() -> vars::SecretNames {
        let nothing = |_: &str| None;
        let mut vars = Vars::new(&nothing);
        read(&mut vars);
        vars.names().1
    }

    /// Returns the names of all variables that are read.
    pub fn variables() -> Vec<&'static str> {
        let nothing = |_: &str| None;
        let mut vars = Vars::new(&nothing);
        read(&mut vars);
        vars.names().0
    }
}

fn read(vars: &mut Vars<'_>) -> Config {
    let mock_external_apis = vars.flag("MOCK_EXTERNAL_APIS", false);
    let kafka = kafka::read(vars);
    let retries = retries::read(vars);
    let named = provider::named(vars, mock_external_apis);
    let grace = vars.duration("SHUTDOWN_GRACE", "25s");
    let mut config = Config {
        schema_registry: registry::read(vars),
        temporal: temporal::read(vars),
        intake: intake::read(vars, &retries, &named),
        worker: worker::read(vars, mock_external_apis, named, retries),
        notifier: notifier::read(vars),
        console: console::read(vars),
        notify_keys: notifier::notify_keys(vars),
        codec_server: codec_server::read(vars),
        log: log::read(vars),
        traces: traces::read(vars),
        http_addr: vars.parsed(
            "HTTP_ADDR",
            "127.0.0.1:9464",
            "host:port, the host as an IP address",
        ),
        kafka,
        grace,
        mock_external_apis,
        insecure_dev: vars.flag("GENFLOW_INSECURE_DEV", false),
    };
    check_fallbacks(vars, &config);
    let is_development = config.is_development();
    if let Some(email) = &mut config.notifier.email {
        email.allowed_domains.default_to(is_development);
    }
    config
}

/// Checks that `ALLOWED_MODELS` allows the operator's own fallbacks.
fn check_fallbacks(vars: &mut Vars<'_>, config: &Config) {
    let worker = &config.worker;
    for (variable, media, entries) in [
        ("VIDEO_FALLBACK", Media::Video, &worker.video_fallback),
        ("IMAGE_FALLBACK", Media::Image, &worker.image_fallback),
    ] {
        for Fallback { provider, model } in entries {
            let default = || worker.provider(media, *provider).model;
            let model = model.clone().unwrap_or_else(default);
            if !config.intake.allowed_models.allow(media, *provider, &model) {
                let provider = provider.as_str();
                let problem =
                    format!("has {provider}/{model}, expected models that ALLOWED_MODELS allows");
                vars.fault(variable, &problem);
            }
        }
    }
}

/// Returns whether the host of a setting is this machine.
fn is_loopback(host: &str) -> bool {
    let ip = host.trim_matches(['[', ']']).parse::<IpAddr>();
    host.eq_ignore_ascii_case("localhost") || ip.is_ok_and(|ip| ip.is_loopback())
}

#[cfg(test)]
mod tests;
