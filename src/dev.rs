//! `genflow dev`: everything on this machine. Starts the engines and all roles in this process, sends a request of
//! each kind, and shows its events and notifications.
//!
//! Only results and installed engines outlive a run: topics, schemas and histories are new each time. If the
//! environment names an engine on this machine, dev uses it as it is. An engine elsewhere may be production: dev uses
//! it only if the user says so, and then with names of its own. Nothing is paid for unless the user says so.

pub mod child_guard;
pub mod engines;
mod mailbox;
pub mod mock;
mod receiver;
mod samples;
pub mod simulator;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::io::{IsTerminal as _, Write as _};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use futures::FutureExt as _;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use self::engines::{Engines, Existing, Options, Ports, default_cache};
use self::mailbox::Mailbox;
use self::receiver::Receiver;
use crate::app::{self, Roles};
use crate::domain::shown;
use crate::engines::config::{Config, Fault, Faults, Topics};
use crate::engines::kafka::admin::Asked;
use crate::engines::storage::Store;
use crate::engines::telemetry;
use crate::operate::setup;

/// The options of `genflow dev`.
#[derive(Clone, Copy, Debug)]
pub struct Dev {
    /// Exit when the sample requests have ended.
    pub once: bool,
    /// The ports that the engines listen on.
    pub ports: Ports,
    /// Also use engines that are not on this machine, with separate topics, groups and task queues.
    pub use_existing: bool,
    /// Send the sample requests even if they are paid for.
    pub samples: bool,
}

/// The surroundings of the roles.
struct World {
    /// The engines' addresses, by the names of their variables.
    engines: BTreeMap<&'static str, String>,
    /// The page of mails, if the mail catcher runs.
    mailbox: Option<Mailbox>,
    began: Instant,
}

/// How long the sample requests may take.
const SAMPLES_TIME: Duration = Duration::from_secs(120);

/// Defaults for development; the environment overrides them.
const DEFAULTS: [(&str, &str); 8] = [
    ("GENFLOW_INSECURE_DEV", "true"),
    ("MOCK_EXTERNAL_APIS", "true"),
    ("WEBHOOK_ALLOW_PRIVATE", "true"),
    ("LOG_LEVEL", "warn"),
    ("FETCH_POLL_INTERVAL", "300ms"),
    ("PROGRESS_INTERVAL", "500ms"),
    ("SHUTDOWN_GRACE", "10s"),
    // A placeholder: the mail catcher's port is known only when it runs, but OPS_EMAIL needs a server before that.
    ("SMTP_URL", "smtp://localhost"),
];

/// Runs until `stop`, or with `once` until the sample requests have ended.
///
/// # Errors
/// An engine could not be installed or started ([`engines::Error`] is the cause), settings are at fault, a role
/// ended, or a sample request did not complete.
pub async fn run(
    dev: Dev,
    lookup: impl Fn(&str) -> Option<String>,
    stop: CancellationToken,
) -> anyhow::Result<()> {
    let began = Instant::now();
    say("genflow dev: engines, roles and a provider simulator on this machine; Ctrl-C stops it");
    let data = std::env::temp_dir().join(format!("genflow-dev-{}", std::process::id()));
    let options = options(dev, &data, &lookup)?;
    // Before the engines are installed and started, so faults show at once.
    let config = settings(dev, &BTreeMap::new(), &data, &lookup)?;
    check(dev, &config)?;
    let http = listen(dev, &config).await?;
    let started = tokio::select! {
        started = Box::pin(Engines::start(&options)) => started,
        () = stop.cancelled() => {
            std::fs::remove_dir_all(&data).ok();
            return Ok(());
        }
    };
    let mut engines = started?;
    let places = engines_of(&engines);
    let config = settings(dev, &places, &data, &lookup)?;
    let mailbox = match engines.maildir.clone() {
        Some(maildir) => Some(Mailbox::bind(dev.ports, maildir).await?),
        None => None,
    };
    let world = World {
        engines: places,
        mailbox,
        began,
    };
    let played = tokio::select! {
        played = Box::pin(play(dev, &world, config, http, &stop)) => played,
        error = engines.failed() => Err(error.into()),
    };
    let played = match (played, engines.failed().now_or_never()) {
        // An engine that ended is the cause of any other error.
        (Err(_), Some(ended)) => Err(ended.into()),
        (played, _) => played,
    };
    engines.stop().await;
    if played.is_ok() {
        // After a fault the folder stays, because it has the engines' logs.
        std::fs::remove_dir_all(&data).context("the folder of this run was not removed")?;
    }
    played
}

