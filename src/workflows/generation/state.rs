//! What a run of `generation.v1` knows, and the inputs of its activities.

#![deny(clippy::disallowed_methods)]

use std::time::Duration;

use temporalio_common::ActivityCloseTimeouts;
use temporalio_sdk::{ActivityExecutionError, ActivityOptions};

use super::Context;
use crate::contract::run::{
    Candidate, Fetch, Job, LastProgress, ProviderJobLeft, SentInput, Start, Submit,
};
use crate::domain::{CostSource, EventError, Generated, Outcome, Output, Tried};
use crate::workflows::run_core::{Ending, RunCore, show};
use crate::workflows::support::{is_expired, now, options};

/// Start-to-close time-out of `submit`: it publishes, reads the store, sends, and looks jobs up.
const SUBMIT_TRY: Duration = Duration::from_secs(300);
/// Time that an attempt of `fetch` has after the deadline: `STORE_GRACE`, which is at most a minute, and a margin.
const FETCH_GRACE: Duration = Duration::from_secs(90);

/// One run, and the inputs and options of its activities.
pub(super) struct GenerationRun {
    pub(super) start: Start,
    pub(super) core: RunCore,
    /// When the job was first sent to the provider that accepted it, in milliseconds since the epoch.
    pub(super) sent_at: Option<i64>,
    /// The input that the model was sent.
    pub(super) sent: SentInput,
    /// The current candidate: 0 for the request's own model, n for the n-th fallback.
    pub(super) candidate: u32,
}

impl GenerationRun {
    pub(super) fn open(ctx: &Context, start: Start) -> Self {
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

    pub(super) fn submit(&self, ctx: &Context) -> (Submit, ActivityOptions) {
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
    pub(super) fn accepted(
        &mut self,
        ctx: &Context,
        job_id: &str,
        attempts: u32,
        sent_at: Option<i64>,
    ) {
        self.sent_at = sent_at;
        show(ctx, |status| {
            status.provider_job_id = Some(job_id.to_owned());
            status.attempts = attempts;
            status.submitted_at = sent_at;
            status.updated_at = now(ctx);
        });
    }

    /// Returns the input and options of `fetch`. `reported` is the number of milestones so far.
    pub(super) fn fetch(
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
    pub(super) fn completed(
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

    /// Adds the current candidate and its error to `tried`.
    pub(super) fn tried(&self, ctx: &Context, model: &str, error: &EventError) {
        let provider = match self.fallback() {
            None => self.start.provider,
            Some(other) => other.provider,
        };
        let tried = Tried::of(provider.as_str(), model, error);
        show(ctx, |status| status.tried.push(tried.clone()));
        self.core.decide(|journal, _| journal.tried.push(tried));
    }

    /// Returns the current fallback; `None` for the request's own model.
    pub(super) fn fallback(&self) -> Option<&Candidate> {
        let index = self.candidate.checked_sub(1)?;
        self.start.fallback.get(index as usize)
    }

    /// Returns `ending`; if a fallback failed, adds it to `tried`.
    pub(super) fn last(&self, ctx: &Context, ending: Ending) -> Ending {
        if let (Some(other), Outcome::Failed(error)) = (self.fallback(), &ending.outcome) {
            self.tried(ctx, &other.model, error);
        }
        ending
    }

    /// Notes that the run has expired, if that is why an activity failed.
    pub(super) fn expire_by(&self, ctx: &Context, error: &ActivityExecutionError) {
        if is_expired(error) || self.core.time_left(ctx).is_zero() {
            self.core.expire();
        }
    }

    /// Returns the ending that the deadline or a cancel asks for; if neither does, `otherwise`.
    pub(super) fn ended(&self, leftover: ProviderJobLeft, otherwise: Outcome) -> Ending {
        let late = match &leftover {
            ProviderJobLeft::None | ProviderJobLeft::Job(_) => "not done",
            ProviderJobLeft::Unknown(_) => "not known to have been accepted by the provider",
        };
        let outcome = self.core.asked(late).unwrap_or(otherwise);
        Ending { outcome, leftover }
    }
}
