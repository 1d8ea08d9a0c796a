//! The console's memory, shared by the readers of topics and by the pages; it announces each change.

use parking_lot::{Mutex, MutexGuard};
use tokio::sync::broadcast;

use super::endpoints::Endpoints;
use super::follow::Topic;
use super::requests::{At, Requests};
use crate::contract::receipt::Receipt;
use crate::domain::Event;

/// Changes that a page may be behind before it has to read anew.
const MOST_CHANGES: usize = 1_024;

/// What has changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Change {
    /// The request with this id.
    Request(String),
    /// An endpoint, and the notifications of the request with this id.
    Receipt(String),
}

/// The memory.
#[derive(Debug)]
pub(super) struct Known {
    /// From when on topics are read, in milliseconds since the epoch.
    since: i64,
    memory: Mutex<Memory>,
    changes: broadcast::Sender<Change>,
}

/// What is remembered.
#[derive(Debug)]
pub(super) struct Memory {
    pub requests: Requests,
    pub endpoints: Endpoints,
    pub events: Reading,
    pub receipts: Reading,
}

/// How far a topic has been read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Reading {
    /// It was not yet read to its end.
    CatchingUp,
    /// All records were read once; new ones are read as they come.
    Live,
    /// It cannot be read, and why.
    Failed(String),
}

impl Known {
    pub(super) fn new(most: usize, since: i64) -> Self {
        Self {
            since,
            memory: Mutex::new(Memory {
                requests: Requests::new(most),
                endpoints: Endpoints::default(),
                events: Reading::CatchingUp,
                receipts: Reading::CatchingUp,
            }),
            changes: broadcast::channel(MOST_CHANGES).0,
        }
    }

    pub(super) fn since(&self) -> i64 {
        self.since
    }

    pub(super) fn memory(&self) -> MutexGuard<'_, Memory> {
        self.memory.lock()
    }

    /// Returns all changes from now on.
    pub(super) fn changes(&self) -> broadcast::Receiver<Change> {
        self.changes.subscribe()
    }

    pub(super) fn event(&self, event: &Event, at: At) {
        if self.memory().requests.event(event, at) {
            self.announce(|| Change::Request(event.request_id.clone()));
        }
    }

    pub(super) fn receipt(&self, receipt: &Receipt, at: At) {
        {
            let mut memory = self.memory();
            memory.endpoints.receipt(receipt);
            memory.requests.receipt(&receipt.request_id, at);
        }
        self.announce(|| Change::Receipt(receipt.request_id.clone()));
    }

    /// Notes that a topic was read to its end, or why it cannot be read; it is then read from the start again.
    pub(super) fn reading(&self, topic: Topic, read: Result<(), String>) {
        let mut memory = self.memory();
        if topic == Topic::Receipts && read.is_err() {
            // The fold of receipts counts a repeat again, unlike that of events.
            memory.endpoints = Endpoints::default();
            memory.requests.forget_receipts();
        }
        let reading = match topic {
            Topic::Events => &mut memory.events,
            Topic::Receipts => &mut memory.receipts,
        };
        *reading = match read {
            Ok(()) => Reading::Live,
            Err(why) => Reading::Failed(why),
        };
    }

    /// Announces a change, if somebody looks.
    fn announce(&self, change: impl FnOnce() -> Change) {
        if self.changes.receiver_count() > 0 {
            self.changes.send(change()).ok();
        }
    }
}
