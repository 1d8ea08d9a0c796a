//! `batch.v1`: a sliding window of runs, one for each item, and the batch's own events about them.
//!
//! Section 3 of the contract applies to it as to a run. Its activities are `publish`, `read_item` and `finish`. The
//! window is drained before the workflow continues as new, since the server would cancel the items that still run.

#![deny(clippy::disallowed_methods)]

use std::cell::Cell;
use std::ops::Range;
use std::pin::pin;
use std::time::Duration;

use futures::FutureExt as _;
use temporalio_common::data_converters::MultiArgs2;
use temporalio_common::error::IncomingError;
use temporalio_macros::{workflow, workflow_methods};
use temporalio_sdk::workflows;
use temporalio_sdk::{
    CancellableFutureWithReason as _, ChildWorkflowExecutionError, ChildWorkflowOptions,
    ContinueAsNewOptions, ParentClosePolicy, TimerResult, WorkflowCancellationToken,
    WorkflowContext, WorkflowContextView, WorkflowIdReusePolicy, WorkflowResult,
};

use super::generation::Generation;
use crate::contract::activities::RequestActivities;
use crate::contract::batch_items::Items;
use crate::contract::run::{BatchStart, ClosedItem, RunState, Start, StatusAnswer};
use crate::contract::search_attributes::{BACKSTOP, attributes};
use crate::domain::error_chain::causes;
use crate::domain::{BatchSummary, ErrorCode, ItemCounts, ItemOutcome, OnFailure, Outcome};
use crate::workflows::run_core::{HasStatus, RunCore, not_started_in_time, show};
use crate::workflows::support::{
    READ_TRY, detached, done, failed, now, options, readable, uncancelled,
};

pub const NAME: &str = "batch.v1";
/// Start-to-close time-out of `publish`.
const PUBLISH_TRY: Duration = Duration::from_secs(150);
/// Limit for the inputs of items whose start is not confirmed yet, in bytes: one workflow task may carry 4 MB.
const STARTING: usize = 1_000_000;

#[workflow]
#[derive(Default)]
pub struct Batch {
    status: StatusAnswer,
    /// Total input size of the items that are being started, in bytes.
    starting: usize,
}

#[workflow_methods]
impl Batch {
    /// Takes a batch to its outcome, or through the items of one segment.
    #[run(name = "batch.v1")]
    pub async fn run(
        ctx: &mut WorkflowContext<Self>,
        input: MultiArgs2<BatchStart, Vec<u8>>,
    ) -> WorkflowResult<BatchSummary> {
        let MultiArgs2(start, bytes) = input;
        let run = BatchRun::open(ctx, start);
        let outcome = match Items::read(&bytes) {
            Ok(items) => drive(ctx, &run, &items).await,
            Err(error) => Some(failed(ErrorCode::BatchFailed, &causes(&error), true)),
        };
        let Some(outcome) = outcome else {
            let next = MultiArgs2(run.into_next_start(), bytes);
            let Err(continued) = ctx.continue_as_new(next, ContinueAsNewOptions::default());
            return Err(continued);
        };
        run.show(ctx);
        let summary = run.counts.get().summary();
        let concluded = run.core.conclude(ctx, outcome.into(), Some(summary), None);
        concluded.await.map(|_| summary)
    }

    /// Returns the progress of the batch.
    #[query]
    pub fn status(&self, _: &WorkflowContextView) -> StatusAnswer {
        self.status.clone()
    }
}

impl HasStatus for Batch {
    fn status_mut(&mut self) -> &mut StatusAnswer {
        &mut self.status
    }
}

type Context = WorkflowContext<Batch>;

struct BatchRun {
    start: BatchStart,
    core: RunCore,
    counts: Cell<ItemCounts>,
    /// Index of the next item to start.
    next: Cell<u32>,
    /// Number of items that have started and not ended.
    running: Cell<i32>,
    /// True while a `publish` activity runs.
    publishing: Cell<bool>,
}

