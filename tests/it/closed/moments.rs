//! A run that is terminated at each moment of its life. A moment lasts from one history event of the run to the next:
//! its start, an activity that is scheduled, an activity that ends.
//!
//! The worker's calls reach the server late, so each moment is long enough to be hit.

use std::collections::BTreeSet;
use std::time::Duration;

use futures::future::join_all;
use genflow::domain::{ErrorCode, EventType, ProviderName, Request};
use genflow::workflows::generation::Generation;
use serde_json::json;
use temporalio_client::{Client, WorkflowDescribeOptions, WorkflowFetchHistoryOptions};
use temporalio_common::protos::temporal::api::history::v1::{
    HistoryEvent, history_event::Attributes,
};

use super::{OFTEN, terminate};
use crate::support::gate::Gate;
use crate::support::ledger::types;
use crate::support::requests::{at, image, script};
use crate::support::{Space, eventually};

use crate::support::requests::{FAL, REPLICATE};

/// The delay of the worker's calls to the server.
const LATE: Duration = Duration::from_millis(250);
/// A moment that was missed this often does not exist.
const TRIES: usize = 5;

/// Returns the length of a run's history, `None` once it is closed.
async fn length(client: &Client, request: &Request) -> Option<usize> {
    let run = client.get_workflow_handle::<Generation>(request.id.to_string());
    eventually("the run exists", async || {
        let described = run
            .describe(WorkflowDescribeOptions::default())
            .await
            .ok()?;
        let open = described.close_time().is_none();
        Some(open.then(|| described.history_length()))
    })
    .await
}

async fn history(client: &Client, request: &Request) -> Vec<HistoryEvent> {
    let run = client.get_workflow_handle::<Generation>(request.id.to_string());
    let history = run.fetch_history(WorkflowFetchHistoryOptions::default());
    history.into_events().await.unwrap()
}

/// Returns the number of history events, without those of workflow tasks.
fn happened(events: &[HistoryEvent]) -> usize {
    let is_step = |event: &&HistoryEvent| {
        matches!(
            event.attributes,
            Some(
                Attributes::WorkflowTaskScheduledEventAttributes(_)
                    | Attributes::WorkflowTaskStartedEventAttributes(_)
                    | Attributes::WorkflowTaskCompletedEventAttributes(_)
                    | Attributes::WorkflowTaskFailedEventAttributes(_)
                    | Attributes::WorkflowTaskTimedOutEventAttributes(_)
            )
        )
    };
    events.len() - events.iter().filter(is_step).count()
}

/// A moment of a run: the number of events that have happened, and the history length with which the moment begins.
type Moment = (usize, usize);

/// Returns the moments of an undisturbed run: those up to the start of its fetch, and those after it.
async fn moments(space: &Space, client: &Client, request: &Request) -> [Vec<Moment>; 2] {
    space.send(request).await;
    let mut lengths = BTreeSet::new();
    while let Some(length) = length(client, request).await {
        lengths.insert(length);
    }
    let events = history(client, request).await;
    let mut moments: Vec<Moment> = lengths
        .into_iter()
        .map(|length| (happened(&events[..length]), length))
        .collect();
    moments.dedup_by_key(|(happened, _)| *happened);
    let is_fetch = |event: &HistoryEvent| match &event.attributes {
        Some(Attributes::ActivityTaskScheduledEventAttributes(scheduled)) => {
            scheduled.activity_type.as_ref().unwrap().name == "fetch.v1"
        }
        Some(_) | None => false,
    };
    let fetch = events.iter().position(is_fetch).unwrap() + 1;
    let (early, late) = moments
        .into_iter()
        .partition(|(_, length)| *length <= fetch);
    [early, late]
}

/// Terminates a run at a moment; returns whether the moment was hit.
async fn is_hit(space: &Space, client: &Client, request: &Request, moment: Moment) -> bool {
    let (at, begins) = moment;
    space.send(request).await;
    while let Some(length) = length(client, request).await {
        if length >= begins {
            break;
        }
    }
    terminate(client, request).await;
    space.closed(request.id.as_str()).await;
    let events = history(client, request).await;
    let is_terminated = |event: &HistoryEvent| {
        matches!(
            event.attributes,
            Some(Attributes::WorkflowExecutionTerminatedEventAttributes(_))
        )
    };
    let terminated = events.iter().position(is_terminated);
    terminated.is_some_and(|before| happened(&events[..before]) == at)
}

/// Asserts that the run has one outcome, and that no job still runs.
async fn check(space: &Space, request: &Request, is_stuck: bool) {
    let events = space.story(request.id.as_str()).await;
    let last = events.last().unwrap();
    match &last.error {
        Some(error) => assert_eq!(error.code, ErrorCode::Terminated),
        None => assert_eq!(types(&events).last(), Some(&EventType::Completed)),
    }
    eventually("the job has ended", async || {
        let bill = space.bill(request.id.as_str()).await;
        assert!(bill.accepted <= 1, "{bill:?}");
        let ended = |status: &String| match is_stuck {
            true => status == "canceled",
            false => status == "canceled" || status == "succeeded",
        };
        bill.statuses.iter().all(ended).then_some(())
    })
    .await;
}

/// Terminates runs at each of these moments, until each was hit; returns how many runs it took.
async fn terminated_at_each(
    space: &Space,
    client: &Client,
    moments: &[Moment],
    make: impl Fn() -> Request,
    is_stuck: bool,
) -> usize {
    let hitting = moments.iter().map(async |moment| {
        for runs in 1..=TRIES {
            let request = make();
            let hit = is_hit(space, client, &request, *moment).await;
            check(space, &request, is_stuck).await;
            if hit {
                return runs;
            }
        }
        panic!("no run was terminated at {moment:?} of {moments:?}");
    });
    join_all(hitting).await.into_iter().sum()
}

async fn at_each_moment(provider: ProviderName) {
    let space = Space::with(&[OFTEN]).await;
    let gate = Gate::slow_before(&space.engines.temporal, LATE).await;
    let _intake = space.start(&["intake"]);
    let address = gate.address.to_string();
    let _worker = space.start_with(&["worker"], &[("TEMPORAL_HOST", &address)]);
    let client = space.client().await;
    let [early, late] = moments(&space, &client, &at(provider, image("whole"))).await;
    // Early: started; submit scheduled, submit ended; fetch scheduled. Late: fetch ended; finish scheduled.
    assert!(early.len() >= 4 && late.len() >= 2, "{early:?} {late:?}");

    let stuck = || at(provider, script(image("early"), &json!({"stuck": true})));
    let quick = || at(provider, image("late"));
    let runs = terminated_at_each(&space, &client, &early, stuck, true).await
        + terminated_at_each(&space, &client, &late, quick, false).await;

    let mut results = space.read(&space.config.kafka.topics.results).await;
    let keys: BTreeSet<_> = results.all().await.into_iter().map(|it| it.key).collect();
    assert_eq!(keys.len(), runs + 1, "each run has a result");
}

#[tokio::test]
async fn a_run_that_is_terminated_at_any_moment_has_one_outcome_and_leaves_no_job() {
    at_each_moment(REPLICATE).await;
}

#[tokio::test]
async fn a_run_whose_job_cannot_be_looked_up_is_terminated_at_any_moment_and_leaves_none() {
    at_each_moment(FAL).await;
}
