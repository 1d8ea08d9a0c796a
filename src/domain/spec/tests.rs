//! Tests the bounds of specs, and how faults are worded.

use super::*;
use crate::domain::InvalidFields;

fn faults(spec: impl Into<Spec>) -> Vec<String> {
    let mut faults = InvalidFields::default();
    spec.into().check(&mut faults);
    let listed = faults.listed.into_iter();
    listed.map(|fault| fault.to_string()).collect()
}

fn fields(spec: impl Into<Spec>) -> Vec<String> {
    let shown = faults(spec).into_iter();
    shown
        .map(|fault| fault.split(' ').next().unwrap_or_default().to_owned())
        .collect()
}

fn image(common: Common) -> Single {
    Single::Image(ImageSpec {
        common,
        ..ImageSpec::default()
    })
}

fn item() -> BatchItem {
    BatchItem {
        request_id: "i".to_owned().try_into().unwrap(),
        spec: image(Common::new("a fox")),
        webhook_url: None,
        notify_on: Vec::new(),
        metadata: BTreeMap::new(),
    }
}

fn batch(items: Vec<BatchItem>) -> Spec {
    Spec::Batch(BatchSpec {
        strategy: Strategy::Parallel,
        max_concurrent: 3,
        on_failure: OnFailure::Continue,
        items,
    })
}

#[test]
fn an_item_is_held_to_the_bounds_of_a_request() {
    assert_eq!(faults(batch(vec![item()])), [""; 0]);

    let many = BatchItem {
        metadata: BTreeMap::from([("k".to_owned(), "v".repeat(9_000))]),
        spec: Single::Video(VideoSpec::default()),
        ..item()
    };

    assert_eq!(
        fields(batch(vec![item(), many])),
        [
            "spec.items",
            "spec.items[1].spec.prompt",
            "spec.items[1].metadata"
        ]
    );
}

#[test]
fn all_fields_out_of_bounds_are_named_at_once() {
    let video = Single::Video(VideoSpec {
        common: Common {
            negative_prompt: Some(String::new()),
            aspect_ratio: Some("x".repeat(33)),
            style: Some("x".repeat(129)),
            model: Some(String::new()),
            fallback: vec![Fallback {
                provider: ProviderName::FAL,
                model: Some("x".repeat(257)),
            }],
            ..Common::new("")
        },
        duration: Some(601),
        fps: Some(0),
        ..VideoSpec::default()
    });
    let image = Single::Image(ImageSpec {
        common: Common::new("a fox"),
        width: Some(63),
        height: Some(8193),
        num_images: Some(17),
        output_format: Some(String::new()),
    });

    assert_eq!(
        fields(video),
        [
            "spec.prompt",
            "spec.negative_prompt",
            "spec.aspect_ratio",
            "spec.style",
            "spec.model",
            "spec.fallback[0].model",
            "spec.duration",
            "spec.fps"
        ]
    );
    assert_eq!(
        fields(image),
        [
            "spec.width",
            "spec.height",
            "spec.num_images",
            "spec.output_format"
        ]
    );
}

#[test]
fn a_request_names_at_most_five_fallbacks() {
    let with = |entries: usize| {
        let fallback = Fallback {
            provider: ProviderName::FAL,
            model: None,
        };
        let common = Common {
            fallback: vec![fallback; entries],
            ..Common::new("a fox")
        };
        faults(Single::Image(ImageSpec {
            common,
            ..ImageSpec::default()
        }))
    };

    assert_eq!(with(5), [""; 0]);
    assert_eq!(with(6), ["spec.fallback has 6 entries, expected at most 5"]);
}

#[test]
fn a_resolution_is_two_sides_or_a_class() {
    let listed = |resolution: &str| {
        faults(Single::Video(VideoSpec {
            common: Common::new("a fox"),
            resolution: Some(resolution.to_owned()),
            ..VideoSpec::default()
        }))
    };
    for good in ["1920x1080", "1x65535", "720p", "768P", "4k", "2K"] {
        assert_eq!(listed(good), [""; 0], "{good}");
    }
    for bad in [
        "",
        "wide",
        "0x9",
        "1280x",
        "1280x720x3",
        "65536x1",
        "p",
        "720",
        "0p",
        "HD",
    ] {
        let listed = listed(bad).remove(0);
        assert!(listed.ends_with("or a class such as 720p"), "{listed}");
    }
}

