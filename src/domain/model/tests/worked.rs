//! Worked cases: one request for an image and one for a video, on many models.

use serde_json::json;

use super::{PICTURE, file, image, problems, profile, refused, sent, video};
use crate::domain::model::bind;
use crate::domain::{Common, ProviderName, Role, Single, VideoSpec};

const REPLICATE: ProviderName = ProviderName::REPLICATE;
const OPENAI: ProviderName = ProviderName::OPENAI;
const FAL: ProviderName = ProviderName::FAL;

#[test]
fn an_image_of_1280x720_twice_as_png() {
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
            REPLICATE,
            "black-forest-labs/flux-schnell",
            none,
            json!({"aspect_ratio": "16:9", "megapixels": "1", "num_outputs": 2, "output_format": "png"}),
            adapted,
        ),
        (
            REPLICATE,
            "black-forest-labs/flux-1.1-pro",
            &["num_images"],
            json!({"aspect_ratio": "custom", "width": 1280, "height": 720, "output_format": "png"}),
            none,
        ),
        (
            REPLICATE,
            "black-forest-labs/flux-2-pro",
            &["num_images"],
            json!({"aspect_ratio": "custom", "width": 1280, "height": 720, "output_format": "png"}),
            none,
        ),
        (
            REPLICATE,
            "bytedance/seedream-4",
            &["num_images", "output_format"],
            json!({"size": "1K", "aspect_ratio": "16:9"}),
            adapted,
        ),
        (
            REPLICATE,
            "ideogram-ai/ideogram-v3-turbo",
            &["num_images", "output_format"],
            json!({"resolution": "1312x736"}),
            adapted,
        ),
        (
            REPLICATE,
            "recraft-ai/recraft-v3",
            &["num_images", "output_format"],
            json!({"aspect_ratio": "16:9"}),
            adapted,
        ),
        (
            REPLICATE,
            "google/imagen-4",
            &["num_images"],
            json!({"aspect_ratio": "16:9", "image_size": "1K", "output_format": "png"}),
            adapted,
        ),
        (
            FAL,
            "fal-ai/flux/dev",
            none,
            json!({"image_size": {"width": 1280, "height": 720}, "num_images": 2, "output_format": "png"}),
            none,
        ),
        (
            FAL,
            "fal-ai/nano-banana-pro",
            none,
            json!({"aspect_ratio": "16:9", "resolution": "1K", "num_images": 2, "output_format": "png"}),
            adapted,
        ),
        (
            OPENAI,
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
        problems(OPENAI, "gpt-image-1.5", &image()),
        ["width 1280x720: size 1024x1024, 1536x1024, 1024x1536, auto"]
    );
}

#[test]
fn a_video_of_8_seconds_in_1920x1080_from_a_picture() {
    let ratio: &[&str] = &["adapted resolution"];
    let none: &[&str] = &[];
    for (provider, model, expected, notes) in [
        (
            REPLICATE,
            "google/veo-3.1",
            json!({"duration": 8, "resolution": "1080p", "aspect_ratio": "16:9", "image": PICTURE}),
            none,
        ),
        (
            FAL,
            "fal-ai/veo3.1/image-to-video",
            json!({"duration": "8s", "resolution": "1080p", "aspect_ratio": "16:9", "image_url": PICTURE}),
            none,
        ),
        (
            REPLICATE,
            "bytedance/seedance-1-pro",
            json!({"duration": 8, "resolution": "1080p", "image": PICTURE}),
            ratio,
        ),
        (
            REPLICATE,
            "kwaivgi/kling-v3-video",
            json!({"duration": 8, "mode": "pro", "start_image": PICTURE}),
            ratio,
        ),
        (
            REPLICATE,
            "pixverse/pixverse-v5",
            json!({"duration": 8, "quality": "1080p", "aspect_ratio": "16:9", "image": PICTURE}),
            none,
        ),
        (
            FAL,
            "fal-ai/ltx-2.3/image-to-video",
            json!({"duration": 8, "resolution": "1080p", "aspect_ratio": "16:9", "image_url": PICTURE}),
            none,
        ),
    ] {
        let (input, found) = sent(provider, model, &video());

        assert_eq!(input, expected, "{model}");
        assert_eq!(found, notes, "{model}");
    }
}

#[test]
fn a_video_that_a_model_cannot_make_is_refused_with_every_reason_and_what_it_can_make() {
    for (model, expected) in [
        ("minimax/hailuo-2.3", &["duration 8: 6, 10"][..]),
        (
            "kwaivgi/kling-v2.5-turbo-pro",
            &[
                "resolution 1920x1080: aspect_ratio 16:9, 9:16, 1:1",
                "duration 8: 5, 10",
            ],
        ),
        (
            "luma/ray-2-720p",
            &[
                "resolution 1920x1080: aspect_ratio 1:1, 3:4, 4:3, 9:16, 16:9, 9:21, 21:9; 720p only",
                "duration 8: 5, 9",
            ],
        ),
        (
            "wan-video/wan-2.2-i2v-fast",
            &[
                "resolution 1920x1080: resolution 480p, 720p",
                "duration 8: 5.06 to 7.56",
            ],
        ),
        (
            "tencent/hunyuan-video",
            &[
                "inputs[0] FIRST_FRAME: -",
                "resolution 1920x1080: width 16 to 1280; multiples of 16; height 16 to 1280; multiples of 16",
            ],
        ),
        (
            "minimax/video-01",
            &["resolution 1920x1080: -", "duration 8: 6"],
        ),
    ] {
        assert_eq!(problems(REPLICATE, model, &video()), expected, "{model}");
    }
}

#[test]
fn a_length_that_the_model_has_only_at_a_lower_resolution_is_refused() {
    let Single::Video(mut ten) = video() else {
        unreachable!()
    };
    ten.duration = Some(10);

    let problems = bind(
        &profile(REPLICATE, "minimax/hailuo-2.3"),
        &Single::Video(ten),
    )
    .unwrap_err();

    let hint = problems[0].hint.as_deref().unwrap();
    assert!(hint.contains("1080p"), "{problems:#?}");
}

#[test]
fn a_model_without_choices_is_sent_the_picture_alone() {
    let six = Single::Video(VideoSpec {
        common: Common {
            inputs: vec![file(Role::FirstFrame)],
            ..Common::new("a fox")
        },
        duration: Some(6),
        ..VideoSpec::default()
    });
    let (input, notes) = sent(REPLICATE, "minimax/video-01", &six);
    assert_eq!(input, json!({"first_frame_image": PICTURE}));
    assert!(notes.is_empty(), "{notes:?}");
}
