//! Reads deferred records again: a second reader of the topic, that joins no group and commits nothing.
//!
//! It reads one partition at a time, from its first deferred offset on, and is made when the first record is deferred.
//! It is polled only while there is room for what it reads, so it holds little memory.

use std::sync::Arc;

use rdkafka::consumer::{Consumer as _, StreamConsumer};
use rdkafka::error::KafkaError;
use rdkafka::{Offset, TopicPartitionList};

use super::schedule::{Read, Schedule};
use super::{Options, detach};
use crate::engines::config;
use crate::engines::kafka::Record;
use crate::engines::kafka::consumer::bytes_held::Taken;

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
        let consumer: StreamConsumer =
            crate::engines::kafka::reader(&self.kafka, self.options.role)
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

#[cfg(test)]
mod tests {
    use tokio_util::sync::CancellationToken;

    use super::*;
    use crate::engines::config::Config;
    use crate::engines::kafka::consumer::bytes_held::Load;
    use crate::engines::kafka::consumer::key_order::Share;
    use crate::engines::kafka::consumer::record_task::Settled;

    fn record(offset: i64) -> Record {
        Record {
            key: Some(b"a".to_vec()),
            ..Record::of(offset, &[])
        }
    }

    fn take(schedule: &mut Schedule<Taken>, offset: i64) {
        schedule.take(Read {
            partition: 0,
            offset,
            key: Some(b"a"),
            timestamp: None,
            bytes: 0,
            item: Load::default().take(record(offset)),
        });
    }

    #[test]
    fn what_the_reader_does_not_meet_is_gone_unless_it_was_deferred_after_the_reader_passed() {
        let share = Share {
            items: 1,
            bytes: 100,
        };
        let mut schedule = Schedule::new(share, share, CancellationToken::new());
        schedule.gain(0..1);
        for offset in [1, 4, 6, 8] {
            take(&mut schedule, offset);
        }
        let kafka = Config::of(&[]).unwrap().kafka;
        let mut reread = Reread::new(kafka, Options::of(0));
        reread.at = Some(At {
            partition: 0,
            next: 3,
        });
        // 1 runs, the others wait to be read again: 4 was removed from the topic, and 1 is deferred while 6 is read.
        let held = schedule.next().unwrap();
        schedule.finish(&held, Settled::Deferred);

        let found = reread.take(&mut schedule, Load::default().take(record(6)));

        assert_eq!((found.gone, found.reached), (1, None));
        assert_eq!(schedule.deferred(), 3, "1 comes before 6");
        assert_eq!(schedule.first_deferred(0), Some(1));
        reread.at = Some(At {
            partition: 0,
            next: 1,
        });
        reread.take(&mut schedule, Load::default().take(record(1)));
        assert_eq!(schedule.next().unwrap().item.record.position.offset, 1);
        assert_eq!(schedule.deferred(), 2);
    }
}
