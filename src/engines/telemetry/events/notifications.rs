//! Events of notifications. `channel` is `WEBHOOK`, `EMAIL` or `SLACK`; no error contains an address.

use std::error::Error;
use std::time::Duration;

use tracing::{debug, error, warn};

use super::{catalogue, worth_a_line};

/// A notification ended as `DELIVERED`, `GIVEN_UP`, `EXPIRED` or `SKIPPED`. `elapsed`: since its event occurred.
pub fn notification_ended(
    channel: &'static str,
    outcome: &'static str,
    elapsed: Duration,
    tries: u32,
) {
    if outcome == "GIVEN_UP" {
        warn!(channel, outcome, ?elapsed, tries, "notification ended");
    } else {
        debug!(channel, outcome, ?elapsed, tries, "notification ended");
    }
    catalogue::NOTIFICATION_SECONDS.record(elapsed, &[channel, outcome]);
}

/// A step of a delivery workflow, the `tries`-th, did not deliver, and another one follows.
pub fn notification_retried(channel: &'static str, error: &(dyn Error + 'static), tries: u32) {
    if worth_a_line(tries) {
        warn!(channel, tries, error, "notification held");
    }
    catalogue::NOTIFICATION_RETRIES.add(1, &[channel]);
}

/// One attempt at a notification was made. `outcome`: `delivered`, `refused` or `later`.
pub fn notification_tried(channel: &'static str, outcome: &'static str, elapsed: Duration) {
    catalogue::NOTIFICATION_TRY_SECONDS.record(elapsed, &[channel, outcome]);
}

/// Number of attempts in flight, at all endpoints.
pub fn tries_in_flight(count: usize) {
    catalogue::NOTIFICATION_TRIES_IN_FLIGHT.set(count as f64, &[]);
}

/// A notification was handed over to a workflow. `why`: `not_delivered`, `circuit_open`, `endpoint_full` or
/// `endpoint_slow`; `is_new`: whether the workflow is new.
pub fn notification_handed_over(channel: &'static str, why: &'static str, is_new: bool) {
    debug!(channel, why, is_new, "notification handed over");
    catalogue::NOTIFICATIONS_HANDED_OVER.add(1, &[channel, why]);
}

/// A delivery was closed from outside, and its content cannot be read. The workflow id names event, channel and
/// target hash.
pub fn notification_lost(workflow: &str, error: &(dyn Error + 'static)) {
    error!(workflow, error, "a closed delivery is lost");
    catalogue::NOTIFICATIONS_LOST.add(1, &[]);
}

/// An attempt was made to notify the operators of this many failures. `outcome`: `delivered`, `later` or `lost`.
pub fn operators_notified(
    channel: &'static str,
    failures: u64,
    outcome: &'static str,
    error: Option<&(dyn Error + 'static)>,
) {
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
    catalogue::OPS_MESSAGES.add(1, &[channel, outcome]);
}

/// Number of open circuits, of origins and of targets.
pub fn circuits_open(count: usize) {
    catalogue::NOTIFICATION_CIRCUITS_OPEN.set(count as f64, &[]);
}
