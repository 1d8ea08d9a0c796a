//! What holds for every bundled model and any request: only what the schema accepts is sent, and nothing asked is lost.

use proptest::prelude::*;
use serde_json::{Map, Value, json};

use super::{file, profile};
use crate::domain::model::{Bound, Profile, bind, bundle, names, value};
use crate::domain::{Common, ImageSpec, OnUnsupported, ProviderName, Role, Single, VideoSpec};

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

/// Returns whether the model does what a field asks although nothing is sent for it.
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
        for provider in ProviderName::NATIVE {
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

    #[test]
    fn what_is_not_asked_is_not_sent(single in requests()) {
        for provider in ProviderName::NATIVE {
            for model in bundle::names(provider) {
                let Ok(bound) = bind(&profile(provider, model), &single) else { continue };
                for name in unasked(&single) {
                    let sent = bound.input.get(name).filter(|value| !is_file(value));
                    // A file may need a mode, a ratio or a length; then a note says so.
                    let is_noted = bound.notes.iter().any(|note| note.details.contains(&format!("needs {name} ")));
                    prop_assert!(sent.is_none() || is_noted, "{model} {name} {sent:?}");
                }
                let asks_count = matches!(&single, Single::Image(image) if image.num_images.is_some());
                for name in names::COUNT.iter().filter(|_| !asks_count) {
                    let sent = bound.input.get(*name);
                    prop_assert!(sent.is_none_or(|count| *count == json!(1)), "{model} {name} {sent:?}");
                }
            }
        }
    }

    #[test]
    fn binding_what_was_bound_again_changes_nothing(single in requests()) {
        for provider in ProviderName::NATIVE {
            for model in bundle::names(provider) {
                let profile = profile(provider, model);
                let Ok(bound) = bind(&profile, &single) else { continue };
                let again = bind(&profile, &by_params(&single, &bound.input));
                let again = again.map(|again| again.input);
                prop_assert_eq!(again, Ok(bound.input), "{}", model);
            }
        }
    }
}

/// Returns the inputs that a request sends only if it asks for them.
fn unasked(single: &Single) -> Vec<&'static str> {
    let common = single.common();
    let (image, video) = match single {
        Single::Image(image) => (Some(image), None),
        Single::Video(video) => (None, Some(video)),
    };
    let has_size = common.aspect_ratio.is_some()
        || image.is_some_and(|image| image.width.is_some() || image.height.is_some())
        || video.is_some_and(|video| video.resolution.is_some());
    let sizes = [names::PIXELS, names::RATIO, names::CLASS].concat();
    let asked = [
        (
            common.negative_prompt.is_some(),
            names::of("negative_prompt").to_vec(),
        ),
        (common.seed.is_some(), names::of("seed").to_vec()),
        (common.style.is_some(), names::STYLE.to_vec()),
        (
            video.is_some_and(|it| it.audio.is_some()),
            names::AUDIO.to_vec(),
        ),
        (
            image.is_some_and(|it| it.output_format.is_some()),
            names::OUTPUT_FORMAT.to_vec(),
        ),
        (
            video.is_some_and(|it| it.fps.is_some()),
            names::FPS.to_vec(),
        ),
        (
            video.is_some_and(|it| it.duration.is_some()),
            [names::DURATION, names::FRAMES].concat(),
        ),
        (
            has_size,
            [&sizes, &[names::WIDTH, names::HEIGHT][..]].concat(),
        ),
    ];
    let unasked = asked.into_iter().filter(|(is_asked, _)| !is_asked);
    unasked.flat_map(|(_, names)| names).collect()
}

/// Returns a request that sets each input of a model by `params`.
fn by_params(single: &Single, input: &Map<String, Value>) -> Single {
    let params = input
        .iter()
        .map(|(name, value)| (name.clone(), value.to_string()));
    let common = Common {
        params: params.collect(),
        ..Common::new("a fox")
    };
    match single {
        Single::Image(_) => Single::Image(ImageSpec {
            common,
            ..ImageSpec::default()
        }),
        Single::Video(_) => Single::Video(VideoSpec {
            common,
            ..VideoSpec::default()
        }),
    }
}

fn is_file(value: &Value) -> bool {
    value
        .as_str()
        .is_some_and(|text| text.starts_with("https://files.example/"))
}
