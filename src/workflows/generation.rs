//! `generation.v1`: takes one run of a request from its start to its one published outcome.
//!
//! Implements section 3 of the contract. The workflow decides events and passes them to the next activity, which
//! publishes them before its own work. All code here must depend on nothing but the input and the history.

#![deny(clippy::disallowed_methods)]

mod state;

use std::pin::pin;

use temporalio_macros::{workflow, workflow_methods};
use temporalio_sdk::workflows;
use temporalio_sdk::{
    ActivityExecutionError, ActivityOptions, SyncWorkflowContext, WaitConditionOptions,
    WorkflowCancellationToken, WorkflowContext, WorkflowContextView, WorkflowResult,
    WorkflowTermination,
};

use self::state::GenerationRun;
use crate::contract::activities::RequestActivities;
use crate::contract::run::{
    Fetch, Fetched, Job, JobLookup, LastProgress, ProviderJobLeft, RunState, Start, StatusAnswer,
    Submitted,
};
use crate::contract::search_attributes::{called_back, cancelling};
use crate::domain::{ErrorCode, EventError, Generated, Outcome};
use crate::workflows::run_core::{Ending, HasStatus, not_started_in_time, show};
use crate::workflows::support::{failed, last_record, now, readable};

pub const NAME: &str = "generation.v1";

#[workflow]
#[derive(Default)]
pub struct Generation {
    status: StatusAnswer,
    /// Whether the provider has called back since `fetch` was last scheduled.
    is_called_back: bool,
}

#[workflow_methods]
impl Generation {
    /// Takes one run to its outcome.
    #[run(name = "generation.v1")]
    pub async fn run(ctx: &mut WorkflowContext<Self>, start: Start) -> WorkflowResult<Generated> {
        let mut run = GenerationRun::open(ctx, start);
        let ending = drive(ctx, &mut run).await;
        match run.core.conclude(ctx, ending, None, run.sent_at).await? {
            Outcome::Completed(generated) => Ok(generated),
            // `conclude` returns an error for the last two, and only a batch ends as the first.
            Outcome::BatchCompleted | Outcome::Failed(_) | Outcome::Cancelled => {
                Err(WorkflowTermination::cancelled())
            }
        }
    }

    /// Notes that the provider has called back a worker that does not poll the job.
    #[signal(name = "callback")]
    pub fn callback(&mut self, _: &mut SyncWorkflowContext<Self>) {
        self.is_called_back = true;
    }

    /// Returns the progress of the run.
    #[query]
    pub fn status(&self, _: &WorkflowContextView) -> StatusAnswer {
        self.status.clone()
    }
}

impl HasStatus for Generation {
    fn status_mut(&mut self) -> &mut StatusAnswer {
        &mut self.status
    }
}

type Context = WorkflowContext<Generation>;

/// How the submit to a candidate ended.
enum Answer {
    Accepted(Job),
    /// The next candidate may make it.
    Declined {
        model: String,
        error: EventError,
        skipped: bool,
    },
    /// The run ends.
    Ended(Box<Ending>),
}

/// Submits to the candidates in turn, each after the one before has declined (contract, 6.12); then fetches until the
/// result is stored, or until a cancel or the deadline ends the run.
async fn drive(ctx: &Context, run: &mut GenerationRun) -> Ending {
    if run.core.scope.is_cancelled() {
        return Outcome::Cancelled.into();
    }
    if run.core.time_left(ctx).is_zero() {
        return not_started_in_time().into();
    }
    // Why the last candidate that got a submit declined. A skipped one does not count.
    let mut refusal = None;
    let ending = loop {
        match submit_job(ctx, run).await {
            Answer::Accepted(job) => break fetch_until_stored(ctx, run, job).await,
            Answer::Ended(ending) => break *ending,
            Answer::Declined {
                model,
                error,
                skipped,
            } => {
                run.tried(ctx, &model, &error);
                let error = refusal.take().filter(|_| skipped).unwrap_or(error);
                let is_last = run.candidate as usize == run.start.fallback.len();
                if is_last || run.core.is_over(ctx) {
                    return Outcome::Failed(error).into();
                }
                refusal = Some(error);
                run.candidate += 1;
            }
        }
    };
    run.last(ctx, ending)
}

