//! Temporal is down while a submit is under way: the provider's answer is not lost.

use std::time::Duration;

use genflow::domain::{ErrorCode, ProviderName, Request};
use genflow::engines::clock::now;
use serde_json::json;
use temporalio_client::{Client, WorkflowDescribeOptions};
use temporalio_common::protos::temporal::api::enums::v1::PendingActivityState;
use temporalio_common::protos::temporal::api::workflow::v1::PendingActivityInfo;

use super::{COMPLETED, TAKERS, at, bill, borrowed, end, served_at, stories};
use crate::support::cutter::{Cut, Cutter};
use crate::support::engines::engines;
use crate::support::gate::Gate;
use crate::support::process::Process;
use crate::support::requests::{provider, script};
use crate::support::server::Server;
use crate::support::{Space, Watched, eventually};

use genflow::workflows::generation::Generation;

/// Longer than the lookups that an attempt makes in any case.
const SOME_LOOKS: Duration = Duration::from_secs(8);

/// Returns the pending submit of a run, as the server knows it.
pub(crate) async fn pending(client: &Client, request: &Request) -> Option<PendingActivityInfo> {
    let run = client.get_workflow_handle::<Generation>(request.id.to_string());
    let described = run
        .describe(WorkflowDescribeOptions::default())
        .await
        .ok()?;
    let mut pending = described.into_raw().pending_activities.into_iter();
    pending.find(|activity| activity.activity_type.as_ref().unwrap().name == "submit.v1")
}

/// Waits until the server has given up the first attempt of each submit.
async fn given_up(client: &Client, requests: &[Request]) {
    for request in requests {
        eventually("the second attempt is scheduled", async || {
            (pending(client, request).await?.attempt >= 2).then_some(())
        })
        .await;
    }
}

/// Waits until another attempt of each submit has looked for a job and found none.
async fn looked(client: &Client, requests: &[Request]) {
    for request in requests {
        eventually("another attempt looks the job up", async || {
            let submit = pending(client, request).await?;
            let started = submit.last_started_time.filter(|_| {
                // An attempt may be lost on its way to a worker whose connections were cut.
                submit.attempt >= 2 && submit.state() == PendingActivityState::Started
            })?;
            let since = Duration::from_millis((now() - started.seconds * 1000) as u64);
            (since >= SOME_LOOKS).then_some(())
        })
        .await;
    }
}

/// Waits until the answers of jobs that cannot be looked up are in the store.
async fn kept(space: &Space, requests: &[Request]) {
    for (request, name) in requests[1..]
        .iter()
        .zip(["job.json", "manifest.json", "job.json"])
    {
        let file = space.results().join(request.id.as_str()).join(name);
        eventually("the answer is stored", async || file.exists().then_some(())).await;
    }
}

/// Submits whose answers are held, one for each provider.
struct Held {
    space: Space,
    cutter: Cutter,
    worker: Watched,
    _intake: Process,
    client: Client,
    requests: Vec<Request>,
}

impl Held {
    /// Sends one submit to each provider, with a worker that uses `temporal`; the submit to Replicate is held at
    /// `replicate`.
    async fn new(space: Space, temporal: &str, replicate: Cut) -> Self {
        let plan = TAKERS.map(|(provider, make)| {
            let held = match provider {
                ProviderName::REPLICATE => replicate,
                _ => Cut::AfterBody,
            };
            (at(provider, make("away")), held)
        });
        Self::of(space, temporal, plan.into()).await
    }

    async fn of(space: Space, temporal: &str, plan: Vec<(Request, Cut)>) -> Self {
        let cutter = Cutter::before(&space.engines.simulator).await;
        let mut settings = served_at(&cutter.url);
        settings.push(("TEMPORAL_HOST", temporal.to_owned()));
        settings.push(("SUBMIT_TIMEOUT", "60s".to_owned()));
        let intake = space.start(&["intake"]);
        let worker = Watched::start(&space, "worker", &borrowed(&settings));
        for (request, held) in &plan {
            cutter.plan(request.id.as_str(), *held);
            space.send(request).await;
        }
        cutter.held(plan.len()).await;
        let requests = plan.into_iter().map(|(request, _)| request).collect();
        Self {
            client: space.client().await,
            space,
            cutter,
            worker,
            _intake: intake,
            requests,
        }
    }

