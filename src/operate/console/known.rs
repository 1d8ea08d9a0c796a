//! The console's memory, shared by the readers of topics and by the pages; it announces each change.

use std::collections::BTreeMap;

use parking_lot::{Mutex, MutexGuard};
use tokio::sync::broadcast;

use super::endpoints::Endpoints;
use super::topic::Topic;
use crate::contract::receipt::Receipt;
use crate::domain::Event;
use crate::operate::dead_letters::DlqTopic;
use crate::operate::requests::{At, Requests};

/// Changes that a page may be behind before it has to read anew.
const MOST_CHANGES: usize = 1_024;

/// In milliseconds.
const MINUTE: i64 = 60_000;

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
    /// Dead letters of requests, and of notifications.
    pub letters: [Letters; 2],
}

/// How many dead letters a topic has got.
#[derive(Debug)]
pub(super) struct Letters {
    pub reading: Reading,
    /// By minute since the epoch.
    minutes: BTreeMap<i64, u64>,
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
                letters: [Letters::default(), Letters::default()],
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

    /// Counts a dead letter of this time, in milliseconds since the epoch.
    pub(super) fn letter(&self, topic: DlqTopic, time: Option<i64>) {
        let minute = time.unwrap_or_default().div_euclid(MINUTE);
        let mut memory = self.memory();
        *memory.letters(topic).minutes.entry(minute).or_default() += 1;
    }

    /// Notes that a topic was read to its end, or why it cannot be read; it is then read from the start again.
    pub(super) fn reading(&self, topic: Topic, read: Result<(), String>) {
        let mut memory = self.memory();
        if read.is_err() {
            memory.forget(topic);
        }
        let reading = match topic {
            Topic::Events => &mut memory.events,
            Topic::Receipts => &mut memory.receipts,
            Topic::Letters(topic) => &mut memory.letters(topic).reading,
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

impl Memory {
    /// Forgets what the next reading of a topic would count again. The fold of events ignores repeats.
    fn forget(&mut self, topic: Topic) {
        match topic {
            Topic::Events => {}
            Topic::Receipts => {
                self.endpoints = Endpoints::default();
                self.requests.forget_receipts();
            }
            Topic::Letters(topic) => self.letters(topic).minutes.clear(),
        }
    }

    fn letters(&mut self, topic: DlqTopic) -> &mut Letters {
        let [requests, notifications] = &mut self.letters;
        match topic {
            DlqTopic::Requests => requests,
            DlqTopic::Notifications => notifications,
        }
    }
}

impl Letters {
    /// Returns how many came at `since` or later, in milliseconds since the epoch; to the minute.
    pub(super) fn since(&self, since: i64) -> u64 {
        self.minutes
            .range(since.div_euclid(MINUTE)..)
            .map(|(_, count)| count)
            .sum()
    }
}

impl Default for Letters {
    fn default() -> Self {
        Self {
            reading: Reading::CatchingUp,
            minutes: BTreeMap::new(),
        }
    }
}
