//! Other data in providers' answers, and its effects: pauses, prices, unknown states, new URLs.

use std::time::Duration;

use genflow::domain::{CostSource, ErrorCode, Event, EventType, ProviderName, Request};
use serde_json::{Value, json};

use super::Taker;
use super::faults::by_address;
use crate::support::ledger::types;
use crate::support::requests::at;
use crate::support::requests::{image, script, video};
use crate::support::stories::stories;
use crate::support::{Space, Watched};

use crate::support::requests::{FAL, OPENAI, REPLICATE};

/// Providers whose jobs are polled.
const POLLED: [Taker; 3] = [(REPLICATE, image), (FAL, image), (OPENAI, video)];

fn asked(provider: ProviderName, make: fn(&str) -> Request, faults: &Value) -> Request {
    at(provider, script(make(provider.as_str()), faults))
}

/// Sends the requests and waits for their outcomes.
async fn send_and_wait(space: &Space, requests: &[Request]) -> Vec<Vec<Event>> {
    for request in requests {
        space.send(request).await;
    }
    stories(space, &requests.iter().collect::<Vec<_>>()).await
}

fn last(events: &[Event]) -> (EventType, Option<ErrorCode>) {
    let last = events.last().unwrap();
    let code = last.error.as_ref().map(|error| error.code);
    (last.event_type, code)
}

fn numbers(list: &Value) -> Vec<u64> {
    let list = list.as_array().unwrap();
    list.iter().map(|number| number.as_u64().unwrap()).collect()
}

/// The simulator asks for a pause of a second with 429 and 503; genflow's own pauses are far shorter here.
#[tokio::test]
async fn a_pause_that_a_provider_asks_for_is_kept() {
    let space = Space::with(&[("RETRY_BACKOFF", "50ms")]).await;
    let _all = space.start(&["all"]);
    let faults = json!({"submit": [429, 503], "poll": [429, 503]});
    let mut requests: Vec<_> = POLLED
        .map(|(provider, make)| asked(provider, make, &faults))
        .into();
    requests.push(asked(OPENAI, image, &faults));

    let stories = send_and_wait(&space, &requests).await;

    for (request, events) in requests.iter().zip(&stories) {
        assert_eq!(last(events), (EventType::Completed, None));
        let entry = space.ledger(request.id.as_str()).await;
        let pauses = numbers(&entry["pauses_ms"]);
        assert_eq!(pauses.len(), 2, "{entry}");
        assert!(pauses.iter().all(|pause| *pause >= 1000), "{entry}");
        let reads = numbers(&entry["jobs"][0]["read_pauses_ms"]);
        let asked = reads.iter().take(2);
        assert!(asked.into_iter().all(|pause| *pause >= 1000), "{entry}");
    }
}

#[tokio::test]
async fn an_unknown_state_does_not_end_the_job_and_is_counted() {
    let space = Space::new().await;
    let all = Watched::start(&space, "all", &[]);
    let faults = json!({"state": "dreaming", "seconds": 2.0});
    let requests = POLLED.map(|(provider, make)| asked(provider, make, &faults));

    let stories = send_and_wait(&space, &requests).await;

    for (request, events) in requests.iter().zip(&stories) {
        assert_eq!(last(events), (EventType::Completed, None));
        let dreams = |event: &Event| {
            let progress = event.progress.as_ref();
            progress.is_some_and(|progress| progress.stage == "dreaming")
        };
        assert!(events.iter().any(dreams), "{:?}", types(events));
        assert_eq!(space.bill(request.id.as_str()).await.accepted, 1);
    }
    for (provider, _) in POLLED {
        let counter = "genflow_provider_unknown_states_total";
        let line = format!("{counter}{{provider=\"{}\"}} 1", provider.as_str());
        all.says("metrics", &line).await;
    }
}

#[tokio::test]
async fn a_reported_price_is_in_the_event_and_is_counted() {
    let space = Space::new().await;
    let all = Watched::start(&space, "all", &[]);
    let priced = json!({"price": "0.25"});
    let mut requests: Vec<_> = POLLED
        .map(|(provider, make)| asked(provider, make, &priced))
        .into();
    requests.push(asked(OPENAI, image, &priced));
    // Paid for, although the output cannot be stored.
    let lost = json!({"price": "0.125", "output": "html"});
    requests.push(asked(FAL, image, &lost));
    requests.push(asked(REPLICATE, image, &json!({"price": "None"})));
    requests.push(asked(REPLICATE, image, &json!({})));

    let stories = send_and_wait(&space, &requests).await;

    let costs: Vec<_> = stories
        .iter()
        .map(|events| {
            let result = events.last().unwrap().result.as_ref();
            result.map(|result| (result.cost_usd, result.cost_source))
        })
        .collect();
    let known = Some((Some(0.25), Some(CostSource::Provider)));
    let unknown = Some((None, None));
    assert_eq!(costs, [known, known, known, known, None, unknown, unknown]);
    for (provider, model, sum) in [
        (REPLICATE, "simulated/image", "0.25"),
        // Neither genflow nor its settings know the model.
        (FAL, "other", "0.375"),
        (OPENAI, "sora-2*", "0.25"),
        (OPENAI, "gpt-image-2", "0.25"),
    ] {
        let provider = provider.as_str();
        let labels = format!("provider=\"{provider}\",model=\"{model}\",source=\"PROVIDER\"");
        let line = format!("genflow_provider_cost_usd_sum{{{labels}}} {sum}\n");
        all.says("metrics", &line).await;
    }
}

#[tokio::test]
async fn an_address_that_expired_is_asked_for_anew_where_the_provider_can_be_asked() {
    let space = Space::with(&[("STORE_MAX_ATTEMPTS", "4")]).await;
    let _all = space.start(&["all"]);
    let expired = json!({"output": "expired"});
    let mut requests: Vec<_> = POLLED
        .map(|(provider, make)| asked(provider, make, &expired))
        .into();
    requests.push(asked(OPENAI, by_address, &expired));

    let stories = send_and_wait(&space, &requests).await;

    let unavailable = (EventType::Failed, Some(ErrorCode::ResultUnavailable));
    for ((request, events), (end, issues)) in requests.iter().zip(&stories).zip([
        ((EventType::Completed, None), 2),
        ((EventType::Completed, None), 2),
        ((EventType::Completed, None), 2),
        (unavailable, 0),
    ]) {
        assert_eq!(last(events), end);
        let entry = space.ledger(request.id.as_str()).await;
        assert_eq!(entry["accepted"], 1);
        assert_eq!(entry["jobs"][0]["issues"], issues, "{entry}");
    }
}

#[tokio::test]
async fn a_job_that_never_ends_is_ended_at_the_deadline_where_the_provider_can() {
    let space = Space::new().await;
    let _all = space.start(&["all"]);
    let requests = POLLED.map(|(provider, make)| {
        let mut request = asked(provider, make, &json!({"stuck": true}));
        request.timeout = Some(Duration::from_secs(10));
        request
    });

    let stories = send_and_wait(&space, &requests).await;

    for ((request, events), status) in
        requests
            .iter()
            .zip(&stories)
            .zip(["canceled", "canceled", "processing"])
    {
        let over = (EventType::Failed, Some(ErrorCode::DeadlineExceeded));
        assert_eq!(last(events), over);
        assert_eq!(space.bill(request.id.as_str()).await.statuses, [status]);
    }
}
