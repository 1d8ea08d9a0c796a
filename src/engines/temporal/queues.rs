//! The task queues besides the main one: that of `fetch`, and those of `submit` to providers with a rate limit.
//!
//! Temporal enforces a queue's rate over all workers that poll it. The queue of a run's `submit` is part of the run's
//! input, so it is the same on every replay. Workers poll all of these queues, whatever limits they have configured.

use crate::contract::run::SubmitQueues;
use crate::domain::ProviderName;
use crate::engines::config::Config;

/// Returns the queues for runs that start under these settings.
pub fn submit_queues(config: &Config) -> SubmitQueues {
    let (main, worker) = (&config.temporal.task_queue, &config.worker);
    let queues = worker.named.iter().map(|(name, own)| {
        let queue = own.rate.map(|_| submit_queue(main, name));
        (name.as_str().to_owned(), queue)
    });
    SubmitQueues(queues.collect())
}

/// Returns the task queue of `fetch` that belongs to a main queue.
pub fn fetch_queue(main: &str) -> String {
    format!("{main}-fetch")
}

/// Returns the task queue of `submit` to a rate-limited provider that belongs to a main queue.
pub fn submit_queue(main: &str, provider: ProviderName) -> String {
    format!("{main}-submit-{}", provider.as_str())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn queues(settings: &[(&str, &str)]) -> SubmitQueues {
        submit_queues(&Config::of(settings).unwrap())
    }

    #[test]
    fn only_a_provider_with_a_limit_has_a_queue_of_its_own() {
        let queues = queues(&[("FAL_RATE_LIMIT", "0.5")]);

        for provider in ProviderName::NATIVE {
            let own = (provider == ProviderName::FAL).then_some("genflow-submit-fal");
            assert_eq!(queues.of(provider).as_deref(), own);
        }
    }

    #[test]
    fn without_limits_nothing_leaves_the_main_queue() {
        for provider in ProviderName::NATIVE {
            assert_eq!(queues(&[]).of(provider), None);
        }
    }
}
