//! Sends failures to the digest workflow of an operator target.

use temporalio_client::WorkflowStartOptions;

use super::client::{Error, Temporal, answered};
use crate::contract::digest::{Addressee, Digest, Failed, Gathered, Seen};
use crate::workflows::digest;

impl Temporal {
    /// Signals failures to the digest workflow of the target `to`, and starts it if none is running.
    ///
    /// # Errors
    /// If the server did not accept the signal.
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
