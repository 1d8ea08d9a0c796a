//! Settings of the worker: providers, storage, concurrency.

use std::path::PathBuf;
use std::time::Duration;

use super::callbacks::{self, Callbacks};
use super::egress::{self, Egress};
use super::provider::{self, Named, Provider};
use super::retries::Retries;
use super::spending::{self, Spending};
use super::store::{self, S3};
use super::vars::{Vars, duration};
use crate::contract::run::{DefaultProviders, Fallbacks, KindFallbacks};
use crate::domain::{Fallback, Media, ProviderName};

/// How long `submit` waits for the outputs of a job if `SUBMIT_WAIT` does not say it, and at most.
const SUBMIT_WAIT: Duration = Duration::from_secs(3);
const LONGEST_SUBMIT_WAIT: Duration = Duration::from_secs(30);

#[derive(Clone, Debug)]
pub struct Worker {
    /// Interval at which each worker sweeps for runs that were closed from outside, and each notifier for deliveries.
    pub sweep_interval: Duration,
    /// Folder of downloads, before they are stored.
    pub temp_dir: PathBuf,
    /// Maximum bytes of downloads in `temp_dir` at once; `None`: half of what is free when the worker starts.
    pub temp_max_bytes: Option<u64>,
    /// Folder of results, unless `s3` is set.
    pub results_dir: PathBuf,
    pub s3: Option<S3>,
    /// Default provider of videos.
    pub video: Provider,
    /// Default provider of images.
    pub image: Provider,
    /// What videos and images fall back to if their requests name nothing.
    pub video_fallback: Vec<Fallback>,
    pub image_fallback: Vec<Fallback>,
    /// Providers that a spec may name instead of these two.
    pub named: Named,
    pub spending: Spending,
    /// `None`: no callbacks are asked for.
    pub callbacks: Option<Callbacks>,
    /// How long a provider may take to answer a submit.
    pub submit_timeout: Duration,
    /// How long `submit` waits for the outputs of a job; zero: never.
    pub submit_wait: Duration,
    /// Whether to submit again, and perhaps pay twice, rather than fail if it is unknown whether a submit was accepted.
    pub submit_ambiguous_resubmit: bool,
    /// Pause between two polls of a job.
    pub poll_interval: Duration,
    /// Largest output that is stored, in bytes.
    pub max_output_bytes: u64,
    pub retries: Retries,
    /// Rules for the addresses of outputs and inputs. Outputs at the provider's own origin are always allowed.
    pub egress: Egress,
    /// How long outputs that are being stored may still take after the deadline or a cancel.
    pub store_grace: Duration,
    /// Activities `submit` and `finish` at once. The queue of each provider's rate-limited submits has as many again.
    pub activity_slots: usize,
    /// Activities `fetch` at once.
    pub fetch_slots: usize,
    /// Bytes of memory in use from which on a worker or notifier runs only a few activities of each queue; `None`: no
    /// limit.
    pub memory_limit: Option<u64>,
}

impl Worker {
    /// Returns the providers of specs that name none.
    pub fn default_providers(&self) -> DefaultProviders {
        DefaultProviders {
            video: self.video.name,
            image: self.image.name,
        }
    }

    /// Returns what a run must know to fall back.
    pub fn fallbacks(&self) -> Fallbacks {
        let of = |kind, entries: &[Fallback]| KindFallbacks {
            entries: entries.to_vec(),
            models: self
                .named
                .iter()
                .map(|(name, _)| (name, self.provider(kind, name).model))
                .collect(),
        };
        Fallbacks {
            video: of(Media::Video, &self.video_fallback),
            image: of(Media::Image, &self.image_fallback),
        }
    }

    /// Returns the settings of provider `name` for `kind`: those of the default provider if it is that one, else the
    /// provider's own. A provider that is not configured has [`Protocol::Unknown`](super::Protocol::Unknown).
    pub fn provider(&self, kind: Media, name: ProviderName) -> Provider {
        let default = match kind {
            Media::Video => &self.video,
            Media::Image => &self.image,
        };
        if default.name == name {
            return default.clone();
        }
        let own = self.named.of(name);
        own.map_or_else(|| Provider::unknown(name), |own| own.of_kind(name, kind))
    }

    /// Replaces the base URL of each provider for which `place` returns one.
    #[cfg(feature = "dev")]
    pub(crate) fn relocate(&mut self, place: impl Fn(&provider::Protocol) -> Option<url::Url>) {
        let defaults = [&mut self.video, &mut self.image];
        let defaults = defaults.map(|it| (&it.protocol, &mut it.base_url));
        let named = self.named.iter_mut();
        let named = named.map(|own| (&own.protocol, &mut own.base_url));
        for (protocol, url) in defaults.into_iter().chain(named) {
            if let Some(there) = place(protocol) {
                *url = there;
            }
        }
    }
}

