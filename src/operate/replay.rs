//! Replays histories with the workflows of this build, and says whether their runs go on under it.
//!
//! It reads, and changes nothing at the server: no worker polls, nothing is scheduled, no task is failed.
//!
//! The SDK compares the commands of a workflow with its history, and `inputs` what is in them. Events are in these
//! inputs, and each of their copies must have the content under which the first was published (contract, section 3,
//! rule 2). So a build may not encode an event otherwise than the build that decided it. A change of encoding is made
//! in three steps: ask `ctx.patched("name-of-the-change")` where the event is decided, encode as before where it is
//! false, and record histories of the new way (`tests/it/replay.rs`). When no run that began before can be open any
//! more, replace the question by `ctx.deprecate_patch` and drop the old way. A field that is added with a default is no
//! change: histories that lack it are read with the default.

use std::time::Duration;

use temporalio_client::errors::WorkflowInteractionError;
use temporalio_client::{
    Client, NamespacedClient as _, WorkflowExecutionInfo, WorkflowFetchHistoryOptions,
    WorkflowHandle,
};
use temporalio_common::protos::temporal::api::enums::v1::EventType;
use temporalio_common::protos::temporal::api::history::v1::history_event::Attributes;
use temporalio_common::protos::temporal::api::history::v1::{History, HistoryEvent};
use temporalio_sdk::workflow_replayer::{
    WorkflowReplayError, WorkflowReplayer, WorkflowReplayerOptions,
};

use self::inputs::Inputs;
use crate::engines::temporal::client::{Error, Temporal, answered};
use crate::workflows::generation::Generation;
use crate::workflows::{Names, of_notifications, of_requests};

pub(crate) mod exported;
mod inputs;

/// A replay takes far less, however long the history.
const LONGEST: Duration = Duration::from_secs(60);

/// A run that is open.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Open {
    /// Its id.
    pub workflow_id: String,
    /// Temporal's own name for it.
    pub run_id: String,
}

/// What a run has done, as the server or a file has it.
#[derive(Clone, Debug)]
pub struct Recorded {
    /// The run's id; empty where a file does not tell.
    pub workflow_id: String,
    /// Temporal's own name for the run.
    pub run_id: String,
    /// `generation.v1` and the like.
    pub workflow_type: String,
    /// The run goes on, as far as the history knows.
    pub open: bool,
    events: Vec<HistoryEvent>,
}

/// Where this build does otherwise than the history says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Misfit {
    /// Number of the event that does not fit, from 1.
    pub event: i64,
    /// Its type, as `ActivityTaskScheduled`.
    pub kind: String,
    /// What does not fit.
    pub problem: String,
    /// What becomes of such a run under this build.
    pub effect: Effect,
}

/// What becomes of a run that does not fit a build.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effect {
    /// Its workflow tasks fail.
    StandsStill,
    /// It goes on, and publishes events again with other content.
    OtherContent,
}

/// Why a history cannot be replayed at all.
#[derive(Debug, thiserror::Error)]
pub enum ReplayError {
    /// It is not what Temporal exports.
    #[error("is no history of a run: {0}")]
    NoHistory(String),
    /// The replayer does not work.
    #[error("histories cannot be replayed")]
    Replayer(#[source] Box<dyn std::error::Error + Send + Sync>),
}

/// The types of what the role `worker` runs.
pub fn types_of_requests() -> Vec<&'static str> {
    let mut names = Names::default();
    // A list takes any name.
    of_requests(&mut names).ok();
    names.0
}

/// The types of what the role `notifier` runs.
pub fn types_of_notifications() -> Vec<&'static str> {
    let mut names = Names::default();
    of_notifications(&mut names).ok();
    names.0
}

impl Temporal {
    /// Lists the open runs of a type on this task queue, the newest first, at most `limit`; and says how many there are.
    ///
    /// # Errors
    /// When the server did not answer.
    pub async fn open(
        &self,
        workflow_type: &str,
        limit: usize,
        now: i64,
    ) -> Result<(Vec<Open>, u64), Error> {
        let queue = self.task_queue();
        let query = format!(
            "WorkflowType = '{workflow_type}' AND TaskQueue = '{queue}' AND ExecutionStatus = 'Running'"
        );
        let there = self.count(&query).await?;
        // With as many as there are, what is older need not be looked for.
        let limit = limit.min(usize::try_from(there).unwrap_or(usize::MAX));
        let found = self.newest_first(&query, (0, None), now, limit, |_| true);
        let runs = found.await?.into_iter().map(|run| Open {
            workflow_id: run.id().to_owned(),
            run_id: run.run_id().to_owned(),
        });
        Ok((runs.collect(), there))
    }

    /// Reads the history of a run, of its newest if no run id is given; `None` if nobody knows it.
    ///
    /// # Errors
    /// When the server did not answer.
    pub async fn recorded(
        &self,
        workflow_id: &str,
        run_id: Option<&str>,
    ) -> Result<Option<Result<Recorded, ReplayError>>, Error> {
        let client = self.client();
        let run = WorkflowExecutionInfo::builder()
            .namespace(client.namespace())
            .workflow_id(workflow_id)
            .maybe_run_id(run_id.map(str::to_owned))
            .build();
        let handle = WorkflowHandle::<Client, Generation>::new(client, run);
        let history = handle.fetch_history(WorkflowFetchHistoryOptions::default());
        match history.into_events().await {
            Ok(events) => Ok(Some(Recorded::of(workflow_id.to_owned(), events))),
            Err(WorkflowInteractionError::NotFound(_)) => Ok(None),
            Err(error) => Err(answered(error)),
        }
    }
}

