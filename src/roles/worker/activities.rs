//! The side effects: each activity publishes the events it was handed, then does its own work.
//!
//! Business failures are Ok values; an Err leaves the events unconfirmed and is tried again by Temporal.

use std::sync::Arc;
use std::time::Duration;

use anyhow::anyhow;
use futures::future::BoxFuture;
use temporalio_common::data_converters::TemporalSerializable;
use temporalio_common::error::ApplicationFailure;
use temporalio_macros::activities;
use temporalio_sdk::activities::{ActivityContext, ActivityError};

use crate::contract::run::{
    BatchRemains, Closed, ClosedItem, Failures, Fetch, Fetched, Finish, Handed, Remains, Submit,
    Submitted,
};
use crate::domain::ItemEnding;
use crate::engines::temporal::client::Temporal;
use crate::engines::temporal::sweep::look_back;
use crate::engines::temporal::{closed_run as remains, outcome};
use crate::roles::worker::steps::{Aborted, Tally, Turn, Work};
use crate::roles::worker::submit;

/// Pause before another worker goes on with what one that stops has handed back.
const BEFORE_THE_NEXT: Duration = Duration::from_millis(500);
/// The names under which the activities stand in a history.
pub(crate) const SUBMIT: &str = "submit.v1";
pub(crate) const FETCH: &str = "fetch.v1";
pub(crate) const PUBLISH: &str = "publish.v1";
pub(crate) const ITEM_ENDING: &str = "item-ending.v1";
/// Once it is scheduled, the outcome stands.
pub(crate) const FINISH: &str = "finish.v1";

/// The activities of all workflows.
pub struct Activities {
    /// What they work with.
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
        // The first attempt has none.
        let earlier: Option<Failures> = ctx.heartbeat_details().deserialize().ok().flatten();
        let tally = Tally::from(earlier.unwrap_or_default());
        let server = &ctx;
        let store = |failures: Failures| -> BoxFuture<'_, ()> {
            Box::pin(async move {
                // Not counted while the server is away: that is no reason to lose the outputs.
                if submit::store(server, failures).await.is_err() {
                    tracing::debug!("a check of an output may not be counted");
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

    /// Reads what a run has decided that was closed from outside.
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

    /// The same of a batch; waits until the items that ran when it was closed are over.
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

    /// Reads how an item of a batch ended that was closed from outside.
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

    /// Has all runs ended that were closed from outside, as far back as the server knows.
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
