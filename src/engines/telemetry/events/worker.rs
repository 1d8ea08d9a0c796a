//! How full a worker is: slots and memory.

use metrics::gauge;
use tracing::warn;

use crate::engines::telemetry::metrics as catalogue;

/// A worker began an activity.
#[derive(Debug)]
pub struct SlotTaken {
    /// `main`, `fetch`, `submit` or `notify`.
    pub queue: &'static str,
}

/// An activity of a worker is over, or was given back.
#[derive(Debug)]
pub struct SlotFreed {
    /// `main`, `fetch`, `submit` or `notify`.
    pub queue: &'static str,
}

/// A worker looked how much memory is in use.
#[derive(Debug)]
pub struct MemoryMeasured {
    /// By its process, in bytes.
    pub process: u64,
    /// By its container, or by its machine.
    pub measured: u64,
}

/// The memory limit of a worker holds back new work from the start, or never will.
#[derive(Debug)]
pub struct MemoryLimitOutOfReach {
    /// The limit, in bytes.
    pub limit: u64,
    /// In use already.
    pub used: u64,
    /// All there is.
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
    /// Shows it.
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
            "MEMORY_LIMIT_BYTES is below what is in use already, or above all there is"
        );
    }
}
