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

use super::client::{Error, STARTS, Temporal, answered, user};
use crate::domain::{EventType, RequestId, WorkflowId};
use crate::workflows::{batch, claimed, generation};

/// What a cancel came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Cancelled {
    /// The newest run was asked to end.
    Asked,
    /// It has ended already.
    Over,
    /// No run has the id yet; now a claim has it.
    Claimed,
    /// It is not a run of the user who may ask; nothing was done.
    OthersRun,
    /// A workflow of this type has the id, which is none of ours; nothing was done.
    Foreign(String),
}

/// Where a run stands, as far as a retry or a cancel minds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Standing {
    Running,
    Completed,
    /// Failed, cancelled, terminated or timed out.
    Failed,
}

/// The newest run of a request.
struct Newest {
    workflow: WorkflowId,
    standing: Standing,
    user: Option<String>,
    workflow_type: String,
}

impl Newest {
    /// A claim has no user, and there is nothing to be done to it.
    fn is_others(&self, user: &str) -> bool {
        self.workflow_type != claimed::NAME && self.user.as_deref() != Some(user)
    }

    fn is_foreign(&self) -> bool {
        let ours = [generation::NAME, batch::NAME, claimed::NAME];
        !ours.contains(&self.workflow_type.as_str())
    }
}

impl Temporal {
    /// Asks a request's newest run to end; an id that nobody has yet is claimed, so that its request never starts.
    ///
    /// A workflow that is not genflow's is left alone, and with `only` what is not a run of that user. A free id may be claimed on anyone's behalf: whose it
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
            match self.last(request).await? {
                Some(newest) if newest.is_foreign() => {
                    return Ok(Cancelled::Foreign(newest.workflow_type));
                }
                // By the description of the run that is to end, and not of one seen before.
                Some(newest) if only.is_some_and(|user| newest.is_others(user)) => {
                    return Ok(Cancelled::OthersRun);
                }
                // Temporal answers Ok to the cancel of a closed run, so look first.
                Some(newest) if newest.standing != Standing::Running => {
                    return Ok(Cancelled::Over);
                }
                Some(newest) => {
                    let options = WorkflowCancelOptions::builder()
                        .reason(reason.to_owned())
                        .build();
                    let handle = self.handle(&newest.workflow);
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
        Ok(self.last(request).await?.map(|newest| newest.workflow))
    }

    /// Walks to the newest run: there is none after one that has completed, or after a slot that is not ours.
    async fn last(&self, request: &RequestId) -> Result<Option<Newest>, Error> {
        let mut last = None;
        for number in 0.. {
            let workflow = request.run(number);
            let Some(described) = self.describe(&workflow).await? else {
                break;
            };
            if number > 0 && described.workflow_type() != generation::NAME {
                break;
            }
            let standing = standing(described.status());
            last = Some(Newest {
                workflow,
                standing,
                user: user(&described),
                workflow_type: described.workflow_type().to_owned(),
            });
            if standing == Standing::Completed {
                break;
            }
        }
        Ok(last)
    }

    /// Says where a run stands: an open one that has decided its outcome stands as if it were closed.
    pub(crate) async fn standing(
        &self,
        workflow: &WorkflowId,
        described: &WorkflowExecutionDescription,
    ) -> Result<Standing, Error> {
        let standing = standing(described.status());
        // What was closed from outside keeps the outcome that it had decided (contract, rule 9).
        let by_itself = matches!(
            described.status(),
            WorkflowExecutionStatus::Completed
                | WorkflowExecutionStatus::Failed
                | WorkflowExecutionStatus::Canceled
        );
        if by_itself {
            return Ok(standing);
        }
        let decided = self.decided(workflow, described.run_id()).await?;
        Ok(match decided.map(|decided| decided.event.kind_of_event) {
            Some(EventType::Completed) => Standing::Completed,
            Some(EventType::Failed | EventType::Cancelled) => Standing::Failed,
            Some(
                EventType::Unknown | EventType::Started | EventType::Progress | EventType::Rejected,
            )
            | None => standing,
        })
    }

    pub(crate) async fn describe(
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

pub(crate) fn comes_and_goes() -> Error {
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
