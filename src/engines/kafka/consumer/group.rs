//! Connects librdkafka's rebalance callbacks with the [`Schedule`].
//!
//! On a revoke, records that run get a moment to finish, so that the next owner repeats fewer of them; then the
//! finished ones are committed, and results that come later are ignored. The callbacks run inside the poll.

use std::error::Error;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use parking_lot::{Condvar, Mutex, MutexGuard};
use rdkafka::ClientContext;
use rdkafka::client::OAuthToken;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer as _, ConsumerContext, Rebalance};
use rdkafka::error::KafkaError;
use rdkafka::statistics::Statistics;
use rdkafka::topic_partition_list::TopicPartitionList;

use super::ConsumerOptions;
use super::record_task::Settled;
use super::schedule::{Schedule, Ticket};
use crate::engines::health::Health;
use crate::engines::kafka::connection::{Connection, without_stalling};
use crate::engines::telemetry::events;

/// The context of the group's consumer: the schedule, shared between the loop, the tasks and the callbacks.
pub(super) struct Group {
    connection: Connection,
    role: &'static str,
    topic: String,
    /// How long a revoke waits for records that run.
    patience: Duration,
    schedule: Mutex<Schedule>,
    /// Set when partitions are assigned. librdkafka remembers from their last assignment whether they were paused, so
    /// the loop must pause or resume them again.
    reassigned: AtomicBool,
    /// Set when the group has given this member its first share of the partitions, which may be none.
    joined: AtomicBool,
    finished: Condvar,
    health: Arc<Health>,
}

impl Group {
    pub(super) fn new(
        options: &ConsumerOptions,
        connection: Connection,
        patience: Duration,
        schedule: Schedule,
        health: Arc<Health>,
    ) -> Self {
        Self {
            connection,
            role: options.role,
            topic: options.topic.clone(),
            patience,
            schedule: Mutex::new(schedule),
            reassigned: false.into(),
            joined: false.into(),
            finished: Condvar::new(),
            health,
        }
    }

    pub(super) fn connection(&self) -> &Connection {
        &self.connection
    }

    pub(super) fn schedule(&self) -> MutexGuard<'_, Schedule> {
        self.schedule.lock()
    }

    /// Notes how a record ended. `store` is called under the lock, so that stored offsets never go back.
    pub(super) fn finish(&self, ticket: &Ticket, settled: Settled, store: impl FnOnce(i32, i64)) {
        let mut schedule = self.schedule();
        if let Some((partition, offset)) = schedule.finish(ticket, settled) {
            store(partition, offset);
        }
        self.finished.notify_all();
    }

    /// Returns whether partitions were assigned since the last call.
    pub(super) fn was_reassigned(&self) -> bool {
        self.reassigned.swap(false, Ordering::Relaxed)
    }

    /// Closes `partitions`, and waits until nothing runs on them, at most for `patience`.
    fn finish_running(&self, partitions: &[i32]) {
        let waiting = || {
            let mut schedule = self.schedule();
            schedule.close(partitions);
            let runs = |schedule: &mut Schedule| schedule.running(partitions) > 0;
            let waited = self
                .finished
                .wait_while_for(&mut schedule, runs, self.patience);
            if waited.timed_out() {
                tracing::info!(
                    topic = self.topic,
                    "partitions were revoked before all records on them were done: the next owner repeats these"
                );
            }
        };
        // The tasks we wait for may need this worker thread of the runtime.
        without_stalling(waiting);
    }

    fn report_lag(&self, partition: i32, records: u64) {
        events::consumer_lag(&self.topic, partition, records);
    }

    fn rebalanced(&self, partitions: usize) {
        events::rebalanced(&self.topic, partitions);
    }
}

impl ClientContext for Group {
    const ENABLE_REFRESH_OAUTH_TOKEN: bool = true;

    fn log(&self, level: RDKafkaLogLevel, facility: &str, line: &str) {
        self.connection.log(level, facility, line);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        self.connection.error(error, reason);
    }

    fn generate_oauth_token(&self, config: Option<&str>) -> Result<OAuthToken, Box<dyn Error>> {
        self.connection.generate_oauth_token(config)
    }

    fn stats(&self, statistics: Statistics) {
        self.connection.note_statistics(&statistics);
        let Some(topic) = statistics.topics.get(&self.topic) else {
            return;
        };
        let owned = topic
            .partitions
            .values()
            .filter(|partition| partition.partition >= 0 && partition.fetch_state == "active");
        for partition in owned {
            // Below 0 while nothing was ever committed: then all records wait.
            let all = partition
                .hi_offset
                .saturating_sub(partition.lo_offset.max(0));
            let lag = match partition.consumer_lag {
                ..0 => all,
                lag => lag,
            };
            self.report_lag(partition.partition, u64::try_from(lag).unwrap_or(0));
        }
    }
}

impl ConsumerContext for Group {
    fn pre_rebalance(&self, consumer: &BaseConsumer<Self>, rebalance: &Rebalance<'_>) {
        let Rebalance::Revoke(lost) = rebalance else {
            return;
        };
        let lost = numbers(lost);
        if !consumer.assignment_lost() {
            self.finish_running(&lost);
            if let Err(error) = consumer.commit_consumer_state(CommitMode::Sync) {
                tracing::debug!(%error, "no commit before the revoke");
            }
        }
        let remaining = self.schedule().lose(&lost);
        for partition in lost {
            self.report_lag(partition, 0);
        }
        self.rebalanced(remaining);
    }

    fn post_rebalance(&self, _: &BaseConsumer<Self>, rebalance: &Rebalance<'_>) {
        let Rebalance::Assign(gained) = rebalance else {
            return;
        };
        // Only now: until it has joined, the members that are left do its work, and may not be stopped too.
        if !self.joined.swap(true, Ordering::Relaxed) {
            self.health.ready(self.role);
        }
        if gained.count() == 0 {
            return;
        }
        let all = self.schedule().gain(numbers(gained).into_iter());
        self.reassigned.store(true, Ordering::Relaxed);
        self.rebalanced(all);
    }
}

fn numbers(list: &TopicPartitionList) -> Vec<i32> {
    list.elements()
        .iter()
        .map(|element| element.partition())
        .collect()
}
