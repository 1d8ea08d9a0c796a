//! The standard metrics of a process, in Prometheus's text format, with the names of Prometheus's own client libraries.
//!
//! They are read when the page is asked for. Linux only: elsewhere the page does not have them.

use std::fs;
use std::sync::OnceLock;

use rustix::process::{Resource, getrlimit};

/// Name, kind and help of each.
pub(super) const PROCESS: [(&str, &str, &str); 6] = [
    (
        "process_cpu_seconds_total",
        "counter",
        "CPU time of this process, in user and system mode.",
    ),
    (
        "process_resident_memory_bytes",
        "gauge",
        "Resident memory of this process.",
    ),
    ("process_open_fds", "gauge", "Open file descriptors."),
    (
        "process_max_fds",
        "gauge",
        "Limit on open file descriptors.",
    ),
    ("process_threads", "gauge", "Threads of this process."),
    (
        "process_start_time_seconds",
        "gauge",
        "Start of this process, in seconds since the epoch.",
    ),
];

/// Appends the metrics to a page. A value that the system does not report is left out.
pub(super) fn render(page: &mut String) {
    for ((name, kind, help), value) in PROCESS.iter().zip(values()) {
        if let Some(value) = value {
            *page += &format!("\n# HELP {name} {help}\n# TYPE {name} {kind}\n{name} {value}\n");
        }
    }
}

/// Clock ticks in a second, in which the kernel reports times to programs: USER_HZ, the same on every machine.
const TICKS: f64 = 100.0;

/// Returns the values in the order of [`PROCESS`].
fn values() -> [Option<f64>; 6] {
    let read = |file| fs::read_to_string(file).unwrap_or_default();
    let (stat, status) = (read("/proc/self/stat"), read("/proc/self/status"));
    let descriptors = fs::read_dir("/proc/self/fd").ok();
    [
        cpu(&stat),
        of_status(&status, "VmRSS:").map(|kilobytes| kilobytes * 1024.0),
        // The one that reads the folder is among them.
        descriptors.map(|all| all.count().saturating_sub(1) as f64),
        getrlimit(Resource::Nofile)
            .current
            .map(|limit| limit as f64),
        of_status(&status, "Threads:"),
        started(&stat),
    ]
}

/// Returns a field of `/proc/self/stat`, numbered as in proc(5). The second one, the name, is in brackets and may hold
/// anything.
fn field(stat: &str, number: usize) -> Option<f64> {
    let (_, after_name) = stat.rsplit_once(')')?;
    let mut fields = after_name.split_whitespace();
    fields.nth(number.checked_sub(3)?)?.parse().ok()
}

fn cpu(stat: &str) -> Option<f64> {
    Some((field(stat, 14)? + field(stat, 15)?) / TICKS)
}

fn started(stat: &str) -> Option<f64> {
    Some(booted()? + field(stat, 22)? / TICKS)
}

/// Returns a number of `/proc/self/status`.
fn of_status(status: &str, name: &str) -> Option<f64> {
    let line = status.lines().find_map(|line| line.strip_prefix(name))?;
    line.split_whitespace().next()?.parse().ok()
}

/// Returns when the machine started, in seconds since the epoch.
fn booted() -> Option<f64> {
    static BOOTED: OnceLock<Option<f64>> = OnceLock::new();
    *BOOTED.get_or_init(|| {
        let stat = fs::read_to_string("/proc/stat").ok()?;
        let line = stat.lines().find_map(|line| line.strip_prefix("btime "))?;
        line.trim().parse().ok()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_with_brackets_and_spaces_hides_no_field() {
        let stat = "7 (a) b (c) S 1 2 3 4 5 6 7 8 9 10 150 50 13 14 15 16 21 18 900 4096 3 0";

        assert_eq!(cpu(stat), Some(2.0));
        assert_eq!(field(stat, 22), Some(900.0));
        assert_eq!(cpu("7 (a)"), None);
        assert_eq!(
            of_status("VmSize:\t  9 kB\nVmRSS:\t  7 kB\n", "VmRSS:"),
            Some(7.0)
        );
    }

    #[test]
    fn this_process_is_measured() {
        let since_epoch = std::time::SystemTime::now()
            .duration_since(std::time::UNIX_EPOCH)
            .unwrap()
            .as_secs_f64();

        let [cpu, resident, open, limit, threads, started] = values().map(Option::unwrap);

        assert!((0.0..86_400.0).contains(&cpu), "{cpu}");
        assert!(resident > 1e6, "{resident}");
        assert!(open >= 3.0 && limit >= open, "{open} {limit}");
        assert!(threads >= 1.0, "{threads}");
        assert!(
            (0.0..3600.0).contains(&(since_epoch - started)),
            "{started} {since_epoch}"
        );
    }
}
