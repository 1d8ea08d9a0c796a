//! Events of a worker: its slots and its memory.

use metrics::gauge;
use tracing::warn;

use crate::engines::telemetry::metrics as catalogue;

/// A worker started an activity.
#[derive(Debug)]
pub struct SlotTaken {
    /// Queue: `main`, `fetch`, `submit` or `notify`; a label.
    pub queue: &'static str,
}

/// An activity of a worker ended, or its slot was given back.
#[derive(Debug)]
pub struct SlotFreed {
    /// Queue: `main`, `fetch`, `submit` or `notify`; a label.
    pub queue: &'static str,
}

/// A worker measured how much memory is in use.
#[derive(Debug)]
pub struct MemoryMeasured {
    /// Resident memory of its process, in bytes.
    pub process: u64,
    /// Memory in use by its container, or by its machine, in bytes.
    pub measured: u64,
}

/// The memory limit of a worker stops new work from the start, or can never be reached.
#[derive(Debug)]
pub struct MemoryLimitOutOfReach {
    /// The limit, in bytes.
    pub limit: u64,
    /// Memory in use already, in bytes.
    pub used: u64,
    /// All memory that there is, in bytes.
    pub total: u64,
}

impl SlotTaken {
    /// Counts it.
    pub fn emit(self) {
        gauge!(catalogue::SLOTS_USED, "queue" => self.queue).increment(1.0);
    }
}

impl SlotFreed {
    /// Counts it.
    pub fn emit(self) {
        gauge!(catalogue::SLOTS_USED, "queue" => self.queue).decrement(1.0);
    }
}

impl MemoryMeasured {
    /// Sets the metrics.
    pub fn emit(self) {
        gauge!(catalogue::PROCESS_MEMORY).set(self.process as f64);
        gauge!(catalogue::MEASURED_MEMORY).set(self.measured as f64);
    }
}

impl MemoryLimitOutOfReach {
    /// Logs it.
    pub fn emit(self) {
        let Self { limit, used, total } = self;
        warn!(
            limit,
            used,
            total,
            "MEMORY_LIMIT_BYTES is below the memory already in use, or above all memory"
        );
    }
}
