//! Points at which a test kills or stops this process. Compiled with `debug_assertions` only.
//!
//! `GENFLOW_FAILPOINT=submit.sent=kill` ends the process with SIGKILL at that point, `=stop` stops
//! it once with SIGSTOP until SIGCONT continues it; `submit.result=later` makes it act as a later
//! build (see [`later`]). `config` does not know this variable: it is not a setting.

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

/// Serializes a number in an activity's result, to test two builds of one worker. A process with
/// the failpoint `submit.result=later` writes it as text, as a later build might, and reads both
/// forms. Other processes cannot read the text.
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
