//! `generation.v1`: takes one run of a request from its start to its one published outcome.
//!
//! Implements section 3 of the contract. The workflow decides events and passes them to the next activity, which
//! publishes them before its own work. All code here must depend on nothing but the input and the history.

#![deny(clippy::disallowed_methods)]

use std::cell::Cell;
use std::ops::ControlFlow;
use std::pin::{Pin, pin};
use std::time::Duration;

use futures::future::FusedFuture;
use temporalio_macros::{workflow, workflow_methods};
use temporalio_sdk::workflows;
use temporalio_sdk::{
    ActivityExecutionError, ActivityOptions, TimerOptions, TimerResult, WorkflowCancellationToken,
    WorkflowContext, WorkflowContextView, WorkflowResult,
};

use crate::contract::activities::RequestActivities;
use crate::contract::run::{
    Fetch, Fetched, Finish, Handed, Job, LastProgress, Leftover, Start, Status, Submit, Submitted,
};
use crate::domain::time::since_epoch;
use crate::domain::{ErrorCode, Generated, Identity, Journal, Outcome};
use crate::workflows::support::{
    failed, finish, last_record, now, options, readable, without_result,
};

/// The workflow type.
pub const NAME: &str = "generation.v1";
/// Start-to-close time-out of `submit`: it publishes, reads the store, sends, and looks jobs up.
const SUBMIT_TRY: Duration = Duration::from_secs(300);
/// Start-to-close time-out of `fetch`, longer than any deadline: the deadline ends the wait for the provider.
const FETCH_TRY: Duration = Duration::from_secs(8 * 24 * 3600);

/// One run of one request.
#[workflow]
#[derive(Default)]
pub struct Generation {
    status: Status,
}

#[workflow_methods]
impl Generation {
    /// Takes one run to its outcome.
    #[run(name = "generation.v1")]
    pub async fn run(ctx: &mut WorkflowContext<Self>, start: Start) -> WorkflowResult<Generated> {
        let mut run = Run::open(ctx, start);
        let ending = drive(ctx, &mut run).await;
        run.journal.close(&run.identity, now(ctx), ending.outcome);
        conclude(ctx, &run, ending.leftover).await;
        run.result(ctx)
    }

    /// Returns the progress of the run.
    #[query]
    pub fn status(&self, _: &WorkflowContextView) -> Status {
        self.status.clone()
    }
}

type Context = WorkflowContext<Generation>;

/// The state of a run.
struct Run {
    start: Start,
    identity: Identity,
    journal: Journal,
    started_at: i64,
    /// When the job was first sent to the provider that accepted it, in milliseconds since the epoch.
    sent_at: Option<i64>,
    /// Scope of the running activity; a cancel of the workflow cancels it, and so does the deadline.
    scope: WorkflowCancellationToken,
    expired: Cell<bool>,
}

/// How a run ends, and what may still run at the provider.
struct Ending {
    outcome: Outcome,
    leftover: Leftover,
}

impl Ending {
    /// Returns an ending that leaves nothing at the provider.
    fn of(outcome: Outcome) -> Self {
        let leftover = Leftover::None;
        Self { outcome, leftover }
    }
}

impl Run {
    fn open(ctx: &Context, mut start: Start) -> Self {
        let info = ctx.info();
        let identity = start.identity(info.run_id(), info.first_execution_run_id());
        let mut journal = std::mem::take(&mut start.journal);
        let started_at = info.start_time().map(since_epoch).unwrap_or_default();
        journal.open(&identity, started_at);
        ctx.state_mut(|state| {
            state.status = Status {
                request_id: start.request.to_string(),
                kind: identity.kind.as_str().to_owned(),
                state: "queued".to_owned(),
                started_at,
                updated_at: started_at,
                ..Status::default()
            };
        });
        let scope = ctx.cancellation_token().child_token();
        Self {
            start,
            identity,
            journal,
            started_at,
            sent_at: None,
            scope,
            expired: Cell::new(false),
        }
    }

    fn handed(&self) -> Handed {
        Handed {
            workflow: self.start.request.run(self.start.retry),
            fingerprint: Some(self.start.fingerprint.clone()),
            events: self.journal.unconfirmed.clone(),
            traceparent: self.start.traceparent.clone(),
        }
    }

    /// Returns the time until the deadline, which counts from the workflow's start, not from its first task.
    fn left(&self, ctx: &Context) -> Duration {
        let gone = u64::try_from(now(ctx) - self.started_at).unwrap_or(0);
        Duration::from_millis(self.start.timeout_ms.saturating_sub(gone))
    }

    /// Returns the options of `submit`, which has a queue of its own if its provider has a rate limit.
    fn submitting(&self) -> ActivityOptions {
        let steps = &self.start.steps;
        let mut options = options(steps, steps.submit, self.scope.clone(), SUBMIT_TRY);
        options.task_queue = self.start.submit_queue.clone();
        options
    }

