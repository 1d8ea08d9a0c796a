//! The script: the faults one request asks for, carried in its own `input.sim`.
//!
//! In-band, so that tests running side by side do not disturb each other. Pure data; who plays which line is
//! decided in `ledger`. An unknown field is refused, so that a misspelt fault is not a test that proves nothing.

use std::time::Duration;

use axum::http::StatusCode;
use serde::Deserialize;

/// What is to go wrong with one job, and when.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Script {
    /// For how many runs of a request this holds, the first and its retries; then all is well. All, if left out.
    pub(super) runs: Option<u32>,
    /// How long the job runs, instead of the simulator's default.
    pub(super) seconds: Option<Seconds>,
    /// One line for each submit of the same client id, in order; then submits work.
    pub(super) submit: Vec<SubmitFault>,
    /// A wait before the submit is accepted and answered.
    pub(super) delay_submit_ms: u32,
    /// The error text the job ends with, instead of succeeding.
    pub(super) fail: Option<String>,
    /// Whether the job never ends.
    pub(super) stuck: bool,
    /// The status reported while the job runs.
    pub(super) state: Option<String>,
    /// One line for each read of the job, in order; then reads work.
    pub(super) poll: Vec<PollFault>,
    /// One refusal for each cancel of the job, in order; then cancels work.
    pub(super) cancel: Vec<Refusal>,
    /// What is wrong with the files.
    pub(super) output: Option<OutputFault>,
    /// How long each download of a file takes.
    pub(super) download: Option<Seconds>,
    /// The pause in seconds that a read of the running job asks for, by `Retry-After`.
    pub(super) hint: Option<u32>,
    /// The address that is given for each of its files, instead of the simulator's own.
    pub(super) output_at: Option<String>,
    /// The price that its answers tell, as a gateway before the real API would, word for word.
    pub(super) price: Option<String>,
}

impl Script {
    /// Returns what is left of it for the run of that client id: `id`, or `id~n` for the n-th retry.
    pub(super) fn of_run(self, key: &str) -> Self {
        let retry = key
            .rsplit_once('~')
            .and_then(|(_, number)| number.parse().ok());
        match self.runs {
            Some(runs) if retry.unwrap_or(0) >= runs => Self::default(),
            Some(_) | None => self,
        }
    }
}

/// What happens to one submit.
#[derive(Clone, Debug, Deserialize)]
#[serde(untagged)]
pub(super) enum SubmitFault {
    /// Not accepted, answered with this status.
    Refuse(Refusal),
    /// A fault that has a name.
    Named(NamedFault),
    /// Not accepted, for a reason.
    Reason(Reason),
}

/// A status that turns a request down, and why, in a protocol's own shape.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Reason {
    pub(super) status: Refusal,
    /// The error's code, with a protocol that has codes.
    #[serde(default)]
    pub(super) code: String,
    pub(super) text: String,
}

/// The faults of a submit that are more than a status.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum NamedFault {
    /// Not accepted; the connection is cut without a byte.
    Cut,
    /// Accepted; the connection is cut without a byte.
    AcceptCut,
    /// Accepted, and never answered.
    AcceptHang,
    /// Accepted, and answered with a body that is not JSON.
    AcceptGarbage,
    /// Accepted; the connection is cut amidst the head of the answer.
    AcceptCutHead,
    /// Accepted; the connection is cut amidst the body of the answer.
    AcceptCutBody,
}

/// What happens to one read of a job.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(untagged)]
pub(super) enum PollFault {
    /// Answered with this status.
    Refuse(Refusal),
    /// A fault that has a name.
    Named(NamedPollFault),
}

/// The faults of a read that are more than a status.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum NamedPollFault {
    /// 200 with a body that is not JSON.
    Garbage,
    /// The connection is cut without a byte.
    Cut,
}

/// What is wrong with the files of a job that succeeded.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum OutputFault {
    /// 200 with an HTML error page.
    Html,
    /// 404.
    Missing,
    /// A `Content-Length` larger than what is sent.
    Truncated,
    /// 200 with no bytes.
    Empty,
    /// The first address that is given does not work any more, or the first download where there is but one.
    Expired,
    /// Much longer than it should be.
    Huge,
    /// A film where a picture was asked for, a picture where a film was.
    OtherKind,
    /// Good bytes, called plain text.
    Mislabelled,
}

/// A status that turns a request down: 300 to 599.
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
            .ok_or_else(|| format!("status is {raw}, want 300 to 599"))
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
            .map_err(|_| format!("{raw} is not a span of seconds"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_script_may_hold_for_the_first_runs_only() {
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
    }
}
