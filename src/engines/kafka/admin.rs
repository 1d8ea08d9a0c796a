//! Sets up the topics of the contract, and checks whether brokers answer.
//!
//! Existing topics are left alone; settings that differ are reported. Partitions are added only on request and only to
//! input topics, because keys then move to other partitions and their records lose their order.

mod inspect;
mod plan;
mod replication;

use std::time::{Duration, Instant};

use rdkafka::admin::{AdminClient, AdminOptions, NewPartitions, ResourceSpecifier};
use rdkafka::client::DefaultClientContext;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::metadata::Metadata;

pub use self::inspect::{Cluster, Topic, inspect, lag, members};
pub use self::plan::Difference;
pub(crate) use self::plan::EVENTS_RETENTION;
use self::plan::{Plan, plans};
pub use self::replication::{Replication, replication};
use crate::engines::config;

/// Why topics could not be set up or inspected.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// No broker answered.
    #[error("no Kafka broker answers at {brokers}")]
    Unreachable {
        /// `KAFKA_BROKERS` as configured.
        brokers: String,
        /// librdkafka's error, unless it says no more than this one.
        #[source]
        source: Option<KafkaError>,
    },
    /// librdkafka refused the settings.
    #[error("the Kafka client cannot be created")]
    Client(#[source] KafkaError),
    /// There are fewer brokers than the replication factor that was asked for.
    #[error(
        "{there} Kafka brokers answer, expected at least {wanted} for replication {wanted}: start more brokers, or ask for a lower replication"
    )]
    TooFewBrokers {
        /// Number of brokers that answer.
        there: usize,
        /// Number of brokers needed.
        wanted: usize,
    },
    /// The cluster refused an operation on a topic.
    #[error("the operation on topic {topic} failed")]
    Topic {
        /// Topic name.
        topic: String,
        /// The cluster's error.
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
    /// Topic name.
    pub topic: String,
    /// Whether partitions may be added while genflow runs: true for input topics.
    pub may_grow: bool,
    /// What the setup did.
    pub outcome: TopicOutcome,
    /// Settings that differ from the contract and were not changed.
    pub differences: Vec<Difference>,
}

/// What the setup did to a topic.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TopicOutcome {
    /// The topic did not exist and was created.
    Created {
        /// Its number of partitions.
        partitions: usize,
    },
    /// The topic exists and was not changed.
    Exists {
        /// Its number of partitions.
        partitions: usize,
    },
    /// The topic had fewer partitions, and some were added.
    Grown {
        /// Number of partitions before.
        from: usize,
        /// Number of partitions now.
        to: usize,
    },
}

impl TopicOutcome {
    fn partitions(self) -> usize {
        match self {
            Self::Created { partitions } | Self::Exists { partitions } => partitions,
            Self::Grown { to, .. } => to,
        }
    }
}

const CALL_TIMEOUT: Duration = Duration::from_secs(5);
const OPERATION_TIMEOUT: Duration = Duration::from_secs(30);

/// Waits until brokers answer, and returns their number.
///
/// # Errors
/// [`Error::Unreachable`] if no broker answers within `patience`.
pub async fn wait_ready(kafka: &config::Kafka, patience: Duration) -> Result<usize, Error> {
    let deadline = Instant::now() + patience;
    loop {
        match metadata(kafka, None).await {
            Ok(metadata) if !metadata.brokers().is_empty() => return Ok(metadata.brokers().len()),
            Ok(_) if Instant::now() < deadline => {}
            Err(Error::Unreachable { .. }) if Instant::now() < deadline => {}
            Ok(_) => {
                return Err(Error::Unreachable {
                    brokers: kafka.brokers.clone(),
                    source: None,
                });
            }
            Err(error) => return Err(error),
        }
        tokio::time::sleep(Duration::from_millis(250)).await;
    }
}

/// Creates the missing topics of the contract; `dedup_window` bounds the retention of requests.
///
/// # Errors
/// The error of the first topic that could not be set up.
pub async fn ensure_topics(
    kafka: &config::Kafka,
    dedup_window: Duration,
    replication: Replication,
    grow: bool,
) -> Result<Vec<TopicReport>, Error> {
    let admin = admin(kafka)?;
    let mut reports = Vec::new();
    for plan in plans(&kafka.topics, replication.copies(), dedup_window) {
        reports.push(ensure(kafka, &admin, &plan, grow && plan.may_grow).await?);
    }
    Ok(reports)
}

