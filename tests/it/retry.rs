//! RETRY: a failed or cancelled request runs again, once per command, under its own id; and a cancel finds that run.

mod foreign;
mod operator;
mod told;

use std::collections::BTreeMap;

use futures::future::join_all;
use genflow::contract::avro;
use genflow::domain::{
    Action, Command, Event, EventType, Priority, Request, RequestId, Targets, fingerprint,
};
use genflow::engines::kafka::{Headers, Record};
use genflow::engines::temporal::client::Started;
use genflow::engines::temporal::retries::{Retried, Retry};
use genflow::workflows::generation::Generation;
use serde_json::{Value, json};
use temporalio_client::{UntypedWorkflow, WorkflowExecutionDescription, WorkflowStartOptions};

use crate::storage::manifest;
use crate::support::collector::Collector;
use crate::support::described::Described as _;
use crate::support::ledger::{self, types};
use crate::support::receiver::Receiver;
use crate::support::requests::{image, script};
use crate::support::{Space, eventually};

const TRACE: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

/// Sends a RETRY.
pub(crate) async fn retry(space: &Space, request: &RequestId, command: &str) {
    retry_with(space, request, command, Headers::new()).await;
}

pub(crate) async fn retry_with(
    space: &Space,
    request: &RequestId,
    command: &str,
    headers: Headers,
) {
    let command = Command {
        id: command.to_owned().try_into().unwrap(),
        request: request.clone(),
        action: Action::Retry,
        reason: Some("the test says so".to_owned()),
        issued_by: None,
    };
    let topic = &space.config.kafka.topics.commands;
    let datum = avro::write_command(&command, None).unwrap();
    let value = space.framed(topic, &avro::COMMAND, &datum).await;
    space
        .produce(topic, request.as_str(), Some(&value), headers)
        .await;
}

/// Waits until all commands are handled and committed.
pub(crate) async fn commands_done(space: &Space) {
    let topic = &space.config.kafka.topics.commands;
    space.caught_up("commands", topic).await;
}

/// Waits until that run has closed, checks the events of all runs against rule 11, and returns those of that run.
async fn run(space: &Space, request: &RequestId, retry: u32) -> Vec<Event> {
    let temporal = space.temporal().await;
    let workflow = request.run(retry);
    eventually("the run closes", async || {
        temporal.is_closed(&workflow).await.then_some(())
    })
    .await;
    let mut events = space.all_events(request.as_str()).await;
    ledger::check(&events);
    events.retain(|event| event.retry == i32::try_from(retry).unwrap());
    let named = |event: &Event| event.workflow_id.as_deref() == Some(workflow.as_str());
    assert!(events.iter().all(named), "{events:#?}");
    events
}

async fn outcome(space: &Space, request: &RequestId, retry: u32) -> EventType {
    *types(&run(space, request, retry).await).last().unwrap()
}

/// Reads two outcomes from `gen.results`, by key, because they may be on two partitions.
async fn results(space: &Space) -> BTreeMap<String, (Event, Record)> {
    let mut reader = space.read(&space.config.kafka.topics.results).await;
    let mut results = BTreeMap::new();
    while results.len() < 2 {
        let (event, record) = reader.event().await;
        let key = String::from_utf8(record.key.clone().unwrap()).unwrap();
        results.insert(key, (event, record));
    }
    results
}

async fn exists(space: &Space, request: &RequestId, retry: u32) -> bool {
    let temporal = space.temporal().await;
    temporal
        .status(&request.run(retry))
        .await
        .unwrap()
        .is_some()
}

async fn accepted(space: &Space, request: &RequestId, retry: u32) -> u64 {
    space.bill(request.run(retry).as_str()).await.accepted
}

/// Waits until the provider has the job of that run.
async fn job_runs(space: &Space, request: &RequestId, retry: u32) {
    space.job_runs(request.run(retry).as_str()).await;
}

/// Returns a request that fails in its first `runs` runs.
fn failing(name: &str, runs: u32) -> Request {
    script(image(name), &json!({"fail": "no", "runs": runs}))
}

