//! The budgets of this worker: an amount is reserved before a submit, and settled when its run ends.
//!
//! A run has one reservation on each account, for the candidate that it submits next. When that one declines, the
//! reservation of the next one replaces it; if there is no next one, the end of the run releases it. Other workers may
//! repeat both calls: the account does each of them once, and reserves nothing after the end of the run. Without a
//! budget, no call is made.

use std::fmt;

use crate::contract::budget::{Reserve, Settle};
use crate::contract::run::{Finish, PendingEvents, ProviderJobLeft, Submit};
use crate::domain::budget::{Answer, Budgets, Limits, Micros, Period, Refusal, Spend};
use crate::domain::time::rfc3339;
use crate::domain::{ErrorCode, Event, EventError, Kind};
use crate::engines::config::Spending;
use crate::engines::failpoint;
use crate::engines::telemetry::events;
use crate::engines::temporal::budgets::Holder;
use crate::engines::temporal::client::{Error, Temporal, comes_and_goes};

/// The accounts, and the limits that this worker knows.
pub(crate) struct Accounts {
    temporal: Temporal,
    budgets: Budgets,
    segment: u32,
}

impl fmt::Debug for Accounts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.budgets.fmt(f)
    }
}

/// Why nothing was reserved.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Unreserved {
    /// The request must not be sent.
    #[error("{}", .0.message)]
    Refused(EventError),
    #[error("a budget holds as many runs as it can")]
    Full,
    #[error(
        "the run has ended, or this attempt began too long ago: nothing is reserved; if the run is open, the next attempt reserves"
    )]
    Late,
    #[error("a budget did not answer")]
    Unanswered(#[source] Error),
}

impl Accounts {
    pub(crate) fn new(temporal: Temporal, spending: &Spending) -> Self {
        Self {
            temporal,
            budgets: spending.budgets,
            segment: spending.budget_segment,
        }
    }

    /// Returns whether this worker has a budget.
    pub(crate) fn are_limited(&self) -> bool {
        !self.budgets.is_unlimited()
    }

    /// Reserves what a submit of a run costs, for its user and for all users. The attempt may reserve until
    /// `until`, in milliseconds since the epoch by the server's clock. After a refusal, what the user's account
    /// has granted stays until the end of the run: an attempt that is no longer the current one may be refused late, and
    /// must not give back what the current one needs.
    pub(crate) async fn reserve(
        &self,
        submit: &Submit,
        run: &str,
        usd: f64,
        until: Option<i64>,
    ) -> Result<(), Unreserved> {
        let user = self.user(&submit.pending).await;
        let user = &user.map_err(Unreserved::Unanswered)?;
        let amount = Micros::of_usd(usd);
        failpoint::hit("budget.reserving").await;
        let limited = |(_, limits): &(&Holder, Limits)| !limits.is_unlimited();
        for (holder, limits) in self.all(user).into_iter().filter(limited) {
            let asked = Reserve {
                run: run.to_owned(),
                candidate: submit.candidate,
                amount,
                until,
                limits,
            };
            let answer = self.temporal.reserve(holder, asked, self.segment).await;
            events::budget_asked(name(holder), outcome(&answer));
            match answer.map_err(Unreserved::Unanswered)? {
                Answer::Granted => {}
                Answer::Full => return Err(Unreserved::Full),
                Answer::Late => {
                    tracing::warn!(workflow = %submit.pending.workflow, "not sent: {}", Unreserved::Late);
                    return Err(Unreserved::Late);
                }
                Answer::Refused(refusal) => {
                    failpoint::hit("budget.refused").await;
                    return Err(Unreserved::Refused(exceeded(holder, amount, &refusal)));
                }
            }
        }
        Ok(())
    }

    /// Counts the reservation of a run as spent, because a submit may have been accepted and another follows.
    pub(crate) async fn count_as_spent(&self, submit: &Submit, run: &str) -> Result<(), Error> {
        let user = self.user(&submit.pending).await?;
        for (holder, _) in self.all(&user) {
            let settled = Settle {
                run: run.to_owned(),
                spend: Spend::Reserved,
                declined: submit.candidate,
                ends: false,
            };
            self.temporal.settle(holder, settled).await?;
        }
        Ok(())
    }

