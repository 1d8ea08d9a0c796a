//! What `generation.v1` and `batch.v1` have in common: options of activities, the clock, the end.

#![deny(clippy::disallowed_methods)]

use std::time::Duration;

use temporalio_common::RetryPolicy;
use temporalio_common::error::ApplicationFailure;
use temporalio_sdk::{
    ActivityCancellationType, ActivityOptions, TimerOptions, WorkflowCancellationToken,
    WorkflowContext, WorkflowTermination,
};

use crate::clock::since_epoch;
use crate::config::{Backoff, Steps};
use crate::domain::{ErrorCode, EventError, Outcome};
use crate::temporal::activities::Activities;
use crate::temporal::steps::Finish;

/// The failure type by which the sweep knows that a run ended by itself.
pub(crate) const FAILED: &str = "genflow.Failed";
/// Longest try of `finish`; its steps are bounded well below (contract, rule 7).
const FINISH_TRY: Duration = Duration::from_secs(420);
/// Pause before `finish` is scheduled again, should it ever fail.
const FINISH_AGAIN: Duration = Duration::from_secs(5);

/// Options of an activity that `scope` cancels and whose real end is then awaited (contract, rule 6).
pub(super) fn options(
    steps: &Steps,
    backoff: Backoff,
    scope: WorkflowCancellationToken,
    try_for: Duration,
) -> ActivityOptions {
    ActivityOptions::with_start_to_close_timeout(try_for)
        .heartbeat_timeout(Duration::from_millis(steps.heartbeat_ms))
        .cancellation_type(ActivityCancellationType::WaitCancellationCompleted)
        .cancellation_token(scope)
        .retry_policy(
            RetryPolicy::builder()
                .initial_interval(Duration::from_millis(backoff.first_ms))
                .backoff_coefficient(2.0)
                .maximum_interval(Duration::from_millis(backoff.most_ms.max(backoff.first_ms)))
                .build(),
        )
        .build()
}

/// Publishes the outcome: detached from cancellation, without a last attempt, again should it ever fail.
pub(super) async fn finish<W: 'static>(ctx: &WorkflowContext<W>, steps: &Steps, input: Finish) {
    loop {
        let detached = WorkflowCancellationToken::new();
        let options = options(steps, steps.backoff(), detached.clone(), FINISH_TRY);
        if ctx
            .execute_activity(Activities::finish, input.clone(), options)
            .await
            .is_ok()
        {
            return;
        }
        let pause = TimerOptions::builder(FINISH_AGAIN)
            .cancellation_token(detached)
            .build();
        ctx.timer(pause).await;
    }
}

/// Closes a run that has not completed, as its outcome says (contract, rule 7).
pub(super) fn without_result(failed: Option<&EventError>) -> WorkflowTermination {
    let Some(error) = failed else {
        return WorkflowTermination::cancelled();
    };
    let message = anyhow::anyhow!("{}: {}", error.code.as_str(), error.message);
    ApplicationFailure::builder(message)
        .type_name(FAILED.to_owned())
        .non_retryable(true)
        .build()
        .into()
}

pub(super) fn failed(code: ErrorCode, message: &str, retryable: bool) -> Outcome {
    Outcome::Failed(EventError::new(code, message, retryable))
}

pub(super) fn now<W: 'static>(ctx: &WorkflowContext<W>) -> i64 {
    ctx.workflow_time().map(since_epoch).unwrap_or_default()
}