async fn described(space: &Space, workflow: &str) -> WorkflowExecutionDescription {
    let client = space.client().await;
    let handle = client.get_workflow_handle::<Generation>(workflow.to_owned());
    handle.describe(Default::default()).await.unwrap()
}

#[tokio::test]
async fn a_failed_request_is_run_again_and_completes() {
    let space = Space::new().await;
    let receiver = Receiver::start(&[]).await;
    let _all = space.start(&["all"]);
    let mut request = failing("again", 1);
    request.priority = Priority::High;
    request.targets = Targets::parse(Some(&receiver.url), None, None).unwrap();
    space.send(&request).await;
    assert_eq!(outcome(&space, &request.id, 0).await, EventType::Failed);

    retry(&space, &request.id, "c1").await;

    let events = run(&space, &request.id, 1).await;
    assert_eq!(types(&events).first(), Some(&EventType::Started));
    assert_eq!(types(&events).last(), Some(&EventType::Completed));
    assert_eq!(events[0].sequence, 0);
    assert_eq!(events[0].metadata, request.metadata);
    assert_eq!(accepted(&space, &request.id, 0).await, 1);
    assert_eq!(accepted(&space, &request.id, 1).await, 1);
    let results = results(&space).await;
    for (retry, outcome) in [(0, EventType::Failed), (1, EventType::Completed)] {
        let (event, _) = &results[request.id.run(retry).as_str()];
        assert_eq!(event.event_type, outcome);
    }
    let deliveries = receiver.wait(2).await;
    let bodies: Vec<Value> = deliveries
        .iter()
        .map(|delivery| serde_json::from_slice(&delivery.body).unwrap())
        .collect();
    assert_eq!(bodies[0]["data"]["retry"], 0);
    assert_eq!(bodies[1]["data"]["retry"], 1);
}

#[tokio::test]
async fn a_retry_is_started_as_its_first_run_was() {
    let space = Space::new().await;
    let _all = space.start(&["all"]);
    let mut request = failing("alike", 1);
    request.priority = Priority::High;
    space.send(&request).await;
    run(&space, &request.id, 0).await;

    let headers = vec![("traceparent".to_owned(), Some(TRACE.as_bytes().to_vec()))];
    retry_with(&space, &request.id, "c1", headers).await;

    run(&space, &request.id, 1).await;
    let first = described(&space, request.id.as_str()).await;
    let second = described(&space, request.id.run(1).as_str()).await;
    let info =
        |run: &WorkflowExecutionDescription| run.raw().workflow_execution_info.clone().unwrap();
    assert_eq!(info(&second).priority, info(&first).priority);
    assert_eq!(info(&second).priority.unwrap().priority_key, 1);
    assert_eq!(
        info(&second).search_attributes,
        info(&first).search_attributes
    );
    assert_eq!(second.static_details(), first.static_details());
    let memo = |field| second.memo().get::<String>(field).unwrap();
    assert_eq!(memo("command_id").as_deref(), Some("c1"));
    assert_eq!(memo("reason").as_deref(), Some("the test says so"));
    let fingerprint = fingerprint(&request).unwrap();
    let temporal = space.temporal().await;
    let known = temporal.known(&request.id.run(1), &fingerprint).await;
    assert_eq!(known.unwrap(), Some(Started::Duplicate));
    let manifest = manifest(&space, request.id.run(1).as_str());
    assert_eq!(manifest["fingerprint"], fingerprint);
    let results = results(&space).await;
    let trace = |retry| {
        let (_, record) = &results[request.id.run(retry).as_str()];
        record.header("traceparent").unwrap()[..35].to_owned()
    };
    assert_ne!(trace(0), TRACE[..35]);
    assert_eq!(trace(1), TRACE[..35], "the command's own");
}

