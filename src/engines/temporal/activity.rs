//! How an activity shows that it is alive, and how it ends without a result.

use std::time::Duration;

use anyhow::anyhow;
use temporalio_common::RetryPolicy;
use temporalio_common::data_converters::TemporalSerializable;
use temporalio_common::error::{ApplicationFailure, FailurePayloads};
use temporalio_sdk::activities::{ActivityContext, ActivityError};
use tokio::time::Instant;

use crate::contract::activities::EXPIRED;
use crate::domain::Priority;
use crate::domain::time::{since_epoch, span};
use crate::engines::clock::now;

/// Retry delay of an activity that a stopping worker hands back to others.
const BEFORE_THE_NEXT: Duration = Duration::from_millis(500);

/// How long work sends no heartbeat.
const SILENT: Duration = Duration::from_secs(1);

/// Why an activity's work ended without a value.
#[derive(Debug)]
pub enum Aborted {
    /// It was cancelled: its run is to end, or this attempt is no longer the current one.
    Cancelled,
    /// The deadline of its run has passed.
    Expired,
    /// Its worker stops: another worker continues it.
    HandedBack,
    /// It releases its slot on this worker to others, and is retried after this pause.
    Waits(Duration),
    /// It failed, and may succeed when retried.
    Again(anyhow::Error),
}

impl From<anyhow::Error> for Aborted {
    fn from(error: anyhow::Error) -> Self {
        Self::Again(error)
    }
}

/// Returns the priority of the request that an activity works for, as a label. A run without one is of an older version.
pub(crate) fn priority(ctx: &ActivityContext) -> &'static str {
    let key = ctx.info().priority.priority_key;
    let mut all = [Priority::High, Priority::Low].into_iter();
    let found = all.find(|priority| Some(priority.key()) == key);
    found.unwrap_or(Priority::Normal).as_str()
}

/// Does the work, with heartbeats meanwhile.
pub(crate) async fn alive<T>(
    ctx: &ActivityContext,
    work: impl Future<Output = Result<T, Aborted>>,
) -> Result<T, ActivityError> {
    heartbeating(ctx, || (), work).await?.map_err(failure)
}

/// Like [`alive`], for idempotent work that [`until_stop`] may abandon.
pub(crate) fn alive_until_stop<T>(
    ctx: &ActivityContext,
    work: impl Future<Output = Result<T, Aborted>>,
) -> impl Future<Output = Result<T, ActivityError>> {
    alive(ctx, until_stop(ctx, work))
}

/// Does idempotent work, and abandons it when the attempt is cancelled: at the end of a stopping worker's grace period,
/// after which another worker retries it, or at the server's request.
pub(crate) async fn until_stop<T>(
    ctx: &ActivityContext,
    work: impl Future<Output = Result<T, Aborted>>,
) -> Result<T, Aborted> {
    tokio::select! {
        biased;
        done = work => done,
        () = ctx.cancelled() => Err(Aborted::HandedBack),
    }
}

/// Does the work, with heartbeats meanwhile that store `details` for the next attempt. Work that takes less than a second
/// sends none: each costs the server as much as a tenth of an activity.
pub(crate) async fn heartbeating<T, D: TemporalSerializable + Send + 'static>(
    ctx: &ActivityContext,
    details: impl Fn() -> D,
    work: impl Future<Output = T>,
) -> Result<T, ActivityError> {
    let mut work = std::pin::pin!(work);
    // Several pieces of work that each send none must not add up to the time-out.
    let mut pause = (every(ctx) / 2).min(SILENT);
    loop {
        tokio::select! {
            done = &mut work => return Ok(done),
            () = tokio::time::sleep(pause) => {}
        }
        ctx.record_heartbeat(details()).await?;
        pause = every(ctx) * 2;
    }
}

/// Returns a third of the heartbeat time-out: for so long a fence is valid. Ordinary heartbeats are two thirds apart, which
/// leaves a third for a slow answer.
pub(crate) fn every(ctx: &ActivityContext) -> Duration {
    ctx.info()
        .heartbeat_timeout
        .unwrap_or(Duration::from_secs(10))
        / 3
}

