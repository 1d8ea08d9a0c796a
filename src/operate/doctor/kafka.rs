//! Kafka: the brokers, the topics compared with the contract, and the lag of the consumer groups.

use std::time::Duration;

use super::{Finding, causes, count};
use crate::domain::time::age;
use crate::engines::clock::now;
use crate::engines::config;
use crate::engines::kafka::admin;
use crate::engines::kafka::admin::{Backlog, Difference, Topic};

pub(super) async fn examine(kafka: &config::Kafka, window: Option<Duration>) -> Vec<Finding> {
    // The window may be unknown, for example if Temporal does not answer: then no retention counts as longer than it.
    let window = window.unwrap_or(Duration::MAX);
    let cluster = match admin::inspect(kafka, window).await {
        Ok(cluster) => cluster,
        Err(error) => {
            let found = format!("{}; topics and groups were not checked", causes(&error));
            let failed = Finding::fail("Kafka", found);
            // A refusal itself names what to change.
            let is_refused = matches!(error, admin::Error::NotConnected(_));
            return vec![match is_refused {
                true => failed,
                false => failed.advise("start Kafka, or set KAFKA_BROKERS"),
            }];
        }
    };
    let brokers = count(cluster.brokers as u64, "broker");
    let found = format!("answers at {}, {brokers}", kafka.brokers);
    let mut findings = vec![match cluster.brokers {
        0..3 => Finding::ok(
            "Kafka",
            format!(
                "{found}: setup creates topics with one replica; with three brokers, it would be three"
            ),
        ),
        _ => Finding::ok("Kafka", found),
    }];
    let mut missing = Vec::new();
    for (topic, seen) in &cluster.topics {
        let name = format!("topic {topic}");
        findings.push(match seen {
            Ok(seen) if topic == &kafka.topics.requests => {
                judge(name, TopicKind::Requests { window }, seen)
            }
            Ok(seen) if topic == &kafka.topics.commands => judge(name, TopicKind::Commands, seen),
            Ok(seen) => judge(name, TopicKind::Other, seen),
            Err(error) => Finding::unknown(name, causes(error))
                .advise("check that this principal may describe the topic and its configs"),
        });
        if matches!(seen, Ok(Topic::Missing)) {
            missing.push(topic.as_str());
        }
    }
    for (role, topic) in [
        ("intake", &kafka.topics.requests),
        ("commands", &kafka.topics.commands),
        ("notifier", &kafka.topics.events),
    ] {
        if !missing.contains(&topic.as_str()) {
            findings.push(group(kafka, role, topic).await);
        }
    }
    findings
}

/// The rules that apply to a topic.
#[derive(Clone, Copy)]
enum TopicKind {
    /// Intake refuses records that are older than the window.
    Requests {
        window: Duration,
    },
    Commands,
    /// Readers rely on the order of records per key.
    Other,
}

fn judge(name: String, kind: TopicKind, seen: &Topic) -> Finding {
    let (partitions, leaderless, under_replicated, differences) = match seen {
        Topic::Missing => return Finding::fail(name, "is missing").advise("genflow setup"),
        Topic::Exists {
            partitions,
            leaderless,
            under_replicated,
            differences,
        } => (*partitions, *leaderless, *under_replicated, differences),
    };
    let mut reported = vec![count(partitions as u64, "partition")];
    if leaderless > 0 {
        reported.push(format!("{leaderless} of them without a leader"));
    }
    if under_replicated > 0 {
        reported.push(format!("{under_replicated} of them under-replicated"));
    }
    let counted: Vec<_> = differences
        .iter()
        .filter(|difference| !is_more_than_wanted(difference, kind))
        .collect();
    for Difference { setting, is, want } in &counted {
        reported.push(format!("{setting} is {is}, expected {want}"));
    }
    let found = reported.join("; ");
    let broken = counted.iter().any(|difference| breaks(difference, kind));
    let advice = advice(&counted, kind);
    if leaderless > 0 {
        Finding::fail(name, found).advise("check the brokers that hold them")
    } else if broken {
        Finding::fail(name, found).advise(advice)
    } else if !counted.is_empty() {
        Finding::warn(name, found).advise(advice)
    } else if under_replicated > 0 {
        Finding::warn(name, found).advise("check the brokers whose replicas lag")
    } else {
        Finding::ok(name, found)
    }
}

