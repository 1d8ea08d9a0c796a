//! What to start, where to install it, and which engines to use as they are.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

use super::EnginePorts;

/// Which engines to start, and where. All paths are absolute, because each engine has its own working folder.
#[derive(Clone)]
pub struct Options {
    /// The folder of installed engines, shared by all runs; see [`default_cache`].
    pub cache: PathBuf,
    /// The folder of this run: the files and a log of each engine.
    pub data: PathBuf,
    /// Whether the engines go on with what they have stored in [`Self::data`] before.
    pub keep: bool,
    /// The genflow executable; every child starts through its `guard` command.
    pub guard: PathBuf,
    pub ports: EnginePorts,
    pub existing: Existing,
    /// Receives each step.
    pub progress: OnProgress,
}

/// A callback for steps of installations and starts.
pub type OnProgress = Arc<dyn Fn(&Progress) + Send + Sync>;

/// A step of an installation or a start; shown, it is a line for people.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Progress {
    /// What happens to no engine in particular.
    Note(String),
    Installing {
        engine: &'static str,
        /// What happens now.
        step: String,
        /// How much of it is done, and of how much.
        done: Option<(u64, u64)>,
    },
    Installed(&'static str),
    Starting(&'static str),
    Ready {
        engine: &'static str,
        address: String,
    },
}

impl fmt::Display for Progress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Note(note) => f.write_str(note),
            Self::Installing { engine, step, .. } => write!(f, "installing {engine}: {step}"),
            Self::Installed(engine) => write!(f, "{engine} is installed"),
            Self::Starting(engine) => write!(f, "{engine} is starting"),
            Self::Ready { engine, address } => write!(f, "{engine} is ready at {address}"),
        }
    }
}

/// Engines that are already running. Each that is set is used as it is, and not started.
#[derive(Clone, Debug, Default)]
pub struct Existing {
    /// `host:port[,host:port]`, as in `KAFKA_BROKERS`.
    pub kafka_brokers: Option<String>,
    /// A base URL, as in `SCHEMA_REGISTRY_URL`.
    pub schema_registry_url: Option<String>,
    /// `host:port`, as in `TEMPORAL_HOST`.
    pub temporal_host: Option<String>,
    /// The mail server, as in `SMTP_URL`.
    pub smtp_url: Option<String>,
}

/// Returns the folder for installed engines: `$XDG_CACHE_HOME/genflow`, or `$HOME/.cache/genflow`.
///
/// If neither variable is an absolute path, returns `genflow` in the system's temp folder.
#[must_use]
pub fn default_cache() -> PathBuf {
    let absolute = |name: &str| {
        std::env::var_os(name)
            .map(PathBuf::from)
            .filter(|path| path.is_absolute())
    };
    let cache = absolute("XDG_CACHE_HOME").or_else(|| Some(absolute("HOME")?.join(".cache")));
    cache.unwrap_or_else(std::env::temp_dir).join("genflow")
}
