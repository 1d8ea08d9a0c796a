//! Which partitions are ours, and how far each is done.
//!
//! Every assignment of a partition has an epoch of its own: a record that was taken under an older one cannot move
//! the watermark of a newer. The callbacks run inside the poll, so they take a short lock and return.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rdkafka::ClientContext;
use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer as _, ConsumerContext, Rebalance};
use rdkafka::statistics::Statistics;

use crate::kafka::watermark::Watermark;
use crate::telemetry::events::{ConsumerLag, Rebalanced};

/// Tells one assignment of a partition from the next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Epoch(u64);

/// The partitions that are ours.
#[derive(Debug)]
pub(super) struct Assignment {
    topic: String,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    epoch: u64,
    changed: bool,
    partitions: HashMap<i32, (Epoch, Watermark)>,
}

impl Assignment {
    pub(super) fn new(topic: &str) -> Self {
        Self {
            topic: topic.to_owned(),
            state: Mutex::default(),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes that work on a record begins; `None` if its partition is not ours any more.
    pub(super) fn take(&self, partition: i32, offset: i64) -> Option<Epoch> {
        let mut state = self.state();
        let (epoch, watermark) = state.partitions.get_mut(&partition)?;
        watermark.take(offset);
        Some(*epoch)
    }

    /// Notes that a record is done; returns the offset up to which all are, if that moved.
    pub(super) fn finish(&self, epoch: Epoch, partition: i32, offset: i64) -> Option<i64> {
        let mut state = self.state();
        let (current, watermark) = state.partitions.get_mut(&partition)?;
        if *current == epoch {
            watermark.finish(offset)
        } else {
            None
        }
    }

    /// Tells whether partitions came since the last call: they come un-paused.
    pub(super) fn take_note_of_change(&self) -> bool {
        std::mem::take(&mut self.state().changed)
    }

    fn gain(&self, partitions: impl Iterator<Item = i32>) -> usize {
        let mut state = self.state();
        for partition in partitions {
            state.epoch += 1;
            let epoch = Epoch(state.epoch);
            state
                .partitions
                .insert(partition, (epoch, Watermark::default()));
        }
        state.changed = true;
        state.partitions.len()
    }

    fn lose(&self, partitions: impl Iterator<Item = i32>) -> usize {
        let mut state = self.state();
        for partition in partitions {
            state.partitions.remove(&partition);
        }
        state.partitions.len()
    }
}

/// Connects librdkafka's callbacks with the [`Assignment`].
pub(super) struct Context {
    assignment: Arc<Assignment>,
}

impl Context {
    pub(super) fn new(assignment: Arc<Assignment>) -> Self {
        Self { assignment }
    }
}

impl ClientContext for Context {
    fn stats(&self, statistics: Statistics) {
        let topic = &self.assignment.topic;
        let partitions = statistics
            .topics
            .get(topic)
            .into_iter()
            .flat_map(|topic| topic.partitions.values());
        let lag: u64 = partitions
            .map(|partition| u64::try_from(partition.consumer_lag).unwrap_or(0))
            .sum();
        ConsumerLag {
            topic,
            records: lag,
        }
        .emit();
    }
}

impl ConsumerContext for Context {
    fn pre_rebalance(&self, consumer: &BaseConsumer<Self>, rebalance: &Rebalance<'_>) {
        let Rebalance::Revoke(lost) = rebalance else {
            return;
        };
        if !consumer.assignment_lost()
            && let Err(error) = consumer.commit_consumer_state(CommitMode::Sync)
        {
            tracing::debug!(%error, "nothing to commit before partitions go");
        }
        let left = self
            .assignment
            .lose(lost.elements().iter().map(|element| element.partition()));
        Rebalanced {
            topic: &self.assignment.topic,
            partitions: left,
        }
        .emit();
    }

    fn post_rebalance(&self, _: &BaseConsumer<Self>, rebalance: &Rebalance<'_>) {
        let Rebalance::Assign(gained) = rebalance else {
            return;
        };
        if gained.count() == 0 {
            return;
        }
        let all = self
            .assignment
            .gain(gained.elements().iter().map(|element| element.partition()));
        Rebalanced {
            topic: &self.assignment.topic,
            partitions: all,
        }
        .emit();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_result_of_an_older_assignment_moves_nothing() {
        let assignment = Assignment::new("t");
        assignment.gain([0].into_iter());
        let old = assignment.take(0, 5).unwrap();
        assignment.lose([0].into_iter());
        assignment.gain([0].into_iter());
        let new = assignment.take(0, 5).unwrap();

        assert_eq!(assignment.finish(old, 0, 5), None);
        assert_eq!(assignment.finish(new, 0, 5), Some(5));
    }

    #[test]
    fn nothing_is_taken_from_a_partition_that_is_not_ours() {
        assert_eq!(Assignment::new("t").take(0, 5), None);
    }
}
