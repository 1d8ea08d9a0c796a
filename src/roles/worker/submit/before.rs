//! The work of an attempt that may send, before its fence.

use anyhow::{Context as _, anyhow};
use temporalio_sdk::activities::ActivityError;

use super::This;
use super::search::Found;
use crate::contract::run::{AttemptRecord, Submitted};
use crate::domain::model::Bound;
use crate::domain::{ErrorCode, EventError};
use crate::engines::temporal::activity::{Aborted, every, failure};
use crate::roles::worker::accounts::Unreserved;

/// What the work before the fence leads to.
pub(super) enum Before {
    /// The submit ends without a send.
    Ended(Submitted),
    /// This input can be sent.
    Ready(Bound),
}

impl This<'_> {
    /// Binds the request to its model's input.
    pub(super) async fn bind(&self) -> Result<Bound, EventError> {
        // A part of the time that is left before the fence.
        self.provider.bind(&self.input.spec, every(self.ctx)).await
    }

    /// Binds the request, and reserves what it costs. The inner error ends the submit.
    async fn affordable(&self) -> Result<Result<Bound, EventError>, ActivityError> {
        let accounts = &self.work.accounts;
        let bound = match self.bind().await {
            Ok(bound) if accounts.are_limited() => bound,
            bound => return Ok(bound),
        };
        // `bind` refuses an unknown price; one that came through would not fit into any budget.
        let usd = bound.estimate_usd.unwrap_or(f64::INFINITY);
        let (pending, run_id) = (&self.input.pending, self.run_id);
        match accounts.reserve(pending, run_id, usd).await {
            Ok(()) => Ok(Ok(bound)),
            Err(Unreserved::Refused(error)) => Ok(Err(error)),
            Err(error @ (Unreserved::Full | Unreserved::Unanswered(_))) => {
                Err(failure(Aborted::Again(error.into())))
            }
        }
    }

    /// Settles what is reserved for a submit that may have been accepted, before another one reserves its own.
    pub(super) async fn count_as_spent(&self, record: AttemptRecord) -> Result<(), ActivityError> {
        let accounts = &self.work.accounts;
        if !record.reserved {
            return Ok(());
        }
        let settled = accounts.lose(&self.input.pending, self.run_id).await;
        let settled = settled.context("cannot settle the budgets");
        settled.map_err(|error| failure(error.into()))
    }

    /// The work before the fence: publishes the events, binds the request to its model's input, and reserves its cost.
    /// Ends the submit with the result of an earlier attempt or run, if there is one, or if the model cannot make the
    /// request or a budget has too little left.
    pub(super) async fn before(&self, mine: AttemptRecord) -> Result<Before, ActivityError> {
        // Shorter than the heartbeat time-out: no heartbeat is sent before the fence.
        let limit = every(self.ctx) * 2;
        let before = async {
            self.publish().await?;
            // No attempt came before the first, but an earlier run may have stored the result.
            let found = match mine.number {
                1 => self.adopt().await?.map_or(Found::Nothing, Found::Result),
                _ => self.stored(mine).await?,
            };
            Ok(match found {
                Found::Result(end) => Before::Ended(end),
                Found::NotAccepted | Found::Nothing => match self.affordable().await? {
                    Ok(bound) => Before::Ready(bound),
                    // The provider may answer the next attempt.
                    Err(error)
                        if error.code == ErrorCode::ProviderFailed
                            && mine.number < self.input.attempts =>
                    {
                        return Err(failure(Aborted::Again(anyhow!("{}", error.message))));
                    }
                    // After a send that may have been accepted (SUBMIT_AMBIGUOUS=resubmit), its job is looked for.
                    Err(error) if mine.sends > 0 => Before::Ended(Submitted::Ambiguous {
                        error,
                        lookup: self.job_lookup(mine),
                        reserved: mine.reserved,
                    }),
                    Err(error) => Before::Ended(Submitted::Refused(error)),
                },
            })
        };
        let too_long = |_| {
            failure(Aborted::Again(anyhow!(
                "the events, the result store, the model's schema or the budgets took too long"
            )))
        };
        tokio::time::timeout(limit, before)
            .await
            .map_err(too_long)?
    }
}
