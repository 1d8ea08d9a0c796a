//! Composition: starts the chosen roles, waits for Temporal where a role needs it, and stops all roles together.

pub mod settings;
mod window;

use std::convert::Infallible;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, bail};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

use crate::contract::seal::Sealer;
use crate::engines::config::Config;
use crate::engines::health;
use crate::engines::health::Health;
use crate::engines::kafka::consumer;
use crate::engines::kafka::consumer::{Handler, Options};
use crate::engines::kafka::producer::Producer;
use crate::engines::open_files;
use crate::engines::publisher::Publisher;
use crate::engines::registry::Registry;
use crate::engines::telemetry;
use crate::engines::telemetry::events;
use crate::engines::temporal::client::Temporal;
use crate::roles::intake::{Commands, Intake, RateLimits};
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
    /// All three in one process.
    pub const ALL: Self = Self {
        intake: true,
        worker: true,
        notifier: true,
    };
    /// Intake alone.
    pub const INTAKE: Self = Self {
        intake: true,
        ..Self::NONE
    };
    /// The worker alone.
    pub const WORKER: Self = Self {
        worker: true,
        ..Self::NONE
    };
    /// The notifier alone.
    pub const NOTIFIER: Self = Self {
        notifier: true,
        ..Self::NONE
    };
    const NONE: Self = Self {
        intake: false,
        worker: false,
        notifier: false,
    };
}

const INTAKE: &str = "intake";
const COMMANDS: &str = "commands";
const WORKER: &str = "worker";
const NOTIFIER: &str = "notifier";
const DELIVERIES: &str = "deliveries";

/// Commands are rare, and each takes only one or two calls.
const COMMAND_CONCURRENCY: usize = 8;
/// Pause between attempts to reach Temporal.
const RECONNECT: Duration = Duration::from_secs(1);
/// Interval at which a worker probes its server, and how long it waits for the answer.
const LOOK: Duration = Duration::from_secs(5);
const LOOK_TIMEOUT: Duration = Duration::from_secs(5);

/// Runs `roles` until `stop`, or until one of them ends; then the others stop too. Serves health and metrics on
/// `listener`.
///
/// `config` must come from [`settings::load`] for the same roles.
///
/// # Errors
/// A role, the HTTP server or the simulator failed, or the drain took longer than the grace period.
pub async fn run(
    config: Config,
    roles: Roles,
    listener: TcpListener,
    metrics: telemetry::Handle,
    stop: CancellationToken,
) -> anyhow::Result<()> {
    open_files::allow_many();
    let config = Arc::new(config);
    let health = Arc::new(Health::default());
    // The HTTP server outlives the roles: /readyz reports the drain.
    let served = CancellationToken::new();
    let pages = health::serve(listener, health.clone(), metrics, served.clone());
    let working = async {
        let _ends_the_pages = served.clone().drop_guard();
        drained(
            &config,
            Box::pin(play(&config, roles, &health, &stop)),
            &health,
            &stop,
        )
        .await
    };
    let (worked, paged) = tokio::join!(working, pages);
    worked?;
    paged.context("the HTTP server failed")
}

/// Runs the roles; after `stop`, they have the grace period to end.
async fn drained(
    config: &Config,
    roles: impl Future<Output = anyhow::Result<()>>,
    health: &Health,
    stop: &CancellationToken,
) -> anyhow::Result<()> {
    let mut roles = std::pin::pin!(roles);
    tokio::select! {
        ended = &mut roles => return ended,
        () = stop.cancelled() => health.drain(),
    }
    match timeout(config.grace, roles).await {
        Ok(ended) => ended,
        Err(_) => bail!(
            "the drain took longer than SHUTDOWN_GRACE ({:?}); unfinished work will be repeated",
            config.grace
        ),
    }
}

async fn play(
    config: &Arc<Config>,
    roles: Roles,
    health: &Arc<Health>,
    stop: &CancellationToken,
) -> anyhow::Result<()> {
    let process = &Process::new(config, health, stop)?;
    let (intake, commands, worker, notifier) = tokio::join!(
        process.role(INTAKE, roles.intake, intake(process)),
        process.role(COMMANDS, roles.intake, commands(process)),
        process.role(WORKER, roles.worker, work(process)),
        process.role(NOTIFIER, roles.notifier, notifier(process)),
    );
    intake.and(commands).and(worker).and(notifier)
}

/// Shared by the roles of a process.
struct Process {
    config: Arc<Config>,
    health: Arc<Health>,
    stop: CancellationToken,
    registry: Arc<Registry>,
    producer: Arc<Producer>,
    publisher: Publisher,
    limits: Option<Arc<RateLimits>>,
}

