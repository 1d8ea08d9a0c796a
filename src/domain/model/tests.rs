//! The worked cases, and properties that hold for every bundled model.

use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::domain::{Common, ImageSpec, Input, OnUnsupported, ProviderName, Role, VideoSpec};

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

const PICTURE: &str = "https://files.example/FirstFrame.png";

#[test]
fn an_image_of_1280x720_twice_as_png() {
    use ProviderName::{Fal, OpenAi, Replicate};

    let without = |fields: &[&str]| {
        let Single::Image(mut image) = image() else {
            unreachable!()
        };
        for field in fields {
            match *field {
                "num_images" => image.num_images = None,
                "output_format" => image.output_format = None,
                other => panic!("{other}"),
            }
        }
        Single::Image(image)
    };
    let adapted: &[&str] = &["adapted width"];
    let none: &[&str] = &[];
    // Model, what it refuses, and what is sent without that.
    for (provider, model, wrong, expected, notes) in [
        (
            Replicate,
            "black-forest-labs/flux-schnell",
            none,
            json!({"aspect_ratio": "16:9", "megapixels": "1", "num_outputs": 2, "output_format": "png"}),
            adapted,
        ),
        (
            Replicate,
            "black-forest-labs/flux-1.1-pro",
            &["num_images"],
            json!({"aspect_ratio": "custom", "width": 1280, "height": 720, "output_format": "png"}),
            none,
        ),
        (
            Replicate,
            "bytedance/seedream-4",
            &["num_images", "output_format"],
            json!({"size": "1K", "aspect_ratio": "16:9"}),
            adapted,
        ),
        (
            Replicate,
            "ideogram-ai/ideogram-v3-turbo",
            &["num_images", "output_format"],
            json!({"resolution": "1312x736"}),
            adapted,
        ),
        (
            Replicate,
            "recraft-ai/recraft-v3",
            &["num_images", "output_format"],
            json!({"aspect_ratio": "16:9"}),
            adapted,
        ),
        (
            Replicate,
            "google/imagen-4",
            &["num_images"],
            json!({"aspect_ratio": "16:9", "image_size": "1K", "output_format": "png"}),
            adapted,
        ),
        (
            Fal,
            "fal-ai/flux/dev",
            none,
            json!({"image_size": {"width": 1280, "height": 720}, "num_images": 2, "output_format": "png"}),
            none,
        ),
        (
            Fal,
            "fal-ai/nano-banana-pro",
            none,
            json!({"aspect_ratio": "16:9", "resolution": "1K", "num_images": 2, "output_format": "png"}),
            adapted,
        ),
        (
            OpenAi,
            "gpt-image-2",
            none,
            json!({"size": "1280x720", "n": 2, "output_format": "png"}),
            none,
        ),
    ] {
        if !wrong.is_empty() {
            assert_eq!(refused(provider, model, &image()), wrong, "{model}");
        }

        let (input, found) = sent(provider, model, &without(wrong));

        assert_eq!(input, expected, "{model}");
        assert_eq!(found, notes, "{model}");
    }
    assert_eq!(
        refused(Replicate, "black-forest-labs/flux-2-pro", &image()),
        ["num_images"]
    );
    let problems = bind(&profile(OpenAi, "gpt-image-1.5"), &image()).unwrap_err();
    assert_eq!(problems[0].field, "width");
    assert!(
        problems[0]
            .allowed
            .as_deref()
            .unwrap()
            .contains("1536x1024"),
        "{problems:?}"
    );
}

