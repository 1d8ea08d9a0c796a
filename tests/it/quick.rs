//! Jobs that are done while their submit waits: they need no fetch, and keep every promise.

use genflow::domain::{EventType, Request};
use genflow::workflows::generation::Generation;
use serde_json::{Value, json};

use crate::support::requests::{FAL, OPENAI, REPLICATE};
use EventType::{Cancelled, Completed, Started};

use crate::support::Space;
use crate::support::ledger::types;
use crate::support::requests::{at, image, script, video};

/// Returns the names of the activities that a run has scheduled.
async fn activities(space: &Space, request: &Request) -> Vec<String> {
    let client = space.client().await;
    let handle = client.get_workflow_handle::<Generation>(request.id.to_string());
    let history = handle.fetch_history(Default::default()).to_json().await;
    let history: Value = serde_json::from_slice(&history.unwrap()).unwrap();
    let events = history["events"].as_array().unwrap();
    let scheduled = events.iter().filter_map(|event| {
        let scheduled = &event["attributes"]["ActivityTaskScheduledEventAttributes"];
        Some(scheduled["activity_type"]["name"].as_str()?.to_owned())
    });
    scheduled.collect()
}

async fn was_fetched(space: &Space, request: &Request) -> bool {
    let activities = activities(space, request).await;
    activities.iter().any(|name| name == "fetch.v1")
}

#[tokio::test]
async fn a_quick_job_needs_no_fetch() {
    let space = Space::with(&[("SUBMIT_WAIT", "30s")]).await;
    let _all = space.start(&["all"]);
    for (provider, make) in [
        (REPLICATE, image as fn(&str) -> Request),
        (REPLICATE, video),
        (FAL, image),
        (OPENAI, video),
    ] {
        let request = at(provider, make("quick"));
        space.send(&request).await;

        let events = space.story(request.id.as_str()).await;

        assert_eq!(types(&events), [Started, Completed], "{provider:?}");
        assert!(
            events[1].result.as_ref().unwrap().sent.is_some(),
            "{provider:?}"
        );
        let activities = activities(&space, &request).await;
        assert_eq!(activities, ["submit.v1", "finish.v1"]);
        assert_eq!(space.bill(request.id.as_str()).await.accepted, 1);
        assert_eq!(space.temp_leftovers(), Vec::<String>::new());
    }
}

#[tokio::test]
async fn a_job_that_takes_longer_is_fetched() {
    let space = Space::with(&[("SUBMIT_WAIT", "500ms")]).await;
    let _all = space.start(&["all"]);
    let request = script(image("slow"), &json!({"seconds": 2.0}));
    space.send(&request).await;

    let events = space.story(request.id.as_str()).await;

    assert_eq!(types(&events).last(), Some(&Completed));
    assert!(was_fetched(&space, &request).await);
    assert_eq!(space.bill(request.id.as_str()).await.accepted, 1);
}

#[tokio::test]
async fn a_worker_killed_while_its_submit_waits_is_followed_by_one_that_finds_the_job() {
    let space = Space::with(&[("SUBMIT_WAIT", "30s")]).await;
    let _intake = space.start(&["intake"]);
    for (provider, make) in [
        (REPLICATE, image as fn(&str) -> Request),
        (FAL, image),
        (OPENAI, video),
    ] {
        let failpoint = [("GENFLOW_FAILPOINT", "submit.waited=kill")];
        let mut first = space.start_with(&["worker"], &failpoint);
        let request = at(provider, make("killed"));
        space.send(&request).await;
        first.ended().await;
        let record = space.results().join(request.id.as_str()).join("job.json");
        assert!(record.exists(), "{provider:?}");
        let _second = space.start(&["worker"]);

        let events = space.story(request.id.as_str()).await;

        assert_eq!(types(&events).last(), Some(&Completed), "{provider:?}");
        let bill = space.bill(request.id.as_str()).await;
        assert_eq!((bill.submits, bill.accepted), (1, 1), "{provider:?}");
    }
}

#[tokio::test]
async fn a_cancel_while_the_submit_waits_ends_the_providers_job() {
    let space = Space::with(&[("SUBMIT_WAIT", "30s")]).await;
    let _all = space.start(&["all"]);
    let request = script(image("cancelled"), &json!({"stuck": true}));
    space.send(&request).await;
    space.job_runs(request.id.as_str()).await;

    space.cancel(request.id.as_str()).await;

    let events = space.story(request.id.as_str()).await;
    assert_eq!(types(&events), [Started, Cancelled]);
    assert_eq!(space.bill(request.id.as_str()).await.statuses, ["canceled"]);
    let activities = activities(&space, &request).await;
    assert_eq!(activities, ["submit.v1", "finish.v1"]);
    // With a poll each 100 ms, the whole wait has 300.
    let polls = space.jobs(request.id.as_str()).await[0]["reads"].as_u64();
    assert!(polls.is_some_and(|polls| polls < 150), "{polls:?}");
}

#[tokio::test]
async fn a_worker_that_stops_while_its_submit_waits_hands_the_job_on() {
    let space = Space::with(&[("SUBMIT_WAIT", "30s")]).await;
    let _intake = space.start(&["intake"]);
    let mut first = space.start(&["worker"]);
    let request = script(image("handed-on"), &json!({"seconds": 4.0}));
    space.send(&request).await;
    space.job_runs(request.id.as_str()).await;

    assert!(first.terminate().await.success(), "{}", first.output());
    let _second = space.start(&["worker"]);

    let events = space.story(request.id.as_str()).await;
    assert_eq!(types(&events).last(), Some(&Completed));
    assert!(was_fetched(&space, &request).await);
    let bill = space.bill(request.id.as_str()).await;
    assert_eq!((bill.submits, bill.accepted), (1, 1));
}

/// The submit stores nothing of it; the fetch asks again.
#[tokio::test]
async fn a_quick_job_whose_download_fails_once_is_stored_by_the_fetch() {
    let space = Space::with(&[("SUBMIT_WAIT", "30s")]).await;
    let _all = space.start(&["all"]);
    let request = script(image("again"), &json!({"output": "expired"}));
    space.send(&request).await;

    let events = space.story(request.id.as_str()).await;

    assert_eq!(types(&events).last(), Some(&Completed));
    assert!(was_fetched(&space, &request).await);
    assert_eq!(space.bill(request.id.as_str()).await.accepted, 1);
}
