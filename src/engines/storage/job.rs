//! `job.json`: a provider's answer to a submit, kept for later attempts of the run and for its end.
//!
//! It stays after the run: removing it would cost a call per run, and a late attempt could write it again. It
//! contains the run id, so that a later run of the same workflow id, which overwrites it, does not adopt it. Each
//! candidate that the run falls back to has a file of its own, `job-1.json` for the first: a late write for one cannot
//! replace the answer to another.

use std::io;

use super::{Durability, Store};
use crate::contract::run::JobRecord;
use crate::domain::WorkflowId;

/// Returns the name of the file for a candidate.
fn file(candidate: u32) -> String {
    match candidate {
        0 => "job.json".to_owned(),
        candidate => format!("job-{candidate}.json"),
    }
}

impl Store {
    /// Writes the answer to a run's submit, over an earlier one.
    pub async fn write_job_record(
        &self,
        record: &JobRecord,
        durability: Durability,
    ) -> io::Result<()> {
        let name = file(record.candidate);
        let writing = self.write_json(durability, &record.workflow_id, &name, record);
        self.counted("write_job", writing).await
    }

    /// Returns the answer to a submit of run `run_id` to a candidate, if one is stored.
    ///
    /// # Errors
    /// If the store cannot be read. A record that this version cannot decode counts as absent.
    pub async fn job_record(
        &self,
        workflow: &WorkflowId,
        run_id: &str,
        candidate: u32,
    ) -> io::Result<Option<JobRecord>> {
        let name = file(candidate);
        let reading = self.read_json::<JobRecord>(workflow, &name);
        let record = self.counted("read_job", reading).await?;
        Ok(record.filter(|record| record.run_id == run_id))
    }
}