#[test]
fn a_video_of_8_seconds_in_1920x1080_from_a_picture() {
    use ProviderName::{Fal, Replicate};

    let ratio: &[&str] = &["adapted resolution"];
    let none: &[&str] = &[];
    for (provider, model, expected, notes) in [
        (
            Replicate,
            "google/veo-3.1",
            json!({"duration": 8, "resolution": "1080p", "aspect_ratio": "16:9", "image": PICTURE}),
            none,
        ),
        (
            Fal,
            "fal-ai/veo3.1/image-to-video",
            json!({"duration": "8s", "resolution": "1080p", "aspect_ratio": "16:9", "image_url": PICTURE}),
            none,
        ),
        (
            Replicate,
            "bytedance/seedance-1-pro",
            json!({"duration": 8, "resolution": "1080p", "image": PICTURE}),
            ratio,
        ),
        (
            Replicate,
            "kwaivgi/kling-v3-video",
            json!({"duration": 8, "mode": "pro", "start_image": PICTURE}),
            ratio,
        ),
        (
            Replicate,
            "pixverse/pixverse-v5",
            json!({"duration": 8, "quality": "1080p", "aspect_ratio": "16:9", "image": PICTURE}),
            none,
        ),
        (
            Fal,
            "fal-ai/ltx-2.3/image-to-video",
            json!({"duration": 8, "resolution": "1080p", "aspect_ratio": "16:9", "image_url": PICTURE}),
            none,
        ),
    ] {
        let (input, found) = sent(provider, model, &video());

        assert_eq!(input, expected, "{model}");
        assert_eq!(found, notes, "{model}");
    }
    for (model, expected) in [
        ("minimax/hailuo-2.3", &["duration"][..]),
        ("kwaivgi/kling-v2.5-turbo-pro", &["resolution", "duration"]),
        ("luma/ray-2-720p", &["resolution", "duration"]),
        ("wan-video/wan-2.2-i2v-fast", &["resolution", "duration"]),
        ("tencent/hunyuan-video", &["inputs[0]", "resolution"]),
        ("minimax/video-01", &["resolution", "duration"]),
    ] {
        let found = refused(Replicate, model, &video());

        for field in expected {
            assert!(found.iter().any(|it| it == field), "{model}: {found:?}");
        }
    }
    let six = Single::Video(VideoSpec {
        common: Common {
            inputs: vec![file(Role::FirstFrame)],
            ..Common::new("a fox")
        },
        duration: Some(6),
        ..VideoSpec::default()
    });
    let (input, notes) = sent(Replicate, "minimax/video-01", &six);
    assert_eq!(input, json!({"first_frame_image": PICTURE}));
    assert!(notes.is_empty(), "{notes:?}");
}

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
        ProviderName::Replicate,
        "bytedance/seedance-1-pro",
        &single(5),
    );

    assert_eq!(input, json!({"duration": 5}));
    assert_eq!(notes, ["dropped negative_prompt"]);
    assert_eq!(
        refused(
            ProviderName::Replicate,
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
        |params| bind(&profile(ProviderName::Replicate, model), &with(params)).unwrap_err();

    let (input, notes) = sent(
        ProviderName::Replicate,
        model,
        &with(&[("seed", "7"), ("megapixels", "\"1\"")]),
    );
    let (removed, _) = sent(ProviderName::Replicate, model, &with(&[("seed", "null")]));

    assert_eq!(input["seed"], json!(7));
    assert_eq!(notes, ["overridden seed"]);
    assert_eq!(removed, json!({}));
    let unknown = problems(&[("output_formt", "\"png\"")]);
    assert_eq!(unknown[0].field, "params.output_formt");
    assert_eq!(
        unknown[0].hint.as_deref(),
        Some(
            "the model has no such input, but output_format; leave it out, or set on_unsupported to DROP"
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
        ProviderName::Replicate,
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
    let profile = published(ProviderName::Fal, "fal-ai/new/image-to-video", &properties);

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
    let profile = published(ProviderName::Replicate, "new/model", &properties);
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
        bind(&profile(ProviderName::Replicate, "google/veo-3.1"), &single)
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

    let (input, notes) = sent(ProviderName::OpenAi, "gpt-image-2", &single);

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
    let profile = profile(ProviderName::Replicate, "minimax/hailuo-02");

    let problems = bind(&profile, &single(None)).unwrap_err();

    let hint = problems[0].hint.as_deref().unwrap();
    assert!(
        hint.contains("the model's default resolution 1080p"),
        "{hint}"
    );
    assert!(bind(&profile, &single(Some("768p"))).is_ok());
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
        ProviderName::Replicate,
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
    let profile = profile(ProviderName::Replicate, "black-forest-labs/flux-schnell");

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
fn problems_point_to_the_variant_that_takes_a_picture() {
    let problems = bind(&profile(ProviderName::Fal, "fal-ai/veo3.1"), &video()).unwrap_err();

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

    let (input, _) = sent(ProviderName::Replicate, model, &single("1080p"));
    let problems = refused(ProviderName::Replicate, model, &single("720p"));

    assert_eq!(input["mode"], json!("pro"));
    assert_eq!(problems, ["resolution"]);
}

/// Returns any request for images or a video, with a few usual values.
fn requests() -> impl Strategy<Value = Single> {
    let word = |words: &'static [&'static str]| {
        prop::option::of(prop::sample::select(words).prop_map(str::to_owned))
    };
    let roles = [
        Role::Unspecified,
        Role::FirstFrame,
        Role::LastFrame,
        Role::Source,
        Role::Reference,
        Role::Mask,
    ];
    let inputs = prop::collection::vec(prop::sample::select(roles.to_vec()).prop_map(file), 0..4);
    let common = (
        word(&["rain"]),
        word(&["16:9", "1:1", "3:7", "portrait"]),
        word(&["realistic", "ink"]),
        prop::option::of(any::<i64>()),
        inputs,
        any::<bool>(),
    );
    let common = common.prop_map(
        |(negative_prompt, aspect_ratio, style, seed, inputs, drops)| Common {
            negative_prompt,
            aspect_ratio,
            style,
            seed,
            inputs,
            on_unsupported: if drops {
                OnUnsupported::Drop
            } else {
                OnUnsupported::Refuse
            },
            ..Common::new("a fox")
        },
    );
    let side = || prop::option::of(prop::sample::select(vec![64, 512, 720, 1024, 1280, 4096]));
    let image = (
        common.clone(),
        side(),
        side(),
        prop::option::of(1..6),
        word(&["png", "jpg", "webp", "gif"]),
    );
    let image = image.prop_map(|(common, width, height, num_images, output_format)| {
        Single::Image(ImageSpec {
            common,
            width,
            height,
            num_images,
            output_format,
        })
    });
    let resolution = word(&["720p", "1080p", "4k", "1280x720", "720x1280", "100x100"]);
    let video = (
        common,
        prop::option::of(1..20),
        resolution,
        prop::option::of(12..61),
        prop::option::of(any::<bool>()),
    );
    let video = video.prop_map(|(common, duration, resolution, fps, audio)| {
        Single::Video(VideoSpec {
            common,
            duration,
            resolution,
            fps,
            audio,
        })
    });
    prop_oneof![image, video]
}

/// Returns a request's optional fields that are set, each with the request without it.
fn fields(single: &Single) -> Vec<(&'static str, Single)> {
    let edit = |field: &'static str, remove: &dyn Fn(&mut Single)| {
        let mut without = single.clone();
        remove(&mut without);
        (field, without)
    };
    let common = |remove: fn(&mut Common)| {
        move |single: &mut Single| match single {
            Single::Image(image) => remove(&mut image.common),
            Single::Video(video) => remove(&mut video.common),
        }
    };
    let image = |remove: fn(&mut ImageSpec)| {
        move |single: &mut Single| {
            if let Single::Image(image) = single {
                remove(image);
            }
        }
    };
    let video = |remove: fn(&mut VideoSpec)| {
        move |single: &mut Single| {
            if let Single::Video(video) = single {
                remove(video);
            }
        }
    };
    let all = [
        edit(
            "negative_prompt",
            &common(|common| common.negative_prompt = None),
        ),
        edit("style", &common(|common| common.style = None)),
        edit("seed", &common(|common| common.seed = None)),
        edit("aspect_ratio", &common(|common| common.aspect_ratio = None)),
        edit(
            "width",
            &image(|image| (image.width, image.height) = (None, None)),
        ),
        edit("num_images", &image(|image| image.num_images = None)),
        edit("output_format", &image(|image| image.output_format = None)),
        edit("duration", &video(|video| video.duration = None)),
        edit("fps", &video(|video| video.fps = None)),
        edit("resolution", &video(|video| video.resolution = None)),
        edit("audio", &video(|video| video.audio = None)),
    ];
    all.into_iter()
        .filter(|(_, without)| without != single)
        .collect()
}

/// Returns whether a model does what a field asks without being told.
fn is_implied(profile: &Profile, single: &Single, field: &str, bound: &Bound) -> bool {
    // Another field may need the same value.
    let asked = match (single, field) {
        (Single::Video(video), "duration") => video.duration.map(|it| it.to_string()),
        (_, "aspect_ratio") => single.common().aspect_ratio.clone(),
        (_, _) => None,
    };
    let text = |value: &Value| value::shown(value).trim_end_matches('s').to_owned();
    if profile.fixed(field).is_some() {
        return true;
    }
    if asked.is_some_and(|asked| bound.input.values().any(|value| text(value) == asked)) {
        return true;
    }
    let is_default = |name: &str, value: Value| {
        let property = profile.schema.properties.get(name);
        property.is_some_and(|property| property.default == Some(value))
    };
    match (single, field) {
        (Single::Image(image), "num_images") => {
            let count = image.num_images.unwrap_or(1);
            count == 1
                || names::COUNT
                    .iter()
                    .any(|name| is_default(name, json!(count)))
        }
        (Single::Video(video), "audio") => video.audio == Some(profile.always_has_audio()),
        // The size has this ratio already.
        (Single::Image(image), "aspect_ratio") => image.width.is_some(),
        (Single::Image(image), "width") => {
            let own = image
                .width
                .zip(image.height)
                .map(|(width, height)| format!("{width}x{height}"));
            let is_sent = own.is_some_and(|own| {
                bound
                    .input
                    .values()
                    .any(|value| text(value).replace('*', "x") == own)
            });
            is_sent || profile.fixed("resolution").is_some()
        }
        // Or the model's usual size has it already.
        (Single::Video(video), "aspect_ratio" | "resolution") => {
            let resolution = video.resolution.as_deref().unwrap_or_default();
            let mut sizes = bound
                .input
                .values()
                .filter_map(|value| value.as_str()?.split_once(['x', '*']));
            let is_asked =
                |(width, height): (&str, &str)| resolution == format!("{}p", width.min(height));
            let needs_pro = bound.input.get("mode") == Some(&json!("pro"));
            needs_pro
                || resolution.contains('x')
                || sizes
                    .any(|(width, height)| is_asked((width, height)) || is_asked((height, height)))
        }
        (Single::Image(_) | Single::Video(_), _) => false,
    }
}

/// Checks an input against the published schema, by rules of the test's own.
fn check(model: &str, schema: &Value, input: &Map<String, Value>) -> Result<(), TestCaseError> {
    for (name, value) in input {
        let property = &schema["properties"][name.as_str()];
        prop_assert!(property.is_object(), "{model} has no {name}");
        if let Some(choices) = property["enum"].as_array() {
            prop_assert!(choices.contains(value), "{model} {name} {value}");
        }
        if let Some(number) = value.as_f64() {
            let (least, most) = (property["minimum"].as_f64(), property["maximum"].as_f64());
            prop_assert!(
                least.is_none_or(|least| number >= least),
                "{model} {name} {value}"
            );
            prop_assert!(
                most.is_none_or(|most| number <= most),
                "{model} {name} {value}"
            );
        }
    }
    for name in schema["required"].as_array().into_iter().flatten() {
        let name = name.as_str().unwrap();
        let has_default = !schema["properties"][name]["default"].is_null();
        prop_assert!(
            has_default || input.contains_key(name),
            "{model} lacks {name}"
        );
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn every_bundled_model_is_sent_only_what_it_accepts_and_all_that_was_asked(single in requests()) {
        for provider in ProviderName::ALL {
            for model in bundle::names(provider) {
                let profile = profile(provider, model);
                let Ok(bound) = bind(&profile, &single) else { continue };
                check(model, bundle::input(provider, model).unwrap(), &bound.input)?;
                let files = bound.input.values().map(|value| {
                    let items = value.as_array().map_or(std::slice::from_ref(value), Vec::as_slice);
                    items.iter().filter(|item| is_file(item)).count()
                });
                let dropped = bound.notes.iter().filter(|note| note.kind == "dropped" && note.field.starts_with("inputs")).count();
                prop_assert_eq!(files.sum::<usize>() + dropped, single.common().inputs.len(), "{}", model);
                for (field, without) in fields(&single) {
                    let matters = bind(&profile, &without).as_ref() != Ok(&bound);
                    prop_assert!(matters || is_implied(&profile, &single, field, &bound), "{model} loses {field}");
                }
            }
        }
    }
}

fn is_file(value: &Value) -> bool {
    value
        .as_str()
        .is_some_and(|text| text.starts_with("https://files.example/"))
}
