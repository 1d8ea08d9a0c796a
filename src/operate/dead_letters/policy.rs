//! Decides which dead letters may be redriven, where to, and with which headers; pure.

use super::{DeadLetter, DlqTopic};
use crate::contract::headers::{ACCEPT_OLD, API_KEY, FIRST_SEEN};
use crate::domain::ErrorCode;
use crate::engines::config::Topics;
use crate::engines::kafka::Headers;

/// Which dead letters may be redriven, and with what changes.
#[derive(Clone, Debug, Default)]
pub struct RedrivePolicy {
    pub topic: DlqTopic,
    /// A record that was dead-lettered this many times or more is not sent.
    pub max_attempts: u32,
    pub new_id: bool,
    /// Also send records that were too old. All records get the header that makes intake accept old ones.
    pub accept_old: bool,
    /// The value of the header `x-api-key` to send; `None` sends none.
    pub api_key: Option<String>,
}

/// Where a dead letter is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Route<'t> {
    /// To the topic it came from.
    Topic(&'t str),
    /// To a delivery workflow.
    Workflow,
}

/// Why a selected dead letter was not sent, and what to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, thiserror::Error)]
pub enum Skip {
    /// A later dead letter holds the same record.
    #[error("dead-lettered again since: only the last dead letter of a record is sent")]
    Superseded,
    /// Its value was left out when it was dead-lettered.
    #[error(
        "dead-lettered without their value (dlq.truncated): the producer has to send them again"
    )]
    Truncated,
    #[error("dead-lettered too often: look for the cause, then raise --max-attempts")]
    Attempts,
    #[error("too old: if they never ran, send them with --accept-old")]
    TooOld,
    /// Its headers do not name one of our topics as its origin.
    #[error(
        "not from our topics: expected TOPIC_REQUESTS or TOPIC_COMMANDS, or with --notifications TOPIC_EVENTS"
    )]
    Foreign,
    #[error("no valid request, so --new-id cannot give them an id")]
    NoRequest,
    /// Without a readable event, the notification's user is unknown.
    #[error("not a readable event, so the notification cannot be delivered")]
    NoEvent,
    /// The delivery workflow of the notification is open.
    #[error("being delivered already, by an earlier redrive")]
    UnderWay,
    /// The last delivery workflow of the notification delivered it.
    #[error("delivered since, by an earlier redrive")]
    Delivered,
    /// Kafka refuses it with the added headers.
    #[error("too large for their topic with the added headers")]
    TooLarge,
}

impl RedrivePolicy {
    /// Returns where a dead letter is to be sent, or why it is not.
    pub(super) fn route<'t>(
        &self,
        letter: &DeadLetter,
        topics: &'t Topics,
    ) -> Result<Route<'t>, Skip> {
        let origin = letter.0.header("dlq.original.topic");
        let ours: &[&str] = match self.topic {
            DlqTopic::Requests => &[&topics.requests, &topics.commands],
            DlqTopic::Notifications => &[&topics.events],
        };
        // A writer of the dead-letter topic must not be able to make an operator's redrive write to any other topic.
        let topic = ours.iter().copied().find(|topic| origin == Some(topic));
        let too_old = letter.reason() == ErrorCode::TooOld.as_str();
        match topic {
            // The other rules do not apply: it goes to no topic, and its attempts are those of one delivery.
            None if self.topic == DlqTopic::Notifications && letter.notification().is_some() => {
                Ok(Route::Workflow)
            }
            None => Err(Skip::Foreign),
            Some(_) if letter.is_truncated() => Err(Skip::Truncated),
            Some(_) if letter.attempts() >= self.max_attempts => Err(Skip::Attempts),
            Some(_) if too_old && !self.accept_old => Err(Skip::TooOld),
            Some(topic) => Ok(Route::Topic(topic)),
        }
    }

    /// Returns the headers to send: the record's own without its API key, how many times it was dead-lettered, when it
    /// was first seen, and those that the policy adds.
    pub(super) fn headers(&self, letter: &DeadLetter) -> Headers {
        let text = |name: &str, text: String| (name.to_owned(), Some(text.into_bytes()));
        let own = letter.0.headers.iter().filter(|(name, _)| {
            !name.starts_with("dlq.") && ![ACCEPT_OLD, FIRST_SEEN, API_KEY].contains(&&**name)
        });
        let mut headers: Headers = own.cloned().collect();
        headers.push(text("dlq.attempts", letter.attempts().to_string()));
        // The older of the two, because the producer may have set the header.
        let claimed = letter.0.header(FIRST_SEEN);
        let claimed = claimed.and_then(|millis| millis.parse().ok());
        let first_seen = claimed.into_iter().chain(letter.original_timestamp()).min();
        if let Some(millis) = first_seen {
            headers.push(text(FIRST_SEEN, i64::to_string(&millis)));
        }
        if self.accept_old {
            headers.push(text(ACCEPT_OLD, "true".to_owned()));
        }
        if let Some(key) = &self.api_key {
            headers.push(text(API_KEY, key.clone()));
        }
        headers
    }
}

