//! The worker: providers, storage, how much at once.

use std::path::PathBuf;
use std::time::Duration;

use super::provider::{self, Named, Provider};
use super::store::{self, S3};
use super::vars::Vars;

/// What the worker needs.
#[derive(Clone, Debug)]
pub struct Worker {
    /// How often each worker looks for runs that were closed from outside.
    pub sweep_interval: Duration,
    /// Where downloads go before they are stored.
    pub temp_dir: PathBuf,
    /// Where results are stored, unless in a bucket.
    pub results_dir: PathBuf,
    /// The bucket where results are stored.
    pub s3: Option<S3>,
    /// Who makes videos.
    pub video: Provider,
    /// Who makes images.
    pub image: Provider,
    /// Who makes either where a spec names another provider than these two.
    pub named: Named,
    /// Pay twice rather than fail when it is unknown whether a submit was accepted.
    pub submit_ambiguous_resubmit: bool,
    /// Pause between two looks at a provider's job.
    pub poll_interval: Duration,
    /// Largest output that is stored, in bytes.
    pub max_output_bytes: u64,
    /// How often an output is downloaded and stored before the run fails.
    pub store_attempts: u32,
    /// Activities of `submit` and `finish` at once.
    pub activity_slots: usize,
    /// Activities of `fetch` at once.
    pub fetch_slots: usize,
    /// Workflows kept in memory; 0 replays each from its history at every step.
    pub cached_workflows: usize,
}

pub(super) fn read(vars: &mut Vars<'_>, mocked: bool) -> Worker {
    let temp_dir = std::env::temp_dir().join("genflow");
    Worker {
        sweep_interval: vars.duration("SWEEP_INTERVAL", "1m"),
        temp_dir: vars.path("TEMP_DIR", &temp_dir),
        results_dir: vars.path("RESULTS_DIR", "results".as_ref()),
        s3: store::read(vars),
        video: provider::video(vars, mocked),
        image: provider::image(vars, mocked),
        named: provider::named(vars, mocked),
        submit_ambiguous_resubmit: vars.one_of("SUBMIT_AMBIGUOUS", &["fail", "resubmit"])
            == "resubmit",
        poll_interval: vars.duration("FETCH_POLL_INTERVAL", "2s"),
        max_output_bytes: vars.number("MAX_OUTPUT_BYTES", 2 * 1024 * 1024 * 1024, 1..=u64::MAX),
        store_attempts: vars.number("STORE_MAX_ATTEMPTS", 5, 1..=100) as u32,
        activity_slots: vars.number("WORKER_ACTIVITY_SLOTS", 100, 1..=100_000) as usize,
        fetch_slots: vars.number("WORKER_FETCH_SLOTS", 2000, 1..=100_000) as usize,
        cached_workflows: vars.number("WORKER_CACHED_WORKFLOWS", 1000, 0..=1_000_000) as usize,
    }
}
