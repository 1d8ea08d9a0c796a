//! A worker that is killed, or stopped and later continued, at each step of a run: one submit, one outcome.

use genflow::domain::{ErrorCode, EventError, EventType};
use rustix::process::Signal;

use crate::support::ledger::{check, types};
use crate::support::requests::image;
use crate::support::{Space, eventually};

/// A worker dies at `point`; another continues the run.
async fn killed_at(point: &str) {
    let space = Space::new().await;
    let _intake = space.start(&["intake"]);
    let mut first = space.start_with(
        &["worker"],
        &[("GENFLOW_FAILPOINT", &format!("{point}=kill"))],
    );
    let request = image("killed");
    space.send(&request).await;
    first.ended().await;

    let _second = space.start(&["worker"]);

    let events = space.story(request.id.as_str()).await;
    assert_eq!(types(&events).last(), Some(&EventType::Completed));
    assert_eq!(space.bill(request.id.as_str()).await.accepted, 1);
    assert_eq!(
        space.temp_leftovers(),
        Vec::<String>::new(),
        "removed when the second worker started"
    );
}

/// A worker stops at `point`; another ends the run; then the first one continues and changes nothing.
async fn stopped_at(point: &str) {
    let story = stopped(point, &[]).await;

    assert_eq!(story.outcome, EventType::Completed, "{:?}", story.error);
    assert_eq!(story.accepted, 1);
}

/// The outcome of a run whose first worker stopped.
struct Story {
    outcome: EventType,
    error: Option<EventError>,
    accepted: u64,
}

async fn stopped(point: &str, settings: &[(&str, &str)]) -> Story {
    let space = Space::with(settings).await;
    let _intake = space.start(&["intake"]);
    let failpoint = format!("{point}=stop");
    let mut first = space.start_with(&["worker"], &[("GENFLOW_FAILPOINT", &failpoint)]);
    let request = image("stopped");
    space.send(&request).await;
    first.stopped().await;
    let _second = space.start(&["worker"]);
    let events = space.story(request.id.as_str()).await;

    first.signal(Signal::CONT);
    // The worker finishes its work before it exits: after this, the zombie cannot act any more.
    assert!(first.terminate().await.success(), "{}", first.output());

    check(&space.all_events(request.id.as_str()).await);
    eventually("no temp folder is left", async || {
        space.temp_leftovers().is_empty().then_some(())
    })
    .await;
    Story {
        outcome: *types(&events).last().unwrap(),
        error: events.iter().find_map(|event| event.error.clone()),
        accepted: space.bill(request.id.as_str()).await.accepted,
    }
}

#[tokio::test]
async fn a_worker_killed_before_it_sends_is_followed_by_one_that_does() {
    killed_at("submit.fencing").await;
}

#[tokio::test]
async fn a_worker_killed_after_it_sent_is_followed_by_one_that_finds_the_job() {
    killed_at("submit.sent").await;
}

#[tokio::test]
async fn a_worker_killed_while_it_waits_is_followed_by_one_that_waits_on() {
    killed_at("fetch.published").await;
}

#[tokio::test]
async fn a_worker_killed_while_it_stores_is_followed_by_one_that_stores() {
    killed_at("fetch.storing").await;
}

#[tokio::test]
async fn a_worker_killed_before_it_publishes_the_outcome_leaves_that_to_the_next() {
    killed_at("finish.began").await;
}

#[tokio::test]
async fn a_worker_killed_between_event_and_result_is_followed_by_one_that_repeats_the_same() {
    killed_at("finish.published").await;
}

#[tokio::test]
async fn a_worker_stopped_before_the_fence_wakes_and_sends_nothing() {
    stopped_at("submit.fencing").await;
}

/// After the fence it is unknown whether the worker sent: the run ends as ambiguous, and after that nothing may be
/// sent.
#[tokio::test]
async fn a_worker_stopped_after_the_fence_asks_again_and_sends_nothing() {
    let story = stopped("submit.sending", &[]).await;

    assert_eq!(story.outcome, EventType::Failed);
    assert_eq!(story.error.unwrap().code, ErrorCode::SubmitAmbiguous);
    assert_eq!(story.accepted, 0);
}

#[tokio::test]
async fn a_worker_stopped_after_it_sent_wakes_and_changes_nothing() {
    stopped_at("submit.sent").await;
}

#[tokio::test]
async fn a_worker_stopped_while_its_submit_waits_wakes_and_changes_nothing() {
    let story = stopped("submit.waited", &[("SUBMIT_WAIT", "30s")]).await;

    assert_eq!(story.outcome, EventType::Completed, "{:?}", story.error);
    assert_eq!(story.accepted, 1);
}

#[tokio::test]
async fn a_worker_stopped_while_it_waits_wakes_and_changes_nothing() {
    stopped_at("fetch.published").await;
}

#[tokio::test]
async fn a_worker_stopped_before_it_publishes_the_outcome_wakes_and_repeats_it() {
    stopped_at("finish.began").await;
}
