//! How often the steps of a run are repeated, and after which pauses.

use std::time::Duration;

use super::vars::Vars;

/// Pauses between attempts: the first, doubled each time, up to the longest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pauses {
    pub first: Duration,
    pub most: Duration,
}

/// How often, and after which pauses, the steps of a run are repeated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Retries {
    pub pauses: Pauses,
    /// Maximum sends of a submit that the provider did not accept.
    pub submit_attempts: u32,
    /// Failed polls of a job in a row after which the run fails; one whose answer asks for a pause does not count.
    pub fetch_attempts: u32,
    /// Maximum attempts to download and store the outputs of a run.
    pub store_attempts: u32,
}

impl Pauses {
    /// Returns the pause after this many failures in a row, with jitter: half of the full pause, and the share `chance`
    /// (0 to 1) of the other half. So callers that failed together do not retry together.
    pub(crate) fn after(&self, failures: u32, chance: f64) -> Duration {
        let doublings = failures.saturating_sub(1).min(31);
        let full = self.first.saturating_mul(1 << doublings);
        let full = full.min(self.most.max(self.first));
        full.mul_f64(0.5 + chance.clamp(0.0, 1.0) / 2.0)
    }
}

pub(super) fn read(vars: &mut Vars<'_>) -> Retries {
    let mut attempts = |name, default| vars.number(name, default, 1..=10_000) as u32;
    let submit_attempts = attempts("SUBMIT_MAX_ATTEMPTS", 5);
    let fetch_attempts = attempts("FETCH_MAX_ATTEMPTS", 100);
    let store_attempts = attempts("STORE_MAX_ATTEMPTS", 20);
    Retries {
        pauses: Pauses {
            first: vars.duration("RETRY_BACKOFF", "1s"),
            most: vars.duration("RETRY_BACKOFF_MAX", "1m"),
        },
        submit_attempts,
        fetch_attempts,
        store_attempts,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn pauses_double_up_to_the_longest_and_half_of_each_is_chance() {
        let pauses = Pauses {
            first: SECOND,
            most: SECOND * 10,
        };

        let full = [1, 2, 3, 4, 5, 99].map(|failures| pauses.after(failures, 1.0).as_secs());
        assert_eq!(full, [1, 2, 4, 8, 10, 10]);
        assert_eq!(pauses.after(2, 0.0), SECOND);
        assert!(pauses.after(2, 0.5) > pauses.after(2, 0.1));
    }

    #[test]
    fn a_longest_pause_below_the_first_is_the_first() {
        let pauses = Pauses {
            first: SECOND * 3,
            most: SECOND,
        };

        assert_eq!(pauses.after(7, 1.0), SECOND * 3);
    }
}
