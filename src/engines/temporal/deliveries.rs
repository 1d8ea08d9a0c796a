//! Hands a notification over to a workflow of its own, and reads how that ended.

use temporalio_client::{
    Priority, WorkflowExecutionStatus, WorkflowGetResultOptions, WorkflowIdReusePolicy,
    WorkflowStartOptions,
};

use super::client::{Error, Temporal, answered, fairness_key};
use crate::contract::delivery::DeliveryInput;
use crate::contract::receipt::NotificationOutcome;
use crate::workflows::delivery;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HandedOver {
    New,
    /// Another workflow has the notification, or had it earlier.
    Before,
}

/// How many workflows may deliver a notification.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Once {
    /// One, for as long as the server retains the first.
    Ever,
    /// One at a time: an operator wants another attempt, so only a workflow that is still open prevents a start.
    AtATime,
}

impl Temporal {
    /// Starts the delivery workflow of a notification. `user` is its fairness key, so that users take turns.
    ///
    /// # Errors
    /// The server neither started a workflow nor answered that one has the notification.
    pub async fn hand_over(
        &self,
        delivery: DeliveryInput,
        user: &str,
        once: Once,
    ) -> Result<HandedOver, Error> {
        let reuse = match once {
            Once::Ever => WorkflowIdReusePolicy::RejectDuplicate,
            Once::AtATime => WorkflowIdReusePolicy::AllowDuplicate,
        };
        let options = WorkflowStartOptions::new(self.task_queue(), delivery.parcel.workflow())
            .id_reuse_policy(reuse)
            .priority(fair(user))
            .build();
        let starting = self.start_new(delivery::Delivery::run, delivery, options);
        Ok(match starting.await? {
            true => HandedOver::New,
            false => HandedOver::Before,
        })
    }

    /// Returns how the newest delivery workflow with this id ended; `None` if there is no such workflow, if it is open,
    /// or if it was closed from outside.
    ///
    /// # Errors
    /// The server does not answer, or refuses the call.
    pub async fn delivery_outcome(
        &self,
        workflow: &str,
    ) -> Result<Option<NotificationOutcome>, Error> {
        let described = self.describe(workflow).await?;
        if described.is_none_or(|run| run.status() != WorkflowExecutionStatus::Completed) {
            return Ok(None);
        }
        let client = self.client();
        let handle = client.get_workflow_handle::<delivery::Delivery>(workflow);
        let result = handle.get_result(WorkflowGetResultOptions::default()).await;
        result.map(Some).map_err(answered)
    }
}

/// Returns a priority with the user's fairness key.
fn fair(user: &str) -> Priority {
    let mut order = Priority::default();
    order.fairness_key = Some(fairness_key(user));
    order
}
