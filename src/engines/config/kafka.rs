//! Settings of Kafka: brokers, security, topics, consumer groups.

pub mod security;

use std::time::Duration;

pub use self::security::KafkaSecurity;
use super::is_loopback;
use super::vars::Vars;
use crate::domain::Secret;

/// Brokers, topics and consumer groups.
#[derive(Clone, Debug)]
pub struct Kafka {
    /// `host:port[,host:port]`.
    pub brokers: String,
    pub security: KafkaSecurity,
    /// Further librdkafka settings, such as `socket.timeout.ms=10000`.
    pub options: Vec<(String, Secret)>,
    pub topics: Topics,
    /// Prefix of the consumer groups' names.
    pub group: String,
    /// `session.timeout.ms` of the consumers.
    pub session_timeout: Duration,
    /// Name that makes the members static (KIP-345): a restart within the session time-out moves no partition.
    pub group_instance: Option<String>,
    /// Rejections in a row, for one reason that may lie in this system, after which such records are held; 0: no fuse
    /// (contract, 4.9).
    pub dlq_fuse: u32,
    /// The CloudEvents attribute `source` of the events.
    pub event_source: String,
}

/// The names of the topics (contract, section 4).
#[derive(Clone, Debug)]
pub struct Topics {
    pub requests: String,
    pub commands: String,
    pub events: String,
    pub results: String,
    /// Dead letters of requests and commands.
    pub dlq: String,
    pub notifications: String,
    pub notifications_dlq: String,
}

pub(super) fn read(vars: &mut Vars<'_>) -> Kafka {
    let is_broker = |broker: &str| {
        broker
            .rsplit_once(':')
            .is_some_and(|(host, port)| !host.is_empty() && port.parse::<u16>().is_ok())
    };
    let brokers = vars.read("KAFKA_BROKERS", "host:port[,host:port]", |text| {
        text.split(',').all(is_broker).then(|| text.to_owned())
    });
    let brokers = brokers.unwrap_or_else(|| "127.0.0.1:9092".to_owned());
    let (security, is_set) = security::read(vars, is_foreign(&brokers));
    Kafka {
        brokers,
        security,
        options: options(vars, is_set),
        topics: topics(vars),
        group: vars.name("KAFKA_GROUP", "genflow"),
        session_timeout: vars.duration_within("KAFKA_SESSION_TIMEOUT", "45s", "1ms"..="5m"),
        group_instance: vars.optional("KAFKA_GROUP_INSTANCE_ID"),
        dlq_fuse: vars.parsed("DLQ_FUSE", "100", "a number of records, 0 for no fuse"),
        event_source: event_source(vars),
    }
}

/// Returns whether a broker is on another machine.
pub(super) fn is_foreign(brokers: &str) -> bool {
    let mut hosts = brokers.split(',').filter_map(|at| at.rsplit_once(':'));
    // A broker without a port is reported as a fault of its own.
    hosts.any(|(host, _)| !is_loopback(host))
}

/// This setting of librdkafka runs code of the file that it names.
const PLUGINS: &str = "plugin.library.paths";

/// Returns whether a setting of librdkafka is one that the variables of [`security`] decide.
fn is_security(name: &str) -> bool {
    name == "security.protocol" || name.starts_with("sasl.") || SSL_FILES.contains(&name)
}

/// The settings of librdkafka for which there are variables; the others of TLS, such as `ssl.cipher.suites`, have none.
const SSL_FILES: [&str; 8] = [
    "ssl.ca.location",
    "ssl.ca.pem",
    "ssl.certificate.location",
    "ssl.certificate.pem",
    "ssl.key.location",
    "ssl.key.password",
    "ssl.key.pem",
    "ssl.keystore.location",
];

/// Reads further settings of librdkafka. No fault shows a value, which may be a password. `has_security`: the variables
/// of [`security`] are used, so none of these settings may contradict them.
fn options(vars: &mut Vars<'_>, has_security: bool) -> Vec<(String, Secret)> {
    const NAME: &str = "KAFKA_OPTIONS";
    let text = vars.secret(NAME).unwrap_or_default();
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
            Some((name, _)) if has_security && is_security(name.trim()) => {
                let problem = format!(
                    "sets {}, and so do KAFKA_SECURITY_PROTOCOL, KAFKA_SASL_* or KAFKA_SSL_*; remove it from KAFKA_OPTIONS",
                    name.trim()
                );
                vars.fault(NAME, &problem);
            }
            Some((name, value)) => {
                let (name, value) = (name.trim(), value.trim());
                pairs.push((name.to_owned(), Secret::new(value.to_owned())));
            }
        }
    }
    pairs
}

/// Reads the source of events: a reference to a URI (RFC 3986), as CloudEvents require it.
fn event_source(vars: &mut Vars<'_>) -> String {
    let is_allowed = |c: char| c.is_ascii_graphic() && !r#""<>\^`{|}"#.contains(c);
    let expected = "a URI, or a path such as /genflow, of at most 200 characters";
    let given = vars.read("CE_SOURCE", expected, |text| {
        (text.len() <= 200 && text.chars().all(is_allowed)).then(|| text.to_owned())
    });
    given.unwrap_or_else(|| "/genflow".to_owned())
}

/// Reads the names of the topics, which must all differ.
fn topics(vars: &mut Vars<'_>) -> Topics {
    let mut taken = Vec::new();
    let mut topic = |name, default| {
        let topic = vars.name(name, default);
        if taken.contains(&topic) {
            let problem = format!(
                "is {topic:?}, which is the name of another topic too; expected names that differ"
            );
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
