//! Tests the names and answers of fal.

use serde_json::json;

use super::*;

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
    let missing = failure(&at(json!(["body", "prompt"]), "missing"), None);
    assert_eq!(missing.code, ErrorCode::InvalidRequest);
    assert_eq!(missing.problems[0].field, "prompt");
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
