//! Tests the inputs sent to fal, and how its answers are read.

use super::*;
use crate::domain::{Common, ImageSpec, Input};

fn inputs(roles: &[Role]) -> Vec<Input> {
    let url = |number| format!("https://a/{number}.png").parse().unwrap();
    let each = roles.iter().zip(1..);
    each.map(|(role, number)| Input {
        url: url(number),
        role: *role,
    })
    .collect()
}

fn video(common: Common, resolution: &str) -> Single {
    Single::Video(VideoSpec {
        common,
        duration: Some(6),
        resolution: Some(resolution.to_owned()),
        audio: Some(false),
        ..VideoSpec::default()
    })
}

#[test]
fn a_spec_becomes_the_input_of_a_model() {
    let image = Single::Image(ImageSpec {
        common: Common {
            style: Some("ink".to_owned()),
            seed: Some(7),
            negative_prompt: Some("dogs".to_owned()),
            inputs: inputs(&[Role::Source]),
            params: [("acceleration".to_owned(), "\"none\"".to_owned())].into(),
            ..Common::new("a fox")
        },
        width: Some(512),
        height: Some(256),
        num_images: Some(2),
        output_format: Some("png".to_owned()),
    });
    let film = Common {
        inputs: inputs(&[Role::FirstFrame, Role::Unspecified]),
        ..Common::new("waves")
    };

    assert_eq!(
        Value::Object(input(&image).unwrap()),
        json!({
            "prompt": "a fox\n\nStyle: ink.", "negative_prompt": "dogs", "seed": 7,
            "image_size": {"width": 512, "height": 256}, "num_images": 2, "output_format": "png",
            "image_url": "https://a/1.png", "acceleration": "none",
        })
    );
    assert_eq!(
        Value::Object(input(&video(film, "1920x1080")).unwrap()),
        json!({
            "prompt": "waves", "duration": 6, "resolution": "1080p", "aspect_ratio": "16:9",
            "generate_audio": false, "image_urls": ["https://a/1.png", "https://a/2.png"],
        })
    );
}

#[test]
fn only_requested_fields_are_sent() {
    let image = Single::Image(ImageSpec {
        common: Common::new("a fox"),
        ..ImageSpec::default()
    });
    let film = Single::Video(VideoSpec {
        common: Common::new("a fox"),
        ..VideoSpec::default()
    });

    for spec in [image, film] {
        let sent = Value::Object(input(&spec).unwrap());
        assert_eq!(sent, json!({"prompt": "a fox"}));
    }
}

#[test]
fn a_resolution_may_have_the_ratio_that_is_asked_for_and_no_other() {
    let wide = Common {
        aspect_ratio: Some("16:9".to_owned()),
        ..Common::new("waves")
    };
    let sent = |resolution| input(&video(wide.clone(), resolution));

    let class = sent("720p").unwrap();
    assert_eq!(
        (&class["resolution"], &class["aspect_ratio"]),
        (&json!("720p"), &json!("16:9"))
    );
    assert_eq!(sent("1280x720").unwrap()["resolution"], "720p");
    assert_eq!(
        sent("512x512").unwrap_err(),
        "spec.resolution 512x512 has the ratio 1:1, but spec.aspect_ratio is 16:9; expected equal ratios, or one of the two \
         fields"
    );
}

#[test]
fn an_input_whose_role_has_no_name_is_refused() {
    for role in [Role::LastFrame, Role::Reference, Role::Mask, Role::Source] {
        let asked = Common {
            inputs: inputs(&[role]),
            ..Common::new("waves")
        };

        let error = input(&video(asked, "720p")).unwrap_err();

        assert!(error.contains("no input for inputs;"), "{error}");
    }
}

#[test]
fn the_addresses_of_a_request_leave_out_the_path_of_its_model() {
    assert_eq!(app("fal-ai/flux/schnell"), "fal-ai/flux");
    assert_eq!(app("fal-ai/fast-sdxl"), "fal-ai/fast-sdxl");
    assert_eq!(app("workflows/me/mine/fast"), "workflows/me/mine");
}

#[test]
fn the_name_of_a_model_cannot_leave_the_api() {
    assert_eq!(check("fal-ai/flux-pro/v1.1-ultra"), Ok(()));
    for model in ["flux", "a/../b", "a//b", "a/b?c", "/a", "a/.b"] {
        assert!(check(model).is_err(), "{model}");
    }
}

#[test]
fn files_are_found_under_any_key() {
    let output = json!({
        "images": [{"url": "https://a/1.png", "width": 8}, {"url": "https://a/2.png"}],
        "video": {"url": "https://a/3.mp4"},
        "prompt": "https://no/file", "seed": 7,
    });
    let mut found = Vec::new();

    collect(&output, &mut found);

    let found: Vec<_> = found.iter().map(Url::as_str).collect();
    assert_eq!(
        found,
        ["https://a/1.png", "https://a/2.png", "https://a/3.mp4"]
    );
}

#[test]
fn a_failed_job_is_distinguished_from_a_failed_call() {
    let list = json!({"detail": [{"loc": ["body", "prompt"], "msg": "no", "type": "missing"}]});
    let platform = json!({"detail": "Request timed out", "error_type": "request_timeout"});
    let plain = json!({"detail": "Internal Server Error"});

    assert!(is_failure(422, &list) && is_failure(500, &list) && is_failure(504, &platform));
    assert!(!is_failure(500, &plain) && !is_failure(401, &plain) && !is_failure(429, &platform));
}

#[test]
fn a_failure_has_a_stable_code() {
    let at = |loc: Value, kind: &str| json!([{"loc": loc, "msg": "m", "type": kind}]);
    let code = |detail: &Value, kind| failure(detail, kind).code;

    let flagged = at(json!(["body", "prompt"]), "content_policy_violation");
    assert_eq!(code(&flagged, None), ErrorCode::ContentPolicy);
    let missing = at(json!(["body", "prompt"]), "missing");
    assert_eq!(code(&missing, None), ErrorCode::InvalidRequest);
    let late = at(json!(["body"]), "generation_timeout");
    assert_eq!(code(&late, None), ErrorCode::ProviderFailed);
    let platform = failure(&json!("Runner gone"), Some("runner_disconnected"));
    assert_eq!(
        (platform.code, platform.retryable),
        (ErrorCode::ProviderFailed, true)
    );
}

#[test]
fn a_refused_submit_says_why() {
    let code = |body: &str| said(body.as_bytes()).code;

    let locked = r#"{"detail": "User is locked. Reason: Exhausted balance. Top up your balance."}"#;
    assert_eq!(code(locked), Some(ErrorCode::ProviderQuota));
    let flagged =
        r#"{"detail": [{"loc": ["body"], "msg": "m", "type": "content_policy_violation"}]}"#;
    assert_eq!(code(flagged), Some(ErrorCode::ContentPolicy));
    assert_eq!(code(r#"{"detail": "nope"}"#), None);
    assert_eq!(said(b"<html>").detail, "<html>");
}
