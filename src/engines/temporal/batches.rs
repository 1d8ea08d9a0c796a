//! Starts batches.

use std::time::Duration;

use temporalio_client::WorkflowIdReusePolicy;
use temporalio_client::WorkflowStartOptions;
use temporalio_client::errors::WorkflowStartError;
use temporalio_common::MemoValues;
use temporalio_common::data_converters::MultiArgs2;

use super::client::{Error, FINGERPRINT, STARTS, Started, Temporal, answered, order};
use crate::contract::run::BatchStart;
use crate::contract::search_attributes::{BACKSTOP, attributes};
use crate::domain::{Kind, Priority};
use crate::engines::temporal::request_runs::comes_and_goes;
use crate::workflows::batch::Batch;

impl Temporal {
    /// Starts a batch with these items. If its id is taken, returns what holds the id.
    ///
    /// # Errors
    /// The server neither starts the batch nor reports that its id is taken.
    pub async fn start_batch(
        &self,
        start: &BatchStart,
        items: &[u8],
        priority: Priority,
        fingerprint: &str,
    ) -> Result<Started, Error> {
        let workflow = start.request.run(0);
        for _ in 0..STARTS {
            let mut memo = MemoValues::new();
            memo.insert(FINGERPRINT, fingerprint.to_owned());
            let options = WorkflowStartOptions::new(self.task_queue(), workflow.to_string())
                .id_reuse_policy(WorkflowIdReusePolicy::RejectDuplicate)
                .execution_timeout(Duration::from_millis(start.timeout_ms) + BACKSTOP)
                .search_attributes(attributes(&start.user, Kind::Batch, None))
                .priority(order(priority, &start.user))
                .static_details(fingerprint.to_owned())
                .memo(memo)
                .build();
            let input = MultiArgs2(start.clone(), items.to_vec());
            match self
                .client()
                .start_workflow(Batch::run, input, options)
                .await
            {
                Ok(_) => return Ok(Started::New),
                Err(WorkflowStartError::AlreadyStarted { .. }) => {}
                Err(error) => return Err(answered(error)),
            }
            if let Some(there) = self.known(&workflow, fingerprint).await? {
                return Ok(there);
            }
        }
        Err(comes_and_goes())
    }
}