#[test]
fn params_may_not_change_the_model_the_count_or_the_protocol() {
    let listed = |name: &str, text: &str| {
        faults(image(Common {
            params: BTreeMap::from([(name.to_owned(), text.to_owned())]),
            ..Common::new("a fox")
        }))
    };
    for (names, wanted) in [
        (&["model", "version"][..], "set spec.model instead"),
        (
            &[
                "n",
                "num_images",
                "num_outputs",
                "number_of_images",
                "batch_size",
            ],
            "set spec.num_images instead",
        ),
        (
            &[
                "stream",
                "partial_images",
                "sync_mode",
                "genflow_id",
                "webhook",
                "webhook_url",
                "webhooks",
            ],
            "remove it",
        ),
    ] {
        for name in names {
            for text in ["1", "null", "\"x\""] {
                let listed = listed(name, text);
                assert!(
                    listed.len() == 1 && listed[0].ends_with(wanted),
                    "{name}: {listed:?}"
                );
            }
        }
    }
    for good in ["steps", "model_name", "names", "guidance", "sim"] {
        assert_eq!(listed(good, "1"), [""; 0], "{good}");
    }
}

#[test]
fn the_name_of_a_param_is_shown_safely_and_in_part() {
    let name = format!("\u{1b}[2J\n{}", "x".repeat(500));
    let listed = faults(image(Common {
        params: BTreeMap::from([(name, "{".to_owned())]),
        ..Common::new("a fox")
    }));

    let listed = listed.join("");
    assert!(
        listed.starts_with("spec.params has \"\\u{1b}[2J\\nx"),
        "{listed}"
    );
    assert!(listed.len() < 200 && !listed.contains('\u{1b}'), "{listed}");
}

#[test]
fn urls_in_params_are_found_at_any_depth() {
    let params = [
        ("image", r#""https://a.example/1.png""#),
        (
            "deep",
            r#"{"images": ["HTTP://b.example/2.png", {"x": "http:c.example"}]}"#,
        ),
        ("prompt", r#""see https://d.example""#),
        ("data", r#""data:image/png;base64,AA==""#),
        ("seed", "7"),
    ];
    let params = params
        .map(|(name, text)| (name.to_owned(), text.to_owned()))
        .into();

    let found = urls(&params).unwrap();

    let found: Vec<_> = found
        .iter()
        .map(|(name, url)| (name.as_str(), url.as_str()))
        .collect();
    assert_eq!(
        found,
        [
            ("deep", "http://b.example/2.png"),
            ("deep", "http://c.example/"),
            ("image", "https://a.example/1.png"),
        ]
    );
}

#[test]
fn a_url_that_other_parsers_read_otherwise_is_refused_in_params() {
    for text in [
        r"https://a.example\\@10.0.0.1/",
        r"https:\\\\10.0.0.1",
        " http://a.example",
        "http://a.example/ x",
        r"http://a\t.example",
    ] {
        let params = BTreeMap::from([("image".to_owned(), format!("\"{text}\""))]);

        let error = urls(&params).unwrap_err();

        assert_eq!(error.field, "spec.params", "{text}");
    }
}

#[test]
fn a_field_of_a_later_version_is_passed_over() {
    for (kind, known) in [("video", Media::Video), ("image", Media::Image)] {
        let later = format!(r#"{{"{kind}": {{"prompt": "a fox", "mood": "calm"}}}}"#);

        let read: Single = serde_json::from_str(&later).unwrap();

        assert_eq!(read.media(), known);
        assert_eq!(faults(read), [""; 0]);
    }
}

#[test]
fn what_was_not_asked_for_is_not_written_and_all_else_is_read_back() {
    let bare = image(Common::new("a fox"));
    let text = serde_json::to_string(&bare).unwrap();
    assert_eq!(text, r#"{"image":{"prompt":"a fox"}}"#);

    let full = Single::Video(VideoSpec {
        common: Common {
            seed: Some(i64::MIN),
            inputs: vec![Input {
                url: "https://a.example/1.png".parse().unwrap(),
                role: Role::LastFrame,
            }],
            on_unsupported: OnUnsupported::Drop,
            fallback: vec![Fallback {
                provider: ProviderName::OPENAI,
                model: None,
            }],
            ..Common::new("a fox")
        },
        audio: Some(false),
        ..VideoSpec::default()
    });
    for spec in [bare, full] {
        let text = serde_json::to_string(&spec).unwrap();
        assert_eq!(serde_json::from_str::<Single>(&text).unwrap(), spec);
    }
}
