//! Forms of requests that are accepted, and the errors of those that are not.

use serde_json::json;

use super::*;
use crate::domain::Media;

fn read(form: &Json) -> Result<Request, String> {
    read_as(None, form)
}

fn read_as(kind: Option<Kind>, form: &Json) -> Result<Request, String> {
    let defaults = Defaults {
        kind,
        user: "cli",
        now: 1_700_000_000_000,
    };
    request(form, &defaults).map_err(|error| error.to_string())
}

#[test]
fn the_nested_form_is_that_of_the_schema() {
    let read = read(&json!({
        "request_id": "r-1", "user_id": "alice", "priority": "high", "timeout_seconds": 90,
        "spec": {"prompt": "a cat", "width": 512, "params": {"seed": 7, "sampler": "euler", "steps": "20"},
                 "inputs": [{"url": "https://example.com/a.png", "role": "mask"}, {"url": "https://example.com/b.png"}],
                 "provider": "replicate", "model": "a/b", "negative_prompt": "dogs", "aspect_ratio": "16:9",
                 "seed": 9_007_199_254_740_993_i64, "output_format": "png", "on_unsupported": "drop",
                 "fallback": [{"provider": "openai", "model": "gpt-image-2"}, {"provider": "fal"}]},
        "webhook_url": "https://example.com/h", "notify_email": "a@b.c",
        "notify_slack": "https://hooks.example.com/x", "notify_on": ["completed", "FAILED"],
        "metadata": {"order": 7, "shop": "x"}, "requested_at": "2023-11-14T22:13:20.123Z",
    }))
    .unwrap();

    assert_eq!(read.id.as_str(), "r-1");
    assert_eq!(read.user.as_str(), "alice");
    assert_eq!(read.priority, Priority::High);
    assert_eq!(read.timeout, Some(Duration::from_secs(90)));
    assert_eq!(read.notify_on, [EventType::Completed, EventType::Failed]);
    assert_eq!(read.metadata["order"], "7");
    assert_eq!(read.metadata["shop"], "x");
    assert_eq!(read.requested_at, Some(1_700_000_000_123));
    assert!(read.targets.webhook.is_some() && read.targets.email.is_some());
    let Spec::Single(Single::Image(image)) = read.spec else {
        panic!("not an image");
    };
    assert_eq!((image.width, image.height), (Some(512), None));
    assert_eq!(image.common.params["seed"], "7");
    assert_eq!(image.common.params["sampler"], "\"euler\"");
    assert_eq!(image.common.params["steps"], "20");
    assert_eq!(image.common.provider, Some(ProviderName::REPLICATE));
    let fallback = image.common.fallback.iter();
    let fallback: Vec<_> = fallback
        .map(|other| (other.provider, other.model.as_deref()))
        .collect();
    assert_eq!(
        fallback,
        [
            (ProviderName::OPENAI, Some("gpt-image-2")),
            (ProviderName::FAL, None)
        ]
    );
}

#[test]
fn the_flat_form_has_the_fields_of_the_spec_beside_the_others() {
    let video = read(&json!({
        "request_id": "v-1", "user_id": "bob", "prompt": "a lake", "duration": 5.0, "resolution": "1280x720",
        "fps": 24, "style": "noir", "webhook_url": null, "metadata": {},
    }))
    .unwrap();
    let image =
        read(&json!({"user_id": "bob", "prompt": "a cat", "height": 64, "num_images": 2})).unwrap();

    let Spec::Single(Single::Video(spec)) = video.spec else {
        panic!("not a video");
    };
    assert_eq!(
        (spec.duration, spec.fps, spec.common.style.as_deref()),
        (Some(5), Some(24), Some("noir"))
    );
    assert_eq!(video.targets, Targets::default());
    assert!(
        image.id.as_str().starts_with("image-018bcfe5-6800-7"),
        "{}",
        image.id
    );
    let Spec::Single(Single::Image(spec)) = image.spec else {
        panic!("not an image");
    };
    assert_eq!(
        (spec.width, spec.height, spec.num_images),
        (None, Some(64), Some(2))
    );
}

#[test]
fn a_batch_has_items_of_either_form() {
    let read = read(&json!({
        "request_id": "b", "user_id": "carol", "strategy": "sequential", "on_failure": "STOP", "max_concurrent": 2,
        "items": [
            {"request_id": "one", "prompt": "a", "width": 64},
            {"type": "video", "spec": {"prompt": "b"}, "metadata": {"k": "v"}, "notify_on": ["STARTED"]},
        ],
    }))
    .unwrap();

    assert_eq!(read.id.as_str(), "b");
    assert_eq!(read.user.as_str(), "carol");
    let Spec::Batch(batch) = read.spec else {
        panic!("not a batch");
    };
    assert_eq!(batch.strategy, Strategy::Sequential);
    assert_eq!(
        (batch.on_failure, batch.max_concurrent),
        (OnFailure::Stop, 2)
    );
    let ids: Vec<_> = batch
        .items
        .iter()
        .map(|item| item.request_id.as_str())
        .collect();
    assert_eq!(ids, ["one", "b-2"]);
    assert_eq!(batch.items[1].spec.media(), Media::Video);
}

