//! The protocols beside Replicate's, seen by a client.

use base64::{Engine as _, engine::general_purpose::STANDARD as BASE64};
use serde_json::json;

use super::*;

const FLUX: &str = "/fal/fal-ai/flux/schnell";
const IMAGES: &str = "/v1/images/generations";

impl Sim {
    /// Calls fal's part, which wants another scheme.
    async fn fal(&self, method: Method, to: &str, body: Value) -> (u16, Value) {
        let url = if to.starts_with('/') {
            format!("http://{}{to}", self.address)
        } else {
            to.to_owned()
        };
        let request = self.http.request(method, url);
        json_of(request.header("authorization", "Key good").json(&body)).await
    }

    async fn completed_at_fal(&self, queued: &Value) -> Value {
        within(async {
            loop {
                let url = queued["status_url"].as_str().unwrap();
                let (code, status) = self.fal(Method::GET, url, json!({})).await;
                if status["status"] == "COMPLETED" {
                    assert_eq!(code, 200);
                    break;
                }
                assert_eq!(code, 202);
            }
        })
        .await;
        let url = queued["response_url"].as_str().unwrap();
        self.fal(Method::GET, url, json!({})).await.1
    }
}

#[tokio::test]
async fn fal_queues_and_gives_the_result_apart() {
    let sim = Sim::start().await;
    let input =
        json!({"prompt": "a cat", "image_size": {"width": 64, "height": 32}, "num_images": 2});

    let (code, queued) = sim.fal(Method::POST, FLUX, input).await;
    let output = sim.completed_at_fal(&queued).await;

    assert_eq!((code, &queued["status"]), (200, &json!("IN_QUEUE")));
    let id = queued["request_id"].as_str().unwrap();
    let below = format!("http://{}/fal/fal-ai/flux/requests/{id}", sim.address);
    assert_eq!(queued["response_url"], below);
    assert_eq!(queued["cancel_url"], format!("{below}/cancel"));
    assert_eq!(output["images"].as_array().unwrap().len(), 2);
    let file = output["images"][0]["url"].as_str().unwrap();
    assert_eq!(sim.http.get(file).send().await.unwrap().status(), 200);
}

#[tokio::test]
async fn fal_cancels_what_has_not_ended() {
    let sim = Sim::start().await;
    let stuck = json!({"prompt": "a cat", "sim": {"stuck": true}});
    let (_, queued) = sim.fal(Method::POST, FLUX, stuck).await;
    let url = queued["cancel_url"].as_str().unwrap();

    let first = sim.fal(Method::PUT, url, json!({})).await;
    let second = sim.fal(Method::PUT, url, json!({})).await;

    assert_eq!(first, (202, json!({"status": "CANCELLATION_REQUESTED"})));
    assert_eq!(second, (400, json!({"status": "ALREADY_COMPLETED"})));
}

#[tokio::test]
async fn an_expired_address_is_followed_by_a_fresh_one() {
    let sim = Sim::start().await;
    let input = json!({"prompt": "a cat", "sim": {"output": "expired"}});
    let (_, queued) = sim.fal(Method::POST, FLUX, input).await;

    for wanted in [403, 200] {
        let output = sim.completed_at_fal(&queued).await;
        let file = output["images"][0]["url"].as_str().unwrap();
        assert_eq!(sim.http.get(file).send().await.unwrap().status(), wanted);
    }
}

#[tokio::test]
async fn openai_gives_images_with_its_answer() {
    let sim = Sim::start().await;
    let body = json!({"model": "m", "prompt": "a cat", "n": 2, "size": "64x32"});

    let (code, answer) = sim.post(IMAGES, body).await;

    assert_eq!((code, answer["data"].as_array().unwrap().len()), (200, 2));
    let text = answer["data"][0]["b64_json"].as_str().unwrap();
    let bytes = BASE64.decode(text).unwrap();
    assert!(bytes.starts_with(b"\x89PNG"));
}

#[tokio::test]
async fn openai_makes_a_video_whose_content_wants_the_key() {
    let sim = Sim::start().await;
    let body = json!({"model": "sora-2", "prompt": "a cat", "seconds": "4", "size": "320x180"});
    let (_, queued) = sim.post("/v1/videos", body).await;
    let path = format!("/v1/videos/{}", queued["id"].as_str().unwrap());
    assert_eq!(queued["status"], "queued");

    within(async { while sim.get(&path).await.1["status"] != "completed" {} }).await;

    let content = format!("{path}/content");
    let keyless = sim.http.get(format!("http://{}{content}", sim.address));
    assert_eq!(keyless.send().await.unwrap().status(), 401);
    let film = sim.request(Method::GET, &content).send().await.unwrap();
    assert_eq!(film.headers()["content-type"], "video/mp4");
}

#[tokio::test]
async fn openai_refuses_what_it_does_not_know() {
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

#[tokio::test]
async fn an_answer_can_be_cut_amidst_its_head_or_body() {
    let sim = Sim::start().await;
    for fault in ["accept_cut_head", "accept_cut_body"] {
        let body = json!({"prompt": "a cat", "seconds": "4", "sim": {"submit": [fault]}});
        let request = sim.request(Method::POST, "/v1/videos");
        let request = request.header("idempotency-key", fault).json(&body);

        let answer = async { request.send().await?.bytes().await };

        assert!(within(answer).await.is_err(), "{fault}");
        assert_eq!(sim.entry(fault).await["accepted"], 1, "{fault}");
    }
}
