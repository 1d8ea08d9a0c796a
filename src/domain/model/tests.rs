//! Single rules.

mod every_model;
mod worked;

use serde_json::{Value, json};

use super::*;
use crate::domain::{
    Common, ImageSpec, Input, Media, OnUnsupported, ProviderName, Role, VideoSpec,
};

fn profile(provider: ProviderName, model: &str) -> Profile {
    let input = bundle::input(provider, model).unwrap_or_else(|| panic!("no {model}"));
    bundle::profile(provider, model, Schema::parse(&Value::Null, input))
}

fn file(role: Role) -> Input {
    let url = format!("https://files.example/{role:?}.png")
        .parse()
        .unwrap();
    Input { url, role }
}

/// An image of 1280x720, twice, as PNG.
fn image() -> Single {
    Single::Image(ImageSpec {
        common: Common::new("a fox"),
        width: Some(1280),
        height: Some(720),
        num_images: Some(2),
        output_format: Some("png".to_owned()),
    })
}

/// Eight seconds in 1920x1080 that begin with a picture.
fn video() -> Single {
    Single::Video(VideoSpec {
        common: Common {
            inputs: vec![file(Role::FirstFrame)],
            ..Common::new("a fox")
        },
        duration: Some(8),
        resolution: Some("1920x1080".to_owned()),
        ..VideoSpec::default()
    })
}

/// Returns what is sent but for the prompt, and the fields with notes.
fn sent(provider: ProviderName, model: &str, single: &Single) -> (Value, Vec<String>) {
    let bound = bind(&profile(provider, model), single)
        .unwrap_or_else(|problems| panic!("{model}: {problems:#?}"));
    let mut input = bound.input;
    assert_eq!(input.remove("prompt"), Some(json!("a fox")), "{model}");
    let notes = bound
        .notes
        .into_iter()
        .map(|note| format!("{} {}", note.kind, note.field));
    (Value::Object(input), notes.collect())
}

/// Returns the fields with problems.
fn refused(provider: ProviderName, model: &str, single: &Single) -> Vec<String> {
    let problems = bind(&profile(provider, model), single).expect_err(model);
    problems.into_iter().map(|problem| problem.field).collect()
}

/// Returns each problem as `field asked: allowed`.
fn problems(provider: ProviderName, model: &str, single: &Single) -> Vec<String> {
    let problems = bind(&profile(provider, model), single).expect_err(model);
    let shown = |text: Option<String>| text.unwrap_or_else(|| "-".to_owned());
    let problems = problems.into_iter();
    problems
        .map(|it| format!("{} {}: {}", it.field, shown(it.asked), shown(it.allowed)))
        .collect()
}

const PICTURE: &str = "https://files.example/FirstFrame.png";

#[test]
fn a_dropped_field_is_noted_and_a_wrong_value_is_still_refused() {
    let single = |duration| {
        Single::Video(VideoSpec {
            common: Common {
                negative_prompt: Some("rain".to_owned()),
                on_unsupported: OnUnsupported::Drop,
                ..Common::new("a fox")
            },
            duration: Some(duration),
            ..VideoSpec::default()
        })
    };

    let (input, notes) = sent(
        ProviderName::REPLICATE,
        "bytedance/seedance-1-pro",
        &single(5),
    );

    assert_eq!(input, json!({"duration": 5}));
    assert_eq!(notes, ["dropped negative_prompt"]);
    assert_eq!(
        refused(
            ProviderName::REPLICATE,
            "bytedance/seedance-1-pro",
            &single(60)
        ),
        ["duration"]
    );
}

