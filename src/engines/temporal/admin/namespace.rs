//! Creates a missing namespace, and reads and raises its retention of closed runs.

use std::time::{Duration, Instant};

use temporalio_client::Connection;
use temporalio_client::tonic::{Code, IntoRequest as _};
use temporalio_common::protos::temporal::api::namespace::v1::NamespaceConfig;
use temporalio_common::protos::temporal::api::workflowservice::v1::{
    RegisterNamespaceRequest, UpdateNamespaceRequest,
};
use tokio::time::sleep;

use super::{Error, call, existing};
use crate::engines::temporal::client::{self, status_message};

/// What setup has done to a namespace.
#[derive(Debug, PartialEq, Eq)]
pub struct Namespace {
    pub name: String,
    pub retention: Duration,
    pub change: Change,
}

/// What setup has changed about a namespace and its retention.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    Created,
    /// Its retention was long enough and is kept.
    Kept,
    /// Its retention was too short and is raised now.
    Raised {
        from: Duration,
    },
    /// Its retention is too short, and the server refuses to raise it, for this reason.
    Refused(String),
}

/// How long a new namespace may look missing: the server's services cache namespaces, and also their absence.
const KNOWN_WITHIN: Duration = Duration::from_secs(15);

/// Creates a missing namespace, and raises a retention that is shorter than `wanted`.
pub(super) async fn ensure(
    connection: &Connection,
    name: &str,
    wanted: Duration,
) -> Result<Namespace, Error> {
    let (retention, change) = match retention(connection, name).await {
        Ok(current) if current >= wanted => (current, Change::Kept),
        Ok(from) => match raise(connection, name, wanted).await {
            Ok(()) => (wanted, Change::Raised { from }),
            Err(Error::Refused { source, .. }) => (from, Change::Refused(status_message(&source))),
            Err(error) => return Err(error),
        },
        Err(Error::NoNamespace(_)) => {
            create(connection, name, wanted).await?;
            until_known(connection, name).await?;
            (wanted, Change::Created)
        }
        Err(error) => return Err(error),
    };
    Ok(Namespace {
        name: name.to_owned(),
        retention,
        change,
    })
}

pub(super) async fn retention(connection: &Connection, name: &str) -> Result<Duration, Error> {
    let asked = client::retention(connection, name.to_owned());
    match call("DescribeNamespace", asked).await {
        Err(Error::Refused { source, .. }) if source.code() == Code::NotFound => {
            Err(Error::NoNamespace(name.to_owned()))
        }
        described => described,
    }
}

async fn raise(connection: &Connection, name: &str, wanted: Duration) -> Result<(), Error> {
    let config = NamespaceConfig {
        workflow_execution_retention_ttl: wanted.try_into().ok(),
        ..Default::default()
    };
    let request = UpdateNamespaceRequest {
        namespace: name.to_owned(),
        config: Some(config),
        ..Default::default()
    };
    let mut service = connection.workflow_service();
    let updated = service.update_namespace(request.into_request());
    call("UpdateNamespace", updated).await.map(|_| ())
}

async fn create(connection: &Connection, name: &str, wanted: Duration) -> Result<(), Error> {
    let request = RegisterNamespaceRequest {
        namespace: name.to_owned(),
        workflow_execution_retention_period: wanted.try_into().ok(),
        ..Default::default()
    };
    let mut service = connection.workflow_service();
    let registered = service.register_namespace(request.into_request());
    match call("RegisterNamespace", registered).await {
        Ok(_) => Ok(()),
        // Another setup has created it in between.
        Err(Error::Refused { source, .. }) if source.code() == Code::AlreadyExists => Ok(()),
        Err(Error::Refused { source, .. }) => Err(Error::NotCreated {
            name: name.to_owned(),
            retention: wanted,
            why: status_message(&source),
        }),
        Err(error) => Err(error),
    }
}

/// Waits until a new namespace no longer looks missing.
async fn until_known(connection: &Connection, name: &str) -> Result<(), Error> {
    let deadline = Instant::now() + KNOWN_WITHIN;
    loop {
        match existing(connection, name).await {
            Err(Error::Refused { source, .. }) if source.code() == Code::NotFound => {
                if Instant::now() >= deadline {
                    return Err(Error::NoNamespace(name.to_owned()));
                }
            }
            // A server that refuses to list search attributes knows the namespace.
            Ok(_) | Err(Error::Refused { .. }) => return Ok(()),
            Err(error) => return Err(error),
        }
        sleep(Duration::from_millis(250)).await;
    }
}