fn options(
    dev: Dev,
    data: &Path,
    lookup: &impl Fn(&str) -> Option<String>,
) -> anyhow::Result<Options> {
    let named = |name: &str| lookup(name).filter(|value| !value.trim().is_empty());
    Ok(Options {
        cache: default_cache(),
        data: data.to_owned(),
        guard: std::env::current_exe().context("the path of this program is not known")?,
        ports: dev.ports,
        existing: Existing {
            kafka_brokers: named("KAFKA_BROKERS"),
            schema_registry_url: named("SCHEMA_REGISTRY_URL"),
            temporal_host: named("TEMPORAL_HOST"),
            smtp_url: named("SMTP_URL"),
        },
        progress: Arc::new(|line: &str| say(&format!("  {line}"))),
    })
}

/// Returns the engines' addresses, by the names of their variables.
fn engines_of(engines: &Engines) -> BTreeMap<&'static str, String> {
    BTreeMap::from([
        ("KAFKA_BROKERS", engines.kafka_brokers.clone()),
        ("SCHEMA_REGISTRY_URL", engines.schema_registry_url.clone()),
        ("TEMPORAL_HOST", engines.temporal_host.clone()),
        ("SMTP_URL", engines.smtp_url.clone()),
        (
            "TEMPORAL_UI",
            engines.temporal_ui.clone().unwrap_or_default(),
        ),
    ])
}

/// Checks that dev uses no engine elsewhere (it may be production) and pays for nothing, unless the user says so.
fn check(dev: Dev, config: &Config) -> Result<(), Faults> {
    let mut faults = Vec::new();
    if !dev.use_existing {
        faults.extend(config.foreign_engines().into_iter().map(|variable| Fault {
            variable,
            problem: "is not on this machine; unset it and genflow dev starts one here, or add --use-existing \
                      to use it with separate topics, groups and task queues"
                .to_owned(),
        }));
    }
    if dev.once && !sends_samples(dev, config) {
        faults.push(Fault {
            variable: "MOCK_EXTERNAL_APIS",
            problem: "is false, so the sample requests are paid for; unset it, or add --samples to pay for them"
                .to_owned(),
        });
    }
    if faults.is_empty() {
        return Ok(());
    }
    Err(Faults(faults))
}

fn sends_samples(dev: Dev, config: &Config) -> bool {
    config.mock_external_apis || dev.samples
}

/// Gives topics, groups and queues names that no other deployment on these engines has. Removes the operators' targets,
/// so dev does not add its failures to the digests of another deployment.
fn keep_apart(config: &mut Config, user: Option<&str>) {
    let user: String = user
        .unwrap_or_default()
        .chars()
        .filter(char::is_ascii_alphanumeric)
        .collect();
    let Topics {
        requests,
        commands,
        events,
        results,
        dlq,
        notifications,
        notifications_dlq,
    } = &mut config.kafka.topics;
    for name in [
        requests,
        commands,
        events,
        results,
        dlq,
        notifications,
        notifications_dlq,
        &mut config.kafka.group,
        &mut config.temporal.task_queue,
    ] {
        *name = format!("dev-{user}.{name}");
    }
    config.notifier.ops_slack = None;
    config.notifier.ops_email = None;
}

/// Reads the settings. The engines' addresses come first, then the environment, then the defaults of development.
fn settings(
    dev: Dev,
    engines: &BTreeMap<&'static str, String>,
    data: &Path,
    lookup: &impl Fn(&str) -> Option<String>,
) -> Result<Config, Faults> {
    let temp = data.join("temp").display().to_string();
    let mut config = app::settings::load(Roles::ALL, |name| {
        let default = || {
            DEFAULTS
                .iter()
                .find(|(known, _)| *known == name)
                .map(|(_, value)| (*value).to_owned())
        };
        let here = || (name == "TEMP_DIR").then(|| temp.clone());
        engines
            .get(name)
            .cloned()
            .or_else(|| lookup(name))
            .or_else(here)
            .or_else(default)
    })?;
    if dev.use_existing {
        keep_apart(&mut config, lookup("USER").as_deref());
    }
    Ok(config)
}

/// Listens on the port of health and metrics.
async fn listen(dev: Dev, config: &Config) -> anyhow::Result<TcpListener> {
    let address = config.http_addr;
    match dev.ports {
        Ports::Fixed => TcpListener::bind(address).await.with_context(|| {
            format!("HTTP_ADDR {address} is taken; stop the program there, set another address, or use --ports free")
        }),
        Ports::Free => Ok(TcpListener::bind("127.0.0.1:0").await?),
    }
}

