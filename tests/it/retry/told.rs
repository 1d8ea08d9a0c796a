//! A retry of a run whose outcome is published, but whose workflow is not closed yet.

use genflow::domain::{EventType, Request, RequestId};
use rustix::process::Signal;

use super::{accepted, commands_done, exists, failing, outcome, retry};
use crate::support::Space;
use crate::support::described::Described as _;
use crate::support::ledger::types;
use crate::support::process::Process;
use crate::support::requests::image;

/// Starts a run, and stops its worker when the outcome is on its topics but the workflow is not closed yet.
async fn published_and_open(space: &Space, request: &Request) -> Process {
    let worker = space.start_with(
        &["worker"],
        &[("GENFLOW_FAILPOINT", "finish.published=stop")],
    );
    space.send(request).await;
    worker.stopped().await;
    let events = space.all_events(request.id.as_str()).await;
    assert!(types(&events).last().unwrap().is_terminal(), "{events:#?}");
    assert!(!is_closed(space, &request.id, 0).await);
    worker
}

async fn is_closed(space: &Space, request: &RequestId, retry: u32) -> bool {
    let temporal = space.temporal().await;
    temporal.is_closed(&request.run(retry)).await
}

#[tokio::test]
async fn a_retry_sent_as_soon_as_the_failure_is_published_is_accepted() {
    let space = Space::new().await;
    let _intake = space.start(&["intake"]);
    let request = failing("at-once", 1);
    let first = published_and_open(&space, &request).await;

    for _ in 0..2 {
        retry(&space, &request.id, "c1").await;
    }
    commands_done(&space).await;

    assert!(!is_closed(&space, &request.id, 0).await);
    assert!(exists(&space, &request.id, 1).await);
    first.signal(Signal::CONT);
    assert_eq!(outcome(&space, &request.id, 1).await, EventType::Completed);
    assert_eq!(outcome(&space, &request.id, 0).await, EventType::Failed);
    assert!(!exists(&space, &request.id, 2).await);
    for retry in 0..2 {
        assert_eq!(accepted(&space, &request.id, retry).await, 1);
    }
}

#[tokio::test]
async fn a_cancel_reaches_the_retry_of_a_run_that_is_not_closed_yet() {
    let space = Space::new().await;
    let _intake = space.start(&["intake"]);
    let request = failing("not-yet", 1);
    let first = published_and_open(&space, &request).await;
    retry(&space, &request.id, "c1").await;

    space.cancel(request.id.as_str()).await;
    commands_done(&space).await;

    let temporal = space.temporal().await;
    for (run, asked) in [(0, false), (1, true)] {
        let workflow = request.id.run(run);
        assert_eq!(temporal.is_cancel_asked(&workflow).await, asked);
    }
    first.signal(Signal::CONT);
    assert_eq!(outcome(&space, &request.id, 1).await, EventType::Cancelled);
    // The paused worker may have had the run's first task already; then its job is cancelled.
    let bill = space.bill(request.id.run(1).as_str()).await;
    assert!(bill.accepted <= 1 && bill.statuses.iter().all(|status| status == "canceled"));
}

#[tokio::test]
async fn a_run_published_as_completed_but_not_closed_is_not_retried() {
    let space = Space::new().await;
    let _intake = space.start(&["intake"]);
    let request = image("told");
    let first = published_and_open(&space, &request).await;

    retry(&space, &request.id, "c1").await;
    commands_done(&space).await;

    assert!(!exists(&space, &request.id, 1).await);
    first.signal(Signal::CONT);
    assert_eq!(outcome(&space, &request.id, 0).await, EventType::Completed);
}
