//! Inspects subjects, and changes nothing.

use reqwest::StatusCode;
use serde_json::{Value as Json, json};

use super::{CALL_TIMEOUT, Registry, client};
use crate::contract::avro::Ours;

/// The state of a subject.
#[derive(Debug, PartialEq, Eq)]
pub enum Subject {
    /// The registry has no such subject.
    Missing,
    /// The subject exists, but does not have the schema.
    Other,
    /// The subject has the schema.
    Known {
        /// Id of the schema.
        id: u32,
        /// Version of the schema under the subject, from 1.
        version: u32,
        /// The compatibility level in force; `None` if the registry does not report it.
        compatibility: Option<String>,
    },
}

/// Why a subject could not be inspected.
#[derive(Debug, thiserror::Error)]
pub enum InspectError {
    /// The registry does not answer.
    #[error("the schema registry does not answer")]
    Unavailable(#[source] reqwest::Error),
    /// The answer is not one that a registry gives.
    #[error("the answer, with status {0}, is not that of a schema registry")]
    Answered(StatusCode),
}

/// Confluent's error code for "subject not found".
const NO_SUBJECT: i64 = 40401;
/// Confluent's error code for "schema not found" under a subject.
const NO_SCHEMA: i64 = 40403;

impl Registry {
    /// Looks up one of our schemas under `subject`.
    ///
    /// # Errors
    /// The registry does not answer, or not as a registry does.
    pub async fn inspect(&self, subject: &str, ours: &Ours) -> Result<Subject, InspectError> {
        let asked = json!({ "schema": ours.text, "schemaType": "AVRO" });
        let (status, found) = self.ask(&["subjects", subject], Some(&asked)).await?;
        if !status.is_success() {
            return match (status, found["error_code"].as_i64()) {
                (StatusCode::NOT_FOUND, Some(NO_SUBJECT)) => Ok(Subject::Missing),
                (StatusCode::NOT_FOUND, Some(NO_SCHEMA)) => Ok(Subject::Other),
                _ => Err(InspectError::Answered(status)),
            };
        }
        let number = |name: &str| found[name].as_u64().and_then(|n| u32::try_from(n).ok());
        let (Some(id), Some(version)) = (number("id"), number("version")) else {
            return Err(InspectError::Answered(status));
        };
        Ok(Subject::Known {
            id,
            version,
            compatibility: self.compatibility(subject).await?,
        })
    }

    /// Returns the level set for the subject, or the registry's default level.
    async fn compatibility(&self, subject: &str) -> Result<Option<String>, InspectError> {
        for parts in [&["config", subject][..], &["config"]] {
            let (status, answer) = self.ask(parts, None).await?;
            if let Some(level) = answer["compatibilityLevel"].as_str()
                && status.is_success()
            {
                return Ok(Some(level.to_owned()));
            }
        }
        Ok(None)
    }

    async fn ask(
        &self,
        parts: &[&str],
        body: Option<&Json>,
    ) -> Result<(StatusCode, Json), InspectError> {
        let unavailable = |source: reqwest::Error| InspectError::Unavailable(source.without_url());
        let client = client(self.login.as_ref(), CALL_TIMEOUT)
            .build()
            .map_err(unavailable)?;
        let Some(url) = self.url(parts) else {
            return Err(InspectError::Answered(StatusCode::NOT_FOUND));
        };
        let asked = match body {
            Some(body) => client.post(url).json(body),
            None => client.get(url),
        };
        let answer = asked.send().await.map_err(unavailable)?;
        let status = answer.status();
        // A body that is not JSON does not come from a registry; its status then says more than a parser error.
        let body = answer.bytes().await.map_err(unavailable)?;
        Ok((status, serde_json::from_slice(&body).unwrap_or(Json::Null)))
    }
}
