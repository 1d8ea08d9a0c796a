//! Sets up the topics of the contract, and checks whether brokers answer.
//!
//! Existing topics are left alone; settings that differ are reported. Partitions are added only on request and only to
//! input topics, because keys then move to other partitions and their records lose their order.

mod backlog;
mod inspect;
mod plan;
mod replication;

use std::sync::Arc;
use std::time::{Duration, Instant};

use rdkafka::ClientConfig;
use rdkafka::admin::{AdminClient, AdminOptions, NewPartitions, ResourceSpecifier};
use rdkafka::consumer::{Consumer as _, StreamConsumer};
use rdkafka::error::{KafkaError, KafkaResult, RDKafkaErrorCode};
use rdkafka::metadata::{Metadata, MetadataTopic};

pub use self::backlog::{Backlog, backlog, lag};
pub use self::inspect::{Cluster, Topic, inspect, members};
pub use self::plan::Difference;
pub(crate) use self::plan::EVENTS_RETENTION;
use self::plan::{TopicPlan, plans};
pub use self::replication::{Replication, replication};
use super::connection::{Connection, ask};
use super::{ClientError, LOOKUP_TIMEOUT, Refusal};
use crate::engines::config;

/// Why topics could not be set up or inspected.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("no Kafka broker answers at {brokers}")]
    Unreachable {
        /// `KAFKA_BROKERS` as configured.
        brokers: String,
        /// librdkafka's error, unless it says no more than this one.
        #[source]
        source: Option<KafkaError>,
    },
    /// The brokers, or the token server, refuse the connection.
    #[error(transparent)]
    NotConnected(Refusal),
    /// librdkafka refused the settings.
    #[error("the Kafka client cannot be created")]
    Client(#[source] ClientError),
    #[error(
        "{there} Kafka brokers answer, expected at least {wanted} for replication {wanted}: start more brokers, or ask for a lower replication"
    )]
    TooFewBrokers { there: usize, wanted: usize },
    /// The cluster refused an operation on a topic.
    #[error("the operation on topic {topic} failed")]
    Topic {
        topic: String,
        #[source]
        source: KafkaError,
    },
}

impl Error {
    /// Drops a source that only says "transport failure": the error's own text says the same.
    fn unreachable(brokers: String, source: KafkaError) -> Self {
        let failed = Some(RDKafkaErrorCode::BrokerTransportFailure);
        let says_more = source.rdkafka_error_code() != failed;
        Self::Unreachable {
            brokers,
            source: says_more.then_some(source),
        }
    }
}

/// The options of a setup of topics.
#[derive(Clone, Copy, Debug, Default)]
pub struct Asked {
    /// Whether to add partitions to existing input topics.
    pub grow: bool,
    /// Replication factor of new topics; `None` chooses it by the number of brokers.
    pub replication: Option<usize>,
}

impl Asked {
    /// The options for a single local broker.
    pub const ONE_COPY: Self = Self {
        grow: false,
        replication: Some(1),
    };
}

/// The result of the setup for one topic.
#[derive(Debug, PartialEq, Eq)]
pub struct TopicReport {
    topic: String,
    /// Whether partitions may be added while genflow runs: true for input topics.
    may_grow: bool,
    outcome: TopicOutcome,
    /// Settings that differ from the contract and were not changed.
    differences: Vec<Difference>,
}

/// What the setup did to a topic; numbers are of partitions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum TopicOutcome {
    Created(usize),
    /// The topic existed and was not changed.
    Exists,
    Grown {
        from: usize,
        to: usize,
    },
}

/// The partitions of a topic, and the lowest number of replicas of any of them.
#[derive(Clone, Copy, Debug, Default)]
struct Shape {
    partitions: usize,
    replicas: usize,
}

const OPERATION_TIMEOUT: Duration = Duration::from_secs(30);

/// Waits until brokers answer, and returns their number.
///
/// # Errors
/// [`Error::Unreachable`] if no broker answers within `patience`, [`Error::NotConnected`] if the brokers refuse the
/// connection, [`Error::Client`] if the settings are refused.
pub async fn wait_ready(kafka: &config::Kafka, patience: Duration) -> Result<usize, Error> {
    let deadline = Instant::now() + patience;
    let lookup = Lookup::new(kafka, "setup")?;
    loop {
        let error = match lookup.metadata(None).await {
            Ok(metadata) if !metadata.brokers().is_empty() => return Ok(metadata.brokers().len()),
            Ok(_) => Error::Unreachable {
                brokers: kafka.brokers.clone(),
                source: None,
            },
            Err(Error::NotConnected(refusal)) if !refusal.is_passing => {
                return Err(Error::NotConnected(refusal));
            }
            Err(error @ (Error::Unreachable { .. } | Error::NotConnected(_))) => error,
            Err(error) => return Err(error),
        };
        if Instant::now() >= deadline {
            return Err(error);
        }
        tokio::time::sleep(Duration::from_millis(250)).await;
    }
}

