//! What happened to notifications.

use std::error::Error;
use std::time::Duration;

use metrics::{counter, gauge, histogram};
use tracing::{debug, error, warn};

use super::{catalogue, worth_a_line};

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

/// A notification was tried once; no log line.
#[derive(Debug)]
pub struct NotificationTried {
    /// `WEBHOOK`, `EMAIL` or `SLACK`; a label.
    pub channel: &'static str,
    /// `delivered`, `refused` or `later`; a label.
    pub outcome: &'static str,
    /// How long it took.
    pub elapsed: Duration,
}

/// How many tries are under way; no log line.
#[derive(Debug)]
pub struct TriesInFlight {
    /// At all endpoints.
    pub count: usize,
}

/// A notification is a workflow's to deliver from now on.
#[derive(Debug)]
pub struct NotificationHandedOver {
    /// `WEBHOOK`, `EMAIL` or `SLACK`; a label.
    pub channel: &'static str,
    /// `not_delivered`, `circuit_open`, `endpoint_full` or `endpoint_slow`; a label.
    pub why: &'static str,
    /// Whether it had no workflow before.
    pub is_new: bool,
}

/// A delivery, or a digest for operators, was closed from outside, and what it was to deliver cannot be read.
#[derive(Debug)]
pub struct NotificationLost<'a> {
    /// Its workflow id, which names channel and target, and of a delivery the event.
    pub workflow: &'a str,
    /// Why it cannot be read.
    pub error: &'a (dyn Error + 'static),
}

/// The operators were told of failures, or not.
#[derive(Debug)]
pub struct OpsTold<'a> {
    /// `EMAIL` or `SLACK`; a label.
    pub channel: &'static str,
    /// How many failures the message tells of.
    pub failures: u64,
    /// `delivered`, `later` or `lost`; a label.
    pub outcome: &'static str,
    /// Why it was not delivered; says no address.
    pub error: Option<&'a (dyn Error + 'static)>,
}

/// How many circuits are open; no log line.
#[derive(Debug)]
pub struct CircuitsOpen {
    /// Of origins and of targets.
    pub count: usize,
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

impl NotificationTried {
    /// Counts it.
    pub fn emit(self) {
        let Self {
            channel,
            outcome,
            elapsed,
        } = self;
        histogram!(catalogue::NOTIFICATION_TRY_SECONDS, "channel" => channel, "outcome" => outcome)
            .record(elapsed);
    }
}

impl TriesInFlight {
    /// Shows it.
    pub fn emit(self) {
        gauge!(catalogue::NOTIFICATION_TRIES_IN_FLIGHT).set(self.count as f64);
    }
}

impl NotificationHandedOver {
    /// Logs and counts it.
    pub fn emit(self) {
        let Self {
            channel,
            why,
            is_new,
        } = self;
        debug!(channel, why, is_new, "notification handed over");
        counter!(catalogue::NOTIFICATIONS_HANDED_OVER, "channel" => channel, "why" => why)
            .increment(1);
    }
}

impl NotificationLost<'_> {
    /// Logs and counts it.
    pub fn emit(self) {
        let Self { workflow, error } = self;
        error!(workflow, error, "a delivery that was closed is lost");
        counter!(catalogue::NOTIFICATIONS_LOST).increment(1);
    }
}

impl OpsTold<'_> {
    /// Logs and counts it.
    pub fn emit(self) {
        let Self {
            channel,
            failures,
            outcome,
            error,
        } = self;
        match outcome {
            "lost" => error!(
                channel,
                failures, error, "operators were not told of failures"
            ),
            "later" => warn!(
                channel,
                failures, error, "operators are told of failures later"
            ),
            _ => debug!(channel, failures, "operators were told of failures"),
        }
        counter!(catalogue::OPS_MESSAGES, "channel" => channel, "outcome" => outcome).increment(1);
    }
}

impl CircuitsOpen {
    /// Shows it.
    pub fn emit(self) {
        gauge!(catalogue::NOTIFICATION_CIRCUITS_OPEN).set(self.count as f64);
    }
}
