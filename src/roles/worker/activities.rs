//! The activities of `contract::activities`. `submit` and `fetch` first publish the events in their input; `finish`
//! publishes them after its other work.
//!
//! Business failures are Ok values. After an Err the events stay unconfirmed, and Temporal retries the activity.

use std::pin::pin;
use std::sync::Arc;

use temporalio_macros::activities;
use temporalio_sdk::activities::{ActivityContext, ActivityError};
use tokio::time::sleep_until;

use crate::contract::activities::request;
use crate::contract::run::{
    BatchStart, ClosedItem, ClosedRun, Fetch, Fetched, Finish, PendingEvents, RunHistory, Start,
    Submit, Submitted,
};
use crate::domain::ItemOutcome;
use crate::engines::telemetry::events;
use crate::engines::temporal::activity::{
    Aborted, again_by, alive, alive_until_stop, deadline, failure, heartbeating,
};
use crate::engines::temporal::client::Temporal;
use crate::engines::temporal::sweep::look_back;
use crate::engines::temporal::{closed_history, outcome};
use crate::roles::worker::steps::{Turn, Work};
use crate::roles::worker::submit;

/// The activities of all workflows.
pub struct Activities {
    /// What their steps need: clients, stores and settings.
    pub work: Arc<Work>,
}

#[activities]
impl Activities {
    #[activity(definition = request::Submit)]
    pub async fn submit(
        self: Arc<Self>,
        ctx: ActivityContext,
        input: Submit,
    ) -> Result<Submitted, ActivityError> {
        let deadline = deadline(&ctx, input.deadline);
        let provider = input.provider;
        let submitting = Box::pin(submit::run(&self.work, &ctx, input, deadline));
        let submitted = submitting.await;
        if let Ok(
            Submitted::Refused { error, .. }
            | Submitted::Declined { error, .. }
            | Submitted::Ambiguous { error, .. },
        ) = &submitted
        {
            events::generation_failed(provider, error.code);
        }
        submitted.map_err(|error| again_by(deadline, &ctx, error))
    }

    #[activity(definition = request::Fetch)]
    pub async fn fetch(
        self: Arc<Self>,
        ctx: ActivityContext,
        input: Fetch,
    ) -> Result<Fetched, ActivityError> {
        let deadline = deadline(&ctx, input.deadline);
        let turn = Turn::of(&ctx, deadline);
        let ended = pin!(async {
            tokio::select! {
                () = ctx.cancelled() => Aborted::Cancelled,
                () = self.work.listed.cancelled(&ctx, || turn.failures()) => Aborted::Cancelled,
                () = sleep_until(deadline) => Aborted::Expired,
            }
        });
        let provider = input.job.provider;
        // Pinned, like `ended`: a future that is passed by value is stored twice, and thousands of jobs wait here.
        let fetching = pin!(self.work.fetch(&input, &turn, ended));
        let fetched = heartbeating(&ctx, || turn.failures(), fetching).await?;
        if fetched.is_err() {
            // Reaches Temporal together with the failure, so the next attempt continues the counts.
            ctx.record_heartbeat(turn.failures()).await?;
        }
        if let Ok(Fetched::Failed(error)) = &fetched {
            events::generation_failed(provider, error.code);
        }
        fetched.map_err(|aborted| again_by(deadline, &ctx, failure(aborted)))
    }

    #[activity(definition = request::Publish)]
    pub async fn publish(
        self: Arc<Self>,
        ctx: ActivityContext,
        input: PendingEvents,
    ) -> Result<(), ActivityError> {
        alive(&ctx, self.work.publish(&input)).await
    }

    #[activity(definition = request::Finish)]
    pub async fn finish(
        self: Arc<Self>,
        ctx: ActivityContext,
        input: Finish,
    ) -> Result<(), ActivityError> {
        let finishing = self.work.finish(input, ctx.info().attempt);
        alive(&ctx, Box::pin(finishing)).await
    }

    #[activity(definition = request::ReadRun)]
    pub async fn read_run(
        self: Arc<Self>,
        ctx: ActivityContext,
        input: ClosedRun,
    ) -> Result<RunHistory<Start>, ActivityError> {
        let client = ctx.client();
        let reading = async { Ok(closed_history::read(&client, &input).await?) };
        Box::pin(alive(&ctx, reading)).await
    }

    #[activity(definition = request::ReadBatch)]
    pub async fn read_batch(
        self: Arc<Self>,
        ctx: ActivityContext,
        input: ClosedRun,
    ) -> Result<RunHistory<BatchStart>, ActivityError> {
        let client = ctx.client();
        let reading = Box::pin(async { Ok(closed_history::batch::read(&client, &input).await?) });
        alive(&ctx, reading).await
    }

    #[activity(definition = request::ReadItem)]
    pub async fn read_item(
        self: Arc<Self>,
        ctx: ActivityContext,
        input: ClosedItem,
    ) -> Result<ItemOutcome, ActivityError> {
        let client = ctx.client();
        let ClosedItem { workflow, run_id } = &input;
        let reading = async {
            let ended = outcome::of_item(&client, workflow, run_id).await;
            Ok(ended.map_err(anyhow::Error::from)?)
        };
        alive(&ctx, reading).await
    }

    #[activity(definition = request::LookBack)]
    pub async fn look_back(self: Arc<Self>, ctx: ActivityContext) -> Result<(), ActivityError> {
        let temporal = Temporal::of(ctx.client(), ctx.info().task_queue.clone());
        let looking = Box::pin(async {
            let looked = look_back::run(&temporal).await;
            Ok(looked.map_err(anyhow::Error::from)?)
        });
        alive_until_stop(&ctx, looking).await
    }
}
