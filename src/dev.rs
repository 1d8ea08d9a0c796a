//! `genflow dev`: everything on this machine. Starts the engines, runs all roles in this process, sends a request of
//! each kind, and shows its events and notifications.
//!
//! Only results and installed engines outlive a successful run: topics, schemas and histories are new each time. If the
//! environment names an engine on this machine, dev uses it as it is. An engine elsewhere may be production: dev uses
//! it only if the user says so, and then with names of its own. Nothing is paid for unless the user says so.
//!
//! This module, and all code that only it needs, is only in builds with the feature `dev`.

mod bench;
pub mod child_guard;
pub mod engines;
mod mailbox;
pub mod mock;
mod receiver;
mod samples;
mod settings;
pub mod simulator;

use std::collections::BTreeMap;
use std::io::{ErrorKind, IsTerminal as _, Write as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use futures::FutureExt as _;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use self::engines::{EnginePorts, Engines, Existing, Options, default_cache};
use self::mailbox::Mailbox;
use self::receiver::Receiver;
pub use self::settings::own_names;
use self::simulator::Simulator;
use crate::app::{self, Roles};
use crate::domain::shown;
use crate::engines::config::Config;
use crate::engines::kafka::admin::Asked;
use crate::engines::storage::Store;
use crate::engines::telemetry;
use crate::operate::cli::local::{Here, Local};
use crate::operate::console;
use crate::operate::setup;

/// One run of `genflow dev`, while its engines run.
struct DevRun {
    once: bool,
    here: Here,
    config: Config,
    /// The folder of this run, for engines' files and logs.
    data: PathBuf,
    temporal_ui: Option<String>,
    receiver: Receiver,
    /// `None` if `SMTP_URL` names another mail server.
    mailbox: Option<Mailbox>,
    began: Instant,
}

/// Where dev serves its pages.
struct Listeners {
    /// Health and metrics.
    http: TcpListener,
    /// Webhooks and mails.
    pages: TcpListener,
    console: TcpListener,
}

/// How long the sample requests may take.
const SAMPLES_TIME: Duration = Duration::from_secs(120);

/// The port on which mail catchers usually serve their web page.
const PAGES_PORT: u16 = 8025;

/// Runs a command until `stop`. `dev --once` and `test` also end when the sample requests have.
///
/// # Errors
/// An engine could not be installed or started ([`engines::Error`] is the cause), settings are at fault, a role
/// ended, or a sample request did not complete.
pub async fn run(
    command: Local,
    lookup: impl Fn(&str) -> Option<String>,
    stop: CancellationToken,
) -> anyhow::Result<()> {
    match command {
        Local::Dev { once, here } => start_all(once, here, lookup, stop).await,
        Local::Bench(options) => Box::pin(bench::run(options, stop)).await,
        Local::Bare(bare) => bench::run_bare(bare, stop).await,
        Local::Test { here } => start_all(true, here, lookup, stop).await,
        Local::ProviderSim { listen, job_time } => {
            let options = simulator::SimulatorOptions { listen, job_time };
            let simulator = Simulator::bind(options).await.context("--listen")?;
            say(&format!(
                "provider simulator on http://{}",
                simulator.address()
            ));
            Ok(simulator.run(stop).await?)
        }
    }
}

/// Starts engines and roles, and sends the sample requests. With `once`, stops when they have ended, and fails if one
/// did not complete.
async fn start_all(
    once: bool,
    here: Here,
    lookup: impl Fn(&str) -> Option<String>,
    stop: CancellationToken,
) -> anyhow::Result<()> {
    let began = Instant::now();
    say("genflow dev: starts engines and roles on this machine; Ctrl-C stops them");
    let data = std::path::absolute(std::env::temp_dir())?;
    let data = data.join(format!("genflow-dev-{}", std::process::id()));
    let options = options(here.ports, &data, &lookup)?;
    // Before the engines are installed and started, so faults show at once.
    let config = settings::load(here, &BTreeMap::new(), &data, &lookup)?;
    settings::check(once, here, &config)?;
    let http = listen(here.ports, &config).await?;
    let started = tokio::select! {
        started = Box::pin(Engines::start(&options)) => started,
        () = stop.cancelled() => {
            std::fs::remove_dir_all(&data).ok();
            return Ok(());
        }
    };
    let engines = started?;
    let pages = listen_for_pages(here.ports).await?;
    let console = listen_for_console(here.ports, &config).await?;
    let dev_run = DevRun {
        once,
        here,
        config: settings::load(here, &addresses(&engines), &data, &lookup)?,
        data,
        temporal_ui: engines.temporal_ui.clone(),
        receiver: Receiver::new(pages.local_addr()?),
        mailbox: engines.maildir.clone().map(Mailbox::new),
        began,
    };
    let listeners = Listeners {
        http,
        pages,
        console,
    };
    let ran = tokio::select! {
        ran = Box::pin(run_all(&dev_run, listeners, &stop)) => ran,
        error = engines.failed() => Err(error.into()),
    };
    let ran = match (ran, engines.failed().now_or_never()) {
        // An engine that ended is the cause of any other error.
        (Err(_), Some(ended)) => Err(ended.into()),
        (ran, _) => ran,
    };
    engines.stop().await;
    if ran.is_ok() {
        // After a fault the folder stays, because it has the engines' logs.
        std::fs::remove_dir_all(&dev_run.data).with_context(|| {
            let data = dev_run.data.display();
            format!("the folder of this run, {data}, could not be removed; delete it")
        })?;
    }
    ran
}

fn options(
    ports: EnginePorts,
    data: &Path,
    lookup: &impl Fn(&str) -> Option<String>,
) -> anyhow::Result<Options> {
    let named = |name: &str| lookup(name).filter(|value| !value.trim().is_empty());
    Ok(Options {
        cache: default_cache(),
        data: data.to_owned(),
        guard: std::env::current_exe().context("the path of this program is not known")?,
        ports,
        existing: Existing {
            kafka_brokers: named("KAFKA_BROKERS"),
            schema_registry_url: named("SCHEMA_REGISTRY_URL"),
            temporal_host: named("TEMPORAL_HOST"),
            smtp_url: named("SMTP_URL"),
        },
        progress: Arc::new(|line: &str| say(&format!("  {line}"))),
    })
}

/// Listens for requests for health and metrics: at `HTTP_ADDR`, or on a free port.
async fn listen(ports: EnginePorts, config: &Config) -> anyhow::Result<TcpListener> {
    let address = config.http_addr;
    match ports {
        EnginePorts::Fixed => TcpListener::bind(address).await.map_err(|error| {
            let remedy = "set another address, or use --ports free";
            let problem = if error.kind() == ErrorKind::AddrInUse {
                format!("HTTP_ADDR {address} is taken; stop the program there, {remedy}")
            } else {
                format!("HTTP_ADDR: cannot listen on {address}; {remedy}")
            };
            anyhow::Error::new(error).context(problem)
        }),
        EnginePorts::Free => Ok(TcpListener::bind("127.0.0.1:0").await?),
    }
}

/// Returns the engines' addresses, by the names of their variables.
fn addresses(engines: &Engines) -> BTreeMap<&'static str, String> {
    BTreeMap::from([
        ("KAFKA_BROKERS", engines.kafka_brokers.clone()),
        ("SCHEMA_REGISTRY_URL", engines.schema_registry_url.clone()),
        ("TEMPORAL_HOST", engines.temporal_host.clone()),
        ("SMTP_URL", engines.smtp_url.clone()),
    ])
}

