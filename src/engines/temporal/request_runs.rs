//! The runs of one request: the first has the workflow id `id`, its retries have `id~1`, `id~2` and so on.
//!
//! These ids are taken in order and never reused, so the newest run is the one before the first free id. After a
//! completed run, all ids are free. After an open run there may be another: a run publishes its failure before it
//! closes, and can then be retried.

use temporalio_client::errors::WorkflowInteractionError;
use temporalio_client::{WorkflowCancelOptions, WorkflowExecutionStatus, WorkflowSignalOptions};

use super::client::{Error, STARTS, Temporal, answered, comes_and_goes, user};
use super::described::Described;
use super::list::State;
use crate::domain::{EventType, RequestId, WorkflowId};
use crate::workflows::generation::Generation;
use crate::workflows::{batch, claimed, generation};

/// The result of a cancel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Cancelled {
    /// The newest run was asked to end.
    Asked,
    /// The newest run has already ended.
    Over,
    /// No run had the id; a claim has it now.
    Claimed,
    /// The run belongs to another user; nothing was done.
    OthersRun,
    /// A workflow of this type, not genflow's, has the id; nothing was done.
    Foreign(String),
}

/// The state of a run, as far as it matters to a retry or a cancel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Standing {
    Running,
    Completed,
    /// Failed, cancelled, terminated or timed out.
    Failed,
}

struct Newest {
    workflow: WorkflowId,
    standing: Standing,
    user: Option<String>,
    workflow_type: String,
}

impl Newest {
    /// A claim has no user, and a cancel does nothing to it, so it is never another user's.
    fn is_others(&self, user: &str) -> bool {
        self.workflow_type != claimed::NAME && self.user.as_deref() != Some(user)
    }

    fn is_foreign(&self) -> bool {
        let ours = [generation::NAME, batch::NAME, claimed::NAME];
        !ours.contains(&self.workflow_type.as_str())
    }
}

impl Temporal {
    /// Asks a request's newest run to end. A free id is claimed, so that its request never starts.
    ///
    /// A workflow that is not genflow's is left alone, and so is another user's run if `only` names a user. A free id
    /// may be claimed for any user: it has no owner yet, and any user could also take it with a request.
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
                // Checks the very run that would be cancelled, not one that was described earlier.
                Some(newest) if only.is_some_and(|user| newest.is_others(user)) => {
                    return Ok(Cancelled::OthersRun);
                }
                // Temporal answers Ok to the cancel of a closed run, so check first.
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
            let options = self.only_once(request.run(0).to_string());
            let claim = self.start_new(claimed::Claimed::run, reason.to_owned(), options);
            if claim.await? {
                return Ok(Cancelled::Claimed);
            }
        }
        Err(comes_and_goes())
    }

    /// Signals a run that its provider has called back; returns false if no open run has the id. Repeats of a callback
    /// have the same `callback`; only the first has an effect.
    pub(crate) async fn call_back(
        &self,
        workflow: &WorkflowId,
        callback: String,
    ) -> Result<bool, Error> {
        let options = WorkflowSignalOptions::builder()
            .request_id(callback)
            .build();
        let handle = self.handle(workflow);
        let signalled = handle.signal(Generation::callback, (), options);
        match signalled.await {
            Ok(()) => Ok(true),
            Err(WorkflowInteractionError::NotFound(_)) => Ok(false),
            Err(error) => Err(answered(error)),
        }
    }

    /// Returns the newest run of a request, if it has any.
    pub async fn newest(&self, request: &RequestId) -> Result<Option<WorkflowId>, Error> {
        Ok(self.last(request).await?.map(|newest| newest.workflow))
    }

    /// Walks to the newest run: none comes after a completed one, or after an id that a foreign workflow has.
    async fn last(&self, request: &RequestId) -> Result<Option<Newest>, Error> {
        let mut last = None;
        for number in 0.. {
            let workflow = request.run(number);
            let Some(described) = self.describe(workflow.as_str()).await? else {
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

    /// Returns the state of a run; an open one that has decided its outcome counts as closed.
    pub(crate) async fn standing(
        &self,
        workflow: &WorkflowId,
        described: &Described,
    ) -> Result<Standing, Error> {
        let standing = standing(described.status());
        // A run that was closed from outside keeps the outcome that it had decided (contract, rule 9).
        let state = State::from(described.status());
        if matches!(state, State::Completed | State::Failed | State::Cancelled) {
            return Ok(standing);
        }
        let decided = self.decided(workflow, described.run_id()).await?;
        Ok(match decided.map(|decided| decided.event.event_type) {
            Some(EventType::Completed) => Standing::Completed,
            Some(EventType::Failed | EventType::Cancelled) => Standing::Failed,
            Some(
                EventType::Unknown | EventType::Started | EventType::Progress | EventType::Rejected,
            )
            | None => standing,
        })
    }
}

/// A run that is not known to be closed counts as running: it is not retried, and may be cancelled.
fn standing(status: WorkflowExecutionStatus) -> Standing {
    match State::from(status) {
        State::Completed => Standing::Completed,
        State::Failed | State::Cancelled | State::Terminated | State::TimedOut => Standing::Failed,
        State::Running | State::Claimed => Standing::Running,
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
