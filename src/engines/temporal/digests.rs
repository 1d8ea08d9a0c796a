//! Sends failures to the digest workflows of the operators' targets.

use temporalio_client::WorkflowStartOptions;

use super::client::{Error, Temporal, answered};
use crate::contract::digest::{DigestInput, FailedRequest, FailedRequests, OperatorTarget};
use crate::workflows::digest;

impl Temporal {
    /// Signals a failure to the digest workflow of `to`, and starts the workflow if none is running.
    ///
    /// # Errors
    /// If the server did not accept the signal.
    pub async fn report_failure(
        &self,
        to: OperatorTarget,
        failed: FailedRequest,
    ) -> Result<(), Error> {
        let options = WorkflowStartOptions::new(self.task_queue(), to.workflow()).build();
        let input = DigestInput {
            to,
            failures: FailedRequests::default(),
            next_at: 0,
        };
        self.client()
            .signal_with_start_workflow(
                digest::Digest::run,
                input,
                digest::Digest::failed,
                failed,
                options,
            )
            .await
            .map(drop)
            .map_err(answered)
    }
}
