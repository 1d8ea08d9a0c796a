//! When a run may fall back to its next candidate: only after an answer which proves that this one has accepted nothing,
//! for a reason that has nothing to do with the request (contract, 6.12).

use temporalio_sdk::activities::ActivityError;

use super::This;
use crate::contract::run::{AttemptRecord, SubmitAnswer, Submitted};
use crate::domain::{ErrorCode, EventError};
use crate::engines::telemetry::events;

impl This<'_> {
    /// Ends a submit that the provider did not accept, for a reason of its own.
    pub(super) async fn declined(
        &self,
        fence: AttemptRecord,
        error: EventError,
    ) -> Result<Submitted, ActivityError> {
        // After a send whose outcome is unknown, the answer to a later one proves nothing.
        if self.input.others.is_empty() || fence.doubtful {
            return self.refused(fence, error).await;
        }
        self.confirm(fence, SubmitAnswer::Declined(error.clone()))
            .await;
        Ok(self.decline(fence, error))
    }

    /// Ends a submit that has sent nothing: the model cannot make the request, its key or schema is missing, or a
    /// budget has too little left.
    pub(super) fn unfit(&self, mine: AttemptRecord, error: EventError) -> Submitted {
        let of_operator = self.input.candidate > 0 && !self.names_fallbacks();
        let is_invalid = error.code == ErrorCode::InvalidRequest;
        if is_invalid && of_operator {
            // The request did not ask for this model, so it is not at fault.
            return self.decline_as(mine, error, true);
        }
        // A budget is the operator's decision: no cheaper model is tried instead.
        let is_final = is_invalid || error.code == ErrorCode::BudgetExceeded;
        // Otherwise there is no key, or no schema.
        match is_final || self.input.others.is_empty() {
            true => Submitted::Refused {
                error,
                // A budget that refuses leaves what another one has granted: only the end of the run gives it back.
                reserved: mine.reserved || self.work.accounts.are_limited(),
            },
            false => self.decline(mine, error),
        }
    }

    /// Lets the next candidate try. The reservation stays until the next candidate's reservation replaces it or the run
    /// ends, so that no other run takes the money in between.
    pub(super) fn decline(&self, record: AttemptRecord, error: EventError) -> Submitted {
        self.decline_as(record, error, false)
    }

    fn decline_as(&self, record: AttemptRecord, error: EventError, skipped: bool) -> Submitted {
        events::run_declined(self.provider.name(), error.code);
        Submitted::Declined {
            model: self.provider.model(&self.input.spec).to_owned(),
            error,
            skipped,
            reserved: record.reserved,
        }
    }

    /// Returns whether the request itself names what it falls back to.
    pub(super) fn names_fallbacks(&self) -> bool {
        !self.input.spec.common().fallback.is_empty()
    }
}
