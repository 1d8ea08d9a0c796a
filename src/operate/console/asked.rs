//! An action as the page asks for it.

use axum::http::StatusCode;
use axum::response::Response;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::access::refused;
use crate::operate::requests::bulk::grown;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Verb {
    Cancel,
    Retry,
    Redrive,
    /// Notifications of one request again.
    Resend,
    /// A test to one webhook.
    Test,
}

/// An action and what it is for.
#[derive(Debug, Deserialize)]
pub(super) struct Asked {
    pub(super) verb: Verb,
    /// Request ids, or for a redrive positions of dead letters.
    #[serde(default)]
    pub(super) ids: Vec<String>,
    /// All requests, or for a redrive all dead letters, that the list shows with this query, instead of ids.
    filter: Option<Value>,
    /// The topic of a redrive: `requests` or `notifications`.
    #[serde(default)]
    pub(super) topic: String,
    #[serde(default)]
    pub(super) reason: Option<String>,
    /// Id or type of the event of a resend.
    pub(super) event: Option<String>,
    /// Of a resend or a test.
    pub(super) channel: Option<String>,
    pub(super) target_hash: Option<String>,
    #[serde(default)]
    pub(super) dry_run: bool,
    /// What the dry run said would be sent. Without a dry run it is required.
    pub(super) expect: Option<usize>,
}

impl Asked {
    /// Returns the filter as the query of a list.
    ///
    /// # Errors
    /// The filter is not a valid query of that list.
    pub(super) fn filter<Q: DeserializeOwned>(&self) -> Result<Option<Q>, String> {
        let query = self.filter.clone().map(serde_json::from_value).transpose();
        query.map_err(|error| format!("filter is invalid: {error}"))
    }
}

/// Returns a refusal if more would be sent than the person has seen.
pub(super) fn refused_if_grown(asked: &Asked, would: usize) -> Option<Response> {
    let why = grown(would, asked.expect.unwrap_or(0))?;
    Some(refused(StatusCode::CONFLICT, &why))
}
