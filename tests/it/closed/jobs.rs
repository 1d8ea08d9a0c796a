//! The job of a run that was closed from outside around its submit: it is cancelled, by whichever worker knows it last.

use genflow::contract::run::{Job, SentInput, Submitted};
use genflow::domain::{Media, ProviderName, Request};
use genflow::workflows::generation::Generation;
use rustix::process::Signal;
use serde_json::json;
use temporalio_client::tonic::IntoRequest as _;
use temporalio_client::{Client, WorkflowDescribeOptions};
use temporalio_common::protos::temporal::api::common::v1::{Payload, Payloads};
use temporalio_common::protos::temporal::api::workflowservice::v1::RespondActivityTaskCompletedByIdRequest;

use super::{OFTEN, terminate};
use crate::money::{borrowed, served_at};
use crate::support::cutter::{Cut, Cutter};
use crate::support::requests::{at, falling_back, image, script};
use crate::support::{Space, Watched, eventually};

use crate::support::requests::{FAL, REPLICATE};

fn stuck(provider: ProviderName) -> Request {
    at(provider, script(image("closed"), &json!({"stuck": true})))
}

async fn is_canceled(space: &Space, request: &Request) {
    is_canceled_by_key(space, request.id.as_str()).await;
}

async fn is_canceled_by_key(space: &Space, key: &str) {
    eventually("the job is canceled", async || {
        let bill = space.bill(key).await;
        (bill.statuses == ["canceled"]).then_some(())
    })
    .await;
}

/// Completes the submit of a run in place of its dead worker.
async fn complete_submit(client: &Client, request: &Request, result: &Submitted) {
    let run = client.get_workflow_handle::<Generation>(request.id.to_string());
    let described = run.describe(WorkflowDescribeOptions::default()).await;
    let described = described.unwrap();
    let metadata = [("encoding".to_owned(), b"json/plain".to_vec())].into();
    let payload = Payload {
        metadata,
        data: serde_json::to_vec(result).unwrap(),
        ..Payload::default()
    };
    let completed = RespondActivityTaskCompletedByIdRequest {
        namespace: "default".to_owned(),
        workflow_id: request.id.to_string(),
        run_id: described.run_id().to_owned(),
        activity_id: described.raw().pending_activities[0].activity_id.clone(),
        result: Some(Payloads {
            payloads: vec![payload],
        }),
        ..RespondActivityTaskCompletedByIdRequest::default()
    };
    let mut service = client.connection().workflow_service();
    let responding = service.respond_activity_task_completed_by_id(completed.into_request());
    responding.await.unwrap();
}

/// fal cannot look up a job by genflow's id: only the history knows it.
#[tokio::test]
async fn a_run_that_is_terminated_between_submit_and_fetch_leaves_no_job() {
    let space = Space::with(&[OFTEN]).await;
    let _intake = space.start(&["intake"]);
    let failpoint = [("GENFLOW_FAILPOINT", "submit.sent=kill")];
    let mut worker = space.start_with(&["worker"], &failpoint);
    let request = stuck(FAL);
    space.send(&request).await;
    worker.ended().await;
    let id = space.jobs(request.id.as_str()).await[0]["id"].clone();
    let id = id.as_str().unwrap();
    let requests = "fal/fal-ai/flux/requests";
    let at = |end: &str| format!("{}/{requests}/{id}{end}", space.engines.simulator);
    let client = space.client().await;
    let accepted = Submitted::Accepted {
        job: Job {
            provider: FAL,
            kind: Media::Image,
            id: id.to_owned(),
            status_url: at("/status"),
            result_url: at(""),
            cancel_url: at("/cancel"),
            called_back: false,
            cost_microusd: None,
        },
        attempts: 1,
        sent_at: None,
        input: SentInput::default(),
        reserved: false,
    };
    complete_submit(&client, &request, &accepted).await;
    terminate(&client, &request).await;

    let _next = space.start(&["worker"]);

    space.story(request.id.as_str()).await;
    is_canceled(&space, &request).await;
}

