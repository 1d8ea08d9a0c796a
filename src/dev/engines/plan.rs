//! Which engines to start, and what each needs beforehand.

use super::install::{Installer, Needs};
use super::java::Java;
use super::kafka::{self, KafkaEngine};
use super::mail::{self, MailEngine};
use super::ports::UsualPort;
use super::registry::{self, RegistryEngine};
use super::temporal::{self, TemporalEngine};
use super::{EnginePorts, Engines, Error, Existing, Missing, Options, Progress, Running, whole};

/// The engines to start; `None` for one that is already running, and for Kafka if its Java is missing.
pub(super) struct Plan {
    kafka: Option<KafkaEngine>,
    registry: Option<RegistryEngine>,
    temporal: Option<TemporalEngine>,
    mail: Option<MailEngine>,
    java_missing: bool,
}

impl Plan {
    pub(super) fn of(options: &Options) -> Self {
        let Existing {
            kafka_brokers,
            schema_registry_url,
            temporal_host,
            smtp_url,
        } = &options.existing;
        let (wants_kafka, wants_registry) =
            (kafka_brokers.is_none(), schema_registry_url.is_none());
        let recent_java = (wants_kafka || wants_registry)
            .then(|| Java::find(registry::OLDEST_JAVA))
            .flatten();
        let any_java = recent_java
            .clone()
            .or_else(|| Java::find(kafka::OLDEST_JAVA));
        let kafka = any_java
            .clone()
            .filter(|_| wants_kafka)
            .map(|java| KafkaEngine::new(options, java));
        let registry = wants_registry.then(|| RegistryEngine::new(options, recent_java));
        // Maven needs Java too.
        let wants_java = wants_kafka || registry.as_ref().is_some_and(RegistryEngine::needs_maven);
        let temporal = temporal_host
            .is_none()
            .then(|| TemporalEngine::new(options));
        Self {
            kafka,
            registry,
            temporal,
            mail: smtp_url.is_none().then(|| MailEngine::new(options)),
            java_missing: wants_java && any_java.is_none(),
        }
    }

    pub(super) fn require_ports(&self, ports: EnginePorts) -> Result<(), Error> {
        let starts = |engine| match engine {
            kafka::NAME => self.kafka.is_some(),
            registry::NAME => self.registry.is_some(),
            mail::NAME => self.mail.is_some(),
            _ => self.temporal.is_some(),
        };
        ports
            .fixed()
            .iter()
            .filter(|usual| starts(usual.engine))
            .try_for_each(UsualPort::require_free)
    }

    /// Reports incomplete folders in the cache, which are ignored and installed again.
    pub(super) fn report_broken(&self, options: &Options) {
        let kafka = self.kafka.iter().map(KafkaEngine::folder);
        let registry = self.registry.iter().flat_map(RegistryEngine::folders);
        let temporal = self.temporal.iter().map(TemporalEngine::folder);
        let mail = self.mail.iter().map(MailEngine::folder);
        for folder in kafka.chain(registry).chain(temporal).chain(mail) {
            if let whole::FolderState::Broken(file) = whole::check(folder) {
                let (folder, file) = (folder.display(), file.display());
                (options.progress)(&Progress::Note(format!(
                    "{folder} is incomplete and is not used: {file} is missing or truncated"
                )));
            }
        }
    }

    pub(super) async fn require_programs(&self, options: &Options) -> Result<(), Error> {
        let registry = self.registry.as_ref();
        let installs_registry = registry.is_some_and(RegistryEngine::needs_maven);
        let needs = Needs {
            maven: installs_registry || !self.kafka.as_ref().is_none_or(KafkaEngine::is_installed),
            tar: installs_registry,
            python: self.mail.is_some(),
            pip: registry.is_some_and(RegistryEngine::needs_java)
                || !self
                    .temporal
                    .as_ref()
                    .is_none_or(TemporalEngine::is_installed)
                || !self.mail.as_ref().is_none_or(MailEngine::is_installed),
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
        self.kafka.as_ref().is_none_or(KafkaEngine::is_installed)
            && self
                .registry
                .as_ref()
                .is_none_or(RegistryEngine::is_installed)
            && self
                .temporal
                .as_ref()
                .is_none_or(TemporalEngine::is_installed)
            && self.mail.as_ref().is_none_or(MailEngine::is_installed)
    }

    pub(super) async fn install(&self, options: &Options) -> Result<(), Error> {
        if self.is_installed() {
            return Ok(());
        }
        let installer = Installer::lock(options).await?;
        // The previous holder of the lock may have installed everything, so each engine checks again.
        tokio::try_join!(
            if_wanted(self.kafka.as_ref(), |kafka| kafka
                .install(&installer, options)),
            if_wanted(self.registry.as_ref(), |registry| registry
                .install(&installer)),
            if_wanted(self.temporal.as_ref(), |temporal| temporal
                .install(&installer)),
            if_wanted(self.mail.as_ref(), |mail| mail.install(&installer)),
        )?;
        Ok(())
    }

    pub(super) async fn start(&self, options: &Options) -> Result<Engines, Error> {
        let (kafka, registry, temporal, mail) = tokio::try_join!(
            if_wanted(self.kafka.as_ref(), |kafka| start_and_report(
                options,
                kafka::NAME,
                kafka.start(options)
            )),
            if_wanted(self.registry.as_ref(), |registry| start_and_report(
                options,
                registry::NAME,
                registry.start(options)
            )),
            if_wanted(self.temporal.as_ref(), |temporal| start_and_report(
                options,
                temporal::NAME,
                temporal.start(options)
            )),
            if_wanted(self.mail.as_ref(), |mail| start_and_report(
                options,
                mail::NAME,
                mail.start(options)
            )),
        )?;
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
            maildir,
            processes,
        })
    }
}

async fn if_wanted<'a, E, T, F>(
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

async fn start_and_report(
    options: &Options,
    engine: &'static str,
    start: impl Future<Output = Result<Running, Error>>,
) -> Result<Running, Error> {
    (options.progress)(&Progress::Starting(engine));
    let running = start.await?;
    let address = running.address.clone();
    (options.progress)(&Progress::Ready { engine, address });
    Ok(running)
}
