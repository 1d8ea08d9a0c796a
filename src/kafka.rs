//! All that is Kafka: no other module names rdkafka.

pub mod admin;
pub mod consumer;
pub mod offsets;
pub mod producer;
pub mod snapshot;
pub mod tail;

use rdkafka::ClientConfig;

use crate::config;
use crate::domain::RecordPosition;

/// One record as it came.
#[derive(Clone, Debug)]
pub struct Record {
    /// Where it stands.
    pub position: RecordPosition,
    /// Its key.
    pub key: Option<Vec<u8>>,
    /// Its value; `None` is a tombstone.
    pub value: Option<Vec<u8>>,
    /// Its headers, in order; a name may stand there twice.
    pub headers: Headers,
    /// Milliseconds since the epoch, as the topic stamps it.
    pub timestamp: Option<i64>,
}

/// Headers of a record, in order.
pub type Headers = Vec<(String, Option<Vec<u8>>)>;

impl Record {
    /// Returns the text of the last header of that name, if it is UTF-8.
    pub fn header(&self, name: &str) -> Option<&str> {
        let found = self
            .headers
            .iter()
            .rev()
            .find(|(header, _)| header == name)?;
        std::str::from_utf8(found.1.as_deref()?).ok()
    }
}

impl Record {
    /// Returns the W3C trace context of the record, if it has one that may go along: it rides on every event.
    pub fn traceparent(&self) -> Option<&str> {
        let good = |text: &&str| {
            text.len() <= LONGEST_TRACEPARENT && text.bytes().all(|byte| byte.is_ascii_graphic())
        };
        self.header("traceparent").filter(good)
    }
}

/// Version 00 of the recommendation has 55 characters; later ones may have more.
const LONGEST_TRACEPARENT: usize = 256;

/// What all clients have in common.
fn client(kafka: &config::Kafka, name: &str) -> ClientConfig {
    let mut client = ClientConfig::new();
    client
        .set("bootstrap.servers", &kafka.brokers)
        .set("client.id", format!("genflow-{name}"))
        .set("reconnect.backoff.max.ms", "1000")
        .set("socket.keepalive.enable", "true");
    for (option, value) in &kafka.options {
        client.set(option, value);
    }
    client
}

/// What clients have in common that read a topic to its end and commit nothing.
fn reader(kafka: &config::Kafka, name: &str) -> ClientConfig {
    let mut client = client(kafka, name);
    // No group is joined; librdkafka wants a name all the same.
    client
        .set("group.id", format!("genflow-{name}"))
        .set("enable.auto.commit", "false")
        .set("enable.auto.offset.store", "false")
        .set("enable.partition.eof", "true")
        .set("fetch.wait.max.ms", "100")
        .set("allow.auto.create.topics", "false")
        .set("auto.offset.reset", "earliest");
    client
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_short_and_plain_trace_context_goes_along() {
        let of = |value: &str| {
            let record = Record {
                position: RecordPosition {
                    topic: "t".to_owned(),
                    partition: 0,
                    offset: 0,
                },
                key: None,
                value: None,
                headers: vec![("traceparent".to_owned(), Some(value.as_bytes().to_vec()))],
                timestamp: None,
            };
            record.traceparent().map(str::to_owned)
        };
        let good = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
        assert_eq!(of(good).as_deref(), Some(good));
        assert_eq!(of(&"0".repeat(257)), None);
        assert_eq!(of("00-\n"), None);
        assert_eq!(of("00-é"), None);
    }
}
