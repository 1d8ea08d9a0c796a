//! Publishes the events that it is given, in order and unchanged (contract, section 3, rule 5), and outcomes without
//! their targets on the results topic.
//!
//! Each event is acknowledged before the next is sent. Publishing adds only headers, so all copies of an event have
//! the same value.

use std::sync::Arc;

use tracing::Instrument as _;

use crate::contract::avro;
use crate::domain::Event;
use crate::domain::time::rfc3339;
use crate::engines::config::{Kafka, Topics};
use crate::engines::kafka::Headers;
use crate::engines::kafka::producer;
use crate::engines::kafka::producer::{Message, Producer};
use crate::engines::registry::{EncodeError, Registry, subject};
use crate::engines::telemetry::{events, spans};

/// Why an event was not published.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// It could not be encoded.
    #[error("an event could not be encoded")]
    Encode(#[from] EncodeError),
    /// The broker did not acknowledge it.
    #[error(transparent)]
    Send(#[from] producer::Error),
}

/// Publishes lifecycle events.
#[derive(Clone, Debug)]
pub struct Publisher {
    producer: Arc<Producer>,
    registry: Arc<Registry>,
    topics: Topics,
    /// The CloudEvents attribute `source`.
    source: String,
}

impl Publisher {
    /// Creates a publisher for the events and results topics of `kafka`.
    pub fn new(producer: Arc<Producer>, registry: Arc<Registry>, kafka: &Kafka) -> Self {
        Self {
            producer,
            registry,
            topics: kafka.topics.clone(),
            source: kafka.event_source.clone(),
        }
    }

    /// Publishes `events` on the events topic, in order, each acknowledged before the next.
    ///
    /// # Errors
    /// The error of the first event that was not published; those before it are on the topic.
    pub async fn publish(&self, events: &[Event], traceparent: Option<&str>) -> Result<(), Error> {
        for event in events {
            self.send(&self.topics.events, &event.request_id, event, traceparent)
                .await?;
            events::event_published(event.event_type);
        }
        Ok(())
    }

    /// Publishes an outcome without its targets on the results topic, with its workflow id as the key.
    ///
    /// # Errors
    /// The outcome was not published.
    pub async fn publish_result(
        &self,
        outcome: &Event,
        traceparent: Option<&str>,
    ) -> Result<(), Error> {
        let key = outcome
            .workflow_id
            .as_deref()
            .unwrap_or(&outcome.request_id);
        self.send(&self.topics.results, key, &outcome.public(), traceparent)
            .await
    }

    async fn send(
        &self,
        topic: &str,
        key: &str,
        event: &Event,
        traceparent: Option<&str>,
    ) -> Result<(), Error> {
        let sending = async {
            let trace = spans::traceparent(traceparent);
            let sent = self.send_traced(topic, key, event, trace.as_deref()).await;
            sent.inspect_err(|_| spans::failed("not_published"))
        };
        sending.instrument(spans::publish(topic, event)).await
    }

    async fn send_traced(
        &self,
        topic: &str,
        key: &str,
        event: &Event,
        traceparent: Option<&str>,
    ) -> Result<(), Error> {
        let schema = self
            .registry
            .id_of(&subject(topic), &avro::EVENT)
            .await
            .map_err(EncodeError::from)?;
        let datum = avro::write(&avro::EVENT, event).map_err(EncodeError::from)?;
        let value = avro::frame(schema, &datum);
        let schema_url = self.registry.schema_url(schema);
        let headers = headers(event, &self.source, &schema_url, traceparent);
        let message = Message {
            topic,
            key: Some(key.as_bytes()),
            value: Some(&value),
            headers,
        };
        Ok(self.producer.send(message).await?)
    }
}

/// Returns the CloudEvents 1.0 attributes as Kafka headers (binary mode), and the trace context.
fn headers(event: &Event, source: &str, schema_url: &str, traceparent: Option<&str>) -> Headers {
    let attributes = [
        ("ce_specversion", "1.0".to_owned()),
        ("ce_id", event.event_id.clone()),
        ("ce_type", event.event_type.cloud_type()),
        ("ce_source", source.to_owned()),
        ("ce_subject", event.request_id.clone()),
        ("ce_time", rfc3339(event.occurred_at)),
        ("ce_dataschema", schema_url.to_owned()),
        ("content-type", "application/avro".to_owned()),
    ];
    let trace = traceparent.map(|text| ("traceparent", text.to_owned()));
    attributes
        .into_iter()
        .chain(trace)
        .map(|(name, text)| (name.to_owned(), Some(text.into_bytes())))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_header_of_a_version_is_gone() {
        let names = include_str!("../../tests/fixtures/names-0.1.txt");
        let released = names
            .lines()
            .filter_map(|line| line.strip_prefix("header "));
        let event = Event::for_test(0, 0);

        let schema = "http://registry/schemas/ids/1";
        let headers = headers(&event, "/genflow", schema, Some("00-a-b-01"));

        let now: Vec<_> = headers.into_iter().map(|(name, _)| name).collect();
        let released: Vec<_> = released.collect();
        assert!(released.contains(&"ce_id"));
        for name in released {
            assert!(now.iter().any(|header| header == name), "{name}");
        }
    }
}
