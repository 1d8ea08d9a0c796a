//! The data that workflows and activities exchange: inputs, outputs, and the record of a submit.
//!
//! Histories contain these types, and later versions replay them: a new field needs a default, and no field is ever
//! removed or retyped.

mod batch;
#[cfg(all(debug_assertions, feature = "dev"))]
mod later;
mod settings;
mod submit;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

pub use self::batch::{BatchRemains, BatchStart, ClosedItem};
pub use self::settings::{Backoff, DefaultProviders, Steps, SubmitQueues};
pub use self::submit::{Answer, Attempt, JobRecord, Leftover, Sent, Sought};
use crate::domain::{
    BatchSummary, Event, EventError, Generated, Identity, Journal, Media, Notify, Output, Progress,
    ProviderName, RequestId, Single, UserId, WorkflowId,
};

/// The input of `generation.v1`: everything that a run needs.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Start {
    /// The request's id.
    pub request: RequestId,
    /// 0 for the first run, n for the n-th retry.
    #[serde(default)]
    pub retry: u32,
    /// The batch that it is an item of.
    #[serde(default)]
    pub batch: Option<RequestId>,
    /// The tenant.
    pub user: UserId,
    /// The image or video to generate; never a batch.
    pub spec: Single,
    /// The provider, fixed at intake: later configuration does not change it.
    pub provider: ProviderName,
    /// The request's fingerprint (contract, 5.13).
    pub fingerprint: String,
    /// Returned in every event.
    #[serde(default)]
    pub metadata: BTreeMap<String, String>,
    /// The event types to notify, and the sealed targets.
    #[serde(default)]
    pub notify: Option<Notify>,
    /// Deadline in milliseconds, counted from the workflow's start.
    pub timeout_ms: u64,
    /// Retry limits and pauses of the steps.
    pub steps: Steps,
    /// Task queue of `fetch`.
    pub fetch_queue: String,
    /// Task queue of `submit`; `None` is the main queue.
    #[serde(default)]
    pub submit_queue: Option<String>,
    /// W3C trace context of the request's record.
    #[serde(default)]
    pub traceparent: Option<String>,
    /// The events decided so far.
    #[serde(default)]
    pub journal: Journal,
}

impl Start {
    /// Returns the fields that all events of the run share.
    pub fn identity(&self, run_id: &str, first_run_id: &str) -> Identity {
        Identity {
            request: self.request.clone(),
            retry: self.retry,
            batch: self.batch.clone(),
            user: self.user.clone(),
            kind: self.spec.media().into(),
            run_id: run_id.to_owned(),
            first_run_id: first_run_id.to_owned(),
            notify: self.notify.clone(),
            metadata: self.metadata.clone(),
        }
    }

    /// Returns the lookup of a job that this run's `submit` may have left at the provider.
    pub(crate) fn sought(&self, run_id: &str, started_at: i64) -> Sought {
        Sought {
            provider: self.provider,
            kind: self.spec.media(),
            run_id: run_id.to_owned(),
            since: started_at,
            recent: false,
        }
    }

    /// Returns its size as a workflow input, in bytes.
    pub(crate) fn weight(&self) -> usize {
        serde_json::to_vec(self).map_or(usize::MAX, |text| text.len())
    }
}

/// What every publishing activity receives: the events to publish before its own work, and the run they belong to.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Handed {
    /// The run's workflow id; also its store path, temp folder and idempotency key at the provider.
    pub workflow: WorkflowId,
    /// The request's fingerprint: a stored result with the same fingerprint belongs to this request.
    #[serde(default)]
    pub fingerprint: Option<String>,
    /// All unconfirmed events, in order.
    pub events: Vec<Event>,
    /// W3C trace context.
    #[serde(default)]
    pub traceparent: Option<String>,
}

/// The input of `submit.v1`.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Submit {
    /// Events to publish first.
    pub handed: Handed,
    /// The image or video to generate.
    pub spec: Single,
    /// The provider to send it to.
    pub provider: ProviderName,
    /// Maximum number of sends while the provider does not accept.
    pub attempts: u32,
    /// When the workflow started, in milliseconds since the epoch.
    pub started_at: i64,
}

