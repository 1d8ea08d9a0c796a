//! Measures the memory in use, and computes the share of all memory at which new work is held back.
//!
//! The SDK's tuner holds back new work above a share of the memory that it measures itself: that of the container if
//! there is one, else that of the machine. This module measures the same, to compute that share and to report the use.

use std::path::Path;
use std::time::Duration;

use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use crate::engines::telemetry::events::{MemoryLimitOutOfReach, MemoryMeasured};

/// How often the use is reported.
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
        Self::below(Path::new("/"))
    }

    /// Measures with another root of the file system.
    fn below(root: &Path) -> Option<Self> {
        let machine = Self::machine(root)?;
        let file = |name: &str| std::fs::read_to_string(root.join(name)).ok();
        let number = |name: &str| file(name)?.trim().parse::<u64>().ok();
        let group = |current: &str, limit: Option<u64>, stat: &str, resident: &str| {
            number(current)?;
            let used = field(&file(stat)?, resident)?;
            let total = limit?.min(machine.total);
            Some(Self { total, used })
        };
        // Version 2 of control groups says "max" where there is no limit.
        let limit = number("sys/fs/cgroup/memory.max").or(Some(u64::MAX));
        let newer = group(
            "sys/fs/cgroup/memory.current",
            limit,
            "sys/fs/cgroup/memory.stat",
            "anon",
        );
        let older = || {
            group(
                "sys/fs/cgroup/memory/memory.usage_in_bytes",
                number("sys/fs/cgroup/memory/memory.limit_in_bytes"),
                "sys/fs/cgroup/memory/memory.stat",
                "total_rss",
            )
        };
        newer.or_else(older).or(Some(machine))
    }

    fn machine(root: &Path) -> Option<Self> {
        let text = std::fs::read_to_string(root.join("proc/meminfo")).ok()?;
        let kibibytes = |name| field(&text, name).map(|count| count.saturating_mul(1024));
        let total = kibibytes("MemTotal:")?;
        let used = total.saturating_sub(kibibytes("MemAvailable:")?);
        Some(Self { total, used })
    }

    /// Returns the target at which the tuner accepts new work while less than `limit` bytes are in use.
    pub(crate) fn target(self, limit: u64) -> f64 {
        limit as f64 / self.total.max(1) as f64 + MARGIN
    }

    /// Warns if a limit holds back new work from the start, or never does.
    pub(crate) fn warn(self, limit: u64) {
        if limit <= self.used || limit > self.total {
            MemoryLimitOutOfReach {
                limit,
                used: self.used,
                total: self.total,
            }
            .emit();
        }
    }
}

/// Reports the memory in use until `stop`.
pub(crate) async fn watch(stop: &CancellationToken) {
    while !stop.is_cancelled() {
        if let (Some(measured), Some(process)) = (Memory::measure(), process()) {
            MemoryMeasured {
                process,
                measured: measured.used,
            }
            .emit();
        }
        tokio::select! {
            () = sleep(LOOK) => {}
            () = stop.cancelled() => {}
        }
    }
}

/// Returns the resident memory of this process, in bytes.
fn process() -> Option<u64> {
    let text = std::fs::read_to_string("/proc/self/status").ok()?;
    Some(field(&text, "VmRSS:")?.saturating_mul(1024))
}

/// Finds the number after a name in a table of lines.
fn field(table: &str, name: &str) -> Option<u64> {
    let rest = table.lines().find_map(|line| {
        let (first, rest) = line.split_once(char::is_whitespace)?;
        (first == name).then_some(rest)
    })?;
    rest.split_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Creates a file-system root with these files.
    fn root(name: &str, files: &[(&str, &str)]) -> std::path::PathBuf {
        let root = std::env::temp_dir().join(format!("genflow-{name}-{}", std::process::id()));
        for (file, text) in files {
            let path = root.join(file);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        }
        root
    }

    const MACHINE: (&str, &str) = (
        "proc/meminfo",
        "MemTotal:       1000 kB\nMemFree: 10 kB\nMemAvailable:    400 kB\n",
    );

    #[test]
    fn a_containers_memory_goes_before_the_machines() {
        let newer = [
            MACHINE,
            ("sys/fs/cgroup/memory.current", "900\n"),
            ("sys/fs/cgroup/memory.max", "2048\n"),
            ("sys/fs/cgroup/memory.stat", "anon 512\nfile 99\n"),
        ];
        let unlimited = [
            newer[0],
            newer[1],
            ("sys/fs/cgroup/memory.max", "max\n"),
            newer[3],
        ];
        let older = [
            MACHINE,
            ("sys/fs/cgroup/memory/memory.usage_in_bytes", "900\n"),
            ("sys/fs/cgroup/memory/memory.limit_in_bytes", "4096\n"),
            ("sys/fs/cgroup/memory/memory.stat", "rss 1\ntotal_rss 77\n"),
        ];
        for (name, files, total, used) in [
            ("newer", &newer[..], 2048, 512),
            ("unlimited", &unlimited, 1_024_000, 512),
            ("older", &older, 4096, 77),
            ("machine", &[MACHINE], 1_024_000, 614_400),
        ] {
            let root = root(name, files);

            let measured = Memory::below(&root);

            std::fs::remove_dir_all(&root).unwrap();
            assert_eq!(measured, Some(Memory { total, used }), "{name}");
        }
        assert_eq!(Memory::below(Path::new("/nowhere")), None);
    }

    #[test]
    fn the_target_is_the_limits_share_of_all_memory_and_the_tuners_margin() {
        let (total, used) = (2_000_000_000, 0);

        let target = Memory { total, used }.target(500_000_000);

        assert!((target - 0.30).abs() < 1e-9, "{target}");
    }

    #[test]
    fn this_machine_and_this_process_tell_their_memory() {
        let measured = Memory::measure().unwrap();

        assert!(
            measured.used > 0 && measured.used < measured.total,
            "{measured:?}"
        );
        assert!(process().unwrap() > 1 << 20);
    }
}
