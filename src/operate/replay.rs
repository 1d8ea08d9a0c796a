//! Replays histories with the workflows of this build, and reports whether their runs continue under it.
//!
//! It only reads from the server: no worker polls, nothing is scheduled, no task is failed.
//!
//! The SDK compares a workflow's commands with its history, and `inputs` compares the inputs of activities. These carry
//! the events, and each copy of an event must have the content that was published first (contract, section 3, rule 2).
//! So a build must not encode an event differently from the build that decided it. To change an encoding, call
//! `ctx.patched("name-of-the-change")` where the event is decided, encode as before where it returns false, and record
//! histories of the new encoding (`tests/it/replay.rs`). When no run that began before can still be open, replace the
//! call by `ctx.deprecate_patch` and drop the old encoding. A new field with a default is no such change: histories
//! that lack it are read with the default.

use std::time::Duration;

use temporalio_client::errors::WorkflowInteractionError;
use temporalio_client::{
    Client, NamespacedClient as _, WorkflowExecutionInfo, WorkflowFetchHistoryOptions,
    WorkflowHandle,
};
use temporalio_common::protos::temporal::api::enums::v1::EventType;
use temporalio_common::protos::temporal::api::history::v1::history_event::Attributes;
use temporalio_common::protos::temporal::api::history::v1::{History, HistoryEvent};
use temporalio_sdk::WorkflowRegistrationError;
use temporalio_sdk::workflow_replayer::{
    WorkflowReplayError, WorkflowReplayer, WorkflowReplayerOptions,
};

use self::inputs::Inputs;
use crate::engines::temporal::client::{Error, Temporal, answered};
use crate::engines::temporal::history;
use crate::engines::temporal::payloads::decode;
use crate::workflows::generation;
use crate::workflows::generation::Generation;
use crate::workflows::{of_notifications, of_requests};

mod inputs;

/// Time limit of a replay, which takes far less, even of a long history.
const LONGEST: Duration = Duration::from_secs(60);
/// Number of open runs whose inputs are read to see whether this process has their keys.
const SAMPLE: usize = 20;

/// The history of a run.
#[derive(Clone, Debug)]
pub struct Recorded {
    pub workflow_id: String,
    pub run_id: String,
    /// The workflow type, such as `generation.v1`.
    pub workflow_type: String,
    /// True if the history does not end with the close of the run.
    pub open: bool,
    events: Vec<HistoryEvent>,
}

/// Where this build deviates from a history.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Misfit {
    /// Number of the first event that does not match, from 1.
    pub event: i64,
    /// Its type, such as `ActivityTaskScheduled`.
    pub kind: String,
    pub problem: String,
    /// What happens to such a run under this build.
    pub effect: Effect,
}

/// What happens to a run whose history a build does not match.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effect {
    /// Its workflow tasks fail.
    NoProgress,
    /// It continues, and publishes events again with other content.
    OtherContent,
}

/// Why a history cannot be replayed at all.
#[derive(Debug, thiserror::Error)]
pub enum ReplayError {
    /// The first event is not the start of a workflow.
    #[error("the history does not begin with the start of a workflow")]
    NoHistory,
    /// The replayer itself failed.
    #[error("cannot replay histories")]
    Replayer(#[source] Box<dyn std::error::Error + Send + Sync>),
}

/// Returns the workflow types of the role `worker`, sorted.
pub fn types_of_requests() -> Vec<String> {
    types_of(of_requests)
}

/// Returns the workflow types of the role `notifier`, sorted.
pub fn types_of_notifications() -> Vec<String> {
    types_of(of_notifications)
}

fn types_of(
    register: fn(&mut WorkflowReplayerOptions) -> Result<(), WorkflowRegistrationError>,
) -> Vec<String> {
    let mut options = WorkflowReplayerOptions::new().build();
    // Fails only if a type is registered twice; then no worker starts either.
    register(&mut options).ok();
    let workflows = options.workflows();
    let types = workflows.workflow_definitions();
    let mut names: Vec<_> = types.map(|found| found.workflow_type.clone()).collect();
    names.sort_unstable();
    names
}

impl Temporal {
    /// Returns the open runs of a type on this task queue, newest first, at most `limit`, each with its workflow id and
    /// run id, and their total number.
    ///
    /// # Errors
    /// When the server did not answer.
    pub async fn open(
        &self,
        workflow_type: &str,
        limit: usize,
        now: i64,
    ) -> Result<(Vec<(String, String)>, u64), Error> {
        let queue = self.task_queue();
        let query = format!(
            "WorkflowType = '{workflow_type}' AND TaskQueue = '{queue}' AND ExecutionStatus = 'Running'"
        );
        let total = self.count(&query).await?;
        // Once all open runs are found, there is no need to search further back.
        let limit = limit.min(usize::try_from(total).unwrap_or(usize::MAX));
        let found = self.newest_first(&query, (0, None), now, limit, |_| true);
        let runs = found.await?.into_iter();
        let runs = runs.map(|run| (run.id().to_owned(), run.run_id().to_owned()));
        Ok((runs.collect(), total))
    }