/// Listens for webhooks and for browsers that show the mails.
async fn listen_for_pages(ports: EnginePorts) -> anyhow::Result<TcpListener> {
    let usual = match ports {
        EnginePorts::Fixed => TcpListener::bind(("127.0.0.1", PAGES_PORT)).await.ok(),
        EnginePorts::Free => None,
    };
    match usual {
        Some(usual) => Ok(usual),
        // People and webhooks get the address from this run, so another port works too.
        None => Ok(TcpListener::bind("127.0.0.1:0").await?),
    }
}

/// Listens for browsers that show the console.
async fn listen_for_console(ports: EnginePorts, config: &Config) -> anyhow::Result<TcpListener> {
    let usual = match ports {
        EnginePorts::Fixed => match config.console.addr {
            Some(addr) => TcpListener::bind(addr).await.ok(),
            None => None,
        },
        EnginePorts::Free => None,
    };
    match usual {
        Some(usual) => Ok(usual),
        // The address is printed, so another port works too.
        None => Ok(TcpListener::bind("127.0.0.1:0").await?),
    }
}

/// Runs the roles, the pages and the samples until `stop`, or with `once` until the sample requests have ended.
async fn run_all(
    dev_run: &DevRun,
    listeners: Listeners,
    stop: &CancellationToken,
) -> anyhow::Result<()> {
    let Listeners {
        http,
        pages,
        console,
    } = listeners;
    let telemetry = telemetry::init(&dev_run.config.log, dev_run.config.traces.as_ref())?;
    setup::run(&dev_run.config, Asked::ONE_COPY, &mut std::io::sink())
        .await
        .context("setup")?;
    announce(dev_run, &http, &console)?;

    let ending = stop.child_token();
    let serving = run_roles(
        dev_run.config.clone(),
        http,
        telemetry.clone(),
        ending.clone(),
    );
    let watching = async {
        let _ends_the_roles = ending.clone().drop_guard();
        tokio::select! {
            watched = watch(dev_run) => watched,
            () = ending.cancelled() => Ok(()),
        }
    };
    let mails = dev_run.mailbox.as_ref().map(Mailbox::router);
    let routes = dev_run.receiver.router().merge(mails.unwrap_or_default());
    let showing =
        axum::serve(pages, routes).with_graceful_shutdown(ending.clone().cancelled_owned());
    let console = console::run(console_settings(dev_run), None, console, ending.clone());
    let (served, watched, shown, console) =
        tokio::join!(serving, watching, showing.into_future(), Box::pin(console));
    telemetry.flush().await;
    watched
        .and(served)
        .and(shown.context("the server of webhooks and mails failed"))
        .and(console)
}

