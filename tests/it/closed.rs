//! Runs that are closed from outside: terminated at any moment, or timed out by the server.

mod jobs;
mod moments;

use std::time::Duration;

use genflow::contract::run::{RunState, Start, SubmitQueues};
use genflow::domain::{ErrorCode, EventType, ProviderName, Request, fingerprint};
use genflow::engines::temporal::queues::fetch_queue;
use genflow::engines::temporal::retries::{Retried, Retry};
use genflow::workflows::closed_run::End;
use genflow::workflows::generation::Generation;
use genflow::workflows::look_back::LookBack;
use rustix::process::Signal;
use serde_json::json;
use temporalio_client::errors::WorkflowInteractionError;
use temporalio_client::{
    Client, WorkflowCancelOptions, WorkflowDescribeOptions, WorkflowStartOptions,
    WorkflowTerminateOptions,
};

use crate::replay::closes;
use crate::support::broker::Broker;
use crate::support::described::Described as _;
use crate::support::engines::engines;
use crate::support::ledger::{check, types};
use crate::support::requests::{image, script, single};
use crate::support::{Space, eventually};

pub(crate) const OFTEN: (&str, &str) = ("SWEEP_INTERVAL", "300ms");

pub(crate) async fn terminate(client: &Client, request: &Request) {
    let handle = client.get_workflow_handle::<Generation>(request.id.to_string());
    handle
        .terminate(WorkflowTerminateOptions::builder().build())
        .await
        .ok();
}

/// Terminates the run when its history has that length; the run may have closed by then.
async fn terminate_at(client: &Client, request: &Request, length: usize) {
    let handle = client.get_workflow_handle::<Generation>(request.id.to_string());
    eventually("the history grows", async || {
        let described = handle
            .describe(WorkflowDescribeOptions::default())
            .await
            .ok()?;
        (described.history_length() >= length || described.close_time().is_some()).then_some(())
    })
    .await;
    terminate(client, request).await;
}

/// Starts a run that never ends by itself, terminates it, and waits for the outcome that a sweep publishes.
async fn swept(space: &Space) {
    let request = script(image("terminated"), &json!({"stuck": true}));
    space.send(&request).await;
    terminate_at(&space.client().await, &request, 5).await;
    space.story(request.id.as_str()).await;
}

#[tokio::test]
async fn a_run_that_failed_by_itself_is_left_alone() {
    let space = Space::with(&[OFTEN]).await;
    let _all = space.start(&["all"]);
    let failed = script(image("failed"), &json!({"fail": "no"}));
    space.send(&failed).await;
    space.story(failed.id.as_str()).await;
    let (temporal, queue) = (space.temporal().await, &space.config.temporal.task_queue);
    let listed = format!(
        "WorkflowId = '{}' AND TaskQueue = '{queue}' AND ExecutionStatus = 'Failed'",
        failed.id
    );
    eventually("it is listed as failed", async || {
        (temporal.count(&listed).await.unwrap() == 1).then_some(())
    })
    .await;

    // A sweep lists the newest runs first. The sweep that finds the first of these two runs sees the failed run after
    // it, and has ended when another sweep finds the second.
    swept(&space).await;
    swept(&space).await;

    let run_id = temporal.run_id(&failed.id.run(0)).await.unwrap();
    let end = format!("end/{}/{run_id}", failed.id);
    let end = space.client().await.get_workflow_handle::<End>(end);
    let described = end.describe(WorkflowDescribeOptions::default()).await;
    assert!(
        matches!(described, Err(WorkflowInteractionError::NotFound(_))),
        "{described:?}"
    );
}

#[tokio::test]
async fn an_end_that_is_terminated_is_started_again() {
    let space = Space::with(&[OFTEN]).await;
    let _intake = space.start(&["intake"]);
    let failpoint = [("GENFLOW_FAILPOINT", "finish.began=stop")];
    let request = script(image("ended"), &json!({"stuck": true}));
    let mut worker = space.start_with(&["worker"], &failpoint);
    space.send(&request).await;
    space.job_runs(request.id.as_str()).await;
    let client = space.client().await;
    let run_id = space.temporal().await.run_id(&request.id.run(0)).await;
    let first = format!("end/{}/{}", request.id, run_id.unwrap());
    terminate(&client, &request).await;

    let mut stopped = Vec::new();
    for end in [first.clone(), format!("{first}~1")] {
        worker.stopped().await;
        let end = client.get_workflow_handle::<End>(end);
        end.terminate(WorkflowTerminateOptions::default())
            .await
            .unwrap();
        stopped.push(worker);
        worker = space.start_with(&["worker"], &failpoint);
    }
    worker.stopped().await;
    worker.signal(Signal::CONT);

    let events = space.story(request.id.as_str()).await;
    let error = events.last().unwrap().error.clone().unwrap();
    assert_eq!(error.code, ErrorCode::Terminated);
    assert_eq!(space.bill(request.id.as_str()).await.statuses, ["canceled"]);
    closes(&client, &format!("{first}~2")).await;
    // The stopped workers publish the events that they hold: only repeats.
    for mut worker in stopped {
        worker.signal(Signal::CONT);
        assert!(worker.terminate().await.success());
    }
    check(&space.all_events(request.id.as_str()).await);
}