#[test]
fn params_win_are_checked_and_are_noted() {
    let with = |params: &[(&str, &str)]| {
        let params = params
            .iter()
            .map(|(name, text)| ((*name).to_owned(), (*text).to_owned()));
        Single::Image(ImageSpec {
            common: Common {
                seed: Some(1),
                params: params.collect(),
                ..Common::new("a fox")
            },
            ..ImageSpec::default()
        })
    };
    let model = "black-forest-labs/flux-schnell";
    let problems =
        |params| bind(&profile(ProviderName::REPLICATE, model), &with(params)).unwrap_err();

    let (input, notes) = sent(
        ProviderName::REPLICATE,
        model,
        &with(&[("seed", "7"), ("megapixels", "\"1\"")]),
    );
    let (removed, _) = sent(ProviderName::REPLICATE, model, &with(&[("seed", "null")]));

    assert_eq!(input["seed"], json!(7));
    let replaced = bind(
        &profile(ProviderName::REPLICATE, model),
        &with(&[("prompt", "\"an owl\"")]),
    );
    assert!(replaced.unwrap().sent().unwrap().contains("an owl"));
    assert_eq!(notes, ["overridden seed"]);
    assert_eq!(removed, json!({}));
    let unknown = problems(&[("output_formt", "\"png\"")]);
    assert_eq!(unknown[0].field, "params.output_formt");
    assert_eq!(
        unknown[0].hint.as_deref(),
        Some(
            "the model has no such input; did you mean output_format; leave it out, or set on_unsupported to DROP"
        )
    );
    assert_eq!(
        problems(&[("megapixels", "\"9\"")])[0].allowed.as_deref(),
        Some("1, 0.25")
    );
    assert_eq!(problems(&[("seed", "\"seven\"")])[0].field, "params.seed");
}

#[test]
fn without_a_schema_only_the_prompt_and_params_are_sent() {
    let profile = Profile::new(
        ProviderName::REPLICATE,
        "me/mine",
        None,
        Origin::Provider,
        &Limits::default(),
    );
    let single = |seed| {
        let params = [("steps".to_owned(), "4".to_owned())].into();
        Single::Image(ImageSpec {
            common: Common {
                seed,
                params,
                ..Common::new("a fox")
            },
            ..ImageSpec::default()
        })
    };

    let bound = bind(&profile, &single(None)).unwrap();
    let problems = bind(&profile, &single(Some(1))).unwrap_err();

    assert_eq!(
        Value::Object(bound.input),
        json!({"prompt": "a fox", "steps": 4})
    );
    assert_eq!(problems[0].field, "seed");
    assert!(
        problems[0].hint.as_deref().unwrap().contains("params"),
        "{problems:?}"
    );
}

#[test]
fn the_report_of_what_was_sent_has_no_prompt_and_no_secret() {
    let mut input = Map::new();
    input.insert("prompt".to_owned(), json!("a fox"));
    input.insert(
        "image".to_owned(),
        json!("https://user:pass@a.example/1.png?signature=s"),
    );
    input.insert("images".to_owned(), json!(["data:image/png;base64,AAAA"]));

    let sent = Bound {
        quote: Quote::default(),
        input,
        notes: Vec::new(),
        prompt: Some("prompt".to_owned()),
    }
    .sent();

    assert_eq!(
        sent.unwrap(),
        r#"{"image":"https://a.example/1.png","images":["data:"]}"#
    );
}

/// Returns the profile of a model whose provider publishes these properties.
fn published(provider: ProviderName, model: &str, properties: &Value) -> Profile {
    let input = json!({"properties": properties, "required": ["prompt"]});
    bundle::profile(provider, model, Schema::parse(&Value::Null, &input))
}

/// Returns a video from a picture.
fn film(role: Role) -> Single {
    Single::Video(VideoSpec {
        common: Common {
            inputs: vec![file(role)],
            ..Common::new("a fox")
        },
        ..VideoSpec::default()
    })
}

#[test]
fn the_url_of_a_file_is_known_by_its_name_where_a_schema_does_not_mark_it() {
    // As fal publishes them.
    let properties = json!({
        "prompt": {"type": "string"},
        "image_url": {"type": "string", "title": "Image URL"},
        "reference_image_urls": {"type": "array", "items": {"type": "string"}},
    });
    let profile = published(ProviderName::FAL, "fal-ai/new/image-to-video", &properties);

    let first = bind(&profile, &film(Role::FirstFrame)).unwrap();
    let reference = bind(&profile, &film(Role::Reference)).unwrap();

    assert_eq!(first.input["image_url"], json!(PICTURE));
    assert_eq!(
        reference.input["reference_image_urls"],
        json!(["https://files.example/Reference.png"])
    );
}

