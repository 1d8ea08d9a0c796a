//! Reads deferred records again, with a second reader of the topic that joins no group and commits no offsets.
//!
//! It reads one partition at a time, starting at its first deferred offset. It is created when the first record is
//! deferred, and polled only while there is room for its records, so it takes little memory.

use std::sync::Arc;

use rdkafka::consumer::{Consumer as _, StreamConsumer};
use rdkafka::error::KafkaError;
use rdkafka::{Offset, TopicPartitionList};

use super::ConsumerOptions;
use super::schedule::Schedule;
use crate::engines::config;
use crate::engines::kafka::connection::Connection;
use crate::engines::kafka::{Record, reader};

/// The longest run of records that the reader skips by reading them; for a longer one it seeks.
const LONGEST_SKIP: i64 = 1000;

pub(super) struct DeferredReader {
    kafka: config::Kafka,
    options: ConsumerOptions,
    connection: Connection,
    consumer: Option<Arc<StreamConsumer<Connection>>>,
    at: Option<At>,
}

/// The reader's position.
#[derive(Clone, Copy, Debug)]
struct At {
    partition: i32,
    /// The offset after the last one read since the reader's last seek.
    next: i64,
}

impl DeferredReader {
    pub(super) fn new(
        kafka: config::Kafka,
        options: ConsumerOptions,
        connection: Connection,
    ) -> Self {
        Self {
            kafka,
            options,
            connection,
            consumer: None,
            at: None,
        }
    }

    /// Points the reader at the next deferred record; returns the reader if there is one to read and room for it.
    pub(super) fn aim(
        &mut self,
        schedule: &Schedule,
    ) -> Result<Option<Arc<StreamConsumer<Connection>>>, KafkaError> {
        if schedule.deferred() == 0 {
            if let (Some(_), Some(consumer)) = (self.at.take(), &self.consumer) {
                consumer.unassign()?;
            }
            return Ok(None);
        }
        let here = self.at.and_then(|at| schedule.first_deferred(at.partition));
        if let (Some(at), Some(first)) = (self.at, here)
            && (at.next..at.next.saturating_add(LONGEST_SKIP)).contains(&first)
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

    /// Passes a record that was read to the schedule. Deferred offsets that the reader passed without meeting their
    /// records are gone from the topic. Returns the partition and the offset that may now be committed, if that rose.
    pub(super) fn take(&mut self, schedule: &mut Schedule, record: Record) -> Option<(i32, i64)> {
        let (partition, offset) = (record.position.partition, record.position.offset);
        let at = self.at.as_mut()?;
        if at.partition != partition || offset < at.next {
            return None;
        }
        let (gone, reached) = schedule.gone(partition, at.next..offset);
        at.next = offset + 1;
        if gone > 0 {
            tracing::error!(
                topic = self.options.topic,
                records = gone,
                "the topic's retention removed these records before they were handled: they are lost"
            );
        }
        schedule.resume(record);
        reached.map(|offset| (partition, offset))
    }

    /// Returns the reader, so that the caller can close it.
    pub(super) fn into_consumer(self) -> Option<Arc<StreamConsumer<Connection>>> {
        self.consumer
    }

    fn consumer(&mut self) -> Result<Arc<StreamConsumer<Connection>>, KafkaError> {
        if let Some(consumer) = &self.consumer {
            return Ok(consumer.clone());
        }
        let consumer: StreamConsumer<Connection> = reader(&self.kafka, self.options.role)
            // With the group's own id, ACLs need no further permission.
            .set("group.id", &self.options.group)
            .set("enable.partition.eof", "false")
            .set("queued.max.messages.kbytes", "4096")
            .create_with_context(self.connection.clone())?;
        Ok(self.consumer.insert(Arc::new(consumer)).clone())
    }
}

/// Waits for the next record of the reader; without a reader it never returns. Cancel-safe.
pub(super) async fn next(
    reader: Option<&StreamConsumer<Connection>>,
) -> Result<Record, KafkaError> {
    match reader {
        Some(reader) => reader.recv().await.map(|message| (&message).into()),
        None => std::future::pending().await,
    }
}

#[cfg(test)]
mod tests {
    use tokio_util::sync::CancellationToken;

    use super::*;
    use crate::engines::config::Config;
    use crate::engines::kafka::consumer::bounds::{Amount, Bounds};
    use crate::engines::kafka::consumer::record_task::Settled;

    fn record(offset: i64) -> Record {
        Record {
            key: Some(b"a".to_vec()),
            ..Record::of(offset, &[])
        }
    }

    #[test]
    fn a_record_that_the_reader_does_not_meet_is_gone_unless_it_was_deferred_later() {
        let one = Amount {
            records: 1,
            bytes: 100,
        };
        let bounds = Bounds {
            key: one,
            read_again: one,
            ..Bounds::of(1)
        };
        let mut schedule = Schedule::new(bounds, CancellationToken::new());
        schedule.gain(0..1);
        for offset in [1, 4, 6, 8] {
            schedule.take(record(offset));
        }
        let kafka = Config::of(&[]).unwrap().kafka;
        let connection = Connection::new(&kafka, "test", None);
        let mut reader = DeferredReader::new(kafka, ConsumerOptions::of(0), connection);
        reader.at = Some(At {
            partition: 0,
            next: 3,
        });
        // 1 runs, the others are deferred. The topic no longer has 4, and 1 is deferred after the reader passed it.
        let ran = schedule.next().unwrap();
        schedule.finish(&ran, Settled::Deferred);
        assert_eq!(schedule.deferred(), 4);

        assert_eq!(reader.take(&mut schedule, record(6)), None);

        assert_eq!(schedule.deferred(), 3, "4 is gone, and 1 comes before 6");
        assert_eq!(schedule.first_deferred(0), Some(1));
        reader.at = Some(At {
            partition: 0,
            next: 1,
        });
        reader.take(&mut schedule, record(1));
        assert_eq!(schedule.next().unwrap().record.position.offset, 1);
        assert_eq!(schedule.deferred(), 2);
    }
}
