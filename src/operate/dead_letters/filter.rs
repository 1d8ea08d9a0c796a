//! Selects dead letters by reason, time and key; pure.

use super::DeadLetter;

/// The conditions that a dead letter must meet; an empty or absent condition matches all.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Filter {
    /// Dead-lettered for one of these reasons, by their codes.
    pub reasons: Vec<String>,
    /// Dead-lettered at this time or later, in milliseconds since the epoch.
    pub since: Option<i64>,
    /// Dead-lettered before this time, in milliseconds since the epoch.
    pub until: Option<i64>,
    /// The whole record key.
    pub key: Option<String>,
}

impl Filter {
    /// Returns whether a dead letter meets all conditions.
    pub fn takes(&self, letter: &DeadLetter) -> bool {
        let dead_lettered = letter.0.timestamp;
        let reason = |code: &String| code == letter.reason();
        let key = letter.0.key.as_deref();
        (self.reasons.is_empty() || self.reasons.iter().any(reason))
            && (self.since.is_none() || dead_lettered >= self.since)
            && self
                .until
                .is_none_or(|until| dead_lettered.is_some_and(|time| time < until))
            && (self.key.is_none() || key == self.key.as_deref().map(str::as_bytes))
    }
}

#[cfg(test)]
mod tests {
    use super::super::dead_letter::tests::letter;
    use super::*;

    #[test]
    fn every_condition_that_is_set_must_hold() {
        let dead_lettered = 1_700_000_100_000;
        let all = Filter::default();
        let holds = [
            Filter {
                reasons: vec!["too_old".to_owned(), "invalid".to_owned()],
                ..all.clone()
            },
            Filter {
                since: Some(dead_lettered),
                until: Some(dead_lettered + 1),
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
                reasons: vec!["too_old".to_owned()],
                ..all.clone()
            },
            Filter {
                since: Some(dead_lettered + 1),
                ..all.clone()
            },
            Filter {
                until: Some(dead_lettered),
                ..all.clone()
            },
            Filter {
                key: Some("order".to_owned()),
                reasons: vec!["invalid".to_owned()],
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
}
