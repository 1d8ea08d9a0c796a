//! Measures the memory in use, and computes the share of all memory at which new work is held back.
//!
//! The SDK's tuner holds back new work above a share of the memory that it measures itself: that of the container if
//! there is one, else that of the machine. This module measures the same, to compute that share and to report the use.

use std::time::Duration;

use sysinfo::{ProcessRefreshKind, ProcessesToUpdate, System, get_current_pid};
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use crate::engines::telemetry::events;

/// Interval at which the use is reported.
const LOOK: Duration = Duration::from_secs(5);
/// The tuner gives out no slot this close below its target, as a share of all memory: its controller needs an output
/// above 0.25 at a gain of 5.
const MARGIN: f64 = 0.05;

/// Memory of the container, or of the machine if there is no container.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Memory {
    /// All memory, in bytes.
    total: u64,
    /// Bytes in use by programs, without the kernel's caches.
    used: u64,
}

impl Memory {
    /// Measures the memory; returns `None` if the system does not report it.
    pub(crate) fn measure() -> Option<Self> {
        let mut system = System::new();
        system.refresh_memory();
        let machine = Self {
            total: system.total_memory(),
            used: system.used_memory(),
        };
        if machine.total == 0 {
            return None;
        }
        let container = system.cgroup_limits().map(|limits| Self {
            total: limits.total_memory,
            used: limits.rss,
        });
        Some(container.unwrap_or(machine))
    }

    /// Returns the target at which the tuner accepts new work while less than `limit` bytes are in use.
    pub(crate) fn target(self, limit: u64) -> f64 {
        limit as f64 / self.total.max(1) as f64 + MARGIN
    }

    /// Warns if a limit holds back new work from the start, or never does.
    pub(crate) fn warn(self, limit: u64) {
        if limit <= self.used || limit > self.total {
            events::memory_limit_out_of_reach(limit, self.used, self.total);
        }
    }
}

/// Reports the memory in use until `stop`.
pub(crate) async fn watch(stop: &CancellationToken) {
    while !stop.is_cancelled() {
        if let (Some(measured), Some(process)) = (Memory::measure(), process()) {
            events::memory_measured(process, measured.used);
        }
        tokio::select! {
            () = sleep(LOOK) => {}
            () = stop.cancelled() => {}
        }
    }
}

/// Returns the resident memory of this process, in bytes.
fn process() -> Option<u64> {
    let pid = get_current_pid().ok()?;
    let mut system = System::new();
    let memory = ProcessRefreshKind::nothing().with_memory();
    system.refresh_processes_specifics(ProcessesToUpdate::Some(&[pid]), false, memory);
    Some(system.process(pid)?.memory())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_target_is_the_limits_share_of_all_memory_and_the_tuners_margin() {
        let (total, used) = (2_000_000_000, 0);

        let target = Memory { total, used }.target(500_000_000);

        assert!((target - 0.30).abs() < 1e-9, "{target}");
    }

    #[test]
    fn the_memory_of_this_machine_and_this_process_is_measured() {
        let measured = Memory::measure().unwrap();

        assert!(
            measured.used > 0 && measured.used < measured.total,
            "{measured:?}"
        );
        assert!(process().unwrap() > 1 << 20);
    }
}
