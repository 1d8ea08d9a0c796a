//! One child process: started through the guard, with its output in a file, a known end, and a bounded stop.
//!
//! The invariant: a child does not outlive genflow. A drop kills it; on Linux, if genflow is killed, the guard's
//! parent-death signal kills it.
//!
//! The kernel sends that signal when the *thread* that started the child ends, not the process. A thread of the async
//! runtime may end at any time. So each child has its own thread, which starts the child and then waits for it.

use std::ffi::OsStr;
use std::fs::File;
use std::io;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use rustix::io::Errno;
use rustix::process::{Pid, Signal, WaitId, WaitIdOptions};
use tokio::sync::{oneshot, watch};
use tokio::time::timeout;

use super::error::{Error, LogEnd};

/// The pause between two checks of an engine's log, port or answer during its start.
pub(super) const GLANCE: Duration = Duration::from_millis(25);

/// How long a process may take to end after SIGTERM.
const GRACE: Duration = Duration::from_secs(10);

/// A running child process.
#[derive(Debug)]
pub(in crate::dev) struct Process {
    name: &'static str,
    log: PathBuf,
    /// `None` once the child is reaped, because another process may have the pid by then.
    pid: Arc<Mutex<Option<Pid>>>,
    exit: watch::Receiver<Option<ExitStatus>>,
}

impl Process {
    /// Starts `command`, created by [`command()`] or [`server`], with its output in a new file `log`.
    pub(in crate::dev) async fn start(
        name: &'static str,
        mut command: Command,
        log: PathBuf,
    ) -> Result<Self, Error> {
        let output = File::create(&log).map_err(Error::io("write", &log))?;
        let errors = output.try_clone().map_err(Error::io("write", &log))?;
        // A process group of its own: Ctrl-C in the terminal reaches only genflow, which stops the roles before
        // the engines.
        command
            .stdin(Stdio::null())
            .stdout(output)
            .stderr(errors)
            .process_group(0);
        let pid = Arc::new(Mutex::new(None));
        let (ended, exit) = watch::channel(None);
        let slot = Arc::clone(&pid);
        // Created before the child, so dropping this future kills the child at any moment: if `started` is dropped
        // before the child runs, the child's thread kills it, otherwise the drop of `process` does.
        let process = Self {
            name,
            log,
            pid,
            exit,
        };
        let (start, started) = oneshot::channel();
        let keep = move || keep(command, &slot, start, &ended);
        let outcome = match std::thread::Builder::new()
            .name(format!("keep {name}"))
            .spawn(keep)
        {
            Ok(_) => started
                .await
                .unwrap_or_else(|_| Err(io::Error::other("its thread ended"))),
            Err(error) => Err(error),
        };
        outcome.map_err(|source| Error::Io {
            what: format!("cannot start {name}"),
            source,
        })?;
        Ok(process)
    }

    pub(in crate::dev) fn name(&self) -> &'static str {
        self.name
    }

    /// Returns the process id, while the process runs.
    pub(in crate::dev) fn pid(&self) -> Option<u32> {
        let pid = (*self.pid.lock())?;
        u32::try_from(pid.as_raw_nonzero().get()).ok()
    }

    pub(super) fn log(&self) -> &Path {
        &self.log
    }

    /// Returns the log as written so far.
    pub(in crate::dev) async fn output(&self) -> String {
        let bytes = tokio::fs::read(&self.log).await.unwrap_or_default();
        String::from_utf8_lossy(&bytes).into_owned()
    }

    /// Waits for the end of the process. Cancel-safe.
    pub(super) async fn ended(&self) -> ExitStatus {
        let mut exit = self.exit.clone();
        let status = exit
            .wait_for(Option::is_some)
            .await
            .ok()
            .and_then(|status| *status);
        status.unwrap_or_else(unknown)
    }

    /// Runs `ready` to its end, unless the process ends first or `limit` passes.
    pub(in crate::dev) async fn until<T>(
        &self,
        limit: Duration,
        ready: impl Future<Output = T>,
    ) -> Result<T, Error> {
        tokio::select! {
            biased;
            status = self.ended() => Err(self.exited(status)),
            outcome = timeout(limit, ready) => outcome.map_err(|_| Error::NotReady {
                engine: self.name,
                after: limit,
                log: LogEnd::of(&self.log),
            }),
        }
    }

    /// Returns the error of an engine that ended by itself.
    pub(super) fn exited(&self, status: ExitStatus) -> Error {
        Error::Exited {
            engine: self.name,
            status,
            log: LogEnd::of(&self.log),
        }
    }

    /// Sends SIGTERM, then SIGKILL if the process does not end, and returns how it ended.
    pub(in crate::dev) async fn stop(self) -> ExitStatus {
        self.signal(Signal::TERM);
        match timeout(GRACE, self.ended()).await {
            Ok(status) => status,
            Err(_) => {
                self.signal(Signal::KILL);
                self.ended().await
            }
        }
    }

    fn signal(&self, signal: Signal) {
        let pid = self.pid.lock();
        if let Some(pid) = *pid
            && let Err(error) = rustix::process::kill_process_group(pid, signal)
        {
            tracing::warn!(%error, name = self.name, "signal not delivered");
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.signal(Signal::KILL);
    }
}