/// Larger messages and longer retention than the contract's do no harm. But a request must not be kept longer than the
/// dedup window.
fn is_more_than_wanted(difference: &Difference, kind: TopicKind) -> bool {
    let (Some(is), Some(want)) = (number(&difference.is), number(&difference.want)) else {
        return false;
    };
    match (difference.setting.as_str(), kind) {
        ("retention.ms", TopicKind::Requests { window }) => {
            is > want && u128::from(is) <= window.as_millis()
        }
        ("retention.ms", TopicKind::Commands | TopicKind::Other) | ("max.message.bytes", _) => {
            is > want
        }
        _ => false,
    }
}

/// A wrong cleanup policy loses records. With CreateTime, a producer's timestamp can make an old request look young, so
/// that it runs again.
fn breaks(difference: &Difference, kind: TopicKind) -> bool {
    match (difference.setting.as_str(), kind) {
        ("cleanup.policy", _) | ("message.timestamp.type", TopicKind::Requests { .. }) => true,
        ("retention.ms", TopicKind::Requests { .. }) => {
            number(&difference.is) > number(&difference.want)
        }
        _ => false,
    }
}

/// Parses a setting as a number; a negative one means no limit.
fn number(setting: &str) -> Option<u64> {
    let number = setting.parse::<i64>().ok()?;
    Some(u64::try_from(number).unwrap_or(u64::MAX))
}

fn advice(differences: &[&Difference], kind: TopicKind) -> String {
    let (shape, settings): (Vec<_>, Vec<_>) = differences
        .iter()
        .map(|difference| difference.setting.as_str())
        .partition(|setting| matches!(*setting, "partitions" | "replication.factor"));
    let mut reported = Vec::new();
    if shape.contains(&"partitions") {
        let how = match kind {
            TopicKind::Requests { .. } | TopicKind::Commands => {
                "genflow setup --grow (records of one key lose their order at that moment)"
            }
            TopicKind::Other => "see docs/operating/kafka.md for how to add partitions",
        };
        reported.push(how.to_owned());
    }
    if shape.contains(&"replication.factor") {
        reported.push("kafka-reassign-partitions.sh for more replicas".to_owned());
    }
    if !settings.is_empty() {
        reported.push(format!(
            "kafka-configs.sh --alter for {}",
            settings.join(", ")
        ));
    }
    reported.join("; ")
}

async fn group(kafka: &config::Kafka, role: &str, topic: &str) -> Finding {
    let group = format!("{}-{role}", kafka.group);
    let check = format!("group {group}");
    let lag = match admin::backlog(kafka, &group, topic).await {
        Ok(backlog) => lag(topic, backlog, now()),
        Err(error) => {
            return Finding::unknown(check, causes(&error))
                .advise("check that this principal may describe the group");
        }
    };
    match admin::members(kafka, &group).await {
        Ok(members) => judge_group(check, role, &lag, members),
        Err(error) => Finding::unknown(check, format!("{lag}; {}", causes(&error))),
    }
}

/// Says how many records wait, and for how long if that is known.
fn lag(topic: &str, backlog: Backlog, now: i64) -> String {
    let Backlog { records, oldest } = backlog;
    match oldest {
        Some(oldest) => format!(
            "lag {records} on {topic}, the oldest {} old",
            age(oldest, now)
        ),
        None => format!("lag {records} on {topic}"),
    }
}

fn judge_group(check: String, role: &str, lag: &str, members: usize) -> Finding {
    match members {
        0 => Finding::warn(check, format!("{lag}, no members")).advise(match role {
            "notifier" => "start genflow notifier",
            _ => "start genflow intake",
        }),
        _ => Finding::ok(check, format!("{lag}, {}", count(members as u64, "member"))),
    }
}

#[cfg(test)]
mod tests;
