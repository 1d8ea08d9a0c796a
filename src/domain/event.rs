//! A lifecycle event as it appears on `gen.events`, in a workflow's history and in a webhook's body.
//!
//! The serde shape of [`Event`] is the shape of `schemas/GenerationEvent.avsc`, field for field: one type serves
//! Avro, Temporal payloads (JSON) and webhooks. An event is complete when it is created; publishing adds nothing.
//! Histories contain this type: a new field is an `Option` or has a default; never remove or retype one.

mod tried;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use uuid::{Uuid, uuid};

pub use self::tried::Tried;
use super::{CostSource, ErrorCode, Sealed, WorkflowId};

/// The namespace of all event ids (contract, section 3, rule 4).
const EVENT_IDS: Uuid = uuid!("79fee3e2-b561-5e54-a0e3-7636f829fc32");

/// One step in the lifecycle of a request.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename = "GenerationEvent")]
pub struct Event {
    /// UUIDv5, the same on every copy of the event.
    pub event_id: String,
    /// Id of the request; the record key on `gen.events`.
    pub request_id: String,
    /// 0 for the first run.
    pub retry: i32,
    /// From 0 without gaps; -1 for REJECTED.
    pub sequence: i32,
    pub batch_id: Option<String>,
    /// The tenant; empty if a refused record does not name one.
    pub user_id: String,
    pub kind: Kind,
    #[serde(rename = "type")]
    pub event_type: EventType,
    /// Milliseconds since the Unix epoch.
    pub occurred_at: i64,
    /// The Temporal workflow id; null for REJECTED.
    pub workflow_id: Option<String>,
    /// The Temporal run id; null for REJECTED.
    pub run_id: Option<String>,
    /// Progress of the generation; set on PROGRESS.
    pub progress: Option<Progress>,
    /// The stored outputs; set on COMPLETED, except for a batch.
    pub result: Option<Generated>,
    /// How the items ended; set on the last event of a batch.
    pub batch: Option<BatchSummary>,
    /// Why the request did not complete, or why the record was refused; set on FAILED and REJECTED.
    pub error: Option<EventError>,
    /// Position of the refused record; set on REJECTED.
    pub record: Option<RecordPosition>,
    pub notify: Option<Notify>,
    #[serde(default)]
    pub metadata: BTreeMap<String, String>,
    /// The models tried without success, in order; set on the last event of a run that fell back to another model.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tried: Vec<Tried>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum Kind {
    /// Unknown to this version, or not readable in a refused record.
    #[default]
    Unknown,
    Video,
    Image,
    Batch,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum EventType {
    Unknown,
    Started,
    Progress,
    /// Final: the result is stored.
    Completed,
    /// Final: there is no result.
    Failed,
    /// Final: a cancel ended the request.
    Cancelled,
    /// Intake refused a record; no workflow started.
    Rejected,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Progress {
    /// 0 to 100, never falling.
    pub percent: i32,
    /// The provider's name for the current stage; `items` for a batch.
    pub stage: String,
    pub message: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename = "Result")]
pub struct Generated {
    /// The stored files, in the provider's order.
    pub outputs: Vec<Output>,
    pub provider: String,
    pub provider_job_id: String,
    /// Time from the workflow's start to the stored result.
    pub elapsed_ms: i64,
    /// The best number for what the job cost.
    pub cost_usd: Option<f64>,
    /// Where `cost_usd` is from; `None` without one.
    #[serde(default)]
    pub cost_source: Option<CostSource>,
    /// The input sent to the model, as JSON text without the prompt and without secrets.
    pub sent: Option<String>,
    /// Fields whose values were adapted, dropped or overridden.
    #[serde(default)]
    pub notes: Vec<Note>,
    /// The provider's model that made it; `None` in results of earlier versions.
    #[serde(default)]
    pub model: Option<String>,
}

/// A difference between a request and the input sent to the model.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Note {
    pub field: String,
    /// `adapted`, `dropped` or `overridden`.
    #[serde(rename = "type")]
    pub kind: String,
    pub details: String,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Output {
    /// Address in the result store.
    pub uri: String,
    /// Signed URL from which anyone can download the file, if `RESULT_URL_TTL` is set.
    pub url: Option<String>,
    /// MIME type, detected from the first bytes.
    pub content_type: String,
    pub bytes: i64,
    /// SHA-256 of the file in lower-case hex.
    pub sha256: String,
    /// In pixels.
    pub width: Option<i32>,
    /// In pixels.
    pub height: Option<i32>,
    pub duration_seconds: Option<f64>,
}

/// How the items of a batch ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct BatchSummary {
    pub total: i32,
    pub completed: i32,
    pub failed: i32,
    pub cancelled: i32,
    /// Items whose workflow never started. In the status of a running batch, items that run count only toward `total`.
    pub not_started: i32,
}