/// Returns a command that becomes `program` through the guard; the caller adds arguments and the rest.
pub(in crate::dev) fn command(guard: &Path, program: impl AsRef<OsStr>) -> Command {
    let mut command = Command::new(guard);
    command
        .args(["guard", "--parent", &std::process::id().to_string(), "--"])
        .arg(program);
    command
}

/// Like [`command`], for a server: in the folder `home` and with almost none of genflow's environment.
///
/// The servers read settings from variables and from files in the working folder. Settings of the user's other servers
/// must not reach them.
pub(super) fn server(guard: &Path, program: impl AsRef<OsStr>, home: &Path) -> Command {
    let mut command = command(guard, program);
    let kept = ["PATH", "HOME", "LANG", "LC_ALL", "TZ", "LD_LIBRARY_PATH"];
    command.current_dir(home).env_clear();
    command.envs(
        kept.into_iter()
            .filter_map(|name| Some((name, std::env::var_os(name)?))),
    );
    command
}

type StartedProcess = oneshot::Sender<io::Result<()>>;

/// The child's own thread: starts the child, waits for it, and reports how it ended.
fn keep(
    mut command: Command,
    slot: &Mutex<Option<Pid>>,
    started: StartedProcess,
    ended: &watch::Sender<Option<ExitStatus>>,
) {
    let mut child = match command.spawn() {
        Ok(child) => child,
        Err(error) => {
            started.send(Err(error)).ok();
            return;
        }
    };
    let pid = Pid::from_child(&child);
    *slot.lock() = Some(pid);
    if started.send(Ok(())).is_err() {
        child.kill().ok(); // the caller no longer waits for it
    }
    // Wait without reaping, so the pid still belongs to the child while a signal is being sent.
    let unreaped = WaitIdOptions::EXITED | WaitIdOptions::NOWAIT;
    while rustix::process::waitid(WaitId::Pid(pid), unreaped)
        .is_err_and(|error| error == Errno::INTR)
    {}
    let mut slot = slot.lock();
    let status = child.wait().unwrap_or_else(|_| unknown());
    *slot = None;
    ended.send_replace(Some(status));
}

/// The status to assume when the system does not report one: a failure.
fn unknown() -> ExitStatus {
    ExitStatus::from_raw(255 << 8)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Replaces the guard, which is in the binary, by a shell that runs `script`.
    fn start_shell(script: &str) -> (Command, PathBuf) {
        let mut command = Command::new("/bin/sh");
        command.args(["-c", script]);
        (
            command,
            std::env::temp_dir().join(format!("genflow-process-{}", uuid::Uuid::new_v4())),
        )
    }

    #[tokio::test]
    async fn a_process_that_ends_is_reported_with_the_end_of_its_log() {
        let (command, log) = start_shell("echo so it goes; exit 3");

        let process = Process::start("sh", command, log.clone()).await.unwrap();
        let error = process
            .until(GRACE, std::future::pending::<()>())
            .await
            .unwrap_err();

        assert_eq!(
            error.to_string(),
            format!(
                "sh ended by itself (exit status: 3); log: {}\n  so it goes",
                log.display()
            )
        );
        std::fs::remove_file(&log).unwrap();
    }

    #[tokio::test]
    async fn a_process_that_is_asked_to_stop_is_gone_afterwards() {
        let (command, log) = start_shell("exec sleep 600");
        let process = Process::start("sh", command, log.clone()).await.unwrap();
        let exit = process.exit.clone();

        process.stop().await;

        assert_eq!(exit.borrow().unwrap().signal(), Some(15));
        std::fs::remove_file(&log).unwrap();
    }

    #[tokio::test]
    async fn a_dropped_process_is_killed() {
        let (command, log) = start_shell("exec sleep 600");
        let process = Process::start("sh", command, log.clone()).await.unwrap();
        let mut exit = process.exit.clone();

        drop(process);

        let status = exit.wait_for(Option::is_some).await.unwrap().unwrap();
        assert_eq!(status.signal(), Some(9));
        std::fs::remove_file(&log).unwrap();
    }
}
