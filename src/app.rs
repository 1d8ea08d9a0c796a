//! Composition: starts the chosen roles, waits for Temporal where a role needs it, and stops all roles together.

pub mod settings;

use std::sync::Arc;

use anyhow::{Context as _, bail};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout_at};
use tokio_util::sync::CancellationToken;

use crate::contract::seal::Sealer;
use crate::engines::config::Config;
use crate::engines::health::{self, Health};
use crate::engines::kafka::consumer;
use crate::engines::kafka::consumer::{ConsumerOptions, Handler};
use crate::engines::kafka::producer::Producer;
use crate::engines::open_files;
use crate::engines::publisher::Publisher;
use crate::engines::registry::Registry;
use crate::engines::telemetry;
use crate::engines::telemetry::events;
use crate::engines::temporal::availability::{probe, until_answered};
use crate::engines::temporal::client::Temporal;
use crate::roles::intake::{Commands, Intake, RateLimits, Shared, dedup_window};
use crate::roles::notifier::worker as delivery_worker;
use crate::roles::notifier::{Deliverer, Handover, Notifier};
use crate::roles::worker;

/// The roles that a process runs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Roles {
    /// Turns records into workflows.
    pub intake: bool,
    /// Runs workflows and activities.
    pub worker: bool,
    /// Turns events into notifications.
    pub notifier: bool,
}

impl Roles {
    pub const ALL: Self = Self::of(true, true, true);
    pub const INTAKE: Self = Self::of(true, false, false);
    pub const WORKER: Self = Self::of(false, true, false);
    pub const NOTIFIER: Self = Self::of(false, false, true);

    const fn of(intake: bool, worker: bool, notifier: bool) -> Self {
        Self {
            intake,
            worker,
            notifier,
        }
    }
}

const INTAKE: &str = "intake";
const COMMANDS: &str = "commands";
const WORKER: &str = "worker";
const NOTIFIER: &str = "notifier";
const DELIVERIES: &str = "deliveries";

/// Commands are rare, and each takes only a few calls.
const COMMAND_CONCURRENCY: usize = 8;

/// Runs `roles` until `stop`, or until one of them ends; then the others stop too. Serves health and metrics on
/// `listener`.
///
/// `config` must come from [`settings::load`] for the same roles.
///
/// # Errors
/// A role or the HTTP server failed, or the drain took longer than the grace period.
pub async fn run(
    config: Config,
    roles: Roles,
    listener: TcpListener,
    metrics: telemetry::Handle,
    stop: CancellationToken,
) -> anyhow::Result<()> {
    open_files::allow_many();
    let process = ProcessParts::new(config, stop)?;
    // The HTTP server outlives the roles: /readyz reports the drain.
    let served = CancellationToken::new();
    let pages = health::serve(
        listener,
        process.health.clone(),
        metrics.clone(),
        served.clone(),
    );
    let working = async {
        let _ends_the_pages = served.clone().drop_guard();
        process
            .drained(Box::pin(process.run(roles)), &metrics)
            .await
    };
    let (worked, paged) = tokio::join!(working, pages);
    worked?;
    paged.context("the HTTP server failed")
}

/// Shared by the roles of a process.
struct ProcessParts {
    config: Arc<Config>,
    health: Arc<Health>,
    stop: CancellationToken,
    registry: Arc<Registry>,
    producer: Arc<Producer>,
    publisher: Publisher,
    limits: Option<Arc<RateLimits>>,
}

impl ProcessParts {
    fn new(config: Config, stop: CancellationToken) -> anyhow::Result<Self> {
        let registry = Arc::new(Registry::new(&config.schema_registry));
        let health = Arc::default();
        let producer = Arc::new(Producer::of_roles(&config.kafka, &health)?);
        let publisher = Publisher::new(producer.clone(), registry.clone(), &config.kafka);
        let limits = config.intake.rate_limit.map(|limit| {
            let slots = config.intake.concurrency;
            Arc::new(RateLimits::new(limit, slots, stop.clone()))
        });
        Ok(Self {
            config: Arc::new(config),
            health,
            stop,
            publisher,
            registry,
            producer,
            limits,
        })
    }

