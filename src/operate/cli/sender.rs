//! Sends records as any client of genflow does: in the wire format, with key, trace and API key.

use std::time::Duration;

use super::ApiKey;
use crate::contract::avro::{self, Ours};
use crate::contract::headers::API_KEY;
use crate::engines::config::Config;
use crate::engines::kafka::producer::{Message, Producer};
use crate::engines::kafka::{Headers, admin, new_trace};
use crate::engines::registry::Registry;

/// How long a command waits for the brokers.
const PATIENCE: Duration = Duration::from_secs(5);

pub(super) struct RecordSender {
    producer: Producer,
    registry: Registry,
    api_key: Option<String>,
}

impl RecordSender {
    pub(super) async fn open(config: &Config, key: &ApiKey) -> anyhow::Result<Self> {
        let api_key = key.get()?;
        // The producer alone would wait far longer before it reports that no broker answers.
        admin::wait_ready(&config.kafka, PATIENCE).await?;
        Ok(Self {
            producer: Producer::new(&config.kafka, "cli")?,
            registry: Registry::new(&config.schema_registry),
            api_key,
        })
    }

    pub(super) async fn frame(
        &self,
        topic: &str,
        ours: &Ours,
        datum: &[u8],
    ) -> anyhow::Result<Vec<u8>> {
        let id = self.registry.id_of(&format!("{topic}-value"), ours).await?;
        Ok(avro::frame(id, datum))
    }

    pub(super) async fn send(&self, topic: &str, key: &str, value: &[u8]) -> anyhow::Result<()> {
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
