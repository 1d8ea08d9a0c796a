//! Settings of the worker: providers, storage, concurrency.

use std::path::PathBuf;
use std::time::Duration;

use super::egress::{self, Egress, Names, Nat64};
use super::provider::{self, Named, Provider, Rates};
use super::retries::{Retries, Tries};
use super::store::{self, S3};
use super::vars::Vars;

/// Settings of the worker.
#[derive(Clone, Debug)]
pub struct Worker {
    /// Interval at which each worker sweeps for runs that were closed from outside, and each notifier for deliveries.
    pub sweep_interval: Duration,
    /// Folder of downloads, before they are stored.
    pub temp_dir: PathBuf,
    /// Maximum bytes of downloads in it at once; `None`: half of what is free when the worker starts.
    pub temp_max_bytes: Option<u64>,
    /// Folder of results, unless `s3` is set.
    pub results_dir: PathBuf,
    /// Bucket of results.
    pub s3: Option<S3>,
    /// Default provider of videos.
    pub video: Provider,
    /// Default provider of images.
    pub image: Provider,
    /// Providers that a spec may name instead of these two.
    pub named: Named,
    /// Limits of the submits to each provider.
    pub rates: Rates,
    /// How long a provider may take to answer a submit.
    pub submit_timeout: Duration,
    /// Whether to submit again, and perhaps pay twice, rather than fail if it is unknown whether a submit was accepted.
    pub submit_ambiguous_resubmit: bool,
    /// Pause between two polls of a job.
    pub poll_interval: Duration,
    /// Largest output that is stored, in bytes.
    pub max_output_bytes: u64,
    /// Maximum bytes of all outputs of one run together.
    pub max_result_bytes: u64,
    /// How long the download of one output may take.
    pub download_timeout: Duration,
    /// How many polls of a job may fail in a row.
    pub looks: Tries,
    /// Rules for the addresses of outputs; a provider's own origins are always allowed.
    pub egress: Egress,
    /// How often an output is downloaded and stored before the run fails.
    pub stores: Tries,
    /// How long outputs that are being stored may still take after the deadline or a cancel.
    pub store_grace: Duration,
    /// Workflow tasks at once.
    pub workflow_slots: usize,
    /// Activities `submit` and `finish` at once.
    pub activity_slots: usize,
    /// Activities `fetch` at once.
    pub fetch_slots: usize,
    /// Pollers of workflow tasks.
    pub workflow_pollers: Pollers,
    /// Pollers of the activities `submit` and `finish`.
    pub activity_pollers: Pollers,
    /// Pollers of the activity `fetch`.
    pub fetch_pollers: Pollers,
    /// The worker takes new activities only while less memory than this is in use, in bytes.
    pub memory_limit: Option<u64>,
    /// Build id reported to Temporal; `None`: the version and a checksum of the executable.
    pub build_id: Option<String>,
    /// Workflows cached in memory; 0 replays the history at every workflow task.
    pub cached_workflows: usize,
}

/// How many poll calls wait for tasks at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pollers {
    /// As many as the server's answers suggest.
    Auto,
    /// A fixed number.
    Exactly(usize),
}

/// The fewest pollers of workflow tasks: one for cached workflows (the sticky queue), one for others.
const WORKFLOW_POLLERS: usize = 2;

/// Reads `auto`, or a number.
fn pollers(vars: &mut Vars<'_>, name: &'static str, fewest: usize) -> Pollers {
    let text = vars.string(name, "5");
    if text == "auto" {
        return Pollers::Auto;
    }
    match text.parse() {
        Ok(count) if (fewest..=1000).contains(&count) => Pollers::Exactly(count),
        Ok(_) | Err(_) => {
            let wanted = format!("is {text:?}, expected auto, or {fewest} to 1000");
            vars.fault(name, &wanted);
            Pollers::Auto
        }
    }
}

/// Reads a number of bytes above 0, or nothing.
fn memory_limit(vars: &mut Vars<'_>) -> Option<u64> {
    let name = "MEMORY_LIMIT_BYTES";
    let text = vars.optional(name)?;
    let bytes = text.parse().ok().filter(|bytes| *bytes > 0);
    if bytes.is_none() {
        vars.fault(
            name,
            &format!("is {text:?}, expected a number of bytes above 0"),
        );
    }
    bytes
}

