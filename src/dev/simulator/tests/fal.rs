//! fal's queue, as a client sees it.

use serde_json::json;

use super::*;

const FLUX: &str = "/fal/fal-ai/flux/schnell";

impl Sim {
    /// Calls fal's API, which uses another authorization scheme.
    async fn fal(&self, method: Method, to: &str, body: Value) -> (u16, Value) {
        let request = self.keyless(method, to);
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
async fn fal_queues_a_job_and_returns_its_result_at_another_url() {
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
async fn fal_cancels_a_job_that_has_not_ended() {
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
