//! Settings of intake: API keys, limits, and the settings that each run carries in its input.

use std::num::NonZeroU32;
use std::time::Duration;

use super::api_keys::ApiKeys;
use super::models::{self, AllowedModels};
use super::provider::Named;
use super::retries::Retries;
use super::vars::{Fault, Vars};
use crate::contract::run::{Backoff, Steps};
use crate::domain::time::millis;

#[derive(Clone, Debug)]
pub struct Intake {
    /// Records in flight at once.
    pub concurrency: usize,
    /// Age above which a record is `too_old`, at most nine tenths of the namespace's retention; `None`: that maximum.
    pub dedup_window: Option<Duration>,
    pub api_keys: ApiKeys,
    /// Limit of each user's starts; `None`: no limit.
    pub rate_limit: Option<RateLimit>,
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
    /// The settings of a run's activities and PROGRESS events, carried in the workflow's input.
    pub steps: Steps,
}

/// Limit of the generations that a user may start.
#[derive(Clone, Copy, Debug)]
pub struct RateLimit {
    /// Starts per minute, over time.
    pub per_minute: NonZeroU32,
    /// Starts in one burst.
    pub burst: NonZeroU32,
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

pub(super) fn read(vars: &mut Vars<'_>, retries: &Retries, named: &Named) -> Intake {
    // The contract allows no longer deadline (5.1).
    let max_timeout = vars.duration_within("MAX_TIMEOUT", "7d", "1s"..="7d");
    let mut timeout = |name, default| vars.duration(name, default).min(max_timeout);
    let video_timeout = timeout("VIDEO_TIMEOUT", "1h");
    let image_timeout = timeout("IMAGE_TIMEOUT", "10m");
    let batch_timeout = timeout("BATCH_TIMEOUT", "24h");
    // Below a second there is no time to send a submit. Above a minute, a fence (a third of the time-out) is valid for
    // so long that a paused worker could send after its run has ended.
    let heartbeat = vars.duration_within("HEARTBEAT_TIMEOUT", "10s", "1s"..="60s");
    let fetch_heartbeat = vars.duration_within("FETCH_HEARTBEAT_TIMEOUT", "5m", "1s"..="1h");
    let pauses = Backoff {
        first_ms: millis(retries.pauses.first),
        most_ms: millis(retries.pauses.most),
    };
    Intake {
        concurrency: vars.number("INTAKE_CONCURRENCY", 64, 1..=1000) as usize,
        dedup_window: vars.optional_duration("DEDUP_WINDOW"),
        api_keys: api_keys(vars),
        rate_limit: rate_limit(vars),
        allowed_models: models::allowed(vars, named),
        max_timeout,
        video_timeout,
        image_timeout,
        batch_timeout,
        batch_segment: vars.number("BATCH_SEGMENT", 500, 1..=1000) as u32,
        batch_progress_interval: vars.duration("BATCH_PROGRESS_INTERVAL", "5s"),
        steps: Steps {
            heartbeat_ms: millis(heartbeat),
            fetch_heartbeat_ms: millis(fetch_heartbeat),
            submit_attempts: retries.submit_attempts,
            backoff_ms: pauses.first_ms,
            backoff_max_ms: pauses.most_ms,
            submit: pauses,
            fetch: pauses,
            progress_every_ms: millis(vars.duration("PROGRESS_INTERVAL", "10s")),
            progress_most: vars.number("PROGRESS_MAX", 50, 0..=1000) as u32,
        },
    }
}

fn api_keys(vars: &mut Vars<'_>) -> ApiKeys {
    let required = vars.flag("REQUIRE_API_KEY", false);
    let keys = vars.secret("API_KEYS").unwrap_or_default();
    ApiKeys::parse(required, &keys).unwrap_or_else(|problem| {
        vars.fault("API_KEYS", &problem);
        ApiKeys::default()
    })
}

fn rate_limit(vars: &mut Vars<'_>) -> Option<RateLimit> {
    let limited = vars.flag("ENABLE_RATE_LIMITING", false);
    let expected = "a number above 0";
    let limit = RateLimit {
        per_minute: vars.parsed("RATE_LIMIT_PER_MINUTE", "60", expected),
        burst: vars.parsed("RATE_LIMIT_BURST", "20", expected),
    };
    limited.then_some(limit)
}