impl Process {
    fn new(
        config: &Arc<Config>,
        health: &Arc<Health>,
        stop: &CancellationToken,
    ) -> anyhow::Result<Self> {
        let registry = Arc::new(Registry::new(&config.schema_registry_url)?);
        let producer = Arc::new(Producer::new(&config.kafka, "producer")?);
        let publisher = Publisher::new(
            producer.clone(),
            registry.clone(),
            config.kafka.topics.clone(),
        );
        // A quarter of the slots may hold records above their user's limit; the rest is for users within their limits.
        let waiting = (config.intake.concurrency / 4).max(1);
        let limits = config.intake.rate_limit;
        Ok(Self {
            config: config.clone(),
            health: health.clone(),
            stop: stop.clone(),
            registry,
            producer,
            publisher,
            limits: limits.map(|limit| Arc::new(RateLimits::new(limit, waiting, stop.clone()))),
        })
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
        let options = Options {
            role,
            topic: topic.to_owned(),
            group: format!("{}-{role}", kafka.group),
            dlq: dlq.to_owned(),
            concurrency,
            fuse: kafka.dlq_fuse,
        };
        let (kafka, stop) = (kafka.clone(), self.stop.clone());
        let (producer, health) = (self.producer.clone(), self.health.clone());
        // The consumer gets a task of its own, which is aborted when this future is dropped. The Temporal worker is not
        // `Send` and stays on the main task: while it runs workflow code there, a consumer beside it would not run.
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

async fn intake(process: &Process) -> anyhow::Result<()> {
    let config = &process.config;
    let Some(temporal) = connected(process, INTAKE).await else {
        return Ok(());
    };
    let Some(first) = window::first(process, &temporal).await else {
        return Ok(());
    };
    let (tell, window) = watch::channel(first);
    let handler = Intake::new(
        config,
        temporal.clone(),
        process.registry.clone(),
        process.publisher.clone(),
        Sealer::new(&config.notify_keys)?,
        window,
        process.limits.clone(),
    );
    let (topics, concurrency) = (&config.kafka.topics, config.intake.concurrency);
    let consuming = process.consume(INTAKE, &topics.requests, &topics.dlq, concurrency, handler);
    tokio::select! {
        ended = consuming => ended,
        never = window::follow(process, &temporal, &tell) => match never {},
    }
}

async fn commands(process: &Process) -> anyhow::Result<()> {
    let Some(temporal) = connected(process, COMMANDS).await else {
        return Ok(());
    };
    let (registry, limits) = (process.registry.clone(), process.limits.clone());
    let handler = Commands::new(&process.config, temporal, registry, limits);
    let topics = &process.config.kafka.topics;
    let (topic, dlq) = (&topics.commands, &topics.dlq);
    process
        .consume(COMMANDS, topic, dlq, COMMAND_CONCURRENCY, handler)
        .await
}

async fn work(process: &Process) -> anyhow::Result<()> {
    let Some(temporal) = connected(process, WORKER).await else {
        return Ok(());
    };
    if retention(process, WORKER, &temporal).await.is_none() {
        return Ok(());
    }
    let working = worker::run(
        &process.config,
        &temporal,
        process.publisher.clone(),
        process.stop.clone(),
    );
    tokio::select! {
        ended = working => ended,
        never = watch(WORKER, &temporal, &process.health) => match never {},
    }
}

/// Probes Temporal without end and updates the role's readiness: the SDK's pollers do not report an outage.
async fn watch(role: &'static str, temporal: &Temporal, health: &Health) -> Infallible {
    loop {
        match timeout(LOOK_TIMEOUT, temporal.retention()).await {
            Ok(Ok(_)) => health.ready(role),
            Ok(Err(error)) => health.not_ready(role, &error.to_string()),
            Err(_) => health.not_ready(role, "the Temporal server does not answer"),
        }
        sleep(LOOK).await;
    }
}

async fn notifier(process: &Process) -> anyhow::Result<()> {
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
    process: &Process,
    deliverer: Arc<Deliverer>,
    handover: &Handover,
) -> anyhow::Result<()> {
    let Some(temporal) = persist(process, DELIVERIES, || handover.temporal()).await else {
        return Ok(());
    };
    if retention(process, DELIVERIES, temporal).await.is_none() {
        return Ok(());
    }
    let working = delivery_worker::run(&process.config, temporal, deliverer, &process.stop);
    tokio::select! {
        ended = working => ended,
        never = watch(DELIVERIES, temporal, &process.health) => match never {},
    }
}

/// Connects to Temporal, with retries until it succeeds; `None` if the stop comes first.
async fn connected(process: &Process, role: &'static str) -> Option<Temporal> {
    let connect = || Temporal::connect(&process.config.temporal);
    persist(process, role, connect).await
}

/// Waits until the namespace exists, and returns its retention: a worker on a missing namespace would end at once.
async fn retention(process: &Process, role: &'static str, temporal: &Temporal) -> Option<Duration> {
    persist(process, role, || temporal.retention()).await
}

async fn persist<T, E: std::error::Error, F: Future<Output = Result<T, E>>>(
    process: &Process,
    role: &'static str,
    attempt: impl Fn() -> F,
) -> Option<T> {
    let Process { health, stop, .. } = process;
    let mut tries = 0_u32;
    loop {
        tokio::select! {
            tried = attempt() => match tried {
                Ok(value) => return Some(value),
                Err(error) => {
                    tries += 1;
                    health.not_ready(role, &error.to_string());
                    if tries.is_power_of_two() {
                        let cause = error.source().map(ToString::to_string).unwrap_or_default();
                        tracing::warn!(role, %error, cause, tries, "waiting for Temporal");
                    }
                }
            },
            () = stop.cancelled() => return None,
        }
        tokio::select! {
            () = sleep(RECONNECT) => {}
            () = stop.cancelled() => return None,
        }
    }
}
