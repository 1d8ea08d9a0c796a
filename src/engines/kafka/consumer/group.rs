//! Connects librdkafka's callbacks with the [`Schedule`]: partitions come and go here.
//!
//! A partition that is about to go gets a moment to finish what runs, so that its next owner repeats less; then what
//! is done is committed, and whatever ends later counts for nothing. The callbacks run inside the poll.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rdkafka::ClientContext;
use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer as _, ConsumerContext, Rebalance};
use rdkafka::statistics::Statistics;
use rdkafka::topic_partition_list::TopicPartitionList;
use tokio::runtime::{Handle, RuntimeFlavor};

use super::schedule::{Schedule, Ticket};
use crate::engines::kafka::consumer::record_task::Settled;
use crate::engines::telemetry::events::{ConsumerLag, Rebalanced};

/// The schedule, shared between the loop, the tasks and the callbacks.
pub(super) struct Group<T> {
    topic: String,
    /// How long partitions that go wait for what runs.
    patience: Duration,
    schedule: Mutex<Schedule<T>>,
    /// Partitions came: librdkafka leaves them paused or not, as they were when they went.
    changed: AtomicBool,
    finished: Condvar,
}

impl<T> Group<T> {
    pub(super) fn new(topic: &str, patience: Duration, schedule: Schedule<T>) -> Self {
        Self {
            topic: topic.to_owned(),
            patience,
            schedule: Mutex::new(schedule),
            changed: false.into(),
            finished: Condvar::new(),
        }
    }

    pub(super) fn schedule(&self) -> MutexGuard<'_, Schedule<T>> {
        self.schedule.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes how an item ended. `store` is called under the lock, so that stored offsets never fall.
    pub(super) fn finish(
        &self,
        ticket: &Ticket<T>,
        settled: Settled,
        store: impl FnOnce(i32, i64),
    ) {
        let mut schedule = self.schedule();
        if let Some((partition, offset)) = schedule.finish(ticket, settled) {
            store(partition, offset);
        }
        self.finished.notify_all();
    }

    /// Tells whether partitions came since the last call.
    pub(super) fn take_note_of_change(&self) -> bool {
        self.changed.swap(false, Ordering::Relaxed)
    }

    /// Waits until nothing of `partitions` runs, or patience ends.
    fn settle(&self, partitions: &[i32]) {
        let waiting = || {
            let schedule = self.schedule();
            schedule.close(partitions);
            let waited = self
                .finished
                .wait_timeout_while(schedule, self.patience, |schedule| {
                    schedule.running(partitions) > 0
                });
            if waited.is_ok_and(|(_, timeout)| timeout.timed_out()) {
                tracing::info!(
                    topic = self.topic,
                    "partitions went before all that ran on them was done: their next owner repeats it"
                );
            }
        };
        match Handle::try_current().map(|runtime| runtime.runtime_flavor()) {
            // The tasks that are waited for need this thread's core.
            Ok(RuntimeFlavor::MultiThread) => tokio::task::block_in_place(waiting),
            Ok(_) | Err(_) => waiting(),
        }
    }

    fn rebalanced(&self, partitions: usize) {
        Rebalanced {
            topic: &self.topic,
            partitions,
        }
        .emit();
    }
}

/// What librdkafka calls.
pub(super) struct Context<T>(pub(super) Arc<Group<T>>);

impl<T: Send + 'static> ClientContext for Context<T> {
    fn stats(&self, statistics: Statistics) {
        let Some(topic) = statistics.topics.get(&self.0.topic) else {
            return;
        };
        let owned = topic
            .partitions
            .values()
            .filter(|partition| partition.partition >= 0 && partition.fetch_state == "active");
        for partition in owned {
            ConsumerLag {
                topic: &self.0.topic,
                partition: partition.partition,
                records: u64::try_from(partition.consumer_lag).unwrap_or(0),
            }
            .emit();
        }
    }
}

impl<T: Send + 'static> ConsumerContext for Context<T> {
    fn pre_rebalance(&self, consumer: &BaseConsumer<Self>, rebalance: &Rebalance<'_>) {
        let Rebalance::Revoke(lost) = rebalance else {
            return;
        };
        let lost = numbers(lost);
        if !consumer.assignment_lost() {
            self.0.settle(&lost);
            if let Err(error) = consumer.commit_consumer_state(CommitMode::Sync) {
                tracing::debug!(%error, "nothing to commit before partitions go");
            }
        }
        let left = self.0.schedule().lose(&lost);
        for partition in lost {
            ConsumerLag {
                topic: &self.0.topic,
                partition,
                records: 0,
            }
            .emit();
        }
        self.0.rebalanced(left);
    }

    fn post_rebalance(&self, _: &BaseConsumer<Self>, rebalance: &Rebalance<'_>) {
        let Rebalance::Assign(gained) = rebalance else {
            return;
        };
        if gained.count() == 0 {
            return;
        }
        let all = self.0.schedule().gain(numbers(gained).into_iter());
        self.0.changed.store(true, Ordering::Relaxed);
        self.0.rebalanced(all);
    }
}

fn numbers(list: &TopicPartitionList) -> Vec<i32> {
    list.elements()
        .iter()
        .map(|element| element.partition())
        .collect()
}
