//! The runs of one request: its first under `id`, its retries under `id~1`, `id~2` and so on, each id a slot.
//!
//! Slots fill in order and none is ever used twice, so the newest run is the last before the first free slot. Behind one
//! that has completed all are free; behind one that is open there may be another, once its failure is told.

use temporalio_client::errors::{WorkflowInteractionError, WorkflowStartError};
use temporalio_client::tonic::Code;
use temporalio_client::{
    WorkflowCancelOptions, WorkflowDescribeOptions, WorkflowExecutionDescription,
    WorkflowExecutionStatus, WorkflowIdReusePolicy, WorkflowStartOptions,
};

use super::client::{Error, STARTS, Temporal, answered};
use super::workflows::claimed;
use crate::domain::{EventType, RequestId, WorkflowId};

/// What a cancel came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cancelled {
    /// The newest run was asked to end.
    Asked,
    /// It has ended already.
    Over,
    /// No run has the id yet; now a claim has it.
    Claimed,
    /// It is not a run of the user who may ask; nothing was done.
    OthersRun,
}

/// Where a run stands, as far as a retry or a cancel minds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Standing {
    Running,
    Completed,
    /// Failed, cancelled, terminated or timed out.
    Failed,
}

impl Temporal {
    /// Asks a request's newest run to end; an id that nobody has yet is claimed, so that its request never starts.
    ///
    /// With `only`, what is not a run of that user is left alone. A free id may be claimed on anyone's behalf: whose it
    /// will be nobody can say yet, just as anyone may take it by a request of their own.
    ///
    /// # Errors
    /// When the server did not decide.
    pub async fn cancel(
        &self,
        request: &RequestId,
        reason: &str,
        only: Option<&str>,
    ) -> Result<Cancelled, Error> {
        for _ in 0..STARTS {
            // At each turn: a run may have started since.
            if let Some(only) = only
                && let Some(user) = self.user(&request.run(0)).await?
                && user != only
            {
                return Ok(Cancelled::OthersRun);
            }
            match self.last(request).await? {
                // Temporal answers Ok to the cancel of a closed run, so look first.
                Some((_, Standing::Completed | Standing::Failed)) => return Ok(Cancelled::Over),
                Some((newest, Standing::Running)) => {
                    let options = WorkflowCancelOptions::builder()
                        .reason(reason.to_owned())
                        .build();
                    let handle = self.handle(&newest);
                    handle.cancel(options).await.map_err(answered)?;
                    return Ok(Cancelled::Asked);
                }
                None => {}
            }
            let workflow = request.run(0).to_string();
            let options = WorkflowStartOptions::new(self.task_queue(), workflow)
                .id_reuse_policy(WorkflowIdReusePolicy::RejectDuplicate)
                .build();
            match self
                .client()
                .start_workflow(claimed::Claimed::run, reason.to_owned(), options)
                .await
            {
                Ok(_) => return Ok(Cancelled::Claimed),
                Err(WorkflowStartError::AlreadyStarted { .. }) => {}
                Err(error) => return Err(answered(error)),
            }
        }
        Err(comes_and_goes())
    }

    /// Returns the newest run of a request, if it has any.
    ///
    /// # Errors
    /// When the server did not answer.
    pub async fn newest(&self, request: &RequestId) -> Result<Option<WorkflowId>, Error> {
        Ok(self.last(request).await?.map(|(workflow, _)| workflow))
    }

    /// Walks to the newest run: there is none behind one that has completed.
    async fn last(&self, request: &RequestId) -> Result<Option<(WorkflowId, Standing)>, Error> {
        let mut last = None;
        for number in 0.. {
            let workflow = request.run(number);
            let Some(described) = self.describe(&workflow).await? else {
                break;
            };
            let standing = standing(described.status());
            last = Some((workflow, standing));
            if standing == Standing::Completed {
                break;
            }
        }
        Ok(last)
    }

    /// Says where a run stands: an open one that has decided its outcome stands as if it were closed.
    pub(super) async fn standing(
        &self,
        workflow: &WorkflowId,
        described: &WorkflowExecutionDescription,
    ) -> Result<Standing, Error> {
        let standing = standing(described.status());
        if standing != Standing::Running {
            return Ok(standing);
        }
        Ok(match self.decided(workflow, described.run_id()).await? {
            Some(EventType::Completed) => Standing::Completed,
            Some(EventType::Failed | EventType::Cancelled) => Standing::Failed,
            Some(
                EventType::Unknown | EventType::Started | EventType::Progress | EventType::Rejected,
            )
            | None => Standing::Running,
        })
    }

    pub(super) async fn describe(
        &self,
        workflow: &WorkflowId,
    ) -> Result<Option<WorkflowExecutionDescription>, Error> {
        let handle = self.handle(workflow);
        match handle.describe(WorkflowDescribeOptions::default()).await {
            Ok(described) => Ok(Some(described)),
            Err(WorkflowInteractionError::NotFound(_)) => Ok(None),
            Err(error) => Err(answered(error)),
        }
    }
}

/// What is not known to be closed is taken to run: it is not retried, and may be cancelled.
fn standing(status: WorkflowExecutionStatus) -> Standing {
    match status {
        WorkflowExecutionStatus::Completed => Standing::Completed,
        WorkflowExecutionStatus::Failed
        | WorkflowExecutionStatus::Canceled
        | WorkflowExecutionStatus::Terminated
        | WorkflowExecutionStatus::TimedOut => Standing::Failed,
        WorkflowExecutionStatus::Running
        | WorkflowExecutionStatus::ContinuedAsNew
        | WorkflowExecutionStatus::Paused
        | WorkflowExecutionStatus::Unspecified
        | WorkflowExecutionStatus::Unknown
        | _ => Standing::Running,
    }
}

pub(super) fn comes_and_goes() -> Error {
    Error::Answered {
        code: Code::Aborted,
        source: "the id comes and goes".into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_run_that_ended_without_a_result_is_retried() {
        use WorkflowExecutionStatus as Status;

        for failed in [
            Status::Failed,
            Status::Canceled,
            Status::Terminated,
            Status::TimedOut,
        ] {
            assert_eq!(standing(failed), Standing::Failed, "{failed:?}");
        }
        for open in [
            Status::Running,
            Status::Paused,
            Status::ContinuedAsNew,
            Status::Unspecified,
            Status::Unknown,
        ] {
            assert_eq!(standing(open), Standing::Running, "{open:?}");
        }
        assert_eq!(standing(Status::Completed), Standing::Completed);
    }
}
