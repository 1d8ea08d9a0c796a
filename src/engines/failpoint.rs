//! Points at which a test kills or stops this process; compiled in with `debug_assertions` only.
//!
//! `GENFLOW_FAILPOINT=submit.sent=kill` ends the process with SIGKILL when it gets there, `=stop` stops it with
//! SIGSTOP until somebody continues it, once; `submit.result=later` makes it a later build (see [`later`]). It is the
//! one variable that `config` does not know: it is no setting.

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

/// Serde of a number in an activity's result, for two builds of one worker: a process with the failpoint
/// `submit.result=later` writes it as a later build might, as text, and reads both. Other processes cannot read the text.
#[cfg(debug_assertions)]
pub(crate) mod later {
    use serde::de::Error as _;
    use serde::{Deserialize as _, Deserializer, Serializer};
    use serde_json::Value;

    fn is_later() -> bool {
        std::env::var("GENFLOW_FAILPOINT").is_ok_and(|asked| asked == "submit.result=later")
    }

    pub(crate) fn serialize<S: Serializer>(number: &u32, serializer: S) -> Result<S::Ok, S::Error> {
        if is_later() {
            serializer.collect_str(number)
        } else {
            serializer.serialize_u32(*number)
        }
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<u32, D::Error> {
        let value = Value::deserialize(from)?;
        match value.as_str() {
            Some(text) if is_later() => text.parse().map_err(D::Error::custom),
            Some(_) | None => u32::deserialize(value).map_err(D::Error::custom),
        }
    }
}
