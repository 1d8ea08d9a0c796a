//! The real Kafka, schema registry, Temporal and a mail catcher, without Docker: installed, started, watched, stopped.
//!
//! For `genflow dev` and for the integration tests. All of it is on loopback and goes with the
//! run: a topic that outlives its registry could not be decoded any more.
//!
//! The invariant: what was started here ends no later than this process, however it ends.
//! [`Engines::stop`] is the orderly way; a drop or a failed start kills; and the guard that each
//! child starts as ([`super::guard`]) covers a SIGKILL of ourselves.

mod error;
mod install;
mod java;
mod kafka;
mod mail;
mod pins;
mod ports;
mod process;
mod python;
mod registry;
mod temporal;
mod whole;

use std::fs::{File, TryLockError};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use futures::future::{pending, select_all};

pub use error::{Error, LogEnd, Missing};
use install::{Installer, Needs};
use java::Java;
use kafka::Kafka;
use mail::Mail;
use ports::Fixed;
pub use ports::Ports;
use process::Process;
pub use python::standard_webhooks;
use registry::Registry;
use temporal::Temporal;

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
    fn absolute(&self) -> Result<Self, Error> {
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

/// Engines that can be used.
#[derive(Debug)]
pub struct Engines {
    /// `host:port[,host:port]`.
    pub kafka_brokers: String,
    /// The base URL with its path and without a slash at the end.
    pub schema_registry_url: String,
    /// `host:port`.
    pub temporal_host: String,
    /// The address of Temporal's page, if we started it.
    pub temporal_ui: Option<String>,
    /// Where mail goes, as in `SMTP_URL`.
    pub smtp_url: String,
    /// The Maildir that mail is kept in, if we started the catcher.
    pub maildir: Option<PathBuf>,
    processes: Vec<Process>,
    /// Folders that are removed when the engines have stopped.
    files: Vec<PathBuf>,
    _data_lock: File,
}

impl Engines {
    /// Installs what is missing, starts the engines side by side and waits until each is ready.
    ///
    /// Dropping the future, as on Ctrl-C, kills what it has started.
    ///
    /// # Errors
    ///
    /// Fails before anything is started if a program is missing that only the user can install,
    /// a fixed port is taken or the data folder is in use; later if an engine does not come up.
    pub async fn start(options: &Options) -> Result<Self, Error> {
        let options = &options.absolute()?;
        let plan = Plan::of(options);
        plan.require_ports(options.ports)?;
        plan.tell_broken(options);
        plan.require_programs(options).await?;
        let data_lock = lock(&options.data)?;
        plan.install(options).await?;
        plan.start(options, data_lock).await
    }

    /// Asks all engines to end, kills those that do not within ten seconds, and returns when all are gone.
    pub async fn stop(mut self) {
        // At once: none of them needs another to stop.
        futures::future::join_all(self.processes.drain(..).map(Process::stop)).await;
        for folder in &self.files {
            if let Err(error) = install::remove(folder) {
                tracing::warn!(
                    error = &error as &dyn std::error::Error,
                    "files of an engine left behind"
                );
            }
        }
    }

    /// Waits for an engine to end by itself; tells which, how, and what it said last.
    ///
    /// Never returns while all run, or if none was started here. Cancel-safe.
    pub async fn failed(&mut self) -> Error {
        if self.processes.is_empty() {
            return pending().await;
        }
        let ends = self
            .processes
            .iter()
            .map(|process| Box::pin(process.ended()));
        let (status, which, _) = select_all(ends).await;
        Error::exited(&self.processes[which], status)
    }
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

/// The engines to start; `None` is one that runs already, or whose Java is missing.
struct Plan {
    kafka: Option<Kafka>,
    registry: Option<Registry>,
    temporal: Option<Temporal>,
    mail: Option<Mail>,
    java_missing: bool,
}

impl Plan {
    fn of(options: &Options) -> Self {
        let Existing {
            kafka_brokers,
            schema_registry_url,
            temporal_host,
            smtp_url,
        } = &options.existing;
        let (wants_kafka, wants_registry) =
            (kafka_brokers.is_none(), schema_registry_url.is_none());
        let recent = (wants_kafka || wants_registry)
            .then(|| Java::find(registry::OLDEST_JAVA))
            .flatten();
        let any = recent.clone().or_else(|| Java::find(kafka::OLDEST_JAVA));
        let kafka = any
            .clone()
            .filter(|_| wants_kafka)
            .map(|java| Kafka::new(options, java));
        let registry = wants_registry.then(|| Registry::new(options, recent));
        // Maven runs on Java as well.
        let wants_java = wants_kafka || registry.as_ref().is_some_and(Registry::needs_maven);
        let temporal = temporal_host.is_none().then(|| Temporal::find(options));
        Self {
            kafka,
            registry,
            temporal,
            mail: smtp_url.is_none().then(|| Mail::new(options)),
            java_missing: wants_java && any.is_none(),
        }
    }

    fn require_ports(&self, ports: Ports) -> Result<(), Error> {
        let starts = |engine| match engine {
            kafka::NAME => self.kafka.is_some(),
            registry::NAME => self.registry.is_some(),
            mail::NAME => self.mail.is_some(),
            _ => self.temporal.is_some(),
        };
        ports
            .fixed()
            .iter()
            .filter(|fixed| starts(fixed.engine))
            .try_for_each(Fixed::require_free)
    }

    /// Tells of folders in the cache that are not whole, which are passed over and installed again.
    fn tell_broken(&self, options: &Options) {
        let kafka = self.kafka.iter().flat_map(Kafka::folders);
        let registry = self.registry.iter().flat_map(Registry::folders);
        let temporal = self.temporal.iter().map(Temporal::folder);
        let mail = self.mail.iter().map(Mail::folder);
        for folder in kafka.chain(registry).chain(temporal).chain(mail) {
            if let whole::State::Broken(file) = whole::check(&folder) {
                let (folder, file) = (folder.display(), file.display());
                (options.progress)(&format!(
                    "{folder} is not whole and is not used: {file} is missing or cut"
                ));
            }
        }
    }

    async fn require_programs(&self, options: &Options) -> Result<(), Error> {
        let needs = Needs {
            maven: self.kafka.as_ref().is_some_and(Kafka::needs_maven)
                || self.registry.as_ref().is_some_and(Registry::needs_maven),
            tar: self.registry.as_ref().is_some_and(Registry::needs_maven),
            python: self.registry.as_ref().is_some_and(Registry::needs_python)
                || self
                    .temporal
                    .as_ref()
                    .is_some_and(|temporal| !temporal.is_installed())
                || self.mail.as_ref().is_some_and(|mail| !mail.is_installed()),
            python_alone: self.mail.is_some(),
        };
        let mut missing = needs.missing(&options.guard).await;
        if self.java_missing {
            let advice = "version 17 or newer, to run Kafka and Maven: apt-get install openjdk-17-jre-headless, or set JAVA_HOME";
            missing.insert(
                0,
                Missing {
                    program: "java",
                    advice,
                },
            );
        }
        if missing.is_empty() {
            Ok(())
        } else {
            Err(Error::Missing(missing))
        }
    }

    fn is_installed(&self) -> bool {
        self.kafka.as_ref().is_none_or(Kafka::is_installed)
            && self.registry.as_ref().is_none_or(Registry::is_installed)
            && self.temporal.as_ref().is_none_or(Temporal::is_installed)
            && self.mail.as_ref().is_none_or(Mail::is_installed)
    }

    async fn install(&self, options: &Options) -> Result<(), Error> {
        if self.is_installed() {
            return Ok(());
        }
        let installer = Installer::lock(options).await?;
        // Whoever had the lock before us may have installed all of it: each looks again.
        tokio::try_join!(
            each(self.kafka.as_ref(), |kafka| kafka
                .install(&installer, options)),
            each(self.registry.as_ref(), |registry| registry
                .install(&installer)),
            each(self.temporal.as_ref(), |temporal| temporal
                .install(&installer)),
            each(self.mail.as_ref(), |mail| mail.install(&installer)),
        )?;
        Ok(())
    }

    async fn start(&self, options: &Options, data_lock: File) -> Result<Engines, Error> {
        let started = tokio::try_join!(
            each(self.kafka.as_ref(), |kafka| up(
                options,
                kafka.start(options)
            )),
            each(self.registry.as_ref(), |registry| up(
                options,
                registry.start(options)
            )),
            each(self.temporal.as_ref(), |temporal| up(
                options,
                temporal.start(options)
            )),
            each(self.mail.as_ref(), |mail| up(options, mail.start(options))),
        );
        let (kafka, registry, temporal, mail) =
            started.map_err(|error| blame_port(error, options.ports))?;
        let temporal_ui = temporal.as_ref().and_then(|running| running.page.clone());
        let maildir = mail.is_some().then(|| mail::maildir(options));
        let mail = mail.map(|running| Running {
            address: format!("smtp://{}?tls=none", running.address),
            ..running
        });
        let mut processes = Vec::new();
        let mut address = |running: Option<Running>, existing: &Option<String>| match running {
            Some(running) => {
                processes.push(running.process);
                running.address
            }
            None => existing
                .as_deref()
                .unwrap_or_default()
                .trim_end_matches('/')
                .to_owned(),
        };
        Ok(Engines {
            kafka_brokers: address(kafka, &options.existing.kafka_brokers),
            schema_registry_url: address(registry, &options.existing.schema_registry_url),
            temporal_host: address(temporal, &options.existing.temporal_host),
            temporal_ui,
            smtp_url: address(mail, &options.existing.smtp_url),
            maildir: maildir.clone(),
            processes,
            files: [kafka::data(options), registry::data(options)]
                .into_iter()
                .chain(maildir)
                .collect(),
            _data_lock: data_lock,
        })
    }
}

/// An engine that is ready.
#[derive(Debug)]
struct Running {
    process: Process,
    /// What its clients need.
    address: String,
    /// What its users open in a browser.
    page: Option<String>,
}

async fn each<'a, E, T, F>(
    engine: Option<&'a E>,
    work: impl FnOnce(&'a E) -> F,
) -> Result<Option<T>, Error>
where
    F: Future<Output = Result<T, Error>>,
{
    match engine {
        Some(engine) => work(engine).await.map(Some),
        None => Ok(None),
    }
}

async fn up(
    options: &Options,
    start: impl Future<Output = Result<Running, Error>>,
) -> Result<Running, Error> {
    let running = start.await?;
    (options.progress)(&format!(
        "{} is ready at {}",
        running.process.name(),
        running.address
    ));
    Ok(running)
}

/// Says what to do about an engine that found its port taken after we had found it free.
fn blame_port(error: Error, ports: Ports) -> Error {
    if !error.is_address_in_use() {
        return error;
    }
    ports
        .fixed()
        .iter()
        .find_map(|fixed| fixed.require_free().err())
        .unwrap_or(error)
}

/// Takes the data folder for this run, until the file is dropped.
fn lock(folder: &Path) -> Result<File, Error> {
    std::fs::create_dir_all(folder).map_err(Error::io("create", folder))?;
    let path = folder.join("lock");
    let file = File::create(&path).map_err(Error::io("open", &path))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(Error::DataInUse(folder.to_owned())),
        Err(TryLockError::Error(source)) => Err(Error::io("lock", &path)(source)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options(existing: Existing) -> Options {
        let data = std::env::temp_dir().join(format!("genflow-engines-{}", uuid::Uuid::new_v4()));
        let (cache, guard) = (data.join("cache"), PathBuf::from("/bin/false"));
        Options {
            cache,
            data,
            guard,
            ports: Ports::Free,
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
        assert!(!options.cache.exists(), "nothing was to be installed");
        engines.stop().await;
        std::fs::remove_dir_all(&options.data).unwrap();
    }

    #[tokio::test]
    async fn a_data_folder_belongs_to_one_run_at_a_time() {
        let options = options(all_run_already());
        let first = Engines::start(&options).await.unwrap();

        let second = Engines::start(&options).await.unwrap_err();
        assert_eq!(
            second.to_string(),
            format!("{} is in use by another genflow", options.data.display())
        );

        first.stop().await;
        Engines::start(&options).await.unwrap();
        std::fs::remove_dir_all(&options.data).unwrap();
    }
}
