//! Each provider with faults: one outcome with its code, the expected number of submits, never two jobs for one
//! request.

use genflow::domain::{ErrorCode, ProviderName, Request, Single, Spec};
use serde_json::{Value, json};

use crate::support::Space;
use crate::support::requests::{at, image, script, video};
use crate::support::stories::stories;

use crate::support::requests::{FAL, OPENAI, REPLICATE};
use ErrorCode::{
    ContentPolicy, InvalidRequest, ProviderAuth, ProviderFailed, ProviderQuota, ProviderRefused,
    ResultInvalid, ResultUnavailable, SubmitAmbiguous,
};

/// How a request is expected to end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    Completed,
    Failed(ErrorCode),
}

/// A fault, its provider, how the request ends, and how many submits and jobs the provider then has.
struct Case {
    provider: ProviderName,
    make: fn(&str) -> Request,
    faults: Value,
    end: End,
    submits: u64,
    accepted: u64,
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
        submits: 1,
        accepted,
    }
}

/// Returns the faults that have the same effect with every provider whose jobs are polled.
fn polled(provider: ProviderName, make: fn(&str) -> Request) -> Vec<Case> {
    let case = |faults, end| case(provider, make, faults, end);
    vec![
        case(json!({"submit": [429, 500, 503]}), End::Completed).sending(4),
        case(json!({"submit": [400]}), End::Failed(InvalidRequest)),
        case(json!({"submit": [401]}), End::Failed(ProviderAuth)),
        case(json!({"submit": [402]}), End::Failed(ProviderQuota)),
        case(json!({"submit": [404]}), End::Failed(ProviderRefused)),
        case(
            json!({"submit": [429, 429, 429, 429, 429]}),
            End::Failed(ProviderQuota),
        )
        .sending(5),
        case(
            json!({"submit": [503, 503, 503, 503, 503]}),
            End::Failed(ProviderFailed),
        )
        .sending(5)
        .accepting(0),
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
            json!({"poll": [400, 400, 400, 400, 400]}),
            End::Failed(ProviderFailed),
        )
        .accepting(1),
        // A changed key or a lagging list must not end a job that is already paid for.
        case(
            json!({"poll": [401, 404, 403, 401, 404, 401]}),
            End::Completed,
        ),
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
        case(json!({"output": "other_kind"}), End::Failed(ResultInvalid)),
        case(json!({"output": "mislabelled"}), End::Completed),
        case(json!({"output": "empty"}), End::Failed(ResultInvalid)),
        case(
            json!({"output": "truncated"}),
            End::Failed(ResultUnavailable),
        ),
        case(json!({"output": "missing"}), End::Failed(ResultUnavailable)),
    ]
}

impl Case {
    fn sending(self, submits: u64) -> Self {
        Self { submits, ..self }
    }

    fn accepting(self, accepted: u64) -> Self {
        Self { accepted, ..self }
    }
}

/// Returns a request for an image whose URL, not its bytes, comes with the answer.
pub(super) fn by_address(name: &str) -> Request {
    let mut request = image(name);
    if let Spec::Single(Single::Image(image)) = &mut request.spec {
        let format = ("response_format".to_owned(), "\"url\"".to_owned());
        image.common.params.extend([format]);
    }
    request
}

/// Returns the faults of an answer that contains the outputs.
fn answered() -> Vec<Case> {
    let case = |make: fn(&str) -> Request, faults, end| case(OPENAI, make, faults, end);
    let failed = End::Failed;
    vec![
        case(image, json!({"submit": [429, 500, 503]}), End::Completed).sending(4),
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
        case(
            image,
            json!({"output": "other_kind"}),
            failed(ResultInvalid),
        ),
        case(by_address, json!({"output": "mislabelled"}), End::Completed),
        case(by_address, json!({"output": "html"}), failed(ResultInvalid)),
        case(
            by_address,
            json!({"output": "truncated"}),
            failed(ResultUnavailable),
        ),
        // There is no poll that could return a fresh URL.
        case(
            by_address,
            json!({"output": "expired"}),
            failed(ResultUnavailable),
        ),
    ]
}

/// Returns cases in which the answer is lost, in every possible way.
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
    let asked: Vec<&Request> = requests.iter().collect();
    let stories = stories(space, &asked).await;
    for ((request, case), events) in requests.iter().zip(cases).zip(&stories) {
        let reported = format!("{} {}", case.provider.as_str(), case.faults);
        let last = events.last().unwrap();
        let end = match &last.error {
            Some(error) => End::Failed(error.code),
            None => End::Completed,
        };
        assert_eq!(end, case.end, "{reported}: {:?}", last.error);
        let bill = space.bill(request.id.as_str()).await;
        let counted = (bill.submits, bill.accepted);
        assert_eq!(
            counted,
            (case.submits, case.accepted),
            "{reported}: {bill:?}"
        );
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
async fn fal_ends_every_fault_as_it_should() {
    let space = faulty().await;
    let _all = space.start(&["all"]);
    let mut cases = polled(FAL, image);
    cases.extend(lost(FAL, image, End::Failed(SubmitAmbiguous)));

    hold(&space, &cases).await;
}

#[tokio::test]
async fn openai_ends_every_fault_of_a_video_as_it_should() {
    let space = faulty().await;
    let _all = space.start(&["all"]);
    let mut cases = polled(OPENAI, video);
    cases.extend(lost(OPENAI, video, End::Failed(SubmitAmbiguous)));

    hold(&space, &cases).await;
}

#[tokio::test]
async fn openai_ends_every_fault_of_images_as_it_should() {
    let space = faulty().await;
    let _all = space.start(&["all"]);
    let mut cases = answered();
    cases.extend(lost(OPENAI, image, End::Failed(SubmitAmbiguous)));

    hold(&space, &cases).await;
}

#[tokio::test]
async fn replicate_ends_every_fault_as_it_should() {
    let space = faulty().await;
    let _all = space.start(&["all"]);
    let mut cases = polled(REPLICATE, image);
    cases.extend(lost(REPLICATE, image, End::Completed));

    hold(&space, &cases).await;
}

#[tokio::test]
async fn an_ambiguous_submit_is_sent_again_where_that_is_chosen() {
    let space = Space::with(&[("SUBMIT_AMBIGUOUS", "resubmit")]).await;
    let _all = space.start(&["all"]);
    let lost = json!({"submit": ["accept_cut"]});
    let cases = [
        (FAL, video as fn(&str) -> Request),
        (OPENAI, video),
        (OPENAI, image),
    ]
    .map(|(provider, make)| {
        let case = case(provider, make, lost.clone(), End::Completed);
        case.sending(2).accepting(2)
    });

    hold(&space, &cases).await;
}
