//! The real binary as a process: started, signalled, awaited, and ended with the test.

use std::collections::BTreeMap;
use std::fs::File;
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};

use rustix::process::{Pid, Signal, kill_process};

use super::eventually;

/// A running `genflow`.
pub(crate) struct Process {
    child: Child,
    log: PathBuf,
}

impl Process {
    /// Starts `genflow` with `arguments` and these variables only; its output goes to `log`.
    ///
    /// The process starts through the guard, so it ends with this thread even if the test is killed.
    pub(crate) fn start(
        arguments: &[&str],
        variables: &BTreeMap<String, String>,
        log: PathBuf,
    ) -> Self {
        Self::start_through(&[], arguments, variables, log)
    }

    /// Like [`Self::start`], through a command that finally becomes its last arguments, like `unshare`.
    pub(crate) fn start_through(
        through: &[&str],
        arguments: &[&str],
        variables: &BTreeMap<String, String>,
        log: PathBuf,
    ) -> Self {
        let binary = env!("CARGO_BIN_EXE_genflow");
        let out = File::create(&log).unwrap();
        let parent = std::process::id().to_string();
        let child = Command::new(binary)
            .args(["guard", "--parent", &parent, "--"])
            .args(through)
            .arg(binary)
            .args(arguments)
            .env_clear()
            .envs(variables)
            .current_dir(log.parent().unwrap())
            .stdin(Stdio::null())
            .stdout(out.try_clone().unwrap())
            .stderr(out)
            .spawn()
            .unwrap();
        Self { child, log }
    }

    pub(crate) fn signal(&self, signal: Signal) {
        kill_process(self.pid(), signal).unwrap();
    }

    pub(crate) fn pid(&self) -> Pid {
        Pid::from_child(&self.child)
    }

    /// Returns the exit status, if the process has ended.
    pub(crate) fn has_ended(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().unwrap()
    }

    /// Waits for the end of the process.
    pub(crate) async fn ended(&mut self) -> ExitStatus {
        let child = &mut self.child;
        eventually("the process ends", async || child.try_wait().unwrap()).await
    }

    /// Waits until the process is stopped by SIGSTOP, according to the kernel.
    pub(crate) async fn stopped(&self) {
        let status = format!("/proc/{}/status", self.child.id());
        eventually("the process stops", async || {
            let text = std::fs::read_to_string(&status).ok()?;
            text.lines()
                .any(|line| line.starts_with("State:") && line.contains("stopped"))
                .then_some(())
        })
        .await;
    }

    /// Sends SIGTERM, waits for the end, and returns the exit status.
    pub(crate) async fn terminate(&mut self) -> ExitStatus {
        self.signal(Signal::TERM);
        self.ended().await
    }

    pub(crate) fn output(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if self.child.kill().is_ok() {
            self.child.wait().ok();
        }
        if std::thread::panicking() {
            let output = self.output();
            let lines: Vec<_> = output.lines().collect();
            let tail = lines[lines.len().saturating_sub(40)..].join("\n");
            eprintln!("--- the end of {}\n{tail}\n---", self.log.display());
        }
    }
}