#[tokio::test]
async fn a_command_starts_one_run_however_often_it_comes() {
    let space = Space::new().await;
    let _all = space.start(&["all"]);
    let request = failing("often", 2);
    space.send(&request).await;
    run(&space, &request.id, 0).await;

    for _ in 0..5 {
        retry(&space, &request.id, "c1").await;
    }
    assert_eq!(outcome(&space, &request.id, 1).await, EventType::Failed);
    // The command's run has failed meanwhile; the same command starts no other.
    retry(&space, &request.id, "c1").await;
    commands_done(&space).await;
    assert!(!exists(&space, &request.id, 2).await);

    retry(&space, &request.id, "c2").await;
    assert_eq!(outcome(&space, &request.id, 2).await, EventType::Completed);
    for command in ["c1", "c2", "c3"] {
        retry(&space, &request.id, command).await;
    }
    commands_done(&space).await;

    assert!(!exists(&space, &request.id, 3).await);
    for retry in 0..3 {
        assert_eq!(accepted(&space, &request.id, retry).await, 1);
    }
}

#[tokio::test]
async fn a_run_that_goes_on_or_has_completed_is_not_retried() {
    let space = Space::new().await;
    let _all = space.start(&["all"]);
    let running = script(image("running"), &json!({"stuck": true}));
    let completed = image("completed");
    space.send(&running).await;
    space.send(&completed).await;
    job_runs(&space, &running.id, 0).await;
    run(&space, &completed.id, 0).await;

    retry(&space, &running.id, "c1").await;
    retry(&space, &completed.id, "c2").await;
    commands_done(&space).await;

    assert!(!exists(&space, &running.id, 1).await);
    assert!(!exists(&space, &completed.id, 1).await);
    let mut dlq = space.read(&space.config.kafka.topics.dlq).await;
    assert_eq!(dlq.all().await.len(), 0, "these commands are valid");
}

#[tokio::test]
async fn a_command_whose_intake_was_killed_after_the_start_starts_nothing_twice() {
    let space = Space::new().await;
    let _worker = space.start(&["worker"]);
    let failpoint = [("GENFLOW_FAILPOINT", "commands.started=kill")];
    let mut first = space.start_with(&["intake"], &failpoint);
    let request = failing("killed", 2);
    space.send(&request).await;
    run(&space, &request.id, 0).await;
    retry(&space, &request.id, "c1").await;
    first.ended().await;
    assert_eq!(outcome(&space, &request.id, 1).await, EventType::Failed);
    let topic = &space.config.kafka.topics.commands;
    assert_eq!(space.lag("commands", topic).await, 1, "not committed");

    let _second = space.start(&["intake"]);
    commands_done(&space).await;

    assert!(!exists(&space, &request.id, 2).await);
    assert_eq!(accepted(&space, &request.id, 1).await, 1);
}

/// Two members of the group may handle one command at the same time, and two commands may come at once.
#[tokio::test]
async fn of_many_at_once_one_starts_the_run() {
    let space = Space::new().await;
    let all = space.start(&["all"]);
    let request = failing("race", 1);
    space.send(&request).await;
    run(&space, &request.id, 0).await;
    drop(all); // No worker ends the retry while the other commands are handled.
    let temporal = space.temporal().await;
    let again = async |command: &str| {
        let command = command.to_owned().try_into().unwrap();
        let retry = Retry {
            request: &request.id,
            command: &command,
            reason: None,
            traceparent: None,
            steps: space.config.intake.steps,
            fetch_queue: "nobody",
            providers: space.config.worker.default_providers(),
            submit_queues: &genflow::contract::run::SubmitQueues::default(),
            fallbacks: &Default::default(),
        };
        Box::pin(temporal.retry(&retry, |_| async { Ok(()) }))
            .await
            .unwrap()
    };

    let same = join_all((0..8).map(|_| again("c1"))).await;
    let others = join_all(["c2", "c3"].map(again)).await;

    let started = |came: &&Retried| matches!(came, Retried::Started);
    assert_eq!(same.iter().filter(started).count(), 1, "{same:?}");
    let repeated = |came: &&Retried| matches!(came, Retried::Repeated);
    assert_eq!(same.iter().filter(repeated).count(), 7, "{same:?}");
    let running = |came: &Retried| matches!(came, Retried::Running);
    assert!(others.iter().all(running), "{others:?}");
    assert!(!exists(&space, &request.id, 2).await);
}

