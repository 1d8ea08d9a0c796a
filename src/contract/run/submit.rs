//! The state of a submit: the record of an attempt, the provider's answer, and what may still run.

use serde::{Deserialize, Serialize};

use super::Job;
use crate::domain::model::{Bound, Quote};
use crate::domain::{EventError, Generated, Media, Note, ProviderName, WorkflowId};

/// The record of an attempt of `submit`, kept at Temporal's server (contract, promise 3).
///
/// An attempt may send only if it is the first (number 1, not after a reset), or if this record has the number before
/// its own and says `NotAccepted`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AttemptRecord {
    /// Number of the attempt that wrote it.
    pub number: u32,
    pub state: Sent,
    pub provider: ProviderName,
    /// Number of sends, over all attempts.
    pub sends: u32,
    /// Time of the first send, in milliseconds since the epoch; `None` if `sends` is 0.
    pub first_at: Option<i64>,
    /// Since when an answer may still arrive, in milliseconds since the epoch: the time of the last send, or the time
    /// at which its record was found missing. `None` if no answer can arrive.
    pub waiting_since: Option<i64>,
    /// Whether the outcome of an earlier send is unknown (`SUBMIT_AMBIGUOUS=resubmit`): no refusal of a later one
    /// proves that nothing was accepted.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub doubtful: bool,
    /// Whether its cost is reserved on a budget.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub reserved: bool,
}

/// The result of `submit.v1`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Submitted {
    /// The provider accepted the job.
    Accepted {
        job: Job,
        /// Number of sends.
        #[cfg_attr(all(debug_assertions, feature = "dev"), serde(with = "super::later"))]
        attempts: u32,
        /// When it was first sent, in milliseconds since the epoch.
        sent_at: Option<i64>,
        #[serde(default, skip_serializing_if = "SentInput::is_empty")]
        input: SentInput,
        /// Whether its cost is reserved on a budget.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        reserved: bool,
    },
    /// The provider answered with the outputs themselves, and they are stored.
    Stored {
        result: Generated,
        /// Number of sends.
        #[serde(default)]
        attempts: u32,
        /// When it was first sent, in milliseconds since the epoch.
        sent_at: Option<i64>,
        /// Whether its cost is reserved on a budget.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        reserved: bool,
    },
    /// The result was already in the store.
    Adopted(Generated),
    /// The submit failed for good: there is no job, or its outputs could not be stored.
    Refused {
        #[serde(flatten)]
        error: EventError,
        /// Whether something may be reserved on a budget.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        reserved: bool,
    },
    /// The provider has no job and will not get one: it declined for a reason of its own, or the model cannot make the
    /// request. The next candidate may (contract, 6.12).
    Declined {
        model: String,
        error: EventError,
        /// Whether nothing was sent because the operator's fallback cannot make the request.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        skipped: bool,
        /// Whether its cost is reserved on a budget; the next candidate's reservation replaces this one.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        reserved: bool,
    },
    /// The provider may have accepted a job that was not found; `finish` looks it up again.
    Ambiguous {
        error: EventError,
        #[serde(rename = "sought")]
        lookup: JobLookup,
        /// Whether its cost is reserved on a budget.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        reserved: bool,
    },
}

/// What is known about a send.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Sent {
    /// No byte was written, or a complete answer of the provider did not accept the job.
    NotAccepted,
    /// It may have reached the provider.
    Maybe,
}

impl AttemptRecord {
    /// Returns the record that lets the next attempt send.
    pub fn cleared(self) -> Self {
        Self {
            state: Sent::NotAccepted,
            waiting_since: None,
            ..self
        }
    }

    /// Returns the lookup of a job that may have been sent: at the provider that it was sent to, among jobs since the
    /// first send.
    pub(crate) fn narrowed(self, lookup: JobLookup) -> JobLookup {
        JobLookup {
            provider: self.provider,
            since: self.first_at.unwrap_or(lookup.since),
            recent: true,
            ..lookup
        }
    }
}

/// A provider's answer to a submit, kept in the result store as `job.json` or, after a fallback, `job-{candidate}.json` for later attempts of the same run and for
/// its end (contract, promise 3 (e)).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct JobRecord {
    pub workflow_id: WorkflowId,
    /// Temporal's run id: another run with the same workflow id must not adopt the answer.
    pub run_id: String,
    pub provider: ProviderName,
    /// The candidate that answered.
    #[serde(default, skip_serializing_if = "is_first")]
    pub candidate: u32,
    /// Number of the candidate's send that was answered, from 1.
    pub send: u32,
    pub answer: SubmitAnswer,
    /// What was sent; empty in records of earlier versions.
    #[serde(default, skip_serializing_if = "SentInput::is_empty")]
    pub input: SentInput,
}

