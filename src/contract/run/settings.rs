//! What a run takes along of the settings, so that it goes on as it began whatever is configured later.

use serde::{Deserialize, Serialize};

use crate::domain::{Kind, ProviderName, Spec};

/// Bounds and pauses of a run's steps.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Steps {
    /// A worker that is silent for so long has lost its activity.
    pub heartbeat_ms: u64,
    /// How often a submit that was not accepted is sent.
    pub submit_attempts: u32,
    /// First pause between tries of an activity that has no pauses of its own; it doubles.
    pub backoff_ms: u64,
    /// Longest pause between them.
    pub backoff_max_ms: u64,
    /// Pauses between tries of `submit`.
    pub submit: Backoff,
    /// Pauses between tries of `fetch`.
    pub fetch: Backoff,
    /// Shortest time between two PROGRESS events.
    pub progress_every_ms: u64,
    /// Most PROGRESS events of a run.
    pub progress_most: u32,
}

/// Pauses between tries of an activity, as they travel with a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Backoff {
    /// The first; it doubles.
    pub first_ms: u64,
    /// The longest.
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

/// The providers of specs that name none; kept in workflow inputs, so that a later change does not reach their runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DefaultProviders {
    /// For videos.
    pub video: ProviderName,
    /// For images.
    pub image: ProviderName,
}

impl DefaultProviders {
    /// Returns the provider of `spec`: the one that it names, else the default for its kind.
    pub fn of(self, spec: &Spec) -> ProviderName {
        spec.provider().unwrap_or(match spec.kind() {
            Kind::Video => self.video,
            Kind::Image | Kind::Batch | Kind::Unknown => self.image,
        })
    }
}

/// Where `submit` waits, by provider; `None`: in the main queue.
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
    /// Returns the queue of a run that this provider serves.
    pub fn of(&self, provider: ProviderName) -> Option<String> {
        match provider {
            ProviderName::Replicate => self.replicate.clone(),
            ProviderName::OpenAi => self.openai.clone(),
            ProviderName::Fal => self.fal.clone(),
        }
    }
}
