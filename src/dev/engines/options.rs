//! What to start, and where.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::{Error, Ports};

/// What to start, and where.
#[derive(Clone)]
pub struct Options {
    /// Where installed engines are kept from run to run; see [`default_cache`].
    pub cache: PathBuf,
    /// The folder of this run alone: a log of each engine, and files that go when they stop.
    pub data: PathBuf,
    /// The genflow executable, whose `guard` command every child starts as.
    pub guard: PathBuf,
    /// Which ports the engines listen on.
    pub ports: Ports,
    /// Engines that run already.
    pub existing: Existing,
    /// Hears of each step, one line at a time.
    pub progress: Progress,
}

impl Options {
    /// Returns the same with paths that hold in any working folder: each engine has its own.
    pub(super) fn absolute(&self) -> Result<Self, Error> {
        let absolute = |path: &Path| std::path::absolute(path).map_err(Error::io("find", path));
        let (cache, data) = (absolute(&self.cache)?, absolute(&self.data)?);
        Ok(Self {
            cache,
            data,
            guard: absolute(&self.guard)?,
            ..self.clone()
        })
    }
}

/// A listener for lines about what goes on.
pub type Progress = Arc<dyn Fn(&str) + Send + Sync>;

/// Engines that run already: those given are used as they are, and none is started in their place.
#[derive(Clone, Debug, Default)]
pub struct Existing {
    /// `host:port[,host:port]`, as in `KAFKA_BROKERS`.
    pub kafka_brokers: Option<String>,
    /// A base URL, as in `SCHEMA_REGISTRY_URL`.
    pub schema_registry_url: Option<String>,
    /// `host:port`, as in `TEMPORAL_HOST`.
    pub temporal_host: Option<String>,
    /// As in `SMTP_URL`.
    pub smtp_url: Option<String>,
}

/// Returns the folder for installed engines: `$XDG_CACHE_HOME/genflow`, or `~/.cache/genflow`.
///
/// Without a home there is no such folder, and the one for temporary files has to do.
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
