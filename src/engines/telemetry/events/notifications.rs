//! Events of notifications.

use std::error::Error;
use std::time::Duration;

use metrics::{counter, gauge, histogram};
use tracing::{debug, error, warn};

use super::{catalogue, worth_a_line};

/// A notification ended, with any outcome.
#[derive(Debug)]
pub struct NotificationEnded {
    /// `WEBHOOK`, `EMAIL` or `SLACK`; a label.
    pub channel: &'static str,
    /// `DELIVERED`, `GIVEN_UP`, `EXPIRED` or `SKIPPED`; a label.
    pub outcome: &'static str,
    /// Time since the event occurred.
    pub elapsed: Duration,
    /// Number of attempts.
    pub tries: u32,
}

/// A step of a delivery workflow did not deliver, and another one follows.
#[derive(Debug)]
pub struct NotificationRetried<'a> {
    /// `WEBHOOK`, `EMAIL` or `SLACK`; a label.
    pub channel: &'static str,
    /// Why it was not delivered; contains no address.
    pub error: &'a (dyn Error + 'static),
    /// Steps so far, from 1.
    pub tries: u32,
}

/// One attempt at a notification was made; no log line.
#[derive(Debug)]
pub struct NotificationTried {
    /// `WEBHOOK`, `EMAIL` or `SLACK`; a label.
    pub channel: &'static str,
    /// `delivered`, `refused` or `later`; a label.
    pub outcome: &'static str,
    /// How long the attempt took.
    pub elapsed: Duration,
}

/// Number of attempts in flight; no log line.
#[derive(Debug)]
pub struct TriesInFlight {
    /// Attempts at all endpoints.
    pub count: usize,
}

/// A notification was handed over to a workflow.
#[derive(Debug)]
pub struct NotificationHandedOver {
    /// `WEBHOOK`, `EMAIL` or `SLACK`; a label.
    pub channel: &'static str,
    /// `not_delivered`, `circuit_open`, `endpoint_full` or `endpoint_slow`; a label.
    pub why: &'static str,
    /// Whether the workflow is new.
    pub is_new: bool,
}

/// A delivery was closed from outside, and its content cannot be read.
#[derive(Debug)]
pub struct NotificationLost<'a> {
    /// Its workflow id, which names event, channel and target hash.
    pub workflow: &'a str,
    /// Why it cannot be read.
    pub error: &'a (dyn Error + 'static),
}

/// An attempt was made to notify the operators of failures.
#[derive(Debug)]
pub struct OpsTold<'a> {
    /// `EMAIL` or `SLACK`; a label.
    pub channel: &'static str,
    /// Number of failures in the message.
    pub failures: u64,
    /// `delivered`, `later` or `lost`; a label.
    pub outcome: &'static str,
    /// Why it was not delivered; contains no address.
    pub error: Option<&'a (dyn Error + 'static)>,
}

/// Number of open circuits; no log line.
#[derive(Debug)]
pub struct CircuitsOpen {
    /// Circuits of origins and of targets.
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
    /// Sets the metric.
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
        error!(workflow, error, "a closed delivery is lost");
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
                failures, error, "operators were not notified of failures"
            ),
            "later" => warn!(
                channel,
                failures, error, "operators will be notified of failures later"
            ),
            _ => debug!(channel, failures, "operators were notified of failures"),
        }
        counter!(catalogue::OPS_MESSAGES, "channel" => channel, "outcome" => outcome).increment(1);
    }
}

impl CircuitsOpen {
    /// Sets the metric.
    pub fn emit(self) {
        gauge!(catalogue::NOTIFICATION_CIRCUITS_OPEN).set(self.count as f64);
    }
}