/// Returns when an attempt started, in milliseconds since the epoch by the server's clock.
pub(crate) fn started_at(ctx: &ActivityContext) -> Option<i64> {
    ctx.info().started_time.map(since_epoch)
}

pub(crate) fn failure(aborted: Aborted) -> ActivityError {
    let (name, error, retry_delay) = match aborted {
        Aborted::Cancelled => return ActivityError::cancelled(),
        Aborted::Expired => return expired(()),
        // With a retry delay of its own: Temporal's backoff would grow with each stop.
        Aborted::HandedBack => {
            let error = anyhow!("the worker is stopping");
            ("genflow.HandedBack", error, Some(BEFORE_THE_NEXT))
        }
        Aborted::Waits(pause) => {
            let error = anyhow!("this worker has no slot or memory for it now");
            ("genflow.Waits", error, Some(pause))
        }
        Aborted::Again(error) => ("genflow.Again", error, None),
    };
    ActivityError::application(
        ApplicationFailure::builder(error)
            .type_name(name.to_owned())
            .maybe_next_retry_delay(retry_delay)
            .build(),
    )
}

/// Returns the failure that ends an activity at the deadline of its run; `details` are for its workflow.
pub(crate) fn expired(details: impl Into<FailurePayloads>) -> ActivityError {
    let failure = ApplicationFailure::builder(anyhow!("the deadline has passed"))
        .type_name(EXPIRED.to_owned())
        .non_retryable(true)
        .details(details);
    ActivityError::application(failure.build())
}

/// Converts a deadline, in milliseconds since the epoch, to this process's clock. It counts from the start of the attempt as
/// the server reports it, because this machine's wall clock may be wrong.
pub(crate) fn deadline(ctx: &ActivityContext, at: i64) -> Instant {
    let started = ctx.info().started_time.map_or_else(now, since_epoch);
    Instant::now() + span(started, at)
}

/// Shortens the pause before the next attempt to the deadline, so that this attempt ends the run in time.
pub(crate) fn again_by(
    deadline: Instant,
    ctx: &ActivityContext,
    error: ActivityError,
) -> ActivityError {
    let ActivityError::Application(failure) = error else {
        return error;
    };
    // The server takes a pause of zero for its longest one.
    let left = deadline
        .saturating_duration_since(Instant::now())
        .max(Duration::from_millis(1));
    let pause = failure.next_retry_delay();
    let usual = || {
        let info = ctx.info();
        backoff(&info.retry_policy.clone().unwrap_or_default(), info.attempt)
    };
    if failure.is_non_retryable() || pause.unwrap_or_else(usual) <= left {
        return ActivityError::Application(failure);
    }
    let name = failure.type_name().map(str::to_owned);
    let sooner = ApplicationFailure::builder(*failure)
        .maybe_type_name(name)
        .next_retry_delay(left);
    ActivityError::application(sooner.build())
}

/// Returns Temporal's pause after a failed attempt with this number.
fn backoff(policy: &RetryPolicy, attempt: u32) -> Duration {
    let earlier = i32::try_from(attempt.saturating_sub(1)).unwrap_or(i32::MAX);
    let factor = policy.backoff_coefficient().powi(earlier);
    let pause = policy.initial_interval().as_secs_f64() * factor;
    let longest = policy.maximum_interval().unwrap_or(Duration::MAX);
    Duration::try_from_secs_f64(pause).map_or(longest, |pause| pause.min(longest))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_backoff_doubles_up_to_its_maximum() {
        let policy = RetryPolicy::builder()
            .initial_interval(Duration::from_secs(1))
            .maximum_interval(Duration::from_secs(60))
            .build();

        let pauses = [1, 2, 4, 7, u32::MAX].map(|attempt| backoff(&policy, attempt).as_secs());

        assert_eq!(pauses, [1, 2, 8, 60, 60]);
    }
}