    async fn run(&self, roles: Roles) -> anyhow::Result<()> {
        let (intake, commands, worker, notifier) = tokio::join!(
            self.role(INTAKE, roles.intake, intake(self)),
            self.role(COMMANDS, roles.intake, commands(self)),
            self.role(WORKER, roles.worker, work(self)),
            self.role(NOTIFIER, roles.notifier, notifier(self)),
        );
        intake.and(commands).and(worker).and(notifier)
    }

    /// Awaits the roles; after the stop, they and the export of the last spans have the grace period.
    async fn drained(
        &self,
        mut roles: impl Future<Output = anyhow::Result<()>> + Unpin,
        telemetry: &telemetry::Handle,
    ) -> anyhow::Result<()> {
        let grace = self.config.grace;
        let ended = tokio::select! {
            ended = &mut roles => Some(ended),
            () = self.stop.cancelled() => None,
        };
        let until = Instant::now() + grace;
        let ended = match ended {
            Some(ended) => ended,
            None => {
                self.health.drain();
                timeout_at(until, roles).await.unwrap_or_else(|_| {
                    bail!("the drain took longer than SHUTDOWN_GRACE ({grace:?}); unfinished work will be repeated")
                })
            }
        };
        timeout_at(until, telemetry.flush()).await.ok();
        ended
    }

    /// Runs one role if it is chosen. However it ends, the other roles then stop too.
    async fn role(
        &self,
        name: &'static str,
        chosen: bool,
        run: impl Future<Output = anyhow::Result<()>>,
    ) -> anyhow::Result<()> {
        if !chosen {
            return Ok(());
        }
        let _stops_the_rest = self.stop.clone().drop_guard();
        self.health.register(name);
        events::role_started(name);
        let ended = run.await.with_context(|| format!("{name} failed"));
        events::role_stopped(name);
        ended
    }

    /// Calls Temporal until it answers; `None` if the stop comes first.
    async fn until_answered<T, E: std::error::Error, F: Future<Output = Result<T, E>>>(
        &self,
        role: &'static str,
        call: impl Fn() -> F,
    ) -> Option<T> {
        until_answered(role, &self.health, &self.stop, call).await
    }

    async fn connected(&self, role: &'static str) -> Option<Temporal> {
        let connect = || Temporal::connect(&self.config.temporal);
        self.until_answered(role, connect).await
    }

    /// Runs a worker once its namespace exists, since on a missing one it would end at once, and probes the server
    /// meanwhile.
    async fn host(
        &self,
        role: &'static str,
        temporal: &Temporal,
        worker: impl Future<Output = anyhow::Result<()>>,
    ) -> anyhow::Result<()> {
        let described = self.until_answered(role, || temporal.retention()).await;
        if described.is_none() {
            return Ok(());
        }
        tokio::select! {
            ended = worker => ended,
            never = probe(role, temporal, &self.health) => match never {},
        }
    }

    fn shared(&self, temporal: &Temporal) -> Shared {
        Shared {
            config: self.config.clone(),
            temporal: temporal.clone(),
            registry: self.registry.clone(),
            limits: self.limits.clone(),
        }
    }

    /// Consumes `topic` with a role's handler until the stop.
    async fn consume(
        &self,
        role: &'static str,
        topic: &str,
        dlq: &str,
        concurrency: usize,
        handler: impl Handler,
    ) -> anyhow::Result<()> {
        let kafka = &self.config.kafka;
        let options = ConsumerOptions {
            role,
            topic: topic.to_owned(),
            group: format!("{}-{role}", kafka.group),
            dlq: dlq.to_owned(),
            concurrency,
            fuse: kafka.dlq_fuse,
            // Another third is for the records that are being handled.
            leaves_within: self.config.grace / 3,
        };
        let (kafka, stop) = (kafka.clone(), self.stop.clone());
        let (producer, health) = (self.producer.clone(), self.health.clone());
        // The consumer gets a task of its own, which is aborted when this future is dropped. The Temporal worker is not
        // `Send` and stays on the main task: while it runs workflow code there, nothing else on that task runs.
        let mut task = JoinSet::new();
        task.spawn(
            async move { consumer::run(&kafka, options, producer, handler, health, stop).await },
        );
        match task.join_next().await {
            Some(Ok(ended)) => Ok(ended?),
            Some(Err(error)) if error.is_panic() => std::panic::resume_unwind(error.into_panic()),
            Some(Err(_)) | None => bail!("the consumer's task was aborted"),
        }
    }
}

