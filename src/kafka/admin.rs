//! Sets up the topics of the contract, and tells whether brokers answer at all.
//!
//! What exists is left alone: settings that differ are told, partitions grow only when asked, for a key then moves to
//! another partition and its records lose their order.

use std::time::{Duration, Instant};

use rdkafka::admin::{
    AdminClient, AdminOptions, ConfigResource, NewPartitions, NewTopic, ResourceSpecifier,
    TopicReplication,
};
use rdkafka::client::DefaultClientContext;
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::metadata::Metadata;
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};

use crate::config;

/// Why topics could not be set up.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// No broker answered.
    #[error("no Kafka broker answers at {brokers}")]
    Unreachable {
        /// As configured.
        brokers: String,
        /// What librdkafka says.
        #[source]
        source: KafkaError,
    },
    /// The client could not be made from its settings.
    #[error("no Kafka client can be made")]
    Client(#[source] KafkaError),
    /// The cluster did not do what was asked.
    #[error("topic {topic} cannot be set up")]
    Topic {
        /// Topic name.
        topic: String,
        /// What the cluster says.
        #[source]
        source: KafkaError,
    },
}

/// Counts the records of `topic` that `group` has not committed; what it never committed at all counts from the start.
///
/// # Errors
/// [`Error::Topic`] when the brokers do not tell.
pub async fn lag(kafka: &config::Kafka, group: &str, topic: &str) -> Result<u64, Error> {
    let consumer: BaseConsumer = super::client(kafka, "lag")
        .set("group.id", group)
        .create()
        .map_err(Error::Client)?;
    let asked = topic.to_owned();
    // Blocks on the brokers.
    let told = tokio::task::spawn_blocking(move || uncommitted(&consumer, &asked)).await;
    let failed = |source| Error::Topic {
        topic: topic.to_owned(),
        source,
    };
    told.unwrap_or(Err(KafkaError::Canceled)).map_err(failed)
}

fn uncommitted(consumer: &BaseConsumer, topic: &str) -> Result<u64, KafkaError> {
    let metadata = consumer.fetch_metadata(Some(topic), CALL_TIMEOUT)?;
    let partitions = metadata
        .topics()
        .iter()
        .flat_map(|topic| topic.partitions());
    let mut list = TopicPartitionList::new();
    for partition in partitions {
        list.add_partition(topic, partition.id());
    }
    let mut lag = 0;
    for committed in consumer.committed_offsets(list, CALL_TIMEOUT)?.elements() {
        let (low, high) = consumer.fetch_watermarks(topic, committed.partition(), CALL_TIMEOUT)?;
        let from = match committed.offset() {
            Offset::Offset(offset) => offset.max(low),
            Offset::Beginning
            | Offset::End
            | Offset::Stored
            | Offset::Invalid
            | Offset::OffsetTail(_) => low,
        };
        lag += u64::try_from(high - from).unwrap_or(0);
    }
    Ok(lag)
}

/// What became of one topic.
#[derive(Debug, PartialEq, Eq)]
pub struct TopicReport {
    /// Topic name.
    pub topic: String,
    /// What was done.
    pub outcome: Outcome,
    /// Settings that are not as wanted, and are left so.
    pub differences: Vec<Difference>,
}

/// What was done about a topic.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It was not there.
    Created {
        /// How many it has.
        partitions: usize,
    },
    /// It was there.
    Exists {
        /// How many it has.
        partitions: usize,
    },
    /// It was there with fewer partitions.
    Grown {
        /// How many it had.
        from: usize,
        /// How many it has.
        to: usize,
    },
}

/// A setting that is not as wanted.
#[derive(Debug, PartialEq, Eq)]
pub struct Difference {
    /// Its name; `partitions` and `replication.factor` count as settings.
    pub setting: String,
    /// What it is.
    pub is: String,
    /// What the contract wants.
    pub want: String,
}

/// A topic as the contract wants it.
#[derive(Debug)]
struct Plan {
    topic: String,
    partitions: usize,
    replication: usize,
    settings: Vec<(&'static str, String)>,
}

const MIB: usize = 1024 * 1024;
const WEEK: Duration = Duration::from_secs(7 * 24 * 3600);
const MONTH: Duration = Duration::from_secs(30 * 24 * 3600);
const CALL_TIMEOUT: Duration = Duration::from_secs(5);
const OPERATION_TIMEOUT: Duration = Duration::from_secs(30);

/// Waits until brokers answer, and returns how many there are.
///
/// # Errors
/// [`Error::Unreachable`] when none did within `patience`.
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
                    source: KafkaError::MetadataFetch(RDKafkaErrorCode::BrokerTransportFailure),
                });
            }
            Err(error) => return Err(error),
        }
        tokio::time::sleep(Duration::from_millis(250)).await;
    }
}

