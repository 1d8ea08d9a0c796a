//! When a notification is tried again; pure.

use std::time::Duration;

/// What a pause of our own is multiplied by, so that many that failed together do not come back together.
const JITTER: std::ops::RangeInclusive<f64> = 0.8..=1.2;
/// The longest pause that a target may ask for.
const LONGEST_ASKED: Duration = Duration::from_secs(24 * 3600);
/// Pauses while an endpoint lets nobody in: from the first, doubling, up to the longest.
const FIRST_WAIT: Duration = Duration::from_secs(1);
const LONGEST_WAIT: Duration = Duration::from_secs(300);

/// Returns a factor for one pause.
pub(super) fn jitter() -> f64 {
    rand::random_range(JITTER)
}

/// Returns the pause of `schedule` behind the try of `step` (0: the first), at least what was asked for; `None` behind
/// the last.
pub(super) fn pause(
    schedule: &[Duration],
    step: u32,
    asked: Option<Duration>,
    jitter: f64,
) -> Option<Duration> {
    let own = schedule.get(step as usize)?.mul_f64(jitter);
    Some(own.max(kept(asked.unwrap_or_default())))
}

/// Returns how much is kept of the pause that a target asks for.
pub(super) fn kept(asked: Duration) -> Duration {
    asked.min(LONGEST_ASKED)
}

/// Returns the pause of one that was not let in at its endpoint `times` times, and will not be for another `closed`:
/// whoever comes before costs a step of its workflow for nothing.
pub(super) fn wait(times: u32, closed: Duration, jitter: f64) -> Duration {
    let doubled = FIRST_WAIT.saturating_mul(1 << times.min(16));
    let own = doubled.min(LONGEST_WAIT).mul_f64(jitter);
    // Behind it, and not all at once: the first that comes finds out for the others.
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
    fn what_is_asked_for_is_kept_up_to_a_day_and_never_shortens_a_pause() {
        for (asked, expected) in [(0, 10), (9, 10), (30, 30), (1_000_000, 86_400)] {
            let asked = Some(SECOND * asked);
            let pause = pause(&[SECOND * 10], 0, asked, 1.0);
            assert_eq!(pause, Some(SECOND * expected));
        }
        let behind_the_last = pause(&[SECOND], 1, Some(SECOND), 1.0);
        assert_eq!(behind_the_last, None);
    }

    #[test]
    fn who_finds_no_place_waits_ever_longer_up_to_five_minutes() {
        let waits = [0, 1, 4, 8, 9, 100].map(|times| wait(times, Duration::ZERO, 1.0).as_secs());

        assert_eq!(waits, [1, 2, 16, 256, 300, 300]);
    }

    #[test]
    fn who_is_told_for_how_long_it_is_closed_comes_behind_that_and_not_with_the_others() {
        let waits = |times| [0.8, 1.2].map(|jitter| wait(times, SECOND * 30, jitter).as_secs());

        assert_eq!(waits(0), [30, 42]);
        assert_eq!(waits(7), [102, 153], "128 s are longer");
    }
}
