//! Installs the log subscriber, the Prometheus recorder and, if a collector is configured, the layer of traces.
//!
//! The functions in [`events`] log and count what happens; `metrics` lists every metric of ours, `foreign` takes those of
//! Temporal's SDK, and `process` reads those of the process. The functions in [`spans`] open a span for a piece of work.
//! No other module names the metrics crates. Each log line is one write, so that lines of different threads do not mix.

pub mod events;
pub(crate) mod foreign;
mod json_line;
mod log_file;
mod metrics;
mod process;
pub mod spans;
mod traces;

use std::io::{self, IsTerminal};
use std::path::PathBuf;

use metrics_exporter_prometheus::PrometheusHandle;
use parking_lot::Mutex;
use tracing::Subscriber;
use tracing_subscriber::filter::ParseError;
use tracing_subscriber::fmt::format::JsonFields;
use tracing_subscriber::fmt::writer::BoxMakeWriter;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{EnvFilter, Layer, Registry, fmt};

use self::json_line::JsonLine;
use self::log_file::LogFile;
use self::traces::{Exporter, Traces};
use crate::engines::config;

/// Why there are no logs, no metrics or no traces.
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
    /// The HTTP client that exports spans cannot be built.
    #[error("the HTTP client for OTEL_EXPORTER_OTLP_ENDPOINT cannot be built")]
    Traces(#[source] reqwest::Error),
    /// A bucket list of the catalogue is empty.
    #[error("the metrics catalogue is faulty")]
    Catalogue(#[source] metrics_exporter_prometheus::BuildError),
    /// This process already has another log subscriber or metrics recorder.
    #[error("another {0} is already installed in this process")]
    Taken(&'static str),
}

/// Reads the metrics and ends the traces; cheap to clone.
#[derive(Clone)]
pub struct Handle {
    metrics: PrometheusHandle,
    traces: Option<Exporter>,
}

impl std::fmt::Debug for Handle {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Handle")
    }
}

impl Handle {
    /// Returns all metrics in the Prometheus text format.
    pub fn render(&self) -> String {
        let mut page = self.metrics.render();
        process::render(&mut page);
        page
    }

    /// Moves the samples of histograms into their buckets; without it, samples pile up between scrapes.
    pub(crate) fn upkeep(&self) {
        self.metrics.run_upkeep();
    }

    /// Exports the last spans; call it at the end of the process.
    pub async fn flush(&self) {
        if let Some(traces) = &self.traces {
            traces.flush().await;
        }
    }
}

/// Subscriber and recorder are process-wide, so this state is too.
static INSTALLED: Mutex<Option<Handle>> = Mutex::new(None);

/// Checks that the log's file, if it has one, can be appended to or created. It changes nothing.
///
/// # Errors
/// [`Error::File`].
pub fn check(log: &config::Log) -> Result<(), Error> {
    let Some(settings) = &log.file else {
        return Ok(());
    };
    LogFile::check(settings).map_err(|source| unusable(settings, source))
}

/// Installs logs, metrics and traces for the whole process. With traces, it must be called on a Tokio runtime.
///
/// A second call changes nothing and returns the handle of the first.
///
/// # Errors
/// [`Error`], if the settings cannot be used, or another subscriber or recorder is installed.
pub fn init(log: &config::Log, traces: Option<&config::Traces>) -> Result<Handle, Error> {
    let mut installed = INSTALLED.lock();
    if let Some(handle) = installed.as_ref() {
        return Ok(handle.clone());
    }
    let exporter = traces.map(Exporter::start).transpose();
    let exporter = exporter.map_err(Error::Traces)?;
    let spans = traces.zip(exporter.clone()).map(|(settings, exporter)| {
        Traces::new(settings.sampler, exporter).with_filter(Traces::filter())
    });
    let subscriber = Registry::default().with(lines(log)?).with(spans);
    let subscribed = subscriber.try_init();
    subscribed.map_err(|_| Error::Taken("log subscriber"))?;
    let recorder = metrics::recorder().map_err(Error::Catalogue)?;
    let handle = Handle {
        metrics: recorder.handle(),
        traces: exporter,
    };
    ::metrics::set_global_recorder(recorder).map_err(|_| Error::Taken("metrics recorder"))?;
    events::version_reported(env!("CARGO_PKG_VERSION"));
    Ok(installed.insert(handle).clone())
}

/// Returns the layer that writes the log.
fn lines<S>(log: &config::Log) -> Result<impl Layer<S> + use<S>, Error>
where
    S: Subscriber + for<'l> LookupSpan<'l>,
{
    let filter = EnvFilter::try_new(&log.filter).map_err(Error::Filter)?;
    let layer = fmt::layer()
        .with_ansi(log.file.is_none() && io::stderr().is_terminal())
        .with_writer(writer(log)?);
    let layer = match log.json {
        true => layer
            .fmt_fields(JsonFields::new())
            .event_format(JsonLine)
            .boxed(),
        false => layer.boxed(),
    };
    Ok(layer.with_filter(filter))
}

fn writer(log: &config::Log) -> Result<BoxMakeWriter, Error> {
    let Some(settings) = &log.file else {
        return Ok(BoxMakeWriter::new(io::stderr));
    };
    let file = LogFile::open(settings).map_err(|source| unusable(settings, source))?;
    Ok(BoxMakeWriter::new(file))
}

fn unusable(settings: &config::LogFile, source: io::Error) -> Error {
    Error::File {
        path: settings.path.clone(),
        source,
    }
}

#[cfg(test)]
mod tests;
