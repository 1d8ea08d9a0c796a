//! A rolling restart that changes the provider: a submitted job stays with the provider that it was sent to.

use genflow::domain::{ErrorCode, Event, ProviderName, Request};
use rustix::process::Signal;
use serde_json::json;

use super::{COMPLETED, FAL, at, bill, borrowed, served_at, stories};
use crate::batch::{batch, ids};
use crate::support::cutter::{Cut, Cutter};
use crate::support::process::Process;
use crate::support::requests::{image, script};
use crate::support::{Space, eventually};

/// Returns settings with fal as provider of images, and this key for Replicate.
fn fal_serves(base: &str, replicate_key: &str) -> Vec<(&'static str, String)> {
    let mut settings = served_at(base);
    settings.retain(|(name, _)| *name != "IMAGE_API_BASE_URL");
    settings.extend([
        ("IMAGE_PROVIDER", "fal".to_owned()),
        ("IMAGE_API_BASE_URL", format!("{base}/fal")),
        ("REPLICATE_API_KEY", replicate_key.to_owned()),
    ]);
    settings
}

/// A submit to Replicate whose worker died after Replicate had received it.
struct Orphan {
    space: Space,
    request: Request,
    batch: Request,
    item: Request,
    _intake: Process,
}

impl Orphan {
    async fn new() -> Self {
        let space = Space::new().await;
        let cutter = Cutter::before(&space.engines.simulator).await;
        let settings = served_at(&cutter.url);
        let intake = space.start(&["intake"]);
        let mut worker = space.start_with(&["worker"], &borrowed(&settings));
        let request = image("switched");
        let batch = batch("switched", &[json!({})]);
        let mut item = image("item");
        item.id = ids(&batch).remove(0).try_into().unwrap();
        for sent in [&request, &item] {
            cutter.plan(sent.id.as_str(), Cut::AfterBody);
        }
        for sent in [&request, &batch] {
            space.send(sent).await;
        }
        cutter.held(2).await;
        worker.signal(Signal::KILL);
        worker.ended().await;
        Self {
            space,
            request,
            batch,
            item,
            _intake: intake,
        }
    }

    /// Starts a worker with fal as provider of images.
    fn goes_on(&self, replicate_key: &str) -> Process {
        let settings = fal_serves(&self.space.engines.simulator, replicate_key);
        self.space.start_with(&["worker"], &borrowed(&settings))
    }

    async fn ends_well(&self) {
        let requests = [&self.request, &self.item, &self.batch];
        let stories = stories(&self.space, &requests).await;
        for (request, events) in requests.into_iter().zip(&stories).take(2) {
            let bill = bill(&self.space, request, ending(events)).await;
            assert_eq!(bill, (COMPLETED, 1, 1), "{}", request.id);
            assert_eq!(provider(events), "replicate");
        }
    }
}

/// Returns the error with which a run ended. What was sent is not known to a worker whose default model is another one.
fn ending(events: &[Event]) -> Option<ErrorCode> {
    let error = events.last().unwrap().error.as_ref();
    error.map(|error| error.code)
}

fn provider(events: &[Event]) -> &str {
    let result = events.last().unwrap().result.as_ref();
    &result.unwrap().provider
}

#[tokio::test]
async fn a_job_is_looked_up_at_the_provider_that_was_asked_whatever_serves_now() {
    let orphan = Orphan::new().await;

    let _worker = orphan.goes_on(orphan.space.name());

    orphan.ends_well().await;
}

#[tokio::test]
async fn without_the_key_of_the_provider_that_was_asked_no_other_is_asked_and_nothing_is_lost() {
    let orphan = Orphan::new().await;

    let mut keyless = orphan.goes_on("");
    let reported = "there is no key for replicate: REPLICATE_API_KEY is not set";
    eventually("it is said what is missing", async || {
        keyless.output().contains(reported).then_some(())
    })
    .await;
    assert!(keyless.terminate().await.success());
    for request in [&orphan.request, &orphan.item] {
        assert_eq!(orphan.space.bill(request.id.as_str()).await.submits, 1);
    }
    let _worker = orphan.goes_on(orphan.space.name());

    orphan.ends_well().await;
}

#[tokio::test]
async fn a_job_is_polled_by_a_worker_that_has_its_key() {
    let space = Space::new().await;
    let _intake = space.start(&["intake"]);
    let mut first = space.start(&["worker"]);
    let request = at(FAL, script(image("polled"), &json!({"seconds": 4.0})));
    space.send(&request).await;
    // By then the answer to its submit is recorded.
    eventually("the job is polled", async || {
        let jobs = space.jobs(request.id.as_str()).await;
        (jobs.first()?["reads"].as_u64()? > 0).then_some(())
    })
    .await;
    first.signal(Signal::KILL);
    first.ended().await;

    // With one attempt, a single failed poll would end the run.
    let settings = [("FAL_API_KEY", ""), ("FETCH_MAX_ATTEMPTS", "1")];
    let mut keyless = space.start_with(&["worker"], &settings);
    let reported = "there is no key for fal: FAL_API_KEY is not set";
    eventually("it is said what is missing", async || {
        keyless.output().contains(reported).then_some(())
    })
    .await;
    assert!(keyless.terminate().await.success());
    let _worker = space.start(&["worker"]);

    let events = space.story(request.id.as_str()).await;
    let bill = bill(&space, &request, ending(&events)).await;
    assert_eq!(bill, (COMPLETED, 1, 1));
    assert_eq!(provider(&events), ProviderName::FAL.as_str());
}