/// The input that a model was sent, as the result reports it, and what it may cost.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct SentInput {
    /// JSON text, without the prompt and without secrets.
    pub sent: Option<String>,
    /// How it differs from the request.
    pub notes: Vec<Note>,
    /// The model that it was sent to.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub model: Option<String>,
    #[serde(skip_serializing_if = "Quote::is_empty")]
    pub quote: Quote,
}

impl SentInput {
    pub fn of(bound: &Bound, model: &str) -> Self {
        Self {
            sent: bound.sent(),
            notes: bound.notes.clone(),
            model: Some(model.to_owned()),
            quote: bound.quote.clone(),
        }
    }

    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// A provider's complete answer to a submit.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SubmitAnswer {
    /// It accepted this job.
    Job(Job),
    /// It refused the job for good.
    Refused(EventError),
    /// It refused the job for good, for a reason of its own: another model may make it.
    Declined(EventError),
    /// It did not accept the job, but may accept it later.
    NotAccepted,
}

/// What may still run at the provider when a run ends.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ProviderJobLeft {
    #[default]
    None,
    Job(Job),
    /// `submit` ended without an answer: the job must be looked up.
    Unknown(JobLookup),
}

/// A job that may exist, and how to look it up.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct JobLookup {
    pub provider: ProviderName,
    pub kind: Media,
    /// Temporal's run id.
    pub run_id: String,
    /// The job is not older than this, in milliseconds since the epoch.
    pub since: i64,
    /// The job may have been sent a moment ago, so one lookup is not enough.
    pub recent: bool,
    /// The candidate that it was sent to.
    #[serde(default, skip_serializing_if = "is_first")]
    pub candidate: u32,
}

impl JobLookup {
    /// Returns the id by which the provider knows the job.
    pub(crate) fn key(&self, workflow: &WorkflowId) -> String {
        submit_key(workflow, self.candidate)
    }
}

/// Returns our id of a candidate's submit at its provider: the idempotency key. Each candidate has its own, so a
/// look-up finds only its job.
pub(crate) fn submit_key(workflow: &WorkflowId, candidate: u32) -> String {
    match candidate {
        0 => workflow.to_string(),
        // No workflow id contains a slash.
        candidate => format!("{workflow}/{candidate}"),
    }
}

/// Returns the workflow id in a submit's key.
pub(crate) fn workflow_of(key: &str) -> &str {
    key.split_once('/').map_or(key, |(workflow, _)| workflow)
}

pub(super) fn is_first(candidate: &u32) -> bool {
    *candidate == 0
}

impl ProviderJobLeft {
    /// Returns what a `submit` that ended without a result may have left. `record` is the last one the server reported.
    pub fn of(record: Option<AttemptRecord>, lookup: JobLookup) -> Self {
        match record {
            None => Self::Unknown(lookup),
            Some(AttemptRecord { first_at: None, .. }) => Self::None,
            Some(sent) => Self::Unknown(sent.narrowed(lookup)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_job_is_looked_up_where_it_was_sent_and_since_then() {
        let lookup = JobLookup {
            provider: ProviderName::FAL,
            kind: Media::Video,
            run_id: "run".to_owned(),
            since: 1,
            recent: false,
            candidate: 2,
        };
        let record = |first_at| AttemptRecord {
            number: 1,
            state: Sent::Maybe,
            provider: ProviderName::REPLICATE,
            sends: 1,
            first_at,
            waiting_since: None,
            doubtful: false,
            reserved: false,
        };

        let unsent = ProviderJobLeft::of(Some(record(None)), lookup.clone());
        let sent = ProviderJobLeft::of(Some(record(Some(7))), lookup.clone());

        assert_eq!(unsent, ProviderJobLeft::None);
        let ProviderJobLeft::Unknown(at) = sent else {
            panic!("{sent:?}")
        };
        assert_eq!(
            (at.provider, at.since, at.recent, at.run_id.as_str()),
            (ProviderName::REPLICATE, 7, true, "run")
        );
        let workflow = WorkflowId::parse("order-7~1").unwrap();
        assert_eq!(
            at.key(&workflow),
            "order-7~1/2",
            "the candidate that was asked"
        );
        assert_eq!(
            ProviderJobLeft::of(None, lookup.clone()),
            ProviderJobLeft::Unknown(lookup)
        );
    }
}
