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
