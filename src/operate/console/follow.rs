//! Reads `gen.events`, `gen.notifications` and the dead letters from the start of the console's memory on, without a group,
//! and folds each record into [`Known`].

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use apache_avro::Schema;
use tokio::time::sleep;

use super::known::Known;
use super::topic::Topic;
use crate::contract::avro::{self, RECEIPT};
use crate::contract::receipt::Receipt;
use crate::domain::Event;
use crate::domain::error_chain::causes;
use crate::engines::config::Config;
use crate::engines::kafka::Record;
use crate::engines::kafka::tail::{From, Next, Tail};
use crate::engines::registry::{self, Registry};

/// Pause before a topic that could not be read is read again, from the start.
const PAUSE: Duration = Duration::from_secs(5);

/// Why a record was not read.
#[derive(Debug, thiserror::Error)]
enum Unread {
    /// It will never be readable.
    #[error("{0}")]
    Skipped(String),
    #[error("the schema registry is unavailable")]
    Unavailable(#[source] registry::Error),
}

/// Reads a topic until the future is dropped. If it cannot be read, says so in `known`, and begins again after a pause.
pub(super) async fn follow(
    config: &Config,
    registry: &Registry,
    known: &Known,
    topic: Topic,
    since: i64,
) {
    loop {
        let error = read(config, registry, known, topic, since).await;
        let why = causes(error.as_ref());
        tracing::warn!(
            topic = topic.name(config),
            why,
            "the console cannot read a topic; it tries again"
        );
        known.reading(topic, Err(why));
        sleep(PAUSE).await;
    }
}

/// Reads a topic for as long as it can be read; returns why it cannot.
async fn read(
    config: &Config,
    registry: &Registry,
    known: &Known,
    topic: Topic,
    since: i64,
) -> anyhow::Error {
    let tail = match Tail::open(&config.kafka, topic.name(config), From::Since(since)).await {
        Ok(tail) => tail,
        Err(error) => return error.into(),
    };
    let mut behind: BTreeSet<i32> = (0..tail.partitions() as i32).collect();
    loop {
        match tail.next().await {
            Ok(Next::End(partition)) => {
                behind.remove(&partition);
                if behind.is_empty() {
                    known.reading(topic, Ok(()));
                }
            }
            Ok(Next::Record(record)) => {
                if let Err(error) = take(registry, known, topic, &record).await {
                    return error;
                }
            }
            Err(error) => return error.into(),
        }
    }
}

/// Folds a record; one that cannot be read is skipped.
async fn take(
    registry: &Registry,
    known: &Known,
    topic: Topic,
    record: &Record,
) -> anyhow::Result<()> {
    let at = (record.position.partition, record.position.offset);
    let read = match topic {
        Topic::Events => event(registry, record)
            .await
            .map(|event| known.event(&event, at)),
        Topic::Receipts => receipt(registry, record)
            .await
            .map(|it| known.receipt(&it, at)),
        Topic::Letters(topic) => {
            known.letter(topic, record.timestamp);
            Ok(())
        }
    };
    match read {
        Ok(()) => Ok(()),
        Err(Unread::Skipped(why)) => {
            tracing::debug!(position = %record.position, why, "the console skips a record");
            Ok(())
        }
        Err(error @ Unread::Unavailable(_)) => Err(error.into()),
    }
}

/// Reads the event of a record.
///
/// # Errors
/// In words: why the record cannot be read.
pub(super) async fn read_event(registry: &Registry, record: &Record) -> Result<Event, String> {
    event(registry, record)
        .await
        .map_err(|error| causes(&error))
}

/// Reads the receipt of a record.
///
/// # Errors
/// In words: why the record cannot be read.
pub(super) async fn read_receipt(registry: &Registry, record: &Record) -> Result<Receipt, String> {
    receipt(registry, record)
        .await
        .map_err(|error| causes(&error))
}

async fn event(registry: &Registry, record: &Record) -> Result<Event, Unread> {
    let (schema, datum) = opened(registry, record).await?;
    avro::read_event(&schema, datum).map_err(|error| Unread::Skipped(causes(&error)))
}

async fn receipt(registry: &Registry, record: &Record) -> Result<Receipt, Unread> {
    let (schema, datum) = opened(registry, record).await?;
    avro::read_as(&schema, datum, &RECEIPT).map_err(|error| Unread::Skipped(causes(&error)))
}

/// Returns the writer's schema and the datum of a record.
async fn opened<'r>(
    registry: &Registry,
    record: &'r Record,
) -> Result<(Arc<Schema>, &'r [u8]), Unread> {
    let value = record.value.as_deref();
    let value = value.ok_or_else(|| Unread::Skipped("it has no value".to_owned()))?;
    let (id, datum) = avro::unframe(value).map_err(|error| Unread::Skipped(causes(&error)))?;
    match registry.schema(id).await {
        Ok(schema) => Ok((schema, datum)),
        Err(error @ registry::Error::Call(_)) => Err(Unread::Unavailable(error)),
        Err(error) => Err(Unread::Skipped(causes(&error))),
    }
}
