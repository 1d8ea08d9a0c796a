//! Sets up the Temporal namespaces: creates them, sets their retention, and adds the search attributes of runs.
//!
//! Hosted servers refuse all three to an ordinary API key. Setup then uses what exists, and reports each refusal.

mod fairness;
mod inspect;
mod namespace;

use std::collections::HashMap;
use std::future::Future;
use std::time::{Duration, Instant};

use temporalio_client::Connection;
use temporalio_client::tonic::{Code, IntoRequest as _, Response, Status};
use temporalio_common::protos::temporal::api::enums::v1::IndexedValueType;
use temporalio_common::protos::temporal::api::operatorservice::v1::{
    AddSearchAttributesRequest, ListSearchAttributesRequest,
};

pub use self::inspect::{Registered, Server, Tasks};
use self::namespace::retention;
pub use self::namespace::{Change, Namespace};
use super::client::{connect, key_advice, status_message, unusable};
use crate::contract::search_attributes::{GEN_BATCH, GEN_KIND, GEN_STATE, GEN_USER};
use crate::engines::config;

/// The search attributes of runs, all of type Keyword.
pub const SEARCH_ATTRIBUTES: [&str; 4] = [GEN_USER, GEN_KIND, GEN_BATCH, GEN_STATE];
/// The retention of closed runs, where setup may set it; it bounds the dedup window.
pub const RETENTION: Duration = Duration::from_secs(30 * 24 * 3600);

/// Why a namespace could not be set up or inspected.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("cannot use the Temporal server at {url}: {cause}")]
    Unreachable {
        url: String,
        /// The innermost cause: the client wraps it in several layers of debug text.
        cause: String,
    },
    #[error("the Temporal server did not answer in time: {0}")]
    Late(&'static str),
    #[error("Temporal has no namespace {0}")]
    NoNamespace(String),
    #[error(
        "Temporal has no namespace {name} and refuses to create it ({why}); create it in the server's web UI, \
         or run: temporal operator namespace create --namespace {name} --retention {}h",
        retention.as_secs().div_ceil(3600)
    )]
    NotCreated {
        name: String,
        /// The retention that it should have.
        retention: Duration,
        why: String,
    },
    #[error("the Temporal call {call} failed{}", key_advice(source))]
    Refused {
        call: &'static str,
        #[source]
        source: Box<Status>,
    },
}

#[derive(Debug, PartialEq, Eq)]
pub struct ServerReport {
    pub runs: Namespace,
    /// The search attributes of that namespace, in order.
    pub attributes: Vec<(&'static str, Attribute)>,
    /// The namespace of deliveries, if they have one of their own.
    pub deliveries: Option<Namespace>,
}

/// What setup has done about a search attribute.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Attribute {
    Created,
    Exists,
    /// It is missing, and the server refuses to add it, for this reason.
    Refused(String),
}

const CALL_TIMEOUT: Duration = Duration::from_secs(10);

/// Waits for the server, creates missing namespaces, raises their retention where it is too short, and adds the search
/// attributes.
///
/// Runs need a retention of [`RETENTION`], deliveries one of `deliveries`; a shared namespace needs the longer one.
///
/// # Errors
/// The server does not answer within `patience`, or a namespace cannot be created or may not be read.
pub async fn ensure(
    temporal: &config::Temporal,
    deliveries: Duration,
    patience: Duration,
) -> Result<ServerReport, Error> {
    let connection = wait_ready(temporal, patience).await?;
    let (runs, notify) = (&temporal.namespace, &temporal.notify_namespace);
    let shared = runs == notify;
    let wanted = if shared {
        RETENTION.max(deliveries)
    } else {
        RETENTION
    };
    Ok(ServerReport {
        runs: namespace::ensure(&connection, runs, wanted).await?,
        attributes: attributes(&connection, runs).await?,
        deliveries: match shared {
            true => None,
            false => Some(namespace::ensure(&connection, notify, deliveries).await?),
        },
    })
}