impl BatchRun {
    fn open(ctx: &Context, start: BatchStart) -> Self {
        let info = ctx.info();
        let input = start.input(info.run_id(), info.first_execution_run_id());
        let core = RunCore::open(ctx, input, start.started_at);
        let mut counts = start.counts;
        counts.reported_at = counts.reported_at.max(core.started_at);
        let run = Self {
            core,
            counts: Cell::new(counts),
            next: Cell::new(counts.tried()),
            running: Cell::new(0),
            publishing: Cell::new(false),
            start,
        };
        run.show(ctx);
        run
    }

    /// Returns the input with which the workflow continues as new.
    fn into_next_start(self) -> BatchStart {
        BatchStart {
            counts: self.counts.get(),
            started_at: Some(self.core.started_at),
            journal: self.core.into_journal(),
            ..self.start
        }
    }

    /// Publishes the unconfirmed events, also those decided meanwhile. `finish` publishes those that a cancelled
    /// `publish` did not.
    ///
    /// Only one `publish` runs at a time: each input holds all unconfirmed events, so otherwise the history of a batch
    /// that runs many items at once would outgrow the server's limit while Kafka is down.
    async fn publish(&self, ctx: &Context) {
        if self.publishing.replace(true) {
            return;
        }
        loop {
            let pending = self.core.pending();
            if pending.events.is_empty() {
                break;
            }
            let upto = self.core.next_sequence();
            let steps = &self.start.steps;
            let options = options(steps, steps.backoff(), self.core.scope.clone(), PUBLISH_TRY);
            let published = ctx.execute_activity(RequestActivities::publish, pending, options);
            if readable(ctx, published.await).await.is_err() {
                break;
            }
            self.core.confirm(upto);
        }
        self.publishing.set(false);
    }

    /// Takes the next item of this segment, unless no more may start. The server may ask to end a segment early, when
    /// the history grows too large.
    fn take(&self, ctx: &Context, items: &Items, segment: &Range<u32>) -> Option<u32> {
        let index = self.next.get();
        let stopped = self.counts.get().is_stopped(items.on_failure());
        let over =
            !segment.contains(&index) || index > segment.start && ctx.continue_as_new_suggested();
        if over || stopped || self.core.scope.is_cancelled() {
            return None;
        }
        self.next.set(index + 1);
        Some(index)
    }

    async fn count(&self, ctx: &Context, outcome: ItemOutcome) {
        let mut counts = self.counts.get();
        counts.count(outcome);
        let due = counts.progress(now(ctx), self.start.progress_every_ms);
        self.counts.set(counts);
        self.show(ctx);
        if let Some(progress) = due {
            self.core
                .decide(|journal, run| journal.progress(run, now(ctx), &progress));
            self.publish(ctx).await;
        }
    }

    /// Returns the outcome of the batch. No item may still run.
    fn outcome(&self, on_failure: OnFailure) -> Outcome {
        let asked = self.core.asked("not done");
        self.counts.get().outcome(on_failure, asked)
    }

    /// Notes that an item has started (1) or ended (-1), and shows it.
    fn runs(&self, ctx: &Context, change: i32) {
        self.running.set(self.running.get() + change);
        self.show(ctx);
    }

    /// Puts the numbers of ended and running items into the answer to the query `status`.
    fn show(&self, ctx: &Context) {
        let counts = self.counts.get();
        show(ctx, |status| {
            status.percent = counts.percent();
            status.batch = Some(counts.summary_while(self.running.get()));
            status.updated_at = now(ctx);
        });
    }
}

/// Runs the items of one segment; returns `None` if more items are left and may start.
async fn drive(ctx: &Context, run: &BatchRun, items: &Items) -> Option<Outcome> {
    let core = &run.core;
    let left = core.time_left(ctx);
    if left.is_zero() && !core.scope.is_cancelled() {
        if run.next.get() == 0 {
            return Some(not_started_in_time());
        }
        core.expire();
    }
    if !core.scope.is_cancelled() {
        until_deadline(ctx, core, left, window(ctx, run, items)).await;
    }
    let stopped = run.counts.get().is_stopped(items.on_failure());
    let goes_on = run.next.get() < items.total() && !stopped && !core.scope.is_cancelled();
    (!goes_on).then(|| run.outcome(items.on_failure()))
}

