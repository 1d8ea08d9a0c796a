//! A run falls back to its next model after an answer which proves that nothing was accepted, and after no other
//! (contract, 6.12). `money::declined` has the submits to a fallback that are cut.

mod defaults;
mod workers;

use std::time::Duration;

use genflow::domain::{ErrorCode, Event, EventType, ProviderName, Request};
use serde_json::{Value, json};

use crate::support::described::Described as _;
use crate::support::requests::{at, common, falling_back, image, script};
use crate::support::stories::stories;
use crate::support::{Space, eventually, nowhere};

use crate::support::requests::{FAL, OPENAI, REPLICATE};
use ErrorCode::{
    ContentPolicy, InvalidRequest, ProviderAuth, ProviderFailed, ProviderQuota, ProviderRefused,
    SubmitAmbiguous,
};

/// Returns how many submits and jobs the provider of each candidate has.
async fn bills<const N: usize>(space: &Space, request: &Request) -> [(u64, u64); N] {
    let mut bills = [(0, 0); N];
    for (candidate, bill) in bills.iter_mut().enumerate() {
        let key = match candidate {
            0 => request.id.to_string(),
            number => format!("{}/{number}", request.id),
        };
        let found = space.bill(&key).await;
        *bill = (found.submits, found.accepted);
    }
    bills
}

/// Returns the provider and code of each model that did not make the request.
fn tried(events: &[Event]) -> Vec<(&str, ErrorCode)> {
    let tried = events.last().unwrap().tried.iter();
    tried.map(|it| (it.provider.as_str(), it.code)).collect()
}

fn code(events: &[Event]) -> Option<ErrorCode> {
    let error = events.last().unwrap().error.as_ref();
    error.map(|error| error.code)
}

/// Returns a request for `first`, with faults of its submits, and with one fallback.
fn declined(first: ProviderName, faults: &Value, next: ProviderName) -> Request {
    let faults = json!({"candidates": 1, "submit": faults});
    let request = at(first, script(image("declined"), &faults));
    falling_back(request, &[next])
}

async fn send(space: &Space, requests: &[Request]) -> Vec<Vec<Event>> {
    for request in requests {
        space.send(request).await;
    }
    stories(space, &requests.iter().collect::<Vec<_>>()).await
}

#[tokio::test]
async fn the_next_model_makes_what_a_provider_declined_for_a_reason_of_its_own() {
    // The fallback's submit has a queue of its own.
    let settings = [("SUBMIT_MAX_ATTEMPTS", "2"), ("FAL_RATE_LIMIT", "100")];
    let space = Space::with(&settings).await;
    let _all = space.start(&["all"]);
    let cases = [
        (REPLICATE, json!([401]), ProviderAuth, 1),
        (OPENAI, json!([403]), ProviderAuth, 1),
        (FAL, json!([402]), ProviderQuota, 1),
        (REPLICATE, json!([429, 429]), ProviderQuota, 2),
        (FAL, json!([503, 500]), ProviderFailed, 2),
        (REPLICATE, json!([404]), ProviderRefused, 1),
        (OPENAI, json!([410]), ProviderRefused, 1),
    ];
    let requests = cases.each_ref().map(|(first, faults, ..)| {
        let next = if *first == FAL { REPLICATE } else { FAL };
        declined(*first, faults, next)
    });

    let stories = send(&space, &requests).await;

    for ((request, (first, faults, why, sends)), events) in requests.iter().zip(cases).zip(&stories)
    {
        let last = events.last().unwrap();
        assert_eq!(last.event_type, EventType::Completed, "{faults}: {last:#?}");
        let next = if first == FAL { REPLICATE } else { FAL };
        let result = last.result.as_ref().unwrap();
        assert_eq!(result.provider, next.as_str());
        assert_eq!(result.model.as_deref(), Some("simulated/image"));
        assert_eq!(tried(events), [(first.as_str(), why)], "{faults}");
        let paid = bills(&space, request).await;
        assert_eq!(paid, [(sends, 0), (1, 1)], "{faults}");
    }
    let shown = space.succeed(&["status", requests[0].id.as_str()]).await;
    assert!(
        shown.contains("made by          fal simulated/image"),
        "{shown}"
    );
    let why = "tried            replicate simulated/image: provider_auth: status 401";
    assert!(shown.contains(why), "{shown}");
}

