//! Reads the records that a topic holds at present, all or selected ones, without a group and without commits.
//!
//! The end offsets are read once, at the start, so records that are published later are not read. Partitions are read
//! one after the other, each in its order.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use rdkafka::consumer::Consumer as _;
use rdkafka::error::{KafkaError, KafkaResult, RDKafkaErrorCode};
use rdkafka::message::Message as _;
use rdkafka::{Offset, TopicPartitionList};
use tokio::time::{Instant, timeout_at};

use super::tail::{Error, Reader, is_passing, open};
use super::{LOOKUP_TIMEOUT, Record};
use crate::engines::config;

/// Which part of a topic to read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Extent {
    All,
    /// From the first record of this time or later, in milliseconds since the epoch.
    Since(i64),
    /// Single records by partition and offset; missing ones are skipped.
    At(BTreeSet<(i32, i64)>),
    /// From each of these partitions, the first record at this offset or later.
    FirstFrom(BTreeMap<i32, i64>),
}

/// A reader of the records that a topic holds at present.
pub struct Snapshot {
    consumer: Arc<Reader>,
    brokers: String,
    topic: String,
    bounds: BTreeMap<i32, Range<i64>>,
    /// Whether each range is done after its first record.
    only_first: bool,
    todo: VecDeque<(i32, Range<i64>)>,
    current: Option<(i32, Range<i64>)>,
}

/// A broker that sends nothing for this long, while there are records to read, counts as unreachable.
const PATIENCE: Duration = Duration::from_secs(30);

impl Snapshot {
    /// Looks up the offsets to read.
    ///
    /// # Errors
    /// No broker answers, the topic does not exist, or the brokers refuse to let it be read.
    pub async fn open(kafka: &config::Kafka, topic: &str, extent: Extent) -> Result<Self, Error> {
        let name = topic.to_owned();
        let only_first = matches!(extent, Extent::FirstFrom(_));
        let look_up = move |consumer: &Reader, partitions: &[i32]| {
            let bounds = bounds(consumer, &name, partitions)?;
            let todo = spans(consumer, &name, &bounds, extent)?;
            Ok((bounds, todo))
        };
        let (consumer, (bounds, todo)) = open(kafka, "snapshot", topic, look_up).await?;
        Ok(Self {
            consumer,
            brokers: kafka.brokers.clone(),
            topic: topic.to_owned(),
            bounds,
            only_first,
            todo,
            current: None,
        })
    }

    /// Returns the range of offsets that each partition holds, whether or not they are to be read.
    pub fn bounds(&self) -> &BTreeMap<i32, Range<i64>> {
        &self.bounds
    }

    /// Returns the next record, `None` after the last. Cancel-safe.
    ///
    /// # Errors
    /// Reading failed for good, or no record came for 30 seconds.
    pub async fn next(&mut self) -> Result<Option<Record>, Error> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let Some((partition, range)) = self.current.clone() else {
                let Some((partition, range)) = self.todo.pop_front() else {
                    return Ok(None);
                };
                self.assign(partition, range.start)?;
                self.current = Some((partition, range));
                continue;
            };
            let Ok(received) = timeout_at(deadline, self.consumer.recv()).await else {
                return Err(Error::Unreachable {
                    brokers: self.brokers.clone(),
                    source: KafkaError::MessageConsumption(RDKafkaErrorCode::OperationTimedOut),
                });
            };
            match received {
                Ok(message) => {
                    let offset = message.offset();
                    if message.partition() != partition || offset < range.start {
                        continue;
                    }
                    if self.only_first || offset + 1 >= range.end {
                        self.current = None;
                    }
                    if offset < range.end {
                        return Ok(Some((&message).into()));
                    }
                }
                Err(KafkaError::PartitionEOF(ended)) if ended == partition => self.current = None,
                Err(KafkaError::PartitionEOF(_)) => {}
                Err(source) if is_passing(&source) => {}
                Err(source) => return Err(self.broken(source)),
            }
        }
    }

    fn assign(&self, partition: i32, from: i64) -> Result<(), Error> {
        let mut list = TopicPartitionList::new();
        list.add_partition_offset(&self.topic, partition, Offset::Offset(from))
            .and_then(|()| self.consumer.assign(&list))
            .map_err(|source| self.broken(source))
    }

    fn broken(&self, source: KafkaError) -> Error {
        Error::Broken {
            topic: self.topic.clone(),
            source,
        }
    }
}

/// Looks up the range of offsets of each partition.
fn bounds(
    consumer: &Reader,
    topic: &str,
    partitions: &[i32],
) -> KafkaResult<BTreeMap<i32, Range<i64>>> {
    let mut bounds = BTreeMap::new();
    for &partition in partitions {
        let (low, high) = consumer.fetch_watermarks(topic, partition, LOOKUP_TIMEOUT)?;
        bounds.insert(partition, low..high);
    }
    Ok(bounds)
}

/// Returns the ranges of offsets to read, without empty ones.
fn spans(
    consumer: &Reader,
    topic: &str,
    bounds: &BTreeMap<i32, Range<i64>>,
    extent: Extent,
) -> KafkaResult<VecDeque<(i32, Range<i64>)>> {
    let mut spans: VecDeque<_> = match extent {
        Extent::All => bounds.clone().into_iter().collect(),
        Extent::At(positions) => runs(&positions)
            .into_iter()
            .filter_map(|(partition, run)| {
                let stored = bounds.get(&partition)?;
                Some((
                    partition,
                    run.start.max(stored.start)..run.end.min(stored.end),
                ))
            })
            .collect(),
        Extent::FirstFrom(offsets) => offsets
            .into_iter()
            .filter_map(|(partition, offset)| {
                let stored = bounds.get(&partition)?;
                Some((partition, offset.max(stored.start)..stored.end))
            })
            .collect(),
        Extent::Since(millis) => {
            let mut list = TopicPartitionList::new();
            for partition in bounds.keys() {
                list.add_partition_offset(topic, *partition, Offset::Offset(millis))?;
            }
            let found = consumer.offsets_for_times(list, LOOKUP_TIMEOUT)?;
            let mut spans = VecDeque::new();
            for (partition, stored) in bounds {
                let element = found.find_partition(topic, *partition);
                // No offset means that no record has this time or a later one.
                if let Some(Offset::Offset(first)) = element.map(|element| element.offset()) {
                    spans.push_back((*partition, first.max(stored.start)..stored.end));
                }
            }
            spans
        }
    };
    spans.retain(|(_, range)| !range.is_empty());
    Ok(spans)
}

/// Joins adjacent offsets into ranges, so that each is read with one seek.
fn runs(positions: &BTreeSet<(i32, i64)>) -> Vec<(i32, Range<i64>)> {
    let mut runs: Vec<(i32, Range<i64>)> = Vec::new();
    for &(partition, offset) in positions {
        match runs.last_mut() {
            Some((last, run)) if *last == partition && run.end == offset => run.end += 1,
            Some(_) | None => runs.push((partition, offset..offset.saturating_add(1))),
        }
    }
    runs
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn adjacent_offsets_are_read_with_one_seek() {
        let positions = BTreeSet::from([(0, 5), (0, 6), (0, 8), (1, 9), (1, 10)]);

        assert_eq!(runs(&positions), [(0, 5..7), (0, 8..9), (1, 9..11)]);
        assert_eq!(runs(&BTreeSet::new()), []);
    }
}
