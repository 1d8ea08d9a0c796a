//! Creates the client of a consumer, and waits until its topic exists.

use std::sync::Arc;
use std::time::Duration;

use rdkafka::consumer::{Consumer as _, StreamConsumer};
use rdkafka::error::KafkaError;
use tokio_util::sync::CancellationToken;

use super::group::Group;
use super::{ConsumerOptions, Error};
use crate::engines::config;
use crate::engines::health::Health;
use crate::engines::kafka::LOOKUP_TIMEOUT;
use crate::engines::telemetry::events;

/// The longest pause between two heartbeats. A member learns of a rebalance by its next heartbeat, and until all members
/// have, nobody reads the partitions of one that has left.
const LONGEST_HEARTBEAT: Duration = Duration::from_secs(1);
/// Pause between two metadata requests.
const METADATA_PAUSE: Duration = Duration::from_secs(1);

/// Waits until the brokers have metadata of the topic; `false` if `stop` comes first.
pub(super) async fn wait_for_topic(
    consumer: &Arc<StreamConsumer<Group>>,
    options: &ConsumerOptions,
    health: &Health,
    stop: &CancellationToken,
) -> bool {
    for tries in 1_u32.. {
        let (asked, topic) = (consumer.clone(), options.topic.clone());
        let asking = blocking(move || {
            let metadata = asked.fetch_metadata(Some(&topic), LOOKUP_TIMEOUT)?;
            match metadata.topics().iter().find_map(|topic| topic.error()) {
                None => Ok(()),
                Some(error) => Err(KafkaError::MetadataFetch(error.into())),
            }
        });
        let missing = match asking.await {
            Some(Ok(())) => break,
            Some(Err(missing)) => missing,
            None => return false,
        };
        health.not_ready(options.role, &format!("topic {}: {missing}", options.topic));
        events::consumer_stumbled(&options.topic, &missing, tries);
        tokio::select! {
            () = tokio::time::sleep(METADATA_PAUSE) => {}
            () = stop.cancelled() => return false,
        }
    }
    health.not_ready(options.role, "joins its consumer group");
    true
}

/// Makes a call that blocks, and passes its panic on; `None` if the runtime shuts down first.
async fn blocking<T: Send + 'static>(call: impl FnOnce() -> T + Send + 'static) -> Option<T> {
    match tokio::task::spawn_blocking(call).await {
        Ok(answer) => Some(answer),
        Err(error) => match error.try_into_panic() {
            Ok(panic) => std::panic::resume_unwind(panic),
            Err(_) => None,
        },
    }
}

pub(super) fn create(
    kafka: &config::Kafka,
    options: &ConsumerOptions,
    group: Group,
) -> Result<StreamConsumer<Group>, Error> {
    let session = kafka.session_timeout;
    let heartbeat = (session / 10).min(LONGEST_HEARTBEAT);
    let mut client = crate::engines::kafka::client(kafka, options.role);
    client
        .set("group.id", &options.group)
        .set("partition.assignment.strategy", "cooperative-sticky")
        .set("session.timeout.ms", session.as_millis().to_string())
        .set("heartbeat.interval.ms", heartbeat.as_millis().to_string())
        .set("enable.auto.commit", "true")
        .set("auto.commit.interval.ms", "500")
        .set("enable.auto.offset.store", "false")
        .set("auto.offset.reset", "earliest")
        .set("fetch.wait.max.ms", "100")
        .set("queued.max.messages.kbytes", "16384")
        .set("statistics.interval.ms", "5000");
    if let Some(instance) = &kafka.group_instance {
        client.set("group.instance.id", format!("{instance}-{}", options.role));
    }
    let created = client.create_with_context(group);
    created.map_err(|source| Error::not_created(&options.topic, source))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    #[should_panic(expected = "scripted by the test")]
    async fn a_panic_of_a_blocking_call_is_passed_on() {
        blocking(|| -> () { panic!("scripted by the test") }).await;
    }
}
