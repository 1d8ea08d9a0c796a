//! Tests what is sent to OpenAI, and how its answers are read.

use reqwest::StatusCode;
use reqwest::header::HeaderMap;

use super::*;

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
fn images_count_whatever_their_usage_says() {
    for usage in [
        "null",
        r#"{"input_tokens": 5, "input_tokens_details": null}"#,
        r#"{"input_tokens": -1.5}"#,
        r#""many""#,
    ] {
        let text = format!(r#"{{"data": [{{"b64_json": "AA=="}}], "usage": {usage}}}"#);

        let made = made(&answer(&text)).unwrap();

        assert_eq!((made.outputs.len(), made.charge), (1, None), "{usage}");
    }
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
