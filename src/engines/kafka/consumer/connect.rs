//! Creates the client of a consumer, and waits until its topic exists.

use std::sync::Arc;
use std::time::Duration;

use rdkafka::consumer::{Consumer as _, StreamConsumer};
use rdkafka::error::KafkaError;
use tokio_util::sync::CancellationToken;

use super::group::Group;
use super::{BoxError, ConsumerOptions, Error};
use crate::engines::config;
use crate::engines::health::Health;
use crate::engines::kafka::connection::{STATISTICS, ask};
use crate::engines::kafka::{ClientError, LOOKUP_TIMEOUT};
use crate::engines::telemetry::events;

/// The longest pause between two heartbeats. A member learns of a rebalance by its next heartbeat. Until all members know of
/// it, nobody reads the partitions of a member that has left.
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
        let topic = options.topic.clone();
        let asking = ask(consumer, move |consumer| {
            let metadata = consumer.fetch_metadata(Some(&topic), LOOKUP_TIMEOUT)?;
            match metadata.topics().iter().find_map(|topic| topic.error()) {
                None => Ok(()),
                Some(error) => Err(KafkaError::MetadataFetch(error.into())),
            }
        });
        let missing: BoxError = match asking.await {
            Ok(()) => break,
            Err(KafkaError::Canceled) => return false,
            Err(missing) => match consumer.context().connection().refusal() {
                Some(refusal) => refusal.into(),
                None => missing.into(),
            },
        };
        health.not_ready(options.role, &format!("topic {}: {missing}", options.topic));
        events::consumer_stumbled(&options.topic, &*missing, tries);
        tokio::select! {
            () = tokio::time::sleep(METADATA_PAUSE) => {}
            () = stop.cancelled() => return false,
        }
    }
    health.not_ready(options.role, "joins its consumer group");
    true
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
        .set("statistics.interval.ms", STATISTICS.as_millis().to_string());
    if let Some(instance) = &kafka.group_instance {
        client.set("group.instance.id", format!("{instance}-{}", options.role));
    }
    let created = client.create_with_context(group);
    created.map_err(|source| Error::not_created(&options.topic, ClientError::from(source)))
}
