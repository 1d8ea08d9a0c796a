//! OpenAI's images and videos, as a client sees them.

use base64::{Engine as _, engine::general_purpose::STANDARD as BASE64};
use serde_json::json;

use super::*;

const IMAGES: &str = "/v1/images/generations";

#[tokio::test]
async fn openai_answers_with_the_images() {
    let sim = Sim::start().await;
    let body = json!({"model": "m", "prompt": "a cat", "n": 2, "size": "64x32"});

    let (code, answer) = sim.post(IMAGES, body).await;

    assert_eq!((code, answer["data"].as_array().unwrap().len()), (200, 2));
    let text = answer["data"][0]["b64_json"].as_str().unwrap();
    let bytes = BASE64.decode(text).unwrap();
    assert!(bytes.starts_with(b"\x89PNG"));
}

#[tokio::test]
async fn the_content_of_an_openai_video_requires_the_key() {
    let sim = Sim::start().await;
    let body = json!({"model": "sora-2", "prompt": "a cat", "seconds": "4", "size": "320x180"});
    let (_, queued) = sim.post("/v1/videos", body).await;
    let path = format!("/v1/videos/{}", queued["id"].as_str().unwrap());
    assert_eq!(queued["status"], "queued");

    within(async { while sim.get(&path).await.1["status"] != "completed" {} }).await;

    let content = format!("{path}/content");
    let keyless = sim.keyless(Method::GET, &content);
    assert_eq!(keyless.send().await.unwrap().status(), 401);
    let film = sim.request(Method::GET, &content).send().await.unwrap();
    assert_eq!(film.headers()["content-type"], "video/mp4");
}

#[tokio::test]
async fn openai_refuses_unknown_parameters_and_invalid_values() {
    let sim = Sim::start().await;
    for (path, body, code) in [
        (
            IMAGES,
            json!({"prompt": "a", "width": 64}),
            "unknown_parameter",
        ),
        (
            "/v1/videos",
            json!({"prompt": "a", "seconds": 4}),
            "invalid_value",
        ),
        (IMAGES, json!([]), "invalid_json"),
    ] {
        let (status, answer) = sim.post(path, body).await;

        assert_eq!((status, &answer["error"]["code"]), (400, &json!(code)));
    }
}
