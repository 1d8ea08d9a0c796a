//! What a batch starts with, and what one leaves that was closed.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::settings::{DefaultProviders, Steps, SubmitQueues};
use crate::domain::{
    Event, EventType, Identity, Journal, Kind, Notify, RequestId, Tally, UserId, WorkflowId,
};

/// The input of `batch.v1`, beside its items (see [`compact`](crate::contract::batch_items)).
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct BatchStart {
    /// The request.
    pub request: RequestId,
    /// The tenant, also of the items.
    pub user: UserId,
    /// Given back in the batch's own events.
    #[serde(default)]
    pub metadata: BTreeMap<String, String>,
    /// Whom to notify of the batch's own events, sealed.
    #[serde(default)]
    pub notify: Option<Notify>,
    /// Types of events to notify of, where an item names none.
    #[serde(default)]
    pub notify_on: Vec<EventType>,
    /// Deadline, counted from the first run's start.
    pub timeout_ms: u64,
    /// Deadline of an item that makes images.
    pub image_timeout_ms: u64,
    /// Deadline of an item that makes a video.
    pub video_timeout_ms: u64,
    /// Shortest time between two PROGRESS events of the batch.
    pub progress_every_ms: u64,
    /// Items after which the workflow continues as new.
    pub segment: u32,
    /// Bounds and pauses of the steps, also of the items.
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
    /// How the items ended; goes along on continue-as-new.
    pub tally: Tally,
    /// When the first run started; set on continue-as-new.
    #[serde(default)]
    pub started_at: Option<i64>,
    /// Goes along on continue-as-new.
    #[serde(default)]
    pub journal: Journal,
}

impl BatchStart {
    /// Returns what all events of the batch itself have in common.
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

/// What came of `batch-remains.v1`: all that a closed batch leaves, once its items are over.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct BatchRemains {
    /// Its input, less its items; the tally is that of its end.
    pub start: BatchStart,
    /// The run id of its first execution.
    pub first_run_id: String,
    /// When it started, in milliseconds since the epoch.
    pub started_at: i64,
    /// The events that it handed to anybody, in order.
    pub events: Vec<Event>,
}
