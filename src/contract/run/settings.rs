//! The settings that a run carries in its input, so that later changes do not affect it.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::domain::{Media, ProviderName, Single};

/// Retry limits and pauses of a run's activities.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Steps {
    /// Heartbeat time-out of every activity except `fetch`.
    pub heartbeat_ms: u64,
    /// Longest heartbeat time-out of `fetch`.
    pub fetch_heartbeat_ms: u64,
    /// Maximum number of sends while the provider does not accept.
    pub submit_attempts: u32,
    /// First pause between attempts of an activity that has no pauses of its own; it doubles.
    pub backoff_ms: u64,
    /// Longest of these pauses.
    pub backoff_max_ms: u64,
    /// Pauses between attempts of `submit`.
    pub submit: Backoff,
    /// Pauses between attempts of `fetch`.
    pub fetch: Backoff,
    /// Shortest time between two PROGRESS events.
    pub progress_every_ms: u64,
    /// Maximum PROGRESS events of a run.
    pub progress_most: u32,
}

/// Pauses between attempts of an activity, as a run carries them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Backoff {
    /// The first pause; it doubles.
    pub first_ms: u64,
    pub most_ms: u64,
}

impl Steps {
    /// Returns the heartbeat time-out of `fetch` for a run with this deadline: a twelfth of it, because a run that may take
    /// long can also wait longer after its worker has died.
    pub fn fetch_heartbeat(&self, timeout_ms: u64) -> Duration {
        let scaled = (timeout_ms / 12).max(self.heartbeat_ms);
        Duration::from_millis(scaled.min(self.fetch_heartbeat_ms))
    }

    /// Returns the pauses of an activity that has none of its own.
    pub fn backoff(&self) -> Backoff {
        Backoff {
            first_ms: self.backoff_ms,
            most_ms: self.backoff_max_ms,
        }
    }
}

/// The providers of specs that name none.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DefaultProviders {
    pub video: ProviderName,
    pub image: ProviderName,
}

impl DefaultProviders {
    /// Returns the provider of `spec`: the one that it names, else the default for its kind.
    pub fn of(self, spec: &Single) -> ProviderName {
        spec.common().provider.unwrap_or(match spec.media() {
            Media::Video => self.video,
            Media::Image => self.image,
        })
    }
}

/// The task queue of `submit` by provider name; no entry, or null, means the main queue.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SubmitQueues(pub BTreeMap<String, Option<String>>);

impl SubmitQueues {
    /// Returns the queue for runs on this provider; `None` is the main queue.
    pub fn of(&self, provider: ProviderName) -> Option<String> {
        self.0.get(provider.as_str()).cloned().flatten()
    }
}