/// Runs `submit` for the candidate whose turn it is.
async fn submit_job(ctx: &Context, run: &mut GenerationRun) -> Answer {
    show(ctx, |status| status.state = RunState::Submitting);
    let upto = run.core.next_sequence();
    let (input, options) = run.submit(ctx);
    let lookup = input.job_lookup(&run.core.input.identity.run_id, run.core.started_at);
    let submit = ctx.execute_activity(RequestActivities::submit, input, options);
    let submitted = readable(ctx, submit.await).await;
    if let Ok(submitted) = &submitted {
        run.core.confirm(upto);
        let known = run.core.budget.get();
        run.core.budget.set(known.after(run.candidate, submitted));
    }
    let ending = match submitted {
        Ok(Submitted::Accepted {
            job,
            attempts,
            sent_at,
            input,
            ..
        }) => {
            show(ctx, |status| status.state = RunState::Generating);
            run.accepted(ctx, &job.id, attempts, sent_at);
            run.sent = input;
            return Answer::Accepted(job);
        }
        Ok(Submitted::Stored {
            result,
            attempts,
            sent_at,
            ..
        }) => {
            run.accepted(ctx, &result.provider_job_id, attempts, sent_at);
            Outcome::Completed(result).into()
        }
        Ok(Submitted::Adopted(generated)) => Outcome::Completed(generated).into(),
        Ok(Submitted::Refused { error, .. }) => Outcome::Failed(error).into(),
        Ok(Submitted::Declined {
            model,
            error,
            skipped,
            ..
        }) => {
            return Answer::Declined {
                model,
                error,
                skipped,
            };
        }
        Ok(Submitted::Ambiguous { error, lookup, .. }) => Ending {
            outcome: Outcome::Failed(error),
            leftover: ProviderJobLeft::Unknown(lookup),
        },
        Err(error) => unanswered(ctx, run, &error, lookup),
    };
    Answer::Ended(Box::new(ending))
}

/// Returns the ending of a run whose `submit` failed: what may be left at the provider follows from its last record.
fn unanswered(
    ctx: &Context,
    run: &mut GenerationRun,
    error: &ActivityExecutionError,
    lookup: JobLookup,
) -> Ending {
    let record = last_record(error);
    let known = run.core.budget.get();
    run.core.budget.set(known.after_record(record));
    let leftover = ProviderJobLeft::of(record, lookup);
    run.expire_by(ctx, error);
    run.ended(leftover, no_result(ErrorCode::SubmitAmbiguous, error))
}

/// Runs `fetch`, again after each milestone, until the job's outputs are stored or there will be none.
async fn fetch_until_stored(ctx: &Context, run: &mut GenerationRun, job: Job) -> Ending {
    let mut last_progress = None;
    let mut reported = 0;
    while !run.core.is_over(ctx) {
        let upto = run.core.next_sequence();
        let (input, options) = run.fetch(ctx, &job, last_progress.as_ref(), reported);
        let fetched = readable(ctx, fetch(ctx, run, input, options).await).await;
        if fetched.is_ok() {
            run.core.confirm(upto);
        }
        match fetched {
            Ok(Fetched::Milestone(progress)) => {
                let at = now(ctx);
                run.core
                    .decide(|journal, run| journal.progress(run, at, &progress));
                show(ctx, |status| {
                    status.stage = Some(progress.stage.clone());
                    status.percent = progress.percent;
                    status.updated_at = at;
                });
                last_progress = Some(LastProgress { progress, at });
                reported += 1;
            }
            Ok(Fetched::Stored {
                outputs,
                cost_usd,
                cost_source,
            }) => {
                return run.completed(ctx, outputs, &job, (cost_usd, cost_source));
            }
            // A job that cannot be polled any more may still run; cancelling a job that has ended does no harm.
            Ok(Fetched::Failed(error)) => {
                return Ending {
                    outcome: Outcome::Failed(error),
                    leftover: ProviderJobLeft::Job(job),
                };
            }
            Err(error) => {
                run.expire_by(ctx, &error);
                let failed = no_result(ErrorCode::ResultUnavailable, &error);
                return run.ended(ProviderJobLeft::Job(job), failed);
            }
        }
    }
    run.ended(ProviderJobLeft::Job(job), Outcome::Cancelled)
}

/// Runs `fetch` once. A cancel or a callback also sets a search attribute, by which the worker notices it within
/// seconds: its next heartbeat, or its next poll, may be minutes away.
async fn fetch(
    ctx: &Context,
    run: &GenerationRun,
    input: Fetch,
    options: ActivityOptions,
) -> Result<Fetched, ActivityExecutionError> {
    // The first poll of this `fetch` notices earlier callbacks.
    ctx.state_mut(|workflow| workflow.is_called_back = false);
    let mut fetching = pin!(ctx.execute_activity(RequestActivities::fetch, input, options));
    let mut cancelled = pin!(run.core.scope.cancelled());
    let is_called_back = |workflow: &Generation| workflow.is_called_back;
    // A cancel must not end this wait: it would look like a callback.
    let uncancelled = WaitConditionOptions::builder()
        .cancellation_token(WorkflowCancellationToken::new())
        .build();
    let mut called = pin!(ctx.wait_condition_with_options(is_called_back, uncancelled));
    workflows::select! {
        fetched = fetching => return fetched,
        () = cancelled => ctx.upsert_search_attributes(cancelling()),
        _ = called => {
            // Histories of builds without callbacks have no command here.
            if ctx.patched("callback") {
                ctx.upsert_search_attributes(called_back());
            }
            workflows::select! {
                fetched = fetching => return fetched,
                () = cancelled => ctx.upsert_search_attributes(cancelling()),
            }
        }
    }
    fetching.await
}

/// Returns the outcome after an activity that failed in a way that no retry fixes.
fn no_result(code: ErrorCode, error: &ActivityExecutionError) -> Outcome {
    failed(code, &error.to_string(), true)
}
