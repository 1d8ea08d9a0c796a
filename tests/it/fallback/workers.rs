//! Workers that die or stop around a fallback.

use genflow::domain::{Fallback, ProviderName};
use rustix::process::Signal;
use serde_json::json;

use super::{FAL, ProviderAuth, REPLICATE, SubmitAmbiguous, bills, code, declined, tried};
use crate::money::borrowed;
use crate::support::Space;
use crate::support::ledger::check;
use crate::support::presets::settings;
use crate::support::requests::{at, common, image};

#[tokio::test]
async fn a_worker_killed_between_a_refusal_and_the_next_send_is_followed_by_one_that_sends() {
    let space = Space::new().await;
    let _intake = space.start(&["intake"]);
    let failpoint = [("GENFLOW_FAILPOINT", "submit.fencing_fallback=kill")];
    let mut first = space.start_with(&["worker"], &failpoint);
    let request = declined(REPLICATE, &json!([401]), FAL);
    space.send(&request).await;
    first.ended().await;
    assert_eq!(bills(&space, &request).await, [(1, 0), (0, 0)]);

    let _second = space.start(&["worker"]);

    let events = space.story(request.id.as_str()).await;
    assert_eq!(code(&events), None);
    assert_eq!(tried(&events), [("replicate", ProviderAuth)]);
    assert_eq!(bills(&space, &request).await, [(1, 0), (1, 1)]);
}

#[tokio::test]
async fn a_worker_stopped_before_the_send_to_a_fallback_wakes_and_sends_nothing() {
    let space = Space::new().await;
    let _intake = space.start(&["intake"]);
    let failpoint = [("GENFLOW_FAILPOINT", "submit.fencing_fallback=stop")];
    let mut first = space.start_with(&["worker"], &failpoint);
    let request = declined(REPLICATE, &json!([401]), FAL);
    space.send(&request).await;
    first.stopped().await;
    let _second = space.start(&["worker"]);
    let events = space.story(request.id.as_str()).await;

    first.signal(Signal::CONT);
    assert!(first.terminate().await.success(), "{}", first.output());

    assert_eq!(code(&events), None);
    assert_eq!(bills(&space, &request).await, [(1, 0), (1, 1)]);
    check(&space.all_events(request.id.as_str()).await);
}

/// A fallback whose description this worker does not have is no fault of the request.
#[tokio::test]
async fn a_worker_that_does_not_know_the_fallbacks_api_makes_what_the_first_model_can() {
    let simulator = Space::new().await.engines.simulator.clone();
    let space = Space::with(&borrowed(&settings(&simulator))).await;
    let _intake = space.start(&["intake"]);
    let _worker = space.start_with(&["worker"], &[("PROVIDERS_FILE", "")]);
    let mut request = at(REPLICATE, image("first"));
    common(&mut request).fallback = vec![Fallback {
        provider: ProviderName::parse("provider", "bfl").unwrap(),
        model: None,
    }];
    space.send(&request).await;

    let events = space.story(request.id.as_str()).await;

    assert_eq!(code(&events), None, "{:?}", events.last());
    assert_eq!(tried(&events), []);
    assert_eq!(bills(&space, &request).await, [(1, 1), (0, 0)]);
}

/// Only the stopped worker knows the refusal, so the run is ambiguous; when the worker wakes, the run is over.
#[tokio::test]
async fn a_refusal_that_only_a_stopped_worker_knows_leads_to_no_other_send() {
    for (first, point) in [(FAL, "submit.sent"), (REPLICATE, "submit.sent")] {
        let space = Space::new().await;
        let _intake = space.start(&["intake"]);
        let failpoint = format!("{point}=stop");
        let mut stopped = space.start_with(&["worker"], &[("GENFLOW_FAILPOINT", &failpoint)]);
        let request = declined(first, &json!([401]), FAL);
        space.send(&request).await;
        stopped.stopped().await;
        let _second = space.start(&["worker"]);
        let events = space.story(request.id.as_str()).await;

        stopped.signal(Signal::CONT);
        assert!(stopped.terminate().await.success(), "{}", stopped.output());

        assert_eq!(code(&events), Some(SubmitAmbiguous));
        assert_eq!(tried(&events), []);
        assert_eq!(bills(&space, &request).await, [(1, 0), (0, 0)]);
    }
}