    async fn end_well(&self) {
        let requests: Vec<&Request> = self.requests.iter().collect();
        let stories = stories(&self.space, &requests).await;
        for (request, events) in requests.iter().zip(&stories) {
            let provider = provider(request);
            let bill = bill(&self.space, request, end(events)).await;
            assert_eq!(bill, (COMPLETED, 1, 1), "{provider:?}");
            // The late attempt did not cancel the job, because the run uses it.
            let jobs = self.space.jobs(request.id.as_str()).await;
            assert_eq!(jobs[0]["cancel_requests"], 0, "{provider:?}");
        }
    }
}

async fn behind_a_gate(replicate: Cut) -> (Held, Gate) {
    let space = Space::new().await;
    let gate = Gate::before(&space.engines.temporal).await;
    let address = gate.address.to_string();
    (Held::new(space, &address, replicate).await, gate)
}

#[tokio::test]
async fn an_answer_that_came_while_temporal_was_away_is_adopted() {
    let (held, gate) = behind_a_gate(Cut::AfterBody).await;
    gate.shut();
    given_up(&held.client, &held.requests).await;

    held.cutter.answer();
    kept(&held.space, &held.requests).await;
    gate.open();

    held.end_well().await;
}

#[tokio::test]
async fn an_answer_that_came_right_before_temporal_was_away_is_adopted() {
    let (held, gate) = behind_a_gate(Cut::AfterBody).await;
    gate.shut();

    // The worker gets the answer at once, but its result does not reach the server.
    held.cutter.answer();
    given_up(&held.client, &held.requests).await;
    gate.open();

    held.end_well().await;
}

#[tokio::test]
async fn an_answer_that_comes_when_another_attempt_looks_for_it_is_adopted() {
    // Otherwise Replicate would have the job, and the lookup would find it in the list.
    let (held, gate) = behind_a_gate(Cut::Unread).await;
    gate.shut();
    given_up(&held.client, &held.requests).await;
    gate.open();
    looked(&held.client, &held.requests).await;

    held.cutter.answer();

    held.end_well().await;
}

#[tokio::test]
async fn an_answer_that_came_while_the_server_was_paused_is_adopted() {
    let server = Server::beside(tokio::task::spawn_blocking(engines).await.unwrap()).await;
    let space = Space::with(&[("TEMPORAL_HOST", &server.address)]).await;
    let held = Held::new(space, &server.address, Cut::AfterBody).await;
    server.pause();

    held.cutter.answer();
    kept(&held.space, &held.requests).await;
    held.worker
        .says("readyz", "\"role\":\"worker\",\"ready\":false")
        .await;
    server.resume();

    held.end_well().await;
}

/// A provider's refusal is known, although the attempt could not report it to the server.
#[tokio::test]
async fn a_refusal_that_came_while_temporal_was_away_is_not_ambiguous() {
    let space = Space::new().await;
    let gate = Gate::before(&space.engines.temporal).await;
    let mut plan = Vec::new();
    for (provider, make) in [TAKERS[0], TAKERS[1], TAKERS[3]] {
        for status in [503, 422] {
            let request = script(make("refused"), &json!({"submit": [status]}));
            plan.push((at(provider, request), Cut::AfterBody));
        }
    }
    let held = Held::of(space, &gate.address.to_string(), plan).await;
    gate.shut();
    given_up(&held.client, &held.requests).await;

    held.cutter.answer();
    for request in &held.requests {
        let record = held
            .space
            .results()
            .join(request.id.as_str())
            .join("job.json");
        eventually("the answer is stored", async || {
            record.exists().then_some(())
        })
        .await;
    }
    gate.open();

    let requests: Vec<&Request> = held.requests.iter().collect();
    let stories = stories(&held.space, &requests).await;
    for (pair, events) in requests.chunks(2).zip(stories.chunks(2)) {
        let busy = bill(&held.space, pair[0], end(&events[0])).await;
        assert_eq!(busy, (COMPLETED, 2, 1), "{:?}", provider(pair[0]));
        let invalid = bill(&held.space, pair[1], end(&events[1])).await;
        let code = Some(ErrorCode::InvalidRequest);
        assert_eq!(invalid, (code, 1, 0), "{:?}", provider(pair[1]));
    }
}
