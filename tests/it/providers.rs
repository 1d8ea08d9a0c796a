//! Each provider's protocol, well and with faults: one outcome each, never two jobs for one request.

use genflow::domain::{ErrorCode, EventType, ProviderName, Request, Spec};
use serde_json::{Value, json};
use url::Url;

use crate::support::ledger::types;
use crate::support::space::{image, script, video};
use crate::support::{Space, eventually};

use ErrorCode::{
    ContentPolicy, InvalidRequest, ProviderAuth, ProviderFailed, ProviderQuota, ProviderRefused,
    ResultInvalid, ResultUnavailable, SubmitAmbiguous,
};
use ProviderName::{Fal, Replicate};

/// How a request is expected to end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    Completed,
    Failed(ErrorCode),
}

/// A fault, for whom it is played, how the request ends, how many jobs the provider then has.
struct Case {
    provider: ProviderName,
    make: fn(&str) -> Request,
    faults: Value,
    end: End,
    accepted: u64,
}

fn at(provider: ProviderName, mut request: Request) -> Request {
    match &mut request.spec {
        Spec::Image(image) => image.provider = Some(provider),
        Spec::Video(video) => video.provider = Some(provider),
        Spec::Batch(_) => panic!("a batch has no provider"),
    }
    request
}

fn case(provider: ProviderName, make: fn(&str) -> Request, faults: Value, end: End) -> Case {
    let accepted = match end {
        End::Completed => 1,
        End::Failed(ErrorCode::ProviderFailed | ResultInvalid | ResultUnavailable) => 1,
        End::Failed(_) => 0,
    };
    Case {
        provider,
        make,
        faults,
        end,
        accepted,
    }
}

/// The faults that mean the same with every provider whose jobs are polled.
fn polled(provider: ProviderName, make: fn(&str) -> Request) -> Vec<Case> {
    let case = |faults, end| case(provider, make, faults, end);
    let none = |case: Case| Case {
        accepted: 0,
        ..case
    };
    vec![
        case(json!({"submit": [429, 500, 503]}), End::Completed),
        case(json!({"submit": [400]}), End::Failed(InvalidRequest)),
        case(json!({"submit": [401]}), End::Failed(ProviderAuth)),
        case(json!({"submit": [402]}), End::Failed(ProviderQuota)),
        case(json!({"submit": [404]}), End::Failed(ProviderRefused)),
        case(
            json!({"submit": [429, 429, 429, 429, 429]}),
            End::Failed(ProviderQuota),
        ),
        none(case(
            json!({"submit": [503, 503, 503, 503, 503]}),
            End::Failed(ProviderFailed),
        )),
        case(json!({"submit": [502]}), End::Failed(SubmitAmbiguous)),
        case(json!({"submit": [504]}), End::Failed(SubmitAmbiguous)),
        case(json!({"submit": ["cut"]}), End::Failed(SubmitAmbiguous)),
        case(json!({"delay_submit_ms": 800}), End::Completed),
        case(json!({"state": "dreaming"}), End::Completed),
        case(
            json!({"poll": [500, 429, "garbage", "cut", 503]}),
            End::Completed,
        ),
        case(
            json!({"poll": [401, 401, 401, 401, 401]}),
            End::Failed(ProviderAuth),
        )
        .accepting(1),
        case(
            json!({"fail": "out of memory"}),
            End::Failed(ProviderFailed),
        ),
        case(
            json!({"fail": "flagged by content moderation"}),
            End::Failed(ContentPolicy),
        )
        .accepting(1),
        case(json!({"output": "expired"}), End::Completed),
        case(json!({"output": "html"}), End::Failed(ResultInvalid)),
        case(json!({"output": "huge"}), End::Failed(ResultInvalid)),
        case(json!({"output": "empty"}), End::Failed(ResultInvalid)),
        case(
            json!({"output": "truncated"}),
            End::Failed(ResultUnavailable),
        ),
        case(json!({"output": "missing"}), End::Failed(ResultUnavailable)),
    ]
}

impl Case {
    fn accepting(self, accepted: u64) -> Self {
        Self { accepted, ..self }
    }
}

/// An answer that was lost on its way, in every manner.
fn lost(provider: ProviderName, make: fn(&str) -> Request, end: End) -> Vec<Case> {
    [
        "accept_cut",
        "accept_garbage",
        "accept_cut_head",
        "accept_cut_body",
    ]
    .map(|fault| case(provider, make, json!({"submit": [fault]}), end).accepting(1))
    .into()
}

