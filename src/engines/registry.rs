//! A client of the schema registry: one cache and one failure policy for schemas and schema ids.
//!
//! Only answers that never change are cached: a schema by its id, and the ids of our schemas by subject. Failures are
//! not cached, so a registry that recovers is used at once. "No such id" counts only if the registry itself says so,
//! with its own error code: a plain 404 may come from a proxy.

mod call;
mod inspect;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use apache_avro::Schema;
use parking_lot::Mutex;
use reqwest::{Client, Method, StatusCode};
use serde_json::{Value as Json, json};

pub use self::call::{CallError, Denied};
pub use self::inspect::Subject;
use crate::contract::avro;
use crate::contract::avro::{Ours, SchemaError};
use crate::domain::shown;
use crate::engines::config::SchemaRegistry;

/// Why the registry gave no schema or id.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// It has no schema with this id.
    #[error("the registry has no schema {0}")]
    Unknown(u32),
    /// The schema with this id is one that genflow does not read.
    #[error("schema {0} of the registry is not supported")]
    Unparsable(u32, #[source] SchemaError),
    /// It gave no usable answer; a later call may succeed.
    #[error(transparent)]
    Call(#[from] CallError),
    /// It refused one of our schemas, or its compatibility level.
    #[error("the schema registry refuses the schema of {subject} or its compatibility level")]
    Refused {
        /// Subject name.
        subject: String,
        /// The registry's answer.
        #[source]
        source: CallError,
    },
}

/// Returns the subject of the values on a topic, by TopicNameStrategy.
pub fn subject(topic: &str) -> String {
    format!("{topic}-value")
}

/// A client of the schema registry.
pub struct Registry {
    settings: SchemaRegistry,
    /// As headers of events and errors show it.
    base: String,
    timeout: Duration,
    /// `None` before the first call, and after a call that was denied: the next one reads the TLS files again, which may
    /// have been renewed.
    client: Mutex<Option<Client>>,
    schemas: Mutex<HashMap<u32, Arc<Schema>>>,
    /// By subject and schema name: if two topics are configured with one name, their schemas must not share an id.
    ids: Mutex<HashMap<(String, &'static str), u32>>,
}

const CALL_TIMEOUT: Duration = Duration::from_secs(5);
/// Longer, because setup often follows the start of a registry, which then takes seconds for its first schema.
const SETUP_TIMEOUT: Duration = Duration::from_secs(30);

impl Registry {
    /// Creates a client; makes no call.
    #[must_use]
    pub fn new(settings: &SchemaRegistry) -> Self {
        Self::with_timeout(settings, CALL_TIMEOUT)
    }

    /// Like [`Self::new`], with more patience: for a registry that may have just started.
    #[must_use]
    pub fn for_setup(settings: &SchemaRegistry) -> Self {
        Self::with_timeout(settings, SETUP_TIMEOUT)
    }

    fn with_timeout(settings: &SchemaRegistry, timeout: Duration) -> Self {
        Self {
            base: shown(&settings.url).trim_end_matches('/').to_owned(),
            settings: settings.clone(),
            timeout,
            client: Mutex::default(),
            schemas: Mutex::default(),
            ids: Mutex::default(),
        }
    }

    /// Returns the schema with this id.
    ///
    /// # Errors
    /// [`Error::Unknown`] only if the registry says so or the id is out of range; [`Error`] lists the others.
    pub async fn schema(&self, id: u32) -> Result<Arc<Schema>, Error> {
        if let Some(schema) = self.schemas.lock().get(&id) {
            return Ok(schema.clone());
        }
        // Ids are signed 32-bit ints. For a larger number, not every registry answers that there is no such schema.
        if i32::try_from(id).is_err() {
            return Err(Error::Unknown(id));
        }
        let path = ["schemas", "ids", &id.to_string()];
        let found = self.call(Method::GET, &path, None).await;
        let found = found.map_err(|error| match code(&error) {
            Some(40401..=40403) => Error::Unknown(id),
            Some(_) | None => error.into(),
        })?;
        let Some(text) = found["schema"].as_str() else {
            return Err(odd().into());
        };
        // The type must be checked, because a JSON schema may parse as Avro. Without a type, it is Avro.
        let schema = match found["schemaType"].as_str() {
            None | Some("AVRO") => avro::parse_writer(text),
            Some(other) => Err(SchemaError::Kind(other.to_owned())),
        };
        let schema = Arc::new(schema.map_err(|error| Error::Unparsable(id, error))?);
        self.schemas.lock().insert(id, schema.clone());
        Ok(schema)
    }

    /// Returns the id of one of our schemas under `subject`, and registers the schema if it is not registered.
    ///
    /// It looks first, so that a role with read access is enough once `genflow setup` has registered the schemas.
    ///
    /// # Errors
    /// [`Error::Refused`] if the schema is invalid or breaks the subject's compatibility, else [`Error::Call`].
    pub async fn id_of(&self, subject: &str, ours: &Ours) -> Result<u32, Error> {
        let key = (subject.to_owned(), ours.name);
        if let Some(id) = self.ids.lock().get(&key) {
            return Ok(*id);
        }
        let found = self.look_up(subject, ours).await;
        let is_missing = matches!(
            found,
            Err(CallError::Answered {
                status: StatusCode::NOT_FOUND,
                ..
            })
        );
        let known = match is_missing {
            true => self.register(subject, ours).await?,
            false => found?,
        };
        let id = number(&known, "id").ok_or_else(odd)?;
        self.ids.lock().insert(key, id);
        Ok(id)
    }

    async fn look_up(&self, subject: &str, ours: &Ours) -> Result<Json, CallError> {
        let asked = json!({ "schema": ours.text });
        self.call(Method::POST, &["subjects", subject], Some(&asked))
            .await
    }

    async fn register(&self, subject: &str, ours: &Ours) -> Result<Json, Error> {
        let path = ["subjects", subject, "versions"];
        let asked = json!({ "schema": ours.text });
        let registered = self.call(Method::POST, &path, Some(&asked)).await;
        registered.map_err(|source| {
            let is_refused = matches!(
                source,
                CallError::Answered {
                    status: StatusCode::CONFLICT | StatusCode::UNPROCESSABLE_ENTITY,
                    ..
                }
            );
            match is_refused {
                true => Error::Refused {
                    subject: subject.to_owned(),
                    source,
                },
                false => source.into(),
            }
        })
    }

    /// Sets the compatibility level of `subject`.
    ///
    /// # Errors
    /// [`Error::Refused`] if the registry answers with a failure, else [`Error::Call`].
    pub async fn set_compatibility(&self, subject: &str, level: &str) -> Result<(), Error> {
        let level = json!({ "compatibility": level });
        let set = self
            .call(Method::PUT, &["config", subject], Some(&level))
            .await;
        match set {
            Ok(_) => Ok(()),
            Err(source @ CallError::Answered { .. }) => Err(Error::Refused {
                subject: subject.to_owned(),
                source,
            }),
            Err(source) => Err(source.into()),
        }
    }

    /// Returns the Confluent-framed bytes of `value` for `topic`.
    ///
    /// # Errors
    /// As [`Registry::id_of`], or the value does not fit its schema.
    pub async fn encode<T: serde::Serialize + Sync>(
        &self,
        topic: &str,
        ours: &'static Ours,
        value: &T,
    ) -> Result<Vec<u8>, EncodeError> {
        let id = self.id_of(&subject(topic), ours).await?;
        Ok(avro::frame(id, &avro::write(ours, value)?))
    }

    /// Returns the URL of the schema with this id, for the CloudEvents attribute `dataschema`.
    pub fn schema_url(&self, id: u32) -> String {
        format!("{}/schemas/ids/{id}", self.base)
    }

    /// Returns the base URL, without a trailing slash.
    pub fn base(&self) -> &str {
        &self.base
    }

    async fn call(
        &self,
        method: Method,
        path: &[&str],
        body: Option<&Json>,
    ) -> Result<Json, CallError> {
        let client = self.client()?;
        let answer = call::call(&client, &self.settings, method, path, body).await;
        if matches!(answer, Err(CallError::Denied(_))) {
            *self.client.lock() = None;
        }
        answer
    }

    fn client(&self) -> Result<Client, CallError> {
        let mut client = self.client.lock();
        if let Some(client) = &*client {
            return Ok(client.clone());
        }
        let new = call::connect(&self.settings, self.timeout)?;
        Ok(client.insert(new).clone())
    }
}

impl std::fmt::Debug for Registry {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Registry")
            .field("settings", &self.settings)
            .finish_non_exhaustive()
    }
}

/// Why a message could not be encoded.
#[derive(Debug, thiserror::Error)]
pub enum EncodeError {
    /// The registry gave no schema id.
    #[error(transparent)]
    Registry(#[from] Error),
    /// The value does not fit its schema.
    #[error("a message does not fit its schema")]
    Value(#[from] avro::Error),
}

/// Returns the registry's own error code, if it answered with one.
fn code(error: &CallError) -> Option<i64> {
    match error {
        CallError::Answered { code, .. } => *code,
        CallError::Unavailable(_) | CallError::Denied(_) => None,
    }
}

fn number(answer: &Json, name: &str) -> Option<u32> {
    answer[name].as_u64().and_then(|n| u32::try_from(n).ok())
}

/// The error for an answer of success that lacks what a registry's answer has.
fn odd() -> CallError {
    CallError::Answered {
        status: StatusCode::OK,
        code: None,
        message: None,
    }
}

#[cfg(test)]
mod tests;
