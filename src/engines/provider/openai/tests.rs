//! Tests the inputs sent to OpenAI, and how its answers are read.

use reqwest::StatusCode;
use reqwest::header::HeaderMap;

use super::*;
use crate::domain::{Common, Input, OnUnsupported};

fn answer(body: &str) -> HttpAnswer {
    HttpAnswer {
        held: super::super::Held::default(),
        status: StatusCode::OK,
        headers: HeaderMap::new(),
        after: None,
        body: body.as_bytes().to_vec(),
    }
}

#[test]
fn an_image_spec_becomes_a_body() {
    let common = Common {
        style: Some("ink".to_owned()),
        params: [("quality".to_owned(), "\"low\"".to_owned())].into(),
        ..Common::new("a fox")
    };
    let spec = ImageSpec {
        common,
        width: Some(1024),
        height: Some(512),
        num_images: Some(2),
        output_format: Some("png".to_owned()),
    };

    assert_eq!(
        Value::Object(images(&spec, "gpt-image-1").unwrap()),
        json!({
            "model": "gpt-image-1", "prompt": "a fox\n\nStyle: ink.", "n": 2, "size": "1024x512",
            "output_format": "png", "quality": "low",
        })
    );
    let vivid = ImageSpec {
        common: Common {
            style: Some("vivid".to_owned()),
            ..Common::new("a fox")
        },
        ..ImageSpec::default()
    };
    assert_eq!(
        Value::Object(images(&vivid, "dall-e-3").unwrap()),
        json!({"model": "dall-e-3", "prompt": "a fox", "style": "vivid"})
    );
}

#[test]
fn a_video_spec_becomes_a_body() {
    let bare = VideoSpec {
        common: Common::new("waves"),
        ..VideoSpec::default()
    };
    let spec = VideoSpec {
        common: Common {
            inputs: vec![input(Role::FirstFrame)],
            ..Common::new("waves")
        },
        duration: Some(8),
        resolution: Some("1280x720".to_owned()),
        ..VideoSpec::default()
    };

    assert_eq!(
        Value::Object(videos(&spec, "sora-2").unwrap()),
        json!({
            "model": "sora-2", "prompt": "waves", "seconds": "8", "size": "1280x720",
            "input_reference": {"image_url": "https://a/1.png"},
        })
    );
    assert_eq!(
        Value::Object(videos(&bare, "sora-2").unwrap()),
        json!({"model": "sora-2", "prompt": "waves"})
    );
}

fn input(role: Role) -> Input {
    Input {
        url: "https://a/1.png".parse().unwrap(),
        role,
    }
}

/// Checks that a spec is refused for these fields, and that only model and prompt are sent if they may be dropped.
fn lacks(fields: &str, asked: Common, body: impl Fn(Common) -> Result<Map<String, Value>, String>) {
    let drop = Common {
        on_unsupported: OnUnsupported::Drop,
        ..asked.clone()
    };

    let refused = body(asked).unwrap_err();

    assert!(
        refused.contains(&format!("no input for {fields};")),
        "{refused}"
    );
    let sent = body(drop).unwrap();
    assert_eq!(sent.keys().collect::<Vec<_>>(), ["model", "prompt"]);
}

#[test]
fn a_field_without_an_input_is_refused_unless_it_may_be_dropped() {
    let asked = Common {
        negative_prompt: Some("dogs".to_owned()),
        aspect_ratio: Some("16:9".to_owned()),
        seed: Some(7),
        inputs: vec![input(Role::Unspecified), input(Role::Unspecified)],
        ..Common::new("a fox")
    };
    let image = |common| {
        let spec = ImageSpec {
            common,
            ..ImageSpec::default()
        };
        images(&spec, "m")
    };
    let video = |common| {
        let spec = VideoSpec {
            common,
            duration: None,
            resolution: Some("720p".to_owned()),
            fps: Some(24),
            audio: Some(false),
        };
        videos(&spec, "m")
    };

    lacks(
        "negative_prompt, aspect_ratio, seed, inputs",
        asked.clone(),
        image,
    );
    lacks(
        "resolution, negative_prompt, aspect_ratio, seed, fps, audio, inputs",
        asked,
        video,
    );
    let half = ImageSpec {
        common: Common::new("a fox"),
        width: Some(512),
        ..ImageSpec::default()
    };
    assert!(images(&half, "m").unwrap_err().contains("expected both"));
}

#[test]
fn images_come_as_base64_or_as_urls() {
    let text = r#"{"created": 5, "data": [{"b64_json": "AA=="}, {"url": "https://a/1.png"}, {}]}"#;

    let made = made(&answer(text)).unwrap();

    assert_eq!(made.id, "images-5");
    assert!(matches!(
        made.outputs.as_slice(),
        [Source::Inline(_), Source::Open(_)]
    ));
    assert!(super::made(&answer("{}")).is_err());
}

#[test]
fn a_refusal_has_a_stable_code() {
    let code = |code: &str| {
        let body = json!({"error": {"message": "no", "type": "t", "param": null, "code": code}});
        said(body.to_string().as_bytes()).code
    };

    assert_eq!(code("moderation_blocked"), Some(ErrorCode::ContentPolicy));
    assert_eq!(
        code("content_policy_violation"),
        Some(ErrorCode::ContentPolicy)
    );
    assert_eq!(code("insufficient_quota"), Some(ErrorCode::ProviderQuota));
    assert_eq!(
        code("billing_hard_limit_reached"),
        Some(ErrorCode::ProviderQuota)
    );
    assert_eq!(code("rate_limit_exceeded"), None);
    assert_eq!(said(b"<html>").code, None);
}

#[test]
fn a_failed_video_has_a_stable_code() {
    let fault = |code: &str| ApiError {
        code: Some(code.to_owned()),
        message: Some("no".to_owned()),
    };

    assert_eq!(
        failure(&fault("moderation_blocked")).code,
        ErrorCode::ContentPolicy
    );
    let other = failure(&fault("video_generation_failed"));
    assert_eq!(
        (other.code, other.message.as_str()),
        (ErrorCode::ProviderFailed, "video_generation_failed: no")
    );
}
