//! Points at which a test kills or stops this process; compiled in with `debug_assertions` only.
//!
//! `GENFLOW_FAILPOINT=submit.sent=kill` ends the process with SIGKILL when it gets there, `=stop` stops it with
//! SIGSTOP until somebody continues it, once. It is the one variable that `config` does not know: it is no setting.

/// Kills or stops the process if the environment says so for `name`; goes on only when it was continued.
///
/// A signal to a process reaches its threads one by one, so the one that sent it must not run on meanwhile: after a
/// stop it waits for SIGCONT, after a kill for ever.
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

/// Does nothing: this is a release build.
#[cfg(not(debug_assertions))]
pub(crate) async fn hit(_: &str) {}
