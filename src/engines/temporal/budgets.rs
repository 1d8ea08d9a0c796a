//! Reserves and settles what runs may spend, on the accounts that `budget.v1` keeps.

use temporalio_client::errors::{WorkflowInteractionError, WorkflowQueryError};
use temporalio_client::{
    Priority, WorkflowExecutionStatus, WorkflowIdConflictPolicy, WorkflowQueryOptions,
    WorkflowSignalOptions, WorkflowStartOptions, WorkflowUpdateWithStartOptions,
};

use super::client::{Error, Temporal, answered, fairness_key};
use crate::contract::budget::{BudgetStart, Reserve, Settle};
use crate::domain::budget::{Account, Answer, Limits, Statement};
use crate::workflows::budget::Budget;

/// Priority of an account's tasks: a submit waits for them.
const URGENT: u32 = 1;

/// Whose account it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Holder {
    /// A user: its id, or a hash of a long one, as for fairness keys.
    User(String),
    All,
}

impl Holder {
    pub fn of(user: &str) -> Self {
        Self::User(fairness_key(user))
    }

    /// Returns the workflow id of its account: deployments with task queues of their own have accounts of their own. No
    /// run has an id with a slash.
    pub fn workflow(&self, task_queue: &str) -> String {
        match self {
            Self::User(key) => format!("budget/{task_queue}/user/{key}"),
            Self::All => format!("budget/{task_queue}/all"),
        }
    }
}

impl Temporal {
    /// Reserves an amount on an account, which is started if it does not run. It continues as new after `segment`
    /// changes.
    ///
    /// # Errors
    /// It is not known whether the amount is reserved. The call may be repeated.
    pub async fn reserve(
        &self,
        holder: &Holder,
        asked: Reserve,
        segment: u32,
    ) -> Result<Answer, Error> {
        let options = WorkflowUpdateWithStartOptions::new(
            self.task_queue(),
            holder.workflow(&self.task_queue()),
            WorkflowIdConflictPolicy::UseExisting,
        )
        .priority(urgent())
        .build();
        let start = unused(asked.limits, segment);
        let client = self.client();
        let reserving = client.execute_update_with_start_workflow(
            Budget::run,
            start,
            Budget::reserve,
            asked,
            options,
        );
        Box::pin(reserving).await.map_err(answered)
    }

    /// Settles what a run has reserved on an account. An account that is closed has no reservations.
    ///
    /// # Errors
    /// The server did not take it. The call may be repeated.
    pub async fn settle(&self, holder: &Holder, settled: Settle) -> Result<(), Error> {
        let client = self.client();
        let account = client.get_workflow_handle::<Budget>(holder.workflow(&self.task_queue()));
        let options = WorkflowSignalOptions::default();
        match account.signal(Budget::settle, settled, options).await {
            Ok(()) | Err(WorkflowInteractionError::NotFound(_)) => Ok(()),
            Err(error) => Err(answered(error)),
        }
    }

    /// Like [`Self::settle`], on an account that must know that the run has ended: it is started if it does not run.
    ///
    /// # Errors
    /// The server did not take it. The call may be repeated.
    pub async fn settle_last(
        &self,
        holder: &Holder,
        settled: Settle,
        limits: Limits,
        segment: u32,
    ) -> Result<(), Error> {
        let account = holder.workflow(&self.task_queue());
        let options = WorkflowStartOptions::new(self.task_queue(), account)
            .id_conflict_policy(WorkflowIdConflictPolicy::UseExisting)
            .priority(urgent())
            .build();
        let client = self.client();
        let settling = client.signal_with_start_workflow(
            Budget::run,
            unused(limits, segment),
            Budget::settle,
            settled,
            options,
        );
        settling.await.map(drop).map_err(answered)
    }

    /// Returns what is spent and reserved on an account at a time, in milliseconds since the epoch; `None` if there is no
    /// account, or it is closed.
    ///
    /// # Errors
    /// The server, or a worker, does not answer.
    pub async fn statement(&self, holder: &Holder, at: i64) -> Result<Option<Statement>, Error> {
        let workflow = holder.workflow(&self.task_queue());
        let described = self.describe(&workflow).await?;
        if described.is_none_or(|it| it.status() != WorkflowExecutionStatus::Running) {
            return Ok(None);
        }
        let client = self.client();
        let account = client.get_workflow_handle::<Budget>(workflow);
        let options = WorkflowQueryOptions::default();
        match account.query(Budget::statement, at, options).await {
            Ok(statement) => Ok(Some(statement)),
            Err(WorkflowQueryError::NotFound(_)) => Ok(None),
            Err(error) => Err(answered(error)),
        }
    }
}

fn urgent() -> Priority {
    let mut priority = Priority::default();
    priority.priority_key = Some(URGENT);
    priority
}

/// Returns the input of an account that continues as new after `segment` changes.
fn unused(limits: Limits, segment: u32) -> BudgetStart {
    BudgetStart {
        account: Account::unused(limits),
        segment,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_holder_has_an_account_of_its_own() {
        let of = |user: &str| Holder::of(user).workflow("q");

        assert_eq!(Holder::All.workflow("q"), "budget/q/all");
        assert_eq!(of("all"), "budget/q/user/all");
        assert_eq!(of("a/b c"), "budget/q/user/a/b c");
        assert_eq!(of(&"ä".repeat(64)).len(), "budget/q/user/".len() + 32);
    }
}
