//! Counts the bytes of the records in memory; pure.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::engines::kafka::Record;

/// The bytes of all records that are counted.
#[derive(Clone, Debug, Default)]
pub(super) struct BytesHeld(Arc<AtomicUsize>);

/// A record whose bytes are counted until it is dropped.
#[derive(Debug)]
pub(super) struct HeldRecord {
    pub(super) record: Record,
    bytes: usize,
    load: BytesHeld,
}

impl BytesHeld {
    /// Counts a record.
    pub(super) fn take(&self, record: Record) -> HeldRecord {
        let bytes = bytes(&record);
        self.0.fetch_add(bytes, Ordering::Relaxed);
        HeldRecord {
            record,
            bytes,
            load: self.clone(),
        }
    }

    /// Returns the bytes of all counted records.
    pub(super) fn bytes(&self) -> usize {
        self.0.load(Ordering::Relaxed)
    }
}

impl HeldRecord {
    /// Returns the bytes counted for this record.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }
}

impl Drop for HeldRecord {
    fn drop(&mut self) {
        self.load.0.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

/// Returns the length of a record's key, value and headers, without the size of the struct itself.
fn bytes(record: &Record) -> usize {
    let headers = record.headers.iter();
    let headers = headers.map(|(name, value)| name.len() + value.as_ref().map_or(0, Vec::len));
    let parts = [&record.key, &record.value].map(|part| part.as_ref().map_or(0, Vec::len));
    headers.chain(parts).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_weighs_what_it_holds_until_it_is_dropped() {
        let load = BytesHeld::default();
        let record = Record {
            key: Some(vec![0; 3]),
            value: Some(vec![0; 100]),
            headers: vec![
                ("name".to_owned(), Some(vec![0; 20])),
                ("n".to_owned(), None),
            ],
            ..Record::of(0, &[])
        };

        let (one, two) = (load.take(record.clone()), load.take(record));

        assert_eq!(load.bytes(), 256);
        drop(one);
        assert_eq!(load.bytes(), 128);
        drop(two);
        assert_eq!(load.bytes(), 0);
    }
}
