//! A submit as a provider's API expects it, and what is known after it was sent.
//!
//! [`Submission::NotAccepted`], [`Submission::Refused`] and [`Submission::Declined`] guarantee that the provider charges
//! nothing; anything less certain is [`Submission::Unknown`] (contract, promise 3).

use std::time::Duration;

use reqwest::header::HeaderName;
use serde_json::Value;

use super::MAX_ANSWER;
use crate::contract::run::Job;
use crate::domain::EventError;
use crate::domain::model::Charge;
use crate::engines::storage::Source;

/// What is known about a submit.
#[derive(Debug)]
pub enum Submission {
    /// The provider accepted the job.
    Accepted(Job),
    /// The provider answered with the outputs themselves.
    Made(Made),
    /// The provider refused in a complete answer and would refuse again, or nothing was sent because the spec or the
    /// settings do not permit a submit.
    Refused(EventError),
    /// Like [`Self::Refused`], but the reason is the key, the account, or a model that the provider does not have.
    /// Another provider or model may accept the job (contract, 6.12).
    Declined(EventError),
    /// The provider did not accept the job, but may accept it later.
    NotAccepted {
        /// The provider's reason, or why nothing was sent.
        error: EventError,
        /// The pause that the provider asks for.
        after: Option<Duration>,
    },
    /// The provider may have accepted the job.
    Unknown(String),
    /// The body was not written, because the attempt may no longer be the current one.
    Withheld(NotCurrent),
}

/// Outputs that came with the answer to a submit.
#[derive(Debug)]
pub struct Made {
    /// The provider's id of the request.
    pub id: String,
    pub outputs: Vec<Source>,
    /// What the answer says about the price.
    pub charge: Option<Charge>,
}

/// Why a body was not written: the attempt may not send any more, or Temporal did not confirm that it may.
#[derive(Clone, Copy, Debug, thiserror::Error)]
#[error("the attempt is not known to be the current one")]
pub struct NotCurrent;

/// A submit as one provider's API expects it, before it is sent.
pub(super) struct Draft {
    pub(super) url: String,
    pub(super) body: Value,
    /// A header that only this API knows.
    pub(super) header: Option<(HeaderName, String)>,
    /// Limit on the bytes of the answer. A longer one is not read to its end.
    pub(super) max_answer: usize,
}

impl Draft {
    /// Returns the draft of a submit whose answer is a job.
    pub(super) fn of(url: String, body: Value) -> Self {
        Self {
            url,
            body,
            header: None,
            max_answer: MAX_ANSWER,
        }
    }
}
