//! Inspects subjects, and changes nothing.

use reqwest::Method;
use serde_json::Value as Json;

use super::{CallError, Registry, body, number};
use crate::contract::avro::Ours;

/// The state of a subject.
#[derive(Debug, PartialEq, Eq)]
pub enum Subject {
    Missing,
    /// The subject exists, but does not have the schema.
    Other,
    Known {
        id: u32,
        /// Version of the schema under the subject, from 1.
        version: u32,
        /// The compatibility level in force; `None` if the registry does not report it.
        compatibility: Option<String>,
    },
}

/// Confluent's error code for "subject not found".
const NO_SUBJECT: i64 = 40401;
/// Confluent's error code for "schema not found" under a subject.
const NO_SCHEMA: i64 = 40403;

impl Registry {
    /// Looks up one of our schemas under `subject`.
    pub async fn inspect(&self, subject: &str, ours: &Ours) -> Result<Subject, CallError> {
        let path = format!("subjects/{subject}");
        let answer = self.call(Method::POST, &path, Some(&body(ours))).await?;
        match answer.code() {
            Some(NO_SUBJECT) => Ok(Subject::Missing),
            Some(NO_SCHEMA) => Ok(Subject::Other),
            Some(_) | None => Ok(Subject::Known {
                id: answer.of_success("id", number)?,
                version: answer.of_success("version", number)?,
                compatibility: self.compatibility(subject).await?,
            }),
        }
    }

    /// Returns the level set for the subject, or the registry's default level.
    async fn compatibility(&self, subject: &str) -> Result<Option<String>, CallError> {
        for path in [format!("config/{subject}").as_str(), "config"] {
            let answer = self.call(Method::GET, path, None).await?;
            if let Ok(level) = answer.of_success("compatibilityLevel", Json::as_str) {
                return Ok(Some(level.to_owned()));
            }
        }
        Ok(None)
    }
}
