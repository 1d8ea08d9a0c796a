//! Retry policies: attempts and pauses of each step.

use std::time::Duration;

use super::vars::Vars;

/// Pauses between attempts: the first, doubled each time, up to the longest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pauses {
    /// The first pause.
    pub first: Duration,
    /// The longest pause.
    pub most: Duration,
}

/// The retry policy of a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tries {
    /// Maximum attempts.
    pub most: u32,
    /// Pauses between attempts.
    pub pauses: Pauses,
}

/// The retry policies of all steps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Retries {
    /// Pauses of steps that have no policy of their own.
    pub(super) other: Pauses,
    pub(super) submit: Tries,
    pub(super) fetch: Tries,
    pub(super) store: Tries,
}

impl Pauses {
    /// Returns the pause after this many failures in a row, with jitter: between half of it and all of it, by `chance`
    /// (0 to 1), so that callers that failed together do not retry together.
    pub(crate) fn after(&self, failures: u32, chance: f64) -> Duration {
        let doublings = failures.saturating_sub(1).min(31);
        let full = self.first.saturating_mul(1 << doublings);
        let full = full.min(self.most.max(self.first));
        full.mul_f64(0.5 + chance.clamp(0.0, 1.0) / 2.0)
    }
}

pub(super) fn read(vars: &mut Vars<'_>) -> Retries {
    let other = Pauses {
        first: vars.duration("RETRY_BACKOFF", "1s"),
        most: vars.duration("RETRY_BACKOFF_MAX", "1m"),
    };
    let mut tries = |attempts, default, first, most| Tries {
        most: vars.number(attempts, default, 1..=10_000) as u32,
        pauses: Pauses {
            first: vars.optional_duration(first).unwrap_or(other.first),
            most: vars.optional_duration(most).unwrap_or(other.most),
        },
    };
    Retries {
        other,
        submit: tries(
            "SUBMIT_MAX_ATTEMPTS",
            5,
            "SUBMIT_BACKOFF",
            "SUBMIT_BACKOFF_MAX",
        ),
        fetch: tries(
            "FETCH_MAX_ATTEMPTS",
            100,
            "FETCH_BACKOFF",
            "FETCH_BACKOFF_MAX",
        ),
        store: tries(
            "STORE_MAX_ATTEMPTS",
            20,
            "STORE_BACKOFF",
            "STORE_BACKOFF_MAX",
        ),
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
