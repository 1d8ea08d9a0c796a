//! The work of an attempt that may send, before its fence.

use anyhow::anyhow;
use temporalio_sdk::activities::ActivityError;
use tokio::time::timeout;

use super::This;
use super::search::Found;
use crate::contract::run::{AttemptRecord, Submitted};
use crate::domain::model::Bound;
use crate::domain::{ErrorCode, EventError};
use crate::engines::temporal::activity::{Aborted, every, failure};

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
        self.provider.bind(&self.input.spec, every(self.ctx)).await
    }

    /// Returns the URL that the provider is to call, if it is known in time.
    async fn callback(&self) -> Option<String> {
        let callback = self.provider.callback(&self.input.pending.workflow);
        timeout(every(self.ctx), callback).await.ok().flatten()
    }

    /// The work before the fence: publishes the events, and binds the request to its model's input. Ends the submit with
    /// the result of an earlier attempt or run, if there is one, or if the model cannot make the request.
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
                Found::NotAccepted | Found::Nothing => {
                    match tokio::join!(self.bind(), self.callback()) {
                        (Ok(bound), callback) => Before::Ready(bound, callback),
                        // The provider may answer the next attempt.
                        (Err(error), _)
                            if error.code == ErrorCode::ProviderFailed
                                && mine.number < self.input.attempts =>
                        {
                            return Err(failure(Aborted::Again(anyhow!("{}", error.message))));
                        }
                        // After a send that may have been accepted (SUBMIT_AMBIGUOUS=resubmit), its job is looked for.
                        (Err(error), _) if mine.sends > 0 => Before::Ended(Submitted::Ambiguous {
                            error,
                            lookup: self.job_lookup(mine),
                        }),
                        (Err(error), _) => Before::Ended(Submitted::Refused(error)),
                    }
                }
            })
        };
        let too_long = |_| {
            failure(Aborted::Again(anyhow!(
                "the events, the result store or the model's schema took too long"
            )))
        };
        timeout(limit, before).await.map_err(too_long)?
    }
}
