//! The task queues beside the main one: of `fetch`, and of `submit` to a provider whose rate is limited.
//!
//! Temporal keeps the rate of a queue across all workers that poll it. Which queue a run's `submit` waits in stands in
//! its input, so it is the same on every replay; workers poll all of them, whatever limits they have themselves.

use serde::{Deserialize, Serialize};

use crate::config::{Config, Rates};
use crate::domain::{Kind, ProviderName, Spec};

/// Where `submit` waits, by who makes what; `None`: in the main queue.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SubmitQueues {
    /// Of a video whose spec names no provider.
    #[serde(default)]
    pub video: Option<String>,
    /// Of images whose spec names no provider.
    #[serde(default)]
    pub image: Option<String>,
    /// Of what a spec names itself.
    #[serde(default)]
    pub replicate: Option<String>,
    /// The same.
    #[serde(default)]
    pub openai: Option<String>,
    /// The same.
    #[serde(default)]
    pub fal: Option<String>,
}

impl SubmitQueues {
    /// Returns the queues of what starts under these settings.
    pub fn new(config: &Config) -> Self {
        let (main, worker) = (&config.temporal.task_queue, &config.worker);
        let of = |name| limited(&worker.rates, main, name);
        Self {
            video: of(worker.video.name),
            image: of(worker.image.name),
            replicate: of(ProviderName::Replicate),
            openai: of(ProviderName::OpenAi),
            fal: of(ProviderName::Fal),
        }
    }

    /// Returns the queue of a run that makes this.
    pub fn of(&self, spec: &Spec) -> Option<String> {
        let queue = match (spec.provider(), spec.kind()) {
            (Some(ProviderName::Replicate), _) => &self.replicate,
            (Some(ProviderName::OpenAi), _) => &self.openai,
            (Some(ProviderName::Fal), _) => &self.fal,
            (None, Kind::Video) => &self.video,
            (None, Kind::Image | Kind::Batch | Kind::Unknown) => &self.image,
        };
        queue.clone()
    }
}

fn limited(rates: &Rates, main: &str, name: ProviderName) -> Option<String> {
    rates.of(name).map(|_| submit_queue(main, name))
}

/// Returns the task queue of `fetch` that goes with a main queue.
pub fn fetch_queue(main: &str) -> String {
    format!("{main}-fetch")
}

/// Returns the task queue of submits to a provider whose rate is limited, that goes with a main queue.
pub fn submit_queue(main: &str, provider: ProviderName) -> String {
    format!("{main}-submit-{}", provider.as_str())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{Common, ImageSpec, VideoSpec};

    fn queues(settings: &[(&str, &str)]) -> SubmitQueues {
        let config = Config::load(|name| {
            let found = settings.iter().find(|(variable, _)| *variable == name);
            found.map(|(_, value)| (*value).to_owned())
        });
        SubmitQueues::new(&config.unwrap())
    }

    fn image(provider: Option<ProviderName>) -> Spec {
        Spec::Image(ImageSpec {
            common: Common {
                provider,
                ..Common::default()
            },
            ..ImageSpec::default()
        })
    }

    #[test]
    fn only_a_provider_with_a_limit_has_a_queue_of_its_own() {
        let queues = queues(&[("FAL_RATE_LIMIT", "0.5"), ("VIDEO_PROVIDER", "fal")]);
        let fal = Some("genflow-submit-fal".to_owned());

        assert_eq!(queues.of(&image(None)), None);
        assert_eq!(queues.of(&image(Some(ProviderName::Replicate))), None);
        assert_eq!(queues.of(&image(Some(ProviderName::Fal))), fal);
        assert_eq!(queues.of(&Spec::Video(VideoSpec::default())), fal);
    }

    #[test]
    fn without_limits_nothing_leaves_the_main_queue() {
        assert_eq!(queues(&[]), SubmitQueues::default());
    }
}