#[tokio::test]
async fn a_cancelled_run_is_retried() {
    let space = Space::new().await;
    let _all = space.start(&["all"]);
    let request = script(image("cancelled"), &json!({"stuck": true, "runs": 1}));
    space.send(&request).await;
    job_runs(&space, &request.id, 0).await;
    space.cancel(request.id.as_str()).await;
    assert_eq!(outcome(&space, &request.id, 0).await, EventType::Cancelled);

    retry(&space, &request.id, "c1").await;

    assert_eq!(outcome(&space, &request.id, 1).await, EventType::Completed);
}

#[tokio::test]
async fn a_cancel_reaches_the_newest_run() {
    let space = Space::new().await;
    let _all = space.start(&["all"]);
    let request = script(image("newest"), &json!({"stuck": true}));
    space.send(&request).await;
    for number in 0..3 {
        job_runs(&space, &request.id, number).await;

        space.cancel(request.id.as_str()).await;

        assert_eq!(
            outcome(&space, &request.id, number).await,
            EventType::Cancelled
        );
        let bill = space.bill(request.id.run(number).as_str()).await;
        assert_eq!(bill.statuses, ["canceled"]);
        retry(&space, &request.id, &format!("c{number}")).await;
    }
}

/// Starts a workflow with any id and type, which no worker runs.
async fn start_foreign(space: &Space, id: &str, workflow_type: &str) {
    let queue = format!("{}-nobody", space.config.temporal.task_queue);
    let options = WorkflowStartOptions::new(queue, id.to_owned()).build();
    let kind = UntypedWorkflow::new(workflow_type);
    let client = space.client().await;
    let nothing = temporalio_common::data_converters::RawValue::new(Vec::new());
    client.start_workflow(kind, nothing, options).await.unwrap();
}

#[tokio::test]
async fn what_cannot_be_run_again_is_dead_lettered() {
    let space = Space::new().await;
    let _all = space.start(&["all"]);
    let (unknown, claimed, batch) = (image("unknown").id, image("claimed").id, image("batch").id);
    space.cancel(claimed.as_str()).await;
    space.closed(claimed.as_str()).await;
    start_foreign(&space, batch.as_str(), "batch.v1").await;

    for (id, reason, expected) in [
        (&unknown, "invalid", "not found"),
        (&claimed, "cancelled_before_start", "was cancelled before"),
        (&batch, "invalid", "batch.v1"),
    ] {
        retry(&space, id, "c1").await;
        commands_done(&space).await;
        let letters = space.read(&space.config.kafka.topics.dlq).await.all().await;
        let letter = letters
            .iter()
            .find(|record| record.key.as_deref() == Some(id.as_str().as_bytes()))
            .unwrap();
        assert_eq!(letter.header("dlq.reason"), Some(reason));
        let error = letter.header("dlq.error").unwrap();
        assert!(error.contains(expected), "{error}");
        let topic = space.config.kafka.topics.commands.as_str();
        assert_eq!(letter.header("dlq.original.topic"), Some(topic));
        assert!(!exists(&space, id, 1).await);
        let events = space.all_events(id.as_str()).await;
        assert_eq!(events.len(), 0, "a command is not answered by an event");
    }
}

#[tokio::test]
async fn a_retry_without_a_trace_of_its_own_stays_in_that_of_the_first_run() {
    let collector = Collector::start().await;
    let traces = [("OTEL_EXPORTER_OTLP_ENDPOINT", &*collector.url)];
    for settings in [&traces[..], &[]] {
        let space = Space::with(settings).await;
        let _all = space.start(&["all"]);
        let request = failing("kept", 1);
        let headers = vec![("traceparent".to_owned(), Some(TRACE.as_bytes().to_vec()))];
        space.send_with(&request, headers).await;
        run(&space, &request.id, 0).await;

        retry(&space, &request.id, "c1").await;

        run(&space, &request.id, 1).await;
        let results = results(&space).await;
        let (_, record) = &results[request.id.run(1).as_str()];
        let trace = record.header("traceparent").unwrap();
        assert_eq!(trace[..35], TRACE[..35], "{settings:?}");
    }
}
