//! Decides which dead letters may be redriven, where to, and with which headers; pure.

use super::{Letter, Shelf};
use crate::contract::headers::{ACCEPT_OLD, API_KEY, FIRST_SEEN};
use crate::domain::ErrorCode;
use crate::engines::config::Topics;
use crate::engines::kafka::Headers;

/// Which dead letters may be redriven, and with what changes.
#[derive(Clone, Debug, Default)]
pub struct Rules {
    /// The dead-letter topic.
    pub shelf: Shelf,
    /// A record that was dead-lettered this often or more is not sent.
    pub max_attempts: u32,
    /// Send requests under a new id.
    pub new_id: bool,
    /// Send records that were too old, with the header that makes intake accept them.
    pub accept_old: bool,
    /// Send also what an earlier run sent.
    pub again: bool,
    /// The value of the header `x-api-key` to send; `None` sends none.
    pub api_key: Option<String>,
}

/// Where a dead letter is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Way<'t> {
    /// To the topic it came from.
    Topic(&'t str),
    /// To a delivery workflow.
    Workflow,
}

/// Why a selected dead letter was not sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Skip {
    /// An earlier run sent it.
    Redriven,
    /// Its value was left out when it was dead-lettered.
    Truncated,
    /// It was dead-lettered too often.
    Attempts,
    /// It was too old, and [`Rules::accept_old`] is not set.
    TooOld,
    /// Its headers do not name one of our topics as its origin.
    Foreign,
    /// It is no valid request, so it cannot get a new id.
    NoRequest,
    /// It is no readable event, so the notification's user is unknown.
    NoEvent,
    /// A workflow is already delivering its notification.
    UnderWay,
    /// It is too large for its topic with the added headers.
    TooLarge,
}

impl Rules {
    /// Returns where a dead letter is to be sent, or why it is not.
    pub(super) fn judge<'t>(
        &self,
        letter: &Letter,
        sent_before: bool,
        topics: &'t Topics,
    ) -> Result<Way<'t>, Skip> {
        let origin = letter.record.header("dlq.original.topic");
        let ours: &[&str] = match self.shelf {
            Shelf::Requests => &[&topics.requests, &topics.commands],
            Shelf::Notifications => &[&topics.events],
        };
        // A writer of the dead-letter topic must not be able to make an operator's redrive write to any other topic.
        let topic = ours.iter().copied().find(|topic| origin == Some(topic));
        let too_old = letter.reason() == ErrorCode::TooOld.as_str();
        match topic {
            _ if sent_before && !self.again => Err(Skip::Redriven),
            // The other rules do not apply: it goes to no topic, and its attempts are those of one delivery.
            None if self.shelf == Shelf::Notifications && letter.notification().is_some() => {
                Ok(Way::Workflow)
            }
            None => Err(Skip::Foreign),
            Some(_) if letter.is_truncated() => Err(Skip::Truncated),
            Some(_) if letter.attempts() >= self.max_attempts => Err(Skip::Attempts),
            Some(_) if too_old && !self.accept_old => Err(Skip::TooOld),
            Some(topic) => Ok(Way::Topic(topic)),
        }
    }

    /// Returns the headers to send: the record's own, how often it was dead-lettered, and when it was first seen.
    pub(super) fn headers(&self, letter: &Letter) -> Headers {
        let text = |name: &str, text: String| (name.to_owned(), Some(text.into_bytes()));
        let own = letter.record.headers.iter().filter(|(name, _)| {
            !name.starts_with("dlq.") && ![ACCEPT_OLD, FIRST_SEEN, API_KEY].contains(&&**name)
        });
        let mut headers: Headers = own.cloned().collect();
        headers.push(text("dlq.attempts", letter.attempts().to_string()));
        // The older of the two, because the producer may have set the header.
        let claimed = letter.record.header(FIRST_SEEN);
        let claimed = claimed.and_then(|millis| millis.parse().ok());
        let first_seen = claimed.into_iter().chain(letter.original_timestamp()).min();
        if let Some(millis) = first_seen {
            headers.push(text(FIRST_SEEN, i64::to_string(&millis)));
        }
        if self.accept_old {
            headers.push(text(ACCEPT_OLD, "true".to_owned()));
        }
        if let Some(key) = &self.api_key {
            headers.push(text("x-api-key", key.clone()));
        }
        headers
    }
}

