//! What this process remembers of recent notifications, so that a redelivered record does not send them again.
//!
//! Best effort: it is bounded and lost with the process, and receivers detect a repeat by its `webhook-id`.

use std::collections::{HashMap, VecDeque};
use std::time::{Duration, Instant};

use parking_lot::{Mutex, MutexGuard};
use uuid::Uuid;

use crate::contract::receipt::Receipt;

/// The state of one notification.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Known {
    /// It has no end and no workflow yet; holds the attempts so far, of which there may be none.
    Tried(Tries),
    /// It ended, but Kafka does not have its receipt yet.
    Unreported(Box<Receipt>),
    /// Its receipt is published, or a workflow has it.
    Done,
}

/// The attempts at a notification that is not settled yet.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Tries {
    pub(super) count: u32,
    /// Milliseconds since the epoch.
    pub(super) first_at: Option<i64>,
    /// Status of the last answer.
    pub(super) status: Option<u16>,
    /// End of the pause that the target asked for.
    pub(super) until: Option<Instant>,
}

impl Tries {
    /// Returns what is left of the pause that the target asked for.
    pub(super) fn left_alone(&self, now: Instant) -> Option<Duration> {
        let left = self.until?.checked_duration_since(now);
        left.filter(|left| !left.is_zero())
    }
}

/// The last notifications, by receipt id.
#[derive(Debug)]
pub(super) struct Recent {
    most: usize,
    memory: Mutex<Remembered>,
}

#[derive(Debug, Default)]
struct Remembered {
    known: HashMap<Uuid, Known>,
    order: VecDeque<Uuid>,
}

impl Recent {
    /// Creates a memory of the last `most` notifications.
    pub(super) fn new(most: usize) -> Self {
        Self {
            most,
            memory: Mutex::default(),
        }
    }

    /// Returns the state of a notification, if it is remembered.
    pub(super) fn recall(&self, id: Uuid) -> Option<Known> {
        self.memory().known.get(&id).cloned()
    }

    /// Records the state of a notification.
    pub(super) fn note(&self, id: Uuid, known: Known) {
        let mut memory = self.memory();
        if memory.known.insert(id, known).is_some() {
            return;
        }
        memory.order.push_back(id);
        if memory.order.len() > self.most
            && let Some(oldest) = memory.order.pop_front()
        {
            memory.known.remove(&oldest);
        }
    }

    fn memory(&self) -> MutexGuard<'_, Remembered> {
        self.memory.lock()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_noted_state_is_recalled() {
        let memory = Recent::new(10);
        let id = Uuid::from_u128(1);
        assert_eq!(memory.recall(id), None);

        let tried = Known::Tried(Tries {
            count: 2,
            first_at: Some(7),
            status: None,
            until: None,
        });
        memory.note(id, tried.clone());
        assert_eq!(memory.recall(id), Some(tried));

        memory.note(id, Known::Done);
        assert_eq!(memory.recall(id), Some(Known::Done));
        assert_eq!(memory.memory().order.len(), 1);
    }

    #[test]
    fn the_oldest_is_forgotten_first() {
        let memory = Recent::new(2);

        for n in 1..=3 {
            memory.note(Uuid::from_u128(n), Known::Done);
        }

        let known = [1, 2, 3].map(|n| memory.recall(Uuid::from_u128(n)));
        assert_eq!(known, [None, Some(Known::Done), Some(Known::Done)]);
        assert_eq!(memory.memory().known.len(), 2);
    }
}