#[tokio::test]
async fn a_look_back_ends_what_no_sweep_has_found() {
    let space = Space::with(&[("SWEEP_INTERVAL", "1h")]).await;
    let _all = space.start(&["all"]);
    let client = space.client().await;
    let today = genflow::engines::clock::now() / 86_400_000;
    let queue = &space.config.temporal.task_queue;
    closes(&client, &format!("look-back/{queue}/{today}")).await;
    let request = script(image("late"), &json!({"stuck": true}));
    space.send(&request).await;
    terminate_at(&client, &request, 5).await;

    let options = WorkflowStartOptions::new(queue.clone(), format!("look-back/{queue}/next"));
    client
        .start_workflow(LookBack::run, (), options.build())
        .await
        .unwrap();

    let events = space.story(request.id.as_str()).await;
    let error = events.last().unwrap().error.clone().unwrap();
    assert_eq!(error.code, ErrorCode::Terminated);
}

#[tokio::test]
async fn the_job_of_a_terminated_run_is_ended_also_when_no_worker_was_there() {
    let space = Space::with(&[OFTEN]).await;
    let _intake = space.start(&["intake"]);
    let mut worker = space.start(&["worker"]);
    let request = script(image("orphan"), &json!({"stuck": true}));
    space.send(&request).await;
    space.job_runs(request.id.as_str()).await;
    worker.signal(Signal::KILL);
    worker.ended().await;
    terminate(&space.client().await, &request).await;

    let _next = space.start(&["worker"]);

    let events = space.story(request.id.as_str()).await;
    assert_eq!(types(&events).last(), Some(&EventType::Failed));
    assert_eq!(space.bill(request.id.as_str()).await.statuses, ["canceled"]);
}

/// Waits for the `end.v1` of the terminated run, and asks it to cancel: an `end.v1` must not be cancelled.
async fn cancel_end(client: &Client, request: &Request) {
    let run = client.get_workflow_handle::<Generation>(request.id.to_string());
    let described = run.describe(WorkflowDescribeOptions::default()).await;
    let id = format!("end/{}/{}", request.id, described.unwrap().run_id());
    let end = client.get_workflow_handle::<End>(id);
    eventually("the end is under way", async || {
        let cancelled = end.cancel(WorkflowCancelOptions::default()).await;
        cancelled.is_ok().then_some(())
    })
    .await;
}

#[tokio::test]
async fn an_outcome_decided_while_kafka_was_away_survives_a_termination() {
    let mut broker = Broker::beside(engines()).await;
    let settings = [
        OFTEN,
        ("KAFKA_BROKERS", broker.address.as_str()),
        ("HEARTBEAT_TIMEOUT", "60s"),
    ];
    let space = Space::with(&settings).await;
    let _intake = space.start(&["intake"]);
    // When the worker begins to store, all events except the last are published.
    let failpoint = [("GENFLOW_FAILPOINT", "fetch.storing=stop")];
    let worker = space.start_with(&["worker"], &failpoint);
    let request = image("finishing");
    space.send(&request).await;
    worker.stopped().await;
    broker.dies().await;
    worker.signal(Signal::CONT);
    let temporal = space.temporal().await;
    let workflow = request.id.run(0);
    eventually("the run finishes", async || {
        let status = temporal.status(&workflow).await.unwrap().unwrap();
        (status.state == RunState::Finishing).then_some(())
    })
    .await;
    let client = space.client().await;
    terminate(&client, &request).await;
    cancel_end(&client, &request).await;
    broker.comes_back(&space.config.kafka).await;

    let events = space.story(request.id.as_str()).await;
    assert_eq!(types(&events).last(), Some(&EventType::Completed));
    assert_eq!(space.bill(request.id.as_str()).await.accepted, 1);
    // The run has its result, although the server shows its workflow as terminated: a retry would pay again.
    let retried: Retried = Box::pin(temporal.retry(
        &Retry {
            request: &request.id,
            command: &"c-1".to_owned().try_into().unwrap(),
            reason: None,
            traceparent: None,
            steps: space.config.intake.steps,
            fetch_queue: &fetch_queue(&space.config.temporal.task_queue),
            providers: space.config.worker.default_providers(),
            submit_queues: &SubmitQueues::default(),
            fallbacks: &Default::default(),
        },
        |_| async { Ok(()) },
    ))
    .await
    .unwrap();
    assert!(matches!(retried, Retried::Completed), "{retried:?}");
}

#[tokio::test]
async fn a_run_that_the_server_timed_out_fails_and_its_job_is_ended() {
    let space = Space::with(&[OFTEN]).await;
    let _worker = space.start(&["worker"]);
    let request = script(image("timed-out"), &json!({"stuck": true}));
    let start = Start {
        request: request.id.clone(),
        retry: 0,
        batch: None,
        user: request.user.clone(),
        spec: single(&request).clone(),
        provider: ProviderName::REPLICATE,
        fingerprint: fingerprint(&request).unwrap(),
        metadata: request.metadata.clone(),
        notify: None,
        timeout_ms: 600_000,
        steps: space.config.intake.steps,
        fetch_queue: fetch_queue(&space.config.temporal.task_queue),
        submit_queue: None,
        traceparent: None,
        journal: genflow::domain::Journal::default(),
        fallback: Vec::new(),
    };
    let queue = space.config.temporal.task_queue.clone();
    let options = WorkflowStartOptions::new(queue, request.id.to_string())
        .execution_timeout(Duration::from_secs(10))
        .build();
    let client = space.client().await;
    client
        .start_workflow(Generation::run, start, options)
        .await
        .unwrap();

    let events = space.story(request.id.as_str()).await;
    assert_eq!(types(&events).last(), Some(&EventType::Failed));
    let error = events.last().unwrap().error.clone().unwrap();
    assert_eq!(error.code, ErrorCode::TimedOut);
    eventually("the job is ended", async || {
        let bill = space.bill(request.id.as_str()).await;
        (bill.statuses == ["canceled"]).then_some(())
    })
    .await;
}