/// The worker that sent the job is dead, so the run's `end.v1` has to find it.
#[tokio::test]
async fn a_job_that_is_accepted_while_its_terminated_run_is_ended_is_found_and_canceled() {
    let space = Space::with(&[OFTEN]).await;
    let cutter = Cutter::before(&space.engines.simulator).await;
    let settings = served_at(&cutter.url);
    let _intake = space.start(&["intake"]);
    let mut first = space.start_with(&["worker"], &borrowed(&settings));
    let request = stuck(REPLICATE);
    cutter.plan(request.id.as_str(), Cut::Unread);
    space.send(&request).await;
    cutter.held(1).await;
    first.signal(Signal::KILL);
    first.ended().await;
    terminate(&space.client().await, &request).await;

    let second = Watched::start(&space, "worker", &[]);
    eventually("the end.v1 has looked the job up once", async || {
        let metrics = second.page("metrics").await;
        let mut calls = metrics
            .lines()
            .filter(|line| line.starts_with("genflow_provider_call_seconds_count"));
        calls
            .any(|line| line.contains("step=\"find\""))
            .then_some(())
    })
    .await;
    cutter.answer();

    is_canceled(&space, &request).await;
}

/// The run is over, and its `end.v1` did not find the job; the worker that sent the job lives and gets the answer.
#[tokio::test]
async fn a_job_that_is_accepted_when_its_run_is_over_is_canceled_by_the_attempt_that_has_it() {
    let space = Space::with(&[OFTEN, ("SUBMIT_TIMEOUT", "100s")]).await;
    let cutter = Cutter::before(&space.engines.simulator).await;
    let settings = served_at(&cutter.url);
    let _intake = space.start(&["intake"]);
    let _worker = space.start_with(&["worker"], &borrowed(&settings));
    let requests = [(FAL, Cut::AfterBody), (REPLICATE, Cut::Unread)]
        .map(|(provider, cut)| (stuck(provider), cut));
    for (request, cut) in &requests {
        cutter.plan(request.id.as_str(), *cut);
        space.send(request).await;
    }
    cutter.held(requests.len()).await;
    let client = space.client().await;
    for (request, _) in &requests {
        terminate(&client, request).await;
    }
    for (request, _) in &requests {
        space.story(request.id.as_str()).await;
    }

    cutter.answer();

    for (request, _) in &requests {
        is_canceled(&space, request).await;
        assert_eq!(space.bill(request.id.as_str()).await.accepted, 1);
    }
}

/// The first provider has no key, so the run falls back to the others.
#[tokio::test]
async fn a_run_that_is_terminated_while_its_fallback_runs_leaves_no_job() {
    for next in [FAL, REPLICATE] {
        let settings = [OFTEN, ("OPENAI_API_KEY", "")];
        let space = Space::with(&settings).await;
        let _all = space.start(&["all"]);
        let stuck = at(
            ProviderName::OPENAI,
            script(image("closed"), &json!({"stuck": true})),
        );
        let request = falling_back(stuck, &[next]);
        let key = format!("{}/1", request.id);
        space.send(&request).await;
        space.job_runs(&key).await;

        terminate(&space.client().await, &request).await;

        let events = space.story(request.id.as_str()).await;
        is_canceled_by_key(&space, &key).await;
        let tried = &events.last().unwrap().tried;
        let tried: Vec<_> = tried.iter().map(|it| it.provider.as_str()).collect();
        assert_eq!(tried, ["openai"]);
    }
}

/// The worker that sent the job is dead, so the run's `end.v1` looks it up by the fallback's own key or record.
#[tokio::test]
async fn a_run_that_is_terminated_while_its_fallback_is_submitted_leaves_no_job() {
    for (next, point) in [(REPLICATE, "submit.sent"), (FAL, "submit.kept")] {
        let space = Space::with(&[OFTEN]).await;
        let _intake = space.start(&["intake"]);
        let failpoint = format!("{point}=kill");
        let settings = [
            ("GENFLOW_FAILPOINT", failpoint.as_str()),
            ("OPENAI_API_KEY", ""),
        ];
        let mut worker = space.start_with(&["worker"], &settings);
        let stuck = at(
            ProviderName::OPENAI,
            script(image("closed"), &json!({"stuck": true})),
        );
        let request = falling_back(stuck, &[next]);
        space.send(&request).await;
        worker.ended().await;
        terminate(&space.client().await, &request).await;

        let _next = space.start(&["worker"]);

        is_canceled_by_key(&space, &format!("{}/1", request.id)).await;
    }
}