/// The result of `submit.v1`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Submitted {
    /// The provider accepted the job.
    Accepted {
        /// The job.
        job: Job,
        /// Number of sends.
        #[cfg_attr(all(debug_assertions, feature = "dev"), serde(with = "later"))]
        attempts: u32,
        /// When it was first sent, in milliseconds since the epoch.
        #[serde(default)]
        sent_at: Option<i64>,
    },
    /// The provider answered with the outputs themselves, and they are stored.
    Stored {
        /// The stored result.
        result: Generated,
        /// Number of sends.
        #[serde(default)]
        attempts: u32,
        /// When it was first sent, in milliseconds since the epoch.
        #[serde(default)]
        sent_at: Option<i64>,
    },
    /// The result was already in the store.
    Adopted(Generated),
    /// The submit failed for good: there is no job.
    Refused(EventError),
    /// The provider may have accepted a job that was not found.
    Ambiguous {
        /// The error of the FAILED event.
        error: EventError,
        /// The lookup by which `finish` searches for the job again.
        sought: Sought,
    },
}

/// A job at a provider.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Job {
    /// The provider that runs it.
    pub provider: ProviderName,
    /// Images or a video: selects the configured endpoint.
    pub kind: Media,
    /// The provider's id of the job.
    pub id: String,
    /// URL to poll.
    pub status_url: String,
    /// URL of the result, for a provider that serves it separately.
    pub result_url: String,
    /// URL to cancel it.
    pub cancel_url: String,
}

/// The input of `fetch.v1`.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Fetch {
    /// Events to publish first.
    pub handed: Handed,
    /// The job to wait for.
    pub job: Job,
    /// The milestone that was reported last.
    #[serde(default)]
    pub told: Option<LastProgress>,
    /// False once the run has reported `PROGRESS_MAX` milestones.
    pub may_tell: bool,
    /// Minimum time between two milestones, in milliseconds.
    pub progress_every_ms: u64,
}

/// Failure counts over all attempts of `fetch`, kept at the server as heartbeat details.
///
/// The end of an attempt is not counted: its worker may have stopped.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failures {
    /// Failed polls in a row, without those whose answer named a pause.
    #[serde(default)]
    pub looks: u32,
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
    pub(crate) fn looked(&mut self) {
        self.looks = 0;
        self.refusals = 0;
    }
}

/// A milestone that became a PROGRESS event.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct LastProgress {
    /// The progress that it reported.
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
        /// The cost, if the provider reports it.
        #[serde(default)]
        cost_usd: Option<f64>,
    },
    /// The job or its outputs failed: there is no result.
    Failed(EventError),
}

/// The input of `finish.v1`.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Finish {
    /// All unconfirmed events; the last is the outcome.
    pub handed: Handed,
    /// What may still run at the provider.
    pub leftover: Leftover,
    /// When the workflow started, in milliseconds since the epoch.
    pub started_at: i64,
    /// When the job was first sent, in milliseconds since the epoch, if the provider accepted it.
    #[serde(default)]
    pub sent_at: Option<i64>,
}

/// The input of `end.v1`: a run that was closed from outside.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Closed {
    /// The run's workflow id.
    pub workflow: WorkflowId,
    /// Its run id.
    pub run_id: String,
    /// When it was closed, in milliseconds since the epoch.
    pub at: i64,
    /// Closed by Temporal's own time-out.
    pub timed_out: bool,
    /// The run is a batch.
    #[serde(default)]
    pub batch: bool,
}

/// The result of `remains.v1`: what a closed run leaves behind.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Remains {
    /// Its input.
    pub start: Start,
    /// The run id of its first execution.
    pub first_run_id: String,
    /// When it started, in milliseconds since the epoch.
    pub started_at: i64,
    /// The events that it handed to its activities, in order.
    pub events: Vec<Event>,
    /// What may still run at the provider.
    pub leftover: Leftover,
}

/// The answer to the query `status`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Status {
    /// The request's id.
    pub request_id: String,
    /// `VIDEO`, `IMAGE` or `BATCH`.
    pub kind: String,
    /// `queued`, `submitting`, `generating`, `finishing`, `completed`, `failed` or `cancelled`.
    pub state: String,
    /// The provider's name for the job's stage; `None` before and after the provider's part.
    pub stage: Option<String>,
    /// 0 to 100.
    pub percent: i32,
    /// The provider's id of the job.
    pub provider_job_id: Option<String>,
    /// Number of sends to the provider.
    pub attempts: u32,
    /// Milliseconds since the epoch.
    pub started_at: i64,
    /// When the job was first sent to the provider that accepted it; the time before that is waiting.
    #[serde(default)]
    pub submitted_at: Option<i64>,
    /// Milliseconds since the epoch.
    pub updated_at: i64,
    /// Why it did not complete.
    pub error: Option<EventError>,
    /// The items of a batch, counted by how they ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub batch: Option<BatchSummary>,
}
