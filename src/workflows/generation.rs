//! `generation.v1`: takes one run of a request from its start to its one published outcome.
//!
//! Implements section 3 of the contract. The workflow decides events and passes them to the next activity, which
//! publishes them before its own work. All code here must depend on nothing but the input and the history.

#![deny(clippy::disallowed_methods)]

use std::pin::pin;
use std::time::Duration;

use temporalio_common::ActivityCloseTimeouts;
use temporalio_macros::{workflow, workflow_methods};
use temporalio_sdk::workflows;
use temporalio_sdk::{
    ActivityExecutionError, ActivityOptions, SyncWorkflowContext, WaitConditionOptions,
    WorkflowCancellationToken, WorkflowContext, WorkflowContextView, WorkflowResult,
    WorkflowTermination,
};

use crate::contract::activities::RequestActivities;
use crate::contract::run::{
    Candidate, Fetch, Fetched, Job, LastProgress, ProviderJobLeft, RunState, SentInput, Start,
    StatusAnswer, Submit, Submitted,
};
use crate::contract::search_attributes::{called_back, cancelling};
use crate::domain::{CostSource, ErrorCode, EventError, Generated, Outcome, Output, Tried};
use crate::workflows::run_core::{Ending, HasStatus, RunCore, not_started_in_time, show};
use crate::workflows::support::{failed, is_expired, last_record, now, options, readable};

pub const NAME: &str = "generation.v1";
/// Start-to-close time-out of `submit`: it publishes, reads the store, sends, and looks jobs up.
const SUBMIT_TRY: Duration = Duration::from_secs(300);
/// Time that an attempt of `fetch` has after the deadline: `STORE_GRACE`, which is at most a minute, and a margin.
const FETCH_GRACE: Duration = Duration::from_secs(90);

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

struct GenerationRun {
    start: Start,
    core: RunCore,
    /// When the job was first sent to the provider that accepted it, in milliseconds since the epoch.
    sent_at: Option<i64>,
    /// The input that the model was sent.
    sent: SentInput,
    /// The candidate that is asked: 0 for the request's own model, n for the n-th fallback.
    candidate: u32,
}

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

impl GenerationRun {
    fn open(ctx: &Context, start: Start) -> Self {
        let info = ctx.info();
        let input = start.input(info.run_id(), info.first_execution_run_id());
        Self {
            core: RunCore::open(ctx, input, None),
            start,
            sent_at: None,
            sent: SentInput::default(),
            candidate: 0,
        }
    }

    fn submit(&self, ctx: &Context) -> (Submit, ActivityOptions) {
        let start = &self.start;
        let steps = &start.steps;
        let (upto, others) = start.fallback.split_at(self.candidate as usize);
        let (spec, provider, queue) = match upto.last() {
            None => (start.spec.clone(), start.provider, &start.submit_queue),
            Some(other) => {
                let spec = start.spec.at(other.provider, &other.model);
                (spec, other.provider, &other.submit_queue)
            }
        };
        let submit = Submit {
            pending: self.core.pending(),
            spec,
            provider,
            candidate: self.candidate,
            others: others.to_vec(),
            attempts: steps.submit_attempts,
            started_at: self.core.started_at,
            deadline: self.core.deadline(),
        };
        let mut options = options(steps, steps.submit, self.core.scope.clone(), SUBMIT_TRY);
        let left = self.core.time_left(ctx);
        options.schedule_to_start_timeout = Some(left);
        options.close_timeouts = ActivityCloseTimeouts::ScheduleAndStartToClose {
            // An attempt that began before the deadline may finish its submit.
            schedule_to_close: left + SUBMIT_TRY,
            start_to_close: SUBMIT_TRY,
        };
        // A queue of its own if the provider has a rate limit.
        options.task_queue = queue.clone();
        (submit, options)
    }

    /// Notes a job that the provider has accepted.
    fn accepted(&mut self, ctx: &Context, job_id: &str, attempts: u32, sent_at: Option<i64>) {
        self.sent_at = sent_at;
        show(ctx, |status| {
            status.provider_job_id = Some(job_id.to_owned());
            status.attempts = attempts;
            status.submitted_at = sent_at;
            status.updated_at = now(ctx);
        });
    }

