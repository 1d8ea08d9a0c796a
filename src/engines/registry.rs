//! A client of the schema registry: one cache and one failure policy for schemas and schema ids.
//!
//! Only answers that never change are cached: a schema by its id, and the ids of our schemas by subject. Failures are
//! not cached, so a registry that recovers is used at once. "No such id" counts only if the registry itself says so,
//! with its own error code: a plain 404 may come from a proxy.

mod inspect;

use std::collections::HashMap;
use std::error::Error as _;
use std::sync::Arc;
use std::time::Duration;

use apache_avro::Schema;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use parking_lot::Mutex;
use percent_encoding::percent_decode_str;
use reqwest::ClientBuilder;
use reqwest::header::{AUTHORIZATION, HeaderMap, HeaderValue};
use schema_registry_converter::async_impl::schema_registry::{
    SrSettings, get_schema_by_id, post_schema,
};
use schema_registry_converter::error::SRCError;
use schema_registry_converter::schema_registry_common::{RawError, SchemaType, SuppliedSchema};
use url::Url;

pub use self::inspect::{InspectError, Subject};
use crate::contract::avro;
use crate::contract::avro::{Ours, SchemaError};
use crate::domain::Secret;
use crate::engines::http;

/// Why the registry gave no schema or id.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// It has no schema with this id.
    #[error("the registry has no schema {0}")]
    Unknown(u32),
    /// The schema with this id is one that genflow does not read.
    #[error("schema {0} of the registry is not supported")]
    Unparsable(u32, #[source] SchemaError),
    /// It gave no usable answer; a retry may succeed.
    #[error("the schema registry is unavailable")]
    Unavailable(#[source] SRCError),
    /// It refused to register one of our schemas.
    #[error("the schema registry refuses the schema of {subject}")]
    Refused {
        /// Subject name.
        subject: String,
        /// The registry's answer.
        #[source]
        source: SRCError,
    },
}

/// A client of the schema registry.
#[derive(Debug)]
pub struct Registry {
    /// Without user name and password, because headers of events and errors show it.
    base: String,
    /// Marked as sensitive, so that it is not shown.
    login: Option<HeaderValue>,
    settings: SrSettings,
    schemas: Mutex<HashMap<u32, Arc<Schema>>>,
    /// By subject and schema name: if two topics are configured with one name, their schemas must not share an id.
    ids: Mutex<HashMap<(String, &'static str), u32>>,
}

const CALL_TIMEOUT: Duration = Duration::from_secs(5);
/// Longer, because setup often follows the start of a registry, which then takes seconds for its first schema.
const SETUP_TIMEOUT: Duration = Duration::from_secs(30);

impl Registry {
    /// Creates a client of the registry at `url`; makes no call.
    ///
    /// # Errors
    /// The HTTP client cannot be built.
    pub fn new(url: &Secret<Url>) -> Result<Self, Error> {
        Self::with_timeout(url, CALL_TIMEOUT)
    }

    /// Like [`Self::new`], with more patience: for a registry that may have just started.
    ///
    /// # Errors
    /// As [`Self::new`].
    pub fn for_setup(url: &Secret<Url>) -> Result<Self, Error> {
        Self::with_timeout(url, SETUP_TIMEOUT)
    }

    fn with_timeout(url: &Secret<Url>, timeout: Duration) -> Result<Self, Error> {
        let login = login(url.expose());
        let base = url.shown().trim_end_matches('/').to_owned();
        let mut settings = SrSettings::new_builder(base.clone());
        settings.set_timeout(timeout);
        let settings = settings.build_with(client(login.as_ref(), timeout));
        let settings = settings.map_err(Error::Unavailable)?;
        Ok(Self {
            base,
            login,
            settings,
            schemas: Mutex::default(),
            ids: Mutex::default(),
        })
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
        let found = get_schema_by_id(id, &self.settings)
            .await
            .map_err(|error| {
                if is_not_found(&error) {
                    Error::Unknown(id)
                } else {
                    Error::Unavailable(error)
                }
            })?;
        // The type must be checked, because a JSON schema may parse as Avro.
        let schema = if found.schema_type == SchemaType::Avro {
            avro::parse_writer(&found.schema)
        } else {
            Err(SchemaError::Kind(format!("{:?}", found.schema_type)))
        };
        let schema = Arc::new(schema.map_err(|error| Error::Unparsable(id, error))?);
        self.schemas.lock().insert(id, schema.clone());
        Ok(schema)
    }

    /// Registers one of our schemas under `subject`, unless it is registered already, and returns its id.
    ///
    /// # Errors
    /// [`Error::Refused`] if the schema is invalid or breaks the subject's compatibility, else [`Error::Unavailable`].
    pub async fn id_of(&self, subject: &str, ours: &Ours) -> Result<u32, Error> {
        let key = (subject.to_owned(), ours.name);
        if let Some(id) = self.ids.lock().get(&key) {
            return Ok(*id);
        }
        let supplied = SuppliedSchema::new(
            Some(ours.name.to_owned()),
            SchemaType::Avro,
            ours.text.to_owned(),
        );
        let registered = post_schema(&self.settings, subject.to_owned(), supplied)
            .await
            .map_err(|source| match code(&source) {
                Some(409 | 42201) => Error::Refused {
                    subject: subject.to_owned(),
                    source,
                },
                Some(_) | None => Error::Unavailable(source),
            })?;
        self.ids.lock().insert(key, registered.id);
        Ok(registered.id)
    }

    /// Sets the compatibility level of `subject`.
    ///
    /// # Errors
    /// [`LevelError`].
    pub async fn set_compatibility(&self, subject: &str, level: &str) -> Result<(), LevelError> {
        let client = client(self.login.as_ref(), CALL_TIMEOUT).build()?;
        let url = self.url(&["config", subject]).ok_or(LevelError::Base)?;
        let level = serde_json::json!({ "compatibility": level });
        let answer = client.put(url).json(&level).send().await?;
        // Only the status counts: error bodies differ by vendor and may be empty.
        match answer.status() {
            status if status.is_success() => Ok(()),
            status => Err(LevelError::Refused {
                subject: subject.to_owned(),
                status: status.as_u16(),
            }),
        }
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

    /// Returns the URL of a resource; percent-encodes its parts.
    fn url(&self, parts: &[&str]) -> Option<url::Url> {
        let mut url = url::Url::parse(&self.base).ok()?;
        url.path_segments_mut().ok()?.extend(parts);
        Some(url)
    }

    /// Returns the base URL, without login and trailing slash.
    pub fn base(&self) -> &str {
        &self.base
    }
}

/// Why a subject's compatibility level could not be set.
#[derive(Debug, thiserror::Error)]
pub enum LevelError {
    /// The registry did not answer.
    #[error("the schema registry is unavailable")]
    Unavailable(#[from] reqwest::Error),
    /// The registry answered with a status other than success.
    #[error(
        "the schema registry refuses to set the compatibility of {subject} with status {status}"
    )]
    Refused {
        /// Subject name.
        subject: String,
        /// HTTP status.
        status: u16,
    },
    /// The base URL has no path to append to.
    #[error("SCHEMA_REGISTRY_URL is not a base URL, expected http://host[:port][/path]")]
    Base,
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

fn client(login: Option<&HeaderValue>, timeout: Duration) -> ClientBuilder {
    let login = login.map(|login| (AUTHORIZATION, login.clone()));
    http::client()
        .default_headers(HeaderMap::from_iter(login))
        .timeout(timeout)
}

/// Returns the registry's own error code, if it answered with one.
fn code(error: &SRCError) -> Option<i64> {
    error
        .source()?
        .downcast_ref::<RawError>()
        .map(|raw| i64::from(raw.error_code))
}

fn is_not_found(error: &SRCError) -> bool {
    matches!(code(error), Some(40401..=40403))
}

#[cfg(test)]
mod tests;
