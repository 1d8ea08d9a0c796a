//! What happened: one struct an event, log line and metric together.
//!
//! Call sites say `RecordHandled { … }.emit()`. ERROR: data is lost or a person must act; WARN: odd, and we coped;
//! INFO: the life of the process; DEBUG: all else, so nothing per record above it while all is well. A warning that
//! repeats is logged the first time and then at powers of two; it is counted every time.

mod redriven;

use std::error::Error;
use std::time::Duration;

use metrics::{counter, gauge, histogram};
use tracing::{debug, info, warn};

pub use self::redriven::DeadLetterRedriven;
use super::metrics as catalogue;
use crate::domain::{Action, ErrorCode, EventType, Kind, ProviderName, RecordPosition, RequestId};

/// A request's workflow was started.
#[derive(Debug)]
pub struct RequestStarted<'a> {
    /// The request's record.
    pub position: &'a RecordPosition,
    /// The request.
    pub request_id: &'a RequestId,
}

/// A request came again whose workflow was started before.
#[derive(Debug)]
pub struct RequestRepeated<'a> {
    /// The request's record.
    pub position: &'a RecordPosition,
    /// The request.
    pub request_id: &'a RequestId,
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

/// A record that can never succeed was parked on a dead-letter topic.
#[derive(Debug)]
pub struct RecordRejected<'a> {
    /// Where it stands.
    pub position: &'a RecordPosition,
    /// As in `dlq.reason`.
    pub reason: ErrorCode,
    /// What is wrong.
    pub error: &'a (dyn Error + 'static),
}

/// The consumer met an error that it goes on after; librdkafka tries again by itself.
#[derive(Debug)]
pub struct ConsumerStumbled<'a> {
    /// The topic it reads.
    pub topic: &'a str,
    /// What librdkafka says.
    pub error: &'a (dyn Error + 'static),
    /// How often in a row.
    pub times: u32,
}

/// A record did not succeed and is held for another try.
#[derive(Debug)]
pub struct RecordHeld<'a> {
    /// Where it stands.
    pub position: &'a RecordPosition,
    /// Why it did not succeed.
    pub error: &'a (dyn Error + 'static),
    /// Tries so far, from 1.
    pub tries: u32,
}

/// A record is done: handled, known, or parked.
#[derive(Debug)]
pub struct RecordHandled<'a> {
    /// Where it came from.
    pub topic: &'a str,
    /// Since it was taken.
    pub elapsed: Duration,
}

/// How many records are taken and not done; no log line.
#[derive(Debug)]
pub struct RecordsInFlight<'a> {
    /// Where they came from.
    pub topic: &'a str,
    /// How many.
    pub count: usize,
}

/// How many records are not committed yet, over the partitions of this process; no log line.
#[derive(Debug)]
pub struct ConsumerLag<'a> {
    /// Where they stand.
    pub topic: &'a str,
    /// How many.
    pub records: u64,
}

/// How long ago the oldest record that is not done was taken; no log line.
#[derive(Debug)]
pub struct OldestUnfinished<'a> {
    /// Where it came from.
    pub topic: &'a str,
    /// Zero when there is none.
    pub age: Duration,
}

/// The group gave this process other partitions.
#[derive(Debug)]
pub struct Rebalanced<'a> {
    /// Their topic.
    pub topic: &'a str,
    /// How many it has now.
    pub partitions: usize,
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
    /// `submit`, `poll`, `cancel`, `find`, `download`; a label.
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

/// A run has its outcome, and the world was told.
#[derive(Debug)]
pub struct RunEnded<'a> {
    /// The request.
    pub request_id: &'a str,
    /// What was made.
    pub kind: Kind,
    /// The type of its last event; a label.
    pub outcome: EventType,
    /// Since the run started.
    pub elapsed: Duration,
}

/// An output was stored.
#[derive(Debug)]
pub struct OutputStored {
    /// Its length.
    pub bytes: u64,
}

/// A provider said what a generation costs.
#[derive(Debug)]
pub struct ProviderCost {
    /// Who wants to be paid.
    pub provider: ProviderName,
    /// US dollars.
    pub usd: f64,
}

/// Temp folders that a crash left were removed.
#[derive(Debug)]
pub struct TempSwept {
    /// How many.
    pub folders: usize,
}

/// A notification ended, well or not.
#[derive(Debug)]
pub struct NotificationEnded {
    /// `WEBHOOK`, `EMAIL` or `SLACK`; a label.
    pub channel: &'static str,
    /// `DELIVERED`, `GIVEN_UP`, `EXPIRED` or `SKIPPED`; a label.
    pub outcome: &'static str,
    /// Since the event occurred.
    pub elapsed: Duration,
    /// How often it was tried.
    pub tries: u32,
}

