//! `genflow status`: open runs with and without a worker, closed runs, claims, and a server that is down.

use std::net::TcpListener;

use genflow::contract::run::{RunState, StatusAnswer};
use genflow::domain::{ErrorCode, EventType, Request};
use genflow::engines::temporal::status::{RunStatus, StatusSource};
use genflow::operate::cli::status::show;
use genflow::workflows::generation::Generation;
use serde_json::{Value, json};
use temporalio_client::{WorkflowQueryOptions, WorkflowTerminateOptions};

use crate::batch::batch;
use crate::support::described::Described as _;
use crate::support::ledger::types;
use crate::support::requests::{image, script};
use crate::support::{Space, eventually};

/// Reads the status without the command line.
async fn status(space: &Space, request: &Request) -> RunStatus {
    let temporal = space.temporal().await;
    let found = temporal.status(&request.id.run(0)).await.unwrap();
    found.unwrap()
}

/// Reads the status with the workflow's query, like any client of Temporal can.
async fn asked(space: &Space, request: &Request) -> StatusAnswer {
    let client = space.client().await;
    let handle = client.get_workflow_handle::<Generation>(request.id.to_string());
    let query = handle.query(Generation::status, (), WorkflowQueryOptions::default());
    query.await.unwrap()
}

async fn exists(space: &Space, request: &Request) {
    let (temporal, workflow) = (space.temporal().await, request.id.run(0));
    eventually("the run starts", async || temporal.run_id(&workflow).await).await;
}

#[tokio::test]
async fn without_a_worker_the_status_comes_from_the_server_and_says_so() {
    let space = Space::new().await;
    let _intake = space.start(&["intake"]);
    let (request, group) = (image("open"), batch("open", &[json!({})]));
    for request in [&request, &group] {
        space.send(request).await;
        exists(&space, request).await;
    }

    let (code, printed) = space.run(&["status", request.id.as_str()]).await;
    assert_eq!(code, 0, "{printed}");
    assert!(printed.contains("no worker answered"), "{printed}");
    for (request, kind) in [(&request, "IMAGE"), (&group, "BATCH")] {
        let (code, printed) = space.run(&["status", request.id.as_str(), "--json"]).await;
        let shown: Value = serde_json::from_str(printed.trim()).unwrap();
        assert_eq!(code, 0, "{printed}");
        assert_eq!(
            [
                &shown["source"],
                &shown["state"],
                &shown["kind"],
                &shown["user_id"]
            ],
            ["server", "running", kind, "ann"],
        );
        assert!(shown["started_at"].as_i64().unwrap() > 0, "{printed}");
    }
}

#[tokio::test]
async fn a_worker_reports_a_fuller_status_and_is_not_needed_after_the_end() {
    let space = Space::new().await;
    let mut all = space.start(&["all"]);
    let stuck = script(image("stuck"), &json!({"stuck": true}));
    let failing = script(image("failing"), &json!({"fail": "out of memory"}));
    let (made, group) = (
        image("made"),
        batch("group", &[json!({}), json!({"submit": [422]})]),
    );
    for request in [&stuck, &failing, &made, &group] {
        space.send(request).await;
    }

    let open = eventually("the job runs", async || {
        let temporal = space.temporal().await;
        let found = temporal.status(&stuck.id.run(0)).await.unwrap()?;
        (found.state == RunState::Generating).then_some(found)
    })
    .await;
    assert_eq!(
        (open.source, open.attempts),
        (StatusSource::Worker, Some(1))
    );
    assert!(open.provider_job_id.is_some());
    for request in [&failing, &made, &group] {
        space.story(request.id.as_str()).await;
    }
    space.cancel(stuck.id.as_str()).await;
    space.story(stuck.id.as_str()).await;
    let asked = asked(&space, &made).await;
    assert_eq!(
        (asked.state, asked.percent, asked.stage),
        (RunState::Completed, 100, None)
    );
    assert!(all.terminate().await.success());

    let ended = status(&space, &made).await;
    assert_eq!(
        (ended.source, ended.state),
        (StatusSource::History, RunState::Completed)
    );
    assert_eq!(ended.percent, Some(100));
    assert_eq!(ended.submitted_at, asked.submitted_at);
    assert!(ended.submitted_at >= Some(ended.started_at));
    let outputs = ended.result.unwrap().outputs;
    assert_eq!(outputs.len(), 1);
    let ended = status(&space, &failing).await;
    assert_eq!(
        (ended.source, ended.state),
        (StatusSource::History, RunState::Failed)
    );
    assert_eq!(ended.error.unwrap().code, ErrorCode::ProviderFailed);
    let ended = status(&space, &stuck).await;
    assert_eq!(
        (ended.source, ended.state),
        (StatusSource::History, RunState::Cancelled)
    );
    let ended = status(&space, &group).await;
    let counts = ended.batch.unwrap();
    assert_eq!(
        (ended.state, counts.completed, counts.failed),
        (RunState::Completed, 1, 1)
    );
    let (code, printed) = space.run(&["status", made.id.as_str()]).await;
    assert_eq!(code, 0, "{printed}");
    assert!(printed.contains(&outputs[0].uri), "{printed}");
    assert!(!printed.contains("no worker answered"), "{printed}");
}

