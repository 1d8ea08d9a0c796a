//! Settings of intake: API keys, limits, and the retry settings that each run carries with it.

use std::num::NonZeroU32;
use std::time::Duration;

use super::models::{self, AllowedModels};
use super::retries::{Pauses, Retries};
use super::vars::{Fault, Vars};
use crate::contract::run::{Backoff, Steps};
use crate::domain::time::millis;
use crate::engines::config::api_keys::ApiKeys;

/// Settings of intake.
#[derive(Clone, Debug)]
pub struct Intake {
    /// Records in flight at once.
    pub concurrency: usize,
    /// Age above which a record is `too_old`; `None`: nine tenths of the namespace's retention.
    pub dedup_window: Option<Duration>,
    /// Keys that records must carry.
    pub api_keys: ApiKeys,
    /// Limit of each user's starts; `None`: no limit.
    pub rate_limit: Option<RateLimit>,
    /// The models that requests may name.
    pub allowed_models: AllowedModels,
    /// The longest deadline that a request may set.
    pub max_timeout: Duration,
    /// Deadline of a video whose request sets none.
    pub video_timeout: Duration,
    /// Deadline of images whose request sets none.
    pub image_timeout: Duration,
    /// Deadline of a batch whose request sets none.
    pub batch_timeout: Duration,
    /// Items after which a batch continues as new.
    pub batch_segment: u32,
    /// Shortest time between two PROGRESS events of a batch.
    pub batch_progress_interval: Duration,
    /// Retry limits and pauses of a run's activities, carried in the workflow's input.
    pub steps: Steps,
}

/// Limit of the generations that a user may start.
#[derive(Clone, Copy, Debug)]
pub struct RateLimit {
    /// Starts per minute, over time.
    pub per_minute: NonZeroU32,
    /// Starts at once, as a burst.
    pub burst: NonZeroU32,
    /// How long a record above the limit may wait before it is refused.
    pub hold: Duration,
}

impl From<Pauses> for Backoff {
    fn from(pauses: Pauses) -> Self {
        Self {
            first_ms: millis(pauses.first),
            most_ms: millis(pauses.most),
        }
    }
}

impl Intake {
    /// Checks that at least one record could be accepted. Only intake needs the keys, so other roles skip this check.
    ///
    /// # Errors
    /// A key is required, and `API_KEYS` is empty.
    pub fn check_access(&self) -> Result<(), Fault> {
        if self.api_keys.let_in_anybody() {
            return Ok(());
        }
        Err(Fault {
            variable: "API_KEYS",
            problem: "is empty, expected at least one key, or REQUIRE_API_KEY=false".to_owned(),
        })
    }
}

pub(super) fn read(vars: &mut Vars<'_>, retries: &Retries) -> Intake {
    let max_timeout = max_timeout(vars);
    let mut timeout = |name, default| vars.duration(name, default).min(max_timeout);
    let video_timeout = timeout("VIDEO_TIMEOUT", "1h");
    let image_timeout = timeout("IMAGE_TIMEOUT", "10m");
    let batch_timeout = timeout("BATCH_TIMEOUT", "24h");
    Intake {
        concurrency: vars.number("INTAKE_CONCURRENCY", 16, 1..=1000) as usize,
        dedup_window: vars.optional_duration("DEDUP_WINDOW"),
        api_keys: api_keys(vars),
        rate_limit: rate_limit(vars),
        allowed_models: models::allowed(vars),
        max_timeout,
        video_timeout,
        image_timeout,
        batch_timeout,
        batch_segment: vars.number("BATCH_SEGMENT", 500, 1..=1000) as u32,
        batch_progress_interval: vars.duration("BATCH_PROGRESS_INTERVAL", "5s"),
        steps: Steps {
            heartbeat_ms: heartbeat(vars),
            submit_attempts: retries.submit.most,
            backoff_ms: millis(retries.other.first),
            backoff_max_ms: millis(retries.other.most),
            submit: retries.submit.pauses.into(),
            fetch: retries.fetch.pauses.into(),
            progress_every_ms: vars.millis("PROGRESS_INTERVAL", "10s"),
            progress_most: vars.number("PROGRESS_MAX", 50, 0..=1000) as u32,
        },
    }
}

/// Below a second there is no time to send a submit. Above a minute, a fence (a third of the time-out) is valid for so
/// long that a paused worker could send after its run has ended.
fn heartbeat(vars: &mut Vars<'_>) -> u64 {
    let name = "HEARTBEAT_TIMEOUT";
    let timeout = vars.duration(name, "10s");
    if !(Duration::from_secs(1)..=Duration::from_secs(60)).contains(&timeout) {
        vars.fault(
            name,
            &format!("is {timeout:?}, expected a time from 1s to 60s"),
        );
    }
    millis(timeout)
}

/// The longest deadline that the contract allows (5.1).
const LONGEST_TIMEOUT: Duration = Duration::from_secs(604_800);

fn max_timeout(vars: &mut Vars<'_>) -> Duration {
    let longest = vars.duration("MAX_TIMEOUT", "7d");
    if !(Duration::from_secs(1)..=LONGEST_TIMEOUT).contains(&longest) {
        vars.fault("MAX_TIMEOUT", "is out of bounds, expected 1s to 7d");
    }
    longest
}

fn api_keys(vars: &mut Vars<'_>) -> ApiKeys {
    let required = vars.flag("REQUIRE_API_KEY", false);
    let keys = vars.string("API_KEYS", "");
    ApiKeys::parse(required, &keys).unwrap_or_else(|problem| {
        vars.fault("API_KEYS", &problem);
        ApiKeys::default()
    })
}

fn rate_limit(vars: &mut Vars<'_>) -> Option<RateLimit> {
    let limited = vars.flag("ENABLE_RATE_LIMITING", false);
    let wanted = "a number above 0";
    let limit = RateLimit {
        per_minute: vars.parsed("RATE_LIMIT_PER_MINUTE", "60", wanted),
        burst: vars.parsed("RATE_LIMIT_BURST", "20", wanted),
        hold: vars.duration("RATE_LIMIT_HOLD", "10s"),
    };
    limited.then_some(limit)
}
