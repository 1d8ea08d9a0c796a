//! Failure digests: failures for the operators, many in one message, gathered by one workflow per target.
//!
//! These types are stored in workflow histories: add fields only with a default, and never remove or retype one.
//! Histories contain no target: it is named by its channel and hash, and the activity finds it in the settings. Their size
//! is bounded for any number of failures: failures are counted by error code, and only the first ones are listed.

use std::collections::{BTreeMap, VecDeque};

use serde::{Deserialize, Serialize};

use super::receipt::Channel;
use crate::domain::{Event, EventType};

/// The input of `digest.v1`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Digest {
    /// The target.
    pub to: Addressee,
    /// Time between two messages, in milliseconds.
    pub every_ms: u64,
    /// Failures that an earlier run of the workflow gathered.
    #[serde(default)]
    pub gathered: Gathered,
    /// Events that the earlier run counted.
    #[serde(default)]
    pub seen: Seen,
    /// Rest of the pause of the earlier run, in milliseconds.
    #[serde(default)]
    pub pause_ms: u64,
    /// Number of failed attempts in a row.
    #[serde(default)]
    pub tries: u32,
    /// How many times in a row a message reached a notifier whose settings do not name the target.
    #[serde(default)]
    pub unknown: u32,
}

/// Names one of the operators' targets in the settings.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Addressee {
    /// Channel of the target.
    pub channel: Channel,
    /// First 16 hex digits of the target's SHA-256.
    pub target_hash: String,
}

/// The input of `tell.v1`: one message.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Tell {
    /// The target.
    pub to: Addressee,
    /// The failures to report.
    pub gathered: Gathered,
    /// How many times in a row the message reached a notifier whose settings do not name the target.
    #[serde(default)]
    pub unknown: u32,
}

/// The result of one attempt to send a message.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DigestSent {
    /// The message was accepted, or never will be.
    Ended,
    /// A later attempt may succeed.
    Later {
        /// The pause that the target asks for, in milliseconds.
        #[serde(default)]
        pause_ms: Option<u64>,
        /// The settings of this notifier do not name the target; those of another may.
        #[serde(default)]
        unknown: bool,
    },
}

impl Addressee {
    /// Returns the id of the workflow.
    pub fn workflow(&self) -> String {
        format!("digest/{}/{}", self.channel.as_str(), self.target_hash)
    }
}

/// A failed request, as operators see it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failed {
    /// Id of the `FAILED` event.
    pub event_id: String,
    /// Id of the request.
    pub request_id: String,
    /// The request's user id.
    #[serde(default)]
    pub user_id: String,
    /// The event's `error.code`.
    pub code: String,
    /// The event's `error.message`, cut to 200 characters.
    #[serde(default)]
    pub message: String,
    /// Milliseconds since the epoch.
    pub occurred_at: i64,
}

/// Failures that go into one message.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Gathered {
    /// Number of failures.
    pub total: u64,
    /// Number of failures by error code.
    pub codes: BTreeMap<String, u64>,
    /// The failures that came first, at most 20.
    pub first: Vec<Failed>,
}

/// Ids of the events counted last, oldest first.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Seen(VecDeque<String>);

/// How many failures are listed one by one.
const FIRST: usize = 20;
/// How many error codes are counted separately: more than there are, because a later version may add codes.
const CODES: usize = 50;
const OTHER: &str = "other";
/// Longest error message, in characters.
const MESSAGE: usize = 200;
/// How many events are remembered: if a record comes again, it is within the next few hundred.
const REMEMBERED: usize = 1000;

impl Failed {
    /// Returns the failure that `event` reports, if its type is `FAILED`.
    pub fn of(event: &Event) -> Option<Self> {
        if event.event_type != EventType::Failed {
            return None;
        }
        let error = event.error.as_ref();
        let message = error.map_or("", |error| &error.message);
        Some(Self {
            event_id: event.event_id.clone(),
            request_id: event.request_id.clone(),
            user_id: event.user_id.clone(),
            code: error.map_or(OTHER, |error| error.code.as_str()).to_owned(),
            message: message.chars().take(MESSAGE).collect(),
            occurred_at: event.occurred_at,
        })
    }
}

impl Gathered {
    /// Returns whether there are no failures.
    pub fn is_empty(&self) -> bool {
        self.total == 0
    }

    /// Adds a failure.
    pub fn add(&mut self, failed: Failed) {
        self.count(&failed.code, 1);
        if self.first.len() < FIRST {
            self.first.push(failed);
        }
    }

    /// Adds the failures whose event was not seen before.
    pub fn add_new(&mut self, failed: Vec<Failed>, seen: &mut Seen) {
        for failed in failed {
            if seen.note(&failed.event_id) {
                self.add(failed);
            }
        }
    }

    /// Puts `earlier` failures in front again, after their message was not delivered.
    pub fn behind(&mut self, mut earlier: Self) {
        let later = std::mem::take(self);
        for (code, count) in &later.codes {
            earlier.count(code, *count);
        }
        let room = FIRST.saturating_sub(earlier.first.len());
        earlier.first.extend(later.first.into_iter().take(room));
        *self = earlier;
    }