/// Creates the topics of the contract that are not there; `dedup_window` bounds the retention of requests.
///
/// # Errors
/// The first topic that could not be set up.
pub async fn ensure_topics(
    kafka: &config::Kafka,
    dedup_window: Duration,
    grow: bool,
) -> Result<Vec<TopicReport>, Error> {
    let brokers = wait_ready(kafka, Duration::from_secs(10)).await?;
    let admin = admin(kafka)?;
    let mut reports = Vec::new();
    for plan in plans(&kafka.topics, brokers, dedup_window) {
        reports.push(ensure(kafka, &admin, &plan, grow).await?);
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
            let outcome = Outcome::Created {
                partitions: plan.partitions,
            };
            return Ok(plan.report(outcome, Vec::new()));
        }
        Some(Err((_, RDKafkaErrorCode::TopicAlreadyExists))) => {}
        Some(Err((_, code))) => return Err(plan.error(KafkaError::AdminOp(code))),
    }
    let (partitions, replicas) = shape(kafka, plan).await?;
    let mut differences = Vec::new();
    let mut outcome = Outcome::Exists { partitions };
    if partitions < plan.partitions && grow {
        let to = plan.partitions;
        let more = NewPartitions::new(&plan.topic, to);
        let grown = admin.create_partitions([&more], &patient()).await;
        let grown = grown.map_err(|source| plan.error(source))?;
        if let Some(Err((_, code))) = grown.into_iter().next() {
            return Err(plan.error(KafkaError::AdminOp(code)));
        }
        outcome = Outcome::Grown {
            from: partitions,
            to,
        };
    } else if partitions < plan.partitions {
        differences.push(difference("partitions", &partitions, &plan.partitions));
    }
    if replicas < plan.replication {
        differences.push(difference(
            "replication.factor",
            &replicas,
            &plan.replication,
        ));
    }
    let described = admin
        .describe_configs([&ResourceSpecifier::Topic(&plan.topic)], &patient())
        .await
        .map_err(|source| plan.error(source))?;
    match described.into_iter().next() {
        Some(Ok(resource)) => differences.extend(plan.differences(&resource)),
        Some(Err(code)) => return Err(plan.error(KafkaError::AdminOp(code))),
        None => {}
    }
    Ok(plan.report(outcome, differences))
}

/// Returns the number of partitions and of replicas of a topic that is there.
async fn shape(kafka: &config::Kafka, plan: &Plan) -> Result<(usize, usize), Error> {
    let metadata = metadata(kafka, Some(plan.topic.clone())).await?;
    let topic = metadata.topics().iter().find(|t| t.name() == plan.topic);
    let partitions = topic.map_or(&[] as &[_], |topic| topic.partitions());
    let replicas = partitions.iter().map(|p| p.replicas().len()).min();
    Ok((partitions.len(), replicas.unwrap_or(0)))
}

