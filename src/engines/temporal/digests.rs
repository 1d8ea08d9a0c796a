//! Gathers failures in the workflow of their target.

use temporalio_client::WorkflowStartOptions;

use super::client::{Error, Temporal, answered};
use crate::contract::digest::{Addressee, Digest, Failed, Gathered, Seen};
use crate::workflows::digest;

impl Temporal {
    /// Returns when failures are in the hands of the workflow of their target, which is started where none runs.
    ///
    /// # Errors
    /// When the server did not take them.
    pub async fn gather(
        &self,
        to: Addressee,
        every_ms: u64,
        failed: Vec<Failed>,
    ) -> Result<(), Error> {
        let options = WorkflowStartOptions::new(self.task_queue(), to.workflow()).build();
        let input = Digest {
            to,
            every_ms,
            gathered: Gathered::default(),
            seen: Seen::default(),
            pause_ms: 0,
            tries: 0,
            unknown: 0,
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
