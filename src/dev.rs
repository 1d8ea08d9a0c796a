//! `genflow dev`: everything on this machine. Starts the engines, runs all roles in this process, sends a request of
//! each kind, and shows its events and notifications.
//!
//! Only results and installed engines outlive a successful run: topics, schemas and histories are new each time, unless
//! the user keeps them (`kept`). If the environment names an engine on this machine, dev uses it as it is. An engine
//! elsewhere may be production: dev uses it only if the user says so, and then under names of its own for topics,
//! consumer group and task queue. It spends money only if the user says so.
//!
//! This module, and all code that only it needs, is only in builds with the feature `dev`.

mod bench;
mod board;
pub mod child_guard;
pub mod engines;
mod kept;
mod listeners;
mod mailbox;
pub mod mock;
mod real;
mod receiver;
mod samples;
mod settings;
pub mod simulator;
mod waiting;

use std::collections::BTreeMap;
use std::io::{IsTerminal as _, Write as _};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use futures::FutureExt as _;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use self::board::Board;
use self::engines::{EnginePorts, Engines, Existing, Options, default_cache};
use self::kept::Data;
use self::listeners::Listeners;
use self::mailbox::Mailbox;
use self::real::Offer;
use self::receiver::Receiver;
pub use self::settings::own_names;
use self::simulator::Simulator;
use self::waiting::WaitingPage;
use crate::app::{self, Roles};
use crate::domain::shown;
use crate::engines::config::Config;
use crate::engines::http;
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
    /// The one result that `--real` pays for.
    offer: Option<Offer>,
    config: Config,
    /// The folder of this run, for engines' files and logs.
    data: PathBuf,
    temporal_ui: Option<String>,
    receiver: Receiver,
    /// `None` if `SMTP_URL` names another mail server.
    mailbox: Option<Mailbox>,
    began: Instant,
}

/// How long the sample requests may take.
const SAMPLES_TIME: Duration = Duration::from_secs(120);

/// Runs a command until `stop`. `dev --once` and `test` also end once the sample requests have ended.
///
/// # Errors
/// An engine could not be installed or started ([`engines::Error`] is the cause), the settings are invalid, a role
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

/// Starts engines and roles, and sends the sample requests or the real one. With `once`, stops once these have ended,
/// and fails if one did not complete.
async fn start_all(
    once: bool,
    here: Here,
    lookup: impl Fn(&str) -> Option<String>,
    stop: CancellationToken,
) -> anyhow::Result<()> {
    let began = Instant::now();
    let data = match &here.keep {
        Some(folder) => Data::keep(folder, here.reset)?,
        None => Data::new()?,
    };
    // Before the engines are installed and started, so that faults in the settings show at once.
    let config = settings::load(&here, &BTreeMap::new(), data.folder(), &lookup)?;
    settings::check(once, &here, &config)?;
    let offer = Offer::of(&here, &config)?;
    let mut listeners = Listeners::bind(here.ports, &config).await?;
    say(&format!(
        "console: http://{} (Ctrl-C stops everything)",
        listeners.console.local_addr()?
    ));
    let board = Arc::new(Board::new());
    let options = options(here.ports, &data, &board, &lookup)?;
    refuse_old_requests(&here, &options.existing)?;
    let waiting;
    (waiting, listeners.console) = WaitingPage::serve(listeners.console, board)?;
    let starting = async {
        if let Some(offer) = &offer {
            offer.agree(&here).await?;
        }
        // Last, so that a fault in the settings removes nothing.
        if here.reset {
            data.empty()?;
        }
        anyhow::Ok(Box::pin(Engines::start(&options)).await?)
    };
    let started = tokio::select! {
        started = starting => started,
        () = stop.cancelled() => return data.end().await,
    };
    let engines = started?;
    let dev_run = DevRun {
        once,
        offer,
        config: settings::load(&here, &addresses(&engines), data.folder(), &lookup)?,
        here,
        data: data.folder().to_owned(),
        temporal_ui: engines.temporal_ui.clone(),
        receiver: Receiver::new(listeners.pages.local_addr()?),
        mailbox: engines.maildir.clone().map(Mailbox::new),
        began,
    };
    let ran = tokio::select! {
        ran = Box::pin(run_all(&dev_run, listeners, waiting, &stop)) => ran,
        error = engines.failed() => Err(error.into()),
    };
    let ran = match (ran, engines.failed().now_or_never()) {
        // An engine that ended is the cause of any other error.
        (Err(_), Some(ended)) => Err(ended.into()),
        (ran, _) => ran,
    };
    engines.stop().await;
    // After a fault the folder stays, because it has the engines' logs.
    ran?;
    data.end().await
}

