//! Starts, describes and counts runs, and translates the server's answers.

mod connection;

use std::sync::Arc;
use std::time::Duration;

use ring::digest;
use temporalio_client::errors::WorkflowStartError;
use temporalio_client::tonic::{Code, IntoRequest as _, Response, Status};
use temporalio_client::{
    Client, ClientOptions, Connection, NamespacedClient as _, Priority, WorkflowCountOptions,
    WorkflowHandle, WorkflowIdReusePolicy, WorkflowStartOptions,
};
use temporalio_common::data_converters::MultiArgs2;
use temporalio_common::protos::temporal::api::workflowservice::v1::DescribeNamespaceRequest;
use temporalio_common::{HasWorkflowDefinition, MemoValues};
use tokio_util::task::AbortOnDropHandle;

pub(crate) use self::connection::{connect, unusable};
use super::described::{Described, describe};
pub use super::error::{Blame, Error};
pub(crate) use super::error::{answered, key_advice, status_message};
use super::payloads::{Codec, data_converter};
use crate::contract::run::{BatchStart, Start};
use crate::contract::search_attributes::{BACKSTOP, GEN_USER, attributes};
use crate::domain::error_chain::causes;
use crate::domain::{Kind, Priority as Order, UserId, WorkflowId, hex};
use crate::engines::config;
use crate::workflows::batch::Batch;
use crate::workflows::claimed;
use crate::workflows::generation::Generation;

/// A connection to the Temporal server. Each of its calls fails if the server does not answer, or refuses the call.
#[derive(Clone)]
pub struct Temporal {
    client: Client,
    task_queue: String,
    /// Gives the connection the present API key, if the key may change.
    _renewal: Option<Arc<AbortOnDropHandle<()>>>,
    /// The codec of the client's payloads; `None` for the client of an activity.
    codec: Option<Arc<Codec>>,
}

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
const FINGERPRINT: &str = "fingerprint";

/// Most attempts to start a workflow whose id is taken in one call and free in the next, because retention may end in
/// between.
pub(crate) const STARTS: u32 = 3;
/// Temporal refuses longer fairness keys, in bytes.
const LONGEST_FAIRNESS_KEY: usize = 64;

impl Temporal {
    /// Connects to the server.
    ///
    /// # Errors
    /// [`Error::Unreachable`]; [`Error::Unreadable`] if a key of the payloads is malformed.
    pub async fn connect(config: &config::Temporal) -> Result<Self, Error> {
        let unreachable = |cause| Error::Unreachable {
            url: config.url.to_string(),
            cause,
        };
        let codec =
            Codec::new(&config.payloads).map_err(|error| Error::Unreadable(error.into()))?;
        let codec = Arc::new(codec);
        let connection = connect(config, identity()).await;
        let connection = connection.map_err(|error| unreachable(unusable(config, &error)))?;
        let renewal = connection::renewal(config, &connection);
        let options = ClientOptions::new(config.namespace.clone())
            .data_converter(data_converter(&codec))
            .build();
        let client = Client::new(connection, options);
        let client = client.map_err(|error| unreachable(causes(&error)))?;
        Ok(Self {
            client,
            task_queue: config.task_queue.clone(),
            _renewal: renewal.map(Arc::new),
            codec: Some(codec),
        })
    }

    /// Wraps the client of an activity. Its connection is the worker's, whose API key is renewed there.
    pub(crate) fn of(client: Client, task_queue: String) -> Self {
        Self {
            client,
            task_queue,
            _renewal: None,
            codec: None,
        }
    }

    pub(crate) fn client(&self) -> Client {
        self.client.clone()
    }

    /// Returns a client that does not decode payloads. A list of runs needs none of them, so runs whose key is missing are
    /// listed too.
    pub(crate) fn lister(&self) -> Client {
        let options = ClientOptions::new(self.client.namespace()).build();
        let plain = Client::new(self.client.connection().clone(), options);
        // It never fails for a connection that has a client.
        plain.unwrap_or_else(|_| self.client())
    }

    /// Returns the id of a key that this process needed to read a payload, and does not have.
    pub(crate) fn missing_key(&self) -> Option<String> {
        self.codec.as_ref()?.missing_key()
    }

    pub(crate) fn task_queue(&self) -> String {
        self.task_queue.clone()
    }

    /// Starts a run. If its id is taken, returns what holds the id.
    ///
    /// # Errors
    /// The server neither starts the run nor reports that its id is taken.
    pub async fn start(&self, start: &Start, priority: Order) -> Result<Started, Error> {
        let options = self.run_options(start, order(priority, &start.user));
        let workflow = start.request.run(start.retry);
        let begin = || self.start_new(Generation::run, start.clone(), options.clone());
        self.start_or_find(&workflow, &start.fingerprint, begin)
            .await
    }

    /// Like [`Temporal::start`], for a batch with these items.
    ///
    /// # Errors
    /// The server neither starts the batch nor reports that its id is taken.
    pub async fn start_batch(
        &self,
        start: &BatchStart,
        items: &[u8],
        priority: Order,
        fingerprint: &str,
    ) -> Result<Started, Error> {
        let workflow = start.request.run(0);
        let mut memo = MemoValues::new();
        memo.insert(FINGERPRINT, fingerprint.to_owned());
        let mut options = self.only_once(workflow.to_string());
        options.execution_timeout = Some(Duration::from_millis(start.timeout_ms) + BACKSTOP);
        options.search_attributes = Some(attributes(&start.user, Kind::Batch, None));
        options.priority = order(priority, &start.user);
        options.static_details = Some(fingerprint.to_owned());
        options.memo = Some(memo);
        let input = || MultiArgs2(start.clone(), items.to_vec());
        let begin = || self.start_new(Batch::run, input(), options.clone());
        self.start_or_find(&workflow, fingerprint, begin).await
    }