/// Waits for the items, and cancels them at the deadline. The real end of cancelled items is awaited too (contract,
/// rule 6).
async fn until_deadline(
    ctx: &Context,
    core: &RunCore,
    left: Duration,
    items: impl Future<Output = ()>,
) {
    let mut timer = pin!(ctx.timer(uncancelled(left)));
    let mut items = pin!(items.fuse());
    loop {
        workflows::select! {
            () = items => return,
            fired = timer => if matches!(fired, TimerResult::Fired) {
                core.expire();
            },
        }
    }
}

/// Publishes the events decided so far, then keeps the window full of running items until the segment is done.
async fn window(ctx: &Context, run: &BatchRun, items: &Items) {
    run.publish(ctx).await;
    show(ctx, |status| status.state = RunState::Generating);
    let first = run.next.get();
    let end = first.saturating_add(run.start.segment.max(1));
    let segment = &(first..end.min(items.total()));
    let lanes = (0..items.window()).map(|_| async move {
        while let Some(index) = run.take(ctx, items, segment) {
            if let Some(outcome) = item(ctx, run, items, index).await {
                run.count(ctx, outcome).await;
            }
        }
    });
    workflows::join_all(lanes).await;
}

/// Runs one item to its end; returns `None` if the batch was asked to end before the item began.
async fn item(ctx: &Context, run: &BatchRun, items: &Items, index: u32) -> Option<ItemOutcome> {
    let start = items.start(&run.start, index)?;
    let size = start.weight();
    let workflow = start.request.run(0);
    let room = ctx.wait_condition(|batch| batch.starting == 0 || batch.starting + size <= STARTING);
    if room.await.is_err() || run.core.scope.is_cancelled() {
        return None;
    }
    // A token of its own, so that no cancel reaches the start: the batch must know whether the item began. If it did,
    // the batch waits for its end and counts it.
    let token = WorkflowCancellationToken::new();
    let options = child_options(ctx, &start, token);
    ctx.state_mut(|batch| batch.starting += size);
    let started = ctx.start_child_workflow(Generation::run, start, options);
    let started = started.await;
    ctx.state_mut(|batch| batch.starting -= size);
    let Ok(started) = started else {
        return Some(ItemOutcome::IdTaken);
    };
    run.runs(ctx, 1);
    let closed = ClosedItem {
        workflow,
        run_id: started.run_id.clone(),
    };
    let mut result = started.result();
    let mut asked = pin!(run.core.scope.cancelled());
    let ended = loop {
        workflows::select! {
            ended = result => break ended,
            () = asked => {
                let reason = run.core.scope.reason().unwrap_or_default();
                result.cancel_with_reason(reason);
            },
        }
    };
    run.runs(ctx, -1);
    Some(match ended {
        // A result that this build cannot read is still a result.
        Ok(_) | Err(ChildWorkflowExecutionError::Serialization(_)) => ItemOutcome::Completed,
        Err(error) => match error.cause() {
            Some(IncomingError::Cancelled(_)) => ItemOutcome::Cancelled,
            Some(IncomingError::Terminated(_) | IncomingError::Timeout(_)) => {
                let options = || detached(READ_TRY);
                done(ctx, || RequestActivities::read_item, closed, options).await
            }
            Some(_) | None => ItemOutcome::Failed,
        },
    })
}

fn child_options(
    ctx: &Context,
    start: &Start,
    token: WorkflowCancellationToken,
) -> ChildWorkflowOptions {
    ChildWorkflowOptions::builder()
        .workflow_id(start.request.run(0).to_string())
        .id_reuse_policy(WorkflowIdReusePolicy::RejectDuplicate)
        .parent_close_policy(ParentClosePolicy::RequestCancel)
        .execution_timeout(Duration::from_millis(start.timeout_ms) + BACKSTOP)
        .search_attributes(attributes(
            &start.user,
            start.spec.media().into(),
            start.batch.as_ref(),
        ))
        .priority(ctx.info().priority())
        .static_details(start.fingerprint.clone())
        .cancellation_token(token)
        .build()
}
