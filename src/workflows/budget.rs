//! `budget.v1`: the account of one user, or of all users together, for as long as money is spent on it.
//!
//! Each change is one update or signal, and complete in one step: no two reservations can be granted the same money. A
//! repeated change does nothing more, and a run that has ended reserves nothing. The account ends after a month in which
//! nothing is spent or reserved; the next reservation, or the next end of a run, starts it again.

#![deny(clippy::disallowed_methods)]

use std::time::Duration;

use temporalio_macros::{workflow, workflow_methods};
use temporalio_sdk::{
    ContinueAsNewOptions, SyncWorkflowContext, WorkflowContext, WorkflowContextView,
    WorkflowResult, WorkflowTermination, workflows,
};

use crate::contract::budget::{BudgetStart, Reserve, Settle};
use crate::domain::budget::{Answer, Statement, month_end};
use crate::domain::time::{since_epoch, span};
use crate::workflows::support::now;

/// The workflow type.
pub const NAME: &str = "budget.v1";

/// The account.
#[workflow]
pub struct Budget {
    start: BudgetStart,
    /// Number of changes in this run.
    changes: u32,
}

#[workflow_methods]
impl Budget {
    #[init]
    fn new(_: &WorkflowContextView, start: BudgetStart) -> Self {
        Self { start, changes: 0 }
    }

    /// Keeps the account until the history is long, or the month is over. A cancel ends it, so that an operator can
    /// reset the account.
    #[run(name = "budget.v1")]
    pub async fn run(ctx: &mut WorkflowContext<Self>) -> WorkflowResult<()> {
        let at = now(ctx);
        // Spread over an hour, because all accounts wait for the same moment.
        let late = Duration::from_secs(u64::from(ctx.random::<u32>() % 3600));
        workflows::select! {
            _ = ctx.timer(span(at, month_end(at)) + late) => {},
            _ = ctx.wait_condition(Self::is_long) => {},
        }
        if ctx.cancellation_token().is_cancelled() {
            return Err(WorkflowTermination::cancelled());
        }
        let at = now(ctx);
        if ctx.state(|budget| !budget.is_long() && budget.start.account.is_empty(at)) {
            return Ok(());
        }
        let next = ctx.state(|budget| budget.start.clone());
        let Err(continued) = ctx.continue_as_new(next, ContinueAsNewOptions::default());
        Err(continued)
    }

    /// Reserves an amount for a run.
    #[update(name = "reserve.v1")]
    pub fn reserve(&mut self, ctx: &mut SyncWorkflowContext<Self>, asked: Reserve) -> Answer {
        self.changes += 1;
        let Reserve {
            run,
            candidate,
            amount,
            until,
            limits,
        } = asked;
        let (account, at) = (&mut self.start.account, time(ctx));
        if account.is_late(&run, until, at) {
            return Answer::Late;
        }
        account.reserve(&run, candidate, amount, limits, at)
    }

    /// Settles what a run has reserved.
    #[signal(name = "settle.v1")]
    pub fn settle(&mut self, ctx: &mut SyncWorkflowContext<Self>, settled: Settle) {
        self.changes += 1;
        let Settle {
            run,
            spend,
            declined,
            ends,
        } = settled;
        let (account, at) = (&mut self.start.account, time(ctx));
        account.settle(&run, spend, declined, at);
        if ends {
            account.end(&run, at);
        }
    }

    /// Returns what is spent and reserved at a time, in milliseconds since the epoch.
    #[query]
    pub fn statement(&self, _: &WorkflowContextView, at: i64) -> Statement {
        self.start.account.statement(at)
    }

    fn is_long(&self) -> bool {
        self.changes >= self.start.segment
    }
}

/// The server's clock, not that of a worker: all changes of an account use the same one.
fn time(ctx: &SyncWorkflowContext<Budget>) -> i64 {
    ctx.workflow_time().map(since_epoch).unwrap_or_default()
}
