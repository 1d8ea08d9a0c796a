//! Inspects subjects, and changes nothing.

use reqwest::Method;

use super::{CallError, Denied, Registry, code, number, odd};
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

/// Confluent's error code for "subject not found".
const NO_SUBJECT: i64 = 40401;
/// Confluent's error code for "schema not found" under a subject.
const NO_SCHEMA: i64 = 40403;

impl Registry {
    /// Looks up one of our schemas under `subject`.
    ///
    /// # Errors
    /// The registry does not answer, or not as a registry does.
    pub async fn inspect(&self, subject: &str, ours: &Ours) -> Result<Subject, CallError> {
        let found = match self.look_up(subject, ours).await {
            Ok(found) => found,
            Err(error) => {
                return match code(&error) {
                    Some(NO_SUBJECT) => Ok(Subject::Missing),
                    Some(NO_SCHEMA) => Ok(Subject::Other),
                    Some(_) | None => Err(error),
                };
            }
        };
        Ok(Subject::Known {
            id: number(&found, "id").ok_or_else(odd)?,
            version: number(&found, "version").ok_or_else(odd)?,
            compatibility: self.compatibility(subject).await?,
        })
    }

    /// Returns the level set for the subject, or the registry's default level.
    async fn compatibility(&self, subject: &str) -> Result<Option<String>, CallError> {
        for path in [&["config", subject][..], &["config"]] {
            match self.call(Method::GET, path, None).await {
                Ok(answer) => {
                    if let Some(level) = answer["compatibilityLevel"].as_str() {
                        return Ok(Some(level.to_owned()));
                    }
                }
                // A client that may use the subject need not be allowed to read levels.
                Err(CallError::Answered { .. } | CallError::Denied(Denied::Forbidden { .. })) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(None)
    }
}