/// Waits until the server's frontend answers.
///
/// # Errors
/// [`Error::Unreachable`] or [`Error::Late`] if it does not answer within `patience`.
pub async fn wait_ready(
    temporal: &config::Temporal,
    patience: Duration,
) -> Result<Connection, Error> {
    let deadline = Instant::now() + patience;
    loop {
        // The time-out in the options covers only the connection, not the first call on it.
        let attempt =
            tokio::time::timeout(CALL_TIMEOUT, connect(temporal, "genflow-setup".to_owned()));
        match attempt.await {
            Ok(Ok(connection)) => return Ok(connection),
            Ok(Err(_)) | Err(_) if Instant::now() < deadline => {}
            Ok(Err(source)) => {
                return Err(Error::Unreachable {
                    url: temporal.url.to_string(),
                    cause: unusable(temporal, &source),
                });
            }
            Err(_) => return Err(Error::Late("connect")),
        }
        tokio::time::sleep(Duration::from_millis(250)).await;
    }
}

async fn attributes(
    connection: &Connection,
    namespace: &str,
) -> Result<Vec<(&'static str, Attribute)>, Error> {
    let there = existing(connection, namespace).await.unwrap_or_default();
    let mut done = Vec::new();
    for name in SEARCH_ATTRIBUTES {
        let outcome = if there.contains_key(name) {
            Attribute::Exists
        } else {
            add(connection, namespace, name).await?
        };
        done.push((name, outcome));
    }
    Ok(done)
}

/// Returns the custom search attributes; a server that does not list them may still have them.
async fn existing(connection: &Connection, namespace: &str) -> Result<HashMap<String, i32>, Error> {
    let request = ListSearchAttributesRequest {
        namespace: namespace.to_owned(),
    };
    let mut service = connection.operator_service();
    let listed = service.list_search_attributes(request.into_request());
    let listed = call("ListSearchAttributes", listed).await?;
    Ok(listed.custom_attributes)
}

async fn add(
    connection: &Connection,
    namespace: &str,
    name: &'static str,
) -> Result<Attribute, Error> {
    let keyword = IndexedValueType::Keyword as i32;
    let request = AddSearchAttributesRequest {
        namespace: namespace.to_owned(),
        search_attributes: [(name.to_owned(), keyword)].into(),
    };
    let mut service = connection.operator_service();
    let added = service.add_search_attributes(request.into_request());
    match call("AddSearchAttributes", added).await {
        Ok(_) => Ok(Attribute::Created),
        Err(Error::Refused { source, .. }) if source.code() == Code::AlreadyExists => {
            Ok(Attribute::Exists)
        }
        Err(Error::Refused { source, .. }) => Ok(Attribute::Refused(status_message(&source))),
        Err(error) => Err(error),
    }
}

async fn call<T>(
    name: &'static str,
    answer: impl Future<Output = Result<Response<T>, Status>>,
) -> Result<T, Error> {
    match tokio::time::timeout(CALL_TIMEOUT, answer).await {
        Ok(Ok(answer)) => Ok(answer.into_inner()),
        Ok(Err(source)) => Err(Error::Refused {
            call: name,
            source: Box::new(source),
        }),
        Err(_) => Err(Error::Late(name)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engines::config::Config;

    #[test]
    fn a_missing_namespace_is_reported_with_the_command_that_creates_it() {
        let error = Error::NotCreated {
            name: "apart".to_owned(),
            retention: Duration::from_secs(7 * 24 * 3600),
            why: "not allowed".to_owned(),
        };

        let text = error.to_string();

        assert!(
            text.starts_with("Temporal has no namespace apart"),
            "{text}"
        );
        assert!(text.contains("(not allowed)"), "{text}");
        let command = "temporal operator namespace create --namespace apart --retention 168h";
        assert!(text.ends_with(command), "{text}");
    }

    #[tokio::test]
    async fn a_server_that_does_not_answer_is_named() {
        let mut temporal = Config::of(&[]).unwrap().temporal;
        temporal.url = "http://127.0.0.1:1".parse().unwrap();

        let error = wait_ready(&temporal, Duration::ZERO).await.err().unwrap();

        let expected = "cannot use the Temporal server at http://127.0.0.1:1/: ";
        assert!(error.to_string().starts_with(expected), "{error}");
        assert!(!error.to_string().contains("ConnectError"), "{error}");
    }
}
