//! What is sent to OpenAI, and what its answers mean.

use reqwest::StatusCode;
use reqwest::header::HeaderMap;

use super::*;

fn answer(body: &str) -> Answer {
    Answer {
        held: super::super::Held::default(),
        status: StatusCode::OK,
        headers: HeaderMap::new(),
        after: None,
        body: body.as_bytes().to_vec(),
    }
}

#[test]
fn an_image_spec_becomes_a_body() {
    let spec = ImageSpec {
        prompt: "a fox".to_owned(),
        style: "ink".to_owned(),
        num_images: 2,
        params: [("quality".to_owned(), "\"low\"".to_owned())].into(),
        ..ImageSpec::default()
    };

    assert_eq!(
        Value::Object(images(&spec, "gpt-image-1").unwrap()),
        json!({
            "model": "gpt-image-1", "prompt": "a fox\n\nStyle: ink.", "n": 2, "size": "1024x1024",
            "quality": "low",
        })
    );
    let vivid = ImageSpec {
        style: "vivid".to_owned(),
        ..spec
    };
    let body = images(&vivid, "dall-e-3").unwrap();
    assert_eq!(
        (&body["style"], &body["prompt"]),
        (&json!("vivid"), &json!("a fox"))
    );
}

#[test]
fn a_video_spec_becomes_a_body() {
    let spec = VideoSpec {
        prompt: "waves".to_owned(),
        duration: 8,
        resolution: "1280x720".to_owned(),
        style: String::new(),
        input_urls: vec!["https://a/1.png".to_owned()],
        ..VideoSpec::default()
    };

    assert_eq!(
        Value::Object(videos(&spec, "sora-2").unwrap()),
        json!({
            "model": "sora-2", "prompt": "waves", "seconds": "8", "size": "1280x720",
            "input_reference": {"image_url": "https://a/1.png"},
        })
    );
}

#[test]
fn inputs_without_a_place_are_refused_and_not_dropped() {
    let urls = vec!["https://a/1.png".to_owned(), "https://a/2.png".to_owned()];
    let image = ImageSpec {
        input_urls: urls.clone(),
        ..ImageSpec::default()
    };
    let video = VideoSpec {
        input_urls: urls,
        ..VideoSpec::default()
    };

    assert!(images(&image, "m").is_err() && videos(&video, "m").is_err());
}

#[test]
fn images_come_as_base64_or_as_addresses() {
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
    let fault = |code: &str| Fault {
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
