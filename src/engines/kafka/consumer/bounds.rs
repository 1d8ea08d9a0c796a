//! How many records, and how many of their bytes, a consumer keeps in memory; pure.

/// Most records in memory per record that may run at once.
const TAKEN_PER_SLOT: usize = 64;
/// Most bytes of records in memory. librdkafka's fetch queue is not included.
const TAKEN_BYTES: usize = 64 * 1024 * 1024;
/// One key may have a sixteenth of both; its further records are deferred.
const KEY_SHARE: usize = 16;
/// Number of deferred records at which the partitions pause. Each takes about 100 bytes of memory.
pub(super) const MOST_DEFERRED: usize = 1_000_000;

/// How much may be in memory.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bounds {
    /// Of all records, without those that were read again.
    pub(super) taken: Amount,
    /// Of one key.
    pub(super) key: Amount,
    /// Of one partition's records that were read again.
    pub(super) read_again: Amount,
}

impl Bounds {
    pub(super) fn of(concurrency: usize) -> Self {
        let (records, bytes) = (concurrency * TAKEN_PER_SLOT, TAKEN_BYTES / KEY_SHARE);
        Self {
            taken: Amount {
                records,
                bytes: TAKEN_BYTES,
            },
            key: Amount {
                records: (records / KEY_SHARE).max(1),
                bytes,
            },
            // Each read is a call to Kafka: with a small amount, few keys would be slow.
            read_again: Amount {
                records: records / 4,
                bytes,
            },
        }
    }
}

/// A number of records, and their bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Amount {
    pub(super) records: usize,
    pub(super) bytes: usize,
}

impl Amount {
    pub(super) fn add(&mut self, bytes: usize) {
        self.records += 1;
        self.bytes += bytes;
    }

    pub(super) fn remove(&mut self, bytes: usize) {
        self.records -= 1;
        self.bytes -= bytes;
    }

    /// Returns whether the number or the bytes are at a bound.
    pub(super) fn reaches(self, bound: Self) -> bool {
        self.records >= bound.records || self.bytes >= bound.bytes
    }

    pub(super) fn doubled(self) -> Self {
        Self {
            records: self.records * 2,
            bytes: self.bytes * 2,
        }
    }
}