    /// Returns the options of `fetch`.
    fn fetching(&self) -> ActivityOptions {
        let steps = &self.start.steps;
        let mut options = options(steps, steps.fetch, self.scope.clone(), FETCH_TRY);
        options.task_queue = Some(self.start.fetch_queue.clone());
        options
    }

    /// Cancels the running activity for the deadline. If a cancel came first, the run ends as cancelled instead.
    fn expire(&self) {
        if !self.scope.is_cancelled() {
            self.expired.set(true);
            self.scope.cancel_with_reason("deadline");
        }
    }

    /// Returns the ending that the deadline or a cancel has asked for.
    fn asked(&self, leftover: Leftover) -> Ending {
        let outcome = if self.expired.get() {
            let time = self.start.timeout_ms;
            let message = match &leftover {
                Leftover::None | Leftover::Job(_) => format!("not done within {time} ms"),
                Leftover::Unknown(_) => {
                    format!("not known to have been taken by the provider within {time} ms")
                }
            };
            failed(ErrorCode::DeadlineExceeded, &message, true)
        } else {
            Outcome::Cancelled
        };
        Ending { outcome, leftover }
    }

    fn completed(
        &self,
        ctx: &Context,
        fetched: Vec<crate::domain::Output>,
        job: &Job,
        cost_usd: Option<f64>,
    ) -> Ending {
        let generated = Generated {
            outputs: fetched,
            provider: job.provider.as_str().to_owned(),
            provider_job_id: job.id.clone(),
            elapsed_ms: now(ctx) - self.started_at,
            cost_usd,
            sent: None,
            notes: Vec::new(),
        };
        Ending::of(Outcome::Completed(generated))
    }

    /// Closes the run according to its outcome (contract, rule 7).
    fn result(self, ctx: &Context) -> WorkflowResult<Generated> {
        match self.journal.outcome {
            Some(Outcome::Completed(generated)) => {
                show(ctx, |status| "completed".clone_into(&mut status.state));
                Ok(generated)
            }
            Some(Outcome::Failed(error)) => {
                let ended = without_result(Some(&error));
                show(ctx, |status| {
                    "failed".clone_into(&mut status.state);
                    status.error = Some(error);
                });
                Err(ended)
            }
            Some(Outcome::Cancelled | Outcome::BatchCompleted) | None => {
                show(ctx, |status| "cancelled".clone_into(&mut status.state));
                Err(without_result(None))
            }
        }
    }
}

/// Submits, then fetches until the result is stored, or until a cancel or the deadline ends the run.
async fn drive(ctx: &Context, run: &mut Run) -> Ending {
    if run.scope.is_cancelled() {
        return run.asked(Leftover::None);
    }
    let left = run.left(ctx);
    if left.is_zero() {
        return Ending::of(failed(
            ErrorCode::NotStartedInTime,
            "the deadline was over before the first step",
            true,
        ));
    }
    let deadline = TimerOptions::builder(left)
        .cancellation_token(WorkflowCancellationToken::new())
        .build();
    let mut deadline = pin!(ctx.timer(deadline));
    match submit_job(ctx, run, deadline.as_mut()).await {
        ControlFlow::Continue(job) => fetch_until_stored(ctx, run, job, deadline).await,
        ControlFlow::Break(ending) => ending,
    }
}

/// Runs `submit`; goes on with the job, if the provider has accepted one.
async fn submit_job(
    ctx: &Context,
    run: &mut Run,
    deadline: Pin<&mut impl FusedFuture<Output = TimerResult>>,
) -> ControlFlow<Ending, Job> {
    show(ctx, |status| "submitting".clone_into(&mut status.state));
    let upto = run.journal.next;
    let submit = ctx.execute_activity(RequestActivities::submit, run.submit(), run.submitting());
    let submitted = readable(ctx, within(run, deadline, submit).await).await;
    if submitted.is_ok() {
        run.journal.confirm(upto);
    }
    let ending = match submitted {
        Ok(Submitted::Accepted {
            job,
            attempts,
            sent_at,
        }) => {
            show(ctx, |status| "generating".clone_into(&mut status.state));
            run.sent(ctx, &job.id, attempts, sent_at);
            return ControlFlow::Continue(job);
        }
        Ok(Submitted::Stored {
            result,
            attempts,
            sent_at,
        }) => {
            run.sent(ctx, &result.provider_job_id, attempts, sent_at);
            Ending::of(Outcome::Completed(result))
        }
        Ok(Submitted::Adopted(generated)) => Ending::of(Outcome::Completed(generated)),
        Ok(Submitted::Refused(error)) => Ending::of(Outcome::Failed(error)),
        Ok(Submitted::Ambiguous { error, sought }) => Ending {
            outcome: Outcome::Failed(error),
            leftover: Leftover::Unknown(sought),
        },
        Err(error) => {
            let sought = run.start.sought(&run.identity.run_id, run.started_at);
            let leftover = Leftover::of(last_record(&error), sought);
            run.without(&error, leftover, ErrorCode::SubmitAmbiguous)
        }
    };
    ControlFlow::Break(ending)
}

