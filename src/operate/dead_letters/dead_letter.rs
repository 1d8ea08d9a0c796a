//! A record on a dead-letter topic, and what its headers say. The consumer and the notifier write these headers.

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;

use crate::contract::receipt::Channel;
use crate::domain::RecordPosition;
use crate::engines::config::Topics;
use crate::engines::kafka::Record;

/// The position of a dead letter on its topic: `partition:offset`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Position {
    pub partition: i32,
    pub offset: i64,
}

/// A text that is not a [`Position`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("expected PARTITION:OFFSET as dlq list shows it, like 0:15")]
pub struct InvalidPosition;

/// A dead letter: the record on the dead-letter topic.
#[derive(Clone, Debug)]
pub struct DeadLetter(pub Record);

/// A dead-letter topic.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum DlqTopic {
    /// `gen.requests.dlq`: requests and commands that intake rejected.
    #[default]
    Requests,
    /// `gen.notifications.dlq`: notifications that were given up, and events that the notifier could not read.
    Notifications,
}

impl DlqTopic {
    /// Returns the topic's configured name.
    pub fn name(self, topics: &Topics) -> &str {
        match self {
            Self::Requests => &topics.dlq,
            Self::Notifications => &topics.notifications_dlq,
        }
    }
}

impl DeadLetter {
    /// Returns its position on the dead-letter topic.
    pub fn position(&self) -> Position {
        Position {
            partition: self.0.position.partition,
            offset: self.0.position.offset,
        }
    }

    /// Returns the code of the reason why it was dead-lettered; `-` if the header is missing.
    pub fn reason(&self) -> &str {
        self.0.header("dlq.reason").unwrap_or("-")
    }

    /// Returns the reason in words; empty if the header is missing.
    pub fn error(&self) -> &str {
        self.0.header("dlq.error").unwrap_or_default()
    }

    /// Returns how many times it was dead-lettered, or for a notification the attempts of its delivery; 1 if the header
    /// is missing.
    pub fn attempts(&self) -> u32 {
        self.number("dlq.attempts").unwrap_or(1)
    }

    /// Returns the position of the original record.
    pub fn original(&self) -> Option<RecordPosition> {
        Some(RecordPosition {
            topic: self.0.header("dlq.original.topic")?.to_owned(),
            partition: self.number("dlq.original.partition")?,
            offset: self.number("dlq.original.offset")?,
        })
    }

    /// Returns the timestamp of the original record, in milliseconds since the epoch.
    pub fn original_timestamp(&self) -> Option<i64> {
        self.number("dlq.original.timestamp")
            .filter(|millis| *millis >= 0)
    }

    /// Returns channel and target hash, if this is a notification that was given up.
    pub fn notification(&self) -> Option<(Channel, &str)> {
        let channel = Channel::parse(self.0.header("dlq.channel")?)?;
        Some((channel, self.0.header("dlq.target_hash")?))
    }

    /// Returns whether its value is an event.
    pub fn is_event(&self, topics: &Topics) -> bool {
        let origin = self.0.header("dlq.original.topic");
        self.notification().is_some() || origin == Some(&topics.events)
    }

    /// Returns whether its value was left out because it was too large.
    pub fn is_truncated(&self) -> bool {
        self.0.header("dlq.truncated") == Some("true")
    }

    /// Returns its key; bytes that are not UTF-8 are replaced.
    pub fn key(&self) -> Option<Cow<'_, str>> {
        self.0.key.as_deref().map(String::from_utf8_lossy)
    }

    fn number<T: FromStr>(&self, header: &str) -> Option<T> {
        self.0.header(header)?.parse().ok()
    }
}

impl FromStr for Position {
    type Err = InvalidPosition;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let parts = text.split_once(':').ok_or(InvalidPosition)?;
        match (parts.0.parse(), parts.1.parse()) {
            (Ok(partition), Ok(offset)) if partition >= 0 && offset >= 0 => {
                Ok(Self { partition, offset })
            }
            _ => Err(InvalidPosition),
        }
    }
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // `pad` applies the caller's width to the whole text.
        f.pad(&format!("{}:{}", self.partition, self.offset))
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// Returns a dead letter of `gen.requests` at 0:33.
    pub(crate) fn letter(headers: &[(&str, &str)]) -> DeadLetter {
        let mut all = vec![
            ("dlq.reason", "invalid"),
            ("dlq.original.topic", "gen.requests"),
            ("dlq.original.partition", "3"),
            ("dlq.original.offset", "991"),
            ("dlq.original.timestamp", "1700000000000"),
            ("dlq.attempts", "1"),
        ];
        all.extend_from_slice(headers);
        DeadLetter(Record {
            key: Some(b"order-7".to_vec()),
            value: Some(b"value".to_vec()),
            timestamp: Some(1_700_000_100_000),
            ..Record::of(33, &all)
        })
    }

    #[test]
    fn a_position_is_parsed_as_it_is_shown() {
        let position: Position = "2:15".parse().unwrap();

        assert_eq!((position.partition, position.offset), (2, 15));
        assert_eq!(format!("{position:<6}|"), "2:15  |");
        for bad in [
            "", "2", "2:", ":15", "2:15:1", "-1:3", "2:-1", "2/15", "a:b",
        ] {
            assert_eq!(bad.parse::<Position>(), Err(InvalidPosition), "{bad}");
        }
    }

    #[test]
    fn headers_that_are_missing_or_not_numbers_are_ignored() {
        let reported = letter(&[]);
        assert_eq!(
            reported.original().unwrap().to_string(),
            "gen.requests/3/991"
        );
        assert_eq!(reported.original_timestamp(), Some(1_700_000_000_000));

        let strange = letter(&[
            ("dlq.original.offset", "x"),
            ("dlq.original.timestamp", "-1"),
            ("dlq.attempts", "many"),
        ]);
        assert_eq!(strange.original(), None);
        assert_eq!(strange.original_timestamp(), None);
        assert_eq!(strange.attempts(), 1);
    }
}
