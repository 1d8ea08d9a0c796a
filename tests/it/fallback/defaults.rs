//! What requests without a `fallback` of their own fall back to: `VIDEO_FALLBACK` and `IMAGE_FALLBACK`.

use genflow::domain::ErrorCode;
use serde_json::json;

use super::{InvalidRequest, ProviderAuth, REPLICATE, bills, code, send, tried};
use crate::batch::{batch, ids};
use crate::support::Space;
use crate::support::requests::{at, common, image, script};

/// A model without an input for a style, and one with it.
const BOTH: &str = "replicate/black-forest-labs/flux-schnell,fal/simulated/image";

#[tokio::test]
async fn a_model_of_the_operators_that_cannot_make_a_request_is_skipped() {
    let space = Space::with(&[("IMAGE_FALLBACK", BOTH)]).await;
    let _all = space.start(&["all"]);
    let declined = json!({"candidates": 1, "submit": [401]});
    let mut styled = at(REPLICATE, script(image("styled"), &declined));
    common(&mut styled).style = Some("noir".to_owned());
    let items = batch("items", &[declined]);
    let mut item = image("item");
    item.id = ids(&items).remove(0).try_into().unwrap();

    let stories = send(&space, &[styled.clone(), items]).await;

    assert_eq!(code(&stories[0]), None, "{:?}", stories[0].last());
    let skipped = [("replicate", ProviderAuth), ("replicate", InvalidRequest)];
    assert_eq!(tried(&stories[0]), skipped);
    assert_eq!(bills(&space, &styled).await, [(1, 0), (0, 0), (1, 1)]);
    let events = space.story(item.id.as_str()).await;
    // It has no style, but a size that the model does not make.
    assert_eq!(tried(&events), skipped);
    assert_eq!(bills(&space, &item).await, [(1, 0), (0, 0), (1, 1)]);
}

#[tokio::test]
async fn a_skipped_model_is_never_the_reason_why_a_run_failed() {
    let (flux, _) = BOTH.split_once(',').unwrap();
    let space = Space::with(&[("IMAGE_FALLBACK", flux)]).await;
    let _all = space.start(&["all"]);
    let declined = json!({"candidates": 1, "submit": [401]});
    let mut styled = at(REPLICATE, script(image("styled"), &declined));
    common(&mut styled).style = Some("noir".to_owned());

    let events = send(&space, std::slice::from_ref(&styled)).await.remove(0);

    assert_eq!(code(&events), Some(ErrorCode::ProviderAuth));
    let skipped = [("replicate", ProviderAuth), ("replicate", InvalidRequest)];
    assert_eq!(tried(&events), skipped);
    assert_eq!(bills(&space, &styled).await, [(1, 0), (0, 0)]);
}
