//! Helpers that the workflows share: activity options, retries of activities, the clock.

#![deny(clippy::disallowed_methods)]

use std::time::Duration;

use temporalio_common::error::{ApplicationFailure, IncomingError, RetryState, TimeoutType};
use temporalio_common::{ActivityDefinition, RetryPolicy};
use temporalio_sdk::{
    ActivityCancellationType, ActivityExecutionError, ActivityOptions, TimerOptions,
    WorkflowCancellationToken, WorkflowContext,
};

use crate::contract::activities::EXPIRED;
use crate::contract::run::{AttemptRecord, Backoff, Steps};
use crate::domain::time::since_epoch;
use crate::domain::{ErrorCode, EventError, Outcome};

/// The failure type of a run that ended by itself: the sweep recognises it.
pub(crate) const FAILED: &str = "genflow.Failed";
/// Start-to-close time-out of `finish`; the sum of its bounded steps is well below (contract, rule 7).
pub(crate) const FINISH_TRY: Duration = Duration::from_secs(420);
/// Start-to-close time-out of reading a history.
pub(crate) const READ_TRY: Duration = Duration::from_secs(60);
/// Pause before an activity that has failed for good is scheduled again.
pub(crate) const AGAIN: Duration = Duration::from_secs(5);
/// Heartbeat time-out of the activities of [`detached`], whose workflows have no setting for it.
const HEARTBEAT: Duration = Duration::from_secs(10);
/// The longest pause between the attempts of such an activity.
const LONGEST_PAUSE: Duration = Duration::from_secs(60);

/// Returns the options of an activity that `scope` cancels; its real end is then awaited (contract, rule 6).
pub(crate) fn options(
    steps: &Steps,
    backoff: Backoff,
    scope: WorkflowCancellationToken,
    try_for: Duration,
) -> ActivityOptions {
    ActivityOptions::with_start_to_close_timeout(try_for)
        .heartbeat_timeout(Duration::from_millis(steps.heartbeat_ms))
        .cancellation_type(ActivityCancellationType::WaitCancellationCompleted)
        .cancellation_token(scope)
        .retry_policy(doubling(
            Duration::from_millis(backoff.first_ms),
            Duration::from_millis(backoff.most_ms.max(backoff.first_ms)),
        ))
        .build()
}

/// Returns the options of an activity that no cancel reaches, so it runs to its real end; without an attempt limit.
pub(crate) fn detached(try_for: Duration) -> ActivityOptions {
    ActivityOptions::with_start_to_close_timeout(try_for)
        .cancellation_token(WorkflowCancellationToken::new())
        .heartbeat_timeout(HEARTBEAT)
        .retry_policy(doubling(Duration::from_secs(1), LONGEST_PAUSE))
        .build()
}

fn doubling(first: Duration, most: Duration) -> RetryPolicy {
    RetryPolicy::builder()
        .initial_interval(first)
        .backoff_coefficient(2.0)
        .maximum_interval(most)
        .build()
}

/// Returns how an activity ended, if this build can read its result.
///
/// Otherwise it fails the workflow task, not the run: the server offers the task again until it reaches a worker whose
/// build can read the result (contract, promise 3 (h)).
pub(crate) async fn readable<W: 'static, T>(
    ctx: &WorkflowContext<W>,
    ended: Result<T, ActivityExecutionError>,
) -> Result<T, ActivityExecutionError> {
    if let Err(ActivityExecutionError::Serialization(error)) = &ended {
        ctx.force_task_fail(format!(
            "this build cannot read the result of an activity ({error}); \
             run a worker of the build that wrote it, or of a later one"
        ));
        std::future::pending().await
    }
    ended
}

/// Executes an activity, and again if it ever fails for good. No cancel reaches the pause in between.
pub(crate) async fn done<W, A>(
    ctx: &WorkflowContext<W>,
    activity: impl Fn() -> A,
    input: A::Input,
    options: impl Fn() -> ActivityOptions,
) -> A::Output
where
    W: 'static,
    A: ActivityDefinition,
    A::Input: Clone,
{
    loop {
        let doing = ctx.execute_activity(activity(), input.clone(), options());
        if let Ok(output) = readable(ctx, doing.await).await {
            return output;
        }
        ctx.timer(uncancelled(AGAIN)).await;
    }
}

/// Returns a timer that no cancel reaches.
pub(crate) fn uncancelled(span: Duration) -> TimerOptions {
    TimerOptions::builder(span)
        .cancellation_token(WorkflowCancellationToken::new())
        .build()
}

/// Returns the last attempt record of a `submit` that ended without a result, if the error carries one.
pub(crate) fn last_record(error: &ActivityExecutionError) -> Option<AttemptRecord> {
    let cancelled = || error.as_cancelled()?.details().ok().flatten();
    let timed_out = || error.as_timeout()?.last_heartbeat_details().ok().flatten();
    let failed = || application(error)?.details().ok().flatten();
    cancelled().or_else(timed_out).or_else(failed)
}

/// Returns whether the deadline ended an activity: it failed as expired, no worker took it in time, or no time was left
/// for another attempt.
pub(crate) fn is_expired(error: &ActivityExecutionError) -> bool {
    let ActivityExecutionError::Failed(failed) = error else {
        return false;
    };
    let says_so = application(error).and_then(ApplicationFailure::type_name) == Some(EXPIRED);
    let is_late = |kind| {
        matches!(
            kind,
            TimeoutType::ScheduleToStart | TimeoutType::ScheduleToClose
        )
    };
    says_so
        || failed
            .as_timeout()
            .is_some_and(|it| is_late(it.timeout_type()))
        || failed.retry_state() == RetryState::Timeout
}

fn application(error: &ActivityExecutionError) -> Option<&ApplicationFailure> {
    let IncomingError::Application(failure) = error.reason()? else {
        return None;
    };
    Some(failure)
}

pub(crate) fn failed(code: ErrorCode, message: &str, retryable: bool) -> Outcome {
    Outcome::Failed(EventError::new(code, message, retryable))
}

pub(crate) fn now<W: 'static>(ctx: &WorkflowContext<W>) -> i64 {
    ctx.workflow_time().map(since_epoch).unwrap_or_default()
}
