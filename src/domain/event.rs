//! A lifecycle event as it stands on `gen.events`, in a workflow's history and in a webhook's body.
//!
//! The serde shape of [`Event`] is the shape of `schemas/GenerationEvent.avsc`, field for field: one type serves
//! Avro, Temporal payloads (JSON) and webhooks. An event is complete when it is made; nothing is added later.
//! What stands here stands in histories: fields are added with a default, never removed or retyped.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use uuid::{Uuid, uuid};

use super::{ErrorCode, Sealed, WorkflowId};

/// The namespace of all event ids (contract, section 3, rule 4).
const EVENT_IDS: Uuid = uuid!("79fee3e2-b561-5e54-a0e3-7636f829fc32");

/// One step in the life of a request.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename = "GenerationEvent")]
pub struct Event {
    /// UUIDv5, the same on every copy.
    pub event_id: String,
    /// The request.
    pub request_id: String,
    /// 0 for the first run.
    pub retry: i32,
    /// From 0 without gaps; -1 for REJECTED.
    pub sequence: i32,
    /// The batch this request is an item of.
    #[serde(default)]
    pub batch_id: Option<String>,
    /// The tenant; empty where a refused record does not tell.
    pub user_id: String,
    /// What is made.
    pub kind: Kind,
    /// What happened.
    #[serde(rename = "type")]
    pub kind_of_event: EventType,
    /// Milliseconds since the epoch.
    pub occurred_at: i64,
    /// The Temporal workflow id; null for REJECTED.
    #[serde(default)]
    pub workflow_id: Option<String>,
    /// The Temporal run id; null for REJECTED.
    #[serde(default)]
    pub run_id: Option<String>,
    /// How far the generation is.
    #[serde(default)]
    pub progress: Option<Progress>,
    /// What was made.
    #[serde(default)]
    pub result: Option<Generated>,
    /// How the items of a batch ended.
    #[serde(default)]
    pub batch: Option<BatchSummary>,
    /// Why it did not complete.
    #[serde(default)]
    pub error: Option<EventError>,
    /// The refused record.
    #[serde(default)]
    pub record: Option<RecordPosition>,
    /// Whom to notify, sealed.
    #[serde(default)]
    pub notify: Option<Notify>,
    /// As the request gave it.
    #[serde(default)]
    pub metadata: BTreeMap<String, String>,
}

/// What is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum Kind {
    /// Not known to this version, or not readable from a refused record.
    Unknown,
    /// A video.
    Video,
    /// Images.
    Image,
    /// A batch of both.
    Batch,
}

/// What happened to a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum EventType {
    /// Not known to this version.
    Unknown,
    /// Its workflow began.
    Started,
    /// The provider came on.
    Progress,
    /// Ended well: the result is stored.
    Completed,
    /// Ended without a result.
    Failed,
    /// Ended because somebody asked.
    Cancelled,
    /// A record was refused; no workflow began.
    Rejected,
}

/// How far a generation is.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Progress {
    /// 0 to 100, never falling.
    pub percent: i32,
    /// The provider's word for what it does.
    pub stage: String,
    /// More, if the provider tells.
    #[serde(default)]
    pub message: Option<String>,
}

/// What was made.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename = "Result")]
pub struct Generated {
    /// The stored files, in the provider's order.
    pub outputs: Vec<Output>,
    /// The outside API that made them.
    pub provider: String,
    /// Its name for the job.
    pub provider_job_id: String,
    /// From workflow start to the stored result.
    pub elapsed_ms: i64,
    /// What the provider said it costs.
    #[serde(default)]
    pub cost_usd: Option<f64>,
    /// The input that was sent to the model, as JSON text without the prompt.
    #[serde(default)]
    pub sent: Option<String>,
    /// Fields that were not sent as they were asked.
    #[serde(default)]
    pub notes: Vec<Note>,
}

/// How the input of a model differs from its request.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Note {
    /// Field of the request.
    pub field: String,
    /// `adapted`, `dropped` or `overridden`.
    #[serde(rename = "type")]
    pub kind: String,
    /// How.
    pub details: String,
}

/// One stored file.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Output {
    /// Where it is stored.
    pub uri: String,
    /// Where it can be fetched, if published.
    #[serde(default)]
    pub url: Option<String>,
    /// As sniffed from its first bytes.
    pub content_type: String,
    /// Its length.
    pub bytes: i64,
    /// Lower-case hex.
    pub sha256: String,
    /// Pixels.
    #[serde(default)]
    pub width: Option<i32>,
    /// Pixels.
    #[serde(default)]
    pub height: Option<i32>,
    /// Of a video.
    #[serde(default)]
    pub duration_seconds: Option<f64>,
}

/// How the items of a batch ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct BatchSummary {
    /// All items.
    pub total: i32,
    /// Ended well.
    pub completed: i32,
    /// Ended without a result.
    pub failed: i32,
    /// Ended because somebody asked.
    pub cancelled: i32,
    /// Never began.
    pub not_started: i32,
}

/// Why a request did not complete.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename = "Error")]
pub struct EventError {
    /// From the closed list.
    pub code: ErrorCode,
    /// At most 1,000 characters.
    pub message: String,
    /// Whether the same request may succeed later.
    pub retryable: bool,
    /// Every problem of the input that was found before anything was sent.
    #[serde(default)]
    pub problems: Vec<Problem>,
}