    /// Returns the input and options of `fetch`. `reported` is the number of milestones so far.
    fn fetch(
        &self,
        ctx: &Context,
        job: &Job,
        last_progress: Option<&LastProgress>,
        reported: u32,
    ) -> (Fetch, ActivityOptions) {
        let Start { steps, .. } = &self.start;
        let fetch = Fetch {
            pending: self.core.pending(),
            job: job.clone(),
            model: self.sent.model.clone(),
            quote: self.sent.quote.clone(),
            last_progress: last_progress.cloned(),
            may_report: reported < steps.progress_most,
            progress_every_ms: steps.progress_every_ms,
            sent_at: self.sent_at.unwrap_or(self.core.started_at),
            deadline: self.core.deadline(),
        };
        let left = self.core.time_left(ctx);
        let longest = left + FETCH_GRACE;
        let mut options = options(steps, steps.fetch, self.core.scope.clone(), longest);
        options.heartbeat_timeout = Some(steps.fetch_heartbeat(self.start.timeout_ms));
        options.schedule_to_start_timeout = Some(left);
        options.close_timeouts = ActivityCloseTimeouts::ScheduleToClose(longest);
        options.task_queue = Some(self.start.fetch_queue.clone());
        (fetch, options)
    }

    /// Returns the ending of a run whose outputs are stored.
    fn completed(
        &self,
        ctx: &Context,
        outputs: Vec<Output>,
        job: &Job,
        (cost_usd, cost_source): (Option<f64>, Option<CostSource>),
    ) -> Ending {
        let generated = Generated {
            outputs,
            provider: job.provider.as_str().to_owned(),
            provider_job_id: job.id.clone(),
            elapsed_ms: now(ctx) - self.core.started_at,
            cost_usd,
            cost_source,
            sent: self.sent.sent.clone(),
            notes: self.sent.notes.clone(),
            model: self.sent.model.clone(),
        };
        Outcome::Completed(generated).into()
    }

    /// Notes why the candidate that was asked did not make it.
    fn tried(&self, ctx: &Context, model: &str, error: &EventError) {
        let provider = match self.fallback() {
            None => self.start.provider,
            Some(other) => other.provider,
        };
        let tried = Tried::of(provider.as_str(), model, error);
        show(ctx, |status| status.tried.push(tried.clone()));
        self.core.decide(|journal, _| journal.tried.push(tried));
    }

    /// Returns the candidate that is asked, unless that is the first one.
    fn fallback(&self) -> Option<&Candidate> {
        let index = self.candidate.checked_sub(1)?;
        self.start.fallback.get(index as usize)
    }

    /// Returns `ending`, and notes why the last candidate did not make it, if others were tried before.
    fn last(&self, ctx: &Context, ending: Ending) -> Ending {
        if let (Some(other), Outcome::Failed(error)) = (self.fallback(), &ending.outcome) {
            self.tried(ctx, &other.model, error);
        }
        ending
    }

    /// Notes that the run has expired, if that is why an activity failed.
    fn expire_by(&self, ctx: &Context, error: &ActivityExecutionError) {
        if is_expired(error) || self.core.time_left(ctx).is_zero() {
            self.core.expire();
        }
    }

    /// Returns the ending that the deadline or a cancel asks for; if neither does, `otherwise`.
    fn ended(&self, leftover: ProviderJobLeft, otherwise: Outcome) -> Ending {
        let late = match &leftover {
            ProviderJobLeft::None | ProviderJobLeft::Job(_) => "not done",
            ProviderJobLeft::Unknown(_) => "not known to have been accepted by the provider",
        };
        let outcome = self.core.asked(late).unwrap_or(otherwise);
        Ending { outcome, leftover }
    }
}

/// Submits to the candidates in turn, each after the one before has declined (contract, 6.12); then fetches until the result is stored, or until a cancel or the deadline ends the run.
async fn drive(ctx: &Context, run: &mut GenerationRun) -> Ending {
    if run.core.scope.is_cancelled() {
        return Outcome::Cancelled.into();
    }
    if run.core.time_left(ctx).is_zero() {
        return not_started_in_time().into();
    }
    // Why the last candidate that was asked has declined. One that was skipped says nothing about the request.
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
        Ok(Submitted::Refused(error)) => Outcome::Failed(error).into(),
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
        Err(error) => {
            let record = last_record(&error);
            let known = run.core.budget.get();
            run.core.budget.set(known.after_record(record));
            let leftover = ProviderJobLeft::of(record, lookup);
            run.expire_by(ctx, &error);
            run.ended(leftover, no_result(ErrorCode::SubmitAmbiguous, &error))
        }
    };
    Answer::Ended(Box::new(ending))
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

/// Runs `fetch` once. A cancel or a callback also sets a search attribute, by which the worker notices it within seconds: its
/// next heartbeat, or its next poll, may be minutes away.
async fn fetch(
    ctx: &Context,
    run: &GenerationRun,
    input: Fetch,
    options: ActivityOptions,
) -> Result<Fetched, ActivityExecutionError> {
    // Its first poll notices what was called back before.
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
            // A build without callbacks took no step at this signal.
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
