//! What happened: one struct an event, log line and metric together.
//!
//! Call sites say `RecordHandled { … }.emit()`. ERROR: data is lost or a person must act; WARN: odd, and we coped;
//! INFO: the life of the process; DEBUG: all else, so nothing per record above it while all is well. A warning that
//! repeats is logged the first time and then at powers of two; it is counted every time.

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
    /// The request's record.
    pub position: &'a RecordPosition,
    /// The request.
    pub request_id: &'a RequestId,
    /// What it asks for; a label.
    pub kind: Kind,
    /// How long Temporal took.
    pub elapsed: Duration,
}

/// A request's datum was read and held against the bounds; no log line.
#[derive(Debug)]
pub struct RequestDecoded {
    /// How long that took.
    pub elapsed: Duration,
}

/// A request came again whose workflow was started before.
#[derive(Debug)]
pub struct RequestRepeated<'a> {
    /// The request's record.
    pub position: &'a RecordPosition,
    /// The request.
    pub request_id: &'a RequestId,
    /// What it asks for; a label.
    pub kind: Kind,
}

/// A command was carried out, or found to have nothing to do.
#[derive(Debug)]
pub struct CommandHandled<'a> {
    /// The command's record.
    pub position: &'a RecordPosition,
    /// What it asked for.
    pub action: Action,
    /// What came of it; from a closed set, it is a label.
    pub outcome: &'static str,
}

/// Kafka acknowledged an event.
#[derive(Debug)]
pub struct EventPublished {
    /// Its type.
    pub kind_of_event: EventType,
}

/// An outside API was called.
#[derive(Debug)]
pub struct ProviderCalled {
    /// Which one.
    pub provider: ProviderName,
    /// `submit`, `poll`, `cancel`, `find`; a label.
    pub step: &'static str,
    /// `ok`, or why not; from a closed set, it is a label.
    pub outcome: &'static str,
    /// How long it took.
    pub elapsed: Duration,
}

/// A job is in a state that this version does not know. Emit it once a job and state, not at each look.
#[derive(Debug)]
pub struct ProviderStateUnknown<'a> {
    /// Whose job.
    pub provider: ProviderName,
    /// The provider's word; never a label.
    pub state: &'a str,
}

/// A run's job was sent to its provider for the first time.
#[derive(Debug)]
pub struct RunBegan {
    /// What is made; a label.
    pub kind: Kind,
    /// Since the run started: the time it waited for a worker, and for its turn at the provider.
    pub waited: Duration,
}

/// A run has its outcome, and the world was told.
#[derive(Debug)]
pub struct RunEnded<'a> {
    /// The request.
    pub request_id: &'a str,
    /// What was made.
    pub kind: Kind,
    /// The type of its last event; a label.
    pub outcome: EventType,
    /// Why it failed, if it did; a label.
    pub code: Option<ErrorCode>,
    /// Since the run started.
    pub elapsed: Duration,
    /// Since its job was first sent to the provider, if it was taken.
    pub worked: Option<Duration>,
}

/// A run that was closed from outside gets its outcome.
#[derive(Debug)]
pub struct RunSwept<'a> {
    /// Its workflow id.
    pub workflow: &'a str,
    /// By a time-out of the server, and not by somebody.
    pub timed_out: bool,
}

/// A sweep has looked over all closed workflows, and each that it found is settled.
#[derive(Debug)]
pub struct SweepWhole {
    /// What it looks for: `runs` or `deliveries`; a label.
    pub sweep: &'static str,
    /// When.
    pub at: SystemTime,
}

/// A provider said what a generation costs.
#[derive(Debug)]
pub struct ProviderCost {
    /// Who wants to be paid.
    pub provider: ProviderName,
    /// US dollars.
    pub usd: f64,
}

/// An address that somebody else gave was not called.
#[derive(Debug)]
pub struct CallRefused {
    /// Who would have called it: `webhook`, `slack` or `download`; a label.
    pub caller: &'static str,
    /// What about it is not allowed; a label.
    pub reason: &'static str,
}

/// A role began.
#[derive(Debug)]
pub struct RoleStarted {
    /// Which one.
    pub role: &'static str,
}

/// A role ended.
#[derive(Debug)]
pub struct RoleStopped {
    /// Which one.
    pub role: &'static str,
}

/// A role became ready, or is not ready any more.
#[derive(Debug)]
pub struct ReadinessChanged<'a> {
    /// Which one.
    pub role: &'static str,
    /// Whether it is ready now.
    pub ready: bool,
    /// Why not; empty when it is.
    pub why: &'a str,
}

/// What already happened `tries` times is worth a line the first time and then ever more seldom.
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
        let kind_of_event = self.kind_of_event.as_str();
        debug!(r#type = kind_of_event, "event published");
        counter!(catalogue::EVENTS_PUBLISHED, "type" => kind_of_event).increment(1);
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
            cause, "a run was closed from outside and is ended"
        );
        counter!(catalogue::RUNS_SWEPT, "cause" => cause).increment(1);
    }
}

impl SweepWhole {
    /// Measures it.
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
    /// Logs and shows it.
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