#[cfg(test)]
mod tests {
    use super::super::dead_letter::tests::letter;
    use super::*;
    use crate::engines::config::Config;

    fn policy() -> RedrivePolicy {
        RedrivePolicy {
            max_attempts: 3,
            ..RedrivePolicy::default()
        }
    }

    fn route(policy: &RedrivePolicy, headers: &[(&str, &str)]) -> Result<String, Skip> {
        let topics = Config::of(&[]).unwrap().kafka.topics;
        let route = policy.route(&letter(headers), &topics);
        route.map(|route| match route {
            Route::Topic(topic) => topic.to_owned(),
            Route::Workflow => "workflow".to_owned(),
        })
    }

    #[test]
    fn a_dead_letter_that_must_not_be_sent_is_skipped_with_the_reason() {
        let too_old = ("dlq.reason", "too_old");
        let accept = RedrivePolicy {
            accept_old: true,
            ..policy()
        };

        assert_eq!(route(&policy(), &[]).unwrap(), "gen.requests");
        let commands = [("dlq.original.topic", "gen.commands")];
        assert_eq!(route(&policy(), &commands).unwrap(), "gen.commands");
        for (headers, skip) in [
            (&[("dlq.attempts", "3")][..], Skip::Attempts),
            (&[("dlq.truncated", "true")], Skip::Truncated),
            (&[("dlq.original.topic", "gen.events")], Skip::Foreign),
            (&[too_old], Skip::TooOld),
        ] {
            assert_eq!(route(&policy(), headers), Err(skip));
        }
        assert!(route(&accept, &[too_old]).is_ok());
    }

    #[test]
    fn a_notification_goes_to_its_workflow_and_an_event_that_was_not_read_to_its_topic() {
        let notifications = RedrivePolicy {
            topic: DlqTopic::Notifications,
            ..policy()
        };
        let foreign = ("dlq.original.topic", "");
        let given_up = [
            foreign,
            ("dlq.channel", "WEBHOOK"),
            ("dlq.target_hash", "19f1352238b91533"),
            ("dlq.attempts", "10"),
        ];
        let event = [("dlq.original.topic", "gen.events")];

        assert_eq!(route(&notifications, &given_up).unwrap(), "workflow");
        assert_eq!(route(&notifications, &event).unwrap(), "gen.events");
        assert_eq!(route(&notifications, &[]), Err(Skip::Foreign));
        let unknown = [foreign, ("dlq.channel", "PIGEON"), given_up[2]];
        assert_eq!(route(&notifications, &unknown), Err(Skip::Foreign));
        assert_eq!(route(&policy(), &given_up), Err(Skip::Foreign));
    }

    #[test]
    fn a_record_is_sent_with_its_own_headers_its_attempts_and_its_first_time() {
        let came = [
            ("traceparent", "00-1"),
            ("x-api-key", "stolen"),
            (ACCEPT_OLD, "true"),
            ("dlq.attempts", "2"),
        ];
        let with_key = RedrivePolicy {
            api_key: Some("key".to_owned()),
            ..policy()
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
    fn the_first_time_is_kept_over_many_redrives_and_never_becomes_later() {
        let accept = RedrivePolicy {
            accept_old: true,
            ..policy()
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