    /// Returns the accounts of a run of this user, and their limits.
    fn all<'h>(&self, user: &'h Holder) -> [(&'h Holder, Limits); 2] {
        [(user, self.budgets.user), (&Holder::All, self.budgets.all)]
    }

    /// Returns the user of a run: by its events, or by its search attributes once all of them are confirmed.
    async fn user(&self, pending: &PendingEvents) -> Result<Holder, Error> {
        if let Some(event) = pending.events.first() {
            return Ok(Holder::of(&event.user_id));
        }
        let user = self.temporal.user(&pending.workflow).await?;
        user.map(|user| Holder::of(&user))
            .ok_or_else(comes_and_goes)
    }

    /// Settles a run that ends, also on an account that has no limit now: it may have had one. Makes no call if the run
    /// has reserved nothing, as far as it knows, and this worker has no budget.
    pub(crate) async fn finish(&self, outcome: &Event, input: &Finish) -> Result<(), Error> {
        let may_be_reserved = input.budget.reserved || self.are_limited();
        let run = outcome.run_id.as_deref();
        let (Some(run), true, false) = (run, may_be_reserved, outcome.kind == Kind::Batch) else {
            return Ok(());
        };
        let user = Holder::of(&outcome.user_id);
        for (holder, limits) in self.all(&user) {
            let settled = Settle {
                run: run.to_owned(),
                spend: spend(outcome, input),
                declined: input.budget.declined,
                ends: true,
            };
            // An account with a limit may get a late call to reserve, even if it does not run yet.
            match limits.is_unlimited() {
                true => self.temporal.settle(holder, settled).await?,
                false => {
                    let temporal = &self.temporal;
                    let settling = temporal.settle_last(holder, settled, limits, self.segment);
                    settling.await?;
                }
            }
        }
        Ok(())
    }
}

/// Returns what a run has spent: the cost in its result. If that is unknown and a job may have been made, the whole
/// reservation counts, so that jobs that fail or are cancelled after they were accepted cannot exceed a budget.
fn spend(outcome: &Event, input: &Finish) -> Spend {
    if let Some(result) = &outcome.result {
        let cost = result.cost_usd.map(Micros::of_usd);
        return cost.map_or(Spend::Reserved, Spend::Cost);
    }
    // Errors that leave no job to cancel, but after which one may have been made and billed.
    let may_be_made = outcome.error.as_ref().is_some_and(|error| {
        matches!(
            error.code,
            ErrorCode::StoreFailed
                | ErrorCode::ResultInvalid
                | ErrorCode::ResultUnavailable
                | ErrorCode::Terminated
                | ErrorCode::TimedOut
        )
    });
    let is_left = !matches!(input.leftover, ProviderJobLeft::None);
    if !input.budget.not_accepted && (is_left || input.sent_at.is_some() || may_be_made) {
        Spend::Reserved
    } else {
        Spend::Nothing
    }
}

fn name(holder: &Holder) -> &'static str {
    match holder {
        Holder::User(_) => "user",
        Holder::All => "all",
    }
}

fn outcome(answer: &Result<Answer, Error>) -> &'static str {
    match answer {
        Ok(Answer::Granted) => "granted",
        Ok(Answer::Refused(_)) => "refused",
        Ok(Answer::Full) => "full",
        Ok(Answer::Late) => "late",
        Err(_) => "unanswered",
    }
}

fn exceeded(holder: &Holder, amount: Micros, refusal: &Refusal) -> EventError {
    let Refusal {
        period,
        limit,
        left,
        frees_at,
    } = refusal;
    let (whose, variable) = match (holder, period) {
        (Holder::User(_), Period::Day) => ("the user's", "BUDGET_USER_DAY_USD"),
        (Holder::User(_), Period::Month) => ("the user's", "BUDGET_USER_MONTH_USD"),
        (Holder::All, Period::Day) => ("all users'", "BUDGET_DAY_USD"),
        (Holder::All, Period::Month) => ("all users'", "BUDGET_MONTH_USD"),
    };
    let period = period.as_str();
    let advice = if amount > *limit {
        "this is more than the whole budget: ask for less".to_owned()
    } else {
        format!(
            "it resets at {}; send the request again then",
            rfc3339(*frees_at)
        )
    };
    let message = format!(
        "{whose} budget of the {period} has {:.4} US dollars left, and the request may cost {:.4}; {advice}, or have the \
         operator raise {variable}",
        left.usd(),
        amount.usd(),
    );
    EventError::new(ErrorCode::BudgetExceeded, &message, false)
}

#[cfg(test)]
mod tests;
