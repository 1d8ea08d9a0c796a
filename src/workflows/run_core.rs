//! What runs and batches share: the events that they decide, their deadline and cancellation, their status and end.

#![deny(clippy::disallowed_methods)]

use std::cell::{Cell, RefCell};
use std::time::Duration;

use temporalio_common::error::ApplicationFailure;
use temporalio_sdk::{WorkflowCancellationToken, WorkflowContext, WorkflowTermination};

use crate::contract::activities::RequestActivities;
use crate::contract::run::{
    BudgetUse, Finish, PendingEvents, ProviderJobLeft, RunInput, RunState, StatusAnswer,
};
use crate::domain::time::{since_epoch, span};
use crate::domain::{BatchSummary, ErrorCode, EventError, Identity, Journal, Outcome};
use crate::workflows::support::{FAILED, FINISH_TRY, done, failed, now, options};

/// A workflow that answers the query `status`.
pub(crate) trait HasStatus: 'static {
    fn status_mut(&mut self) -> &mut StatusAnswer;
}

/// The state of a run or a batch. No borrow is held over an `await`.
pub(crate) struct RunCore {
    pub(crate) input: RunInput,
    journal: RefCell<Journal>,
    /// When the first execution started, in milliseconds since the epoch.
    pub(crate) started_at: i64,
    /// Scope of all that runs; a cancel of the workflow cancels it, and so does the deadline.
    pub(crate) scope: WorkflowCancellationToken,
    expired: Cell<bool>,
    /// What `finish` has to settle.
    pub(crate) budget: Cell<BudgetUse>,
}

/// How a run ends, and what may still run at the provider.
pub(crate) struct Ending {
    pub(crate) outcome: Outcome,
    pub(crate) leftover: ProviderJobLeft,
}

impl From<Outcome> for Ending {
    /// Returns an ending that leaves nothing at the provider.
    fn from(outcome: Outcome) -> Self {
        let leftover = ProviderJobLeft::None;
        Self { outcome, leftover }
    }
}

impl RunCore {
    /// Decides STARTED, unless an earlier execution has, and shows the run as queued.
    ///
    /// `started_at` is when the first execution started, if this is a later one.
    pub(crate) fn open<W: HasStatus>(
        ctx: &WorkflowContext<W>,
        mut input: RunInput,
        started_at: Option<i64>,
    ) -> Self {
        let own = ctx.info().start_time().map(since_epoch).unwrap_or_default();
        let started_at = started_at.unwrap_or(own);
        let mut journal = std::mem::take(&mut input.journal);
        journal.open(&input.identity, started_at);
        show(ctx, |status| {
            *status = StatusAnswer {
                request_id: input.identity.request.to_string(),
                kind: input.identity.kind,
                started_at,
                updated_at: started_at,
                ..StatusAnswer::default()
            };
        });
        Self {
            input,
            journal: RefCell::new(journal),
            started_at,
            scope: ctx.cancellation_token().child_token(),
            expired: Cell::new(false),
            budget: Cell::default(),
        }
    }

    pub(crate) fn decide(&self, what: impl FnOnce(&mut Journal, &Identity)) {
        what(&mut self.journal.borrow_mut(), &self.input.identity);
    }

    /// Returns the sequence of the next event: an activity that starts now receives all unconfirmed events below it.
    pub(crate) fn next_sequence(&self) -> i32 {
        self.journal.borrow().next
    }

    /// Notes that an activity that received the events below `upto` returned Ok.
    pub(crate) fn confirm(&self, upto: i32) {
        self.journal.borrow_mut().confirm(upto);
    }

    pub(crate) fn into_journal(self) -> Journal {
        self.journal.into_inner()
    }

    pub(crate) fn pending(&self) -> PendingEvents {
        PendingEvents {
            workflow: self.input.identity.workflow(),
            fingerprint: self.input.fingerprint.clone(),
            events: self.journal.borrow().unconfirmed.clone(),
            traceparent: self.input.traceparent.clone(),
        }
    }