/// A notification did not succeed and will be tried again.
#[derive(Debug)]
pub struct NotificationRetried<'a> {
    /// `WEBHOOK`, `EMAIL` or `SLACK`; a label.
    pub channel: &'static str,
    /// Why it did not succeed; says no address.
    pub error: &'a (dyn Error + 'static),
    /// Tries so far, from 1.
    pub tries: u32,
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
        } = self;
        debug!(%position, %request_id, "request started");
        counter!(catalogue::REQUESTS, "outcome" => "started").increment(1);
    }
}

impl RequestRepeated<'_> {
    /// Logs and counts it.
    pub fn emit(self) {
        let Self {
            position,
            request_id,
        } = self;
        debug!(%position, %request_id, "request repeated");
        counter!(catalogue::REQUESTS, "outcome" => "duplicate").increment(1);
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

impl RecordRejected<'_> {
    /// Logs and counts it.
    pub fn emit(self) {
        let Self {
            position,
            reason,
            error,
        } = self;
        let reason = reason.as_str();
        warn!(%position, reason, error, "record rejected");
        counter!(catalogue::RECORDS_REJECTED, "topic" => position.topic.clone(), "reason" => reason).increment(1);
    }
}

impl ConsumerStumbled<'_> {
    /// Logs it.
    pub fn emit(self) {
        let Self {
            topic,
            error,
            times,
        } = self;
        if worth_a_line(times) {
            warn!(topic, times, error, "consumer stumbled");
        }
    }
}

impl RecordHeld<'_> {
    /// Logs and counts it.
    pub fn emit(self) {
        let Self {
            position,
            error,
            tries,
        } = self;
        if worth_a_line(tries) {
            warn!(%position, tries, error, "record held");
        }
        counter!(catalogue::RECORDS_RETRIED, "topic" => position.topic.clone()).increment(1);
    }
}

impl RecordHandled<'_> {
    /// Logs and counts it.
    pub fn emit(self) {
        let Self { topic, elapsed } = self;
        debug!(topic, ?elapsed, "record handled");
        histogram!(catalogue::RECORD_SECONDS, "topic" => topic.to_owned()).record(elapsed);
    }
}

impl RecordsInFlight<'_> {
    /// Shows it.
    pub fn emit(self) {
        let Self { topic, count } = self;
        gauge!(catalogue::RECORDS_IN_FLIGHT, "topic" => topic.to_owned()).set(count as f64);
    }
}

impl ConsumerLag<'_> {
    /// Shows it.
    pub fn emit(self) {
        let Self { topic, records } = self;
        gauge!(catalogue::CONSUMER_LAG, "topic" => topic.to_owned()).set(records as f64);
    }
}

impl OldestUnfinished<'_> {
    /// Shows it.
    pub fn emit(self) {
        let Self { topic, age } = self;
        gauge!(catalogue::OLDEST_UNFINISHED, "topic" => topic.to_owned()).set(age);
    }
}

impl Rebalanced<'_> {
    /// Logs and counts it.
    pub fn emit(self) {
        let Self { topic, partitions } = self;
        info!(topic, partitions, "partitions rebalanced");
        counter!(catalogue::REBALANCES, "topic" => topic.to_owned()).increment(1);
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

impl RunEnded<'_> {
    /// Logs and counts it.
    pub fn emit(self) {
        let Self {
            request_id,
            kind,
            outcome,
            elapsed,
        } = self;
        let kind = kind.as_str();
        let outcome = outcome.as_str();
        debug!(%request_id, kind, outcome, ?elapsed, "run ended");
        histogram!(catalogue::RUN_SECONDS, "kind" => kind, "outcome" => outcome).record(elapsed);
    }
}

impl OutputStored {
    /// Logs and counts it.
    pub fn emit(self) {
        let Self { bytes } = self;
        debug!(bytes, "output stored");
        counter!(catalogue::STORED_BYTES).increment(bytes);
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

impl TempSwept {
    /// Logs and counts it.
    pub fn emit(self) {
        let Self { folders } = self;
        info!(folders, "temp folders swept");
        counter!(catalogue::TEMP_FOLDERS_SWEPT).increment(folders as u64);
    }
}

impl NotificationEnded {
    /// Logs and counts it.
    pub fn emit(self) {
        let Self {
            channel,
            outcome,
            elapsed,
            tries,
        } = self;
        if outcome == "GIVEN_UP" {
            warn!(channel, outcome, ?elapsed, tries, "notification ended");
        } else {
            debug!(channel, outcome, ?elapsed, tries, "notification ended");
        }
        histogram!(catalogue::NOTIFICATION_SECONDS, "channel" => channel, "outcome" => outcome)
            .record(elapsed);
    }
}

impl NotificationRetried<'_> {
    /// Logs and counts it.
    pub fn emit(self) {
        let Self {
            channel,
            error,
            tries,
        } = self;
        if worth_a_line(tries) {
            warn!(channel, tries, error, "notification held");
        }
        counter!(catalogue::NOTIFICATION_RETRIES, "channel" => channel).increment(1);
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
