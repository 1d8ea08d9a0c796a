//! Telemetry events: one struct for each, with its log line and its metrics.
//!
//! Call sites say `RecordHandled { … }.emit()`. Levels: ERROR if data is lost or a person must act; WARN for a
//! problem that the process handles; INFO for the life of the process; DEBUG for all else, so that in normal
//! operation nothing above DEBUG is logged per record. A repeated warning is logged the first time and then at
//! powers of two; it is counted every time.

mod consumer;
mod notifications;
mod redriven;
mod stored;
mod worker;

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use metrics::{counter, gauge, histogram};
use tracing::{debug, info, warn};

pub use self::consumer::*;
pub use self::notifications::*;
pub use self::redriven::DeadLetterRedriven;
pub use self::stored::{OutputStored, StoreFailed, TempSwept};
pub use self::worker::*;
use super::metrics as catalogue;
use crate::domain::{Action, ErrorCode, EventType, Kind, ProviderName, RecordPosition, RequestId};

/// A request's workflow was started.
#[derive(Debug)]
pub struct RequestStarted<'a> {
    /// Position of the request's record.
    pub position: &'a RecordPosition,
    /// Id of the request.
    pub request_id: &'a RequestId,
    /// Kind of the request; a label.
    pub kind: Kind,
    /// How long Temporal took to start the workflow.
    pub elapsed: Duration,
}

/// A request was decoded and validated; no log line.
#[derive(Debug)]
pub struct RequestDecoded {
    /// How long that took.
    pub elapsed: Duration,
}

/// A request arrived whose workflow was already started.
#[derive(Debug)]
pub struct RequestRepeated<'a> {
    /// Position of the request's record.
    pub position: &'a RecordPosition,
    /// Id of the request.
    pub request_id: &'a RequestId,
    /// Kind of the request; a label.
    pub kind: Kind,
}

/// A command was carried out, or found to have nothing to do.
#[derive(Debug)]
pub struct CommandHandled<'a> {
    /// Position of the command's record.
    pub position: &'a RecordPosition,
    /// What the command asked for; a label.
    pub action: Action,
    /// The result, from a closed set; a label.
    pub outcome: &'static str,
}

/// Kafka acknowledged an event.
#[derive(Debug)]
pub struct EventPublished {
    /// Type of the event; a label.
    pub event_type: EventType,
}

/// The API of a provider was called.
#[derive(Debug)]
pub struct ProviderCalled {
    /// The provider; a label.
    pub provider: ProviderName,
    /// `submit`, `poll`, `cancel`, `find`; a label.
    pub step: &'static str,
    /// `ok`, or why the call failed, from a closed set; a label.
    pub outcome: &'static str,
    /// How long the call took.
    pub elapsed: Duration,
}

/// A job is in a state that this version does not know. Emit it once for a job and state, not at each poll.
#[derive(Debug)]
pub struct ProviderStateUnknown<'a> {
    /// The provider of the job; a label.
    pub provider: ProviderName,
    /// The provider's name for the state; never a label.
    pub state: &'a str,
}

/// A run's job was sent to its provider for the first time.
#[derive(Debug)]
pub struct RunBegan {
    /// Kind of the request; a label.
    pub kind: Kind,
    /// Time since the run started: waiting for a worker, and for its turn at the provider.
    pub waited: Duration,
}

/// A run has its outcome, and its last event is published.
#[derive(Debug)]
pub struct RunEnded<'a> {
    /// Id of the request.
    pub request_id: &'a str,
    /// Kind of the request; a label.
    pub kind: Kind,
    /// The type of its last event; a label.
    pub outcome: EventType,
    /// Error code of a failed run; a label.
    pub code: Option<ErrorCode>,
    /// Time since the run started.
    pub elapsed: Duration,
    /// Time since its job was first sent to the provider, if the provider accepted it.
    pub worked: Option<Duration>,
}

/// A workflow was closed from outside, and another one was started to end it.
#[derive(Debug)]
pub struct RunSwept<'a> {
    /// Id of the closed workflow.
    pub workflow: &'a str,
    /// True if the server timed it out; false if it was terminated, or failed without an end.
    pub timed_out: bool,
}

/// A sweep has listed all closed workflows and settled each one that it found.
#[derive(Debug)]
pub struct SweepWhole {
    /// What it looks for: `runs` or `deliveries`; a label.
    pub sweep: &'static str,
    /// Time of the sweep.
    pub at: SystemTime,
}

/// A provider reported the price of a generation.
#[derive(Debug)]
pub struct ProviderCost {
    /// The provider; a label.
    pub provider: ProviderName,
    /// Price in US dollars.
    pub usd: f64,
}

/// An outbound call was refused by the address rules.
#[derive(Debug)]
pub struct CallRefused {
    /// The caller: `webhook`, `slack` or `download`; a label.
    pub caller: &'static str,
    /// The rule that refuses it; a label.
    pub reason: &'static str,
}

/// A role started.
#[derive(Debug)]
pub struct RoleStarted {
    /// The name of the role.
    pub role: &'static str,
}

/// A role stopped.
#[derive(Debug)]
pub struct RoleStopped {
    /// The name of the role.
    pub role: &'static str,
}

/// A role became ready, or is no longer ready.
#[derive(Debug)]
pub struct ReadinessChanged<'a> {
    /// The name of the role; a label.
    pub role: &'static str,
    /// Whether it is ready now.
    pub ready: bool,
    /// Why it is not ready; empty if it is.
    pub why: &'a str,
}

/// Returns whether the `tries`-th time is logged: the first one, and then powers of two.
fn worth_a_line(tries: u32) -> bool {
    tries.is_power_of_two()
}

