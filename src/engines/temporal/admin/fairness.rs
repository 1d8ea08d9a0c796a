//! Finds out by a trial whether the server shares a task queue fairly: no API call reports it.
//!
//! The trial starts a crowd of workflows with one fairness key and then one with another, on a queue without workers,
//! and takes their tasks in the server's order. A fair server returns the lonely one's task among the first, another
//! server returns it last. The trial's workflows are terminated; they stay in the namespace until its retention ends.

use std::time::Duration;

use temporalio_client::tonic::IntoRequest as _;
use temporalio_common::protos::temporal::api::common::v1::{
    Priority, WorkflowExecution, WorkflowType,
};
use temporalio_common::protos::temporal::api::workflowservice::v1::{
    PollWorkflowTaskQueueRequest, StartWorkflowExecutionRequest, TerminateWorkflowExecutionRequest,
};
use uuid::Uuid;

use super::inspect::{Server, named};
use super::{Error, call};

/// The workflow type of the trial; no worker implements it.
const TRIAL: &str = "genflow.doctor.v1";
/// Number of workflows in the crowd.
const CROWD: usize = 16;
/// Execution time-out of a trial's workflow, in case its termination fails.
const LIFE: Duration = Duration::from_secs(60);

impl Server {
    /// Tests whether a lonely fairness key is served before the rest of a crowd; returns `None` if the queue has
    /// several partitions, since their tasks come in any order.
    ///
    /// # Errors
    /// A call was refused, or took too long.
    pub async fn is_fair(&self) -> Result<Option<bool>, Error> {
        let queue = format!("genflow-doctor-{}", Uuid::new_v4().simple());
        if self.partitions(&queue).await? > 1 {
            return Ok(None);
        }
        let ids: Vec<_> = (0..=CROWD)
            .map(|number| format!("{queue}/{number}"))
            .collect();
        let tried = self.trial(&queue, &ids).await.map(Some);
        for id in &ids {
            self.end_trial(id).await;
        }
        tried
    }

    /// Starts all workflows, the lonely one last, and takes tasks until the lonely one's comes.
    async fn trial(&self, queue: &str, ids: &[String]) -> Result<bool, Error> {
        for (number, id) in ids.iter().enumerate() {
            let key = if number == CROWD { "lonely" } else { "crowd" };
            self.start_trial(queue, id, key).await?;
        }
        for before in 0..=CROWD {
            let request = PollWorkflowTaskQueueRequest {
                namespace: self.namespace.clone(),
                task_queue: Some(named(queue)),
                identity: "genflow doctor".to_owned(),
                ..Default::default()
            };
            let mut service = self.connection.workflow_service();
            let asked = service.poll_workflow_task_queue(request.into_request());
            let task = call("PollWorkflowTaskQueue", asked).await?;
            let taken = task.workflow_execution.unwrap_or_default().workflow_id;
            if ids.last() == Some(&taken) {
                return Ok(before < CROWD / 2);
            }
        }
        Ok(false)
    }

    async fn start_trial(&self, queue: &str, id: &str, key: &str) -> Result<(), Error> {
        let request = StartWorkflowExecutionRequest {
            namespace: self.namespace.clone(),
            workflow_id: id.to_owned(),
            workflow_type: Some(WorkflowType {
                name: TRIAL.to_owned(),
            }),
            task_queue: Some(named(queue)),
            workflow_execution_timeout: LIFE.try_into().ok(),
            request_id: Uuid::new_v4().to_string(),
            priority: Some(Priority {
                fairness_key: key.to_owned(),
                ..Default::default()
            }),
            ..Default::default()
        };
        let mut service = self.connection.workflow_service();
        let asked = service.start_workflow_execution(request.into_request());
        call("StartWorkflowExecution", asked).await.map(|_| ())
    }

    /// Terminates one of the trial's workflows; does nothing if it never started or has ended.
    async fn end_trial(&self, id: &str) {
        let request = TerminateWorkflowExecutionRequest {
            namespace: self.namespace.clone(),
            workflow_execution: Some(WorkflowExecution {
                workflow_id: id.to_owned(),
                run_id: String::new(),
            }),
            reason: "the trial is over".to_owned(),
            identity: "genflow doctor".to_owned(),
            ..Default::default()
        };
        let mut service = self.connection.workflow_service();
        let asked = service.terminate_workflow_execution(request.into_request());
        if let Err(error) = call("TerminateWorkflowExecution", asked).await {
            tracing::debug!(id, %error, "cannot terminate a workflow of the fairness trial");
        }
    }
}
