//! What a run has done and when: its activities, from its history and the server's list of pending ones.

use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::Value;
use temporalio_common::protos::temporal::api::common::v1::Payloads;
use temporalio_common::protos::temporal::api::failure::v1::Failure;
use temporalio_common::protos::temporal::api::history::v1::HistoryEvent;
use temporalio_common::protos::temporal::api::history::v1::history_event::Attributes;
use temporalio_common::protos::temporal::api::workflow::v1::PendingActivityInfo;

use super::client::Temporal;
use super::history;
use crate::domain::WorkflowId;

/// A run, as its history has it.
#[derive(Clone, Debug, Serialize)]
pub struct RunTimeline {
    /// Temporal's run id.
    pub run_id: String,
    /// When the workflow started, in milliseconds since the epoch.
    pub started_at: i64,
    /// What was requested; `None` for a batch, whose items have their own.
    pub spec: Option<Value>,
    /// In the order in which they were scheduled.
    pub steps: Vec<Step>,
}

/// One activity. Times are in milliseconds since the epoch.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Step {
    /// `submit`, `fetch` or `finish`.
    pub name: String,
    pub scheduled_at: i64,
    /// When its last attempt began; `None` while it waits for a worker.
    pub started_at: Option<i64>,
    /// `None` while it is open.
    pub ended_at: Option<i64>,
    /// Number of attempts so far; 0 if it has waited since it was scheduled.
    pub attempts: i32,
    pub outcome: StepOutcome,
    /// Why the last attempt failed.
    pub failure: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum StepOutcome {
    Open,
    Done,
    Failed,
    TimedOut,
    Cancelled,
}

impl Temporal {
    /// Returns what the newest run with this workflow id has done; `None` if the server has no such run.
    ///
    /// # Errors
    /// The server does not answer, or its answer cannot be read.
    pub async fn timeline(&self, workflow: &WorkflowId) -> anyhow::Result<Option<RunTimeline>> {
        let Some(described) = self.describe(workflow.as_str()).await? else {
            return Ok(None);
        };
        let (client, run_id) = (self.client(), described.run_id().to_owned());
        let mut steps = BTreeMap::new();
        let mut timeline = RunTimeline {
            run_id: run_id.clone(),
            started_at: 0,
            spec: None,
            steps: Vec::new(),
        };
        let add = |event: HistoryEvent| {
            if let Some(Attributes::WorkflowExecutionStartedEventAttributes(started)) =
                &event.attributes
            {
                timeline.started_at = at(&event);
                timeline.spec = spec(started.input.clone());
            }
            step(&mut steps, &event);
            Ok(())
        };
        let read = history::read_all(&client, workflow.as_str(), &run_id, add);
        read.await?;
        for pending in history::pending(&client, workflow.as_str(), &run_id).await? {
            is_pending(&mut steps, &pending);
        }
        timeline.steps = steps.into_values().collect();
        Ok(Some(timeline))
    }
}

/// Returns the `spec` of a run's input.
fn spec(input: Option<Payloads>) -> Option<Value> {
    let start: Value = history::input(input).ok()?;
    start.get("spec").cloned()
}

/// Takes over what an event says about an activity, by the id of the event that scheduled it.
fn step(steps: &mut BTreeMap<i64, Step>, event: &HistoryEvent) {
    let at = at(event);
    let mut end = |scheduled: i64, outcome, failure: Option<&Failure>| {
        if let Some(step) = steps.get_mut(&scheduled) {
            step.ended_at = Some(at);
            step.outcome = outcome;
            step.failure = failure.map(reason).or(step.failure.take());
        }
    };
    match &event.attributes {
        Some(Attributes::ActivityTaskScheduledEventAttributes(scheduled)) => {
            let kind = scheduled.activity_type.as_ref();
            let name = kind.map_or("", |kind| kind.name.as_str());
            steps.insert(event.event_id, Step::scheduled(name, at));
        }
        Some(Attributes::ActivityTaskStartedEventAttributes(started)) => {
            if let Some(step) = steps.get_mut(&started.scheduled_event_id) {
                step.started_at = Some(at);
                step.attempts = started.attempt;
                step.failure = started.last_failure.as_ref().map(reason);
            }
        }
        Some(Attributes::ActivityTaskCompletedEventAttributes(ended)) => {
            end(ended.scheduled_event_id, StepOutcome::Done, None);
        }
        Some(Attributes::ActivityTaskFailedEventAttributes(ended)) => {
            end(
                ended.scheduled_event_id,
                StepOutcome::Failed,
                ended.failure.as_ref(),
            );
        }
        Some(Attributes::ActivityTaskTimedOutEventAttributes(ended)) => {
            end(
                ended.scheduled_event_id,
                StepOutcome::TimedOut,
                ended.failure.as_ref(),
            );
        }
        Some(Attributes::ActivityTaskCanceledEventAttributes(ended)) => {
            end(ended.scheduled_event_id, StepOutcome::Cancelled, None);
        }
        Some(_) | None => {}
    }
}

/// Takes over what the server says about an open activity. The history has its start only once it has ended.
fn is_pending(steps: &mut BTreeMap<i64, Step>, pending: &PendingActivityInfo) {
    let name = pending
        .activity_type
        .as_ref()
        .map_or("", |it| it.name.as_str());
    let mut open = steps.values_mut().filter(|step| step.ended_at.is_none());
    if let Some(step) = open.find(|step| step.name == name) {
        step.started_at = pending
            .last_started_time
            .map(|time| millis(time.seconds, time.nanos));
        step.attempts = if step.started_at.is_some() {
            pending.attempt
        } else {
            0
        };
        step.failure = pending.last_failure.as_ref().map(reason);
    }
}

impl Step {
    fn scheduled(name: &str, at: i64) -> Self {
        Self {
            name: name.to_owned(),
            scheduled_at: at,
            started_at: None,
            ended_at: None,
            attempts: 0,
            outcome: StepOutcome::Open,
            failure: None,
        }
    }
}

/// Returns a failure's message; where it only wraps a cause, that of the cause.
fn reason(failure: &Failure) -> String {
    match &failure.cause {
        Some(cause) if failure.message.is_empty() => reason(cause),
        Some(_) | None => failure.message.clone(),
    }
}

fn at(event: &HistoryEvent) -> i64 {
    let time = event.event_time.unwrap_or_default();
    millis(time.seconds, time.nanos)
}

fn millis(seconds: i64, nanos: i32) -> i64 {
    seconds * 1000 + i64::from(nanos) / 1_000_000
}
