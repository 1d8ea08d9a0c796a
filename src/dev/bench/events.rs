//! A reader of the events that genflow and the Python peer publish.

use std::sync::Arc;

use anyhow::{Context as _, bail};

use crate::contract::avro;
use crate::domain::{Event, EventType};
use crate::engines::config::Config;
use crate::engines::kafka::tail::{From, Next, Tail};
use crate::engines::registry::Registry;

/// A reader of events.
pub(super) struct Events {
    tail: Tail,
    registry: Arc<Registry>,
}

impl Events {
    /// Starts to read the events that are published from now on.
    pub(super) async fn open(config: &Config, registry: Arc<Registry>) -> anyhow::Result<Self> {
        let topic = &config.kafka.topics.events;
        Ok(Self {
            tail: Tail::open(&config.kafka, topic, From::End).await?,
            registry,
        })
    }

    pub(super) async fn next(&self) -> anyhow::Result<Event> {
        loop {
            if let Next::Record(record) = self.tail.next().await? {
                let value = record
                    .value
                    .as_deref()
                    .context("an event without a value")?;
                let (id, datum) = avro::unframe(value)?;
                return Ok(avro::read_event(&*self.registry.schema(id).await?, datum)?);
            }
        }
    }

    /// Reads until `number` records contain `text`, whatever their format is.
    pub(super) async fn contain(&self, text: &str, number: usize) -> anyhow::Result<()> {
        let mut left = number;
        while left > 0 {
            if let Next::Record(record) = self.tail.next().await? {
                let value = record.value.unwrap_or_default();
                let found = value
                    .windows(text.len())
                    .any(|part| part == text.as_bytes());
                left -= usize::from(found);
            }
        }
        Ok(())
    }

    /// Reads until that many events of a type have come.
    ///
    /// # Errors
    /// A request failed, or the topic cannot be read.
    pub(super) async fn reached(&self, wanted: EventType, number: usize) -> anyhow::Result<()> {
        let mut left = number;
        while left > 0 {
            let event = self.next().await?;
            left -= usize::from(event.event_type == wanted);
            if event.event_type.is_terminal() && event.event_type != EventType::Completed {
                bail!(
                    "{} ended as {:?}: {:?}",
                    event.request_id,
                    event.event_type,
                    event.error
                );
            }
        }
        Ok(())
    }
}
