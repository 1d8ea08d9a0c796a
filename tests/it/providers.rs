//! Each provider's protocol: its files, the choice of the provider, and the effects of a worker's death.

mod faults;
mod told;

use genflow::domain::{ErrorCode, EventType, ProviderName, Request};
use serde_json::json;
use url::Url;

use crate::support::Space;
use crate::support::ledger::types;
use crate::support::requests::{at, image, script, video};

use crate::support::requests::{FAL, OPENAI, REPLICATE};
use ErrorCode::{ProviderAuth, SubmitAmbiguous};

/// A provider, and a function that creates a request for it.
pub(crate) type Taker = (ProviderName, fn(&str) -> Request);

#[tokio::test]
async fn every_provider_makes_real_files_of_both_kinds() {
    let space = Space::new().await;
    let _all = space.start(&["all"]);
    let mut requests = Vec::new();
    for provider in ProviderName::NATIVE {
        requests.push((provider, "image/png", at(provider, image("made"))));
        requests.push((provider, "video/mp4", at(provider, video("made"))));
    }

    for (_, _, request) in &requests {
        space.send(request).await;
    }

    for (provider, kind, request) in &requests {
        let events = space.story(request.id.as_str()).await;
        let last = events.last().unwrap();
        assert_eq!(last.event_type, EventType::Completed, "{last:#?}");
        let result = last.result.as_ref().unwrap();
        assert_eq!(result.provider, provider.as_str());
        assert!(!result.provider_job_id.is_empty());
        let [output] = result.outputs.as_slice() else {
            panic!("{result:#?}");
        };
        assert_eq!(output.content_type, *kind);
        let path = Url::parse(&output.uri).unwrap().to_file_path().unwrap();
        let stored = std::fs::read(path).unwrap();
        assert_eq!(i64::try_from(stored.len()).unwrap(), output.bytes);
        assert_eq!(space.bill(request.id.as_str()).await.accepted, 1);
    }
    assert_eq!(space.temp_leftovers(), Vec::<String>::new());
}

/// Kills a worker at `point` of an image at OpenAI, and lets another continue; returns the error code and the bill.
async fn killed_at(point: &str) -> (Option<ErrorCode>, u64, u64) {
    let space = Space::new().await;
    let _intake = space.start(&["intake"]);
    let failpoint = format!("{point}=kill");
    let mut first = space.start_with(&["worker"], &[("GENFLOW_FAILPOINT", &failpoint)]);
    let request = at(OPENAI, image("killed"));
    space.send(&request).await;
    first.ended().await;

    let _second = space.start(&["worker"]);

    let events = space.story(request.id.as_str()).await;
    let bill = space.bill(request.id.as_str()).await;
    assert_eq!(space.temp_leftovers(), Vec::<String>::new());
    let error = events.last().unwrap().error.as_ref();
    (error.map(|error| error.code), bill.submits, bill.accepted)
}

#[tokio::test]
async fn stored_images_are_adopted_when_the_worker_dies_before_it_reports() {
    assert_eq!(killed_at("submit.stored").await, (None, 1, 1));
}

#[tokio::test]
async fn images_that_were_not_stored_when_the_worker_died_are_not_asked_for_again() {
    let end = killed_at("submit.sent").await;

    assert_eq!(end, (Some(SubmitAmbiguous), 1, 1));
}

#[tokio::test]
async fn a_cancel_ends_the_job_at_fal() {
    let space = Space::new().await;
    let _all = space.start(&["all"]);
    let request = at(FAL, script(video("midway"), &json!({"stuck": true})));
    space.send(&request).await;
    space.job_runs(request.id.as_str()).await;

    space.cancel(request.id.as_str()).await;

    let events = space.story(request.id.as_str()).await;
    assert_eq!(types(&events).last(), Some(&EventType::Cancelled));
    assert_eq!(space.bill(request.id.as_str()).await.statuses, ["canceled"]);
}

#[tokio::test]
async fn a_spec_names_another_provider_than_the_configured_one() {
    let simulator = Space::new().await.engines.simulator.clone();
    let space = Space::with(&[
        ("IMAGE_PROVIDER", "fal"),
        ("IMAGE_API_BASE_URL", &format!("{simulator}/fal")),
    ])
    .await;
    let _all = space.start(&["all"]);
    let (configured, named) = (image("default"), at(REPLICATE, image("named")));

    for request in [&configured, &named] {
        space.send(request).await;
    }

    for (request, provider) in [(&configured, "fal"), (&named, "replicate")] {
        let events = space.story(request.id.as_str()).await;
        let result = events.last().unwrap().result.as_ref().unwrap();
        assert_eq!(result.provider, provider);
    }
}

#[tokio::test]
async fn without_a_key_nothing_is_sent() {
    let space = Space::with(&[
        ("FAL_API_KEY", ""),
        ("OPENAI_API_KEY", ""),
        ("IMAGE_PROVIDER", "fal"),
        ("IMAGE_API_KEY", ""),
    ])
    .await;
    let _all = space.start(&["all"]);
    let requests = [
        (at(FAL, video("keyless")), "FAL_API_KEY"),
        (at(OPENAI, image("keyless")), "OPENAI_API_KEY"),
        (image("keyless"), "IMAGE_API_KEY"),
    ];

    for (request, _) in &requests {
        space.send(request).await;
    }

    for (request, variable) in &requests {
        let events = space.story(request.id.as_str()).await;
        let error = events.last().unwrap().error.as_ref().unwrap();
        assert_eq!(error.code, ProviderAuth);
        assert!(error.message.contains(variable), "{}", error.message);
        assert_eq!(space.bill(request.id.as_str()).await.submits, 0);
    }
}