impl Recorded {
    /// Reads a history as Temporal's UI and CLI export it.
    ///
    /// # Errors
    /// [`ReplayError::NoHistory`].
    pub fn from_json(json: &[u8]) -> Result<Self, ReplayError> {
        let read = exported::read(json);
        let read = read.map_err(|error| ReplayError::NoHistory(error.to_string()))?;
        Self::of(String::new(), read.events)
    }

    /// Holds that it is whole: the SDK gives up the process over one that is not.
    fn of(workflow_id: String, events: Vec<HistoryEvent>) -> Result<Self, ReplayError> {
        let wrong = |problem: String| Err(ReplayError::NoHistory(problem));
        let Some(Attributes::WorkflowExecutionStartedEventAttributes(started)) =
            events.first().and_then(|event| event.attributes.as_ref())
        else {
            return wrong("it does not begin with the start of a workflow".to_owned());
        };
        let (workflow_type, run_id) = (&started.workflow_type, &started.original_execution_run_id);
        let (Some(workflow_type), false) = (workflow_type, run_id.is_empty()) else {
            return wrong("its start names no type or no run".to_owned());
        };
        for (event, number) in events.iter().zip(1..) {
            if event.event_id != number {
                return wrong(format!("event {number} is missing"));
            }
        }
        for pair in events.windows(2) {
            if let [task, next] = pair
                && task.event_type() == EventType::WorkflowTaskStarted
                && !ends_task(next)
            {
                return wrong(format!("event {} does not end a task", next.event_id));
            }
        }
        let named = match workflow_id.is_empty() {
            true => started.workflow_id.clone(),
            false => workflow_id,
        };
        Ok(Self {
            workflow_id: named,
            run_id: run_id.clone(),
            workflow_type: workflow_type.name.clone(),
            open: !events
                .last()
                .is_some_and(HistoryEvent::is_final_wf_execution_event),
            events,
        })
    }
}

fn ends_task(event: &HistoryEvent) -> bool {
    matches!(
        event.event_type(),
        EventType::WorkflowTaskCompleted
            | EventType::WorkflowTaskFailed
            | EventType::WorkflowTaskTimedOut
            | EventType::WorkflowExecutionTerminated
            | EventType::WorkflowExecutionTimedOut
    )
}

/// All workflows of this build. It replays one history at a time.
pub struct Replayer {
    replayer: WorkflowReplayer,
    inputs: Inputs,
}

/// What does not fit.
enum Problem {
    /// A command, or a task that fails; its place is to be found.
    Task(String),
    /// The input of an activity, which this event scheduled.
    Input(i64, String),
}

impl Replayer {
    /// Makes one.
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

    /// Replays a history; `None` if its run goes on under this build.
    ///
    /// # Errors
    /// [`ReplayError::Replayer`].
    pub async fn replay(&self, recorded: &Recorded) -> Result<Option<Misfit>, ReplayError> {
        let known = [types_of_requests(), types_of_notifications()].concat();
        if !known.contains(&recorded.workflow_type.as_str()) {
            return Ok(Some(Misfit {
                event: 1,
                kind: format!("{:?}", EventType::WorkflowExecutionStarted),
                problem: format!("this build has no workflow {}", recorded.workflow_type),
                effect: Effect::StandsStill,
            }));
        }
        let events = &recorded.events;
        let is_begun = |event: &HistoryEvent| event.event_type() == EventType::WorkflowTaskStarted;
        // What no build has begun binds none; and the SDK would wait for its first task.
        if !events.iter().any(is_begun) {
            return Ok(None);
        }
        Ok(match self.problem(events).await? {
            None => None,
            Some(Problem::Task(problem)) => Some(self.misfit(events, problem).await?),
            Some(Problem::Input(event, problem)) => Some(Misfit {
                event,
                kind: format!("{:?}", EventType::ActivityTaskScheduled),
                problem,
                effect: Effect::OtherContent,
            }),
        })
    }

    /// Finds the first event that does not fit, by halves. Where the start of a workflow task ends it, a part of a history
    /// is one as well; and what a task did is in the part that ends with the next.
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
                Some(Problem::Task(found)) => (high, problem) = (middle, found),
                Some(Problem::Input(..)) | None => low = middle + 1,
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
            effect: Effect::StandsStill,
        })
    }

    /// Replays, and returns what does not fit.
    async fn problem(&self, events: &[HistoryEvent]) -> Result<Option<Problem>, ReplayError> {
        let history = History {
            events: events.to_vec(),
        };
        let replaying = Box::pin(self.replayer.replay_workflow(history.into()));
        let stands_still = match tokio::time::timeout(LONGEST, replaying).await {
            Ok(Ok(())) => {
                let differs = self.inputs.differ(events);
                return Ok(differs.map(|(event, problem)| Problem::Input(event, problem)));
            }
            Ok(Err(WorkflowReplayError::Replay(failure))) => {
                readable(&failure.to_string()).to_owned()
            }
            Ok(Err(error)) => return Err(ReplayError::Replayer(error.into())),
            Err(_) => format!("the replay did not end within {LONGEST:?}"),
        };
        Ok(Some(Problem::Task(stands_still)))
    }
}

/// Returns the message in the debug text that the SDK wraps it in; where there is none, all of it.
fn readable(failure: &str) -> &str {
    let message = failure.split_once("message: \"");
    let message = message.and_then(|(_, rest)| rest.split_once("\", source: "));
    message.map_or(failure, |(message, _)| message)
}
