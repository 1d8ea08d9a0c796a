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
use ProviderName::{Fal, OpenAi, Replicate};

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

/// The same request at that provider.
pub(crate) fn at(provider: ProviderName, mut request: Request) -> Request {
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

/// A request for an image whose address comes with the answer, and not its bytes.
fn by_address(name: &str) -> Request {
    let mut request = image(name);
    if let Spec::Image(image) = &mut request.spec {
        let format = ("response_format".to_owned(), "\"url\"".to_owned());
        image.params.extend([format]);
    }
    request
}

/// The faults of an answer that holds the outputs.
fn answered() -> Vec<Case> {
    let case = |make: fn(&str) -> Request, faults, end| case(OpenAi, make, faults, end);
    let failed = End::Failed;
    vec![
        case(image, json!({"submit": [429, 500, 503]}), End::Completed),
        case(image, json!({"seconds": 1.0}), End::Completed),
        case(by_address, json!({}), End::Completed),
        case(image, json!({"submit": [400]}), failed(InvalidRequest)),
        case(image, json!({"submit": [401]}), failed(ProviderAuth)),
        case(image, json!({"submit": [402]}), failed(ProviderQuota)),
        case(image, json!({"submit": [404]}), failed(ProviderRefused)),
        case(image, json!({"submit": [502]}), failed(SubmitAmbiguous)),
        case(image, json!({"submit": [504]}), failed(SubmitAmbiguous)),
        case(image, json!({"submit": ["cut"]}), failed(SubmitAmbiguous)),
        case(image, json!({"fail": "flagged"}), failed(ContentPolicy)),
        case(image, json!({"output": "html"}), failed(ResultInvalid)),
        case(image, json!({"output": "empty"}), failed(ResultInvalid)),
        case(image, json!({"output": "huge"}), failed(ResultInvalid)),
        case(by_address, json!({"output": "html"}), failed(ResultInvalid)),
        case(
            by_address,
            json!({"output": "truncated"}),
            failed(ResultUnavailable),
        ),
        // There is no second look that gives a fresh one.
        case(
            by_address,
            json!({"output": "expired"}),
            failed(ResultUnavailable),
        ),
    ]
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
async fn openai_ends_every_fault_of_a_video_as_it_should() {
    let space = faulty().await;
    let _all = space.start(&["all"]);
    let mut cases = polled(OpenAi, video);
    cases.extend(lost(OpenAi, video, End::Failed(SubmitAmbiguous)));

    hold(&space, &cases).await;
}

#[tokio::test]
async fn openai_ends_every_fault_of_images_as_it_should() {
    let space = faulty().await;
    let _all = space.start(&["all"]);
    let mut cases = answered();
    cases.extend(lost(OpenAi, image, End::Failed(SubmitAmbiguous)));

    hold(&space, &cases).await;
}

/// Lets a worker die at `point` of an image at OpenAI and another go on; returns the end and the bill.
async fn killed_at(point: &str) -> (Option<ErrorCode>, u64, u64) {
    let space = Space::new().await;
    let _intake = space.start(&["intake"]);
    let failpoint = format!("{point}=kill");
    let mut first = space.start_with(&["worker"], &[("GENFLOW_FAILPOINT", &failpoint)]);
    let request = at(OpenAi, image("killed"));
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
async fn images_that_were_stored_are_adopted_when_the_worker_dies_before_it_tells() {
    assert_eq!(killed_at("submit.stored").await, (None, 1, 1));
}

#[tokio::test]
async fn images_that_were_not_stored_when_the_worker_died_are_not_asked_for_again() {
    let end = killed_at("submit.sent").await;

    assert_eq!(end, (Some(SubmitAmbiguous), 1, 1));
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
    let lost = json!({"submit": ["accept_cut"]});
    let cases = [
        (Fal, video as fn(&str) -> Request),
        (OpenAi, video),
        (OpenAi, image),
    ]
    .map(|(provider, make)| case(provider, make, lost.clone(), End::Completed).accepting(2));

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
    let space = Space::with(&[
        ("FAL_API_KEY", ""),
        ("OPENAI_API_KEY", ""),
        ("IMAGE_PROVIDER", "fal"),
        ("IMAGE_API_KEY", ""),
    ])
    .await;
    let _all = space.start(&["all"]);
    let requests = [
        (at(Fal, video("keyless")), "FAL_API_KEY"),
        (at(OpenAi, image("keyless")), "OPENAI_API_KEY"),
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