    /// Reads the inputs of the newest open runs on this task queue; returns the first run whose input cannot be decoded, and
    /// why.
    ///
    /// # Errors
    /// When the server did not answer.
    pub async fn unreadable(&self, now: i64) -> Result<Option<(String, Error)>, Error> {
        let (runs, _) = self.open(generation::NAME, SAMPLE, now).await?;
        for (id, run_id) in runs {
            match history::started(&self.client(), &id, &run_id).await {
                Ok(_) => {}
                Err(error @ Error::Unreadable(_)) => return Ok(Some((id, error))),
                Err(error) => return Err(error),
            }
        }
        Ok(None)
    }

    /// Reads the history of a run, by default the newest; returns `None` if there is no such run.
    ///
    /// # Errors
    /// When the server did not answer, or not with a history.
    pub async fn recorded(
        &self,
        workflow_id: &str,
        run_id: Option<&str>,
    ) -> Result<Option<Recorded>, Error> {
        let client = self.client();
        let run = WorkflowExecutionInfo::builder()
            .namespace(client.namespace())
            .workflow_id(workflow_id)
            .maybe_run_id(run_id.map(str::to_owned))
            .build();
        let handle = WorkflowHandle::<Client, Generation>::new(client.clone(), run);
        let history = handle.fetch_history(WorkflowFetchHistoryOptions::default());
        match history.into_events().await {
            Ok(events) => {
                let mut history = History { events };
                let decoded = decode(&client, &mut history).await;
                decoded.map_err(Error::Unreadable)?;
                match Recorded::of(history.events) {
                    Ok(recorded) => Ok(Some(recorded)),
                    Err(error) => Err(Error::Unreadable(error.into())),
                }
            }
            Err(WorkflowInteractionError::NotFound(_)) => Ok(None),
            Err(error) => Err(answered(error)),
        }
    }
}

impl Recorded {
    /// Takes the events of a whole history, from the first, with decoded payloads.
    ///
    /// # Errors
    /// [`ReplayError::NoHistory`].
    pub fn of(events: Vec<HistoryEvent>) -> Result<Self, ReplayError> {
        let Some(Attributes::WorkflowExecutionStartedEventAttributes(started)) =
            events.first().and_then(|event| event.attributes.as_ref())
        else {
            return Err(ReplayError::NoHistory);
        };
        let workflow_type = started.workflow_type.as_ref();
        let closed = events
            .last()
            .is_some_and(HistoryEvent::is_final_wf_execution_event);
        Ok(Self {
            workflow_id: started.workflow_id.clone(),
            run_id: started.original_execution_run_id.clone(),
            workflow_type: workflow_type.map_or(String::new(), |named| named.name.clone()),
            open: !closed,
            events,
        })
    }
}

/// All workflows of this build; replays one history at a time.
pub struct Replayer {
    replayer: WorkflowReplayer,
    inputs: Inputs,
}

/// What does not match.
enum Mismatch {
    /// A command, or a failed task; the event is not known yet.
    Task(String),
    /// The input of an activity, which this event scheduled.
    Input(i64, String),
}

impl Replayer {
    /// Creates a replayer.
    ///
    /// # Errors
    /// [`ReplayError::Replayer`].
    pub fn new() -> Result<Self, ReplayError> {
        let inputs = Inputs::default();
        let mut options = WorkflowReplayerOptions::new()
            .workflow_interceptor(inputs.interceptor())
            .build();
        let registered = of_requests(&mut options).and_then(|()| of_notifications(&mut options));
        registered.map_err(|error| ReplayError::Replayer(error.into()))?;
        let replayer = WorkflowReplayer::new(options);
        let replayer = replayer.map_err(|error| ReplayError::Replayer(error.into()))?;
        Ok(Self { replayer, inputs })
    }

