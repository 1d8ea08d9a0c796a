//! How long a target asks us to wait. Pure.

use std::time::{Duration, SystemTime};

use chrono::DateTime;
use reqwest::header::{HeaderMap, RETRY_AFTER};

/// Parses `Retry-After`: seconds, or a date.
pub(crate) fn asked(headers: &HeaderMap, now: SystemTime) -> Option<Duration> {
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