#[test]
fn width_and_height_of_an_unknown_model_come_with_the_word_that_makes_them_count() {
    let properties = json!({
        "prompt": {"type": "string"},
        "size": {"type": "string", "enum": ["1K", "custom"]},
        "width": {"type": "integer", "minimum": 512},
        "height": {"type": "integer", "minimum": 512},
    });
    let profile = published(ProviderName::REPLICATE, "new/model", &properties);
    let mut single = image();
    let Single::Image(asked) = &mut single else {
        unreachable!()
    };
    (asked.num_images, asked.output_format) = (None, None);

    let bound = bind(&profile, &single).unwrap();
    asked_params(&mut single, "size", "\"1K\"");
    let problems = bind(&profile, &single).unwrap_err();

    assert_eq!(bound.input["size"], json!("custom"));
    assert!(
        problems[0]
            .hint
            .as_deref()
            .unwrap()
            .contains("works only with size custom"),
        "{problems:?}"
    );
}

fn asked_params(single: &mut Single, name: &str, text: &str) {
    if let Single::Image(image) = single {
        image.common.params.insert(name.to_owned(), text.to_owned());
    }
}

#[test]
fn a_size_that_cannot_be_read_or_contradicts_itself_is_refused() {
    let asked = |resolution: &str, ratio: Option<&str>| {
        let single = Single::Video(VideoSpec {
            common: Common {
                aspect_ratio: ratio.map(str::to_owned),
                ..Common::new("a fox")
            },
            resolution: Some(resolution.to_owned()),
            ..VideoSpec::default()
        });
        bind(&profile(ProviderName::REPLICATE, "google/veo-3.1"), &single)
    };

    assert_eq!(asked("60p", None).unwrap_err()[0].field, "resolution");
    assert_eq!(
        asked("1280x720", Some("portrait")).unwrap_err()[0].field,
        "aspect_ratio"
    );
    assert_eq!(
        asked("1280x720", Some("9:16")).unwrap_err()[0].field,
        "aspect_ratio"
    );
    assert!(asked("1280x720", Some("16:9")).is_ok());
}

#[test]
fn a_size_of_openai_is_moved_to_its_grid_with_a_note() {
    let mut single = image();
    if let Single::Image(image) = &mut single {
        (image.width, image.height) = (Some(1920), Some(1080));
    }

    let (input, notes) = sent(ProviderName::OPENAI, "gpt-image-2", &single);

    assert_eq!(input["size"], json!("1920x1088"));
    assert_eq!(notes, ["adapted width"]);
}

#[test]
fn a_limit_counts_also_for_the_models_own_default() {
    let single = |resolution: Option<&str>| {
        Single::Video(VideoSpec {
            duration: Some(10),
            resolution: resolution.map(str::to_owned),
            common: Common::new("a fox"),
            ..VideoSpec::default()
        })
    };
    let profile = profile(ProviderName::REPLICATE, "minimax/hailuo-02");

    let problems = bind(&profile, &single(None)).unwrap_err();

    let hint = problems[0].hint.as_deref().unwrap();
    assert!(
        hint.contains("the model's default resolution 1080p"),
        "{hint}"
    );
    assert!(bind(&profile, &single(Some("768p"))).is_ok());
}

#[test]
fn a_file_that_the_model_ignores_is_refused() {
    let inputs = [Role::FirstFrame, Role::LastFrame, Role::Reference].map(file);
    let single = Single::Video(VideoSpec {
        common: Common {
            inputs: inputs.to_vec(),
            ..Common::new("a fox")
        },
        ..VideoSpec::default()
    });

    let problems = bind(&profile(ProviderName::REPLICATE, "google/veo-3.1"), &single).unwrap_err();

    let hint = problems[0].hint.as_deref().unwrap();
    assert!(hint.contains("ignores last_frame"), "{problems:?}");
}

#[test]
fn a_dropped_class_does_not_drop_the_ratio() {
    let single = Single::Video(VideoSpec {
        common: Common {
            aspect_ratio: Some("16:9".to_owned()),
            on_unsupported: OnUnsupported::Drop,
            ..Common::new("a fox")
        },
        resolution: Some("1080p".to_owned()),
        ..VideoSpec::default()
    });

    let (input, notes) = sent(
        ProviderName::REPLICATE,
        "kwaivgi/kling-v2.5-turbo-pro",
        &single,
    );

    assert_eq!(input, json!({"aspect_ratio": "16:9"}));
    assert_eq!(notes, ["dropped resolution"]);
}

