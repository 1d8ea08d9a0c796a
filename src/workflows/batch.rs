//! `batch.v1`: a sliding window of runs, one for each item, and the batch's own events about them.
//!
//! Section 3 of the contract applies to it as to a run; its activities are `publish` and `finish`. The window is
//! drained before the workflow continues as new, since the server would cancel the items that still run.

#![deny(clippy::disallowed_methods)]

use std::cell::{Cell, RefCell};
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
    ContinueAsNewOptions, ParentClosePolicy, TimerOptions, TimerResult, WorkflowCancellationToken,
    WorkflowContext, WorkflowContextView, WorkflowIdReusePolicy, WorkflowResult,
};

use super::generation::Generation;
use crate::contract::activities::RequestActivities;
use crate::contract::batch_items::Items;
use crate::contract::run::{BatchStart, ClosedItem, Finish, Handed, Leftover, Start, Status};
use crate::contract::search_attributes::{BACKSTOP, attributes};
use crate::domain::time::since_epoch;
use crate::domain::{
    BatchSummary, ErrorCode, Identity, ItemEnding, Journal, OnFailure, Outcome, Tally,
};
use crate::workflows::support::{
    READ_TRY, detached, done, failed, finish, now, options, readable, without_result,
};

/// The workflow type.
pub const NAME: &str = "batch.v1";
/// Start-to-close time-out of `publish`.
const PUBLISH_TRY: Duration = Duration::from_secs(150);
/// Limit for the inputs of items whose start is not confirmed yet, in bytes: one workflow task may carry 4 MB.
const STARTING: usize = 1_000_000;

/// One batch.
#[workflow]
#[derive(Default)]
pub struct Batch {
    status: Status,
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
        let run = Run::open(ctx, start);
        let outcome = match Items::read(&bytes) {
            Ok(items) => drive(ctx, &run, &items).await,
            Err(error) => Some(failed(ErrorCode::BatchFailed, &error.to_string(), true)),
        };
        let Some(outcome) = outcome else {
            let next = MultiArgs2(run.goes_on(), bytes);
            let Err(continued) = ctx.continue_as_new(next, ContinueAsNewOptions::default());
            return Err(continued);
        };
        run.conclude(ctx, outcome).await
    }

    /// Returns the progress of the batch.
    #[query]
    pub fn status(&self, _: &WorkflowContextView) -> Status {
        self.status.clone()
    }
}

type Context = WorkflowContext<Batch>;

/// The state of a batch. No borrow is held over an `await`.
struct Run {
    start: BatchStart,
    identity: Identity,
    journal: RefCell<Journal>,
    tally: Cell<Tally>,
    /// Index of the next item to start.
    next: Cell<u32>,
    started_at: i64,
    /// Scope of all that runs; a cancel of the workflow cancels it, and so does the deadline.
    scope: WorkflowCancellationToken,
    expired: Cell<bool>,
    /// True while a `publish` activity runs.
    publishing: Cell<bool>,
}

impl Run {
    fn open(ctx: &Context, mut start: BatchStart) -> Self {
        let info = ctx.info();
        let identity = start.identity(info.run_id(), info.first_execution_run_id());
        let mut journal = std::mem::take(&mut start.journal);
        let own = info.start_time().map(since_epoch).unwrap_or_default();
        let started_at = start.started_at.unwrap_or(own);
        journal.open(&identity, started_at);
        let mut tally = start.tally;
        tally.told_at = tally.told_at.max(started_at);
        let run = Self {
            identity,
            journal: RefCell::new(journal),
            tally: Cell::new(tally),
            next: Cell::new(tally.tried()),
            started_at,
            scope: ctx.cancellation_token().child_token(),
            expired: Cell::new(false),
            publishing: Cell::new(false),
            start,
        };
        ctx.state_mut(|state| {
            state.status = Status {
                request_id: run.start.request.to_string(),
                kind: run.identity.kind.as_str().to_owned(),
                started_at,
                ..Status::default()
            };
        });
        run.show(ctx, "queued");
        run
    }

    /// Returns the input with which the workflow continues as new.
    fn goes_on(self) -> BatchStart {
        BatchStart {
            journal: self.journal.into_inner(),
            tally: self.tally.get(),
            started_at: Some(self.started_at),
            ..self.start
        }
    }

