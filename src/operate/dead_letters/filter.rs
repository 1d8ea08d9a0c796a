//! Which dead letters are meant: by reason, time, key. Pure; the user needs the value and is held elsewhere.

use std::str::FromStr;
use std::time::Duration;

use chrono::DateTime;

use super::Letter;
use crate::domain::ErrorCode;
use crate::engines::config;

/// The reasons for which records are parked: the closed list of `dlq.reason`.
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

/// Which dead letters are meant; what is not set takes all.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Filter {
    /// Parked for one of these.
    pub reasons: Vec<ErrorCode>,
    /// Parked then or later, in milliseconds since the epoch.
    pub since: Option<i64>,
    /// Parked before.
    pub until: Option<i64>,
    /// Exactly this key.
    pub key: Option<String>,
    /// Of exactly this user.
    pub user: Option<String>,
}

/// A point in time, as a person gives it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Moment {
    /// In milliseconds since the epoch.
    At(i64),
    /// So long before now.
    Ago(Duration),
}

/// A text that is no [`Moment`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("want a time as 2026-01-31T12:00:00Z, or how long ago as 30s, 5m, 2h or 7d")]
pub struct NoMoment;

impl Filter {
    /// Tells whether a dead letter is meant, its user aside.
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

    /// Tells whether a user is meant.
    pub fn takes_user(&self, user: Option<&str>) -> bool {
        self.user.is_none() || user == self.user.as_deref()
    }
}

impl Moment {
    /// Returns the milliseconds since the epoch, counted from `now`.
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
