//! What Temporal says about the newest run with a workflow id.

use genflow::domain::WorkflowId;
use genflow::engines::temporal::client::Temporal;

/// Questions about the newest run with a workflow id.
pub(crate) trait Described {
    /// Returns whether the run has closed; false if it does not exist.
    async fn is_closed(&self, workflow: &WorkflowId) -> bool;

    /// Returns the run id, if there is a run.
    async fn run_id(&self, workflow: &WorkflowId) -> Option<String>;

    /// Returns whether a cancel of the run was requested.
    async fn is_cancel_asked(&self, workflow: &WorkflowId) -> bool;
}

impl Described for Temporal {
    async fn is_closed(&self, workflow: &WorkflowId) -> bool {
        let run = self.describe(workflow.as_str()).await.unwrap();
        run.is_some_and(|run| run.close_time().is_some())
    }

    async fn run_id(&self, workflow: &WorkflowId) -> Option<String> {
        let run = self.describe(workflow.as_str()).await.unwrap();
        run.map(|run| run.run_id().to_owned())
    }

    async fn is_cancel_asked(&self, workflow: &WorkflowId) -> bool {
        let run = self.describe(workflow.as_str()).await.unwrap().unwrap();
        run.is_cancel_requested()
    }
}
