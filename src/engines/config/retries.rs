//! How often each step is tried, and how long it pauses in between.

use std::time::Duration;

use super::vars::Vars;

/// Pauses between tries: the first, doubled each time, up to the longest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pauses {
    /// The first.
    pub first: Duration,
    /// The longest.
    pub most: Duration,
}

/// How often a step is tried.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tries {
    /// How often at most.
    pub most: u32,
    /// The pauses in between.
    pub pauses: Pauses,
}

/// The policies of all steps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Retries {
    /// Of what has no policy of its own.
    pub(super) other: Pauses,
    pub(super) submit: Tries,
    pub(super) fetch: Tries,
    pub(super) store: Tries,
}

impl Pauses {
    /// Returns the pause after so many failures in a row: the upper half of it is left to `chance`, from 0 to 1, so
    /// that those who failed together do not come again together.
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