    fn handed(&self) -> Handed {
        Handed {
            workflow: self.start.request.run(0),
            fingerprint: None,
            events: self.journal.borrow().unconfirmed.clone(),
            traceparent: self.start.traceparent.clone(),
        }
    }

    /// Returns the time until the deadline, which counts from the first run's start.
    fn left(&self, ctx: &Context) -> Duration {
        let gone = u64::try_from(now(ctx) - self.started_at).unwrap_or(0);
        Duration::from_millis(self.start.timeout_ms.saturating_sub(gone))
    }

    /// Cancels what runs for the deadline. If a cancel came first, the batch ends as cancelled instead.
    fn expire(&self) {
        if !self.scope.is_cancelled() {
            self.expired.set(true);
            self.scope.cancel_with_reason("deadline");
        }
    }

    /// Publishes the unconfirmed events, also those decided meanwhile. Those that a cancel leaves go with the outcome.
    ///
    /// Only one `publish` runs at a time: each input holds all unconfirmed events, so while Kafka is down, the history
    /// of a batch with many lanes would outgrow the server's limit.
    async fn publish(&self, ctx: &Context) {
        if self.publishing.replace(true) {
            return;
        }
        loop {
            let handed = self.handed();
            let Some(last) = handed.events.last() else {
                break;
            };
            let upto = last.sequence + 1;
            let steps = &self.start.steps;
            let options = options(steps, steps.backoff(), self.scope.clone(), PUBLISH_TRY);
            let published = ctx.execute_activity(RequestActivities::publish, handed, options);
            if readable(ctx, published.await).await.is_err() {
                break;
            }
            self.decide(|journal| journal.confirm(upto));
        }
        self.publishing.set(false);
    }

    fn decide(&self, what: impl FnOnce(&mut Journal)) {
        what(&mut self.journal.borrow_mut());
    }

    /// Takes the next item of this segment, unless no more may start. The server may ask to end a segment early, when
    /// the history grows too large.
    fn take(&self, ctx: &Context, items: &Items, segment: &Range<u32>) -> Option<u32> {
        let index = self.next.get();
        let stopped = self.tally.get().is_stopped(items.on_failure());
        let over =
            !segment.contains(&index) || index > segment.start && ctx.continue_as_new_suggested();
        if over || stopped || self.scope.is_cancelled() {
            return None;
        }
        self.next.set(index + 1);
        Some(index)
    }

    async fn count(&self, ctx: &Context, ending: ItemEnding) {
        let mut tally = self.tally.get();
        tally.count(ending);
        let due = tally.progress(now(ctx), self.start.progress_every_ms);
        self.tally.set(tally);
        self.show(ctx, "generating");
        if let Some(progress) = due {
            self.decide(|journal| journal.progress(&self.identity, now(ctx), &progress));
            self.publish(ctx).await;
        }
    }

    /// Returns the outcome, once no item runs any more.
    fn outcome(&self, on_failure: OnFailure) -> Outcome {
        let asked = if self.expired.get() {
            let message = format!("not done within {} ms", self.start.timeout_ms);
            Some(failed(ErrorCode::DeadlineExceeded, &message, true))
        } else {
            self.scope.is_cancelled().then_some(Outcome::Cancelled)
        };
        self.tally.get().outcome(on_failure, asked)
    }

    /// Decides the outcome, publishes it and closes the workflow accordingly.
    async fn conclude(self, ctx: &Context, outcome: Outcome) -> WorkflowResult<BatchSummary> {
        let summary = self.tally.get().summary();
        self.decide(|journal| journal.close_batch(&self.identity, now(ctx), outcome, summary));
        self.show(ctx, "finishing");
        let input = Finish {
            handed: self.handed(),
            leftover: Leftover::None,
            started_at: self.started_at,
            sent_at: None,
        };
        finish(ctx, &self.start.steps, input).await;
        match self.journal.take().outcome {
            Some(Outcome::BatchCompleted | Outcome::Completed(_)) => {
                self.show(ctx, "completed");
                Ok(summary)
            }
            Some(Outcome::Failed(error)) => {
                self.show(ctx, "failed");
                let ended = without_result(Some(&error));
                ctx.state_mut(|state| state.status.error = Some(error));
                Err(ended)
            }
            Some(Outcome::Cancelled) | None => {
                self.show(ctx, "cancelled");
                Err(without_result(None))
            }
        }
    }

