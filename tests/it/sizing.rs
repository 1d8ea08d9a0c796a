//! The capacity of a worker, and its build.

use std::collections::BTreeMap;

use futures::future::join_all;
use genflow::domain::{EventType, Request};
use genflow::engines::temporal::queues::fetch_queue;
use genflow::workflows::generation::Generation;
use serde_json::json;
use temporalio_client::tonic::IntoRequest as _;
use temporalio_client::{Client, NamespacedClient as _, WorkflowDescribeOptions};
use temporalio_common::protos::temporal::api::enums::v1::{PendingActivityState, TaskQueueType};
use temporalio_common::protos::temporal::api::taskqueue::v1::{PollerInfo, TaskQueue};
use temporalio_common::protos::temporal::api::workflowservice::v1::DescribeTaskQueueRequest;

use crate::support::ledger::types;
use crate::support::process::Process;
use crate::support::requests::{image, script};
use crate::support::{Space, eventually};

/// Sends `count` requests whose jobs never end, each of another user, because one user alone does not get all slots.
async fn stuck(space: &Space, count: usize) -> Vec<Request> {
    let mut requests: Vec<_> = (0..count).map(|_| endless()).collect();
    for (number, request) in requests.iter_mut().enumerate() {
        request.user = format!("user-{number}").try_into().unwrap();
    }
    for request in &requests {
        space.send(request).await;
    }
    requests
}

fn endless() -> Request {
    script(image("stuck"), &json!({"stuck": true}))
}

/// Returns the worker that runs the fetch of a request, if one does.
async fn fetcher(client: &Client, request: &Request) -> Option<String> {
    let handle = client.get_workflow_handle::<Generation>(request.id.to_string());
    let described = handle.describe(WorkflowDescribeOptions::default()).await;
    let pending = described.ok()?.raw_description.pending_activities;
    let fetch = pending.into_iter().find(|activity| {
        let kind = activity.activity_type.as_ref();
        kind.is_some_and(|kind| kind.name == "fetch.v1")
            && activity.state() == PendingActivityState::Started
    })?;
    Some(fetch.last_worker_identity)
}

/// Counts the fetches that each worker runs, once there are `wanted` in all.
async fn fetches(client: &Client, requests: &[Request], wanted: usize) -> BTreeMap<String, usize> {
    eventually("the fetches run", async || {
        let running = join_all(requests.iter().map(|it| fetcher(client, it))).await;
        let mut counts = BTreeMap::new();
        for worker in running.into_iter().flatten() {
            *counts.entry(worker).or_default() += 1;
        }
        (counts.values().sum::<usize>() == wanted).then_some(counts)
    })
    .await
}

fn name(worker: &Process) -> String {
    format!("genflow-{}", worker.pid().as_raw_nonzero())
}

/// A fetch moves to another worker if a heartbeat is late, and may move with each PROGRESS.
const STEADY: [(&str, &str); 2] = [("FETCH_HEARTBEAT_TIMEOUT", "60s"), ("PROGRESS_MAX", "0")];

/// A limited worker takes `takes` fetches; an unlimited one then takes the rest, which shows that they were available.
async fn leaves_to_another(space: &Space, bounds: &[(&str, &str)], takes: usize) {
    let _intake = space.start(&["intake"]);
    let bounded = space.start_with(&["worker"], bounds);
    let client = space.client().await;
    let requests = stuck(space, takes + 3).await;
    for request in &requests {
        space.job_runs(request.id.as_str()).await;
    }
    fetches(&client, &requests, takes).await;

    let free = space.start(&["worker"]);

    let counts = fetches(&client, &requests, requests.len()).await;
    let wanted = BTreeMap::from([(name(&bounded), takes), (name(&free), 3)]);
    assert_eq!(counts, wanted);
    for request in &requests {
        space.cancel(request.id.as_str()).await;
    }
    for request in &requests {
        space.story(request.id.as_str()).await;
    }
}

#[tokio::test]
async fn a_worker_with_no_memory_to_spare_takes_five_fetches_and_no_more() {
    let space = Space::with(&STEADY).await;

    leaves_to_another(&space, &[("MEMORY_LIMIT_BYTES", "1")], 5).await;
}

