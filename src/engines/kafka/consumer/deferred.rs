//! Reads deferred records again, with a second reader of the topic that joins no group and commits no offsets.
//!
//! It reads one partition at a time, starting at its first deferred offset. It is created when the first record is
//! deferred, and polled only while there is room for its records, so it takes little memory.

use std::sync::Arc;

use rdkafka::consumer::{Consumer as _, StreamConsumer};
use rdkafka::error::KafkaError;
use rdkafka::{Offset, TopicPartitionList};

use super::schedule::{Read, Schedule};
use super::{Options, detach};
use crate::engines::config;
use crate::engines::kafka::Record;
use crate::engines::kafka::consumer::bytes_held::HeldRecord;

/// The longest run of records that the reader skips by reading them; for a longer one it seeks.
const SKIPPED: i64 = 1000;

pub(super) struct DeferredReader {
    kafka: config::Kafka,
    options: Options,
    consumer: Option<Arc<StreamConsumer>>,
    at: Option<At>,
}

/// The reader's position.
#[derive(Clone, Copy, Debug)]
struct At {
    partition: i32,
    /// The offset after the last one read since the reader's last seek.
    next: i64,
}

/// What the reader found when it read a record.
#[derive(Debug, Default)]
pub(super) struct Found {
    /// Number of deferred records before this one that are no longer on the topic.
    pub(super) gone: usize,
    /// The partition and the offset that may now be committed, if that rose.
    pub(super) reached: Option<(i32, i64)>,
}

impl DeferredReader {
    pub(super) fn new(kafka: config::Kafka, options: Options) -> Self {
        Self {
            kafka,
            options,
            consumer: None,
            at: None,
        }
    }

    /// Points the reader at the next deferred record; returns the reader if there is one to read and room for it.
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

    /// Passes a record that was read to the schedule. Deferred offsets that the reader passed without meeting their
    /// records are gone from the topic.
    pub(super) fn take(&mut self, schedule: &mut Schedule<HeldRecord>, taken: HeldRecord) -> Found {
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

    /// Returns the reader, so that the caller can close it.
    pub(super) fn into_consumer(self) -> Option<Arc<StreamConsumer>> {
        self.consumer
    }

    fn consumer(&mut self) -> Result<Arc<StreamConsumer>, KafkaError> {
        if let Some(consumer) = &self.consumer {
            return Ok(consumer.clone());
        }
        let consumer: StreamConsumer =
            crate::engines::kafka::reader(&self.kafka, self.options.role)
                // With the group's own id, ACLs need no further permission.
                .set("group.id", &self.options.group)
                .set("enable.partition.eof", "false")
                .set("queued.max.messages.kbytes", "4096")
                .create()?;
        Ok(self.consumer.insert(Arc::new(consumer)).clone())
    }
}

/// Waits for the next record of the reader; without a reader it never returns. Cancel-safe.
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
    use crate::engines::kafka::consumer::bytes_held::BytesHeld;
    use crate::engines::kafka::consumer::key_order::Share;
    use crate::engines::kafka::consumer::record_task::Settled;

    fn record(offset: i64) -> Record {
        Record {
            key: Some(b"a".to_vec()),
            ..Record::of(offset, &[])
        }
    }

    fn take(schedule: &mut Schedule<HeldRecord>, offset: i64) {
        schedule.take(Read {
            partition: 0,
            offset,
            key: Some(b"a"),
            timestamp: None,
            bytes: 0,
            item: BytesHeld::default().take(record(offset)),
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
        let mut reread = DeferredReader::new(kafka, Options::of(0));
        reread.at = Some(At {
            partition: 0,
            next: 3,
        });
        // 1 runs, the others are deferred. The topic no longer has 4, and 1 is deferred after the reader passed it.
        let held = schedule.next().unwrap();
        schedule.finish(&held, Settled::Deferred);

        let found = reread.take(&mut schedule, BytesHeld::default().take(record(6)));

        assert_eq!((found.gone, found.reached), (1, None));
        assert_eq!(schedule.deferred(), 3, "1 comes before 6");
        assert_eq!(schedule.first_deferred(0), Some(1));
        reread.at = Some(At {
            partition: 0,
            next: 1,
        });
        reread.take(&mut schedule, BytesHeld::default().take(record(1)));
        assert_eq!(schedule.next().unwrap().item.record.position.offset, 1);
        assert_eq!(schedule.deferred(), 2);
    }
}