pub(super) fn read(
    vars: &mut Vars<'_>,
    mocked: bool,
    retries: &Retries,
    nat64: &[Nat64],
) -> Worker {
    let temp_dir = std::env::temp_dir().join("genflow");
    let max_output_bytes = vars.number("MAX_OUTPUT_BYTES", 2 * 1024 * 1024 * 1024, 1..=u64::MAX);
    let max_result_bytes = at_least(vars, "MAX_RESULT_BYTES", max_output_bytes);
    Worker {
        sweep_interval: vars.duration("SWEEP_INTERVAL", "1m"),
        temp_dir: vars.path("TEMP_DIR", &temp_dir),
        temp_max_bytes: at_least(vars, "TEMP_MAX_BYTES", max_output_bytes),
        results_dir: vars.path("RESULTS_DIR", "results".as_ref()),
        s3: store::read(vars),
        video: provider::video(vars, mocked),
        image: provider::image(vars, mocked),
        named: provider::named(vars, mocked),
        rates: provider::rates(vars),
        // An attempt of `submit` has five minutes, in which it may also have to store outputs from the answer.
        submit_timeout: vars.duration_up_to("SUBMIT_TIMEOUT", "200s", "200s"),
        submit_ambiguous_resubmit: vars.one_of("SUBMIT_AMBIGUOUS", &["fail", "resubmit"])
            == "resubmit",
        poll_interval: vars.duration("FETCH_POLL_INTERVAL", "2s"),
        max_output_bytes,
        max_result_bytes: max_result_bytes.unwrap_or(max_output_bytes.saturating_mul(4)),
        download_timeout: vars.duration("DOWNLOAD_TIMEOUT", "15m"),
        looks: retries.fetch,
        stores: retries.store,
        // The workflow's own time-outs allow one minute for it.
        store_grace: vars.duration_up_to("STORE_GRACE", "60s", "60s"),
        egress: egress::read(
            vars,
            &Names {
                allow_private: "DOWNLOAD_ALLOW_PRIVATE",
                allow_http: "DOWNLOAD_ALLOW_HTTP",
                ports: "DOWNLOAD_PORTS",
            },
            nat64,
        ),
        workflow_slots: vars.number("WORKER_WORKFLOW_SLOTS", 100, 2..=100_000) as usize,
        activity_slots: vars.number("WORKER_ACTIVITY_SLOTS", 100, 1..=100_000) as usize,
        fetch_slots: vars.number("WORKER_FETCH_SLOTS", 2000, 1..=100_000) as usize,
        workflow_pollers: pollers(vars, "WORKER_WORKFLOW_POLLERS", WORKFLOW_POLLERS),
        activity_pollers: pollers(vars, "WORKER_ACTIVITY_POLLERS", 1),
        fetch_pollers: pollers(vars, "WORKER_FETCH_POLLERS", 1),
        memory_limit: memory_limit(vars),
        build_id: vars.optional("WORKER_BUILD_ID"),
        cached_workflows: vars.number("WORKER_CACHED_WORKFLOWS", 1000, 0..=1_000_000) as usize,
    }
}

/// Reads a number of bytes, at least the size of the largest output, or nothing.
fn at_least(vars: &mut Vars<'_>, name: &'static str, output: u64) -> Option<u64> {
    let text = vars.optional(name)?;
    let bytes = text.parse().ok().filter(|bytes| *bytes >= output);
    if bytes.is_none() {
        let problem = format!(
            "is {text:?}, expected a number of bytes, at least MAX_OUTPUT_BYTES ({output})"
        );
        vars.fault(name, &problem);
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::super::Config;

    #[test]
    fn the_bounds_of_downloads_leave_room_for_one_of_the_largest_size() {
        let worker = |pairs: &[(&str, &str)]| Config::of(pairs).unwrap().worker;

        let least = worker(&[("MAX_OUTPUT_BYTES", "10")]);
        assert_eq!((least.max_result_bytes, least.temp_max_bytes), (40, None));
        let set = worker(&[
            ("MAX_OUTPUT_BYTES", "10"),
            ("MAX_RESULT_BYTES", "10"),
            ("TEMP_MAX_BYTES", "11"),
        ]);
        assert_eq!((set.max_result_bytes, set.temp_max_bytes), (10, Some(11)));
        for name in ["MAX_RESULT_BYTES", "TEMP_MAX_BYTES"] {
            for bytes in ["9", "-1", "1 GiB"] {
                let faults = Config::of(&[("MAX_OUTPUT_BYTES", "10"), (name, bytes)]).unwrap_err();

                let named: Vec<_> = faults.0.iter().map(|fault| fault.variable).collect();
                assert_eq!(named, [name], "{bytes}");
            }
        }
    }
}
