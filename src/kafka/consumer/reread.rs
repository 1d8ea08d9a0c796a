//! Reads deferred records again: a second reader of the topic, that joins no group and commits nothing.
//!
//! It reads one partition at a time, from its first deferred offset on, and is made when the first record is deferred.
//! It is polled only while there is room for what it reads, so it holds little memory.

use std::sync::Arc;

use rdkafka::consumer::{Consumer as _, StreamConsumer};
use rdkafka::error::KafkaError;
use rdkafka::{Offset, TopicPartitionList};

use super::load::Taken;
use super::schedule::{Read, Schedule};
use super::{Options, detach};
use crate::config;
use crate::kafka::Record;

/// Records in a row that are read and passed over before the reader rather jumps.
const SKIPPED: i64 = 1000;

pub(super) struct Reread {
    kafka: config::Kafka,
    options: Options,
    consumer: Option<Arc<StreamConsumer>>,
    at: Option<At>,
}

/// How far the reader is.
#[derive(Clone, Copy, Debug)]
struct At {
    partition: i32,
    /// All before it was read since the last jump.
    next: i64,
}

/// What came of a record that was read.
#[derive(Debug, Default)]
pub(super) struct Found {
    /// Deferred records that the topic does not have any more.
    pub(super) gone: usize,
    /// The partition and the offset that may be committed, if that rose.
    pub(super) reached: Option<(i32, i64)>,
}

impl Reread {
    pub(super) fn new(kafka: config::Kafka, options: Options) -> Self {
        Self {
            kafka,
            options,
            consumer: None,
            at: None,
        }
    }

    /// Points the reader at what is to be read next; returns it while there is something.
    pub(super) fn aim<T>(
        &mut self,
        schedule: &Schedule<T>,
    ) -> Result<Option<Arc<StreamConsumer>>, KafkaError> {
        if schedule.deferred() == 0 {
            if let (Some(_), Some(consumer)) = (self.at.take(), &self.consumer) {
                consumer.unassign()?;
            }
            return Ok(None);
        }
        let here = self.at.and_then(|at| schedule.first_deferred(at.partition));
        if let (Some(at), Some(first)) = (self.at, here)
            && (at.next..at.next.saturating_add(SKIPPED)).contains(&first)
        {
            return Ok(self.consumer.clone());
        }
        let last = self.at.map(|at| at.partition);
        let jump = here.zip(last).map(|(first, partition)| (partition, first));
        let Some((partition, next)) = jump.or_else(|| schedule.next_deferred(last)) else {
            return Ok(None);
        };
        let consumer = self.consumer()?;
        let mut list = TopicPartitionList::new();
        list.add_partition_offset(&self.options.topic, partition, Offset::Offset(next))?;
        consumer.assign(&list)?;
        self.at = Some(At { partition, next });
        Ok(Some(consumer))
    }

    /// Takes up a record that was read.
    pub(super) fn take(&mut self, schedule: &mut Schedule<Taken>, taken: Taken) -> Found {
        let (partition, offset) = (
            taken.record.position.partition,
            taken.record.position.offset,
        );
        let mut found = Found::default();
        let Some(at) = &mut self.at else {
            return found;
        };
        if at.partition != partition || offset < at.next {
            return found;
        }
        let (gone, reached) = schedule.gone(partition, at.next..offset);
        found.gone = gone;
        found.reached = reached.map(|offset| (partition, offset));
        at.next = offset + 1;
        let key = taken.record.key.clone();
        schedule.resume(Read {
            partition,
            offset,
            key: key.as_deref(),
            timestamp: taken.record.timestamp,
            bytes: taken.bytes(),
            item: taken,
        });
        found
    }

    /// Returns the reader, to be closed.
    pub(super) fn into_consumer(self) -> Option<Arc<StreamConsumer>> {
        self.consumer
    }

    fn consumer(&mut self) -> Result<Arc<StreamConsumer>, KafkaError> {
        if let Some(consumer) = &self.consumer {
            return Ok(consumer.clone());
        }
        let consumer: StreamConsumer = crate::kafka::reader(&self.kafka, self.options.role)
            // It needs no permission that the group's members do not have.
            .set("group.id", &self.options.group)
            .set("enable.partition.eof", "false")
            .set("queued.max.messages.kbytes", "4096")
            .create()?;
        Ok(self.consumer.insert(Arc::new(consumer)).clone())
    }
}

/// Waits for the next record of the reader, for ever if there is none. Cancel-safe.
pub(super) async fn next(reader: Option<&StreamConsumer>) -> Result<Record, KafkaError> {
    match reader {
        Some(reader) => reader.recv().await.map(|message| detach(&message)),
        None => std::future::pending().await,
    }
}