fn plans(topics: &config::Topics, brokers: usize, dedup_window: Duration) -> Vec<Plan> {
    let (replication, in_sync) = if brokers >= 3 { (3, 2) } else { (1, 1) };
    let plan = |topic: &str, partitions: usize, settings: &[(&'static str, String)]| Plan {
        topic: topic.to_owned(),
        partitions,
        replication,
        settings: [("min.insync.replicas", format!("{in_sync}"))]
            .into_iter()
            .chain(settings.iter().cloned())
            .collect(),
    };
    let retention = |age: Duration| ("retention.ms", age.as_millis().to_string());
    let largest = |bytes: usize| ("max.message.bytes", bytes.to_string());
    let cleanup = |policy: &str| ("cleanup.policy", policy.to_owned());
    vec![
        plan(
            &topics.requests,
            6,
            &[
                cleanup("delete"),
                retention(WEEK.min(dedup_window)),
                largest(MIB),
                ("message.timestamp.type", "LogAppendTime".to_owned()),
            ],
        ),
        plan(
            &topics.commands,
            3,
            &[cleanup("delete"), retention(WEEK), largest(MIB)],
        ),
        plan(&topics.events, 6, &[cleanup("delete"), retention(WEEK)]),
        plan(&topics.results, 6, &[cleanup("compact")]),
        plan(
            &topics.dlq,
            3,
            &[cleanup("delete"), retention(MONTH), largest(4 * MIB)],
        ),
        plan(
            &topics.notifications,
            6,
            &[cleanup("delete"), retention(WEEK)],
        ),
        plan(
            &topics.notifications_dlq,
            3,
            &[cleanup("delete"), retention(MONTH), largest(2 * MIB)],
        ),
    ]
}

impl Plan {
    fn new_topic(&self) -> NewTopic<'_> {
        let partitions = i32::try_from(self.partitions).unwrap_or(1);
        let replication = i32::try_from(self.replication).unwrap_or(1);
        let topic = NewTopic::new(
            &self.topic,
            partitions,
            TopicReplication::Fixed(replication),
        );
        self.settings
            .iter()
            .fold(topic, |topic, (name, value)| topic.set(name, value))
    }

    fn differences(&self, resource: &ConfigResource) -> Vec<Difference> {
        let mut found = Vec::new();
        for (name, want) in &self.settings {
            let is = resource.get(name).and_then(|entry| entry.value.as_deref());
            if is.is_some_and(|is| is != want) {
                found.push(difference(name, &is.unwrap_or_default(), want));
            }
        }
        found
    }

    fn report(&self, outcome: Outcome, differences: Vec<Difference>) -> TopicReport {
        TopicReport {
            topic: self.topic.clone(),
            outcome,
            differences,
        }
    }

    fn error(&self, source: KafkaError) -> Error {
        Error::Topic {
            topic: self.topic.clone(),
            source,
        }
    }
}

fn difference(setting: &str, is: &dyn ToString, want: &dyn ToString) -> Difference {
    Difference {
        setting: setting.to_owned(),
        is: is.to_string(),
        want: want.to_string(),
    }
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

/// Asks the cluster of its brokers, and of one topic. The call blocks, so it has a thread of its own.
async fn metadata(kafka: &config::Kafka, topic: Option<String>) -> Result<Metadata, Error> {
    let admin = admin(kafka)?;
    let brokers = kafka.brokers.clone();
    let unreachable = |source| Error::Unreachable { brokers, source };
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
            Outcome::Created { partitions } => {
                write!(f, "topic {topic}: created, {partitions} partitions")
            }
            Outcome::Exists { .. } => write!(f, "topic {topic}: exists"),
            Outcome::Grown { from, to } => {
                write!(f, "topic {topic}: grown from {from} to {to} partitions")
            }
        }?;
        for Difference { setting, is, want } in &self.differences {
            write!(f, "; {setting} is {is}, want {want}")?;
            if setting == "partitions" {
                write!(f, " (setup --grow)")?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;

    fn topics() -> config::Topics {
        Config::load(|_| None).unwrap().kafka.topics
    }

    fn setting<'p>(plan: &'p Plan, name: &str) -> Option<&'p str> {
        let found = plan.settings.iter().find(|(other, _)| *other == name)?;
        Some(&found.1)
    }

    #[test]
    fn three_brokers_get_three_replicas_and_fewer_get_one() {
        for (brokers, replication, in_sync) in [(1, 1, "1"), (2, 1, "1"), (3, 3, "2"), (9, 3, "2")]
        {
            for plan in plans(&topics(), brokers, WEEK) {
                assert_eq!(plan.replication, replication);
                assert_eq!(setting(&plan, "min.insync.replicas"), Some(in_sync));
            }
        }
    }

    #[test]
    fn requests_are_not_kept_longer_than_the_dedup_window() {
        for (window, kept) in [(MONTH, "604800000"), (Duration::from_secs(60), "60000")] {
            let plans = plans(&topics(), 1, window);

            assert_eq!(setting(&plans[0], "retention.ms"), Some(kept));
            assert_eq!(setting(&plans[2], "retention.ms"), Some("604800000"));
        }
    }

    #[tokio::test]
    async fn brokers_that_do_not_answer_are_named() {
        let mut kafka = Config::load(|_| None).unwrap().kafka;
        kafka.brokers = "127.0.0.1:1".to_owned();

        let error = wait_ready(&kafka, Duration::ZERO).await.unwrap_err();

        assert_eq!(error.to_string(), "no Kafka broker answers at 127.0.0.1:1");
    }
}
