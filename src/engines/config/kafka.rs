//! Settings of Kafka: brokers, topics, consumer groups.

use std::time::Duration;

use super::vars::{Vars, without_login};
use crate::domain::Secret;

/// Brokers, topics and consumer groups.
#[derive(Clone, Debug)]
pub struct Kafka {
    /// `host:port[,host:port]`.
    pub brokers: String,
    /// Further librdkafka settings, such as `security.protocol=SASL_SSL`.
    pub options: Vec<(String, Secret)>,
    /// Names of the topics.
    pub topics: Topics,
    /// Prefix of the consumer groups' names.
    pub group: String,
    /// `session.timeout.ms` of the consumers.
    pub session_timeout: Duration,
    /// How a group assigns partitions to its members.
    pub group_protocol: GroupProtocol,
    /// Name that makes the members static (KIP-345): a restart within the session time-out moves no partition.
    pub group_instance: Option<String>,
    /// Refusals in a row for one systemic reason after which such records are held; 0: never (contract, 4.9).
    pub dlq_fuse: u32,
}

/// How a consumer group assigns partitions to its members.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GroupProtocol {
    /// The members assign them, cooperative-sticky (KIP-429).
    Classic,
    /// The brokers assign them (KIP-848), Kafka 4.0 and later.
    Consumer,
}

impl std::str::FromStr for GroupProtocol {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        match text {
            "classic" => Ok(Self::Classic),
            "consumer" => Ok(Self::Consumer),
            _ => Err(()),
        }
    }
}

/// The names of the topics (contract, section 4).
#[derive(Clone, Debug)]
pub struct Topics {
    /// Generation requests, in.
    pub requests: String,
    /// Commands, in.
    pub commands: String,
    /// The whole lifecycle, out.
    pub events: String,
    /// The outcome of every run, out; compacted.
    pub results: String,
    /// Dead letters of requests and commands.
    pub dlq: String,
    /// Receipts of notifications.
    pub notifications: String,
    /// Dead letters of notifications.
    pub notifications_dlq: String,
}

pub(super) fn read(vars: &mut Vars<'_>) -> Kafka {
    let brokers = vars.string("KAFKA_BROKERS", "127.0.0.1:9092");
    let good = |broker: &str| {
        broker
            .rsplit_once(':')
            .is_some_and(|(host, port)| !host.is_empty() && port.parse::<u16>().is_ok())
    };
    if !brokers.split(',').all(good) {
        vars.fault(
            "KAFKA_BROKERS",
            &format!(
                "is {:?}, expected host:port[,host:port]",
                without_login(&brokers)
            ),
        );
    }
    Kafka {
        brokers,
        options: options(vars),
        topics: topics(vars),
        group: vars.name("KAFKA_GROUP", "genflow"),
        session_timeout: vars.duration_up_to("KAFKA_SESSION_TIMEOUT", "45s", "5m"),
        group_protocol: vars.parsed("KAFKA_GROUP_PROTOCOL", "classic", "classic or consumer"),
        group_instance: vars.optional("KAFKA_GROUP_INSTANCE_ID"),
        dlq_fuse: vars.parsed("DLQ_FUSE", "100", "a number of records, 0 for no fuse"),
    }
}

/// This setting of librdkafka runs code of the file that it names.
const PLUGINS: &str = "plugin.library.paths";

/// Reads further settings of librdkafka. No fault shows a value, which may be a password.
fn options(vars: &mut Vars<'_>) -> Vec<(String, Secret)> {
    const NAME: &str = "KAFKA_OPTIONS";
    let text = vars.string(NAME, "");
    let mut pairs = Vec::new();
    for option in text.split(',').map(str::trim) {
        match option.split_once('=') {
            None if option.is_empty() => {}
            None => vars.fault(
                NAME,
                "is invalid, expected settings of librdkafka as name=value[,name=value]",
            ),
            Some((name, _)) if name.trim() == PLUGINS => {
                let problem =
                    format!("sets {PLUGINS}, which runs code of a file; remove this setting");
                vars.fault(NAME, &problem);
            }
            Some((name, value)) => pairs.push((name.to_owned(), Secret::new(value.to_owned()))),
        }
    }
    pairs
}

/// Reads the names of the topics, which must all differ.
fn topics(vars: &mut Vars<'_>) -> Topics {
    let mut taken = Vec::new();
    let mut topic = |name, default| {
        let topic = vars.name(name, default);
        if taken.contains(&topic) {
            let problem = format!("is {topic:?}, which is already the name of another topic");
            vars.fault(name, &problem);
        }
        taken.push(topic.clone());
        topic
    };
    Topics {
        requests: topic("TOPIC_REQUESTS", "gen.requests"),
        commands: topic("TOPIC_COMMANDS", "gen.commands"),
        events: topic("TOPIC_EVENTS", "gen.events"),
        results: topic("TOPIC_RESULTS", "gen.results"),
        dlq: topic("TOPIC_REQUESTS_DLQ", "gen.requests.dlq"),
        notifications: topic("TOPIC_NOTIFICATIONS", "gen.notifications"),
        notifications_dlq: topic("TOPIC_NOTIFICATIONS_DLQ", "gen.notifications.dlq"),
    }
}
