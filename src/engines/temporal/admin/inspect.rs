//! Reads the state of the server, the namespace and the task queues; changes nothing.
//!
//! Each call is independent: a hosted server may refuse some of them to an ordinary API key.

use std::collections::HashMap;
use std::time::Duration;

use temporalio_client::Connection;
use temporalio_client::tonic::IntoRequest as _;
use temporalio_common::protos::temporal::api::enums::v1::{IndexedValueType, TaskQueueType};
use temporalio_common::protos::temporal::api::taskqueue::v1::TaskQueue;
use temporalio_common::protos::temporal::api::workflowservice::v1::{
    DescribeTaskQueueRequest, GetSystemInfoRequest, ListTaskQueuePartitionsRequest,
};

use super::{Error, SEARCH_ATTRIBUTES, call, existing, retention, wait_ready};
use crate::engines::config;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tasks {
    Workflow,
    Activity,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Registered {
    Keyword,
    /// It exists, with this other type.
    Other(String),
    Missing,
}

/// A connection to a server that has answered.
pub struct Server {
    pub(super) connection: Connection,
    pub(super) namespace: String,
}

impl Server {
    /// Connects, without a retry.
    ///
    /// # Errors
    /// The server does not answer.
    pub async fn reach(temporal: &config::Temporal) -> Result<Self, Error> {
        Ok(Self {
            connection: wait_ready(temporal, Duration::ZERO).await?,
            namespace: temporal.namespace.clone(),
        })
    }

    /// Returns the server's version.
    ///
    /// # Errors
    /// The server does not report it.
    pub async fn version(&self) -> Result<String, Error> {
        let mut service = self.connection.workflow_service();
        let asked = service.get_system_info(GetSystemInfoRequest::default().into_request());
        Ok(call("GetSystemInfo", asked).await?.server_version)
    }

    /// Returns the namespace's retention of closed runs.
    ///
    /// # Errors
    /// [`Error::NoNamespace`], or the server does not report it.
    pub async fn retention(&self) -> Result<Duration, Error> {
        retention(&self.connection, &self.namespace).await
    }

    /// Returns the state of the search attributes that runs start with.
    ///
    /// # Errors
    /// The server does not list them.
    pub async fn search_attributes(&self) -> Result<Vec<(&'static str, Registered)>, Error> {
        let there = existing(&self.connection, &self.namespace).await?;
        let look = |name| (name, registered(&there, name));
        Ok(SEARCH_ATTRIBUTES.map(look).to_vec())
    }

    /// Returns the number of pollers that a task queue had in the last minutes.
    ///
    /// # Errors
    /// The server does not report it.
    pub async fn pollers(&self, queue: &str, tasks: Tasks) -> Result<usize, Error> {
        let tasks = match tasks {
            Tasks::Workflow => TaskQueueType::Workflow,
            Tasks::Activity => TaskQueueType::Activity,
        };
        let request = DescribeTaskQueueRequest {
            namespace: self.namespace.clone(),
            task_queue: Some(named(queue)),
            task_queue_type: tasks.into(),
            ..Default::default()
        };
        let mut service = self.connection.workflow_service();
        let asked = service.describe_task_queue(request.into_request());
        Ok(call("DescribeTaskQueue", asked).await?.pollers.len())
    }

    /// Returns the number of partitions of a task queue: priority and fairness hold only within one.
    ///
    /// # Errors
    /// The server does not report it.
    pub async fn partitions(&self, queue: &str) -> Result<usize, Error> {
        let request = ListTaskQueuePartitionsRequest {
            namespace: self.namespace.clone(),
            task_queue: Some(named(queue)),
        };
        let mut service = self.connection.workflow_service();
        let asked = service.list_task_queue_partitions(request.into_request());
        let reported = call("ListTaskQueuePartitions", asked).await?;
        Ok(reported.activity_task_queue_partitions.len())
    }
}

pub(super) fn named(queue: &str) -> TaskQueue {
    TaskQueue {
        name: queue.to_owned(),
        ..Default::default()
    }
}

fn registered(there: &HashMap<String, i32>, name: &str) -> Registered {
    match there
        .get(name)
        .map(|kind| IndexedValueType::try_from(*kind))
    {
        None => Registered::Missing,
        Some(Ok(IndexedValueType::Keyword)) => Registered::Keyword,
        Some(Ok(other)) => Registered::Other(format!("{other:?}")),
        Some(Err(_)) => Registered::Other("of an unknown type".to_owned()),
    }
}