pub(super) fn read(vars: &mut Vars<'_>, mocked: bool, named: Named, retries: Retries) -> Worker {
    let temp_dir = std::env::temp_dir().join("genflow");
    let max_output_bytes = vars.number("MAX_OUTPUT_BYTES", 2 * 1024 * 1024 * 1024, 1..=u64::MAX);
    let ambiguous = vars.read("SUBMIT_AMBIGUOUS", "fail or resubmit", |text| match text {
        "fail" => Some(false),
        "resubmit" => Some(true),
        _ => None,
    });
    let wait = vars.read(
        "SUBMIT_WAIT",
        "0s, or a time up to 30s",
        |text| match text {
            "0s" => Some(Duration::ZERO),
            _ => duration(text).filter(|wait| *wait <= LONGEST_SUBMIT_WAIT),
        },
    );
    let at_least = |fewest: u64| move |text: &str| text.parse().ok().filter(|it| *it >= fewest);
    let room = format!("a number of bytes, at least MAX_OUTPUT_BYTES ({max_output_bytes})");
    Worker {
        sweep_interval: vars.duration("SWEEP_INTERVAL", "1m"),
        temp_dir: vars.path("TEMP_DIR", &temp_dir),
        temp_max_bytes: vars.read("TEMP_MAX_BYTES", &room, at_least(max_output_bytes)),
        results_dir: vars.path("RESULTS_DIR", "results".as_ref()),
        s3: store::read(vars),
        video: provider::default(vars, mocked, &named, Media::Video),
        image: provider::default(vars, mocked, &named, Media::Image),
        video_fallback: provider::fallback(vars, &named, "VIDEO_FALLBACK"),
        image_fallback: provider::fallback(vars, &named, "IMAGE_FALLBACK"),
        named,
        spending: spending::read(vars),
        callbacks: callbacks::read(vars),
        // An attempt of `submit` has five minutes, in which it may also have to store outputs from the answer.
        submit_timeout: vars.duration_within("SUBMIT_TIMEOUT", "200s", "1ms"..="200s"),
        // As for `submit_timeout`: what is left of the five minutes is for storing the outputs.
        submit_wait: wait.unwrap_or(SUBMIT_WAIT),
        submit_ambiguous_resubmit: ambiguous.unwrap_or(false),
        poll_interval: vars.duration("FETCH_POLL_INTERVAL", "2s"),
        max_output_bytes,
        retries,
        // The workflow's own time-outs allow one minute for it.
        store_grace: vars.duration_within("STORE_GRACE", "60s", "1ms"..="60s"),
        egress: egress::read(
            vars,
            [
                "DOWNLOAD_ALLOW_PRIVATE",
                "DOWNLOAD_ALLOW_HTTP",
                "DOWNLOAD_PORTS",
            ],
        ),
        activity_slots: vars.number("WORKER_ACTIVITY_SLOTS", 100, 1..=100_000) as usize,
        fetch_slots: vars.number("WORKER_FETCH_SLOTS", 2000, 1..=100_000) as usize,
        memory_limit: vars.read(
            "MEMORY_LIMIT_BYTES",
            "a number of bytes above 0",
            at_least(1),
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::super::Config;

    #[test]
    fn a_submit_waits_up_to_half_a_minute_or_never() {
        let wait = |text| Config::of(&[("SUBMIT_WAIT", text)]).map(|it| it.worker.submit_wait);

        for (text, seconds) in [("", 3), ("0s", 0), ("30s", 30)] {
            assert_eq!(wait(text).unwrap().as_secs(), seconds, "{text}");
        }
        for text in ["31s", "0", "3"] {
            assert!(wait(text).is_err(), "{text}");
        }
    }

    #[test]
    fn the_temp_folder_has_space_for_one_output_of_the_largest_size() {
        let most = |pairs: &[(&str, &str)]| Config::of(pairs).unwrap().worker.temp_max_bytes;
        let output = ("MAX_OUTPUT_BYTES", "10");

        assert_eq!(most(&[output]), None);
        assert_eq!(most(&[output, ("TEMP_MAX_BYTES", "10")]), Some(10));
        for bytes in ["9", "-1", "1 GiB"] {
            let faults = Config::of(&[output, ("TEMP_MAX_BYTES", bytes)]).unwrap_err();

            let named: Vec<_> = faults.0.iter().map(|fault| fault.variable).collect();
            assert_eq!(named, ["TEMP_MAX_BYTES"], "{bytes}");
        }
    }
}
