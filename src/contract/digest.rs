//! Failure digests: failed requests that are reported to the operators, many in one message. Each target has one
//! workflow.
//!
//! These types are stored in workflow histories: add fields only with a default, and never remove or retype one.
//! Histories contain no target: channel and hash name it, and the activity finds it in the settings. Their size is
//! bounded for any number of failures: failures are counted by error code, and only the first ones are listed.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::receipt::Channel;
use crate::domain::{ErrorCode, Event, EventType};

/// The input of `digest.v1`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DigestInput {
    pub to: OperatorTarget,
    /// Failures that an earlier run of the workflow did not report.
    #[serde(default)]
    pub failures: FailedRequests,
    /// Earliest time of the next message, in milliseconds since the epoch.
    #[serde(default)]
    pub next_at: i64,
}

/// Names one of the operators' targets in the settings.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OperatorTarget {
    pub channel: Channel,
    /// First 16 hex digits of the target's SHA-256.
    pub target_hash: String,
}

/// The input of `send-digest.v1`: one message.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct SendDigest {
    pub to: OperatorTarget,
    pub failures: FailedRequests,
}

/// A failed request, as operators see it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FailedRequest {
    /// Id of the `FAILED` event.
    pub event_id: String,
    pub request_id: String,
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
pub struct FailedRequests {
    /// Number of failures, including those that are not listed.
    pub total: u64,
    /// Number of failures by error code.
    pub codes: BTreeMap<String, u64>,
    /// The failures that came first, at most 20.
    pub first: Vec<FailedRequest>,
}

/// Maximum number of failures that are listed one by one.
const MAX_LISTED: usize = 20;
/// Length to which error messages are cut, in characters.
const MAX_MESSAGE_CHARS: usize = 200;

impl OperatorTarget {
    /// Returns the id of the target's workflow.
    pub fn workflow(&self) -> String {
        format!("digest/{}/{}", self.channel.as_str(), self.target_hash)
    }
}

impl FailedRequest {
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
            code: error
                .map_or(ErrorCode::Unknown, |error| error.code)
                .as_str()
                .to_owned(),
            message: message.chars().take(MAX_MESSAGE_CHARS).collect(),
            occurred_at: event.occurred_at,
        })
    }
}

impl FailedRequests {
    /// Adds failures that came after these.
    pub fn append(&mut self, later: Self) {
        self.total = self.total.saturating_add(later.total);
        for (code, more) in later.codes {
            let count = self.codes.entry(code).or_default();
            *count = count.saturating_add(more);
        }
        let room = MAX_LISTED.saturating_sub(self.first.len());
        self.first.extend(later.first.into_iter().take(room));
    }
}

impl From<FailedRequest> for FailedRequests {
    fn from(failed: FailedRequest) -> Self {
        Self {
            total: 1,
            codes: BTreeMap::from([(failed.code.clone(), 1)]),
            first: vec![failed],
        }
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use serde_json::json;

    use super::*;
    use crate::domain::EventError;

    pub(crate) fn failed(at: usize, code: &str) -> FailedRequest {
        FailedRequest {
            event_id: format!("event-{at}"),
            request_id: format!("order-{at}"),
            user_id: "alice".to_owned(),
            code: code.to_owned(),
            message: "the prompt was <refused>".to_owned(),
            occurred_at: 1_700_000_000_123,
        }
    }

    pub(crate) fn failures(count: usize) -> FailedRequests {
        let mut failures = FailedRequests::default();
        for at in 0..count {
            let code = ["content_policy", "timed_out"][at % 2];
            failures.append(failed(at, code).into());
        }
        failures
    }

    #[test]
    fn only_a_failed_request_is_reported() {
        let message = "x".repeat(1000);
        let error = EventError::new(ErrorCode::ProviderFailed, &message, true);
        let json = json!({"event_id": "e", "request_id": "order-7", "retry": 0, "sequence": 1, "user_id": "alice",
            "kind": "IMAGE", "type": "FAILED", "occurred_at": 1, "run_id": "r"});
        let event: Event = serde_json::from_value(json).unwrap();
        let with = |event_type| {
            FailedRequest::of(&Event {
                event_type,
                error: Some(error.clone()),
                ..event.clone()
            })
        };

        let reported = with(EventType::Failed).unwrap();

        assert_eq!(
            (reported.code.as_str(), reported.message.len()),
            ("provider_failed", 200)
        );
        assert_eq!(
            (reported.request_id, reported.user_id),
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
        let many = failures(10_001);

        assert_eq!(many.total, 10_001);
        assert_eq!(many.codes["content_policy"], 5001);
        assert_eq!(many.codes["timed_out"], 5000);
        assert_eq!(many.first.len(), MAX_LISTED);
        assert_eq!(many.first[0].request_id, "order-0");
    }

    #[test]
    fn failures_that_could_not_be_reported_come_before_later_ones() {
        let mut unreported = failures(3);

        unreported.append(failed(7, "store_failed").into());

        assert_eq!((unreported.total, unreported.codes.len()), (4, 3));
        let order = unreported.first.iter().map(|one| one.request_id.as_str());
        let order: Vec<_> = order.collect();
        assert_eq!(order, ["order-0", "order-1", "order-2", "order-7"]);
    }

    #[test]
    fn it_reads_as_it_was_written() {
        let many = failures(3);

        let written = serde_json::to_string(&many).unwrap();

        assert_eq!(
            serde_json::from_str::<FailedRequests>(&written).unwrap(),
            many
        );
    }

    #[test]
    fn an_input_reads_without_what_came_later() {
        let input: DigestInput = serde_json::from_value(json!({
            "to": {"channel": "SLACK", "target_hash": "19f1352238b91533"},
            "of_a_later_version": 7,
        }))
        .unwrap();

        assert_eq!(input.to.workflow(), "digest/SLACK/19f1352238b91533");
        assert_eq!((input.next_at, input.failures.total), (0, 0));
    }
}
