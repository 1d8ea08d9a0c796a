//! A client of the schema registry: one cache and one failure policy for schemas and schema ids.
//!
//! Only answers that never change are cached: a schema by its id, and the ids of our schemas by subject. Failures are
//! not cached, so a registry that recovers is used at once. "No such id" counts only if the registry itself says so,
//! with its own error code: a plain 404 may come from a proxy.

mod inspect;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use apache_avro::Schema;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use percent_encoding::percent_decode_str;
use reqwest::header::{AUTHORIZATION, HeaderMap, HeaderValue};
use reqwest::{Client, Method, StatusCode};
use serde_json::{Value as Json, json};
use url::Url;

pub use self::inspect::Subject;
use crate::contract::avro;
use crate::contract::avro::{Ours, SchemaError};
use crate::domain::Secret;
use crate::engines::http;

/// Why the registry gave no schema or id, or did not change a subject.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("the registry has no schema {0}")]
    Unknown(u32),
    /// The schema with this id is one that genflow does not read.
    #[error("schema {0} of the registry is not supported")]
    Unparsable(u32, #[source] SchemaError),
    /// It gave no usable answer; a retry may succeed.
    #[error("the schema registry is unavailable")]
    Unavailable(#[from] CallError),
    /// It refused one of our schemas, or the compatibility level of a subject.
    #[error("the schema registry refuses the {what} of {subject}: {reason}")]
    Refused {
        what: &'static str,
        subject: String,
        /// The registry's message, or the status if it gave none.
        reason: String,
    },
}

/// Why a call gave no usable answer.
#[derive(Debug, thiserror::Error)]
pub enum CallError {
    #[error("the schema registry does not answer")]
    NoAnswer(#[source] reqwest::Error),
    /// The answer is not one that a registry gives to this call.
    #[error("the schema registry answers with status {0}")]
    Answered(StatusCode),
}

#[derive(Debug)]
pub struct Registry {
    /// Without user name, password and trailing slash: headers of events and errors show it.
    base: String,
    client: Client,
    schemas: Mutex<HashMap<u32, Arc<Schema>>>,
    /// By subject and schema name: if two topics are configured with one name, their schemas must not share an id.
    ids: Mutex<HashMap<(String, &'static str), u32>>,
}

/// A registry's answer. A body that is not JSON does not come from a registry, and counts as null.
struct Answer {
    status: StatusCode,
    body: Json,
}

const CALL_TIMEOUT: Duration = Duration::from_secs(5);
/// The registry's own error codes for "subject not found", "version not found" and "schema not found".
const NOT_FOUND: std::ops::RangeInclusive<i64> = 40401..=40403;
/// Error codes of a schema that breaks the subject's compatibility, or is invalid.
const REFUSED: [i64; 2] = [409, 42201];

impl Registry {
    /// Creates a client of the registry at `url`; makes no call.
    pub fn new(url: &Secret<Url>) -> Result<Self, Error> {
        let login = login(url.expose()).map(|login| (AUTHORIZATION, login));
        let client = http::client()
            .default_headers(HeaderMap::from_iter(login))
            .timeout(CALL_TIMEOUT)
            .build()
            .map_err(CallError::NoAnswer)?;
        Ok(Self {
            base: url.shown().trim_end_matches('/').to_owned(),
            client,
            schemas: Mutex::default(),
            ids: Mutex::default(),
        })
    }

    /// # Errors
    /// [`Error::Unknown`] only if the registry says so or the id is out of range; [`Error`] lists the others.
    pub async fn schema(&self, id: u32) -> Result<Arc<Schema>, Error> {
        if let Some(schema) = locked(&self.schemas).get(&id) {
            return Ok(schema.clone());
        }
        // Ids are signed 32-bit ints. For a larger number, not every registry answers that there is no such schema.
        if i32::try_from(id).is_err() {
            return Err(Error::Unknown(id));
        }
        let path = format!("schemas/ids/{id}");
        let answer = self.call(Method::GET, &path, None).await?;
        if answer.code().is_some_and(|code| NOT_FOUND.contains(&code)) {
            return Err(Error::Unknown(id));
        }
        let text = answer.of_success("schema", Json::as_str)?;
        // The type must be checked, because a JSON schema may parse as Avro. No type means Avro.
        let schema = match answer.body["schemaType"].as_str() {
            None | Some("AVRO") => avro::parse_writer(text),
            Some(other) => Err(SchemaError::Kind(other.to_owned())),
        };
        let schema = Arc::new(schema.map_err(|error| Error::Unparsable(id, error))?);
        locked(&self.schemas).insert(id, schema.clone());
        Ok(schema)
    }

    /// Registers one of our schemas under `subject`, unless it is registered already, and returns its id.
    ///
    /// # Errors
    /// [`Error::Refused`] if it breaks the subject's compatibility.
    pub async fn id_of(&self, subject: &str, ours: &Ours) -> Result<u32, Error> {
        let key = (subject.to_owned(), ours.name);
        if let Some(id) = locked(&self.ids).get(&key) {
            return Ok(*id);
        }
        let path = format!("subjects/{subject}/versions");
        let answer = self.call(Method::POST, &path, Some(&body(ours))).await?;
        if answer.code().is_some_and(|code| REFUSED.contains(&code)) {
            return Err(answer.refusal("schema", subject));
        }
        let id = answer.of_success("id", number)?;
        locked(&self.ids).insert(key, id);
        Ok(id)
    }

    /// # Errors
    /// [`Error::Refused`] for any answer other than a success.
    pub async fn set_compatibility(&self, subject: &str, level: &str) -> Result<(), Error> {
        let level = json!({ "compatibility": level });
        let path = format!("config/{subject}");
        let answer = self.call(Method::PUT, &path, Some(&level)).await?;
        if !answer.status.is_success() {
            return Err(answer.refusal("compatibility level", subject));
        }
        Ok(())
    }

    /// Returns the Confluent-framed bytes of `value` for `topic`, with the subject of TopicNameStrategy.
    ///
    /// # Errors
    /// As [`Registry::id_of`], or the value does not fit its schema.
    pub async fn encode<T: serde::Serialize + Sync>(
        &self,
        topic: &str,
        ours: &Ours,
        value: &T,
    ) -> Result<Vec<u8>, EncodeError> {
        let id = self.id_of(&format!("{topic}-value"), ours).await?;
        Ok(avro::frame(id, &avro::write(ours, value)?))
    }

    /// Returns the URL of the schema with this id, for the CloudEvents attribute `dataschema`.
    pub fn schema_url(&self, id: u32) -> String {
        format!("{}/schemas/ids/{id}", self.base)
    }

    /// Returns the base URL, without login and trailing slash.
    pub fn base(&self) -> &str {
        &self.base
    }

    /// Calls the resource at `path` below the base URL. Names of topics, and so of subjects, need no encoding there.
    async fn call(
        &self,
        method: Method,
        path: &str,
        body: Option<&Json>,
    ) -> Result<Answer, CallError> {
        let no_answer = |error: reqwest::Error| CallError::NoAnswer(error.without_url());
        let mut request = self.client.request(method, format!("{}/{path}", self.base));
        if let Some(body) = body {
            request = request.json(body);
        }
        let answer = request.send().await.map_err(no_answer)?;
        let status = answer.status();
        let body = answer.bytes().await.map_err(no_answer)?;
        let body = serde_json::from_slice(&body).unwrap_or(Json::Null);
        Ok(Answer { status, body })
    }
}

impl Answer {
    /// Returns the registry's own error code, if this is its error.
    fn code(&self) -> Option<i64> {
        let code = self.body["error_code"].as_i64();
        code.filter(|_| !self.status.is_success())
    }

    /// Reads a field of a success.
    fn of_success<'a, T>(
        &'a self,
        field: &str,
        read: impl Fn(&'a Json) -> Option<T>,
    ) -> Result<T, CallError> {
        let value = read(&self.body[field]).filter(|_| self.status.is_success());
        value.ok_or(CallError::Answered(self.status))
    }

    fn refusal(&self, what: &'static str, subject: &str) -> Error {
        let message = self.body["message"].as_str().map(str::to_owned);
        Error::Refused {
            what,
            subject: subject.to_owned(),
            reason: message.unwrap_or_else(|| format!("status {}", self.status)),
        }
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

/// Returns the header for basic authentication with the user name and password of a URL.
fn login(url: &Url) -> Option<HeaderValue> {
    let (user, password) = (url.username(), url.password());
    if user.is_empty() && password.is_none() {
        return None;
    }
    let [user, password] = [user, password.unwrap_or_default()]
        .map(|text| percent_decode_str(text).decode_utf8_lossy().into_owned());
    let encoded = BASE64.encode(format!("{user}:{password}"));
    let mut login = HeaderValue::from_str(&format!("Basic {encoded}")).ok()?;
    login.set_sensitive(true);
    Some(login)
}

/// Returns the body of a call that names one of our schemas.
fn body(ours: &Ours) -> Json {
    json!({ "schema": ours.text, "schemaType": "AVRO" })
}

fn number(value: &Json) -> Option<u32> {
    value.as_u64().and_then(|number| u32::try_from(number).ok())
}

fn locked<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests;
