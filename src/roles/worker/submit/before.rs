//! The work of an attempt that may send, before its fence.

use anyhow::{Context as _, anyhow};
use futures::future::join_all;
use temporalio_sdk::activities::ActivityError;
use tokio::time::timeout;

use super::This;
use super::search::Found;
use crate::contract::run::{AttemptRecord, Sent, Submit, Submitted};
use crate::domain::budget::RESERVES_FOR_MS;
use crate::domain::model::Bound;
use crate::domain::{ErrorCode, EventError, Problem};
use crate::engines::temporal::activity::{Aborted, every, failure, started_at};
use crate::roles::worker::accounts::Unreserved;

/// What the work before the fence leads to.
pub(super) enum Before {
    /// The submit ends without a send.
    Ended(Submitted),
    /// This input can be sent, with the URL that the provider is to call when the job has ended.
    Ready(Bound, Option<String>),
}

impl This<'_> {
    /// Binds the request to its model's input.
    pub(super) async fn bind(&self) -> Result<Bound, EventError> {
        // A part of the time that is left before the fence.
        let within = every(self.ctx);
        let bound = self.provider.bind(&self.input.spec, within).await;
        bound.map_err(|error| match self.input.candidate.checked_sub(1) {
            Some(index) if self.names_fallbacks() => of_fallback(index as usize, error),
            Some(_) | None => error,
        })
    }

    /// Like [`Self::bind`]. Before the run sends anything, also binds the request to the models that it names as
    /// fallbacks: what one of them cannot make is a problem of the request.
    async fn bind_all(&self, mine: AttemptRecord) -> Result<Bound, EventError> {
        let Submit {
            spec,
            others,
            candidate,
            ..
        } = self.input;
        if *candidate > 0 || mine.sends > 0 || !self.names_fallbacks() {
            return self.bind().await;
        }
        let within = every(self.ctx);
        let others = others.iter().enumerate().map(|(index, other)| async move {
            let provider = self.work.providers.of(spec.media(), other.provider);
            // Another worker may know its API, and asks it when its turn comes.
            provider.is_configured().ok()?;
            let spec = spec.at(other.provider, &other.model);
            let bound = provider.bind(&spec, within).await;
            // One without a key or a schema is refused or read when its turn comes.
            let problem = bound.err()?;
            let is_at_fault = problem.code == ErrorCode::InvalidRequest;
            is_at_fault.then(|| of_fallback(index, problem))
        });
        let (bound, others) = tokio::join!(self.bind(), join_all(others));
        let others = others.into_iter().flatten();
        match bound {
            Err(error) if error.code == ErrorCode::InvalidRequest => Err(others.fold(error, both)),
            bound => others.reduce(both).map_or(bound, Err),
        }
    }

    /// Returns the URL that the provider is to call, if it is known in time.
    async fn callback(&self) -> Option<String> {
        let callback = self.provider.callback(&self.input.pending.workflow);
        timeout(every(self.ctx), callback).await.ok().flatten()
    }

    /// Binds the request to every model that it names, and reserves the cost of this candidate only: no other can be
    /// paid now. An inner error ends the submit.
    async fn affordable(
        &self,
        mine: AttemptRecord,
    ) -> Result<Result<Bound, EventError>, ActivityError> {
        let accounts = &self.work.accounts;
        let bound = match self.bind_all(mine).await {
            Ok(bound) if accounts.are_limited() => bound,
            bound => return Ok(bound),
        };
        // `bind` refuses an unknown price; one that came through would not fit into any budget.
        let usd = bound.quote.estimate_usd.unwrap_or(f64::INFINITY);
        let until = started_at(self.ctx).map(|at| at + RESERVES_FOR_MS);
        match accounts.reserve(self.input, self.run_id, usd, until).await {
            Ok(()) => Ok(Ok(bound)),
            Err(Unreserved::Refused(error)) => Ok(Err(error)),
            Err(error @ (Unreserved::Full | Unreserved::Late | Unreserved::Unanswered(_))) => {
                Err(failure(Aborted::Again(error.into())))
            }
        }
    }

    /// Counts the reservation of a submit that may have been accepted as spent, before the next submit reserves its own
    /// cost: both may be paid.
    pub(super) async fn count_as_spent(&self, record: AttemptRecord) -> Result<(), ActivityError> {
        let accounts = &self.work.accounts;
        if record.state != Sent::Maybe || !record.reserved {
            return Ok(());
        }
        let settled = accounts.count_as_spent(self.input, self.run_id).await;
        let settled = settled.context("cannot settle the budgets");
        settled.map_err(|error| failure(error.into()))
    }

    /// Binds the request and reserves its cost; ends the submit if either fails.
    async fn ready(&self, mine: AttemptRecord) -> Result<Before, ActivityError> {
        let (bound, callback) = tokio::join!(self.affordable(mine), self.callback());
        Ok(match bound? {
            Ok(bound) => Before::Ready(bound, callback),
            // The provider may answer the next attempt.
            Err(error)
                if error.code == ErrorCode::ProviderFailed && mine.number < self.input.attempts =>
            {
                return Err(failure(Aborted::Again(anyhow!("{}", error.message))));
            }
            // An earlier send may have been accepted (SUBMIT_AMBIGUOUS=resubmit), so its job must be looked up. Any
            // other send was not accepted.
            Err(error) if mine.doubtful => Before::Ended(Submitted::Ambiguous {
                error: still_unknown(&error),
                lookup: self.job_lookup(mine),
                reserved: mine.reserved,
            }),
            Err(error) => Before::Ended(self.unfit(mine, error)),
        })
    }

    /// The work before the fence: publishes the events, binds the request to its model's input, and reserves its cost.
    /// Ends the submit with the result of an earlier attempt or run, if there is one, or if the model cannot make the
    /// request or a budget has too little left.
    pub(super) async fn before(&self, mine: AttemptRecord) -> Result<Before, ActivityError> {
        // Shorter than the heartbeat time-out: no heartbeat is sent before the fence.
        let limit = every(self.ctx) * 2;
        let before = async {
            // Another worker may know the provider, and nothing is lost until the deadline.
            if let Err(error) = self.provider.is_configured() {
                tracing::warn!(workflow = %self.input.pending.workflow, %error, "the job was not sent");
                return Err(failure(Aborted::Again(error.into())));
            }
            self.publish().await?;
            // No attempt came before the first, but an earlier run may have stored the result.
            let found = match mine.number {
                1 => self.adopt().await?.map_or(Found::Nothing, Found::Result),
                _ => self.stored(mine).await?,
            };
            Ok(match found {
                Found::Result(end) => Before::Ended(end),
                Found::Declined(error) => Before::Ended(self.decline(mine, error)),
                Found::NotAccepted | Found::Nothing => self.ready(mine).await?,
            })
        };
        let too_long = |_| {
            failure(Aborted::Again(anyhow!(
                "the events, the result store, the model's schema or the budgets took too long"
            )))
        };
        timeout(limit, before).await.map_err(too_long)?
    }
}

/// Returns the error of a run whose earlier submit may have been accepted, and which may not submit again.
fn still_unknown(error: &EventError) -> EventError {
    let message = format!(
        "it is not known whether the provider accepted the job, and it is not sent again: {}",
        error.message
    );
    EventError::new(ErrorCode::SubmitAmbiguous, &message, true)
}

/// Limit on the problems of an error.
const MOST_PROBLEMS: usize = 50;

/// Returns the error of a request that the fallback with this index cannot make.
fn of_fallback(index: usize, error: EventError) -> EventError {
    let problems = error.problems.into_iter().map(|problem| Problem {
        field: format!("fallback[{index}].{}", problem.field),
        ..problem
    });
    EventError {
        problems: problems.collect(),
        ..error
    }
}

/// Returns one error with the problems of both.
fn both(first: EventError, second: EventError) -> EventError {
    let message = format!("{}; {}", first.message, second.message);
    let problems = first.problems.into_iter().chain(second.problems);
    EventError {
        problems: problems.take(MOST_PROBLEMS).collect(),
        ..EventError::new(first.code, &message, first.retryable)
    }
}
