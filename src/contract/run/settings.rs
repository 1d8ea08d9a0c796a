//! What a run takes along of the settings, so that it goes on as it began whatever is configured later.

use serde::{Deserialize, Serialize};

use crate::domain::{Media, ProviderName, Single};

/// Retry limits and pauses of a run's activities.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Steps {
    /// Heartbeat time-out of each activity, in milliseconds.
    pub heartbeat_ms: u64,
    /// Maximum sends of a submit, if the provider accepts none.
    pub submit_attempts: u32,
    /// First pause between attempts of an activity that has no pauses of its own, in milliseconds; it doubles.
    pub backoff_ms: u64,
    /// Longest of these pauses, in milliseconds.
    pub backoff_max_ms: u64,
    /// Pauses between attempts of `submit`.
    pub submit: Backoff,
    /// Pauses between attempts of `fetch`.
    pub fetch: Backoff,
    /// Shortest time between two PROGRESS events, in milliseconds.
    pub progress_every_ms: u64,
    /// Maximum PROGRESS events of a run.
    pub progress_most: u32,
}

/// Pauses between attempts of an activity, as a run carries them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Backoff {
    /// The first pause, in milliseconds; it doubles.
    pub first_ms: u64,
    /// The longest pause, in milliseconds.
    pub most_ms: u64,
}

impl Steps {
    /// Returns the pauses of an activity that has none of its own.
    pub fn backoff(&self) -> Backoff {
        Backoff {
            first_ms: self.backoff_ms,
            most_ms: self.backoff_max_ms,
        }
    }
}

/// The providers of specs that name none. Workflow inputs carry them, so that a later change does not affect open runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DefaultProviders {
    /// For videos.
    pub video: ProviderName,
    /// For images.
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

/// The task queue of `submit` by provider; `None` is the main queue.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SubmitQueues {
    /// For Replicate.
    pub replicate: Option<String>,
    /// For OpenAI.
    pub openai: Option<String>,
    /// For fal.
    pub fal: Option<String>,
}

impl SubmitQueues {
    /// Returns the queue for runs on this provider; `None` is the main queue.
    pub fn of(&self, provider: ProviderName) -> Option<String> {
        match provider {
            ProviderName::Replicate => self.replicate.clone(),
            ProviderName::OpenAi => self.openai.clone(),
            ProviderName::Fal => self.fal.clone(),
        }
    }
}
