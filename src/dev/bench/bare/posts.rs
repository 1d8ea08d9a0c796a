//! The bare HTTP loop: posts bodies as the notifier posts webhooks, and reads the answers.

use futures::stream::{self, TryStreamExt as _};
use reqwest::Client;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::begin;
use crate::engines::http;
use crate::operate::cli::local::BarePosts;

pub(super) async fn run(bare: BarePosts, stop: CancellationToken) -> anyhow::Result<()> {
    // The same client settings as the notifier's.
    let client = http::client().build()?;
    let round = begin().await;
    let numbers = stream::iter((0..bare.number).map(anyhow::Ok));
    numbers
        .try_for_each_concurrent(bare.at_once, |number| {
            post(&client, &bare.urls[number % bare.urls.len()], bare.bytes)
        })
        .await?;
    round.end(&stop).await;
    Ok(())
}

/// Posts a body of `bytes` bytes, with headers as long as those of a webhook.
pub(in super::super) async fn post(client: &Client, url: &str, bytes: usize) -> anyhow::Result<()> {
    let response = client
        .post(url)
        .header("content-type", "application/json")
        .header("webhook-id", Uuid::new_v4().to_string())
        .header("webhook-timestamp", "1700000000")
        .header("webhook-signature", format!("v1,{}", "x".repeat(44)))
        .body(vec![b'x'; bytes])
        .send()
        .await?
        .error_for_status()?;
    response.bytes().await?;
    Ok(())
}
