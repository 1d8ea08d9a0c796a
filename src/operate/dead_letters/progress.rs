//! Remembers in Kafka which dead letters were sent again, over all partitions.

use std::collections::BTreeMap;
use std::ops::Range;

use super::{Done, Position};
use crate::engines::config;
use crate::engines::kafka::offsets::{Error, Offsets};

/// The dead letters of one topic that were sent again.
#[derive(Debug)]
pub struct Progress {
    offsets: Offsets,
    done: BTreeMap<i32, Done>,
}

/// Returns the group whose committed offsets remember what was sent again.
pub fn group(kafka: &config::Kafka) -> String {
    format!("{}-redrive", kafka.group)
}

impl Progress {
    /// Looks up what was sent of a dead-letter topic; `bounds` are the offsets that its partitions hold.
    ///
    /// # Errors
    /// Kafka does not answer, or denies access to the group.
    pub async fn open(
        kafka: &config::Kafka,
        topic: &str,
        bounds: &BTreeMap<i32, Range<i64>>,
    ) -> Result<Self, Error> {
        let offsets = Offsets::open(kafka, group(kafka), topic)?;
        let committed = offsets.read(bounds.keys().copied()).await?;
        let mut done = BTreeMap::new();
        for (partition, held) in bounds {
            let read = committed
                .get(partition)
                .and_then(|committed| Done::read(committed, held));
            done.insert(*partition, read.unwrap_or_default());
        }
        Ok(Self { offsets, done })
    }

    /// Returns whether a dead letter was sent.
    pub fn has(&self, position: Position) -> bool {
        let done = self.done.get(&position.partition);
        done.is_some_and(|done| done.contains(position.offset))
    }

    /// Notes that a dead letter was sent, and returns when Kafka has acknowledged the note.
    ///
    /// # Errors
    /// Kafka does not answer, or denies access to the group. A later run then sends the record again.
    pub async fn note(&mut self, position: Position) -> Result<(), Error> {
        let done = self.done.entry(position.partition).or_default();
        done.insert(position.offset);
        // Commits all partitions each time: Kafka forgets offsets that are not committed again for a long time.
        let noted = self.done.iter().filter(|(_, done)| !done.is_empty());
        let entries = noted.map(|(partition, done)| (*partition, done.short().0));
        self.offsets.commit(&entries.collect()).await
    }

    /// Returns how many sent records the memory has no room for; a later run sends them again.
    pub fn left_out(&self) -> i64 {
        self.done.values().map(|done| done.short().1).sum()
    }
}
