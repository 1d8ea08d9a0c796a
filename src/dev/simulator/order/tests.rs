//! What a simulated job makes of a model and its input.

use serde_json::json;

use super::*;

fn is_video(order: &Order) -> bool {
    matches!(order.media, JobOutput::Video { .. })
}

#[test]
fn a_prompt_alone_is_one_square_picture() {
    let order = Order::of("me/mine", json!({"prompt": "a cat"})).unwrap();

    assert_eq!(
        order.media,
        JobOutput::Images {
            width: 1024,
            height: 1024,
            count: 1
        }
    );
}

#[test]
fn the_name_of_the_model_decides_if_the_input_does_not() {
    let film = Order::of("minimax/video-01", json!({"prompt": "a cat"})).unwrap();

    assert!(is_video(&film));
}

#[test]
fn any_field_of_a_video_makes_a_video() {
    for film in [
        json!({"duration": 3}),
        json!({"fps": 24}),
        json!({"resolution": "720p"}),
    ] {
        let mut input = film;
        input["prompt"] = json!("a cat");

        assert!(is_video(&Order::of("me/mine", input).unwrap()));
    }
}

#[test]
fn resolutions_are_read_in_both_spellings() {
    for (raw, want) in [
        ("1920x1080", (1920, 1080)),
        ("720p", (1280, 720)),
        ("512x768", (512, 768)),
    ] {
        let JobOutput::Video { width, height, .. } =
            Order::of("me/mine", json!({"prompt": "", "resolution": raw}))
                .unwrap()
                .media
        else {
            panic!("{raw} made no video");
        };

        assert_eq!((width, height), want);
    }
}

#[test]
fn a_fault_is_named() {
    for (input, want) in [
        (json!("a cat"), "invalid type"),
        (json!({}), "missing field `prompt`"),
        (json!({"prompt": 7}), "invalid type: integer"),
        (
            json!({"prompt": "", "width": 5000}),
            "input.width: is 5000, expected 1 to 4096",
        ),
        (
            json!({"prompt": "", "num_outputs": 0}),
            "input.num_outputs: is 0",
        ),
        (json!({"prompt": "", "duration": 0}), "input.duration: is 0"),
        (
            json!({"prompt": "", "resolution": "0x9"}),
            "expected a size such as \"1920x1080\"",
        ),
        (
            json!({"prompt": "", "sim": {"sumbit": []}}),
            "unknown field `sumbit`",
        ),
        (
            json!({"prompt": "", "sim": {"submit": [200]}}),
            "did not match",
        ),
        (
            json!({"prompt": "", "sim": {"cancel": [200]}}),
            "expected 300 to 599",
        ),
        (
            json!({"prompt": "", "sim": {"seconds": -1}}),
            "the number of seconds is -1, expected 0 or more",
        ),
    ] {
        let error = Order::of("me/mine", input).unwrap_err();

        assert!(error.contains(want), "{error}");
    }
}
