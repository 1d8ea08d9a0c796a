//! The bounds of specs, and how faults of items are named.

use super::*;

fn batch(item: BatchItem) -> Result<(), String> {
    let spec = Spec::Batch(BatchSpec {
        strategy: Strategy::Parallel,
        max_concurrent: 3,
        on_failure: OnFailure::Continue,
        items: vec![item],
    });
    spec.check().map_err(|error| error.to_string())
}

#[test]
fn an_item_is_held_to_the_bounds_of_a_request() {
    let good = BatchItem {
        request_id: "i".to_owned().try_into().unwrap(),
        spec: Spec::Image(ImageSpec {
            prompt: "a fox".to_owned(),
            ..ImageSpec::default()
        }),
        webhook_url: None,
        notify_on: Vec::new(),
        metadata: BTreeMap::new(),
    };
    assert_eq!(batch(good.clone()), Ok(()));

    let long = BTreeMap::from([("k".to_owned(), "v".repeat(9_000))]);
    let many = BatchItem {
        metadata: long,
        ..good.clone()
    };
    let empty = BatchItem {
        spec: Spec::Video(VideoSpec::default()),
        ..good
    };

    assert!(
        batch(many)
            .unwrap_err()
            .starts_with("spec.items[0].metadata ")
    );
    assert!(
        batch(empty)
            .unwrap_err()
            .starts_with("spec.items[0].spec.prompt ")
    );
}

#[test]
fn a_field_of_a_later_version_is_passed_over() {
    for (kind, known) in [("video", Kind::Video), ("image", Kind::Image)] {
        let later = format!(r#"{{"{kind}": {{"prompt": "a fox", "mood": "calm"}}}}"#);

        let read: Spec = serde_json::from_str(&later).unwrap();

        assert_eq!(read.kind(), known);
        assert_eq!(read.check(), Ok(()));
    }
}
