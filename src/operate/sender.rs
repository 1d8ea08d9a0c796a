//! Sends records as any producer does: in Confluent's wire format, with a key, a new trace and the API key.

use std::time::Duration;

use crate::contract::avro::{self, Ours};
use crate::contract::headers::API_KEY;
use crate::domain::Command;
use crate::engines::clock::now;
use crate::engines::config::Config;
use crate::engines::kafka::producer::{Message, Producer};
use crate::engines::kafka::{Headers, admin, new_trace};
use crate::engines::registry::{Registry, subject};

/// How long a command waits for the brokers.
const PATIENCE: Duration = Duration::from_secs(5);

/// Sends requests and commands.
pub(crate) struct RecordSender {
    producer: Producer,
    registry: Registry,
    api_key: Option<String>,
}

impl RecordSender {
    pub(crate) async fn open(config: &Config, api_key: Option<String>) -> anyhow::Result<Self> {
        // The producer alone would wait far longer before it reports that no broker answers.
        admin::wait_ready(&config.kafka, PATIENCE).await?;
        Ok(Self {
            producer: Producer::new(&config.kafka, "cli")?,
            registry: Registry::new(&config.schema_registry),
            api_key,
        })
    }

    pub(crate) async fn frame(
        &self,
        topic: &str,
        ours: &'static Ours,
        datum: &[u8],
    ) -> anyhow::Result<Vec<u8>> {
        let id = self.registry.id_of(&subject(topic), ours).await?;
        Ok(avro::frame(id, datum))
    }

    /// Sends a command.
    pub(crate) async fn command(&self, topic: &str, command: &Command) -> anyhow::Result<()> {
        let datum = avro::write_command(command, Some(now()))?;
        let value = self.frame(topic, &avro::COMMAND, &datum).await?;
        self.send(topic, command.request.as_str(), &value).await
    }

    pub(crate) async fn send(&self, topic: &str, key: &str, value: &[u8]) -> anyhow::Result<()> {
        let mut headers: Headers = vec![("traceparent".to_owned(), Some(new_trace().into()))];
        if let Some(api_key) = &self.api_key {
            headers.push((API_KEY.to_owned(), Some(api_key.clone().into_bytes())));
        }
        let message = Message {
            topic,
            key: Some(key.as_bytes()),
            value: Some(value),
            headers,
        };
        Ok(self.producer.send(message).await?)
    }
}
