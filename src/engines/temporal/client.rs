//! Starts, describes and counts runs, and translates the server's answers.

mod error;

use std::time::Duration;

use ring::digest;
use temporalio_client::errors::{WorkflowInteractionError, WorkflowStartError};
use temporalio_client::tonic::{Code, IntoRequest as _};
use temporalio_client::{
    Client, ClientOptions, Connection, ConnectionOptions, NamespacedClient as _, Priority,
    TlsOptions, WorkflowDescribeOptions, WorkflowExecutionDescription, WorkflowHandle,
    WorkflowIdReusePolicy, WorkflowStartOptions,
};
use temporalio_common::protos::temporal::api::workflowservice::v1::{
    CountWorkflowExecutionsRequest, DescribeNamespaceRequest,
};
use temporalio_common::search_attributes::SearchAttributeKey;

pub use self::error::{Blame, Error};
pub(crate) use self::error::{answered, first_cause, status_message};
use crate::contract::run::Start;
use crate::contract::search_attributes::{BACKSTOP, GEN_USER, attributes};
use crate::domain::error_chain::causes;
use crate::domain::{Priority as Order, UserId, WorkflowId, hex};
use crate::engines::config;
use crate::workflows::claimed;
use crate::workflows::generation::Generation;

/// A connection to the Temporal server.
#[derive(Clone)]
pub struct Temporal {
    client: Client,
    task_queue: String,
}

/// The result of a start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Started {
    /// A new run started and is durable.
    New,
    /// A run with the same content has the id.
    Duplicate,
    /// A run with other content, or another workflow, has the id.
    Conflict,
    /// The id was cancelled before the request arrived.
    Claimed,
}

/// The memo field that holds a batch's fingerprint: continue-as-new keeps the memo, but not the static details.
pub(super) const FINGERPRINT: &str = "fingerprint";

const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// How often a start is tried if its id is taken and then not found: retention may remove it between two calls.
pub(crate) const STARTS: u32 = 3;
/// Temporal refuses longer fairness keys, in bytes.
const LONGEST_FAIRNESS_KEY: usize = 64;

impl Temporal {
    /// Connects to the server.
    ///
    /// # Errors
    /// [`Error::Unreachable`].
    pub async fn connect(config: &config::Temporal) -> Result<Self, Error> {
        let unreachable = |cause| Error::Unreachable {
            url: config.url.to_string(),
            cause,
        };
        let connection = Connection::connect(options(config, identity()))
            .await
            .map_err(|error| unreachable(first_cause(&error)))?;
        let options = ClientOptions::new(config.namespace.clone()).build();
        let client = Client::new(connection, options);
        let client = client.map_err(|error| unreachable(causes(&error)))?;
        Ok(Self {
            client,
            task_queue: config.task_queue.clone(),
        })
    }

    /// Wraps the client of an activity.
    pub(crate) fn of(client: Client, task_queue: String) -> Self {
        Self { client, task_queue }
    }

    /// Returns the SDK's client, for a worker.
    pub(crate) fn client(&self) -> Client {
        self.client.clone()
    }

    pub(crate) fn task_queue(&self) -> String {
        self.task_queue.clone()
    }

    /// Starts a run. If its id is taken, returns what holds the id.
    ///
    /// # Errors
    /// The server neither starts the run nor reports that its id is taken.
    pub async fn start(&self, start: &Start, priority: Order) -> Result<Started, Error> {
        let workflow = start.request.run(start.retry);
        let fingerprint = start.fingerprint.as_str();
        let fair = order(priority, &start.user);
        for _ in 0..STARTS {
            match self
                .client
                .start_workflow(
                    Generation::run,
                    start.clone(),
                    self.options(start, fair.clone()),
                )
                .await
            {
                Ok(_) => return Ok(Started::New),
                Err(WorkflowStartError::AlreadyStarted { .. }) => {}
                Err(error) => return Err(answered(error)),
            }
            if let Some(there) = self.known(&workflow, fingerprint).await? {
                return Ok(there);
            }
        }
        Err(Error::Answered {
            code: Code::Aborted,
            source: "the id is taken in one call and free in the next".into(),
        })
    }

    /// Returns the start options of a run: the same ones for the first run of a request and for its retries.
    pub(crate) fn options(&self, start: &Start, priority: Priority) -> WorkflowStartOptions {
        let (user, kind, batch) = (&start.user, start.spec.media().into(), start.batch.as_ref());
        let workflow = start.request.run(start.retry).to_string();
        WorkflowStartOptions::new(self.task_queue.clone(), workflow)
            .id_reuse_policy(WorkflowIdReusePolicy::RejectDuplicate)
            .execution_timeout(Duration::from_millis(start.timeout_ms) + BACKSTOP)
            .search_attributes(attributes(user, kind, batch))
            .priority(priority)
            .static_details(start.fingerprint.clone())
            .build()
    }

    /// Returns what holds an id; `None` if it is free.
    ///
    /// # Errors
    /// When the server did not answer.
    pub async fn known(
        &self,
        workflow: &WorkflowId,
        fingerprint: &str,
    ) -> Result<Option<Started>, Error> {
        let described = match self
            .handle(workflow)
            .describe(WorkflowDescribeOptions::default())
            .await
        {
            Ok(described) => described,
            Err(WorkflowInteractionError::NotFound(_)) => return Ok(None),
            Err(error) => return Err(answered(error)),
        };
        if described.workflow_type() == claimed::NAME {
            return Ok(Some(Started::Claimed));
        }
        let memo: Option<String> = described.memo().get(FINGERPRINT).ok().flatten();
        let same =
            described.static_details() == Some(fingerprint) || memo.as_deref() == Some(fingerprint);
        Ok(Some(if same {
            Started::Duplicate
        } else {
            Started::Conflict
        }))
    }