    fn count(&mut self, code: &str, more: u64) {
        self.total = self.total.saturating_add(more);
        let known = self.codes.contains_key(code) || self.codes.len() < CODES;
        let code = if known { code } else { OTHER };
        let count = self.codes.entry(code.to_owned()).or_default();
        *count = count.saturating_add(more);
    }

    /// Returns the title of the message, in one line.
    pub fn title(&self) -> String {
        match &self.first[..] {
            [only] if self.total == 1 => format!("Request failed: {}", only.request_id),
            _ => format!("{} requests failed", self.total),
        }
    }
}

impl Seen {
    /// Records an event; returns whether it is new.
    pub fn note(&mut self, event_id: &str) -> bool {
        if self.0.iter().any(|known| known == event_id) {
            return false;
        }
        if self.0.len() >= REMEMBERED {
            self.0.pop_front();
        }
        self.0.push_back(event_id.to_owned());
        true
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use serde_json::json;

    use super::*;
    use crate::domain::{ErrorCode, EventError};

    pub(crate) fn failed(at: usize, code: &str) -> Failed {
        Failed {
            event_id: format!("event-{at}"),
            request_id: format!("order-{at}"),
            user_id: "alice".to_owned(),
            code: code.to_owned(),
            message: "the prompt was <refused>".to_owned(),
            occurred_at: 1_700_000_000_123,
        }
    }

    pub(crate) fn gathered(count: usize) -> Gathered {
        let mut gathered = Gathered::default();
        for at in 0..count {
            let code = ["content_policy", "timed_out"][at % 2];
            gathered.add(failed(at, code));
        }
        gathered
    }

    #[test]
    fn only_a_failed_request_is_told_of() {
        let message = "x".repeat(1000);
        let error = EventError::new(ErrorCode::ProviderFailed, &message, true);
        let json = json!({"event_id": "e", "request_id": "order-7", "retry": 0, "sequence": 1, "user_id": "alice",
            "kind": "IMAGE", "type": "FAILED", "occurred_at": 1, "run_id": "r"});
        let event: Event = serde_json::from_value(json).unwrap();
        let with = |event_type| {
            Failed::of(&Event {
                event_type,
                error: Some(error.clone()),
                ..event.clone()
            })
        };

        let told = with(EventType::Failed).unwrap();

        assert_eq!(
            (told.code.as_str(), told.message.len()),
            ("provider_failed", 200)
        );
        assert_eq!(
            (told.request_id, told.user_id),
            ("order-7".into(), "alice".into())
        );
        for other in [
            EventType::Completed,
            EventType::Cancelled,
            EventType::Rejected,
        ] {
            assert_eq!(with(other), None);
        }
    }

    #[test]
    fn many_are_counted_and_the_first_are_kept() {
        let many = gathered(10_001);

        assert_eq!(many.total, 10_001);
        assert_eq!(many.codes["content_policy"], 5001);
        assert_eq!(many.codes["timed_out"], 5000);
        assert_eq!(many.first.len(), FIRST);
        assert_eq!(many.first[0].request_id, "order-0");
        assert_eq!(many.title(), "10001 requests failed");
        assert_eq!(gathered(1).title(), "Request failed: order-0");
        let mut odd = Gathered::default();
        (0..60).for_each(|at| odd.add(failed(at, &format!("code-{at}"))));
        assert_eq!((odd.codes.len(), odd.codes[OTHER]), (CODES + 1, 10));
    }

    #[test]
    fn what_could_not_be_told_comes_before_what_came_since() {
        let mut since = Gathered::default();
        since.add(failed(7, "store_failed"));

        since.behind(gathered(3));

        assert_eq!((since.total, since.codes.len()), (4, 3));
        let order: Vec<_> = since
            .first
            .iter()
            .map(|one| one.request_id.as_str())
            .collect();
        assert_eq!(order, ["order-0", "order-1", "order-2", "order-7"]);
    }

    #[test]
    fn an_event_counts_once_and_few_are_remembered() {
        let mut seen = Seen::default();

        assert!(seen.note("a") && !seen.note("a"));
        (0..REMEMBERED).for_each(|at| assert!(seen.note(&at.to_string())));

        assert_eq!(seen.0.len(), REMEMBERED);
        assert!(!seen.note("999") && seen.note("a"));
    }

    #[test]
    fn it_reads_as_it_was_written() {
        let many = gathered(3);

        let written = serde_json::to_string(&many).unwrap();

        assert_eq!(serde_json::from_str::<Gathered>(&written).unwrap(), many);
    }

    #[test]
    fn an_input_reads_without_what_came_later() {
        let input: Digest = serde_json::from_value(json!({
            "to": {"channel": "SLACK", "target_hash": "19f1352238b91533"},
            "every_ms": 60_000,
            "of_a_later_version": 7,
        }))
        .unwrap();

        assert_eq!(input.to.workflow(), "digest/SLACK/19f1352238b91533");
        assert_eq!((input.pause_ms, input.gathered.total), (0, 0));
        let sent: DigestSent = serde_json::from_value(json!({"later": {"pause_ms": 7}})).unwrap();
        let later = DigestSent::Later {
            pause_ms: Some(7),
            unknown: false,
        };
        assert_eq!(sent, later);
    }
}
