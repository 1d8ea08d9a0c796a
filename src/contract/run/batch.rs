//! The inputs of a batch, and of the activity that reads how one of its items ended.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::RunInput;
use super::fallback::Fallbacks;
use super::settings::{DefaultProviders, Steps, SubmitQueues};
use crate::domain::{
    EventType, Identity, ItemCounts, Journal, Kind, Notify, RequestId, UserId, WorkflowId,
};

/// The input of `batch.v1`, besides its items (see [`batch_items`](crate::contract::batch_items)).
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct BatchStart {
    pub request: RequestId,
    /// The tenant of the batch and of its items.
    pub user: UserId,
    /// Returned in the batch's own events.
    #[serde(default)]
    pub metadata: BTreeMap<String, String>,
    /// The types of the batch's own events that notifications are sent for, and the sealed targets.
    pub notify: Option<Notify>,
    /// The event types to send notifications for, of items that name none.
    #[serde(default)]
    pub notify_on: Vec<EventType>,
    /// Deadline, counted from the start of the first execution: the same after continue-as-new.
    pub timeout_ms: u64,
    /// Deadline of an image item.
    pub image_timeout_ms: u64,
    /// Deadline of a video item.
    pub video_timeout_ms: u64,
    /// Minimum time between two PROGRESS events of the batch.
    pub progress_every_ms: u64,
    /// Number of items after which the workflow continues as new.
    pub segment: u32,
    /// Retry limits and pauses, for the activities of the batch and of its items.
    pub steps: Steps,
    pub fetch_queue: String,
    /// The providers of items that name none.
    pub providers: DefaultProviders,
    pub submit_queues: SubmitQueues,
    /// What the settings say about the items' fallbacks.
    #[serde(default, skip_serializing_if = "Fallbacks::is_default")]
    pub fallbacks: Fallbacks,
    /// W3C trace context of the request's record.
    pub traceparent: Option<String>,
    /// How the items ended; carried over on continue-as-new.
    #[serde(rename = "tally")]
    pub counts: ItemCounts,
    /// When the first execution started, in milliseconds since the epoch; set on continue-as-new.
    pub started_at: Option<i64>,
    /// The events decided so far; carried over on continue-as-new.
    #[serde(default)]
    pub journal: Journal,
}

impl BatchStart {
    /// Returns the input of the batch's run with these ids.
    pub(crate) fn input(&self, run_id: &str, first_run_id: &str) -> RunInput {
        RunInput {
            identity: Identity {
                request: self.request.clone(),
                retry: 0,
                batch: None,
                user: self.user.clone(),
                kind: Kind::Batch,
                run_id: run_id.to_owned(),
                first_run_id: first_run_id.to_owned(),
                notify: self.notify.clone(),
                metadata: self.metadata.clone(),
            },
            timeout_ms: self.timeout_ms,
            steps: self.steps,
            fingerprint: None,
            traceparent: self.traceparent.clone(),
            journal: self.journal.clone(),
        }
    }
}

/// The input of `item-ending.v1`: an item that was closed from outside.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClosedItem {
    pub workflow: WorkflowId,
    pub run_id: String,
}
