//! What goes between a workflow and its activities: inputs, outputs, the record of a submit.
//!
//! These stand in histories that later versions replay: fields are added with a default, never removed or retyped.

mod batch;
mod settings;
mod submit;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

pub use self::batch::{BatchRemains, BatchStart, ClosedItem};
pub use self::settings::{Backoff, DefaultProviders, Steps, SubmitQueues};
pub use self::submit::{Answer, Attempt, JobRecord, Leftover, Sent, Sought};
use crate::domain::{
    BatchSummary, Event, EventError, Generated, Identity, Journal, Kind, Notify, Output, Progress,
    ProviderName, RequestId, Spec, UserId, WorkflowId,
};

/// The input of `generation.v1`: all that a run needs to know.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Start {
    /// The request.
    pub request: RequestId,
    /// 0 for its first run.
    #[serde(default)]
    pub retry: u32,
    /// The batch it is an item of.
    #[serde(default)]
    pub batch: Option<RequestId>,
    /// The tenant.
    pub user: UserId,
    /// What to make; never a batch.
    pub spec: Spec,
    /// Who makes it, whatever is configured later.
    pub provider: ProviderName,
    /// The request's fingerprint.
    pub fingerprint: String,
    /// Given back in every event.
    #[serde(default)]
    pub metadata: BTreeMap<String, String>,
    /// Whom to notify, sealed.
    #[serde(default)]
    pub notify: Option<Notify>,
    /// Deadline, counted from the workflow's start.
    pub timeout_ms: u64,
    /// Bounds and pauses of the steps.
    pub steps: Steps,
    /// Task queue of `fetch`.
    pub fetch_queue: String,
    /// Task queue of `submit`, if it is not the main one.
    #[serde(default)]
    pub submit_queue: Option<String>,
    /// W3C trace context of the request's record.
    #[serde(default)]
    pub traceparent: Option<String>,
    /// Goes along on continue-as-new.
    #[serde(default)]
    pub journal: Journal,
}

impl Start {
    /// Returns what all events of the run have in common.
    pub fn identity(&self, run_id: &str, first_run_id: &str) -> Identity {
        Identity {
            request: self.request.clone(),
            retry: self.retry,
            batch: self.batch.clone(),
            user: self.user.clone(),
            kind: self.spec.kind(),
            run_id: run_id.to_owned(),
            first_run_id: first_run_id.to_owned(),
            notify: self.notify.clone(),
            metadata: self.metadata.clone(),
        }
    }

    /// Returns how to look up a job that `submit` may have left in that run.
    pub(crate) fn sought(&self, run_id: &str, started_at: i64) -> Sought {
        Sought {
            provider: self.provider,
            kind: self.spec.kind(),
            run_id: run_id.to_owned(),
            since: started_at,
            recent: false,
        }
    }

    /// Returns how many bytes it takes as an input.
    pub(crate) fn weight(&self) -> usize {
        serde_json::to_vec(self).map_or(usize::MAX, |text| text.len())
    }
}

/// What every activity gets: the events to publish before its own work, and whose they are.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Handed {
    /// The run; names store path, temp folder and the provider's idempotency key.
    pub workflow: WorkflowId,
    /// The fingerprint of its request, by which a result in the store is known as its own.
    #[serde(default)]
    pub fingerprint: Option<String>,
    /// All that is unconfirmed, in order.
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
    /// What to make.
    pub spec: Spec,
    /// Who makes it.
    pub provider: ProviderName,
    /// How often a submit that was not accepted is sent.
    pub attempts: u32,
    /// When the workflow started, in milliseconds since the epoch.
    pub started_at: i64,
}

/// What came of `submit.v1`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Submitted {
    /// The provider took the job.
    Accepted {
        /// The job.
        job: Job,
        /// How often it was sent.
        #[cfg_attr(debug_assertions, serde(with = "crate::engines::failpoint::later"))]
        attempts: u32,
        /// When it was first sent, in milliseconds since the epoch.
        #[serde(default)]
        sent_at: Option<i64>,
    },
    /// The provider gave the outputs with its answer, and they are in the store.
    Stored {
        /// The result.
        result: Generated,
        /// How often it was sent.
        #[serde(default)]
        attempts: u32,
        /// When it was first sent, in milliseconds since the epoch.
        #[serde(default)]
        sent_at: Option<i64>,
    },
    /// The result was in the store already.
    Adopted(Generated),
    /// There will be no job.
    Refused(EventError),
    /// The provider may have taken a job that was not found.
    Ambiguous {
        /// What to say of it.
        error: EventError,
        /// The job, should it be found later.
        sought: Sought,
    },
}

