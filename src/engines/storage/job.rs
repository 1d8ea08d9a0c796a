//! `job.json`: a provider's answer to a submit, kept for later attempts of the run and for its end.
//!
//! It stays when the run ends: to remove it would cost a call for each run, and an attempt that answers late could write
//! it again. The run id in it keeps it from a later run of the same workflow id, which writes over it.

use std::io;

use super::Store;
use crate::contract::run::JobRecord;
use crate::domain::WorkflowId;

const JOB: &str = "job.json";

impl Store {
    /// Writes the answer that a run's submit got, over an earlier one.
    ///
    /// # Errors
    /// When the store does not take it.
    pub async fn write_job_record(&self, record: &JobRecord) -> io::Result<()> {
        let write = self.write_json(&record.workflow_id, JOB, record);
        self.tell(write.await)
    }

    /// Returns the answer that a submit of that run got, if one is there.
    ///
    /// # Errors
    /// When the store cannot be read; a record that is no JSON counts as absent.
    pub async fn job_record(
        &self,
        workflow: &WorkflowId,
        run_id: &str,
    ) -> io::Result<Option<JobRecord>> {
        let read = self.read_json::<JobRecord>(workflow, JOB).await;
        let record = self.tell(read)?;
        Ok(record.filter(|record| record.run_id == run_id))
    }
}
