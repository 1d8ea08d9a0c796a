//! The input of a batch, and what a closed batch leaves behind.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::settings::{DefaultProviders, Steps, SubmitQueues};
use crate::domain::{
    Event, EventType, Identity, Journal, Kind, Notify, RequestId, Tally, UserId, WorkflowId,
};

/// The input of `batch.v1`, besides its items (see [`batch_items`](crate::contract::batch_items)).
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct BatchStart {
    /// The batch's request id.
    pub request: RequestId,
    /// The tenant of the batch and of its items.
    pub user: UserId,
    /// Returned in the batch's own events.
    #[serde(default)]
    pub metadata: BTreeMap<String, String>,
    /// The types of the batch's own events to notify, and the sealed targets.
    #[serde(default)]
    pub notify: Option<Notify>,
    /// Event types to notify for items that name none.
    #[serde(default)]
    pub notify_on: Vec<EventType>,
    /// Deadline in milliseconds, counted from the start of the first run of the chain.
    pub timeout_ms: u64,
    /// Deadline of an image item, in milliseconds.
    pub image_timeout_ms: u64,
    /// Deadline of a video item, in milliseconds.
    pub video_timeout_ms: u64,
    /// Minimum time between two PROGRESS events of the batch, in milliseconds.
    pub progress_every_ms: u64,
    /// Number of items after which the workflow continues as new.
    pub segment: u32,
    /// Retry limits and pauses of the steps, also those of the items.
    pub steps: Steps,
    /// Task queue of `fetch`.
    pub fetch_queue: String,
    /// The providers of items that name none.
    pub providers: DefaultProviders,
    /// Task queues of the items' `submit`.
    pub submit_queues: SubmitQueues,
    /// W3C trace context of the request's record.
    #[serde(default)]
    pub traceparent: Option<String>,
    /// How the items ended; carried over on continue-as-new.
    pub tally: Tally,
    /// When the first run started, in milliseconds since the epoch; set on continue-as-new.
    #[serde(default)]
    pub started_at: Option<i64>,
    /// The events decided so far; carried over on continue-as-new.
    #[serde(default)]
    pub journal: Journal,
}

impl BatchStart {
    /// Returns the fields that all events of the batch itself share.
    pub fn identity(&self, run_id: &str, first_run_id: &str) -> Identity {
        Identity {
            request: self.request.clone(),
            retry: 0,
            batch: None,
            user: self.user.clone(),
            kind: Kind::Batch,
            run_id: run_id.to_owned(),
            first_run_id: first_run_id.to_owned(),
            notify: self.notify.clone(),
            metadata: self.metadata.clone(),
        }
    }
}

/// The input of `item-ending.v1`: an item that was closed from outside.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClosedItem {
    /// The item's workflow id.
    pub workflow: WorkflowId,
    /// Its run id.
    pub run_id: String,
}

/// The result of `batch-remains.v1`: what a closed batch leaves behind, once its items have ended.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct BatchRemains {
    /// Its input without the items; the tally is the final one.
    pub start: BatchStart,
    /// The run id of its first execution.
    pub first_run_id: String,
    /// When it started, in milliseconds since the epoch.
    pub started_at: i64,
    /// The events that it handed to its activities, in order.
    pub events: Vec<Event>,
}
