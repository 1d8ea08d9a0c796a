//! Shares the slots for `fetch` among users, so that the many long jobs of one user do not keep the others out.
//!
//! Temporal's fairness orders waiting tasks, but a fetch keeps its slot until the job ends. So a tenth of the slots is
//! a reserve. While part of it is in use, fetches of users with more than an equal share of the other slots go back to
//! the queue, which serves the other users first. While all of it is free, no user is limited.

use std::collections::BTreeMap;
use std::sync::Arc;

use parking_lot::{Mutex, MutexGuard};

/// The running fetches of a worker, by user.
#[derive(Clone, Debug)]
pub struct Shares {
    slots: usize,
    running: Arc<Mutex<FetchCounts>>,
}

#[derive(Debug, Default)]
struct FetchCounts {
    all: usize,
    users: BTreeMap<String, usize>,
}

/// The slot of one fetch; dropping it frees the slot.
#[derive(Debug)]
pub(crate) struct Slot {
    shares: Shares,
    user: String,
}

impl Shares {
    pub fn of(slots: usize) -> Self {
        Self {
            slots,
            running: Arc::default(),
        }
    }

    /// Takes a slot for a fetch of `user`.
    pub(crate) fn enter(&self, user: &str) -> Slot {
        let mut running = self.running();
        running.all += 1;
        *running.users.entry(user.to_owned()).or_default() += 1;
        drop(running);
        Slot {
            shares: self.clone(),
            user: user.to_owned(),
        }
    }

    fn running(&self) -> MutexGuard<'_, FetchCounts> {
        self.running.lock()
    }
}

impl Slot {
    /// Returns whether its user has more than a share while slots are scarce.
    pub(crate) fn is_needed(&self) -> bool {
        let running = self.shares.running();
        let mine = running.users.get(&self.user).copied().unwrap_or_default();
        is_needed(mine, running.all, running.users.len(), self.shares.slots)
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        let mut running = self.shares.running();
        running.all = running.all.saturating_sub(1);
        if let Some(count) = running.users.get_mut(&self.user) {
            *count -= 1;
            if *count == 0 {
                running.users.remove(&self.user);
            }
        }
    }
}

fn is_needed(mine: usize, all: usize, users: usize, slots: usize) -> bool {
    let shared = slots - slots.div_ceil(10);
    all > shared && mine > (shared / users.max(1)).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_user_alone_leaves_a_tenth_and_several_have_equal_parts_of_the_rest() {
        for (mine, all, users, expected) in [
            (90, 90, 1, false),
            (91, 91, 1, true),
            (89, 90, 2, false),
            (90, 91, 2, true),
            (45, 100, 2, false),
            (46, 91, 2, true),
            (1, 100, 100, false),
            (2, 100, 99, true),
        ] {
            assert_eq!(
                is_needed(mine, all, users, 100),
                expected,
                "{mine} {all} {users}"
            );
        }
    }

    #[test]
    fn few_slots_are_shared_too_and_a_single_slot_is_not() {
        assert!(is_needed(2, 2, 1, 2) && is_needed(3, 3, 1, 3));
        assert!(!is_needed(1, 2, 2, 2) && !is_needed(1, 1, 1, 1));
    }

    #[test]
    fn a_slot_is_free_again_when_its_fetch_ends() {
        let shares = Shares::of(4);
        let mut mine: Vec<_> = (0..4).map(|_| shares.enter("ann")).collect();
        assert!(mine[0].is_needed());

        mine.pop();
        assert!(!mine[0].is_needed());
        let other = shares.enter("bob");

        assert!(mine[0].is_needed() && !other.is_needed());
        drop((mine, other));
        assert_eq!(shares.running().all, 0);
        assert_eq!(shares.running().users.len(), 0);
    }
}
