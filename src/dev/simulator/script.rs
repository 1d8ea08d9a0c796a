//! The script: the faults that one request asks for, in its own `input.sim`.
//!
//! A fault is part of its request, so tests running side by side do not disturb each other. This module is pure data;
//! `play` and `job` pick the fault for each call. Unknown fields are refused: a test with a misspelt fault must not
//! pass.

use std::time::Duration;

use axum::http::StatusCode;
use serde::Deserialize;

/// The faults of one job, in order.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Script {
    /// For how many runs of a request the script applies (the first run and its retries); later runs have no faults.
    /// All, if left out.
    pub(super) runs: Option<u32>,
    /// For how many models of a run the script applies (the request's own and its fallbacks); later ones have no faults.
    /// All, if left out.
    pub(super) candidates: Option<u32>,
    /// How long the job runs, instead of the simulator's default.
    pub(super) seconds: Option<Seconds>,
    /// The job is done at this read of it (from 1), and not before.
    pub(super) done_at_read: Option<usize>,
    /// One fault for each submit of the same client id, in order; later submits work.
    pub(super) submit: Vec<SubmitFault>,
    /// A wait before the submit is accepted and answered.
    pub(super) delay_submit_ms: u32,
    /// Makes the job fail with this error text.
    pub(super) fail: Option<String>,
    /// True if the job never ends by itself; a cancel ends it.
    pub(super) stuck: bool,
    /// The status reported while the job runs.
    pub(super) state: Option<String>,
    /// One fault for each read of the job, in order; later reads work.
    pub(super) poll: Vec<PollFault>,
    /// One refusal for each cancel of the job, in order; later cancels work.
    pub(super) cancel: Vec<Refusal>,
    /// The fault of the files.
    pub(super) output: Option<OutputFault>,
    /// Number of zero bytes after the content of each file.
    pub(super) padding: u64,
    /// How long each download of a file takes.
    pub(super) download: Option<Seconds>,
    /// How the end of the job is called back, if its submit asked for it.
    pub(super) callback: CallbackScript,
    /// The pause in seconds that a read of the running job asks for, by `Retry-After`.
    pub(super) hint: Option<u32>,
    /// Adds a poster frame to the answer about a video.
    pub(super) poster: bool,
    /// The URL issued for each of its files, instead of the simulator's own.
    pub(super) output_at: Option<String>,
    /// The price in its answers, verbatim, as from a gateway in front of the real API.
    pub(super) price: Option<String>,
    /// The quantity that fal's answers bill, verbatim, instead of the number of images or seconds.
    pub(super) units: Option<String>,
    /// Leaves out the quantities that fal and OpenAI report.
    pub(super) unmetered: bool,
}

impl Script {
    /// Returns the script for the submit with that client id: `id`, `id~n` for the n-th retry, each with `/n` after it
    /// for the n-th fallback.
    pub(super) fn of_run(self, key: &str) -> Self {
        let (run, candidate) = numbered(key, '/');
        let (_, retry) = numbered(run, '~');
        let is_past = |most: Option<u32>, number| most.is_some_and(|most| number >= most);
        if is_past(self.runs, retry) || is_past(self.candidates, candidate) {
            return Self::default();
        }
        self
    }
}

/// Splits a number off the end of a client id; 0 if it has none.
fn numbered(key: &str, separator: char) -> (&str, u32) {
    let split = key.rsplit_once(separator);
    let split = split.and_then(|(before, number)| Some((before, number.parse().ok()?)));
    split.unwrap_or((key, 0))
}

/// How the end of a job is called back: once and at once, if nothing else is said.
#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct CallbackScript {
    pub(super) never: bool,
    /// How long after the end.
    pub(super) late: Seconds,
    /// How often, whatever the answers are.
    pub(super) copies: Option<u32>,
}

/// The fault of one submit.
#[derive(Clone, Debug, Deserialize)]
#[serde(untagged)]
pub(super) enum SubmitFault {
    /// Not accepted; answered with this status.
    Refuse(Refusal),
    Named(NamedFault),
    /// Not accepted; answered with a reason.
    Reason(Reason),
}

/// A status that refuses a request, and the reason, sent in a protocol's own shape.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Reason {
    pub(super) status: Refusal,
    /// The error's code, for a protocol that has codes.
    #[serde(default)]
    pub(super) code: String,
    pub(super) text: String,
}

/// The faults of a submit other than a status.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum NamedFault {
    /// Not accepted; the connection is cut without a byte.
    Cut,
    /// Accepted; the connection is cut without a byte.
    AcceptCut,
    /// Accepted, but never answered.
    AcceptHang,
    /// Accepted, but answered with a body that is not JSON.
    AcceptGarbage,
    /// Accepted; the connection is cut within the head of the answer.
    AcceptCutHead,
    /// Accepted; the connection is cut within the body of the answer.
    AcceptCutBody,
}

/// The fault of one read of a job.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(untagged)]
pub(super) enum PollFault {
    /// Answered with this status.
    Refuse(Refusal),
    Named(NamedPollFault),
}

/// The faults of a read other than a status.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum NamedPollFault {
    /// 200 with a body that is not JSON.
    Garbage,
    /// The connection is cut without a byte.
    Cut,
}

/// The fault of the files of a successful job.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum OutputFault {
    /// 200 with an HTML error page.
    Html,
    /// 404.
    Missing,
    /// A `Content-Length` above the number of bytes sent.
    Truncated,
    /// 200 with no bytes.
    Empty,
    /// The first issued URL has expired; if the protocol issues no URL, the first download fails.
    Expired,
    /// Much longer than expected.
    Huge,
    /// A video instead of an image, or an image instead of a video.
    OtherKind,
    /// Correct bytes with the content type `text/plain`.
    Mislabelled,
}

/// A status that refuses a request: 300 to 599.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(try_from = "u16")]
pub(super) struct Refusal(pub(super) StatusCode);

impl TryFrom<u16> for Refusal {
    type Error = String;

    fn try_from(raw: u16) -> Result<Self, Self::Error> {
        StatusCode::from_u16(raw)
            .ok()
            .filter(|_| (300..600).contains(&raw))
            .map(Self)
            .ok_or_else(|| format!("status is {raw}, expected 300 to 599"))
    }
}

/// A span given as a JSON number of seconds.
#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(try_from = "f64")]
pub(super) struct Seconds(pub(super) Duration);

impl TryFrom<f64> for Seconds {
    type Error = String;

    fn try_from(raw: f64) -> Result<Self, Self::Error> {
        Duration::try_from_secs_f64(raw)
            .map(Self)
            .map_err(|_| format!("the number of seconds is {raw}, expected 0 or more"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_script_may_apply_to_the_first_runs_only() {
        let of = |runs, key| {
            let stuck = true;
            let script = Script {
                runs,
                stuck,
                ..Script::default()
            };
            script.of_run(key).stuck
        };

        assert!(of(None, "order-7") && of(None, "order-7~9"));
        assert!(of(Some(1), "order-7") && !of(Some(1), "order-7~1"));
        assert!(of(Some(2), "order-7~1") && !of(Some(2), "order-7~2"));
        assert!(!of(Some(1), "order-7~1/2"));
    }

    #[test]
    fn a_script_may_apply_to_the_first_models_only() {
        let of = |key| {
            let script = Script {
                candidates: Some(1),
                stuck: true,
                ..Script::default()
            };
            script.of_run(key).stuck
        };

        assert!(of("order-7") && of("order-7~3"));
        assert!(!of("order-7/1") && !of("order-7~3/2"));
    }
}