/// Creates the missing topics of the contract, and waits until they are listed; `dedup_window` bounds the retention of
/// requests.
///
/// # Errors
/// The error of the first topic that could not be set up.
pub async fn ensure_topics(
    kafka: &config::Kafka,
    dedup_window: Duration,
    replication: Replication,
    grow: bool,
) -> Result<Vec<TopicReport>, Error> {
    let lookup = Lookup::new(kafka, "setup")?;
    let admin = admin(kafka).await?;
    let mut reports = Vec::new();
    for plan in plans(&kafka.topics, replication.copies(), dedup_window) {
        let may_grow = grow && plan.may_grow;
        reports.push(ensure(&lookup, &admin, plan, may_grow).await?);
    }
    let topics: Vec<_> = reports.iter().map(|it| it.topic.as_str()).collect();
    until_listed(&lookup, &topics).await?;
    Ok(reports)
}

/// Waits until a broker lists the topics: the controller confirms a new topic before the brokers know it.
async fn until_listed(lookup: &Lookup, topics: &[&str]) -> Result<(), Error> {
    let deadline = Instant::now() + OPERATION_TIMEOUT;
    loop {
        let metadata = lookup.metadata(None).await?;
        let is_listed = |topic: &str| {
            let mut all = metadata.topics().iter();
            all.any(|it| it.name() == topic && !it.partitions().is_empty())
        };
        let Some(missing) = topics.iter().find(|topic| !is_listed(topic)) else {
            return Ok(());
        };
        lookup.require_describe(missing).await?;
        if Instant::now() >= deadline {
            return Err(Error::Topic {
                topic: (*missing).to_owned(),
                source: KafkaError::AdminOp(RDKafkaErrorCode::UnknownTopicOrPartition),
            });
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

async fn ensure(
    lookup: &Lookup,
    admin: &AdminClient<Connection>,
    plan: TopicPlan,
    grow: bool,
) -> Result<TopicReport, Error> {
    let report = |outcome, differences| TopicReport {
        topic: plan.topic.clone(),
        may_grow: plan.may_grow,
        outcome,
        differences,
    };
    let created = admin.create_topics([&plan.new_topic()], &patient()).await;
    match created.map_err(|source| plan.error(source))?.pop() {
        None | Some(Ok(_)) => {
            return Ok(report(TopicOutcome::Created(plan.partitions), Vec::new()));
        }
        Some(Err((_, RDKafkaErrorCode::TopicAlreadyExists))) => {}
        Some(Err((_, code))) => return Err(plan.error(KafkaError::AdminOp(code))),
    }
    // It may have been created a moment ago, and have no partitions yet.
    until_listed(lookup, &[&plan.topic]).await?;
    let metadata = lookup.metadata(Some(plan.topic.clone())).await?;
    let topic = metadata.topics().iter().find(|t| t.name() == plan.topic);
    let mut now = topic.map_or(Shape::default(), shape);
    let mut outcome = TopicOutcome::Exists;
    if now.partitions < plan.partitions && grow {
        let more = NewPartitions::new(&plan.topic, plan.partitions);
        let grown = admin.create_partitions([&more], &patient()).await;
        if let Some(Err((_, code))) = grown.map_err(|source| plan.error(source))?.pop() {
            return Err(plan.error(KafkaError::AdminOp(code)));
        }
        outcome = TopicOutcome::Grown {
            from: now.partitions,
            to: plan.partitions,
        };
        now.partitions = plan.partitions;
    }
    Ok(report(outcome, differences(admin, &plan, now).await?))
}

/// Returns the settings of an existing topic that differ from the plan.
async fn differences(
    admin: &AdminClient<Connection>,
    plan: &TopicPlan,
    shape: Shape,
) -> Result<Vec<Difference>, Error> {
    let topic = ResourceSpecifier::Topic(&plan.topic);
    let described = admin.describe_configs([&topic], &patient()).await;
    match described.map_err(|source| plan.error(source))?.pop() {
        // rdkafka does not report the error of a resource. Every topic has settings, so they were withheld.
        Some(Ok(resource)) if resource.entries.is_empty() => {
            let denied = RDKafkaErrorCode::TopicAuthorizationFailed;
            Err(plan.error(KafkaError::AdminOp(denied)))
        }
        Some(Ok(resource)) => Ok(plan.differences(shape, Some(&resource))),
        Some(Err(code)) => Err(plan.error(KafkaError::AdminOp(code))),
        None => Ok(plan.differences(shape, None)),
    }
}

fn shape(topic: &MetadataTopic) -> Shape {
    let partitions = topic.partitions();
    let replicas = partitions.iter().map(|p| p.replicas().len()).min();
    Shape {
        partitions: partitions.len(),
        replicas: replicas.unwrap_or(0),
    }
}

async fn admin(kafka: &config::Kafka) -> Result<AdminClient<Connection>, Error> {
    const NAME: &str = "setup";
    let connection = Connection::new(kafka, NAME, None);
    let admin = super::client(kafka, NAME).create_with_context(connection.clone());
    let admin = admin.map_err(|source| Error::Client(source.into()))?;
    let authorized = connection.authorize(&admin).await;
    authorized.map_err(Error::NotConnected)?;
    Ok(admin)
}

fn patient() -> AdminOptions {
    AdminOptions::new()
        .request_timeout(Some(OPERATION_TIMEOUT))
        .operation_timeout(Some(OPERATION_TIMEOUT))
}

/// A client for look-ups. It is a consumer, so that a look-up creates no topic, and its errors say why brokers refuse it.
struct Lookup {
    brokers: String,
    connection: Connection,
    consumer: Arc<StreamConsumer<Connection>>,
}

impl Lookup {
    fn new(kafka: &config::Kafka, name: &str) -> Result<Self, Error> {
        Self::create(kafka, name, &super::client(kafka, name))
    }

    /// Creates a client that looks up what belongs to a group, and joins no group.
    fn of_group(kafka: &config::Kafka, group: &str) -> Result<Self, Error> {
        let name = "lag";
        let mut client = super::client(kafka, name);
        client.set("group.id", group);
        Self::create(kafka, name, &client)
    }

    fn create(kafka: &config::Kafka, name: &str, client: &ClientConfig) -> Result<Self, Error> {
        let connection = Connection::new(kafka, name, None);
        let consumer = client.create_with_context(connection.clone());
        let consumer = consumer.map_err(|source| Error::Client(source.into()))?;
        Ok(Self {
            brokers: kafka.brokers.clone(),
            connection,
            consumer: Arc::new(consumer),
        })
    }

    /// Makes a call that blocks on the brokers. `failed` makes an error of librdkafka's one of this module, unless the
    /// brokers refuse the connection.
    async fn ask<T: Send + 'static>(
        &self,
        call: impl FnOnce(&StreamConsumer<Connection>) -> KafkaResult<T> + Send + 'static,
        failed: impl FnOnce(KafkaError) -> Error,
    ) -> Result<T, Error> {
        let answer = ask(&self.consumer, call).await;
        answer.map_err(|source| match self.connection.refusal() {
            Some(refusal) => Error::NotConnected(refusal),
            None => failed(source),
        })
    }

    /// Checks that this principal may describe a topic, whether or not it exists.
    async fn require_describe(&self, topic: &str) -> Result<(), Error> {
        let (asked, failed) = (topic.to_owned(), topic.to_owned());
        let topic_failed = |source| Error::Topic {
            topic: failed,
            source,
        };
        let call = move |consumer: &StreamConsumer<Connection>| {
            super::partitions(consumer.client(), &asked)
        };
        self.ask(call, topic_failed).await.map(drop)
    }

    /// Fetches the cluster's metadata: of one topic, or of all.
    async fn metadata(&self, topic: Option<String>) -> Result<Metadata, Error> {
        self.ask(
            move |consumer| consumer.fetch_metadata(topic.as_deref(), LOOKUP_TIMEOUT),
            |source| Error::unreachable(self.brokers.clone(), source),
        )
        .await
    }
}

impl std::fmt::Display for TopicReport {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let topic = &self.topic;
        match self.outcome {
            TopicOutcome::Created(partitions) => {
                write!(f, "topic {topic}: created, {partitions} partitions")
            }
            TopicOutcome::Exists => write!(f, "topic {topic}: exists"),
            TopicOutcome::Grown { from, to } => {
                write!(f, "topic {topic}: grown from {from} to {to} partitions")
            }
        }?;
        for Difference { setting, is, want } in &self.differences {
            let advice = match setting.as_str() {
                "partitions" if self.may_grow => " (setup --grow)",
                "partitions" => " (see docs/operating/kafka.md for how to add partitions)",
                _ => "",
            };
            write!(f, "; {setting} is {is}, expected {want}{advice}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engines::config::Config;

    #[tokio::test]
    async fn brokers_that_do_not_answer_are_named() {
        let mut kafka = Config::of(&[]).unwrap().kafka;
        kafka.brokers = "127.0.0.1:1".to_owned();

        let error = wait_ready(&kafka, Duration::ZERO).await.unwrap_err();

        assert_eq!(error.to_string(), "no Kafka broker answers at 127.0.0.1:1");
    }
}
