//! A separate broker for one test, which can die and come back with its data.

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use genflow::dev::engines::{Engines, Existing};
use genflow::engines::config;
use genflow::engines::kafka::admin::wait_ready;
use rustix::process::{Pid, Signal, kill_process};

use super::engines::{Running, extra};
use super::{SOON, eventually};

/// A Kafka broker in addition to the shared engines.
pub(crate) struct Broker {
    /// `host:port`, also after a restart.
    pub(crate) address: String,
    process: Pid,
    pub(super) command: Vec<OsString>,
    folder: PathBuf,
    data: PathBuf,
    again: Option<Child>,
    /// Stops the first broker at the end of the test.
    _engines: Engines,
}

impl Broker {
    /// Starts a broker.
    pub(crate) async fn beside(engines: &Running) -> Self {
        let existing = Existing {
            kafka_brokers: None,
            ..engines.existing()
        };
        let (engines, data) = extra("broker", existing).await;
        let (process, command) = find(&data, "kafka.Kafka");
        // The broker chose a free port; after a restart it must use the same port.
        let address = engines.kafka_brokers.clone();
        let properties = PathBuf::from(command.last().unwrap());
        let text = std::fs::read_to_string(&properties).unwrap();
        let any = "listeners=PLAINTEXT://127.0.0.1:0,";
        assert!(text.contains(any), "{text}");
        let text = text.replace(any, &format!("listeners=PLAINTEXT://{address},"));
        // The controller accepts a killed broker again only after the session of the old one has expired.
        let patient = "broker.session.timeout.ms=60000";
        assert!(text.contains(patient), "{text}");
        let text = text.replace(patient, "broker.session.timeout.ms=2000");
        std::fs::write(&properties, text).unwrap();
        Self {
            address,
            process,
            command,
            folder: properties.parent().unwrap().to_owned(),
            data,
            again: None,
            _engines: engines,
        }
    }

    /// Kills the broker by SIGKILL.
    pub(crate) async fn dies(&mut self) {
        kill_process(self.process, Signal::KILL).unwrap();
        let status = format!("/proc/{}/status", self.process.as_raw_nonzero());
        eventually("the broker is gone", async || {
            let text = std::fs::read_to_string(&status).unwrap_or_default();
            let gone = text.is_empty() || text.contains("State:\tZ");
            gone.then_some(())
        })
        .await;
    }

    /// Starts the broker again, with its data and its port, and waits until it answers.
    pub(crate) async fn comes_back(&mut self, kafka: &config::Kafka) {
        let parent = std::process::id().to_string();
        let log = std::fs::File::create(self.data.join("kafka-again.log")).unwrap();
        let child = Command::new(env!("CARGO_BIN_EXE_genflow"))
            .args(["guard", "--parent", &parent, "--"])
            .args(&self.command)
            .current_dir(&self.folder)
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .unwrap();
        self.process = Pid::from_child(&child);
        self.again = Some(child);
        wait_ready(kafka, SOON).await.unwrap();
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        if let Some(mut child) = self.again.take() {
            child.kill().ok();
            child.wait().ok();
        }
        if !std::thread::panicking() {
            std::fs::remove_dir_all(&self.data).ok();
        }
    }
}

/// Finds the process with a word that ends with `program`, whose files are in `data`; also returns its command line.
pub(super) fn find(data: &Path, program: &str) -> (Pid, Vec<OsString>) {
    let mark = data.display().to_string();
    for entry in std::fs::read_dir("/proc").unwrap().flatten() {
        let Some(pid) = entry
            .file_name()
            .to_str()
            .and_then(|name| name.parse().ok())
        else {
            continue;
        };
        let line = std::fs::read(entry.path().join("cmdline")).unwrap_or_default();
        let words: Vec<_> = line
            .split(|byte| *byte == 0)
            .filter(|word| !word.is_empty())
            .map(|word| OsString::from_vec(word.to_vec()))
            .collect();
        let any =
            |test: &dyn Fn(&str) -> bool| words.iter().any(|word| word.to_str().is_some_and(test));
        if any(&|word| word.contains(&mark)) && any(&|word| word.ends_with(program)) {
            return (Pid::from_raw(pid).unwrap(), words);
        }
    }
    panic!("no {program} of {mark}");
}