    /// Replays a history; returns `None` if its run continues under this build.
    ///
    /// # Errors
    /// [`ReplayError::Replayer`].
    pub async fn replay(&self, recorded: &Recorded) -> Result<Option<Misfit>, ReplayError> {
        let known = [types_of_requests(), types_of_notifications()].concat();
        if !known.contains(&recorded.workflow_type) {
            return Ok(Some(Misfit {
                event: 1,
                kind: format!("{:?}", EventType::WorkflowExecutionStarted),
                problem: format!("this build has no workflow {}", recorded.workflow_type),
                effect: Effect::NoProgress,
            }));
        }
        let events = &recorded.events;
        let is_begun = |event: &HistoryEvent| event.event_type() == EventType::WorkflowTaskStarted;
        // A run that no build has begun fits every build, and the SDK would wait for its first workflow task.
        if !events.iter().any(is_begun) {
            return Ok(None);
        }
        Ok(match self.problem(events).await? {
            None => None,
            Some(Mismatch::Task(problem)) => Some(self.misfit(events, problem).await?),
            Some(Mismatch::Input(event, problem)) => Some(Misfit {
                event,
                kind: format!("{:?}", EventType::ActivityTaskScheduled),
                problem,
                effect: Effect::OtherContent,
            }),
        })
    }

    /// Finds the first event that does not match, by bisection. A history that is cut after the start of a workflow
    /// task is still a valid history. The commands of a task are in the part that ends with the start of the next task.
    async fn misfit(
        &self,
        events: &[HistoryEvent],
        mut problem: String,
    ) -> Result<Misfit, ReplayError> {
        let ends: Vec<usize> = events
            .iter()
            .enumerate()
            .filter(|(at, event)| {
                let completed =
                    |next: &HistoryEvent| next.event_type() == EventType::WorkflowTaskCompleted;
                event.event_type() == EventType::WorkflowTaskStarted
                    && events.get(at + 1).is_none_or(completed)
            })
            .map(|(at, _)| at)
            .collect();
        let (mut low, mut high) = (0, ends.len());
        while low < high {
            let middle = usize::midpoint(low, high);
            match self.problem(&events[..=ends[middle]]).await? {
                Some(Mismatch::Task(found)) => (high, problem) = (middle, found),
                Some(Mismatch::Input(..)) | None => low = middle + 1,
            }
        }
        let from = low.checked_sub(1).map_or(0, |before| ends[before] + 1);
        let to = ends.get(low).map_or(events.len(), |end| *end);
        let done = &events[from..to];
        let event = done.iter().find(|event| event.is_command_event());
        let (event, kind) = event
            .or(done.first())
            .map_or((0, EventType::Unspecified), |event| {
                (event.event_id, event.event_type())
            });
        Ok(Misfit {
            event,
            kind: format!("{kind:?}"),
            problem,
            effect: Effect::NoProgress,
        })
    }

    /// Replays, and returns what does not match.
    async fn problem(&self, events: &[HistoryEvent]) -> Result<Option<Mismatch>, ReplayError> {
        let history = History {
            events: events.to_vec(),
        };
        let replaying = Box::pin(self.replayer.replay_workflow(history.into()));
        let problem_text = match tokio::time::timeout(LONGEST, replaying).await {
            Ok(Ok(())) => {
                let differs = self.inputs.differ(events);
                return Ok(differs.map(|(event, problem)| Mismatch::Input(event, problem)));
            }
            Ok(Err(WorkflowReplayError::Replay(failure))) => {
                readable(&failure.to_string()).to_owned()
            }
            Ok(Err(error)) => return Err(ReplayError::Replayer(error.into())),
            Err(_) => format!("the replay did not end within {LONGEST:?}"),
        };
        Ok(Some(Mismatch::Task(problem_text)))
    }
}

/// Returns the message within the SDK's debug text, or all of that text if it has none.
fn readable(failure: &str) -> &str {
    let message = failure.split_once("message: \"");
    let message = message.and_then(|(_, rest)| rest.split_once("\", source: "));
    message.map_or(failure, |(message, _)| message)
}
