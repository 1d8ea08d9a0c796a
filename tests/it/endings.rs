//! How a run may end: faults of the provider, cancels, the deadline. Each run has one outcome and leaves nothing
//! behind.

mod deadlines;

use std::time::Duration;

use genflow::domain::{ErrorCode, EventType, ProviderName, Single, Spec};
use genflow::workflows::generation::Generation;
use serde_json::json;
use temporalio_client::{Client, WorkflowDescribeOptions};

use crate::support::described::Described as _;
use crate::support::ledger::{code, types};
use crate::support::requests::{at, image, script, video};
use crate::support::{Space, Watched, eventually};

use crate::support::requests::{FAL, OPENAI, REPLICATE};
use EventType::{Cancelled, Completed, Failed, Progress, Started};

#[tokio::test]
async fn a_provider_that_answers_500_twice_is_asked_again_and_paid_once() {
    let space = Space::new().await;
    let _all = space.start(&["all"]);
    let request = script(image("twice"), &json!({"submit": [500, 500]}));

    space.send(&request).await;

    let events = space.story(request.id.as_str()).await;
    assert_eq!(types(&events).last(), Some(&Completed));
    let bill = space.bill(request.id.as_str()).await;
    assert_eq!((bill.submits, bill.accepted), (3, 1));
}

#[tokio::test]
async fn what_can_never_succeed_fails_at_once_with_its_code() {
    let space = Space::with(&[("STORE_MAX_ATTEMPTS", "2"), ("SUBMIT_MAX_ATTEMPTS", "2")]).await;
    let _all = space.start(&["all"]);
    let cases = [
        (json!({"submit": [422]}), ErrorCode::InvalidRequest, 1),
        (json!({"submit": [401]}), ErrorCode::ProviderAuth, 1),
        (json!({"submit": [402]}), ErrorCode::ProviderQuota, 1),
        (json!({"submit": [404]}), ErrorCode::ProviderRefused, 1),
        (
            json!({"submit": [503, 503, 503]}),
            ErrorCode::ProviderFailed,
            2,
        ),
        (
            json!({"fail": "out of memory"}),
            ErrorCode::ProviderFailed,
            1,
        ),
        (
            json!({"fail": "NSFW content detected"}),
            ErrorCode::ContentPolicy,
            1,
        ),
        (json!({"output": "html"}), ErrorCode::ResultInvalid, 1),
        (
            json!({"output": "missing"}),
            ErrorCode::ResultUnavailable,
            1,
        ),
        (
            json!({"output": "truncated"}),
            ErrorCode::ResultUnavailable,
            1,
        ),
    ];
    let requests: Vec<_> = cases
        .iter()
        .map(|(faults, ..)| script(image("fails"), faults))
        .collect();

    for request in &requests {
        space.send(request).await;
    }

    for (request, (faults, wanted, submits)) in requests.iter().zip(&cases) {
        let events = space.story(request.id.as_str()).await;
        assert_eq!(types(&events).last(), Some(&Failed), "{faults}");
        assert_eq!(code(&events), *wanted, "{faults}");
        assert_eq!(
            space.bill(request.id.as_str()).await.submits,
            *submits,
            "{faults}"
        );
    }
    assert_eq!(space.temp_leftovers(), Vec::<String>::new());
}

#[tokio::test]
async fn a_submit_whose_answer_was_lost_is_found_by_our_id_and_not_sent_again() {
    let space = Space::new().await;
    let _all = space.start(&["all"]);
    let requests: Vec<_> = ["accept_cut", "accept_garbage"]
        .map(|fault| script(image("lost"), &json!({"submit": [fault]})))
        .into();

    for request in &requests {
        space.send(request).await;
    }

    for request in &requests {
        let events = space.story(request.id.as_str()).await;
        assert_eq!(types(&events).last(), Some(&Completed));
        let bill = space.bill(request.id.as_str()).await;
        assert_eq!((bill.submits, bill.accepted), (1, 1));
    }
}

#[tokio::test]
async fn a_submit_that_may_have_arrived_and_is_not_found_fails_rather_than_pays_twice() {
    let space = Space::new().await;
    let _all = space.start(&["all"]);
    let request = script(image("cut"), &json!({"submit": ["cut"]}));

    space.send(&request).await;

    let events = space.story(request.id.as_str()).await;
    assert_eq!(code(&events), ErrorCode::SubmitAmbiguous);
    let bill = space.bill(request.id.as_str()).await;
    assert_eq!((bill.submits, bill.accepted), (1, 0));
}

#[tokio::test]
async fn a_cancel_before_any_worker_takes_the_run_submits_nothing() {
    let space = Space::new().await;
    let _intake = space.start(&["intake"]);
    let request = image("queued");
    space.send(&request).await;
    let temporal = space.temporal().await;
    let workflow = request.id.run(0);
    eventually("the run starts", async || {
        temporal.status(&workflow).await.unwrap()
    })
    .await;

    space.cancel_and_wait(&request.id).await;
    let _worker = space.start(&["worker"]);

    let events = space.story(request.id.as_str()).await;
    assert_eq!(types(&events), [Started, Cancelled]);
    assert_eq!(space.bill(request.id.as_str()).await.submits, 0);
}

#[tokio::test]
async fn a_cancel_midway_ends_the_providers_job_too() {
    let space = Space::new().await;
    let _all = space.start(&["all"]);
    let request = script(image("midway"), &json!({"stuck": true}));
    space.send(&request).await;
    space.job_runs(request.id.as_str()).await;

    space.cancel(request.id.as_str()).await;

    let events = space.story(request.id.as_str()).await;
    assert_eq!(types(&events).last(), Some(&Cancelled));
    assert_eq!(space.bill(request.id.as_str()).await.statuses, ["canceled"]);
    assert_eq!(space.temp_leftovers(), Vec::<String>::new());
}

