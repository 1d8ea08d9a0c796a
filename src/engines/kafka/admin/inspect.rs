//! Inspects topics and groups, and changes nothing.
//!
//! Topics are found in the list of all topics: a metadata request that names a topic may create it if the brokers
//! allow auto-creation.

use std::collections::BTreeMap;
use std::time::Duration;

use rdkafka::consumer::{Consumer as _, StreamConsumer};
use rdkafka::metadata::{MetadataPartition, MetadataTopic};

use super::plan::{Difference, for_brokers, plans};
use super::{Error, Lookup, admin, differences, shape};
use crate::engines::config;
use crate::engines::kafka::LOOKUP_TIMEOUT;
use crate::engines::kafka::connection::Connection;

#[derive(Debug)]
pub struct Cluster {
    pub brokers: usize,
    /// The topics of the contract by name, in the contract's order.
    pub topics: Vec<(String, Result<Topic, Error>)>,
}

#[derive(Debug)]
pub enum Topic {
    Missing,
    Exists {
        partitions: usize,
        /// Number of partitions without a leader; they can be neither written nor read.
        leaderless: usize,
        /// Number of partitions with fewer in-sync replicas than replicas.
        under_replicated: usize,
        differences: Vec<Difference>,
    },
}

/// Inspects the topics of the contract; `dedup_window` bounds the retention of requests.
///
/// # Errors
/// [`Error::Unreachable`] or [`Error::Client`]. The error of a single topic is in that topic's entry.
pub async fn inspect(kafka: &config::Kafka, dedup_window: Duration) -> Result<Cluster, Error> {
    let lookup = Lookup::new(kafka, "doctor")?;
    let metadata = lookup.metadata(None).await?;
    let admin = admin(kafka).await?;
    let brokers = metadata.brokers().len();
    let there: BTreeMap<_, _> = metadata.topics().iter().map(|t| (t.name(), t)).collect();
    let mut topics = Vec::new();
    for plan in plans(&kafka.topics, for_brokers(brokers), dedup_window) {
        let seen = match there.get(plan.topic.as_str()) {
            // The list leaves out what this principal may not describe.
            None => lookup
                .require_describe(&plan.topic)
                .await
                .map(|()| Topic::Missing),
            Some(topic) => differences(&admin, &plan, shape(topic))
                .await
                .map(|differences| exists(topic, differences)),
        };
        topics.push((plan.topic, seen));
    }
    Ok(Cluster { brokers, topics })
}

fn exists(topic: &MetadataTopic, differences: Vec<Difference>) -> Topic {
    let partitions = topic.partitions();
    let lacks_replicas = |p: &&MetadataPartition| p.isr().len() < p.replicas().len();
    Topic::Exists {
        partitions: partitions.len(),
        leaderless: partitions.iter().filter(|p| p.leader() < 0).count(),
        under_replicated: partitions.iter().filter(lacks_replicas).count(),
        differences,
    }
}

/// Counts the members of a group.
///
/// # Errors
/// [`Error::Unreachable`] if the brokers do not answer, [`Error::Client`] if the settings are refused.
pub async fn members(kafka: &config::Kafka, group: &str) -> Result<usize, Error> {
    let asked = group.to_owned();
    let count = move |consumer: &StreamConsumer<Connection>| {
        let list = consumer.fetch_group_list(Some(&asked), LOOKUP_TIMEOUT)?;
        let found = list.groups().iter().find(|group| group.name() == asked);
        Ok(found.map_or(0, |group| group.members().len()))
    };
    let unreachable = |source| Error::unreachable(kafka.brokers.clone(), source);
    Lookup::of_group(kafka, group)?
        .ask(count, unreachable)
        .await
}