#[tokio::test]
async fn a_worker_takes_as_many_fetches_as_it_has_slots() {
    let space = Space::with(&STEADY).await;
    let bounds = [
        ("WORKER_FETCH_SLOTS", "3"),
        // More memory than any test machine has, so only the slots limit the worker.
        ("MEMORY_LIMIT_BYTES", "1000000000000000"),
    ];

    leaves_to_another(&space, &bounds, 3).await;
}

/// More jobs of one user than there are slots: they use all slots except one, and the other jobs wait for their turn.
#[tokio::test]
async fn one_users_endless_jobs_leave_a_place_for_anothers() {
    let space = Space::new().await;
    let _intake = space.start(&["intake"]);
    let _worker = space.start_with(&["worker"], &[("WORKER_FETCH_SLOTS", "4")]);
    let client = space.client().await;
    let crowd: Vec<_> = (0..8).map(|_| endless()).collect();
    for request in &crowd {
        space.send(request).await;
    }
    for request in &crowd {
        space.job_runs(request.id.as_str()).await;
    }
    fetches(&client, &crowd, 3).await;
    let mut other = image("other");
    other.user = "bob".to_owned().try_into().unwrap();

    space.send(&other).await;

    let events = space.story(other.id.as_str()).await;
    assert_eq!(types(&events).last(), Some(&EventType::Completed));
    // A job that waits for a slot can be cancelled too.
    for request in &crowd {
        space.cancel(request.id.as_str()).await;
    }
    for request in &crowd {
        let events = space.story(request.id.as_str()).await;
        assert_eq!(types(&events).last(), Some(&EventType::Cancelled));
        assert_eq!(space.bill(request.id.as_str()).await.accepted, 1);
    }
}

async fn pollers(client: &Client, queue: &str, kind: TaskQueueType) -> Vec<PollerInfo> {
    let request = DescribeTaskQueueRequest {
        namespace: client.namespace(),
        task_queue: Some(TaskQueue {
            name: queue.to_owned(),
            ..TaskQueue::default()
        }),
        task_queue_type: kind.into(),
        ..DescribeTaskQueueRequest::default()
    };
    let mut service = client.connection().workflow_service();
    let answer = service.describe_task_queue(request.into_request()).await;
    answer.unwrap().into_inner().pollers
}

#[tokio::test]
async fn the_server_knows_the_build_of_a_worker() {
    let space = Space::new().await;
    let _worker = space.start(&["worker"]);
    let client = space.client().await;
    let main = space.config.temporal.task_queue.clone();

    for (queue, kind) in [
        (main.clone(), TaskQueueType::Workflow),
        (main.clone(), TaskQueueType::Activity),
        (fetch_queue(&main), TaskQueueType::Activity),
    ] {
        let build = eventually("the worker polls", async || {
            let pollers = pollers(&client, &queue, kind).await;
            let mut builds = pollers.into_iter().filter_map(|it| it.deployment_options);
            Some(builds.next()?.build_id)
        })
        .await;
        let version = format!("{}-", env!("CARGO_PKG_VERSION"));
        assert!(build.starts_with(&version), "{build}");
    }
}

#[tokio::test]
async fn a_stopping_worker_hands_its_fetches_back_within_the_grace_period() {
    let space = Space::new().await;
    let _intake = space.start(&["intake"]);
    let mut first = space.start(&["worker"]);
    let client = space.client().await;
    let requests = stuck(&space, 3).await;
    fetches(&client, &requests, 3).await;

    let ended = first.terminate().await;

    assert!(ended.success(), "{}", first.output());
    let second = space.start(&["worker"]);
    eventually("another worker runs all of them", async || {
        let counts = fetches(&client, &requests, 3).await;
        (counts == BTreeMap::from([(name(&second), 3)])).then_some(())
    })
    .await;
    for request in &requests {
        space.cancel(request.id.as_str()).await;
        space.story(request.id.as_str()).await;
        assert_eq!(space.bill(request.id.as_str()).await.accepted, 1);
    }
}