/// A job at a provider.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Job {
    /// Which outside API has it.
    pub provider: ProviderName,
    /// What made it: images or a video; picks the configured endpoint.
    pub kind: Kind,
    /// The provider's name for it.
    pub id: String,
    /// Where to look.
    pub status_url: String,
    /// Where its result is, with a provider that keeps it apart.
    pub result_url: String,
    /// Where to end it.
    pub cancel_url: String,
}

/// The input of `fetch.v1`.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Fetch {
    /// Events to publish first.
    pub handed: Handed,
    /// The job.
    pub job: Job,
    /// What was told last.
    #[serde(default)]
    pub told: Option<Told>,
    /// Whether another milestone may be told.
    pub may_tell: bool,
    /// Shortest time between two milestones.
    pub progress_every_ms: u64,
}

/// What has failed in all attempts of `fetch`: kept at the server as the details of its heartbeat. That an attempt ended
/// is no failure: its worker may have stopped.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failures {
    /// Looks at the job in a row, less those whose answer named a pause.
    #[serde(default)]
    pub looks: u32,
    /// Looks in a row that the provider refused.
    #[serde(default)]
    pub refusals: u32,
    /// Tries to store the outputs.
    #[serde(default)]
    pub stores: u32,
    /// Checks of a file of the outputs that did not end.
    #[serde(default)]
    pub lost: u32,
}

impl Failures {
    /// Notes a look that succeeded.
    pub(crate) fn looked(&mut self) {
        self.looks = 0;
        self.refusals = 0;
    }
}

/// A milestone that became a PROGRESS event.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Told {
    /// What it said.
    pub progress: Progress,
    /// When, in milliseconds since the epoch.
    pub at: i64,
}

/// What came of `fetch.v1`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Fetched {
    /// The job came on; fetch again.
    Milestone(Progress),
    /// The outputs are in the store.
    Stored {
        /// The files, in the provider's order.
        outputs: Vec<Output>,
        /// What the provider said it costs.
        #[serde(default)]
        cost_usd: Option<f64>,
    },
    /// There is no result.
    Failed(EventError),
}

/// The input of `finish.v1`.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Finish {
    /// All events that are unconfirmed; the last is the outcome.
    pub handed: Handed,
    /// What may still run at the provider.
    pub leftover: Leftover,
    /// When the workflow started, in milliseconds since the epoch.
    pub started_at: i64,
    /// When the job was first sent to the provider, if it was taken.
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
    /// By a time-out of the server, and not by somebody.
    pub timed_out: bool,
    /// It is a batch.
    #[serde(default)]
    pub batch: bool,
}

/// What came of `remains.v1`: all that a closed run leaves.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Remains {
    /// Its input.
    pub start: Start,
    /// The run id of its first execution.
    pub first_run_id: String,
    /// When it started, in milliseconds since the epoch.
    pub started_at: i64,
    /// The events that it handed to anybody, in order.
    pub events: Vec<Event>,
    /// What may still run at the provider.
    pub leftover: Leftover,
}

/// The answer of the query `status`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Status {
    /// The request.
    pub request_id: String,
    /// `VIDEO`, `IMAGE` or `BATCH`.
    pub kind: String,
    /// `queued`, `submitting`, `generating`, `finishing`, `completed`, `failed` or `cancelled`.
    pub state: String,
    /// The provider's word for what it does; none before and behind its part.
    pub stage: Option<String>,
    /// 0 to 100.
    pub percent: i32,
    /// The provider's name for the job.
    pub provider_job_id: Option<String>,
    /// How often the job was sent to the provider.
    pub attempts: u32,
    /// Milliseconds since the epoch.
    pub started_at: i64,
    /// When the job was first sent to the provider that took it; what lies before is waiting.
    #[serde(default)]
    pub submitted_at: Option<i64>,
    /// Milliseconds since the epoch.
    pub updated_at: i64,
    /// Why it did not complete.
    pub error: Option<EventError>,
    /// How the items of a batch stand.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub batch: Option<BatchSummary>,
}
