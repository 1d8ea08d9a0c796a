//! The side effects: each activity publishes the events in its input, then does its own work.
//!
//! Business failures are Ok values. After an Err the events stay unconfirmed, and Temporal retries the activity.

use std::sync::Arc;
use std::time::Duration;

use anyhow::anyhow;
use futures::future::BoxFuture;
use temporalio_common::data_converters::TemporalSerializable;
use temporalio_common::error::ApplicationFailure;
use temporalio_macros::activities;
use temporalio_sdk::activities::{ActivityContext, ActivityError};

use super::client::Temporal;
use super::steps::{
    BatchRemains, Closed, ClosedItem, Failures, Fetch, Fetched, Finish, Handed, Remains, Submit,
    Submitted,
};
use super::sweep::look_back;
use super::{outcome, remains, submit};
use crate::domain::ItemEnding;
use crate::work::{Aborted, Tally, Turn, Work};

/// Retry delay of an activity that a stopping worker hands back to others.
const BEFORE_THE_NEXT: Duration = Duration::from_millis(500);
/// The names of the activities in histories.
pub(super) const SUBMIT: &str = "submit.v1";
pub(super) const FETCH: &str = "fetch.v1";
pub(super) const PUBLISH: &str = "publish.v1";
pub(super) const ITEM_ENDING: &str = "item-ending.v1";
/// Once it is scheduled, the outcome is fixed.
pub(super) const FINISH: &str = "finish.v1";

/// The activities of all workflows.
pub struct Activities {
    /// What their steps need: clients, stores and settings.
    pub work: Arc<Work>,
}

#[activities]
impl Activities {
    /// Publishes STARTED and submits the job once.
    #[activity(name = "submit.v1")]
    pub async fn submit(
        self: Arc<Self>,
        ctx: ActivityContext,
        input: Submit,
    ) -> Result<Submitted, ActivityError> {
        submit::run(&self.work, &ctx, input).await
    }

    /// Waits for the job; returns a milestone, or the stored outputs.
    #[activity(name = "fetch.v1")]
    pub async fn fetch(
        self: Arc<Self>,
        ctx: ActivityContext,
        input: Fetch,
    ) -> Result<Fetched, ActivityError> {
        // A first attempt has no details.
        let earlier: Option<Failures> = ctx.heartbeat_details().deserialize().ok().flatten();
        let tally = Tally::from(earlier.unwrap_or_default());
        let server = &ctx;
        let store = |failures: Failures| -> BoxFuture<'_, ()> {
            Box::pin(async move {
                // If the server is down, the check is not counted: that must not lose the outputs.
                if submit::store(server, failures).await.is_err() {
                    tracing::debug!("cannot store the count of output checks");
                }
            })
        };
        let turn = Turn {
            user: ctx
                .info()
                .priority
                .fairness_key
                .as_deref()
                .unwrap_or_default(),
            number: ctx.info().attempt,
            tally: &tally,
            store: &store,
        };
        let fetching = self.work.fetch(input, &turn, ctx.cancelled());
        telling(&ctx, || tally.failures(), fetching).await
    }

    /// Publishes events of a batch and does nothing else.
    #[activity(name = "publish.v1")]
    pub async fn publish(
        self: Arc<Self>,
        ctx: ActivityContext,
        input: Handed,
    ) -> Result<(), ActivityError> {
        alive(&ctx, self.work.publish(&input)).await
    }

    /// Ends the run: provider job, manifest, outcome.
    #[activity(name = "finish.v1")]
    pub async fn finish(
        self: Arc<Self>,
        ctx: ActivityContext,
        input: Finish,
    ) -> Result<(), ActivityError> {
        alive(&ctx, self.work.finish(input)).await
    }

    /// Reads what a run that was closed from outside had decided.
    #[activity(name = "remains.v1")]
    pub async fn remains(
        self: Arc<Self>,
        ctx: ActivityContext,
        input: Closed,
    ) -> Result<Remains, ActivityError> {
        let client = ctx.client();
        let reading = async { Ok(remains::read(&client, &input).await?) };
        alive(&ctx, reading).await
    }

    /// Like `remains`, for a batch; fails, and so is retried, while an item of it still runs.
    #[activity(name = "batch-remains.v1")]
    pub async fn batch_remains(
        self: Arc<Self>,
        ctx: ActivityContext,
        input: Closed,
    ) -> Result<BatchRemains, ActivityError> {
        let client = ctx.client();
        let reading = Box::pin(async { Ok(remains::batch::read(&client, &input).await?) });
        alive(&ctx, reading).await
    }

    /// Reads how a batch item that was closed from outside ended.
    #[activity(name = "item-ending.v1")]
    pub async fn item_ending(
        self: Arc<Self>,
        ctx: ActivityContext,
        input: ClosedItem,
    ) -> Result<ItemEnding, ActivityError> {
        let client = ctx.client();
        let ClosedItem { workflow, run_id } = &input;
        let reading = async {
            let ending = outcome::item_ending(&client, workflow, run_id).await;
            Ok(ending.map_err(anyhow::Error::from)?)
        };
        alive(&ctx, reading).await
    }

    /// Has `end.v1` end all runs that were closed from outside, as far back as the server keeps them.
    #[activity(name = "look-back.v1")]
    pub async fn look_back(
        self: Arc<Self>,
        ctx: ActivityContext,
        (): (),
    ) -> Result<(), ActivityError> {
        let temporal = Temporal::of(ctx.client(), ctx.info().task_queue.clone());
        let looking = Box::pin(async {
            let looked = look_back::run(&temporal).await;
            Ok(looked.map_err(anyhow::Error::from)?)
        });
        alive_until_stop(&ctx, looking).await
    }
}

/// Does the work, with heartbeats meanwhile.
pub(super) fn alive<T>(
    ctx: &ActivityContext,
    work: impl Future<Output = Result<T, Aborted>>,
) -> impl Future<Output = Result<T, ActivityError>> {
    telling(ctx, || (), work)
}

/// Like [`alive`], for idempotent work: at the end of a stopping worker's grace period it is abandoned, and another
/// worker retries it.
pub(super) fn alive_until_stop<T>(
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

/// Like [`alive`], and stores `details` in the heartbeats for the next attempt.
async fn telling<T, D: TemporalSerializable + Send + 'static>(
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
                    // Reaches the server together with the failure.
                    ctx.record_heartbeat(details()).await?;
                }
                return done.map_err(failure);
            }
            () = tokio::time::sleep(every(ctx)) => {}
        }
    }
}

/// Returns the time between two heartbeats: a third of their time-out.
pub(super) fn every(ctx: &ActivityContext) -> Duration {
    ctx.info()
        .heartbeat_timeout
        .unwrap_or(Duration::from_secs(10))
        / 3
}

pub(super) fn failure(aborted: Aborted) -> ActivityError {
    match aborted {
        Aborted::Cancelled => ActivityError::cancelled(),
        // With a retry delay of its own: Temporal's backoff would grow with each stop.
        Aborted::HandedBack => ActivityError::application(
            ApplicationFailure::builder(anyhow!("the worker is stopping"))
                .type_name("genflow.HandedBack".to_owned())
                .next_retry_delay(BEFORE_THE_NEXT)
                .build(),
        ),
        Aborted::Waits(pause) => ActivityError::application(
            ApplicationFailure::builder(anyhow!("this worker has no slot or memory for it now"))
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
