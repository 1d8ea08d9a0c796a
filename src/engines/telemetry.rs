//! Installs the log subscriber and the Prometheus recorder.
//!
//! The functions in [`events`] log and count what happens; `metrics` lists every metric of ours, `foreign` takes those of
//! Temporal's SDK, and `process` reads those of the process. No other module names the metrics crates. Each log line is one write, so that lines of different threads do not mix.

pub mod events;
pub(crate) mod foreign;
mod metrics;
mod process;

use std::fs::OpenOptions;
use std::io::{self, IsTerminal};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::PathBuf;
use std::sync::Arc;

use metrics_exporter_prometheus::PrometheusHandle;
use parking_lot::Mutex;
use rustix::fs::OFlags;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::ParseError;
use tracing_subscriber::fmt::writer::BoxMakeWriter;

use crate::engines::config;

/// Why there are no logs or no metrics.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The log filter is not a `tracing` filter.
    #[error(
        "LOG_LEVEL is not valid; expected a level, or a tracing filter such as warn,genflow=debug"
    )]
    Filter(#[source] ParseError),
    /// `LOG_FILE_PATH` cannot be appended to.
    #[error("{path} cannot be opened")]
    File {
        /// The path of the file.
        path: PathBuf,
        /// The system's error.
        #[source]
        source: io::Error,
    },
    /// A bucket list of the catalogue is empty.
    #[error("the metrics catalogue is faulty")]
    Catalogue(#[source] metrics_exporter_prometheus::BuildError),
    /// This process already has another log subscriber or metrics recorder.
    #[error("another {0} is already installed in this process")]
    Taken(&'static str),
}

/// Reads the metrics; cheap to clone.
#[derive(Clone)]
pub struct Handle(PrometheusHandle);

impl std::fmt::Debug for Handle {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Handle")
    }
}

impl Handle {
    /// Returns all metrics in the Prometheus text format.
    pub fn render(&self) -> String {
        let mut page = self.0.render();
        process::render(&mut page);
        page
    }

    /// Moves the samples of histograms into their buckets; without it, samples pile up between scrapes.
    pub(crate) fn upkeep(&self) {
        self.0.run_upkeep();
    }
}

/// Subscriber and recorder are process-wide, so this state is too.
static INSTALLED: Mutex<Option<Handle>> = Mutex::new(None);

/// Checks that the log's file, if it has one, can be appended to.
///
/// # Errors
/// [`Error::File`].
pub fn check(log: &config::Log) -> Result<(), Error> {
    writer(log).map(drop)
}

/// Installs logs and metrics for the whole process.
///
/// A second call changes nothing and returns the handle of the first.
///
/// # Errors
/// [`Error`], if the settings of the log cannot be used, or another subscriber or recorder is installed.
pub fn init(log: &config::Log) -> Result<Handle, Error> {
    let mut installed = INSTALLED.lock();
    if let Some(handle) = installed.as_ref() {
        return Ok(handle.clone());
    }
    install_log(log)?;
    let recorder = metrics::recorder().map_err(Error::Catalogue)?;
    let handle = Handle(recorder.handle());
    ::metrics::set_global_recorder(recorder).map_err(|_| Error::Taken("metrics recorder"))?;
    events::version_reported(env!("CARGO_PKG_VERSION"));
    Ok(installed.insert(handle).clone())
}

fn install_log(log: &config::Log) -> Result<(), Error> {
    let subscriber = tracing_subscriber::fmt()
        .with_env_filter(EnvFilter::try_new(&log.filter).map_err(Error::Filter)?)
        .with_ansi(log.file.is_none() && io::stderr().is_terminal())
        .with_writer(writer(log)?);
    let installed = if log.json {
        subscriber.json().try_init()
    } else {
        subscriber.try_init()
    };
    installed.map_err(|_| Error::Taken("log subscriber"))
}

/// The subscriber writes a whole line at once; in append mode such a write is not torn.
fn writer(log: &config::Log) -> Result<BoxMakeWriter, Error> {
    let Some(path) = &log.file else {
        return Ok(BoxMakeWriter::new(io::stderr));
    };
    let file = OpenOptions::new()
        .create(true)
        .append(true)
        .mode(0o600)
        // In a folder where others may write, a symlink could lead to any file of this user.
        .custom_flags(OFlags::NOFOLLOW.bits().cast_signed())
        .open(path);
    let file = file.map_err(|source| Error::File {
        path: path.clone(),
        source,
    })?;
    Ok(BoxMakeWriter::new(Arc::new(file)))
}

#[cfg(test)]
mod tests;
