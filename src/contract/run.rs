//! The data that workflows and activities exchange: inputs, outputs, and the record of a submit.
//!
//! Histories contain these types, and later versions replay them: a new field is an `Option` or has a default, and no
//! field is ever removed or retyped.

mod batch;
mod budget_use;
mod fallback;
#[cfg(all(debug_assertions, feature = "dev"))]
mod later;
mod settings;
mod submit;

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

pub use self::batch::{BatchStart, ClosedItem};
pub use self::budget_use::BudgetUse;
pub use self::fallback::{Candidate, Fallbacks, KindFallbacks};
pub use self::settings::{Backoff, DefaultProviders, Steps, SubmitQueues};
pub use self::submit::{
    AttemptRecord, JobLookup, JobRecord, ProviderJobLeft, Sent, SentInput, SubmitAnswer, Submitted,
};
pub(crate) use self::submit::{submit_key, workflow_of};
use crate::domain::model::Quote;
use crate::domain::{
    BatchSummary, CostSource, Event, EventError, Identity, Journal, Kind, Media, Notify, Output,
    Progress, ProviderName, RequestId, Single, Tried, UserId, WorkflowId,
};

/// The input of `generation.v1`: everything that a run needs.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Start {
    pub request: RequestId,
    /// 0 for the first run, n for the n-th retry.
    #[serde(default)]
    pub retry: u32,
    /// The batch that it is an item of.
    pub batch: Option<RequestId>,
    pub user: UserId,
    pub spec: Single,
    /// Fixed at intake: later configuration does not change it.
    pub provider: ProviderName,
    /// The models to try in order if none before has accepted the job; fixed at intake too.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub fallback: Vec<Candidate>,
    /// Hash of the request's content (contract, 5.13).
    pub fingerprint: String,
    #[serde(default)]
    pub metadata: BTreeMap<String, String>,
    pub notify: Option<Notify>,
    /// Deadline, counted from the workflow's start.
    pub timeout_ms: u64,
    pub steps: Steps,
    pub fetch_queue: String,
    /// Task queue of `submit`; `None` is the main queue.
    pub submit_queue: Option<String>,
    /// W3C trace context of the request's record.
    pub traceparent: Option<String>,
    /// The events decided so far.
    #[serde(default)]
    pub journal: Journal,
}

/// The parts of the input of a run or a batch that both treat alike.
#[derive(Clone, Debug)]
pub(crate) struct RunInput {
    pub(crate) identity: Identity,
    pub(crate) timeout_ms: u64,
    pub(crate) steps: Steps,
    pub(crate) fingerprint: Option<String>,
    pub(crate) traceparent: Option<String>,
    pub(crate) journal: Journal,
}

impl Start {
    /// Returns the input of the run with these ids.
    pub(crate) fn input(&self, run_id: &str, first_run_id: &str) -> RunInput {
        RunInput {
            identity: Identity {
                request: self.request.clone(),
                retry: self.retry,
                batch: self.batch.clone(),
                user: self.user.clone(),
                kind: self.spec.media().into(),
                run_id: run_id.to_owned(),
                first_run_id: first_run_id.to_owned(),
                notify: self.notify.clone(),
                metadata: self.metadata.clone(),
            },
            timeout_ms: self.timeout_ms,
            steps: self.steps,
            fingerprint: Some(self.fingerprint.clone()),
            traceparent: self.traceparent.clone(),
            journal: self.journal.clone(),
        }
    }

    /// Returns its size as a workflow input, in bytes.
    pub(crate) fn weight(&self) -> usize {
        serde_json::to_vec(self).map_or(usize::MAX, |text| text.len())
    }
}

/// What every publishing activity receives: the events to publish before its own work, and the run they belong to.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct PendingEvents {
    /// The run's workflow id; also its store path, temp folder and idempotency key at the provider.
    pub workflow: WorkflowId,
    /// A stored result with the same fingerprint belongs to this request. A batch has none.
    pub fingerprint: Option<String>,
    /// All unconfirmed events, in order.
    pub events: Vec<Event>,
    /// W3C trace context.
    pub traceparent: Option<String>,
}

/// The input of `submit.v1`.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Submit {
    #[serde(rename = "handed")]
    pub pending: PendingEvents,
    /// Names the candidate's provider and model, unless it is the first one.
    pub spec: Single,
    pub provider: ProviderName,
    /// 0 for the request's own provider and model, n for the n-th fallback.
    #[serde(default, skip_serializing_if = "submit::is_first")]
    pub candidate: u32,
    /// The candidates after this one.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub others: Vec<Candidate>,
    /// Maximum number of sends while the provider does not accept.
    pub attempts: u32,
    /// When the workflow started, in milliseconds since the epoch.
    pub started_at: i64,
    /// The run's deadline, in milliseconds since the epoch.
    pub deadline: i64,
}

impl Submit {
    /// Returns the id by which the provider knows the job.
    pub(crate) fn key(&self) -> String {
        submit_key(&self.pending.workflow, self.candidate)
    }

    /// Returns the lookup of a job that this submit may leave at its provider, among jobs since `since`.
    pub(crate) fn job_lookup(&self, run_id: &str, since: i64) -> JobLookup {
        JobLookup {
            provider: self.provider,
            kind: self.spec.media(),
            run_id: run_id.to_owned(),
            since,
            recent: false,
            candidate: self.candidate,
        }
    }
}

