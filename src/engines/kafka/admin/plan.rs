//! The topics that the contract specifies (section 4); both `setup` and `doctor` use this list.

use std::fmt::Display;
use std::time::Duration;

use rdkafka::admin::{ConfigResource, NewTopic, TopicReplication};
use rdkafka::error::KafkaError;

use super::{Error, Shape};
use crate::engines::config;

/// A setting that differs from the contract.
#[derive(Debug, PartialEq, Eq)]
pub struct Difference {
    /// Kafka's name of the setting; `partitions` and `replication.factor` count as settings.
    pub setting: String,
    /// The topic's value.
    pub is: String,
    /// The contract's value.
    pub want: String,
}

impl Difference {
    fn of(setting: &str, is: &dyn Display, want: &dyn Display) -> Self {
        Self {
            setting: setting.to_owned(),
            is: is.to_string(),
            want: want.to_string(),
        }
    }
}

/// A topic as the contract specifies it.
#[derive(Debug)]
pub(super) struct TopicPlan {
    pub(super) topic: String,
    pub(super) partitions: usize,
    pub(super) replication: usize,
    /// True for input topics only: readers of the others rely on the order of each key.
    pub(super) may_grow: bool,
    settings: Vec<(&'static str, String)>,
}

/// The retention of `gen.events`.
pub(crate) const EVENTS_RETENTION: Duration = WEEK;
const MIB: usize = 1024 * 1024;
const WEEK: Duration = Duration::from_secs(7 * 24 * 3600);
const MONTH: Duration = Duration::from_secs(30 * 24 * 3600);

/// The replication factor of a topic if there are enough brokers; with it, two replicas must have a record before the
/// broker acknowledges it (`min.insync.replicas`).
pub(super) const FULL: usize = 3;

/// Returns the replication factor of new topics on a cluster of `brokers`.
pub(super) fn for_brokers(brokers: usize) -> usize {
    if brokers >= FULL { FULL } else { 1 }
}

pub(super) fn plans(
    topics: &config::Topics,
    replication: usize,
    dedup_window: Duration,
) -> Vec<TopicPlan> {
    let in_sync = if replication >= FULL { "2" } else { "1" };
    let of_requests = WEEK.min(dedup_window);
    // Name, partitions, retention (`None`: compacted), bytes of the largest record.
    let rows: [(&String, usize, Option<Duration>, Option<usize>); 7] = [
        (&topics.requests, 6, Some(of_requests), Some(MIB)),
        (&topics.commands, 3, Some(WEEK), Some(MIB)),
        (&topics.events, 6, Some(EVENTS_RETENTION), None),
        (&topics.results, 6, None, None),
        (&topics.dlq, 3, Some(MONTH), Some(4 * MIB)),
        (&topics.notifications, 6, Some(WEEK), None),
        (&topics.notifications_dlq, 3, Some(MONTH), Some(2 * MIB)),
    ];
    let mut plans = Vec::new();
    for (topic, partitions, retention, largest) in rows {
        let mut settings = vec![
            ("min.insync.replicas", in_sync.to_owned()),
            (
                "cleanup.policy",
                retention.map_or("compact", |_| "delete").to_owned(),
            ),
        ];
        settings.extend(retention.map(|age| ("retention.ms", age.as_millis().to_string())));
        settings.extend(largest.map(|bytes| ("max.message.bytes", bytes.to_string())));
        if *topic == topics.requests {
            settings.push(("message.timestamp.type", "LogAppendTime".to_owned()));
        }
        plans.push(TopicPlan {
            topic: topic.clone(),
            partitions,
            replication,
            may_grow: [&topics.requests, &topics.commands].contains(&topic),
            settings,
        });
    }
    plans
}

impl TopicPlan {
    pub(super) fn new_topic(&self) -> NewTopic<'_> {
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

    /// Returns what differs from this plan on an existing topic: fewer partitions or replicas, and other settings, if the
    /// brokers described them.
    pub(super) fn differences(
        &self,
        shape: Shape,
        resource: Option<&ConfigResource>,
    ) -> Vec<Difference> {
        let mut found = Vec::new();
        for (setting, is, want) in [
            ("partitions", shape.partitions, self.partitions),
            ("replication.factor", shape.replicas, self.replication),
        ] {
            if is < want {
                found.push(Difference::of(setting, &is, &want));
            }
        }
        for (setting, want) in &self.settings {
            let entry = resource.and_then(|resource| resource.get(setting));
            if let Some(is) = entry.and_then(|entry| entry.value.as_ref())
                && is != want
            {
                found.push(Difference::of(setting, &is, &want));
            }
        }
        found
    }

    pub(super) fn error(&self, source: KafkaError) -> Error {
        Error::Topic {
            topic: self.topic.clone(),
            source,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engines::config::Config;

    fn topics() -> config::Topics {
        Config::of(&[]).unwrap().kafka.topics
    }

    fn setting<'p>(plan: &'p TopicPlan, name: &str) -> Option<&'p str> {
        let found = plan.settings.iter().find(|(other, _)| *other == name)?;
        Some(&found.1)
    }

    #[test]
    fn three_brokers_get_three_replicas_and_fewer_get_one() {
        assert_eq!([1, 2, 3, 9].map(for_brokers), [1, 1, 3, 3]);
        for (replication, in_sync) in [(1, "1"), (2, "1"), (3, "2"), (5, "2")] {
            for plan in plans(&topics(), replication, WEEK) {
                assert_eq!(plan.replication, replication);
                assert_eq!(setting(&plan, "min.insync.replicas"), Some(in_sync));
            }
        }
    }

    #[test]
    fn kubernetes_runs_at_most_as_many_consumers_as_a_topic_has_partitions() {
        use serde::Deserialize as _;
        use serde_json::Value;
        let file = concat!(
            env!("CARGO_MANIFEST_DIR"),
            "/deploy/kubernetes/components/keda/scale.yaml"
        );
        let text = std::fs::read_to_string(file).unwrap();
        let mut consumers = 0;

        for document in serde_yaml_ng::Deserializer::from_str(&text) {
            let scaled = Value::deserialize(document).unwrap();
            let trigger = &scaled["spec"]["triggers"][0]["metadata"];
            let all = plans(&topics(), 1, WEEK);
            if let Some(plan) = all.iter().find(|plan| trigger["topic"] == plan.topic) {
                let most = scaled["spec"]["maxReplicaCount"].as_u64().unwrap();
                assert!(most <= plan.partitions as u64, "{}: {most}", plan.topic);
                consumers += 1;
            }
        }

        assert_eq!(consumers, 2);
    }

    #[test]
    fn only_the_input_topics_may_grow() {
        let all = plans(&topics(), 1, WEEK);

        let growing: Vec<_> = all
            .iter()
            .filter(|plan| plan.may_grow)
            .map(|plan| plan.topic.as_str())
            .collect();
        assert_eq!(growing, ["gen.requests", "gen.commands"]);
    }

    #[test]
    fn requests_are_not_kept_longer_than_the_dedup_window() {
        for (window, kept) in [(MONTH, "604800000"), (Duration::from_secs(60), "60000")] {
            let plans = plans(&topics(), 1, window);

            assert_eq!(setting(&plans[0], "retention.ms"), Some(kept));
            assert_eq!(setting(&plans[2], "retention.ms"), Some("604800000"));
        }
    }
}
