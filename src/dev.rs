//! `genflow dev`: everything on this machine. Starts the engines and all roles in this process, sends a request of
//! each kind and shows what comes of it.
//!
//! Nothing outlives a run but the results and the installed engines: topics, schemas and histories are as new each
//! time. An engine that the environment names is used as it is.

pub mod engines;
pub mod guard;
mod mailbox;
mod receiver;
mod samples;

use std::collections::BTreeMap;
use std::io::Write as _;
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
use crate::config::{Config, Faults};
use crate::kafka::admin::Asked;
use crate::storage::Store;
use crate::{setup, telemetry};

/// How to run.
#[derive(Clone, Copy, Debug)]
pub struct Dev {
    /// End when the sample requests have.
    pub once: bool,
    /// Where the engines listen.
    pub ports: Ports,
}

/// What is around the roles.
struct World {
    /// Where the engines are, as the settings name it.
    engines: BTreeMap<&'static str, String>,
    /// The page of mails, if we catch them.
    mailbox: Option<Mailbox>,
    began: Instant,
}

/// How long the sample requests may take.
const SAMPLES_TIME: Duration = Duration::from_secs(120);

/// Settings of development, where the environment says nothing else.
const DEFAULTS: [(&str, &str); 7] = [
    ("MOCK_EXTERNAL_APIS", "true"),
    ("WEBHOOK_ALLOW_PRIVATE", "true"),
    ("LOG_LEVEL", "warn"),
    ("FETCH_POLL_INTERVAL", "300ms"),
    ("PROGRESS_INTERVAL", "500ms"),
    ("SHUTDOWN_GRACE", "10s"),
    // Where the mail catcher listens is known when it does; OPS_EMAIL wants a server before.
    ("SMTP_URL", "smtp://localhost"),
];

/// Runs until `stop`, or with `once` until the sample requests have ended.
///
/// # Errors
/// An engine that could not be installed or started ([`engines::Error`] is the cause), settings at fault, a role that
/// ended, or a sample request that did not complete.
pub async fn run(
    dev: Dev,
    lookup: impl Fn(&str) -> Option<String>,
    stop: CancellationToken,
) -> anyhow::Result<()> {
    let began = Instant::now();
    say("genflow dev: engines, roles and a provider simulator on this machine; Ctrl-C ends it");
    let data = std::env::temp_dir().join(format!("genflow-dev-{}", std::process::id()));
    let options = options(dev, &data, &lookup)?;
    // Before the engines are up, or installed: what is wrong here is told at once.
    let http = listen(dev, &settings(&BTreeMap::new(), &data, &lookup)?).await?;
    let started = tokio::select! {
        started = Box::pin(Engines::start(&options)) => started,
        () = stop.cancelled() => {
            std::fs::remove_dir_all(&data).ok();
            return Ok(());
        }
    };
    let mut engines = started?;
    let places = engines_of(&engines);
    let config = settings(&places, &data, &lookup)?;
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
        // Whatever else went wrong, it is why.
        (Err(_), Some(ended)) => Err(ended.into()),
        (played, _) => played,
    };
    engines.stop().await;
    if played.is_ok() {
        // On a fault the folder stays: its logs tell more.
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

/// Where the engines are, as the settings name it.
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

/// Reads the settings: where the engines are, what the environment says, what suits development.
fn settings(
    engines: &BTreeMap<&'static str, String>,
    data: &Path,
    lookup: &impl Fn(&str) -> Option<String>,
) -> Result<Config, Faults> {
    let temp = data.join("temp").display().to_string();
    app::settings::load(Roles::ALL, |name| {
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
    })
}

/// Takes the port of health and metrics.
async fn listen(dev: Dev, config: &Config) -> anyhow::Result<TcpListener> {
    let address = config.http_addr;
    match dev.ports {
        Ports::Fixed => TcpListener::bind(address).await.with_context(|| {
            format!("HTTP_ADDR {address} is taken; stop what runs there, set another, or take --ports free")
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

    let ending = stop.child_token();
    let serving = app::run(config.clone(), Roles::ALL, http, metrics, ending.clone());
    let watching = async {
        let _ends_the_roles = ending.clone().drop_guard();
        let sampled = tokio::select! {
            sampled = tokio::time::timeout(SAMPLES_TIME, samples::run(&config, &receiver, world.mailbox.as_ref())) => match sampled {
                Ok(sampled) => sampled,
                Err(_) => bail!("the sample requests did not end within {SAMPLES_TIME:?}"),
            },
            () = ending.cancelled() => return Ok(()),
        };
        if dev.once {
            return sampled;
        }
        if let Err(error) = sampled {
            say(&format!("the samples did not go well: {error:#}"));
        }
        say("\nsend your own:  genflow submit image --prompt \"a red fox\" --watch");
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
    say(&format!("  schema registry  {}", at("SCHEMA_REGISTRY_URL")));
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
    say(&format!("  results          {results}\n"));
    Ok(())
}

/// Prints one line; a reader that has gone away is no fault.
fn say(line: &str) {
    let mut out = std::io::stdout().lock();
    if writeln!(out, "{line}").and_then(|()| out.flush()).is_err() {
        tracing::debug!("nobody reads standard output");
    }
}
