//! The status of a run: from its worker, or from the server if no worker answers; from its history once it is closed.

use std::time::Duration;

use serde::Serialize;
use temporalio_client::{WorkflowExecutionStatus, WorkflowQueryOptions};

use super::client::{Error, Temporal, user};
use super::described::Described;
use super::list::{State, request_of};
use super::outcome::DecidedOutcome;
use crate::contract::run::{RunState, StatusAnswer};
use crate::contract::search_attributes::{GEN_BATCH, GEN_KIND};
use crate::domain::time::since_epoch;
use crate::domain::{BatchSummary, ErrorCode, EventError, EventType, Generated, Tried, WorkflowId};
use crate::workflows::claimed;
use crate::workflows::generation::Generation;

/// How long a query may wait for a worker.
const QUERY_TIMEOUT: Duration = Duration::from_secs(2);

/// The status of a run, and where it comes from.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct RunStatus {
    pub request_id: String,
    /// The run's workflow id: the request's id, for the n-th retry followed by `~n`.
    pub workflow_id: String,
    /// Temporal's run id.
    pub run_id: String,
    /// `VIDEO`, `IMAGE` or `BATCH`; a claim has none.
    pub kind: Option<String>,
    /// The tenant; a claim has none.
    pub user_id: Option<String>,
    /// The batch that it is an item of.
    pub batch_id: Option<String>,
    pub state: RunState,
    /// The provider's name for the job's stage; `None` before and after the provider's part.
    pub stage: Option<String>,
    /// 0 to 100.
    pub percent: Option<i32>,
    /// The provider's id of the job.
    pub provider_job_id: Option<String>,
    /// Number of sends to the provider.
    pub attempts: Option<u32>,
    /// Milliseconds since the epoch.
    pub started_at: i64,
    /// When the job was first sent to the provider that accepted it, in milliseconds since the epoch.
    pub submitted_at: Option<i64>,
    /// Milliseconds since the epoch; of a closed run, when it closed.
    pub updated_at: Option<i64>,
    /// Why it did not complete.
    pub error: Option<EventError>,
    /// The items of a batch, counted by how they ended.
    pub batch: Option<BatchSummary>,
    /// The models tried without success, in order, if the run fell back to another one.
    pub tried: Vec<Tried>,
    /// The outputs and their cost, if it completed.
    pub result: Option<Generated>,
    pub source: StatusSource,
}

/// Where the status of a run comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum StatusSource {
    /// A worker: complete.
    Worker,
    /// The history of a closed run; needs no worker.
    History,
    /// The server, since no worker answered: it knows that the run is open and since when, but not how far it is.
    Server,
}

impl Temporal {
    /// Returns the status of a run; `None` if the run does not exist. Takes little more than two seconds if no worker answers.
    pub async fn status(&self, workflow: &WorkflowId) -> Result<Option<RunStatus>, Error> {
        // The client's futures are large, and callers poll.
        let Some(described) = Box::pin(self.describe(workflow.as_str())).await? else {
            return Ok(None);
        };
        let found = RunStatus::described(workflow, &described);
        if described.workflow_type() == claimed::NAME {
            return Ok(Some(found.claimed()));
        }
        if described.close_time().is_some() {
            let decided = Box::pin(self.decided(workflow, described.run_id())).await?;
            return Ok(Some(found.closed(described.status(), decided)));
        }
        // Batches answer the same query.
        let handle = self.handle(workflow);
        let query = Box::pin(handle.query(Generation::status, (), WorkflowQueryOptions::default()));
        Ok(Some(
            match tokio::time::timeout(QUERY_TIMEOUT, query).await {
                Ok(Ok(status)) => found.answered_by_worker(status),
                // No worker, one that cannot run this workflow, one that hangs: the caller gets the same answer.
                Ok(Err(_)) | Err(_) => found,
            },
        ))
    }
}

impl RunStatus {
    /// Returns what the server knows about a run.
    fn described(workflow: &WorkflowId, described: &Described) -> Self {
        Self {
            request_id: request_of(workflow.as_str()).to_owned(),
            workflow_id: workflow.to_string(),
            run_id: described.run_id().to_owned(),
            kind: described.keyword(GEN_KIND),
            user_id: user(described),
            batch_id: described.keyword(GEN_BATCH),
            state: RunState::Running,
            stage: None,
            percent: None,
            provider_job_id: None,
            attempts: None,
            started_at: described.start_time().map_or(0, since_epoch),
            submitted_at: None,
            updated_at: described.close_time().map(since_epoch),
            error: None,
            batch: None,
            tried: Vec::new(),
            result: None,
            source: StatusSource::Server,
        }
    }

    /// Adds the worker's answer.
    fn answered_by_worker(self, status: StatusAnswer) -> Self {
        Self {
            state: status.state,
            stage: status.stage,
            percent: Some(status.percent),
            provider_job_id: status.provider_job_id,
            attempts: Some(status.attempts),
            started_at: status.started_at,
            submitted_at: status.submitted_at,
            updated_at: Some(status.updated_at),
            error: status.error,
            batch: status.batch,
            tried: status.tried,
            source: StatusSource::Worker,
            ..self
        }
    }

    /// A claim is in its final state from the start, whether a worker has run it or not.
    fn claimed(self) -> Self {
        Self {
            state: RunState::Claimed,
            source: StatusSource::History,
            ..self
        }
    }

    /// Adds how the run ended. An outcome that it had decided holds, whatever closed it (contract, section 3, rule 9).
    fn closed(self, status: WorkflowExecutionStatus, decided: Option<DecidedOutcome>) -> Self {
        let source = StatusSource::History;
        let Some(DecidedOutcome {
            event,
            started_at,
            submitted_at,
        }) = decided
        else {
            let (state, error) = undecided(status.into());
            return Self {
                state,
                error,
                source,
                ..self
            };
        };
        let state = match event.event_type {
            EventType::Completed => RunState::Completed,
            EventType::Cancelled => RunState::Cancelled,
            EventType::Failed
            | EventType::Unknown
            | EventType::Started
            | EventType::Progress
            | EventType::Rejected => RunState::Failed,
        };
        Self {
            state,
            percent: (state == RunState::Completed).then_some(100),
            provider_job_id: event
                .result
                .as_ref()
                .map(|result| result.provider_job_id.clone()),
            started_at,
            submitted_at,
            error: event.error,
            batch: event.batch,
            tried: event.tried,
            result: event.result,
            source,
            ..self
        }
    }
}

/// Returns the state of a closed run that had decided nothing: as its `end.v1` ends it (contract, section 3, rule 9).
fn undecided(status: State) -> (RunState, Option<EventError>) {
    let (code, why) = match status {
        State::Completed => return (RunState::Completed, None),
        State::Cancelled => return (RunState::Cancelled, None),
        State::TimedOut => (
            ErrorCode::TimedOut,
            "Temporal's own time-out came before the outcome",
        ),
        State::Failed | State::Terminated | State::Running | State::Claimed => {
            (ErrorCode::Terminated, "the workflow was ended from outside")
        }
    };
    (RunState::Failed, Some(EventError::new(code, why, true)))
}