    fn show(&self, ctx: &Context, word: &str) {
        let tally = self.tally.get();
        let at = now(ctx);
        ctx.state_mut(|Batch { status, .. }| {
            word.clone_into(&mut status.state);
            status.percent = tally.percent();
            status.batch = Some(tally.summary());
            status.updated_at = at;
        });
    }
}

/// Runs the items of one segment; returns `None` if more items are left and may start.
async fn drive(ctx: &Context, run: &Run, items: &Items) -> Option<Outcome> {
    let total = items.total();
    let left = run.left(ctx);
    if left.is_zero() && !run.scope.is_cancelled() {
        if run.next.get() == 0 {
            let why = "the deadline was over before the first step";
            return Some(failed(ErrorCode::NotStartedInTime, why, true));
        }
        run.expire();
    }
    if !run.scope.is_cancelled() {
        let deadline = TimerOptions::builder(left)
            .cancellation_token(WorkflowCancellationToken::new())
            .build();
        let mut deadline = ctx.timer(deadline);
        let mut working = pin!(window(ctx, run, items).fuse());
        loop {
            workflows::select! {
                () = working => break,
                timer = deadline => if matches!(timer, TimerResult::Fired) {
                    run.expire();
                },
            }
        }
    }
    let stopped = run.tally.get().is_stopped(items.on_failure());
    let goes_on = run.next.get() < total && !stopped && !run.scope.is_cancelled();
    (!goes_on).then(|| run.outcome(items.on_failure()))
}

/// Publishes the events decided so far, then keeps the window full of running items until the segment is done.
async fn window(ctx: &Context, run: &Run, items: &Items) {
    run.publish(ctx).await;
    run.show(ctx, "generating");
    let first = run.next.get();
    let end = first.saturating_add(run.start.segment.max(1));
    let segment = &(first..end.min(items.total()));
    let lanes = (0..items.window()).map(|_| async move {
        while let Some(index) = run.take(ctx, items, segment) {
            if let Some(ending) = item(ctx, run, items, index).await {
                run.count(ctx, ending).await;
            }
        }
    });
    workflows::join_all(lanes).await;
}

/// Runs one item to its end; returns `None` if the batch was asked to end before the item began.
async fn item(ctx: &Context, run: &Run, items: &Items, index: u32) -> Option<ItemEnding> {
    let start = items.start(&run.start, index)?;
    let size = start.weight();
    let workflow = start.request.run(0);
    let room = ctx.wait_condition(|batch| batch.starting == 0 || batch.starting + size <= STARTING);
    if room.await.is_err() || run.scope.is_cancelled() {
        return None;
    }
    // A token of its own, so that no cancel reaches the start: it must be known whether the item began. The end of one
    // that did is awaited and counted.
    let token = WorkflowCancellationToken::new();
    let options = child(ctx, &start, token);
    ctx.state_mut(|batch| batch.starting += size);
    let started = ctx.start_child_workflow(Generation::run, start, options);
    let started = started.await;
    ctx.state_mut(|batch| batch.starting -= size);
    let Ok(started) = started else {
        return Some(ItemEnding::Taken);
    };
    let closed = ClosedItem {
        workflow,
        run_id: started.run_id.clone(),
    };
    let mut result = started.result();
    let mut asked = pin!(run.scope.cancelled());
    let ended = loop {
        workflows::select! {
            ended = result => break ended,
            () = asked => {
                let reason = run.scope.reason().unwrap_or_default();
                result.cancel_with_reason(reason);
            },
        }
    };
    Some(match ended {
        // A result that this build cannot read is still a result.
        Ok(_) | Err(ChildWorkflowExecutionError::Serialization(_)) => ItemEnding::Completed,
        Err(error) => match error.cause() {
            Some(IncomingError::Cancelled(_)) => ItemEnding::Cancelled,
            Some(IncomingError::Terminated(_) | IncomingError::Timeout(_)) => {
                let options = || detached(READ_TRY);
                done(ctx, || RequestActivities::item_ending, closed, options).await
            }
            Some(_) | None => ItemEnding::Failed,
        },
    })
}

fn child(ctx: &Context, start: &Start, token: WorkflowCancellationToken) -> ChildWorkflowOptions {
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