    async fn start_or_find<F: Future<Output = Result<bool, Error>>>(
        &self,
        workflow: &WorkflowId,
        fingerprint: &str,
        begin: impl Fn() -> F,
    ) -> Result<Started, Error> {
        for _ in 0..STARTS {
            if begin().await? {
                return Ok(Started::New);
            }
            if let Some(found) = self.known(workflow, fingerprint).await? {
                return Ok(found);
            }
        }
        Err(comes_and_goes())
    }

    /// Returns the start options of a run: the same ones for the first run of a request and for its retries.
    pub(crate) fn run_options(&self, start: &Start, priority: Priority) -> WorkflowStartOptions {
        let (user, kind, batch) = (&start.user, start.spec.media().into(), start.batch.as_ref());
        let mut options = self.only_once(start.request.run(start.retry).to_string());
        options.execution_timeout = Some(Duration::from_millis(start.timeout_ms) + BACKSTOP);
        options.search_attributes = Some(attributes(user, kind, batch));
        options.priority = priority;
        options.static_details = Some(start.fingerprint.clone());
        options
    }

    /// Returns the options of a workflow whose id may be used only once.
    pub(crate) fn only_once(&self, workflow: String) -> WorkflowStartOptions {
        WorkflowStartOptions::new(self.task_queue(), workflow)
            .id_reuse_policy(WorkflowIdReusePolicy::RejectDuplicate)
            .build()
    }

    /// Starts a workflow; returns false if its id is taken.
    pub(crate) async fn start_new<W>(
        &self,
        workflow: W,
        input: W::Input,
        options: WorkflowStartOptions,
    ) -> Result<bool, Error>
    where
        W: HasWorkflowDefinition,
        W::Input: Send,
    {
        match self.client.start_workflow(workflow, input, options).await {
            Ok(_) => Ok(true),
            Err(WorkflowStartError::AlreadyStarted { .. }) => Ok(false),
            Err(error) => Err(answered(error)),
        }
    }

    /// Returns what holds an id; `None` if it is free.
    pub async fn known(
        &self,
        workflow: &WorkflowId,
        fingerprint: &str,
    ) -> Result<Option<Started>, Error> {
        let Some(described) = self.describe(workflow.as_str()).await? else {
            return Ok(None);
        };
        if described.workflow_type() == claimed::NAME {
            return Ok(Some(Started::Claimed));
        }
        let stored = match described.static_details().await? {
            None => described.memo(FINGERPRINT).await?,
            details => details,
        };
        Ok(Some(if stored.as_deref() == Some(fingerprint) {
            Started::Duplicate
        } else {
            Started::Conflict
        }))
    }

    /// Describes the newest run with that id; `None` if no such run exists.
    pub async fn describe(&self, workflow: &str) -> Result<Option<Described>, Error> {
        describe(&self.client, workflow, None).await
    }

    /// Returns the tenant of the run with that id, if there is one; a claim has none.
    pub async fn user(&self, workflow: &WorkflowId) -> Result<Option<String>, Error> {
        Ok(self
            .describe(workflow.as_str())
            .await?
            .as_ref()
            .and_then(user))
    }

    /// Counts the runs that match a visibility query.
    pub async fn count(&self, query: &str) -> Result<u64, Error> {
        let counted = self
            .client
            .count_workflows(query, WorkflowCountOptions::default());
        let counted = counted.await.map_err(answered)?;
        Ok(u64::try_from(counted.count()).unwrap_or(u64::MAX))
    }

    /// Checks that the namespace exists: if it does not, every run looks unknown.
    ///
    /// # Errors
    /// The server answers that the namespace does not exist. Any other failure of the call passes.
    pub async fn has_namespace(&self) -> Result<(), Error> {
        match self.retention().await {
            // The API key may be allowed to work with runs only.
            Err(Error::Answered { code, .. }) if code != Code::NotFound => Ok(()),
            described => described.map(|_| ()),
        }
    }

    /// Returns how long the namespace keeps closed runs.
    pub async fn retention(&self) -> Result<Duration, Error> {
        let namespace = self.client.namespace();
        let retention = retention(self.client.connection(), namespace).await;
        Ok(retention.map_err(answered)?.into_inner())
    }

    pub(crate) fn handle(&self, workflow: &WorkflowId) -> WorkflowHandle<Client, Generation> {
        self.client
            .get_workflow_handle::<Generation>(workflow.to_string())
    }
}

/// Asks the server how long a namespace keeps closed runs.
pub(crate) async fn retention(
    connection: &Connection,
    namespace: String,
) -> Result<Response<Duration>, Status> {
    let request = DescribeNamespaceRequest {
        namespace,
        ..DescribeNamespaceRequest::default()
    };
    let mut service = connection.workflow_service();
    let answer = service.describe_namespace(request.into_request()).await?;
    Ok(answer.map(|described| {
        let config = described.config.unwrap_or_default();
        let retention = config.workflow_execution_retention_ttl.unwrap_or_default();
        retention.try_into().unwrap_or_default()
    }))
}

/// Returns the error for an id that is taken in one call and free in the next.
pub(crate) fn comes_and_goes() -> Error {
    Error::Answered {
        code: Code::Aborted,
        source: "the id is taken in one call and free in the next".into(),
    }
}

pub(crate) fn user(described: &Described) -> Option<String> {
    described.keyword(GEN_USER)
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
