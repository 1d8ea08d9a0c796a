//! A topic, read from outside.

use std::collections::BTreeSet;
use std::sync::Arc;

use genflow::contract::avro;
use genflow::domain::Event;
use genflow::engines::kafka::Record;
use genflow::engines::kafka::tail::{Next, Tail};
use genflow::engines::registry::Registry;

use super::{SOON, within};

/// Reads a topic.
pub(crate) struct Reader {
    tail: Tail,
    registry: Arc<Registry>,
}

impl Reader {
    pub(crate) fn of(tail: Tail, registry: Arc<Registry>) -> Self {
        Self { tail, registry }
    }

    /// Waits for the next record.
    pub(crate) async fn next(&mut self) -> Record {
        within(SOON, "a record arrives", async {
            loop {
                if let Next::Record(record) = self.tail.next().await.unwrap() {
                    return record;
                }
            }
        })
        .await
    }

    /// Waits for the next event.
    pub(crate) async fn event(&mut self) -> (Event, Record) {
        let record = self.next().await;
        (decode(&self.registry, &record).await, record)
    }

    /// Returns all records that are on the topic now.
    pub(crate) async fn all(&mut self) -> Vec<Record> {
        let mut records = Vec::new();
        let mut ended = BTreeSet::new();
        within(SOON, "the topic is read", async {
            while ended.len() < self.tail.partitions() {
                match self.tail.next().await.unwrap() {
                    Next::Record(record) => records.push(record),
                    Next::End(partition) => {
                        ended.insert(partition);
                    }
                }
            }
        })
        .await;
        records
    }
}

pub(crate) async fn decode(registry: &Registry, record: &Record) -> Event {
    let (id, datum) = avro::unframe(record.value.as_deref().unwrap()).unwrap();
    avro::read_event(&registry.schema(id).await.unwrap(), datum).unwrap()
}
