//! The side effects: each activity publishes the events in its input, then does its own work.
//!
//! Business failures are Ok values. After an Err the events stay unconfirmed, and Temporal retries the activity.

use std::sync::Arc;

use futures::future::BoxFuture;
use temporalio_macros::activities;
use temporalio_sdk::activities::{ActivityContext, ActivityError};

use crate::contract::activities::request;
use crate::contract::run::{
    BatchStart, ClosedItem, ClosedRun, Failures, Fetch, Fetched, Finish, PendingEvents, RunHistory,
    Start, Submit, Submitted,
};
use crate::domain::ItemOutcome;
use crate::engines::temporal::activity::{alive, alive_until_stop, heartbeating};
use crate::engines::temporal::client::Temporal;
use crate::engines::temporal::sweep::look_back;
use crate::engines::temporal::{closed_history, outcome};
use crate::roles::worker::steps::{FailureCounts, Turn, Work};
use crate::roles::worker::submit;

/// The activities of all workflows.
pub struct Activities {
    /// What their steps need: clients, stores and settings.
    pub work: Arc<Work>,
}

#[activities]
impl Activities {
    /// Publishes STARTED and submits the job once.
    #[activity(definition = request::Submit)]
    pub async fn submit(
        self: Arc<Self>,
        ctx: ActivityContext,
        input: Submit,
    ) -> Result<Submitted, ActivityError> {
        submit::run(&self.work, &ctx, input).await
    }

    /// Waits for the job; returns a milestone, or the stored outputs.
    #[activity(definition = request::Fetch)]
    pub async fn fetch(
        self: Arc<Self>,
        ctx: ActivityContext,
        input: Fetch,
    ) -> Result<Fetched, ActivityError> {
        // A first attempt has no details.
        let earlier: Option<Failures> = ctx.heartbeat_details().deserialize().ok().flatten();
        let tally = FailureCounts::from(earlier.unwrap_or_default());
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
        heartbeating(&ctx, || tally.failures(), fetching).await
    }

    /// Publishes events of a batch and does nothing else.
    #[activity(definition = request::Publish)]
    pub async fn publish(
        self: Arc<Self>,
        ctx: ActivityContext,
        input: PendingEvents,
    ) -> Result<(), ActivityError> {
        alive(&ctx, self.work.publish(&input)).await
    }

    /// Ends the run: provider job, manifest, outcome.
    #[activity(definition = request::Finish)]
    pub async fn finish(
        self: Arc<Self>,
        ctx: ActivityContext,
        input: Finish,
    ) -> Result<(), ActivityError> {
        alive(&ctx, self.work.finish(input)).await
    }

    /// Reads what a run that was closed from outside had decided.
    #[activity(definition = request::ReadRun)]
    pub async fn read_run(
        self: Arc<Self>,
        ctx: ActivityContext,
        input: ClosedRun,
    ) -> Result<RunHistory<Start>, ActivityError> {
        let client = ctx.client();
        let reading = async { Ok(closed_history::read(&client, &input).await?) };
        alive(&ctx, reading).await
    }

    /// Like `read_run`, for a batch; fails, and so is retried, while an item of it still runs.
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

    /// Reads how a batch item that was closed from outside ended.
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

    /// Has `end.v1` end all runs that were closed from outside, as far back as the server keeps them.
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