async fn play(
    dev: Dev,
    world: &World,
    config: Config,
    http: TcpListener,
    stop: &CancellationToken,
) -> anyhow::Result<()> {
    let metrics = telemetry::init(&config.log)?;
    setup::run(&config, Asked::ONE_COPY, &mut std::io::sink())
        .await
        .context("setup")?;
    let receiver = Receiver::bind(&config).await?;
    announce(world, &config, &http, &receiver)?;
    let samples = sends_samples(dev, &config);

    let ending = stop.child_token();
    let serving = run_roles(config.clone(), http, metrics, ending.clone());
    let watching = async {
        let _ends_the_roles = ending.clone().drop_guard();
        let sampled = tokio::select! {
            sampled = sample(samples, &config, &receiver, world.mailbox.as_ref()) => sampled,
            () = ending.cancelled() => return Ok(()),
        };
        if dev.once {
            return sampled;
        }
        if let Err(error) = sampled {
            say(&format!("the sample requests failed: {error:#}"));
        }
        let topics = &config.kafka.topics;
        let named = match dev.use_existing {
            true => format!(
                "TOPIC_REQUESTS={} TOPIC_EVENTS={} ",
                topics.requests, topics.events
            ),
            false => String::new(),
        };
        say(&format!(
            "\nsend your own:  {named}genflow submit image --prompt \"a red fox\" --watch"
        ));
        samples::show_all(&config, &ending).await
    };
    let receiving = receiver.run(ending.clone());
    let showing = async {
        match &world.mailbox {
            Some(mailbox) => mailbox.run(ending.clone()).await,
            None => Ok(()),
        }
    };
    let (served, watched, received, shown) = tokio::join!(serving, watching, receiving, showing);
    watched.and(served).and(received).and(shown)
}

async fn run_roles(
    config: Config,
    http: TcpListener,
    metrics: telemetry::Handle,
    stop: CancellationToken,
) -> anyhow::Result<()> {
    if config.mock_external_apis {
        mock::run(config, Roles::ALL, http, metrics, stop).await
    } else {
        app::run(config, Roles::ALL, http, metrics, stop).await
    }
}

/// Sends the sample requests if `sends`, and waits until they have ended.
async fn sample(
    sends: bool,
    config: &Config,
    receiver: &Receiver,
    mailbox: Option<&Mailbox>,
) -> anyhow::Result<()> {
    if !sends {
        say("sends no sample requests, because they cost money; --samples sends them");
        return Ok(());
    }
    match tokio::time::timeout(SAMPLES_TIME, samples::run(config, receiver, mailbox)).await {
        Ok(sampled) => sampled,
        Err(_) => bail!("the sample requests did not end within {SAMPLES_TIME:?}"),
    }
}

fn announce(
    world: &World,
    config: &Config,
    http: &TcpListener,
    receiver: &Receiver,
) -> anyhow::Result<()> {
    let results = Store::open(&config.worker)?.shown();
    let at = |name: &str| world.engines.get(name).cloned().unwrap_or_default();
    say(&format!(
        "ready after {:.1} s",
        world.began.elapsed().as_secs_f64()
    ));
    say(&format!("  Kafka            {}", at("KAFKA_BROKERS")));
    say(&format!(
        "  schema registry  {}",
        config.schema_registry_url.shown()
    ));
    say(&format!("  Temporal         {}", at("TEMPORAL_HOST")));
    say(&format!("  Temporal UI      {}", at("TEMPORAL_UI")));
    say(&format!(
        "  metrics          http://{}/metrics",
        http.local_addr()?
    ));
    say(&format!("  webhooks go to   {}", receiver.url()));
    match &world.mailbox {
        Some(mailbox) => say(&format!("  mail is shown at {}", mailbox.url())),
        None => say("  mail goes to     the server of SMTP_URL"),
    }
    say(&format!("  results          {results}"));
    if !config.mock_external_apis {
        let [video, image] = [&config.worker.video, &config.worker.image].map(|provider| {
            format!(
                "{} at {}",
                provider.name.as_str(),
                shown(&provider.base_url)
            )
        });
        warn(&format!(
            "  PAID FOR         videos by {video}; images by {image}"
        ));
    }
    say("");
    Ok(())
}

/// Prints one line, red on a terminal.
fn warn(line: &str) {
    if std::io::stdout().is_terminal() {
        say(&format!("\x1b[31m{line}\x1b[0m"));
    } else {
        say(line);
    }
}

/// Prints one line. A closed standard output is not an error.
fn say(line: &str) {
    let mut out = std::io::stdout().lock();
    if writeln!(out, "{line}").and_then(|()| out.flush()).is_err() {
        tracing::debug!("standard output is closed");
    }
}
