//! `--since` and `--until`.

use chrono::DateTime;

use super::Error;
use crate::domain::time::rfc3339;
use crate::engines::clock;
use crate::engines::config;

/// A period of time; a bound that is not given is open.
#[derive(Clone, Copy, Debug, Default, clap::Args)]
pub struct Period {
    /// Only those of this time or later: RFC 3339, or how long ago, such as 2h
    #[arg(long, value_name = "TIME", value_parser = before_now)]
    since: Option<i64>,
    /// Only those before this time: RFC 3339, or how long ago, such as 2h
    #[arg(long, value_name = "TIME", value_parser = before_now)]
    until: Option<i64>,
}

impl Period {
    /// Returns the first millisecond of the period and the first one after it, since the epoch.
    ///
    /// # Errors
    /// The period is empty.
    pub(super) fn bounds(self) -> Result<(Option<i64>, Option<i64>), Error> {
        match (self.since, self.until) {
            (Some(since), Some(until)) if since >= until => Err(Error::Usage(format!(
                "--since {} is not before --until {}",
                rfc3339(since),
                rfc3339(until)
            ))),
            bounds => Ok(bounds),
        }
    }
}

fn before_now(text: &str) -> Result<i64, &'static str> {
    time(text, clock::now())
}

/// Reads a time, or a time before `now`; both in milliseconds since the epoch.
fn time(text: &str, now: i64) -> Result<i64, &'static str> {
    if let Some(age) = config::duration(text) {
        let age = i64::try_from(age.as_millis()).unwrap_or(i64::MAX);
        return Ok(now.saturating_sub(age));
    }
    match DateTime::parse_from_rfc3339(text) {
        Ok(time) => Ok(time.timestamp_millis()),
        Err(_) => {
            Err("expected a time like 2026-01-31T12:00:00Z, or an age like 30s, 5m, 2h or 7d")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_rfc_3339_or_a_span_before_now() {
        let now = 1_700_000_000_000;
        for (text, millis) in [
            ("2023-11-14T22:13:20Z", 1_700_000_000_000),
            ("2023-11-14T23:13:20.5+01:00", 1_700_000_000_500),
            ("2h", 1_699_992_800_000),
            ("1d", 1_699_913_600_000),
        ] {
            assert_eq!(time(text, now), Ok(millis), "{text}");
        }
        for bad in ["", "yesterday", "2023-11-14", "0s", "2 weeks", "-2h"] {
            assert!(time(bad, now).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_period_that_ends_before_it_begins_is_a_fault() {
        let period = Period {
            since: Some(1_700_000_000_000),
            until: Some(1_699_996_400_000),
        };

        let error = period.bounds().unwrap_err();

        assert_eq!(
            error.to_string(),
            "--since 2023-11-14T22:13:20.000Z is not before --until 2023-11-14T21:13:20.000Z"
        );
        assert!(matches!(error, Error::Usage(_)));
    }
}
