//! The APIs that are spoken by description, each against a simulator of its protocol.

use genflow::domain::{ErrorCode, Event, EventType, ProviderName, Request};
use serde_json::json;

use crate::money::borrowed;
use crate::support::ledger::types;
use crate::support::presets::{of, settings};
use crate::support::requests::{at, common, image, script, video};
use crate::support::stories::stories;
use crate::support::{Space, Watched, eventually};

/// Creates a space whose intake and workers know the presets.
async fn space() -> Space {
    let simulator = Space::new().await.engines.simulator.clone();
    Space::with(&borrowed(&settings(&simulator))).await
}

#[tokio::test]
async fn every_preset_makes_real_files_of_what_was_asked_and_tells_its_price() {
    let space = space().await;
    let _all = space.start(&["all"]);
    // Size and price, where they are known.
    let cases = [
        (of("bfl", image("made")), Some((64, 64)), Some(0.04)),
        (of("comfyui", image("made")), Some((64, 64)), None),
        (of("google", video("made")), None, None),
        (of("luma", image("made")), None, None),
        (of("luma", video("made")), None, None),
        (of("runway", image("made")), Some((720, 720)), Some(0.25)),
        (of("runway", video("made")), None, Some(0.25)),
    ];
    for (request, _, _) in &cases {
        space.send(request).await;
    }

    for (request, size, price) in &cases {
        let events = space.story(request.id.as_str()).await;
        let last = events.last().unwrap();
        assert_eq!(last.event_type, EventType::Completed, "{last:#?}");
        let result = last.result.as_ref().unwrap();
        let [output] = result.outputs.as_slice() else {
            panic!("{result:#?}");
        };
        if let Some((width, height)) = size {
            assert_eq!((output.width, output.height), (Some(*width), Some(*height)));
        }
        assert_eq!(result.cost_usd, *price, "{}", result.provider);
        assert!(result.sent.is_some());
        assert_eq!(space.bill(request.id.as_str()).await.accepted, 1);
    }
    assert_eq!(space.temp_leftovers(), Vec::<String>::new());
}

#[tokio::test]
async fn a_cancel_ends_the_job_where_the_api_can_and_the_run_everywhere() {
    let space = space().await;
    let _all = space.start(&["all"]);
    let stuck = |request| script(request, &json!({"stuck": true}));
    let cases = [
        (of("comfyui", stuck(image("midway"))), "canceled"),
        (of("luma", stuck(video("midway"))), "canceled"),
        (of("runway", stuck(video("midway"))), "canceled"),
        (of("bfl", stuck(image("midway"))), "processing"),
        (of("google", stuck(video("midway"))), "processing"),
    ];
    for (request, _) in &cases {
        space.send(request).await;
        space.job_runs(request.id.as_str()).await;
    }

    for (request, status) in &cases {
        space.cancel(request.id.as_str()).await;
        let events = space.story(request.id.as_str()).await;
        assert_eq!(types(&events).last(), Some(&EventType::Cancelled));
        let bill = space.bill(request.id.as_str()).await;
        assert_eq!(bill.statuses, [*status], "{:?}", request.spec);
    }
}

fn end(events: &[Event]) -> Option<(ErrorCode, String)> {
    let error = events.last().unwrap().error.as_ref()?;
    Some((error.code, error.message.clone()))
}

#[tokio::test]
async fn each_failure_has_its_code_and_the_words_of_the_api() {
    let space = space().await;
    let _all = space.start(&["all"]);
    let failing = |request, text: &str| script(request, &json!({"fail": text}));
    let refused = |request, status: u16| script(request, &json!({"submit": [status]}));
    let busy = |request| script(request, &json!({"submit": [429, 503]}));
    let cases = [
        (
            of("bfl", failing(image("f"), "Request Moderated")),
            Some((ErrorCode::ContentPolicy, "Derivative")),
        ),
        (
            of("bfl", failing(image("f"), "out of luck")),
            Some((ErrorCode::ProviderFailed, "out of luck")),
        ),
        (
            of("google", failing(video("f"), "filtered: a child")),
            Some((ErrorCode::ContentPolicy, "a child")),
        ),
        (
            of("google", failing(video("f"), "out of luck")),
            Some((ErrorCode::ProviderFailed, "out of luck")),
        ),
        (
            of("runway", failing(image("f"), "SAFETY: no")),
            Some((ErrorCode::ContentPolicy, "SAFETY.INPUT.TEXT")),
        ),
        (
            of("luma", failing(video("f"), "out of luck")),
            Some((ErrorCode::ProviderFailed, "out of luck")),
        ),
        (
            of("comfyui", failing(image("f"), "out of memory")),
            Some((ErrorCode::ProviderFailed, "out of memory")),
        ),
        (
            of("bfl", refused(image("f"), 400)),
            Some((ErrorCode::InvalidRequest, "refuses this call")),
        ),
        (
            of("google", refused(video("f"), 403)),
            Some((ErrorCode::ProviderAuth, "")),
        ),
        (
            of("runway", refused(image("f"), 402)),
            Some((ErrorCode::ProviderQuota, "")),
        ),
        (of("luma", busy(video("f"))), None),
        (
            of(
                "comfyui",
                script(image("f"), &json!({"poll": [500, "garbage", "cut"]})),
            ),
            None,
        ),
        (
            of("runway", script(image("f"), &json!({"output": "expired"}))),
            None,
        ),
        (
            of(
                "google",
                script(video("f"), &json!({"submit": ["accept_garbage"]})),
            ),
            Some((ErrorCode::SubmitAmbiguous, "")),
        ),
    ];
    for (request, _) in &cases {
        space.send(request).await;
    }

    let requests: Vec<&Request> = cases.iter().map(|(request, _)| request).collect();
    for ((request, expected), events) in cases.iter().zip(stories(&space, &requests).await) {
        let shown = format!("{:?}", request.spec);
        match (end(&events), expected) {
            (None, None) => {}
            (Some((code, message)), Some((expected, words))) => {
                assert_eq!(code, *expected, "{message} {shown}");
                assert!(message.contains(words), "{message}");
            }
            (found, _) => panic!("{found:?}, not {expected:?}: {shown}"),
        }
    }
}

