//! Points at which a test kills or stops this process; compiled in with `debug_assertions` only.
//!
//! `GENFLOW_FAILPOINT=submit.sent=kill` ends the process with SIGKILL when it gets there, `=stop` stops it with
//! SIGSTOP until somebody continues it, once. It is the one variable that `config` does not know: it is no setting.

/// Kills or stops the process if the environment says so for `name`.
#[cfg(debug_assertions)]
pub(crate) fn hit(name: &str) {
    use std::sync::atomic::{AtomicBool, Ordering};

    use rustix::process::{Signal, getpid, kill_process};

    static HIT: AtomicBool = AtomicBool::new(false);

    let Ok(asked) = std::env::var("GENFLOW_FAILPOINT") else {
        return;
    };
    let signal = match asked.split_once('=') {
        Some((point, "kill")) if point == name => Signal::KILL,
        Some((point, "stop")) if point == name => Signal::STOP,
        Some(_) | None => return,
    };
    if HIT.swap(true, Ordering::Relaxed) {
        return;
    }
    tracing::warn!(name, asked, "failpoint");
    if let Err(error) = kill_process(getpid(), signal) {
        tracing::error!(%error, "the failpoint's signal was not sent");
    }
}

/// Does nothing: this is a release build.
#[cfg(not(debug_assertions))]
pub(crate) fn hit(_: &str) {}