impl RequestStarted<'_> {
    /// Logs and counts it.
    pub fn emit(self) {
        let Self {
            position,
            request_id,
            kind,
            elapsed,
        } = self;
        debug!(%position, %request_id, ?elapsed, "request started");
        counter!(catalogue::REQUESTS, "outcome" => "started", "kind" => kind.as_str()).increment(1);
        histogram!(catalogue::START_SECONDS).record(elapsed);
    }
}

impl RequestDecoded {
    /// Counts it.
    pub fn emit(self) {
        histogram!(catalogue::DECODE_SECONDS).record(self.elapsed);
    }
}

impl RequestRepeated<'_> {
    /// Logs and counts it.
    pub fn emit(self) {
        let Self {
            position,
            request_id,
            kind,
        } = self;
        debug!(%position, %request_id, "request repeated");
        counter!(catalogue::REQUESTS, "outcome" => "duplicate", "kind" => kind.as_str())
            .increment(1);
    }
}

impl CommandHandled<'_> {
    /// Logs and counts it.
    pub fn emit(self) {
        let Self {
            position,
            action,
            outcome,
        } = self;
        let action = match action {
            Action::Cancel => "CANCEL",
            Action::Retry => "RETRY",
        };
        debug!(%position, action, outcome, "command handled");
        counter!(catalogue::COMMANDS, "action" => action, "outcome" => outcome).increment(1);
    }
}

impl EventPublished {
    /// Logs and counts it.
    pub fn emit(self) {
        let event_type = self.event_type.as_str();
        debug!(r#type = event_type, "event published");
        counter!(catalogue::EVENTS_PUBLISHED, "type" => event_type).increment(1);
    }
}

impl ProviderCalled {
    /// Logs and counts it.
    pub fn emit(self) {
        let Self {
            provider,
            step,
            outcome,
            elapsed,
        } = self;
        let provider = provider.as_str();
        debug!(provider, step, outcome, ?elapsed, "provider called");
        let labels = [("provider", provider), ("step", step), ("outcome", outcome)];
        histogram!(catalogue::PROVIDER_CALL_SECONDS, &labels).record(elapsed);
    }
}

impl ProviderStateUnknown<'_> {
    /// Logs and counts it.
    pub fn emit(self) {
        let Self { provider, state } = self;
        let provider = provider.as_str();
        warn!(provider, state, "provider state unknown");
        counter!(catalogue::PROVIDER_UNKNOWN_STATES, "provider" => provider).increment(1);
    }
}

impl RunBegan {
    /// Logs and counts it.
    pub fn emit(self) {
        let Self { kind, waited } = self;
        let kind = kind.as_str();
        debug!(kind, ?waited, "run began");
        histogram!(catalogue::RUN_WAIT_SECONDS, "kind" => kind).record(waited);
    }
}

impl RunEnded<'_> {
    /// Logs and counts it.
    pub fn emit(self) {
        let Self {
            request_id,
            kind,
            outcome,
            code,
            elapsed,
            worked,
        } = self;
        let kind = kind.as_str();
        let outcome = outcome.as_str();
        let code = code.map(ErrorCode::as_str);
        debug!(%request_id, kind, outcome, code, ?elapsed, "run ended");
        if let Some(code) = code {
            counter!(catalogue::RUNS_FAILED, "kind" => kind, "code" => code).increment(1);
        }
        histogram!(catalogue::RUN_SECONDS, "kind" => kind, "outcome" => outcome).record(elapsed);
        if let Some(worked) = worked {
            histogram!(catalogue::RUN_WORK_SECONDS, "kind" => kind, "outcome" => outcome)
                .record(worked);
        }
    }
}

impl RunSwept<'_> {
    /// Logs and counts it.
    pub fn emit(self) {
        let Self {
            workflow,
            timed_out,
        } = self;
        let cause = if timed_out { "timed_out" } else { "terminated" };
        warn!(
            workflow,
            cause, "a workflow was closed from outside; started another to end it"
        );
        counter!(catalogue::RUNS_SWEPT, "cause" => cause).increment(1);
    }
}

impl SweepWhole {
    /// Sets the metric.
    pub fn emit(self) {
        let Self { sweep, at } = self;
        let seconds = at.duration_since(UNIX_EPOCH).unwrap_or_default();
        gauge!(catalogue::SWEEP_TIME, "sweep" => sweep).set(seconds.as_secs_f64());
    }
}

impl ProviderCost {
    /// Logs and counts it.
    pub fn emit(self) {
        let Self { provider, usd } = self;
        let provider = provider.as_str();
        debug!(provider, usd, "generation priced");
        // Counters of this library hold whole numbers only; the sum of a histogram holds cents.
        histogram!(catalogue::PROVIDER_COST, "provider" => provider).record(usd);
    }
}

impl CallRefused {
    /// Logs and counts it.
    pub fn emit(self) {
        let Self { caller, reason } = self;
        debug!(caller, reason, "call refused");
        counter!(catalogue::CALLS_REFUSED, "caller" => caller, "reason" => reason).increment(1);
    }
}

impl RoleStarted {
    /// Logs it.
    pub fn emit(self) {
        info!(role = self.role, "role started");
    }
}

impl RoleStopped {
    /// Logs it.
    pub fn emit(self) {
        info!(role = self.role, "role stopped");
    }
}

impl ReadinessChanged<'_> {
    /// Logs it and sets the metric.
    pub fn emit(self) {
        let Self { role, ready, why } = self;
        if ready {
            info!(role, "role ready");
        } else {
            info!(role, why, "role not ready");
        }
        gauge!(catalogue::READY, "role" => role).set(if ready { 1.0 } else { 0.0 });
    }
}
