//! How an activity shows that it is alive, and how it ends without a result.

use std::time::Duration;

use anyhow::anyhow;
use temporalio_common::data_converters::TemporalSerializable;
use temporalio_common::error::ApplicationFailure;
use temporalio_sdk::activities::{ActivityContext, ActivityError};

/// Pause before another worker goes on with what one that stops has handed back.
const BEFORE_THE_NEXT: Duration = Duration::from_millis(500);
/// Why a step ended without a value.
#[derive(Debug)]
pub enum Aborted {
    /// It was cancelled: its run ends, or somebody else has it.
    Cancelled,
    /// Its worker stops: another goes on where it was.
    HandedBack,
    /// It gives up its place on this worker to others, and comes back after this pause.
    Waits(Duration),
    /// It may succeed at another try.
    Again(anyhow::Error),
}

impl From<anyhow::Error> for Aborted {
    fn from(error: anyhow::Error) -> Self {
        Self::Again(error)
    }
}

/// Does the work and lets the server know all the while that this worker lives.
pub(crate) fn alive<T>(
    ctx: &ActivityContext,
    work: impl Future<Output = Result<T, Aborted>>,
) -> impl Future<Output = Result<T, ActivityError>> {
    telling(ctx, || (), work)
}

/// The same of work that may be cut anywhere, since it does no harm when it is done again: towards the end of the time
/// that its worker has for its stop, it is handed back.
pub(crate) fn alive_until_stop<T>(
    ctx: &ActivityContext,
    work: impl Future<Output = Result<T, Aborted>>,
) -> impl Future<Output = Result<T, ActivityError>> {
    alive(ctx, async {
        tokio::select! {
            biased;
            done = work => done,
            () = ctx.cancelled() => Err(Aborted::HandedBack),
        }
    })
}

/// As [`alive`], and what the next attempt shall find, should there be one.
pub(crate) async fn telling<T, D: TemporalSerializable + Send + 'static>(
    ctx: &ActivityContext,
    details: impl Fn() -> D,
    work: impl Future<Output = Result<T, Aborted>>,
) -> Result<T, ActivityError> {
    let mut work = std::pin::pin!(work);
    loop {
        ctx.record_heartbeat(details()).await?;
        tokio::select! {
            done = &mut work => {
                if done.is_err() {
                    // Goes to the server with the failure itself.
                    ctx.record_heartbeat(details()).await?;
                }
                return done.map_err(failure);
            }
            () = tokio::time::sleep(every(ctx)) => {}
        }
    }
}

/// Returns the time between two signs of life.
pub(crate) fn every(ctx: &ActivityContext) -> Duration {
    ctx.info()
        .heartbeat_timeout
        .unwrap_or(Duration::from_secs(10))
        / 3
}

pub(crate) fn failure(aborted: Aborted) -> ActivityError {
    match aborted {
        Aborted::Cancelled => ActivityError::cancelled(),
        // With a pause of its own: Temporal's would grow with each stop.
        Aborted::HandedBack => ActivityError::application(
            ApplicationFailure::builder(anyhow!("the worker stops"))
                .type_name("genflow.HandedBack".to_owned())
                .next_retry_delay(BEFORE_THE_NEXT)
                .build(),
        ),
        Aborted::Waits(pause) => ActivityError::application(
            ApplicationFailure::builder(anyhow!("this worker has no place for it now"))
                .type_name("genflow.Waits".to_owned())
                .next_retry_delay(pause)
                .build(),
        ),
        Aborted::Again(error) => ActivityError::application(
            ApplicationFailure::builder(error)
                .type_name("genflow.Again".to_owned())
                .build(),
        ),
    }
}
