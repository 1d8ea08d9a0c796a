//! Which dead letters may go, and what goes along. Pure.

use super::{Letter, Shelf};
use crate::contract::headers::{ACCEPT_OLD, API_KEY, FIRST_SEEN};
use crate::domain::ErrorCode;
use crate::engines::config::Topics;
use crate::engines::kafka::Headers;

/// Which dead letters may go, and as what.
#[derive(Clone, Debug, Default)]
pub struct Rules {
    /// Where the dead letters stand.
    pub shelf: Shelf,
    /// One that was parked so often, or more often, stays.
    pub max_attempts: u32,
    /// Send requests under a fresh id.
    pub new_id: bool,
    /// Send what is too old, and have intake take it.
    pub accept_old: bool,
    /// Send also what was sent before.
    pub again: bool,
    /// Sent as the header `x-api-key`.
    pub api_key: Option<String>,
}

/// Where a dead letter goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Way<'t> {
    /// To the topic it came from.
    Topic(&'t str),
    /// Into the hands of the workflow of its notification.
    Workflow,
}

/// Why a dead letter that is meant was not sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Skip {
    /// It was sent by an earlier run.
    Redriven,
    /// Its value was left out when it was parked.
    Truncated,
    /// It was parked too often.
    Attempts,
    /// It was too old, and is not to be taken all the same.
    TooOld,
    /// It does not say that it comes from one of our topics.
    Foreign,
    /// It is no valid request, so it can have no new id.
    NoRequest,
    /// It is no event that tells whose notification it is.
    NoEvent,
    /// Its notification is being delivered.
    UnderWay,
    /// With its headers it is too large for its topic.
    TooLarge,
}

impl Rules {
    /// Returns where a dead letter goes, or why it stays.
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
        // Whoever can write to the dead-letter topic must not steer an operator's hand to any other.
        let topic = ours.iter().copied().find(|topic| origin == Some(topic));
        let too_old = letter.reason() == ErrorCode::TooOld.as_str();
        match topic {
            _ if sent_before && !self.again => Err(Skip::Redriven),
            // It goes to no topic, and its attempts are those of one delivery.
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

    /// The headers of the record as it goes out: its own, how often it was parked, and since when it is on its way.
    pub(super) fn headers(&self, letter: &Letter) -> Headers {
        let text = |name: &str, text: String| (name.to_owned(), Some(text.into_bytes()));
        let own = letter.record.headers.iter().filter(|(name, _)| {
            !name.starts_with("dlq.") && ![ACCEPT_OLD, FIRST_SEEN, API_KEY].contains(&&**name)
        });
        let mut headers: Headers = own.cloned().collect();
        headers.push(text("dlq.attempts", letter.attempts().to_string()));
        // The older of both: whoever sent the record may have written the header.
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
    /// Says why it was not sent, and what to do about it.
    pub fn explained(self) -> &'static str {
        match self {
            Self::Redriven => "sent before; --again sends them once more",
            Self::Truncated => {
                "parked without their value (dlq.truncated): the producer has to send them anew"
            }
            Self::Attempts => "parked too often: look for the cause, then raise --max-attempts",
            Self::TooOld => "too old: if they never ran, --accept-old has them taken",
            Self::Foreign => {
                "from a topic that is not ours: neither TOPIC_REQUESTS nor TOPIC_COMMANDS, or with --notifications not TOPIC_EVENTS"
            }
            Self::NoRequest => "no valid request, so --new-id cannot be given one",
            Self::NoEvent => "no event that can be read, so nobody can be told of it",
            Self::UnderWay => "being delivered by an earlier redrive",
            Self::TooLarge => "too large for their topic with the headers that are added",
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
        // What the record says of itself, and what goes out; it was parked with the time 1700000000000.
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
