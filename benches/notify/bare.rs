//! The minimal sender of webhooks: a loop of POSTs with the same client as the notifier.

use std::time::Duration;

use futures::stream::{self, StreamExt as _};
use uuid::Uuid;

/// Posts `count` bodies of `length` bytes to `urls` in turn, `concurrency` at once.
pub(crate) async fn post(urls: &[String], count: usize, concurrency: usize, length: usize) {
    // Configured like the notifier's client.
    let client = reqwest::Client::builder()
        .no_proxy()
        .redirect(reqwest::redirect::Policy::none())
        .retry(reqwest::retry::never())
        .connect_timeout(Duration::from_secs(10))
        .timeout(Duration::from_secs(15))
        .user_agent("genflow-bench")
        .build()
        .unwrap();
    let client = &client;
    stream::iter(0..count)
        .for_each_concurrent(concurrency, |number| async move {
            let response = client
                .post(&urls[number % urls.len()])
                .header("content-type", "application/json")
                .header("webhook-id", Uuid::new_v4().to_string())
                .header("webhook-timestamp", "1700000000")
                .header("webhook-signature", format!("v1,{}", "x".repeat(44)))
                .body(vec![b'x'; length])
                .send()
                .await
                .unwrap();
            assert!(response.status().is_success());
            response.bytes().await.unwrap();
        })
        .await;
}