    /// Returns whether the newest run with that id has closed; false if there is none.
    ///
    /// # Errors
    /// When the server did not answer.
    pub async fn is_closed(&self, workflow: &WorkflowId) -> Result<bool, Error> {
        match self
            .handle(workflow)
            .describe(WorkflowDescribeOptions::default())
            .await
        {
            Ok(described) => Ok(described.close_time().is_some()),
            Err(WorkflowInteractionError::NotFound(_)) => Ok(false),
            Err(error) => Err(answered(error)),
        }
    }

    /// Returns the run id of the newest run with that workflow id.
    ///
    /// # Errors
    /// When the server did not answer, or has no such run.
    pub async fn run_id(&self, workflow: &WorkflowId) -> Result<String, Error> {
        let described = self
            .handle(workflow)
            .describe(WorkflowDescribeOptions::default())
            .await
            .map_err(answered)?;
        Ok(described.run_id().to_owned())
    }

    /// Returns the tenant of the run with that id, if there is one; a claim has none.
    ///
    /// # Errors
    /// When the server did not answer.
    pub async fn user(&self, workflow: &WorkflowId) -> Result<Option<String>, Error> {
        Ok(self.describe(workflow).await?.as_ref().and_then(user))
    }

    /// Counts the runs that match a visibility query.
    ///
    /// # Errors
    /// When the server did not answer.
    pub async fn count(&self, query: &str) -> Result<u64, Error> {
        let request = CountWorkflowExecutionsRequest {
            namespace: self.client.namespace(),
            query: query.to_owned(),
        };
        let answer = self
            .client
            .connection()
            .workflow_service()
            .count_workflow_executions(request.into_request())
            .await
            .map_err(answered)?;
        Ok(u64::try_from(answer.into_inner().count).unwrap_or(0))
    }

    /// Returns whether a cancel of the run with that id was requested.
    ///
    /// # Errors
    /// When the server did not answer.
    pub async fn is_cancel_asked(&self, workflow: &WorkflowId) -> Result<bool, Error> {
        let described = self
            .handle(workflow)
            .describe(WorkflowDescribeOptions::default())
            .await
            .map_err(answered)?;
        let extended = described.raw().workflow_extended_info.as_ref();
        Ok(extended.is_some_and(|info| info.cancel_requested))
    }

    /// Checks that the namespace exists: if it does not, every run looks unknown.
    ///
    /// # Errors
    /// The namespace does not exist, or the server does not answer.
    pub async fn has_namespace(&self) -> Result<(), Error> {
        match self.retention().await {
            // The API key may be allowed to work with runs only.
            Err(Error::Answered { code, .. }) if code != Code::NotFound => Ok(()),
            described => described.map(|_| ()),
        }
    }

    /// Returns how long the namespace keeps closed runs.
    ///
    /// # Errors
    /// When the server did not answer.
    pub async fn retention(&self) -> Result<Duration, Error> {
        let request = DescribeNamespaceRequest {
            namespace: self.client.namespace(),
            ..DescribeNamespaceRequest::default()
        };
        let answer = self
            .client
            .connection()
            .workflow_service()
            .describe_namespace(request.into_request())
            .await;
        let config = answer
            .map_err(answered)?
            .into_inner()
            .config
            .unwrap_or_default();
        let seconds = config
            .workflow_execution_retention_ttl
            .map_or(0, |kept| kept.seconds);
        Ok(Duration::from_secs(u64::try_from(seconds).unwrap_or(0)))
    }

    pub(crate) fn handle(&self, workflow: &WorkflowId) -> WorkflowHandle<Client, Generation> {
        self.client
            .get_workflow_handle::<Generation>(workflow.to_string())
    }
}

/// Returns the tenant of a run.
pub(crate) fn user(described: &WorkflowExecutionDescription) -> Option<String> {
    let key = SearchAttributeKey::keyword(GEN_USER);
    described.search_attributes().get(&key)
}

/// Returns the connection options, with this client identity. The SDK uses TLS only if it has TLS options, whatever
/// the URL's scheme.
pub(crate) fn options(config: &config::Temporal, identity: String) -> ConnectionOptions {
    let tls = (config.url.scheme() == "https").then(TlsOptions::default);
    ConnectionOptions::new(config.url.clone())
        .identity(identity)
        .connect_timeout(CONNECT_TIMEOUT)
        .maybe_api_key(config.api_key.as_ref().map(|key| key.expose().to_owned()))
        .maybe_tls_options(tls)
        .build()
}

fn identity() -> String {
    format!("genflow-{}", std::process::id())
}

/// Returns a run's priority and fairness key, which order the waiting tasks of a queue.
pub(crate) fn order(priority: Order, user: &UserId) -> Priority {
    let mut order = Priority::default();
    order.priority_key = Some(priority.key());
    order.fairness_key = Some(fairness_key(user.as_str()));
    order
}

/// Temporal refuses keys above 64 bytes, so longer ones become the first 32 hex digits of their SHA-256.
pub(crate) fn fairness_key(user: &str) -> String {
    if user.len() <= LONGEST_FAIRNESS_KEY {
        return user.to_owned();
    }
    hex(digest::digest(&digest::SHA256, user.as_bytes()).as_ref())
        .chars()
        .take(32)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_user_has_a_short_fairness_key_of_its_own() {
        assert_eq!(fairness_key("ann"), "ann");
        let long = "ä".repeat(33);
        assert_eq!(fairness_key(&long).len(), 32);
        assert_ne!(fairness_key(&long), fairness_key(&"ö".repeat(33)));
    }
}