/// A job at a provider.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Job {
    pub provider: ProviderName,
    /// Selects the configured endpoint.
    pub kind: Media,
    /// The provider's id of the job.
    pub id: String,
    pub status_url: String,
    /// URL of the result, for a provider that serves it separately.
    pub result_url: String,
    pub cancel_url: String,
    /// Whether the provider was asked to call back when the job ends.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub called_back: bool,
    /// What the provider charges, in millionths of a US dollar, if it said so when it accepted the job.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cost_microusd: Option<u64>,
}

/// The input of `fetch.v1`.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Fetch {
    #[serde(rename = "handed")]
    pub pending: PendingEvents,
    pub job: Job,
    /// The model that makes it; `None` in records of earlier versions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub model: Option<String>,
    /// What the job may cost; empty in records of earlier versions.
    #[serde(default, skip_serializing_if = "Quote::is_empty")]
    pub quote: Quote,
    #[serde(rename = "told")]
    pub last_progress: Option<LastProgress>,
    /// False once the run has reported `PROGRESS_MAX` milestones.
    #[serde(rename = "may_tell")]
    pub may_report: bool,
    /// Minimum time between two milestones.
    pub progress_every_ms: u64,
    /// When the job was first sent, in milliseconds since the epoch.
    pub sent_at: i64,
    /// The run's deadline, in milliseconds since the epoch.
    pub deadline: i64,
}

/// Failure counts over all attempts of `fetch`, kept at the server as heartbeat details.
///
/// An attempt that ends is no failure by itself: its worker may have stopped.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failures {
    /// Failed polls in a row, without those whose answer named a pause.
    #[serde(default, rename = "looks")]
    pub polls: u32,
    /// Polls in a row that the provider refused.
    #[serde(default)]
    pub refusals: u32,
    /// Failed attempts to store the outputs.
    #[serde(default)]
    pub stores: u32,
    /// Checks of an output file that did not end: their worker died, or they took too long.
    #[serde(default)]
    pub lost: u32,
}

impl Failures {
    /// Resets the counts of failed polls after one that succeeded.
    pub(crate) fn polled(&mut self) {
        self.polls = 0;
        self.refusals = 0;
    }
}

/// A milestone that became a PROGRESS event.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct LastProgress {
    pub progress: Progress,
    /// Time of the event, in milliseconds since the epoch.
    pub at: i64,
}

/// The result of `fetch.v1`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Fetched {
    /// The job reached a milestone: `fetch` is scheduled again.
    Milestone(Progress),
    /// The outputs are in the store.
    Stored {
        /// The files, in the provider's order.
        outputs: Vec<Output>,
        /// The best number for the cost, in US dollars.
        cost_usd: Option<f64>,
        /// Where it is from.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        cost_source: Option<CostSource>,
    },
    /// The job or its outputs failed: there is no result.
    Failed(EventError),
}

/// The input of `finish.v1`; the last of its events is the outcome.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Finish {
    #[serde(rename = "handed")]
    pub pending: PendingEvents,
    pub leftover: ProviderJobLeft,
    /// When the workflow started, in milliseconds since the epoch.
    pub started_at: i64,
    /// When the job was first sent, in milliseconds since the epoch, if the provider accepted it.
    pub sent_at: Option<i64>,
    #[serde(default, skip_serializing_if = "BudgetUse::is_default")]
    pub budget: BudgetUse,
}

/// The input of `end.v1`: a run that was closed from outside.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClosedRun {
    pub workflow: WorkflowId,
    pub run_id: String,
    /// When it was closed, in milliseconds since the epoch.
    pub at: i64,
    /// Closed by Temporal's own time-out.
    pub timed_out: bool,
    #[serde(default)]
    pub batch: bool,
}

/// What the history of a closed run contains: the result of `remains.v1`, and for a batch of `batch-remains.v1`.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct RunHistory<S> {
    /// The run's input. That of a batch comes without the items, and with the final counts of how they ended.
    pub start: S,
    /// The run id of its first execution.
    pub first_run_id: String,
    /// When it started, in milliseconds since the epoch.
    pub started_at: i64,
    /// The events that its activities received, in order.
    pub events: Vec<Event>,
    /// A batch has no job of its own.
    #[serde(default)]
    pub leftover: ProviderJobLeft,
    /// The models tried without success.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tried: Vec<Tried>,
    #[serde(default, skip_serializing_if = "BudgetUse::is_default")]
    pub budget: BudgetUse,
}

/// The answer to the query `status`. Times are in milliseconds since the epoch.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct StatusAnswer {
    pub request_id: String,
    pub kind: Kind,
    pub state: RunState,
    /// The provider's name for the job's stage; `None` before and after the provider's part.
    pub stage: Option<String>,
    /// 0 to 100.
    pub percent: i32,
    pub provider_job_id: Option<String>,
    /// Number of sends to the provider.
    pub attempts: u32,
    pub started_at: i64,
    /// When the job was first sent to the provider that accepted it; the time before that is waiting.
    pub submitted_at: Option<i64>,
    pub updated_at: i64,
    /// Why it did not complete.
    pub error: Option<EventError>,
    /// How the items of a batch ended.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub batch: Option<BatchSummary>,
    /// The models tried without success, if the run fell back to another one.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tried: Vec<Tried>,
}

/// The state of a run, as the query `status` and the command line report it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RunState {
    #[default]
    Queued,
    Submitting,
    Generating,
    Finishing,
    /// Open; no worker answered, so the server alone reports it.
    Running,
    Completed,
    Failed,
    Cancelled,
    /// The id was cancelled before its request arrived.
    Claimed,
}

impl fmt::Display for RunState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.serialize(f)
    }
}
