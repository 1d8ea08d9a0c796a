//! `job.json`: a provider's answer to a submit, kept for later attempts of the run and for its end.
//!
//! It stays after the run: removing it would cost a call per run, and a late attempt could write it again. It
//! contains the run id, so that a later run of the same workflow id, which overwrites it, does not adopt it.

use std::io;

use super::{Durability, Store};
use crate::contract::run::JobRecord;
use crate::domain::WorkflowId;

const JOB: &str = "job.json";

impl Store {
    /// Writes the answer to a run's submit, over an earlier one.
    pub async fn write_job_record(
        &self,
        record: &JobRecord,
        durability: Durability,
    ) -> io::Result<()> {
        let writing = self.write_json(durability, &record.workflow_id, JOB, record);
        self.counted(writing).await
    }

    /// Returns the answer to a submit of run `run_id`, if one is stored.
    ///
    /// # Errors
    /// If the store cannot be read. A record that this version cannot decode counts as absent.
    pub async fn job_record(
        &self,
        workflow: &WorkflowId,
        run_id: &str,
    ) -> io::Result<Option<JobRecord>> {
        let reading = self.read_json::<JobRecord>(workflow, JOB);
        let record = self.counted(reading).await?;
        Ok(record.filter(|record| record.run_id == run_id))
    }
}