#[tokio::test]
async fn what_was_closed_from_outside_has_failed_before_anybody_ended_it() {
    let space = Space::new().await;
    let mut intake = space.start(&["intake"]);
    let (gone, claimed) = (image("gone"), image("claimed"));
    space.send(&gone).await;
    exists(&space, &gone).await;
    let handle = space
        .client()
        .await
        .get_workflow_handle::<Generation>(gone.id.to_string());
    handle
        .terminate(WorkflowTerminateOptions::builder().build())
        .await
        .unwrap();
    space.cancel(claimed.id.as_str()).await;
    exists(&space, &claimed).await;
    assert!(intake.terminate().await.success());

    let ended = status(&space, &gone).await;
    assert_eq!(
        (ended.source, ended.state),
        (StatusSource::History, RunState::Failed)
    );
    assert_eq!(ended.error.unwrap().code, ErrorCode::Terminated);
    let ended = status(&space, &claimed).await;
    assert_eq!(
        (ended.source, ended.state),
        (StatusSource::History, RunState::Claimed)
    );
    // A worker's sweep publishes the same error.
    let _worker = space.start_with(&["worker"], &[crate::closed::OFTEN]);
    let events = space.story(gone.id.as_str()).await;
    assert_eq!(types(&events).last(), Some(&EventType::Failed));
    let published = events.last().unwrap().error.clone();
    assert_eq!(status(&space, &gone).await.error, published);
}

#[tokio::test]
async fn each_command_about_a_request_has_its_exit_codes() {
    let space = Space::new().await;
    // Accepts connections, and never answers.
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let silent = silent.local_addr().unwrap().to_string();
    let no_temporal = ("TEMPORAL_HOST", "127.0.0.1:1");
    let no_kafka = ("KAFKA_BROKERS", "127.0.0.1:1");

    for (arguments, settings, wanted) in [
        (&["status", "nobody"][..], &[][..], 1),
        (&["status", "no body"], &[], 64),
        (&["status", "a~b"], &[], 64),
        (&["status", "a"], &[no_temporal], 69),
        (&["status", "a"], &[("TEMPORAL_HOST", silent.as_str())], 69),
        (&["list"], &[], 0),
        (&["list", "--state", "asleep"], &[], 64),
        (&["list", "--since", "1h", "--until", "2h"], &[], 64),
        (&["list"], &[no_temporal], 69),
        (&["replay"], &[], 0),
        (&["replay", "no body"], &[], 64),
        (&["replay", "a", "--limit", "7"], &[], 64),
        (&["replay", "a"], &[no_temporal], 69),
        (&["cancel", "no body"], &[], 64),
        (&["retry", "no body"], &[], 64),
        (&["cancel", "a"], &[no_kafka], 69),
        (&["retry", "a"], &[no_kafka], 69),
        (&["cancel", "a"], &[], 0),
        (&["retry", "a"], &[], 0),
    ] {
        let (code, printed) = space.run_with(arguments, settings).await;

        assert_eq!(code, wanted, "{arguments:?} {settings:?}: {printed}");
        let lines = printed.lines().count();
        assert!(lines <= 1, "{arguments:?}: {printed}");
        // No debug output of nested errors.
        for noise in ["Error(", "BrokerTransport"] {
            assert!(!printed.contains(noise), "{arguments:?}: {printed}");
        }
    }
    // With `--json`, nothing but JSON is printed.
    let mut out = Vec::new();
    let code = show(&space.config, "nobody", true, &mut out).await;
    assert_eq!((code.unwrap(), out), (1, Vec::new()));
}