#[tokio::test]
async fn no_other_model_is_tried_after_what_concerns_the_request_or_may_have_been_accepted() {
    let space = Space::new().await;
    let _all = space.start(&["all"]);
    let policy = json!([{"status": 403, "text": "flagged by content moderation"}]);
    let cases = [
        (REPLICATE, json!([400]), InvalidRequest, 0),
        (FAL, json!([422]), InvalidRequest, 0),
        (REPLICATE, policy, ContentPolicy, 0),
        (FAL, json!([409]), ProviderRefused, 0),
        (FAL, json!([502]), SubmitAmbiguous, 0),
        (OPENAI, json!([504]), SubmitAmbiguous, 0),
        (FAL, json!(["cut"]), SubmitAmbiguous, 0),
        (FAL, json!(["accept_cut"]), SubmitAmbiguous, 1),
    ];
    let mut requests: Vec<_> = cases
        .iter()
        .map(|(first, faults, ..)| declined(*first, faults, REPLICATE))
        .collect();
    let failing = script(image("failing"), &json!({"fail": "out of memory"}));
    requests.push(falling_back(at(FAL, failing), &[REPLICATE]));
    let cases = cases.into_iter();
    let cases = cases.map(|(_, faults, code, accepted)| (faults, code, accepted));
    let cases = cases.chain([(json!("fails"), ProviderFailed, 1)]);

    let stories = send(&space, &requests).await;

    for ((request, (faults, why, accepted)), events) in requests.iter().zip(cases).zip(&stories) {
        assert_eq!(code(events), Some(why), "{faults}");
        assert_eq!(tried(events), [], "{faults}");
        let paid = bills(&space, request).await;
        assert_eq!(paid, [(1, accepted), (0, 0)], "{faults}");
    }
}

#[tokio::test]
async fn the_next_model_makes_what_a_provider_without_a_key_or_a_server_cannot() {
    let space = Space::with(&[("SUBMIT_MAX_ATTEMPTS", "2")]).await;
    let _intake = space.start(&["intake"]);
    let away = format!("http://{}/fal", nowhere());
    let settings = [("FAL_API_BASE_URL", away.as_str()), ("OPENAI_API_KEY", "")];
    let _worker = space.start_with(&["worker"], &settings);
    let unkeyed = falling_back(at(OPENAI, image("unkeyed")), &[FAL, REPLICATE]);
    // Without a field that its schema is needed for, it is sent to a server that refuses the connection.
    let mut prompt = crate::support::requests::prompt_only(image("unreachable"));
    prompt = falling_back(at(FAL, prompt), &[OPENAI, REPLICATE]);
    let requests = [unkeyed, prompt];

    let stories = send(&space, &requests).await;

    let (openai, fal) = (("openai", ProviderAuth), ("fal", ProviderFailed));
    for ((request, events), order) in requests
        .iter()
        .zip(&stories)
        .zip([[openai, fal], [fal, openai]])
    {
        assert_eq!(code(events), None, "{:?}", events.last());
        assert_eq!(tried(events), order);
        assert_eq!(bills(&space, request).await, [(0, 0), (0, 0), (1, 1)]);
    }
}

#[tokio::test]
async fn a_run_that_every_model_declines_fails_with_the_last_answer_and_runs_again_on_retry() {
    let space = Space::new().await;
    let _all = space.start(&["all"]);
    let faults = json!({"runs": 1, "submit": [401]});
    let request = at(REPLICATE, script(image("declined"), &faults));
    let request = falling_back(request, &[FAL, OPENAI]);
    space.send(&request).await;
    let failed = space.story(request.id.as_str()).await;

    crate::retry::retry(&space, &request.id, "again").await;
    let temporal = space.temporal().await;
    eventually("the retry closes", async || {
        temporal.is_closed(&request.id.run(1)).await.then_some(())
    })
    .await;

    let names = ["replicate", "fal", "openai"];
    assert_eq!(code(&failed), Some(ProviderAuth));
    assert_eq!(tried(&failed), names.map(|name| (name, ProviderAuth)));
    assert_eq!(bills(&space, &request).await, [(1, 0); 3]);
    let retried = space.all_events(request.id.as_str()).await;
    let last = retried.last().unwrap();
    assert_eq!((last.retry, last.event_type), (1, EventType::Completed));
    assert!(last.tried.is_empty());
    let shown = space
        .succeed(&["status", &format!("{}~0", request.id)])
        .await;
    assert!(
        shown.contains("tried            openai gpt-image-2"),
        "{shown}"
    );
}

