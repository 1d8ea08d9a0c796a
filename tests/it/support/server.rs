//! A separate Temporal server for one test, which can be paused.

use std::path::PathBuf;

use genflow::dev::engines::{Engines, Existing};
use rustix::process::{Pid, Signal, kill_process};

use super::engines::{Running, extra};

/// A Temporal server in addition to the shared engines.
pub(crate) struct Server {
    /// `host:port`.
    pub(crate) address: String,
    process: Pid,
    data: PathBuf,
    /// Stops the server at the end of the test.
    _engines: Engines,
}

impl Server {
    /// Starts a server.
    pub(crate) async fn beside(engines: &Running) -> Self {
        let existing = Existing {
            temporal_host: None,
            ..engines.existing()
        };
        let (engines, data) = extra("server", existing).await;
        Self {
            address: engines.temporal_host.clone(),
            process: find(&engines.temporal_host),
            data,
            _engines: engines,
        }
    }

    /// Stops the server by SIGSTOP: connections stay open, but get no answer.
    pub(crate) fn pause(&self) {
        kill_process(self.process, Signal::STOP).unwrap();
    }

    pub(crate) fn resume(&self) {
        kill_process(self.process, Signal::CONT).unwrap();
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        kill_process(self.process, Signal::CONT).ok();
        if !std::thread::panicking() {
            std::fs::remove_dir_all(&self.data).ok();
        }
    }
}

/// Finds the server that listens at `address`.
fn find(address: &str) -> Pid {
    let (_, port) = address.rsplit_once(':').unwrap();
    for entry in std::fs::read_dir("/proc").unwrap().flatten() {
        let name = entry.file_name();
        let Some(pid) = name.to_str().and_then(|name| name.parse().ok()) else {
            continue;
        };
        let line = std::fs::read(entry.path().join("cmdline")).unwrap_or_default();
        let line = String::from_utf8_lossy(&line);
        let words: Vec<&str> = line.split('\0').collect();
        let listens = words.windows(2).any(|pair| pair == ["--port", port]);
        if listens && words[0].ends_with("temporal") {
            return Pid::from_raw(pid).unwrap();
        }
    }
    panic!("no server at {address}");
}