#[test]
fn texts_and_counts_of_problems_are_bounded_and_show_no_secret() {
    let secret = "https://files.example/a.png?signature=s";
    let inputs = (0..1000).map(|_| Input {
        url: secret.parse().unwrap(),
        role: Role::Mask,
    });
    let single = |on_unsupported| {
        Single::Image(ImageSpec {
            common: Common {
                inputs: std::iter::once(file(Role::Source))
                    .chain(inputs.clone())
                    .collect(),
                params: [("hf_token".to_owned(), "\"hf_1\"".to_owned())].into(),
                on_unsupported,
                ..Common::new("a fox")
            },
            ..ImageSpec::default()
        })
    };
    let profile = profile(ProviderName::REPLICATE, "black-forest-labs/flux-schnell");

    let problems = bind(&profile, &single(OnUnsupported::Refuse)).unwrap_err();
    let dropped = bind(&profile, &single(OnUnsupported::Drop)).unwrap_err();

    assert_eq!(problems.len(), 50);
    assert!(
        !format!("{problems:?}{dropped:?}").contains("signature"),
        "{problems:?}"
    );
    assert_eq!(dropped[0].field, "params.hf_token");
}

#[test]
fn the_notes_of_a_request_are_bounded() {
    let inputs = (0..60).map(|_| file(Role::Reference)).collect();
    let single = Single::Image(ImageSpec {
        common: Common {
            inputs,
            params: (0..60)
                .map(|n| (format!("unknown_{n}"), "1".to_owned()))
                .collect(),
            on_unsupported: OnUnsupported::Drop,
            ..Common::new("a fox")
        },
        ..ImageSpec::default()
    });

    let (_, notes) = sent(
        ProviderName::REPLICATE,
        "black-forest-labs/flux-schnell",
        &single,
    );

    assert_eq!(notes.len(), 50, "{notes:?}");
}

#[test]
fn a_model_that_makes_something_else_is_refused() {
    let film = Single::Video(VideoSpec {
        common: Common::new("a fox"),
        ..VideoSpec::default()
    });
    let still = Single::Image(ImageSpec {
        common: Common::new("a fox"),
        ..ImageSpec::default()
    });
    for (model, suits, other) in [
        ("black-forest-labs/flux-schnell", &still, &film),
        ("google/veo-3.1", &film, &still),
        ("minimax/video-01", &film, &still),
    ] {
        sent(ProviderName::REPLICATE, model, suits);
        assert_eq!(refused(ProviderName::REPLICATE, model, other), ["model"]);
    }
}

#[test]
fn what_a_bundled_model_makes_is_not_mistaken() {
    let films = [
        "video",
        "veo",
        "kling",
        "seedance",
        "hailuo",
        "ltx",
        "ray-2",
        "pixverse",
        "wan",
        "sora",
        "gen4-turbo",
    ];
    let mut known = 0;
    for provider in ProviderName::NATIVE {
        for model in bundle::names(provider) {
            let makes = profile(provider, model).makes();
            let films = films.iter().any(|word| model.contains(word));
            let named = if films { Media::Video } else { Media::Image };
            assert!(makes.is_none_or(|made| made == named), "{model} {makes:?}");
            known += usize::from(makes.is_some());
        }
    }
    assert!(known > 80, "{known} are known");
}

#[test]
fn problems_point_to_the_variant_that_takes_a_picture() {
    let problems = bind(&profile(ProviderName::FAL, "fal-ai/veo3.1"), &video()).unwrap_err();

    let hint = problems[0].hint.as_deref().unwrap();
    assert!(
        hint.starts_with("use the model fal-ai/veo3.1/image-to-video"),
        "{hint}"
    );
}

#[test]
fn a_gate_conflicts_with_another_value_of_its_property() {
    let single = |resolution: &str| {
        let inputs = vec![file(Role::FirstFrame), file(Role::LastFrame)];
        Single::Video(VideoSpec {
            common: Common {
                inputs,
                ..Common::new("a fox")
            },
            resolution: Some(resolution.to_owned()),
            ..VideoSpec::default()
        })
    };
    let model = "kwaivgi/kling-v2.1";

    let (input, _) = sent(ProviderName::REPLICATE, model, &single("1080p"));
    let problems = refused(ProviderName::REPLICATE, model, &single("720p"));

    assert_eq!(input["mode"], json!("pro"));
    assert_eq!(problems, ["resolution"]);
}
