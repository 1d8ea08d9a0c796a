//! How long to wait before a webhook is tried again; pure.

use std::ops::RangeInclusive;
use std::time::{Duration, SystemTime};

use chrono::DateTime;
use reqwest::header::{HeaderMap, RETRY_AFTER};

/// What a pause of our own is multiplied by, so that many that failed together do not come back together.
pub(super) const JITTER: RangeInclusive<f64> = 0.8..=1.2;
/// The longest pause, our own or one asked for: it holds a place of the consumer.
const LONGEST_PAUSE: Duration = Duration::from_secs(60);

/// Returns the pause after the `tries`-th try: doubling from `first`, and at least what was asked for.
pub(super) fn pause(first: Duration, tries: u32, asked: Option<Duration>, jitter: f64) -> Duration {
    let doublings = tries.saturating_sub(1).min(16);
    let own = first
        .saturating_mul(1 << doublings)
        .min(LONGEST_PAUSE)
        .mul_f64(jitter);
    own.max(asked.unwrap_or_default()).min(LONGEST_PAUSE)
}

/// Reads `Retry-After`: seconds, or a date.
pub(super) fn asked(headers: &HeaderMap, now: SystemTime) -> Option<Duration> {
    let text = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    if let Ok(seconds) = text.parse() {
        return Some(Duration::from_secs(seconds));
    }
    let date = DateTime::parse_from_rfc2822(text).ok()?;
    let since = now.duration_since(SystemTime::UNIX_EPOCH).ok()?;
    let seconds = u64::try_from(date.timestamp()).ok()?;
    Some(Duration::from_secs(seconds.saturating_sub(since.as_secs())))
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn pauses_double_with_jitter_up_to_a_minute() {
        let pauses =
            |jitter| [1, 2, 3, 5, 100].map(|tries| pause(SECOND, tries, None, jitter).as_millis());

        assert_eq!(pauses(1.0), [1000, 2000, 4000, 16_000, 60_000]);
        assert_eq!(pauses(0.8), [800, 1600, 3200, 12_800, 48_000]);
        assert_eq!(pauses(1.2), [1200, 2400, 4800, 19_200, 60_000]);
    }

    #[test]
    fn a_pause_that_was_asked_for_is_kept_up_to_a_minute() {
        for (asked, expected) in [(0, 1), (30, 30), (3600, 60)] {
            let asked = Some(SECOND * asked);
            assert_eq!(pause(SECOND, 1, asked, 1.0), SECOND * expected);
        }
    }

    #[test]
    fn retry_after_is_seconds_or_a_date() {
        let now = SystemTime::UNIX_EPOCH + SECOND * 784_111_777; // Sun, 06 Nov 1994 08:49:37 GMT
        for (text, expected) in [
            ("120", Some(120)),
            ("Sun, 06 Nov 1994 08:50:07 GMT", Some(30)),
            ("Sun, 06 Nov 1994 08:49:07 GMT", Some(0)),
            ("-1", None),
            ("soon", None),
        ] {
            let headers = HeaderMap::from_iter([(RETRY_AFTER, text.parse().unwrap())]);

            assert_eq!(
                asked(&headers, now),
                expected.map(Duration::from_secs),
                "{text}"
            );
        }
    }
}
