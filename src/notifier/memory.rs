//! What this process remembers of notifications, so that a record that comes again is not told again.
//!
//! Only a comfort: it is bounded and gone with the process, and receivers know a repeat by its `webhook-id`.

use std::collections::{HashMap, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};

use uuid::Uuid;

use super::receipt::{Outcome, Receipt};

/// What is known of one notification.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Known {
    /// It ended, but Kafka does not have its receipt yet.
    Unreported(Box<Receipt>),
    /// It was delivered and reported.
    Delivered,
    /// It ended otherwise: should its record come again, it is tried again.
    Open,
}

/// The last notifications, by receipt id.
#[derive(Debug)]
pub(super) struct Memory {
    most: usize,
    kept: Mutex<Kept>,
}

#[derive(Debug, Default)]
struct Kept {
    known: HashMap<Uuid, Known>,
    order: VecDeque<Uuid>,
}

impl Memory {
    /// Makes a memory of the last `most` notifications.
    pub(super) fn new(most: usize) -> Self {
        Self {
            most,
            kept: Mutex::default(),
        }
    }

    /// Returns what is known of a notification.
    pub(super) fn recall(&self, id: Uuid) -> Known {
        let kept = self.kept();
        kept.known.get(&id).cloned().unwrap_or(Known::Open)
    }

    /// Notes that a notification ended, before that is reported.
    pub(super) fn ended(&self, id: Uuid, receipt: Receipt) {
        let mut kept = self.kept();
        let state = Known::Unreported(Box::new(receipt));
        if kept.known.insert(id, state).is_some() {
            return;
        }
        kept.order.push_back(id);
        if kept.order.len() > self.most
            && let Some(oldest) = kept.order.pop_front()
        {
            kept.known.remove(&oldest);
        }
    }

    /// Notes that Kafka has the receipt.
    pub(super) fn reported(&self, id: Uuid) {
        let mut kept = self.kept();
        if let Some(known) = kept.known.get_mut(&id)
            && let Known::Unreported(receipt) = known
        {
            *known = match receipt.outcome {
                Outcome::Delivered => Known::Delivered,
                Outcome::Unknown | Outcome::GivenUp | Outcome::Expired | Outcome::Skipped => {
                    Known::Open
                }
            };
        }
    }

    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::notifier::testing::receipt;

    #[test]
    fn what_ended_is_known_until_it_is_reported_and_what_was_delivered_after_it() {
        let memory = Memory::new(10);
        let [delivered, given_up] = [Uuid::from_u128(1), Uuid::from_u128(2)];

        memory.ended(delivered, receipt(Outcome::Delivered));
        memory.ended(given_up, receipt(Outcome::GivenUp));

        let unreported = Known::Unreported(Box::new(receipt(Outcome::GivenUp)));
        assert_eq!(memory.recall(given_up), unreported);

        memory.reported(delivered);
        memory.reported(given_up);

        assert_eq!(memory.recall(delivered), Known::Delivered);
        assert_eq!(memory.recall(given_up), Known::Open);
    }

    #[test]
    fn the_oldest_is_forgotten_first() {
        let memory = Memory::new(2);

        for n in 1..=3 {
            memory.ended(Uuid::from_u128(n), receipt(Outcome::Delivered));
            memory.reported(Uuid::from_u128(n));
        }

        let known = [1, 2, 3].map(|n| memory.recall(Uuid::from_u128(n)));
        assert_eq!(known, [Known::Open, Known::Delivered, Known::Delivered]);
        assert_eq!(memory.kept().known.len(), 2);
    }
}