/// Why a request did not complete, or why a record was refused.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename = "Error")]
pub struct EventError {
    pub code: ErrorCode,
    /// At most 1,000 characters.
    pub message: String,
    /// Whether the same request may succeed later.
    pub retryable: bool,
    /// All fields of the input that the model cannot serve.
    #[serde(default)]
    pub problems: Vec<Problem>,
}

/// A field that the model cannot serve as requested.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Problem {
    pub field: String,
    pub asked: Option<String>,
    pub allowed: Option<String>,
    pub hint: Option<String>,
}

/// What is wrong, what is expected, and what to do.
impl std::fmt::Display for Problem {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.field)?;
        let parts = [
            (" is ", &self.asked, ""),
            (", expected ", &self.allowed, ""),
            (" (", &self.hint, ")"),
        ];
        for (before, part, after) in parts {
            if let Some(part) = part {
                write!(f, "{before}{part}{after}")?;
            }
        }
        Ok(())
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct RecordPosition {
    pub topic: String,
    pub partition: i32,
    pub offset: i64,
}

/// Whom to notify of which events. Only the notifier opens the targets.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Notify {
    pub on: Vec<EventType>,
    pub sealed: Sealed,
}

impl EventType {
    /// All types that this version knows.
    pub(crate) const ALL: [Self; 6] = [
        Self::Started,
        Self::Progress,
        Self::Completed,
        Self::Failed,
        Self::Cancelled,
        Self::Rejected,
    ];

    /// The default of `notify_on`.
    pub const NOTIFIED_BY_DEFAULT: [Self; 4] = [
        Self::Completed,
        Self::Failed,
        Self::Cancelled,
        Self::Rejected,
    ];

    /// Returns whether `on`, which holds no type twice, is the default in any order.
    pub fn are_default(on: &[Self]) -> bool {
        on.len() == Self::NOTIFIED_BY_DEFAULT.len()
            && on
                .iter()
                .all(|kind| Self::NOTIFIED_BY_DEFAULT.contains(kind))
    }

    /// Returns the type as Avro and JSON spell it.
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

    /// Returns the type named `raw`; [`EventType::Unknown`] for a name of a later version.
    pub fn parse(raw: &str) -> Self {
        let known = Self::ALL.into_iter().find(|kind| kind.as_str() == raw);
        known.unwrap_or(Self::Unknown)
    }

    /// Returns whether this is the last event of its run.
    pub fn is_terminal(self) -> bool {
        match self {
            Self::Completed | Self::Failed | Self::Cancelled => true,
            Self::Unknown | Self::Started | Self::Progress | Self::Rejected => false,
        }
    }

    /// Returns the type that CloudEvents and webhooks use, such as `genflow.request.completed`.
    pub fn cloud_type(self) -> String {
        format!("genflow.request.{}", self.as_str().to_ascii_lowercase())
    }
}

impl Kind {
    /// Returns the kind as Avro and JSON spell it.
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
    /// `first_run_id` is the run id of the first execution, so a request id that is reused gets other event ids.
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

    /// Returns the id that groups the mails about one request: the same for all its events, and never an event id.
    pub fn thread_id(&self) -> String {
        Uuid::new_v5(&EVENT_IDS, self.request_id.as_bytes()).to_string()
    }

    /// Returns the event without `notify`, as `gen.results` and webhooks carry it.
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
    /// Returns an error; the message is truncated to 1,000 characters.
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
impl Event {
    /// Returns a PROGRESS of the request `a`, without content.
    pub(crate) fn for_test(retry: i32, sequence: i32) -> Self {
        Self {
            event_id: "e".to_owned(),
            request_id: "a".to_owned(),
            retry,
            sequence,
            batch_id: None,
            user_id: "u".to_owned(),
            kind: Kind::Image,
            event_type: EventType::Progress,
            occurred_at: 1,
            workflow_id: None,
            run_id: None,
            progress: None,
            result: None,
            batch: None,
            error: None,
            record: None,
            notify: None,
            metadata: BTreeMap::new(),
            tried: Vec::new(),
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
