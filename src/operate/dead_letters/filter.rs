//! Selects dead letters by reason, time, key and user; pure. The caller decodes the value to find the user.

use std::str::FromStr;
use std::time::Duration;

use chrono::DateTime;

use super::Letter;
use crate::domain::ErrorCode;
use crate::engines::config;

/// The closed list of `dlq.reason`: why records are dead-lettered.
pub const REASONS: [ErrorCode; 9] = [
    ErrorCode::Undecodable,
    ErrorCode::UnknownSchema,
    ErrorCode::Invalid,
    ErrorCode::Unauthorized,
    ErrorCode::TooOld,
    ErrorCode::RateLimited,
    ErrorCode::CancelledBeforeStart,
    ErrorCode::RequestIdConflict,
    ErrorCode::StartRefused,
];

/// The conditions that a dead letter must meet; an empty or absent condition matches all.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Filter {
    /// Dead-lettered for one of these reasons.
    pub reasons: Vec<ErrorCode>,
    /// Dead-lettered at this time or later, in milliseconds since the epoch.
    pub since: Option<i64>,
    /// Dead-lettered before this time, in milliseconds since the epoch.
    pub until: Option<i64>,
    /// The whole record key.
    pub key: Option<String>,
    /// The whole user id.
    pub user: Option<String>,
}

/// A point in time as a user writes it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Moment {
    /// Milliseconds since the epoch.
    At(i64),
    /// A time before now.
    Ago(Duration),
}

/// A text that is not a [`Moment`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("expected a time like 2026-01-31T12:00:00Z, or an age like 30s, 5m, 2h or 7d")]
pub struct NoMoment;

impl Filter {
    /// Returns whether a dead letter meets all conditions but the one on the user.
    pub fn takes(&self, letter: &Letter) -> bool {
        let parked = letter.record.timestamp;
        let reason = |code: &ErrorCode| code.as_str() == letter.reason();
        let key = letter.record.key.as_deref();
        (self.reasons.is_empty() || self.reasons.iter().any(reason))
            && (self.since.is_none() || parked >= self.since)
            && self
                .until
                .is_none_or(|until| parked.is_some_and(|parked| parked < until))
            && (self.key.is_none() || key == self.key.as_deref().map(str::as_bytes))
    }

    /// Returns whether a user meets the condition on the user.
    pub fn takes_user(&self, user: Option<&str>) -> bool {
        self.user.is_none() || user == self.user.as_deref()
    }
}

impl Moment {
    /// Returns the time in milliseconds since the epoch; `now` is in the same unit.
    pub fn millis(self, now: i64) -> i64 {
        match self {
            Self::At(millis) => millis,
            Self::Ago(span) => {
                now.saturating_sub(i64::try_from(span.as_millis()).unwrap_or(i64::MAX))
            }
        }
    }
}

impl FromStr for Moment {
    type Err = NoMoment;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if let Some(span) = config::duration(text) {
            return Ok(Self::Ago(span));
        }
        let time = DateTime::parse_from_rfc3339(text).map_err(|_| NoMoment)?;
        Ok(Self::At(time.timestamp_millis()))
    }
}

#[cfg(test)]
mod tests {
    use super::super::letter::tests::letter;
    use super::*;

    #[test]
    fn a_time_is_rfc_3339_or_a_span_before_now() {
        for (text, millis) in [
            ("2023-11-14T22:13:20Z", 1_700_000_000_000),
            ("2023-11-14T23:13:20.5+01:00", 1_700_000_000_500),
            ("2h", 1_699_992_800_000),
            ("1d", 1_699_913_600_000),
        ] {
            let moment: Moment = text.parse().unwrap();

            assert_eq!(moment.millis(1_700_000_000_000), millis, "{text}");
        }
        for bad in ["", "yesterday", "2023-11-14", "0s", "2 weeks", "-2h"] {
            assert_eq!(bad.parse::<Moment>(), Err(NoMoment), "{bad}");
        }
    }

    #[test]
    fn every_condition_that_is_set_must_hold() {
        let parked = 1_700_000_100_000;
        let all = Filter::default();
        let holds = [
            Filter {
                reasons: vec![ErrorCode::TooOld, ErrorCode::Invalid],
                ..all.clone()
            },
            Filter {
                since: Some(parked),
                until: Some(parked + 1),
                ..all.clone()
            },
            Filter {
                key: Some("order-7".to_owned()),
                ..all.clone()
            },
            all.clone(),
        ];
        let fails = [
            Filter {
                reasons: vec![ErrorCode::TooOld],
                ..all.clone()
            },
            Filter {
                since: Some(parked + 1),
                ..all.clone()
            },
            Filter {
                until: Some(parked),
                ..all.clone()
            },
            Filter {
                key: Some("order".to_owned()),
                reasons: vec![ErrorCode::Invalid],
                ..all
            },
        ];

        for filter in holds {
            assert!(filter.takes(&letter(&[])), "{filter:?}");
        }
        for filter in fails {
            assert!(!filter.takes(&letter(&[])), "{filter:?}");
        }
    }

    #[test]
    fn who_names_a_user_means_that_one_only() {
        let ann = Filter {
            user: Some("ann".to_owned()),
            ..Filter::default()
        };

        assert!(ann.takes_user(Some("ann")));
        assert!(!ann.takes_user(Some("bob")));
        assert!(!ann.takes_user(None));
        assert!(Filter::default().takes_user(None));
    }
}