#[test]
fn a_batch_may_be_nested() {
    let nested =
        read(&json!({"request_id": "n", "spec": {"items": [{"prompt": "a", "fps": 9}]}})).unwrap();

    assert_eq!(
        (nested.spec.kind(), nested.user.as_str()),
        (Kind::Batch, "cli")
    );
}

#[test]
fn the_kind_follows_from_type_fields_or_the_caller() {
    for (kind, form, made) in [
        (None, json!({"prompt": "x", "type": "VIDEO"}), Kind::Video),
        (None, json!({"prompt": "x", "fps": 1}), Kind::Video),
        (
            Some(Kind::Video),
            json!({"spec": {"prompt": "x"}}),
            Kind::Video,
        ),
        (
            Some(Kind::Video),
            json!({"prompt": "x", "width": 64}),
            Kind::Image,
        ),
    ] {
        assert_eq!(read_as(kind, &form).unwrap().spec.kind(), made, "{form}");
    }
}

/// Faulty forms as JSON, and the fault that is reported.
const FAULTY: &[(&str, &str)] = &[
    (r#""x""#, "the request is a string, expected an object"),
    (
        r#"{"prompt": "x"}"#,
        "type is missing, and the fields do not show it, expected video, image or batch",
    ),
    (
        r#"{"prompt": "x", "type": "gif"}"#,
        "type is \"gif\", expected one of: video, image, batch",
    ),
    (
        r#"{"prompt": "x", "fps": 1, "width": 64}"#,
        "type is missing, and the fields do not show it, expected video, image or batch",
    ),
    (r#"{"width": 64}"#, "prompt is missing"),
    (r#"{"spec": {"width": 64}}"#, "spec.prompt is missing"),
    (
        r#"{"prompt": 7, "width": 64}"#,
        "prompt is a number, expected a string",
    ),
    (
        r#"{"prompt": "x", "width": 1.5}"#,
        "width is 1.5, expected a whole number",
    ),
    (
        r#"{"prompt": "x", "width": "64"}"#,
        "width is a string, expected a whole number",
    ),
    (
        r#"{"prompt": "x", "width": 5000000000}"#,
        "width is 5000000000, expected a whole number of 32 bits",
    ),
    (
        r#"{"prompt": "x", "width": 1}"#,
        "spec.width is 1, expected 64 to 8192",
    ),
    (
        r#"{"prompt": "x", "width": 64, "request_id": "a b"}"#,
        "request_id contains ' ', expected a letter or digit first, then letters, digits, '.', '_' or '-'",
    ),
    (
        r#"{"prompt": "x", "width": 64, "priority": "soon"}"#,
        "priority is \"soon\", expected one of: LOW, NORMAL, HIGH",
    ),
    (
        r#"{"prompt": "x", "width": 64, "notify_on": ["done"]}"#,
        "notify_on contains \"done\", expected one of: STARTED, PROGRESS, COMPLETED, FAILED, CANCELLED, REJECTED",
    ),
    (
        r#"{"prompt": "x", "width": 64, "timeout_seconds": 0}"#,
        "timeout_seconds is 0, expected 1 to 604800",
    ),
    (
        r#"{"prompt": "x", "width": 64, "metadata": []}"#,
        "metadata is an array, expected an object",
    ),
    (
        r#"{"prompt": "x", "width": 64, "requested_at": "now"}"#,
        "requested_at is \"now\", expected milliseconds since the epoch or a time such as 2026-01-31T12:00:00Z",
    ),
    (r#"{"strategy": "PARALLEL"}"#, "items is missing"),
    (
        r#"{"items": [{"prompt": "x"}]}"#,
        "items[0].type is missing, and the fields do not show it, expected video, image or batch",
    ),
    (
        r#"{"items": [{"type": "batch", "items": []}]}"#,
        "items[0].type is batch, expected video or image",
    ),
];

#[test]
fn a_fault_is_named_with_what_is_expected() {
    for (form, reported) in FAULTY {
        let read = read(&serde_json::from_str(form).unwrap());

        assert_eq!(read.unwrap_err(), *reported, "{form}");
    }
}

#[test]
fn an_unknown_field_is_named_with_the_known_ones() {
    let flat = read(&json!({"promt": "x", "width": 64})).unwrap_err();
    let nested = read(&json!({"spec": {"prompt": "x", "width": 64, "hight": 64}})).unwrap_err();
    let mixed = read(&json!({"width": 64, "spec": {"prompt": "x", "height": 64}})).unwrap_err();

    assert!(
        flat.starts_with("promt is unknown here, expected one of: request_id, user_id, "),
        "{flat}"
    );
    assert!(
        flat.ends_with(
            "prompt, negative_prompt, aspect_ratio, style, seed, inputs, provider, model, params, on_unsupported, fallback, width, height, num_images, output_format"
        ),
        "{flat}"
    );
    assert!(
        nested
            .starts_with("spec.hight is unknown here, expected one of: prompt, negative_prompt, "),
        "{nested}"
    );
    assert!(
        mixed.starts_with("width is unknown here, expected one of: "),
        "{mixed}"
    );
}

#[test]
fn generated_ids_differ_and_sort_by_time() {
    assert_ne!(new_id(Kind::Image, 7), new_id(Kind::Image, 7));
    assert!(new_id(Kind::Image, 7) < new_id(Kind::Image, 8));
}