/// Returns the settings of the console. Everyone on this machine may act, unless the settings name the people who may.
fn console_settings(dev_run: &DevRun) -> Config {
    let mut config = dev_run.config.clone();
    let ui = dev_run
        .temporal_ui
        .as_deref()
        .and_then(|ui| ui.parse().ok());
    config.console.temporal_ui = config.console.temporal_ui.or(ui);
    config.console.anyone_may_act = true;
    config
}

async fn run_roles(
    config: Config,
    http: TcpListener,
    metrics: telemetry::Handle,
    stop: CancellationToken,
) -> anyhow::Result<()> {
    if config.mock_external_apis {
        Box::pin(mock::run(config, Roles::ALL, http, metrics, stop)).await
    } else {
        app::run(config, Roles::ALL, http, metrics, stop).await
    }
}

/// Sends the sample requests (if they cost money, only with `--samples`) and shows their events. Without `once`, then
/// shows the events of all requests.
async fn watch(dev_run: &DevRun) -> anyhow::Result<()> {
    let sampled = if settings::sends_samples(dev_run.here, &dev_run.config) {
        let sampled = tokio::time::timeout(SAMPLES_TIME, samples::run(dev_run)).await;
        sampled.unwrap_or_else(|_| bail!("the sample requests did not end within {SAMPLES_TIME:?}"))
    } else {
        say(
            "genflow dev sends no sample requests, because they cost money; add --samples to send them",
        );
        Ok(())
    };
    if dev_run.once {
        return sampled;
    }
    if let Err(error) = sampled {
        say(&format!("the sample requests failed: {error:#}"));
    }
    let topics = &dev_run.config.kafka.topics;
    let named = match dev_run.here.use_existing {
        true => format!(
            "TOPIC_REQUESTS={} TOPIC_EVENTS={} ",
            topics.requests, topics.events
        ),
        false => String::new(),
    };
    say(&format!(
        "\nsend your own:  {named}genflow submit image --prompt \"a red fox\" --watch"
    ));
    samples::operate(&dev_run.config, &["watch"]).await?;
    Ok(())
}

fn announce(dev_run: &DevRun, http: &TcpListener, console: &TcpListener) -> anyhow::Result<()> {
    let config = &dev_run.config;
    let results = Store::open(&config.worker)?.shown();
    let mail = match &dev_run.mailbox {
        Some(_) => format!("mail is shown at {}", dev_run.receiver.base()),
        None => "mail goes to     the server of SMTP_URL".to_owned(),
    };
    let ui = dev_run.temporal_ui.as_ref();
    let ui = ui.map(|ui| format!("\n  Temporal UI      {ui}"));
    for line in [
        format!("  console          http://{}", console.local_addr()?),
        format!("ready after {:.1} s", dev_run.began.elapsed().as_secs_f64()),
        format!("  Kafka            {}", config.kafka.brokers),
        format!("  schema registry  {}", config.schema_registry.url),
        format!(
            "  Temporal         {}{}",
            shown(&config.temporal.url),
            ui.unwrap_or_default()
        ),
        format!("  metrics          http://{}/metrics", http.local_addr()?),
        format!("  webhooks go to   {}", dev_run.receiver.webhook_url()),
        format!("  {mail}"),
        format!("  results          {results}"),
    ] {
        say(&line);
    }
    if !config.mock_external_apis {
        let [video, image] = [&config.worker.video, &config.worker.image].map(|provider| {
            format!(
                "{} at {}",
                provider.name.as_str(),
                shown(&provider.base_url)
            )
        });
        let line = format!("  PAID FOR         videos by {video}; images by {image}");
        // Red on a terminal.
        let (red, plain) = match std::io::stdout().is_terminal() {
            true => ("\x1b[31m", "\x1b[0m"),
            false => ("", ""),
        };
        say(&format!("{red}{line}{plain}"));
    }
    say("");
    Ok(())
}

/// Prints one line. A closed standard output is not an error.
fn say(line: &str) {
    let mut out = std::io::stdout().lock();
    if writeln!(out, "{line}").and_then(|()| out.flush()).is_err() {
        tracing::debug!("standard output is closed");
    }
}