async fn ensure(
    kafka: &config::Kafka,
    admin: &AdminClient<DefaultClientContext>,
    plan: &Plan,
    grow: bool,
) -> Result<TopicReport, Error> {
    let created = admin
        .create_topics([&plan.new_topic()], &patient())
        .await
        .map_err(|source| plan.error(source))?;
    match created.into_iter().next() {
        None | Some(Ok(_)) => {
            let outcome = TopicOutcome::Created {
                partitions: plan.partitions,
            };
            return Ok(plan.report(outcome, Vec::new()));
        }
        Some(Err((_, RDKafkaErrorCode::TopicAlreadyExists))) => {}
        Some(Err((_, code))) => return Err(plan.error(KafkaError::AdminOp(code))),
    }
    let (partitions, replicas) = shape(kafka, plan).await?;
    let mut outcome = TopicOutcome::Exists { partitions };
    if partitions < plan.partitions && grow {
        let to = plan.partitions;
        let more = NewPartitions::new(&plan.topic, to);
        let grown = admin.create_partitions([&more], &patient()).await;
        let grown = grown.map_err(|source| plan.error(source))?;
        if let Some(Err((_, code))) = grown.into_iter().next() {
            return Err(plan.error(KafkaError::AdminOp(code)));
        }
        outcome = TopicOutcome::Grown {
            from: partitions,
            to,
        };
    }
    let partitions = outcome.partitions();
    let differences = differences(admin, plan, partitions, replicas).await?;
    Ok(plan.report(outcome, differences))
}

/// Returns the settings of an existing topic that differ from the plan.
async fn differences(
    admin: &AdminClient<DefaultClientContext>,
    plan: &Plan,
    partitions: usize,
    replicas: usize,
) -> Result<Vec<Difference>, Error> {
    let described = admin
        .describe_configs([&ResourceSpecifier::Topic(&plan.topic)], &patient())
        .await
        .map_err(|source| plan.error(source))?;
    let mut found = plan.shape_differences(partitions, replicas);
    match described.into_iter().next() {
        Some(Ok(resource)) => found.extend(plan.differences(&resource)),
        Some(Err(code)) => return Err(plan.error(KafkaError::AdminOp(code))),
        None => {}
    }
    Ok(found)
}

/// Returns an existing topic's number of partitions, and the lowest number of replicas of any of them.
async fn shape(kafka: &config::Kafka, plan: &Plan) -> Result<(usize, usize), Error> {
    let metadata = metadata(kafka, Some(plan.topic.clone())).await?;
    let topic = metadata.topics().iter().find(|t| t.name() == plan.topic);
    let partitions = topic.map_or(&[] as &[_], |topic| topic.partitions());
    let replicas = partitions.iter().map(|p| p.replicas().len()).min();
    Ok((partitions.len(), replicas.unwrap_or(0)))
}

fn admin(kafka: &config::Kafka) -> Result<AdminClient<DefaultClientContext>, Error> {
    super::client(kafka, "setup")
        .create()
        .map_err(Error::Client)
}

fn patient() -> AdminOptions {
    AdminOptions::new()
        .request_timeout(Some(OPERATION_TIMEOUT))
        .operation_timeout(Some(OPERATION_TIMEOUT))
}

/// Fetches the cluster's metadata: of one topic, or of all. The call blocks, so it runs on a thread of its own.
async fn metadata(kafka: &config::Kafka, topic: Option<String>) -> Result<Metadata, Error> {
    let admin = admin(kafka)?;
    let brokers = kafka.brokers.clone();
    let unreachable = |source| Error::unreachable(brokers, source);
    let asked = tokio::task::spawn_blocking(move || {
        let client = admin.inner();
        client.fetch_metadata(topic.as_deref(), CALL_TIMEOUT)
    });
    match asked.await {
        Ok(answer) => answer.map_err(unreachable),
        Err(_) => Err(unreachable(KafkaError::Canceled)),
    }
}

impl std::fmt::Display for TopicReport {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let topic = &self.topic;
        match self.outcome {
            TopicOutcome::Created { partitions } => {
                write!(f, "topic {topic}: created, {partitions} partitions")
            }
            TopicOutcome::Exists { .. } => write!(f, "topic {topic}: exists"),
            TopicOutcome::Grown { from, to } => {
                write!(f, "topic {topic}: grown from {from} to {to} partitions")
            }
        }?;
        for Difference { setting, is, want } in &self.differences {
            write!(f, "; {setting} is {is}, expected {want}")?;
            if setting == "partitions" && self.may_grow {
                write!(f, " (setup --grow)")?;
            } else if setting == "partitions" {
                write!(f, " (see docs/operating.md for how to add partitions)")?;
            }
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
