//! Hands a notification over to a workflow of its own.

use temporalio_client::errors::WorkflowStartError;
use temporalio_client::{Priority, WorkflowIdReusePolicy, WorkflowStartOptions};

use super::client::{Error, Temporal, answered, fairness_key};
use crate::contract::delivery::Delivery;
use crate::workflows::delivery;

/// What became of a hand-over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Given {
    /// A new workflow has it.
    New,
    /// One has it, or had it.
    Before,
}

/// Who may deliver a notification.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Once {
    /// Nobody who has ended it before.
    Ever,
    /// Nobody else at the same time: an operator wants it tried again.
    AtATime,
}

impl Temporal {
    /// Puts a notification into the hands of a workflow; one of `user`'s, whose turn is fair among all.
    ///
    /// # Errors
    /// When the server did not decide.
    pub async fn hand_over(
        &self,
        delivery: Delivery,
        user: &str,
        once: Once,
    ) -> Result<Given, Error> {
        let reuse = match once {
            Once::Ever => WorkflowIdReusePolicy::RejectDuplicate,
            Once::AtATime => WorkflowIdReusePolicy::AllowDuplicate,
        };
        let options = WorkflowStartOptions::new(self.task_queue(), delivery.parcel.workflow())
            .id_reuse_policy(reuse)
            .priority(fair(user))
            .build();
        let started = self
            .client()
            .start_workflow(delivery::Delivery::run, delivery, options)
            .await;
        match started {
            Ok(_) => Ok(Given::New),
            Err(WorkflowStartError::AlreadyStarted { .. }) => Ok(Given::Before),
            Err(error) => Err(answered(error)),
        }
    }
}

/// Returns the place of a user's delivery among those that wait.
fn fair(user: &str) -> Priority {
    let mut order = Priority::default();
    order.fairness_key = Some(fairness_key(user));
    order
}