#[tokio::test]
async fn a_cancel_that_fails_twice_at_the_provider_is_made_a_third_time() {
    let space = Space::new().await;
    let _all = space.start(&["all"]);
    let request = script(
        image("refuses"),
        &json!({"stuck": true, "cancel": [503, 503]}),
    );
    space.send(&request).await;
    space.job_runs(request.id.as_str()).await;

    space.cancel(request.id.as_str()).await;

    let events = space.story(request.id.as_str()).await;
    assert_eq!(types(&events).last(), Some(&Cancelled));
    assert_eq!(space.bill(request.id.as_str()).await.statuses, ["canceled"]);
}

#[tokio::test]
async fn a_run_publishes_no_more_progress_events_than_its_maximum() {
    let settings = [("PROGRESS_MAX", "2"), ("PROGRESS_INTERVAL", "1ms")];
    let space = Space::with(&settings).await;
    let _all = space.start(&["all"]);
    let request = script(image("chatty"), &json!({"seconds": 3.0}));
    space.send(&request).await;

    let events = space.story(request.id.as_str()).await;

    assert_eq!(types(&events), [Started, Progress, Progress, Completed]);
}

#[tokio::test]
async fn a_cancel_while_images_are_made_that_come_with_the_answer_changes_nothing() {
    let space = Space::new().await;
    let _all = space.start(&["all"]);
    let mut request = script(image("answered"), &json!({"seconds": 3.0}));
    if let Spec::Single(Single::Image(image)) = &mut request.spec {
        image.common.provider = Some(ProviderName::OPENAI);
    }
    space.send(&request).await;
    eventually("the images are being generated", async || {
        (space.bill(request.id.as_str()).await.submits == 1).then_some(())
    })
    .await;

    space.cancel(request.id.as_str()).await;

    let events = space.story(request.id.as_str()).await;
    assert_eq!(types(&events), [Started, Completed]);
    let (temporal, workflow) = (space.temporal().await, request.id.run(0));
    assert!(temporal.is_cancel_asked(&workflow).await);
}

#[tokio::test]
async fn a_cancel_while_the_run_finishes_changes_nothing() {
    let space = Space::new().await;
    let _intake = space.start(&["intake"]);
    let worker = space.start_with(&["worker"], &[("GENFLOW_FAILPOINT", "finish.began=stop")]);
    let request = image("finishing");
    space.send(&request).await;
    worker.stopped().await;

    space.cancel_and_wait(&request.id).await;
    worker.signal(rustix::process::Signal::CONT);

    let events = space.story(request.id.as_str()).await;
    assert_eq!(types(&events).last(), Some(&Completed));
    assert_eq!(
        space.bill(request.id.as_str()).await.statuses,
        ["succeeded"]
    );
}

#[tokio::test]
async fn a_request_that_was_cancelled_before_it_came_is_refused() {
    let space = Space::new().await;
    let _all = space.start(&["all"]);
    let request = image("claimed");
    space.cancel(request.id.as_str()).await;
    let (temporal, workflow) = (space.temporal().await, request.id.run(0));
    eventually("the id is claimed", async || {
        temporal.status(&workflow).await.unwrap()
    })
    .await;

    space.send(&request).await;

    let (event, _) = space.events().await.event().await;
    assert_eq!(event.event_type, EventType::Rejected);
    assert_eq!(event.error.unwrap().code, ErrorCode::CancelledBeforeStart);
    assert_eq!(space.bill(request.id.as_str()).await.submits, 0);
}

/// The next heartbeat is forty minutes away when the cancel comes.
#[tokio::test]
async fn a_cancel_is_noticed_between_two_heartbeats() {
    let space = Space::with(&[("FETCH_HEARTBEAT_TIMEOUT", "1h")]).await;
    let _all = space.start(&["all"]);
    for provider in [REPLICATE, FAL, OPENAI] {
        let mut request = script(at(provider, video("stuck")), &json!({"stuck": true}));
        request.timeout = Some(Duration::from_secs(86_400));
        space.send(&request).await;
        space.job_runs(request.id.as_str()).await;
        fetch_runs(&space.client().await, request.id.as_str()).await;

        space.cancel(request.id.as_str()).await;

        let events = space.story(request.id.as_str()).await;
        assert_eq!(types(&events).last(), Some(&Cancelled), "{provider:?}");
    }
}

/// Waits until the `fetch` of a run has sent its first heartbeat.
pub(super) async fn fetch_runs(client: &Client, run: &str) {
    eventually("the fetch has sent a heartbeat", async || {
        let handle = client.get_workflow_handle::<Generation>(run.to_owned());
        let described = handle
            .describe(WorkflowDescribeOptions::default())
            .await
            .ok()?;
        let mut pending = described.raw().pending_activities.iter();
        pending
            .any(|activity| {
                let name = activity.activity_type.as_ref().unwrap().name.as_str();
                name == "fetch.v1" && activity.last_heartbeat_time.is_some()
            })
            .then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_job_that_the_provider_does_not_cancel_counts_as_money_at_risk() {
    let space = Space::new().await;
    let all = Watched::start(&space, "all", &[]);
    let faults = json!({"stuck": true, "cancel": [503, 503, 503]});
    let request = script(image("kept"), &faults);
    space.send(&request).await;
    space.job_runs(request.id.as_str()).await;

    space.cancel(request.id.as_str()).await;

    space.story(request.id.as_str()).await;
    let counted = "genflow_money_at_risk_total{provider=\"replicate\",cause=\"not_cancelled\"} 1";
    all.says("metrics", counted).await;
}