/// Runs `fetch`, again after each milestone, until the job's outputs are stored or there will be none.
async fn fetch_until_stored(
    ctx: &Context,
    run: &mut Run,
    job: Job,
    mut deadline: Pin<&mut impl FusedFuture<Output = TimerResult>>,
) -> Ending {
    let mut told = None;
    let mut tellings = 0;
    while !run.scope.is_cancelled() {
        let upto = run.journal.next;
        let input = run.fetch(&job, told.as_ref(), tellings);
        let fetch = ctx.execute_activity(RequestActivities::fetch, input, run.fetching());
        match readable(ctx, within(run, deadline.as_mut(), fetch).await).await {
            Ok(Fetched::Milestone(progress)) => {
                run.journal.confirm(upto);
                run.journal.progress(&run.identity, now(ctx), &progress);
                show(ctx, |status| {
                    status.stage = Some(progress.stage.clone());
                    status.percent = progress.percent;
                    status.updated_at = now(ctx);
                });
                told = Some(LastProgress {
                    progress,
                    at: now(ctx),
                });
                tellings += 1;
            }
            Ok(Fetched::Stored { outputs, cost_usd }) => {
                run.journal.confirm(upto);
                return run.completed(ctx, outputs, &job, cost_usd);
            }
            Ok(Fetched::Failed(error)) => {
                run.journal.confirm(upto);
                // A job that cannot be polled any more may still run; a cancel of one that has ended does no harm.
                return Ending {
                    outcome: Outcome::Failed(error),
                    leftover: Leftover::Job(job),
                };
            }
            Err(error) => {
                return run.without(&error, Leftover::Job(job), ErrorCode::ResultUnavailable);
            }
        }
    }
    run.asked(Leftover::Job(job))
}

/// Waits for an activity, which the deadline cancels. After a cancel it still awaits the activity's real end (contract,
/// rule 6).
async fn within<T>(
    run: &Run,
    mut deadline: Pin<&mut impl FusedFuture<Output = TimerResult>>,
    activity: impl FusedFuture<Output = T>,
) -> T {
    let mut activity = pin!(activity);
    loop {
        workflows::select! {
            result = activity => return result,
            timer = deadline => if matches!(timer, TimerResult::Fired) {
                run.expire();
            },
        }
    }
}

impl Run {
    fn submit(&self) -> Submit {
        Submit {
            handed: self.handed(),
            spec: self.start.spec.clone(),
            provider: self.start.provider,
            attempts: self.start.steps.submit_attempts,
            started_at: self.started_at,
        }
    }

    /// Notes a job that the provider has accepted.
    fn sent(&mut self, ctx: &Context, job_id: &str, attempts: u32, sent_at: Option<i64>) {
        self.sent_at = sent_at;
        show(ctx, |status| {
            status.provider_job_id = Some(job_id.to_owned());
            status.attempts = attempts;
            status.submitted_at = sent_at;
            status.updated_at = now(ctx);
        });
    }

    fn fetch(&self, job: &Job, told: Option<&LastProgress>, tellings: u32) -> Fetch {
        Fetch {
            handed: self.handed(),
            job: job.clone(),
            told: told.cloned(),
            may_tell: tellings < self.start.steps.progress_most,
            progress_every_ms: self.start.steps.progress_every_ms,
        }
    }

    /// Returns the ending after an activity without a result: the one asked for, or a failure that no retry fixes.
    fn without(
        &self,
        error: &ActivityExecutionError,
        leftover: Leftover,
        code: ErrorCode,
    ) -> Ending {
        if self.scope.is_cancelled() {
            return self.asked(leftover);
        }
        Ending {
            outcome: failed(code, &error.to_string(), true),
            leftover,
        }
    }
}

/// Runs `finish`, which publishes the outcome and cancels what is left at the provider.
async fn conclude(ctx: &Context, run: &Run, leftover: Leftover) {
    show(ctx, |status| {
        "finishing".clone_into(&mut status.state);
        // The provider is done, whatever stage it reported last; and a quick one may have reported no percentage.
        status.stage = None;
        if matches!(run.journal.outcome, Some(Outcome::Completed(_))) {
            status.percent = 100;
        }
        status.updated_at = now(ctx);
    });
    let input = Finish {
        handed: run.handed(),
        leftover,
        started_at: run.started_at,
        sent_at: run.sent_at,
    };
    finish(ctx, &run.start.steps, input).await;
}

fn show(ctx: &Context, change: impl FnOnce(&mut Status)) {
    ctx.state_mut(|state| change(&mut state.status));
}