    /// Returns the time until the deadline, which counts from the start, not from the first task.
    pub(crate) fn time_left<W: 'static>(&self, ctx: &WorkflowContext<W>) -> Duration {
        Duration::from_millis(self.input.timeout_ms).saturating_sub(span(self.started_at, now(ctx)))
    }

    /// Returns the deadline, in milliseconds since the epoch.
    pub(crate) fn deadline(&self) -> i64 {
        let timeout = i64::try_from(self.input.timeout_ms).unwrap_or(i64::MAX);
        self.started_at.saturating_add(timeout)
    }

    /// Cancels all that runs, since the deadline has passed. If a cancel came first, the run ends as cancelled instead.
    pub(crate) fn expire(&self) {
        if !self.scope.is_cancelled() {
            self.expired.set(true);
            self.scope.cancel_with_reason("deadline");
        }
    }

    /// Returns whether the run must end: it was cancelled, or its deadline has passed, which is then noted.
    pub(crate) fn is_over<W: 'static>(&self, ctx: &WorkflowContext<W>) -> bool {
        if self.time_left(ctx).is_zero() {
            self.expire();
        }
        self.scope.is_cancelled()
    }

    /// Returns the outcome that the deadline or a cancel asks for; `late` says what did not happen in time.
    pub(crate) fn asked(&self, late: &str) -> Option<Outcome> {
        if self.expired.get() {
            let message = format!("{late} within {} ms", self.input.timeout_ms);
            return Some(failed(ErrorCode::DeadlineExceeded, &message, true));
        }
        self.scope.is_cancelled().then_some(Outcome::Cancelled)
    }

    /// Decides the outcome, publishes it, and returns it, or how to close the workflow without a result (contract,
    /// rule 7).
    pub(crate) async fn conclude<W: HasStatus>(
        &self,
        ctx: &WorkflowContext<W>,
        ending: Ending,
        items: Option<BatchSummary>,
        sent_at: Option<i64>,
    ) -> Result<Outcome, WorkflowTermination> {
        let Ending { outcome, leftover } = ending;
        self.decide(|journal, run| journal.close(run, now(ctx), outcome.clone(), items));
        show(ctx, |status| {
            status.state = RunState::Finishing;
            // The provider is done, whatever stage it reported last; and a quick one may have reported no percentage.
            status.stage = None;
            if matches!(outcome, Outcome::Completed(_)) {
                status.percent = 100;
            }
            status.updated_at = now(ctx);
        });
        let input = Finish {
            pending: self.pending(),
            leftover,
            started_at: self.started_at,
            sent_at,
            budget: self.budget.get(),
        };
        let steps = &self.input.steps;
        let detached = || {
            let scope = WorkflowCancellationToken::new();
            options(steps, steps.backoff(), scope, FINISH_TRY)
        };
        done(ctx, || RequestActivities::finish, input, detached).await;
        let (state, error) = match &outcome {
            Outcome::Completed(_) | Outcome::BatchCompleted => (RunState::Completed, None),
            Outcome::Failed(error) => (RunState::Failed, Some(error.clone())),
            Outcome::Cancelled => (RunState::Cancelled, None),
        };
        show(ctx, |status| {
            status.state = state;
            status.error.clone_from(&error);
        });
        match outcome {
            Outcome::Failed(error) => Err(failure(&error)),
            Outcome::Cancelled => Err(WorkflowTermination::cancelled()),
            Outcome::Completed(_) | Outcome::BatchCompleted => Ok(outcome),
        }
    }
}

/// Returns the outcome of a run whose deadline was over before anything was scheduled (contract, rule 3).
pub(crate) fn not_started_in_time() -> Outcome {
    let why = "the deadline was over before the first step";
    failed(ErrorCode::NotStartedInTime, why, true)
}

/// Changes the answer to the query `status`.
pub(crate) fn show<W: HasStatus>(ctx: &WorkflowContext<W>, change: impl FnOnce(&mut StatusAnswer)) {
    ctx.state_mut(|workflow| change(workflow.status_mut()));
}

fn failure(error: &EventError) -> WorkflowTermination {
    let message = anyhow::anyhow!("{}: {}", error.code.as_str(), error.message);
    ApplicationFailure::builder(message)
        .type_name(FAILED.to_owned())
        .non_retryable(true)
        .build()
        .into()
}
