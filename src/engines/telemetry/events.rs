//! Telemetry events: one function for each thing that happens, which writes its log line and changes its metrics.
//!
//! Call sites say `events::record_handled(…)`. Levels: ERROR if data is lost or a person must act; WARN for a
//! problem that the process handles; INFO for the life of the process, and once for the start and once for the end of
//! each request; DEBUG for all else, so that in normal operation nothing else is logged per record. A repeated warning is logged the first time and then at
//! powers of two; it is counted every time. Parameters of the type `&'static str` are labels, from a closed set.

mod consumer;
mod engines;
mod money;
mod notifications;

use std::error::Error;
use std::fmt::Display;
use std::io;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tracing::{debug, info, warn};

pub use self::consumer::*;
pub use self::engines::*;
pub use self::money::*;
pub use self::notifications::*;
use super::metrics as catalogue;
use crate::domain::{Action, ErrorCode, EventType, Kind, ProviderName, RecordPosition, RequestId};

/// Returns whether the `tries`-th time is logged: the first one, and then powers of two.
fn worth_a_line(tries: u32) -> bool {
    tries.is_power_of_two()
}

/// A request was decoded and validated.
pub fn request_decoded(elapsed: Duration) {
    catalogue::DECODE_SECONDS.record(elapsed, &[]);
}

/// A request's workflow was started. `elapsed`: how long Temporal took; `delay`: since the record was produced, if it has
/// a time.
pub fn request_started(
    position: &RecordPosition,
    request_id: &RequestId,
    kind: Kind,
    elapsed: Duration,
    delay: Option<Duration>,
) {
    info!(%position, %request_id, kind = kind.as_str(), ?elapsed, ?delay, "request started");
    catalogue::REQUESTS.add(1, &["started", kind.as_str()]);
    catalogue::START_SECONDS.record(elapsed, &[]);
    if let Some(delay) = delay {
        catalogue::REQUEST_START_DELAY.record(delay, &[kind.as_str()]);
    }
}

/// A request arrived whose workflow was already started.
pub fn request_repeated(position: &RecordPosition, request_id: &RequestId, kind: Kind) {
    debug!(%position, %request_id, "request repeated");
    catalogue::REQUESTS.add(1, &["duplicate", kind.as_str()]);
}

/// A command was carried out, or had nothing to do.
pub fn command_handled(position: &RecordPosition, action: Action, outcome: &'static str) {
    let action = match action {
        Action::Cancel => "CANCEL",
        Action::Retry => "RETRY",
    };
    debug!(%position, action, outcome, "command handled");
    catalogue::COMMANDS.add(1, &[action, outcome]);
}

