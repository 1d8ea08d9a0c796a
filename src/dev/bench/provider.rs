//! A provider whose jobs are done at once, and the calls to it that an output cannot do without.

use std::time::Duration;

use anyhow::Context as _;
use serde_json::{Value, json};
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::dev::simulator::{Simulator, SimulatorOptions};

/// A running provider.
pub(super) struct Provider {
    url: String,
    _stop: DropGuard,
}

impl Provider {
    pub(super) async fn start() -> anyhow::Result<Self> {
        let simulator = Simulator::bind(SimulatorOptions {
            listen: ([127, 0, 0, 1], 0).into(),
            job_time: Duration::ZERO,
        })
        .await?;
        let url = format!("http://{}", simulator.address());
        let stop = CancellationToken::new();
        tokio::spawn(simulator.run(stop.clone()));
        Ok(Self {
            url,
            _stop: stop.drop_guard(),
        })
    }

    /// Returns the settings of roles that use this provider.
    pub(super) fn settings(&self) -> Vec<(&'static str, &str)> {
        vec![
            ("IMAGE_API_BASE_URL", &self.url),
            ("IMAGE_API_KEY", "bench"),
        ]
    }

    /// Returns how often all jobs were polled.
    pub(super) async fn polls(&self) -> anyhow::Result<u64> {
        let ledger = reqwest::get(format!("{}/_sim/ledger", self.url)).await?;
        let ledger: Value = ledger.json().await?;
        let entries = ledger["entries"].as_array().into_iter().flatten();
        let jobs = entries
            .filter_map(|entry| entry["jobs"].as_array())
            .flatten();
        Ok(jobs.filter_map(|job| job["reads"].as_u64()).sum())
    }

    /// Submits an image with this script, polls its job once, and returns the answer for its file.
    pub(super) async fn image(
        &self,
        client: &reqwest::Client,
        script: Value,
    ) -> anyhow::Result<reqwest::Response> {
        let path = "v1/models/black-forest-labs/flux-schnell/predictions";
        let submit = client.post(format!("{}/{path}", self.url));
        let submit = submit.json(&json!({"input": {"prompt": "a red fox", "sim": script}}));
        let job = answer(submit).await?;
        let poll = client.get(job["urls"]["get"].as_str().context("no URL of the job")?);
        let job = answer(poll).await?;
        let file = client.get(job["output"][0].as_str().context("no output")?);
        Ok(file.send().await?.error_for_status()?)
    }
}

async fn answer(request: reqwest::RequestBuilder) -> anyhow::Result<Value> {
    let response = request.bearer_auth("bench").send().await?;
    Ok(response.error_for_status()?.json().await?)
}
