//! Callbacks of providers: can they reach a worker, and can a worker verify them?

use std::time::Duration;

use super::{Finding, causes, shown};
use crate::domain::{Media, RequestId};
use crate::engines::config::{Callbacks, Config, Protocol};
use crate::engines::http;
use crate::engines::provider::Providers;
use crate::roles::worker::callbacks::PONG;

const TIME: Duration = Duration::from_secs(5);

pub(super) async fn examine(config: &Config) -> Vec<Finding> {
    let Some(callbacks) = &config.worker.callbacks else {
        return Vec::new();
    };
    let mut found = vec![reach(callbacks).await];
    if !config.mock_external_apis {
        found.extend(verify(config).await);
    }
    found
}

async fn reach(callbacks: &Callbacks) -> Finding {
    let check = "CALLBACK_URL";
    let base = callbacks.url.as_str().trim_end_matches('/');
    let url = format!("{base}/callbacks/ping");
    let asking = async {
        let client = http::client().timeout(TIME).build()?;
        client.get(&url).send().await?.text().await
    };
    let at = shown(&callbacks.url);
    let wrong = match asking.await {
        Ok(answer) if answer == PONG => {
            return Finding::ok(check, format!("a worker takes callbacks at {at}"));
        }
        Ok(_) => format!("the answer at {at} is not a worker's"),
        Err(error) => format!(
            "no worker answers at {at}: {}",
            causes(&error.without_url())
        ),
    };
    // Only a warning: the provider may reach an address that this machine cannot, and polls find the jobs in any case.
    Finding::warn(check, wrong).advise(
        "configure its proxy to pass /callbacks/ to CALLBACK_ADDR of the workers; until then, genflow notices finished jobs by polls every few minutes",
    )
}

/// Checks that the callbacks of each default provider can be verified.
async fn verify(config: &Config) -> Vec<Finding> {
    let providers = Providers::new(&config.worker, None);
    let probe = RequestId::try_from("doctor".to_owned());
    let (Ok(providers), Ok(probe)) = (providers, probe) else {
        return Vec::new();
    };
    let mut found = Vec::new();
    for (kind, of, name) in [
        (Media::Video, "videos", config.worker.video.name),
        (Media::Image, "images", config.worker.image.name),
    ] {
        let check = format!("callbacks of {} for {of}", name.as_str());
        let protocol = config.worker.provider(kind, name).protocol;
        if !matches!(protocol, Protocol::Replicate | Protocol::Fal) {
            continue;
        }
        let callback = providers.of(kind, name).callback(&probe.run(0)).await;
        found.push(match callback {
            Some(_) => Finding::ok(check, "can be verified"),
            None => Finding::warn(
                check,
                "cannot be verified; jobs are polled as if CALLBACK_URL were not set",
            )
            .advise("check the key and the network, REPLICATE_WEBHOOK_SECRET and FAL_JWKS_URL; see docs/providers.md"),
        });
    }
    found
}