#[tokio::test]
async fn a_provider_that_is_not_configured_is_refused_at_intake() {
    let space = Space::new().await;
    let _intake = space.start(&["intake"]);
    let mut events = space.events().await;

    space.send(&of("bfl", image("unknown"))).await;

    let (event, _) = events.event().await;
    assert_eq!(event.event_type, EventType::Rejected);
    let error = event.error.unwrap();
    assert_eq!(error.code, ErrorCode::Invalid);
    assert!(
        error
            .message
            .contains("spec.provider is \"bfl\", which is not configured")
    );
}

#[tokio::test]
async fn a_model_that_is_not_described_is_refused_before_anything_is_sent() {
    let space = space().await;
    let _all = space.start(&["all"]);
    let mut request = of("bfl", image("misnamed"));
    common(&mut request).model = Some("flux-2-prp".to_owned());
    space.send(&request).await;

    let (code, message) = end(&space.story(request.id.as_str()).await).unwrap();

    assert_eq!(code, ErrorCode::InvalidRequest);
    assert!(message.contains("flux-2-pro"), "{message}");
    assert_eq!(space.bill(request.id.as_str()).await.submits, 0);
}

/// Settings change while workers run: one that does not know a run's provider does not end the run.
#[tokio::test]
async fn a_worker_that_does_not_know_the_provider_leaves_the_run_to_others() {
    let space = space().await;
    let _intake = space.start(&["intake"]);
    let other = Watched::start(&space, "worker", &[("PROVIDERS_FILE", "")]);
    let unsent = of("luma", video("unsent"));
    space.send(&unsent).await;
    eventually("the worker says so", async || {
        let said = other.process.output();
        said.contains("the job was not sent").then_some(())
    })
    .await;
    assert_eq!(space.bill(unsent.id.as_str()).await.submits, 0);
    let knowing = space.start(&["worker"]);

    let unpolled = of("luma", script(video("unpolled"), &json!({"seconds": 3.0})));
    space.send(&unpolled).await;

    for request in [&unsent, &unpolled] {
        let events = space.story(request.id.as_str()).await;
        assert_eq!(
            types(&events).last(),
            Some(&EventType::Completed),
            "{events:#?}"
        );
        assert_eq!(space.bill(request.id.as_str()).await.submits, 1);
    }
    drop(knowing);
}

#[tokio::test]
async fn a_job_whose_run_ends_on_a_worker_without_its_description_is_cancelled_by_another() {
    let space = space().await;
    let _intake = space.start(&["intake"]);
    let mut knowing = space.start(&["worker"]);
    let request = of("luma", script(video("left"), &json!({"stuck": true})));
    space.send(&request).await;
    space.job_runs(request.id.as_str()).await;
    assert!(knowing.terminate().await.success(), "{}", knowing.output());
    let mut other = Watched::start(&space, "worker", &[("PROVIDERS_FILE", "")]);
    space.cancel(request.id.as_str()).await;
    eventually("the worker cannot cancel the job", async || {
        let said = other.process.output();
        said.contains("cannot cancel the provider's job")
            .then_some(())
    })
    .await;
    // Otherwise chance decides which of the two gets the next attempt.
    assert!(other.process.terminate().await.success());

    let _knowing = space.start(&["worker"]);

    let events = space.story(request.id.as_str()).await;
    assert_eq!(types(&events).last(), Some(&EventType::Cancelled));
    let bill = space.bill(request.id.as_str()).await;
    assert_eq!(bill.statuses, ["canceled"]);
}

#[tokio::test]
async fn a_poster_frame_is_stored_after_its_video() {
    let space = space().await;
    let _all = space.start(&["all"]);
    let with_poster = |request| script(request, &json!({"poster": true}));
    let requests = [
        at(ProviderName::REPLICATE, with_poster(video("poster"))),
        at(ProviderName::FAL, with_poster(video("poster"))),
        with_poster(of("luma", video("poster"))),
    ];
    for request in &requests {
        space.send(request).await;
    }

    for request in &requests {
        let events = space.story(request.id.as_str()).await;
        let last = events.last().unwrap();
        let result = last.result.as_ref().unwrap_or_else(|| panic!("{last:#?}"));
        let types: Vec<_> = result
            .outputs
            .iter()
            .map(|it| it.content_type.as_str())
            .collect();
        assert_eq!(types, ["video/mp4", "image/png"], "{}", result.provider);
    }
}