/// One field that a model cannot serve.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Problem {
    /// Field of the request.
    pub field: String,
    /// The value that was asked for.
    #[serde(default)]
    pub asked: Option<String>,
    /// The values that the model allows.
    #[serde(default)]
    pub allowed: Option<String>,
    /// What to do.
    #[serde(default)]
    pub hint: Option<String>,
}

/// Where a refused record stands.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct RecordPosition {
    /// Topic name.
    pub topic: String,
    /// Partition number.
    pub partition: i32,
    /// Offset in the partition.
    pub offset: i64,
}

/// Whom to notify of which events; only the notifier can open it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Notify {
    /// Event types to notify of.
    pub on: Vec<EventType>,
    /// The sealed targets.
    pub sealed: Sealed,
}

impl EventType {
    /// What a request is told of that says nothing of it (the default of `notify_on`).
    pub const TOLD_BY_DEFAULT: [Self; 4] = [
        Self::Completed,
        Self::Failed,
        Self::Cancelled,
        Self::Rejected,
    ];

    /// Tells whether `on` is what holds without a word on it, in any order; each stands there once.
    pub fn are_default(on: &[Self]) -> bool {
        on.len() == Self::TOLD_BY_DEFAULT.len()
            && on.iter().all(|kind| Self::TOLD_BY_DEFAULT.contains(kind))
    }

    /// Returns the word as it stands in Avro and JSON.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Unknown => "UNKNOWN",
            Self::Started => "STARTED",
            Self::Progress => "PROGRESS",
            Self::Completed => "COMPLETED",
            Self::Failed => "FAILED",
            Self::Cancelled => "CANCELLED",
            Self::Rejected => "REJECTED",
        }
    }

    /// Returns the type of that name; [`EventType::Unknown`] for a name of a later version.
    pub fn parse(raw: &str) -> Self {
        [
            Self::Started,
            Self::Progress,
            Self::Completed,
            Self::Failed,
            Self::Cancelled,
            Self::Rejected,
        ]
        .into_iter()
        .find(|kind| kind.as_str() == raw)
        .unwrap_or(Self::Unknown)
    }

    /// Tells whether nothing comes after it in its run.
    pub fn is_terminal(self) -> bool {
        match self {
            Self::Completed | Self::Failed | Self::Cancelled => true,
            Self::Unknown | Self::Started | Self::Progress | Self::Rejected => false,
        }
    }

    /// Returns the CloudEvents type and webhook type, as `genflow.request.completed`.
    pub fn cloud_type(self) -> String {
        format!("genflow.request.{}", self.as_str().to_ascii_lowercase())
    }
}

impl Kind {
    /// Returns the word as it stands in Avro and JSON.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Unknown => "UNKNOWN",
            Self::Video => "VIDEO",
            Self::Image => "IMAGE",
            Self::Batch => "BATCH",
        }
    }
}

impl Event {
    /// Returns the id of the `sequence`-th event of a run (contract, section 3, rule 4).
    ///
    /// `first_run_id` names the run's first execution, so a request id that is used again gets other event ids.
    pub fn id(workflow: &WorkflowId, first_run_id: &str, sequence: i32) -> String {
        let name = format!("{workflow}/{first_run_id}/{sequence}");
        Uuid::new_v5(&EVENT_IDS, name.as_bytes()).to_string()
    }

    /// Returns the id of the event that answers a refused record (contract, section 3, rule 10).
    pub fn rejection_id(record: &RecordPosition, code: ErrorCode) -> String {
        let RecordPosition {
            topic,
            partition,
            offset,
        } = record;
        let name = format!("{topic}/{partition}/{offset}/{}", code.as_str());
        Uuid::new_v5(&EVENT_IDS, name.as_bytes()).to_string()
    }

    /// Returns the id that mails about the request refer to: one for all events of a request, and of no event.
    pub fn thread_id(&self) -> String {
        Uuid::new_v5(&EVENT_IDS, self.request_id.as_bytes()).to_string()
    }

    /// Returns the event without `notify`: what `gen.results` and webhooks carry.
    pub fn public(&self) -> Self {
        Self {
            notify: None,
            ..self.clone()
        }
    }
}

impl std::fmt::Display for RecordPosition {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self {
            topic,
            partition,
            offset,
        } = self;
        write!(f, "{topic}/{partition}/{offset}")
    }
}

impl EventError {
    /// Returns an error whose message is cut to 1,000 characters.
    pub fn new(code: ErrorCode, message: &str, retryable: bool) -> Self {
        Self {
            code,
            message: message.chars().take(1000).collect(),
            retryable,
            problems: Vec::new(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::RequestId;

    #[test]
    fn an_event_id_is_the_uuid_of_workflow_first_run_and_sequence() {
        let id = RequestId::try_from("order-7".to_owned()).unwrap();

        // From Python: uuid.uuid5(uuid.UUID("79fee3e2-b561-5e54-a0e3-7636f829fc32"), "order-7/019c/0")
        assert_eq!(
            Event::id(&id.run(0), "019c", 0),
            "da7ff609-c240-5f7f-8dab-7b1b13de1a31"
        );
        assert_eq!(
            Event::id(&id.run(1), "019c", 0),
            "34f55ceb-16d6-59d5-b13d-c83fcce5a41f"
        );
    }
}