/// Kafka acknowledged an event.
pub fn event_published(event_type: EventType) {
    let event_type = event_type.as_str();
    debug!(r#type = event_type, "event published");
    catalogue::EVENTS_PUBLISHED.add(1, &[event_type]);
}

/// The API of a provider was called. `step`: `submit`, `poll`, `cancel` or `find`; `outcome`: `ok`, or why it failed.
pub fn provider_called(
    provider: ProviderName,
    step: &'static str,
    outcome: &'static str,
    elapsed: Duration,
) {
    let provider = provider.as_str();
    debug!(provider, step, outcome, ?elapsed, "provider called");
    catalogue::PROVIDER_CALL_SECONDS.record(elapsed, &[provider, step, outcome]);
}

/// A job is in a state that this version does not know. Call it once for a job and state, not at each poll.
pub fn provider_state_unknown(provider: ProviderName, state: &str) {
    let provider = provider.as_str();
    warn!(provider, state, "provider state unknown");
    catalogue::PROVIDER_UNKNOWN_STATES.add(1, &[provider]);
}

/// A provider or model declined a run, which falls back to its next candidate.
pub fn run_declined(provider: ProviderName, code: ErrorCode) {
    let (provider, code) = (provider.as_str(), code.as_str());
    debug!(provider, code, "run declined");
    catalogue::FALLBACKS.add(1, &[provider, code]);
}

/// A callback came. `outcome`: `woken`, `signalled`, `ended`, `repeated`, `forged`, `stale`, `malformed`, `unread` or
/// `failed`.
pub fn callback_taken(provider: ProviderName, outcome: &'static str) {
    let provider = provider.as_str();
    debug!(provider, outcome, "callback taken");
    catalogue::CALLBACKS.add(1, &[provider, outcome]);
}

/// A poll found a job ended, and its provider had not called back.
pub fn callback_missed(provider: ProviderName) {
    let provider = provider.as_str();
    debug!(provider, "callback missed");
    catalogue::CALLBACKS_MISSED.add(1, &[provider]);
}

/// A run's job was sent to its provider for the first time. `waited`: since the run started.
pub fn run_began(kind: Kind, waited: Duration) {
    let kind = kind.as_str();
    debug!(kind, ?waited, "run began");
    catalogue::RUN_WAIT_SECONDS.record(waited, &[kind]);
}

/// A run has its outcome, and its last event is published. `elapsed`: since the run started; `worked`: since its job
/// was first sent to the provider, if the provider accepted it. Items are logged as DEBUG: a batch may have thousands.
pub fn run_ended(
    request_id: &str,
    is_item: bool,
    kind: Kind,
    outcome: EventType,
    code: Option<ErrorCode>,
    elapsed: Duration,
    worked: Option<Duration>,
) {
    let (kind, outcome) = (kind.as_str(), outcome.as_str());
    let code = code.map(ErrorCode::as_str);
    if is_item {
        debug!(%request_id, kind, outcome, code, ?elapsed, "item ended");
    } else {
        info!(%request_id, kind, outcome, code, ?elapsed, "request ended");
    }
    if let Some(code) = code {
        catalogue::RUNS_FAILED.add(1, &[kind, code]);
    }
    catalogue::RUN_SECONDS.record(elapsed, &[kind, outcome]);
    if let Some(worked) = worked {
        catalogue::RUN_WORK_SECONDS.record(worked, &[kind, outcome]);
    }
}

/// A workflow was closed from outside, and another one was started to end it. `timed_out`: false if it was terminated,
/// or failed without an end.
pub fn run_swept(workflow: &str, timed_out: bool) {
    let cause = if timed_out { "timed_out" } else { "terminated" };
    warn!(
        workflow,
        cause, "a workflow was closed from outside; started another to end it"
    );
    catalogue::RUNS_SWEPT.add(1, &[cause]);
}

/// A sweep has listed all closed workflows and settled each one that it found. `sweep`: `runs` or `deliveries`.
pub fn sweep_whole(sweep: &'static str, at: SystemTime) {
    let since_epoch = at.duration_since(UNIX_EPOCH).unwrap_or_default();
    catalogue::SWEEP_TIME.set(since_epoch, &[sweep]);
}

/// An output was stored.
pub fn output_stored(bytes: u64) {
    debug!(bytes, "output stored");
    catalogue::STORED_BYTES.add(bytes, &[]);
}

/// An operation on the store or the temp folder failed. `place`: `disk`, `bucket` or `temp`; `cause`: `full`,
/// `denied` and so on.
pub fn store_failed(place: &'static str, cause: &'static str, error: &io::Error) {
    let error = error as &dyn Error;
    warn!(place, cause, error, "store failed");
    catalogue::STORE_FAILURES.add(1, &[place, cause]);
}

/// Temp folders that a crash left were removed.
pub fn temp_swept(folders: usize) {
    info!(folders, "temp folders swept");
    catalogue::TEMP_FOLDERS_SWEPT.add(folders as u64, &[]);
}

/// The files of this worker reserved `bytes` more in the temp folder; below zero if they released some.
pub fn temp_reserved(bytes: f64) {
    catalogue::TEMP_BYTES.change(bytes, &[]);
}

/// The files of this worker may reserve this many bytes in the temp folder.
pub fn temp_limited(bytes: u64) {
    catalogue::TEMP_LIMIT.set(bytes as f64, &[]);
    catalogue::TEMP_BYTES.change(0.0, &[]);
}

/// A worker started an activity. `queue`: `main`, `fetch`, `submit` or `notify`.
pub fn slot_taken(queue: &'static str) {
    catalogue::SLOTS_USED.change(1.0, &[queue]);
}

/// An activity of a worker ended, or was dropped.
pub fn slot_freed(queue: &'static str) {
    catalogue::SLOTS_USED.change(-1.0, &[queue]);
}

/// A worker measured how much memory its process has, and how much its container or machine has in use, in bytes.
pub fn memory_measured(process: u64, measured: u64) {
    catalogue::PROCESS_MEMORY.set(process as f64, &[]);
    catalogue::MEASURED_MEMORY.set(measured as f64, &[]);
}

/// The memory limit of a worker stops new work from the start, or can never be reached. All in bytes.
pub fn memory_limit_out_of_reach(limit: u64, used: u64, total: u64) {
    warn!(
        limit,
        used, total, "MEMORY_LIMIT_BYTES is below the memory already in use, or above all memory"
    );
}

/// An outbound call was refused by the address rules. `caller`: `webhook`, `slack` or `download`.
pub fn call_refused(caller: &'static str, reason: &'static str) {
    debug!(caller, reason, "call refused");
    catalogue::CALLS_REFUSED.add(1, &[caller, reason]);
}

/// An operator redrove a dead letter: an audit line, logged above DEBUG on purpose. `to`: a position, or a workflow;
/// `reason`: why it was dead-lettered; `attempts`: how many times.
pub fn dead_letter_redriven(
    position: &RecordPosition,
    to: &dyn Display,
    reason: &str,
    attempts: u32,
) {
    info!(%position, %to, reason, attempts, "dead letter redriven");
}

/// A role started.
pub fn role_started(role: &'static str) {
    info!(role, "role started");
}

/// A role stopped.
pub fn role_stopped(role: &'static str) {
    info!(role, "role stopped");
}

/// A role became ready, or is no longer ready. `why`: why it is not.
pub fn readiness_changed(role: &'static str, ready: bool, why: &str) {
    if ready {
        info!(role, "role ready");
    } else {
        info!(role, why, "role not ready");
    }
    catalogue::READY.set(u8::from(ready), &[role]);
}
