//! When a notification is attempted again. Pure.

use std::time::Duration;

/// Range of the random factor for our own pauses, so that notifications that failed together are not retried together.
const JITTER: std::ops::RangeInclusive<f64> = 0.8..=1.2;
/// The longest pause that a target may ask for.
const LONGEST_ASKED: Duration = Duration::from_secs(24 * 3600);
/// Pauses while an endpoint is closed: they begin with this one and double, up to the longest.
const FIRST_WAIT: Duration = Duration::from_secs(1);
const LONGEST_WAIT: Duration = Duration::from_secs(300);

/// Returns the random factor for one pause.
pub(super) fn jitter() -> f64 {
    rand::random_range(JITTER)
}

/// Returns the pause of `schedule` after the attempt of `step` (0: the first), or the pause that was asked for,
/// if that is longer; `None` after the last step.
pub(super) fn pause(
    schedule: &[Duration],
    step: u32,
    asked: Option<Duration>,
    jitter: f64,
) -> Option<Duration> {
    let own = schedule.get(step as usize)?.mul_f64(jitter);
    Some(own.max(kept(asked.unwrap_or_default())))
}

/// Returns the pause that a target asks for, capped.
pub(super) fn kept(asked: Duration) -> Duration {
    asked.min(LONGEST_ASKED)
}

/// Returns the pause before the next attempt at an endpoint that was closed `times` times and stays closed for
/// another `closed`: an attempt before that would only find it closed.
pub(super) fn wait(times: u32, closed: Duration, jitter: f64) -> Duration {
    let doubled = FIRST_WAIT.saturating_mul(1 << times.min(16));
    let own = doubled.min(LONGEST_WAIT).mul_f64(jitter);
    // After `closed`, and spread out: the first attempt tests the endpoint for the others.
    own.max(closed.mul_f64(jitter + 1.0 - JITTER.start()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engines::config::Config;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn the_default_is_the_schedule_of_standard_webhooks() {
        let schedule = Config::of(&[]).unwrap().notifier.schedule;

        let pauses: Vec<_> = (0..10)
            .map(|step| pause(&schedule, step, None, 1.0).map(|pause| pause.as_secs()))
            .collect();

        let hours = |hours: u64| Some(hours * 3600);
        let expected = [
            Some(5),
            Some(300),
            Some(1800),
            hours(2),
            hours(5),
            hours(10),
        ];
        assert_eq!(pauses[..6], expected);
        assert_eq!(pauses[6..], [hours(14), hours(20), hours(24), None]);
    }

    #[test]
    fn pauses_vary_by_a_fifth() {
        let pauses = |jitter| pause(&[SECOND], 0, None, jitter).unwrap().as_millis();

        assert_eq!((pauses(0.8), pauses(1.2)), (800, 1200));
        assert!((0..1000).all(|_| JITTER.contains(&jitter())));
    }

    #[test]
    fn a_pause_that_is_asked_for_is_kept_up_to_a_day_and_never_shortens_a_pause() {
        for (asked, expected) in [(0, 10), (9, 10), (30, 30), (1_000_000, 86_400)] {
            let asked = Some(SECOND * asked);
            let pause = pause(&[SECOND * 10], 0, asked, 1.0);
            assert_eq!(pause, Some(SECOND * expected));
        }
        let after_the_last = pause(&[SECOND], 1, Some(SECOND), 1.0);
        assert_eq!(after_the_last, None);
    }

    #[test]
    fn waits_for_a_full_endpoint_double_up_to_five_minutes() {
        let waits = [0, 1, 4, 8, 9, 100].map(|times| wait(times, Duration::ZERO, 1.0).as_secs());

        assert_eq!(waits, [1, 2, 16, 256, 300, 300]);
    }

    #[test]
    fn waits_for_an_open_circuit_end_after_it_closes_and_are_spread_out() {
        let waits = |times| [0.8, 1.2].map(|jitter| wait(times, SECOND * 30, jitter).as_secs());

        assert_eq!(waits(0), [30, 42]);
        assert_eq!(waits(7), [102, 153], "128 s are longer");
    }
}