fn options(
    ports: EnginePorts,
    data: &Data,
    board: &Arc<Board>,
    lookup: &impl Fn(&str) -> Option<String>,
) -> anyhow::Result<Options> {
    let named = |name: &str| lookup(name).filter(|value| !value.trim().is_empty());
    let board = board.clone();
    Ok(Options {
        cache: default_cache(),
        data: data.folder().to_owned(),
        keep: data.is_kept(),
        guard: std::env::current_exe().context("cannot find the path of this program")?,
        ports,
        existing: Existing {
            kafka_brokers: named("KAFKA_BROKERS"),
            schema_registry_url: named("SCHEMA_REGISTRY_URL"),
            temporal_host: named("TEMPORAL_HOST"),
            smtp_url: named("SMTP_URL"),
        },
        progress: Arc::new(move |progress| board.show(progress)),
    })
}

/// Refuses `--real` with engines that dev did not start: it would also pay for requests that already wait there.
fn refuse_old_requests(here: &Here, existing: &Existing) -> anyhow::Result<()> {
    let engines = [&existing.kafka_brokers, &existing.temporal_host];
    if here.real.is_some() && engines.into_iter().any(Option::is_some) {
        bail!(
            "--real pays for one result, but it would also pay for requests that already wait in the engines of \
             KAFKA_BROKERS and TEMPORAL_HOST; unset both, so that genflow dev starts engines of its own"
        );
    }
    Ok(())
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

/// Runs the roles, serves the pages and sends the samples, until `stop`, or with `once` until the samples have ended.
async fn run_all(
    dev_run: &DevRun,
    listeners: Listeners,
    waiting: WaitingPage,
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
    announce(dev_run, &http)?;
    waiting.stop().await;

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
    let showing = http::serve(pages, routes, &ending);
    let console = console::run(console_settings(dev_run), None, console, ending.clone());
    let (served, watched, shown, console) =
        tokio::join!(serving, watching, showing, Box::pin(console));
    telemetry.flush().await;
    watched
        .and(served)
        .and(shown.context("the server that shows webhooks and mail failed"))
        .and(console)
}

/// Returns the console's settings. Everyone on this machine may act, unless the settings name the people who may.
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

/// Sends the sample requests (if they cost money, only with `--samples`) or the one of `--real`, and shows their
/// events. After that, without `once`, shows the events of all requests.
async fn watch(dev_run: &DevRun) -> anyhow::Result<()> {
    let sampled = if let Some(offer) = &dev_run.offer {
        samples::run_real(dev_run, offer).await
    } else if settings::sends_samples(&dev_run.here, &dev_run.config) {
        let sampled = tokio::time::timeout(SAMPLES_TIME, samples::run(dev_run)).await;
        sampled.unwrap_or_else(|_| bail!("the sample requests did not end within {SAMPLES_TIME:?}"))
    } else {
        say(
            "genflow dev sends no sample requests, because they cost money; add --samples to send them, or --real image to \
             send one",
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

/// Prints where results and mails are. With free ports, also prints the addresses that docs/dev.md lists otherwise.
fn announce(dev_run: &DevRun, http: &TcpListener) -> anyhow::Result<()> {
    let config = &dev_run.config;
    let results = Store::open(&config.worker)?.shown();
    let mail = match &dev_run.mailbox {
        Some(_) => dev_run.receiver.base(),
        None => "goes to the server of SMTP_URL".to_owned(),
    };
    let mut lines = vec![
        format!("ready after {:.1} s", dev_run.began.elapsed().as_secs_f64()),
        format!("  results      {results}"),
        format!("  mail         {mail}"),
    ];
    if dev_run.here.ports == EnginePorts::Free {
        let ui = dev_run.temporal_ui.iter();
        lines.extend(ui.map(|ui| format!("  Temporal UI  {ui}")));
        lines.push(format!(
            "  metrics      http://{}/metrics",
            http.local_addr()?
        ));
    }
    lines.extend(dev_run.here.keep.as_ref().map(|folder| {
        let folder = folder.display();
        format!("  state        kept in {folder}; --reset begins anew")
    }));
    lines.iter().for_each(|line| say(line));
    if !config.mock_external_apis {
        warn_of_costs(config);
    }
    say("");
    Ok(())
}

/// Prints which providers requests are paid to; in red on a terminal.
fn warn_of_costs(config: &Config) {
    let [video, image] = [&config.worker.video, &config.worker.image].map(|provider| {
        format!(
            "{} at {}",
            provider.name.as_str(),
            shown(&provider.base_url)
        )
    });
    let line = format!("  COSTS MONEY  videos from {video}; images from {image}");
    let in_colour = std::io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none();
    let (red, plain) = match in_colour {
        true => ("\x1b[31m", "\x1b[0m"),
        false => ("", ""),
    };
    say(&format!("{red}{line}{plain}"));
}

/// Prints one line. A closed standard output is not an error.
fn say(line: &str) {
    let mut out = std::io::stdout().lock();
    if writeln!(out, "{line}").and_then(|()| out.flush()).is_err() {
        tracing::debug!("standard output is closed");
    }
}
