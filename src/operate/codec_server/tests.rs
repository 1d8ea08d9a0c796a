//! Who may call the codec server, and what it answers.

use reqwest::{Method, RequestBuilder};
use serde_json::{Value, json};
use tokio_util::sync::DropGuard;

use super::*;
use crate::domain::error_chain::causes;

const KEY: &str = "one:MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE=";
const UI: &str = "https://ui.test";

/// A server that ends with the test.
struct Running {
    url: String,
    _stops: DropGuard,
}

impl Running {
    async fn with(variables: &[(&str, &str)]) -> Self {
        let ui = ("CODEC_SERVER_ORIGINS", UI);
        let config = Config::of(&[&[ui], variables].concat()).unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let stop = CancellationToken::new();
        let _stops = stop.clone().drop_guard();
        tokio::spawn(async move {
            let served = serve(&config, listener, &stop).await;
            assert!(served.is_ok(), "{}", causes(served.unwrap_err().as_ref()));
        });
        Self { url, _stops }
    }

    fn call(&self, method: Method, path: &str) -> RequestBuilder {
        crate::engines::http::client()
            .build()
            .unwrap()
            .request(method, format!("{}/{path}", self.url))
    }

    async fn posted(&self, path: &str, body: &Value) -> (u16, Value) {
        let call = self.call(Method::POST, path).body(body.to_string());
        let answer = call.send().await.unwrap();
        let status = answer.status().as_u16();
        let text = answer.text().await.unwrap();
        let read = serde_json::from_str(&text);
        (status, read.unwrap_or(Value::String(text)))
    }
}

fn payloads() -> Value {
    // {"a":1}, json/plain
    json!({"payloads": [{"metadata": {"encoding": "anNvbi9wbGFpbg=="}, "data": "eyJhIjoxfQ=="}]})
}

#[tokio::test]
async fn what_one_call_encodes_the_other_decodes() {
    let server = Running::with(&[("PAYLOAD_KEYS", KEY)]).await;

    let (_, encoded) = server.posted("encode", &payloads()).await;
    let (_, decoded) = server.posted("decode", &encoded).await;

    let encoding = &encoded["payloads"][0]["metadata"]["encoding"];
    assert_eq!(encoding, "YmluYXJ5L2VuY3J5cHRlZA==");
    assert_eq!(decoded, payloads());
}

#[tokio::test]
async fn a_payload_without_its_key_is_returned_as_it_is_and_a_damaged_one_is_an_error() {
    let ours = Running::with(&[("PAYLOAD_KEYS", KEY)]).await;
    let without = Running::with(&[]).await;
    let (_, encoded) = ours.posted("encode", &payloads()).await;

    assert_eq!(
        without.posted("decode", &encoded).await,
        (200, encoded.clone())
    );
    let mut damaged = encoded;
    damaged["payloads"][0]["data"] = json!("AAAA");
    let (status, why) = ours.posted("decode", &damaged).await;
    assert_eq!(status, 400);
    assert!(why.as_str().unwrap().contains("does not open"), "{why}");
    let (status, _) = ours.posted("decode", &json!({"payloads": 7})).await;
    assert_eq!(status, 400);
}

#[tokio::test]
async fn a_call_without_the_token_or_for_another_namespace_is_refused() {
    let server = Running::with(&[("CODEC_SERVER_TOKEN", "needle")]).await;
    let status = async |token: &str, namespace: &str| {
        let call = server.call(Method::POST, "decode");
        let call = call
            .header("authorization", token)
            .header(NAMESPACE, namespace);
        let call = call.body(payloads().to_string());
        call.send().await.unwrap().status().as_u16()
    };

    assert_eq!(status("Bearer needle", "default").await, 200);
    assert_eq!(status("Bearer other", "default").await, 401);
    assert_eq!(status("needle", "default").await, 401);
    assert_eq!(status("Bearer needle", "foreign").await, 403);
    assert_eq!(server.posted("decode", &payloads()).await.0, 401);
}

#[tokio::test]
async fn only_a_listed_page_may_call_from_a_browser() {
    let server = Running::with(&[("CODEC_SERVER_TOKEN", "needle")]).await;
    let asked = async |method: Method, origin: &str| {
        let call = server.call(method, "decode").header("origin", origin);
        let call = call.header("access-control-request-method", "POST");
        call.send().await.unwrap()
    };

    let preflight = asked(Method::OPTIONS, UI).await;
    assert_eq!(preflight.status(), 204);
    let allowed = |name: &str| preflight.headers()[name].to_str().unwrap().to_owned();
    assert_eq!(allowed("access-control-allow-origin"), UI);
    assert!(allowed("access-control-allow-headers").contains("x-namespace"));
    for method in [Method::OPTIONS, Method::POST] {
        let answer = asked(method, "https://evil.test").await;
        assert_eq!(answer.status(), 403);
        assert!(!answer.headers().contains_key("access-control-allow-origin"));
    }
    // The page must be able to read why it was refused.
    let refused = asked(Method::POST, UI).await;
    assert_eq!(refused.status(), 401);
    assert_eq!(refused.headers()["access-control-allow-origin"], UI);
}
