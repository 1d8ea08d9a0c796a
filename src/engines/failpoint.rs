//! Points at which a test kills or stops this process. Compiled with `debug_assertions` only.
//!
//! `GENFLOW_FAILPOINT=submit.sent=kill` ends the process with SIGKILL at that point, `=stop` stops
//! it once with SIGSTOP until SIGCONT continues it. `config` does not know this variable: it is not a setting.

/// Kills or stops the process if `GENFLOW_FAILPOINT` names this point. After a stop, returns once it is continued.
///
/// The kernel delivers a signal to the threads of a process one by one, so the thread that sent it
/// must not continue: after a stop it waits for SIGCONT, after a kill forever.
#[cfg(debug_assertions)]
pub(crate) async fn hit(name: &str) {
    use std::sync::atomic::{AtomicBool, Ordering};

    use rustix::process::{Signal, getpid, kill_process};
    use tokio::signal::unix::{SignalKind, signal};

    static HIT: AtomicBool = AtomicBool::new(false);

    let Ok(asked) = std::env::var("GENFLOW_FAILPOINT") else {
        return;
    };
    let sent = match asked.split_once('=') {
        Some((point, "kill")) if point == name => Signal::KILL,
        Some((point, "stop")) if point == name => Signal::STOP,
        Some(_) | None => return,
    };
    if HIT.swap(true, Ordering::Relaxed) {
        return;
    }
    tracing::warn!(name, asked, "failpoint");
    let failed = match signal(SignalKind::from_raw(Signal::CONT.as_raw())) {
        Ok(mut continued) => match kill_process(getpid(), sent) {
            Ok(()) => {
                continued.recv().await;
                return;
            }
            Err(error) => error.to_string(),
        },
        Err(error) => error.to_string(),
    };
    tracing::error!(failed, "the failpoint's signal was not sent");
}

/// Does nothing in a release build.
#[cfg(not(debug_assertions))]
pub(crate) async fn hit(_: &str) {}