impl Skip {
    /// Returns why it was not sent and what to do, in words.
    pub fn explained(self) -> &'static str {
        match self {
            Self::Redriven => "sent before; --again sends them once more",
            Self::Truncated => {
                "parked without their value (dlq.truncated): the producer has to send them again"
            }
            Self::Attempts => "parked too often: look for the cause, then raise --max-attempts",
            Self::TooOld => "too old: if they never ran, send them with --accept-old",
            Self::Foreign => {
                "not from our topics: expected TOPIC_REQUESTS or TOPIC_COMMANDS, or with --notifications TOPIC_EVENTS"
            }
            Self::NoRequest => "no valid request, so --new-id cannot give them an id",
            Self::NoEvent => "not a readable event, so the notification cannot be delivered",
            Self::UnderWay => "being delivered already, by an earlier redrive",
            Self::TooLarge => "too large for their topic with the added headers",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::letter::tests::letter;
    use super::*;
    use crate::engines::config::Config;

    fn rules() -> Rules {
        Rules {
            max_attempts: 3,
            ..Rules::default()
        }
    }

    fn judge(rules: &Rules, headers: &[(&str, &str)], sent_before: bool) -> Result<String, Skip> {
        let topics = Config::of(&[]).unwrap().kafka.topics;
        let judged = rules.judge(&letter(headers), sent_before, &topics);
        judged.map(|way| match way {
            Way::Topic(topic) => topic.to_owned(),
            Way::Workflow => "workflow".to_owned(),
        })
    }

    #[test]
    fn what_must_not_go_stays_and_says_why() {
        let too_old = ("dlq.reason", "too_old");
        let accept = Rules {
            accept_old: true,
            ..rules()
        };
        let again = Rules {
            again: true,
            ..rules()
        };

        assert_eq!(judge(&rules(), &[], false).unwrap(), "gen.requests");
        let commands = [("dlq.original.topic", "gen.commands")];
        assert_eq!(judge(&rules(), &commands, false).unwrap(), "gen.commands");
        for (headers, skip) in [
            (&[("dlq.attempts", "3")][..], Skip::Attempts),
            (&[("dlq.truncated", "true")], Skip::Truncated),
            (&[("dlq.original.topic", "gen.events")], Skip::Foreign),
            (&[too_old], Skip::TooOld),
        ] {
            assert_eq!(judge(&rules(), headers, false), Err(skip));
        }
        assert!(judge(&accept, &[too_old], false).is_ok());
        assert_eq!(judge(&rules(), &[], true), Err(Skip::Redriven));
        assert!(judge(&again, &[], true).is_ok());
    }

    #[test]
    fn a_notification_goes_to_its_workflow_and_an_event_that_was_not_read_to_its_topic() {
        let notifications = Rules {
            shelf: Shelf::Notifications,
            ..rules()
        };
        let foreign = ("dlq.original.topic", "");
        let given_up = [
            foreign,
            ("dlq.channel", "WEBHOOK"),
            ("dlq.target_hash", "19f1352238b91533"),
            ("dlq.attempts", "10"),
        ];
        let event = [("dlq.original.topic", "gen.events")];

        assert_eq!(judge(&notifications, &given_up, false).unwrap(), "workflow");
        let sent = judge(&notifications, &given_up, true);
        assert_eq!(sent, Err(Skip::Redriven));
        assert_eq!(judge(&notifications, &event, false).unwrap(), "gen.events");
        assert_eq!(judge(&notifications, &[], false), Err(Skip::Foreign));
        let unknown = [foreign, ("dlq.channel", "PIGEON"), given_up[2]];
        assert_eq!(judge(&notifications, &unknown, false), Err(Skip::Foreign));
        assert_eq!(judge(&rules(), &given_up, false), Err(Skip::Foreign));
    }

    #[test]
    fn a_record_goes_with_its_own_headers_its_attempts_and_its_first_time() {
        let came = [
            ("traceparent", "00-1"),
            ("x-api-key", "stolen"),
            (ACCEPT_OLD, "true"),
            ("dlq.attempts", "2"),
        ];
        let with_key = Rules {
            api_key: Some("key".to_owned()),
            ..rules()
        };

        let headers = with_key.headers(&letter(&came));

        let shown: Vec<_> = headers
            .iter()
            .map(|(name, value)| {
                let value = value.as_deref().unwrap_or_default();
                (name.as_str(), std::str::from_utf8(value).unwrap())
            })
            .collect();
        assert_eq!(
            shown,
            [
                ("traceparent", "00-1"),
                ("dlq.attempts", "2"),
                (FIRST_SEEN, "1700000000000"),
                ("x-api-key", "key"),
            ]
        );
    }

    #[test]
    fn the_first_time_is_kept_over_many_redrives_and_never_moves_on() {
        let accept = Rules {
            accept_old: true,
            ..rules()
        };
        // The record's own header, and the header that is sent. The original record has the timestamp 1700000000000.
        for (claimed, kept) in [
            ("5", "5"),
            ("9999999999999", "1700000000000"),
            ("soon", "1700000000000"),
        ] {
            let headers = accept.headers(&letter(&[(FIRST_SEEN, claimed)]));

            let value = |name: &str| {
                let found = headers.iter().find(|(header, _)| header == name);
                found.and_then(|(_, value)| value.clone())
            };
            assert_eq!(value(FIRST_SEEN), Some(kept.into()), "{claimed}");
            assert_eq!(value(ACCEPT_OLD), Some(b"true".to_vec()));
        }
    }
}
