//! Time in the forms that genflow writes: whole milliseconds since the epoch, RFC 3339 in UTC, and ages for people.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use chrono::{DateTime, SecondsFormat};

/// Returns a time in milliseconds since the epoch, 0 before it.
pub(crate) fn since_epoch(time: SystemTime) -> i64 {
    let gone = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(gone.as_millis()).unwrap_or(i64::MAX)
}

/// Returns the time between two times in milliseconds since the epoch; zero if `to` is before `from`.
pub(crate) fn span(from: i64, to: i64) -> Duration {
    Duration::from_millis(u64::try_from(to.saturating_sub(from)).unwrap_or(0))
}

/// Returns a duration in whole milliseconds.
pub(crate) fn millis(span: Duration) -> u64 {
    u64::try_from(span.as_millis()).unwrap_or(u64::MAX)
}

/// Formats milliseconds since the epoch as RFC 3339, with milliseconds.
pub(crate) fn rfc3339(millis: i64) -> String {
    let time = DateTime::from_timestamp_millis(millis).unwrap_or_default();
    time.to_rfc3339_opts(SecondsFormat::Millis, true)
}

/// Formats the time since `then` in the unit that people would use; both are in milliseconds since the epoch.
pub(crate) fn age(then: i64, now: i64) -> String {
    let seconds = span(then, now).as_secs();
    let (count, unit) = match seconds {
        0..60 => (seconds, "s"),
        60..3_600 => (seconds / 60, "min"),
        3_600..172_800 => (seconds / 3_600, "h"),
        _ => (seconds / 86_400, "days"),
    };
    format!("{count} {unit}")
}