async fn hold(space: &Space, cases: &[Case]) {
    let requests: Vec<_> = cases
        .iter()
        .map(|case| {
            at(
                case.provider,
                script((case.make)(case.provider.as_str()), &case.faults),
            )
        })
        .collect();
    for request in &requests {
        space.send(request).await;
    }
    for (request, case) in requests.iter().zip(cases) {
        let told = format!("{} {}", case.provider.as_str(), case.faults);
        let events = space.story(request.id.as_str()).await;
        let last = events.last().unwrap();
        let end = match &last.error {
            Some(error) => End::Failed(error.code),
            None => End::Completed,
        };
        assert_eq!(end, case.end, "{told}: {:?}", last.error);
        let bill = space.bill(request.id.as_str()).await;
        assert_eq!(bill.accepted, case.accepted, "{told}: {bill:?}");
    }
    assert_eq!(space.temp_leftovers(), Vec::<String>::new());
}

async fn faulty() -> Space {
    Space::with(&[
        ("STORE_MAX_ATTEMPTS", "2"),
        ("MAX_OUTPUT_BYTES", "4194304"),
        ("RETRY_BACKOFF", "50ms"),
    ])
    .await
}

#[tokio::test]
async fn every_provider_makes_real_files_of_both_kinds() {
    let space = Space::new().await;
    let _all = space.start(&["all"]);
    let mut requests = Vec::new();
    for provider in ProviderName::ALL {
        requests.push((provider, "image/png", at(provider, image("made"))));
        requests.push((provider, "video/mp4", at(provider, video("made"))));
    }

    for (_, _, request) in &requests {
        space.send(request).await;
    }

    for (provider, kind, request) in &requests {
        let events = space.story(request.id.as_str()).await;
        let last = events.last().unwrap();
        assert_eq!(last.kind_of_event, EventType::Completed, "{last:#?}");
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

#[tokio::test]
async fn fal_ends_every_fault_as_it_should() {
    let space = faulty().await;
    let _all = space.start(&["all"]);
    let mut cases = polled(Fal, image);
    cases.extend(lost(Fal, image, End::Failed(SubmitAmbiguous)));

    hold(&space, &cases).await;
}

#[tokio::test]
async fn replicate_ends_every_fault_as_it_should() {
    let space = faulty().await;
    let _all = space.start(&["all"]);
    let mut cases = polled(Replicate, image);
    cases.extend(lost(Replicate, image, End::Completed));

    hold(&space, &cases).await;
}

#[tokio::test]
async fn a_cancel_ends_the_job_at_fal() {
    let space = Space::new().await;
    let _all = space.start(&["all"]);
    let request = at(Fal, script(video("midway"), &json!({"stuck": true})));
    space.send(&request).await;
    eventually("the job runs", async || {
        (space.bill(request.id.as_str()).await.accepted == 1).then_some(())
    })
    .await;

    space.cancel(request.id.as_str()).await;

    let events = space.story(request.id.as_str()).await;
    assert_eq!(types(&events).last(), Some(&EventType::Cancelled));
    assert_eq!(space.bill(request.id.as_str()).await.statuses, ["canceled"]);
}

#[tokio::test]
async fn an_ambiguous_submit_is_sent_again_where_that_is_chosen() {
    let space = Space::with(&[("SUBMIT_AMBIGUOUS", "resubmit")]).await;
    let _all = space.start(&["all"]);
    let cases = [case(
        Fal,
        video,
        json!({"submit": ["accept_cut"]}),
        End::Completed,
    )
    .accepting(2)];

    hold(&space, &cases).await;
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
    let (configured, named) = (image("default"), at(Replicate, image("named")));

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
    let space = Space::with(&[("FAL_API_KEY", "")]).await;
    let _all = space.start(&["all"]);
    let request = at(Fal, image("keyless"));

    space.send(&request).await;

    let events = space.story(request.id.as_str()).await;
    let error = events.last().unwrap().error.as_ref().unwrap();
    assert_eq!(error.code, ProviderAuth);
    assert!(error.message.contains("FAL_API_KEY"), "{}", error.message);
    assert_eq!(space.bill(request.id.as_str()).await.submits, 0);
}