#[tokio::test]
async fn a_request_that_one_of_its_models_cannot_make_is_refused_with_all_problems_before_any_send()
{
    let space = Space::new().await;
    let _all = space.start(&["all"]);
    let styled = |name: &str| {
        let mut request = image(name);
        common(&mut request).style = Some("noir".to_owned());
        request
    };
    let flux = |request: &mut Request| {
        let entry = &mut common(request).fallback[1];
        entry.model = Some("black-forest-labs/flux-schnell".to_owned());
    };
    let mut second = falling_back(at(FAL, styled("second")), &[FAL, REPLICATE]);
    flux(&mut second);
    let mut both = second.clone();
    both.id = styled("both").id;
    common(&mut both).provider = Some(REPLICATE);
    common(&mut both).model = Some("black-forest-labs/flux-schnell".to_owned());
    let requests = [second, both];

    let stories = send(&space, &requests).await;

    // The model makes no image of 64 x 64 either.
    let of_fallback = ["fallback[1].width", "fallback[1].style"];
    let expected = [
        of_fallback.to_vec(),
        [&["width", "style"][..], &of_fallback].concat(),
    ];
    for ((request, events), fields) in requests.iter().zip(&stories).zip(expected) {
        let error = events.last().unwrap().error.as_ref().unwrap();
        assert_eq!(error.code, InvalidRequest);
        let found: Vec<_> = error.problems.iter().map(|it| it.field.as_str()).collect();
        assert_eq!(found, fields);
        assert_eq!(bills(&space, request).await, [(0, 0); 3]);
    }
}

/// The first model declines only after the run was cancelled, or after its deadline.
#[tokio::test]
async fn no_other_model_is_tried_after_a_cancel_or_the_deadline() {
    let space = Space::new().await;
    let _all = space.start(&["all"]);
    let slow = |name: &str| {
        let faults = json!({"candidates": 1, "submit": [401], "delay_submit_ms": 6000});
        falling_back(at(REPLICATE, script(image(name), &faults)), &[FAL])
    };
    let (cancelled, mut late) = (slow("cancelled"), slow("late"));
    late.timeout = Some(Duration::from_secs(3));
    space.send(&late).await;
    space.send(&cancelled).await;
    eventually("the submit is sent", async || {
        (space.bill(cancelled.id.as_str()).await.submits == 1).then_some(())
    })
    .await;
    space.cancel_and_wait(&cancelled.id).await;

    let stories = stories(&space, &[&cancelled, &late]).await;

    for (request, events) in [&cancelled, &late].into_iter().zip(&stories) {
        assert_eq!(code(events), Some(ProviderAuth), "{events:#?}");
        assert_eq!(tried(events), [("replicate", ProviderAuth)]);
        assert_eq!(bills(&space, request).await, [(1, 0), (0, 0)]);
    }
}

/// The answer to a submit that was sent again proves nothing about the first one.
#[tokio::test]
async fn no_other_model_is_tried_after_a_submit_that_was_sent_again() {
    let space = Space::with(&[("SUBMIT_AMBIGUOUS", "resubmit")]).await;
    let _all = space.start(&["all"]);
    let request = declined(FAL, &json!(["accept_cut", 401]), REPLICATE);

    let events = send(&space, std::slice::from_ref(&request)).await.remove(0);

    assert_eq!(code(&events), Some(ProviderAuth));
    assert_eq!(tried(&events), []);
    assert_eq!(bills(&space, &request).await, [(2, 1), (0, 0)]);
}