async fn intake(process: &ProcessParts) -> anyhow::Result<()> {
    let config = &process.config;
    let Some(temporal) = process.connected(INTAKE).await else {
        return Ok(());
    };
    let configured = config.intake.dedup_window;
    let read = || dedup_window::read(&temporal, configured);
    let Some(window) = process.until_answered(INTAKE, read).await else {
        return Ok(());
    };
    let (sender, window) = watch::channel(window);
    let handler = Intake {
        shared: process.shared(&temporal),
        publisher: process.publisher.clone(),
        sealer: Sealer::new(&config.notify_keys)?,
        window,
    };
    let (topics, concurrency) = (&config.kafka.topics, config.intake.concurrency);
    let consuming = process.consume(INTAKE, &topics.requests, &topics.dlq, concurrency, handler);
    tokio::select! {
        ended = consuming => ended,
        never = dedup_window::follow(&temporal, configured, &sender) => match never {},
    }
}

async fn commands(process: &ProcessParts) -> anyhow::Result<()> {
    let Some(temporal) = process.connected(COMMANDS).await else {
        return Ok(());
    };
    let handler = Commands(process.shared(&temporal));
    let topics = &process.config.kafka.topics;
    let (topic, dlq) = (&topics.commands, &topics.dlq);
    process
        .consume(COMMANDS, topic, dlq, COMMAND_CONCURRENCY, handler)
        .await
}

async fn work(process: &ProcessParts) -> anyhow::Result<()> {
    let Some(temporal) = process.connected(WORKER).await else {
        return Ok(());
    };
    let (publisher, stop) = (process.publisher.clone(), process.stop.clone());
    let worker = worker::run(&process.config, &temporal, publisher, stop);
    Box::pin(process.host(WORKER, &temporal, worker)).await
}

async fn notifier(process: &ProcessParts) -> anyhow::Result<()> {
    let config = &process.config;
    let deliverer = Arc::new(Deliverer::new(
        config,
        process.registry.clone(),
        process.producer.clone(),
        Sealer::new(&config.notify_keys)?,
    )?);
    let handover = Arc::new(Handover::new(config));
    let stop = process.stop.clone();
    let handler = Notifier::new(config, deliverer.clone(), handover.clone(), stop);
    let topics = &config.kafka.topics;
    let (topic, dlq) = (&topics.events, &topics.notifications_dlq);
    let concurrency = config.notifier.concurrency;
    // First attempts need no Temporal: the consumer starts while the deliveries still wait for Temporal.
    let consuming = async {
        // When the consumer ends, the deliveries have to end too.
        let _stops_the_rest = process.stop.clone().drop_guard();
        process
            .consume(NOTIFIER, topic, dlq, concurrency, handler)
            .await
    };
    let (consumed, delivered) = tokio::join!(
        consuming,
        process.role(DELIVERIES, true, deliveries(process, deliverer, &handover)),
    );
    consumed.and(delivered)
}

/// Runs the workflows of handed-over deliveries, once Temporal answers.
async fn deliveries(
    process: &ProcessParts,
    deliverer: Arc<Deliverer>,
    handover: &Handover,
) -> anyhow::Result<()> {
    let Some(temporal) = process
        .until_answered(DELIVERIES, || handover.temporal())
        .await
    else {
        return Ok(());
    };
    let worker = delivery_worker::run(&process.config, temporal, deliverer, &process.stop);
    Box::pin(process.host(DELIVERIES, temporal, worker)).await
}
