//! Finds out whether a run uses a job that an outdated attempt of `submit` received.

use anyhow::Context as _;
use temporalio_client::Client;
use temporalio_common::protos::temporal::api::common::v1::ActivityType;
use temporalio_common::protos::temporal::api::enums::v1::PendingActivityState;
use temporalio_common::protos::temporal::api::history::v1::{
    HistoryEvent, history_event::Attributes,
};

use crate::contract::activities::SUBMIT;
use crate::contract::run::{Job, Submitted};
use crate::domain::WorkflowId;
use crate::engines::temporal::history::{input, pending, read_all};

/// Returns whether the run uses `job`, which an attempt of the submit `activity` received, or a later attempt of it will
/// find it; `None` while that is undecided.
///
/// An attempt that begins after this call finds the job. One that runs now may have searched too early, so only its end
/// decides.
pub(crate) async fn is_used(
    client: &Client,
    workflow: &WorkflowId,
    run_id: &str,
    activity: &str,
    job: &Job,
) -> Result<Option<bool>, anyhow::Error> {
    let id = workflow.as_str();
    let open = pending(client, id, run_id).await;
    let mut open = open.context("cannot describe the run")?.into_iter();
    let submit = open.find(|open| open.activity_id == activity);
    if let Some(submit) = submit {
        return Ok(match submit.state() {
            PendingActivityState::Scheduled | PendingActivityState::Paused => Some(true),
            PendingActivityState::Started
            | PendingActivityState::CancelRequested
            | PendingActivityState::PauseRequested
            | PendingActivityState::Unspecified => None,
        });
    }
    let mut accepted = AcceptedJob::default();
    read_all(client, id, run_id, |event| accepted.add(event)).await?;
    let is_same = |accepted: Job| (accepted.provider, &accepted.id) == (job.provider, &job.id);
    Ok(Some(accepted.job.is_some_and(is_same)))
}

fn is_submit(activity: Option<&ActivityType>) -> bool {
    activity.is_some_and(|activity| activity.name == SUBMIT)
}

/// The job in the result of a run's `submit`. If there are several, only the last one can have accepted a job.
#[derive(Default)]
struct AcceptedJob {
    submit: Option<i64>,
    job: Option<Job>,
}

impl AcceptedJob {
    fn add(&mut self, event: HistoryEvent) -> Result<(), anyhow::Error> {
        match event.attributes {
            Some(Attributes::ActivityTaskScheduledEventAttributes(scheduled))
                if is_submit(scheduled.activity_type.as_ref()) =>
            {
                self.submit = Some(event.event_id);
            }
            Some(Attributes::ActivityTaskCompletedEventAttributes(completed))
                if Some(completed.scheduled_event_id) == self.submit =>
            {
                if let Submitted::Accepted { job, .. } = input(completed.result)? {
                    self.job = Some(job);
                }
            }
            Some(_) | None => {}
        }
        Ok(())
    }
}
