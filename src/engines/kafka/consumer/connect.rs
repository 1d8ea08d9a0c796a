//! Creates the client of a consumer, and waits until its topic exists.

use std::sync::Arc;
use std::time::Duration;

use rdkafka::consumer::{Consumer as _, StreamConsumer};
use rdkafka::error::KafkaError;
use tokio_util::sync::CancellationToken;

use super::group::{Context, Group};
use super::{Error, Options};
use crate::engines::config;
use crate::engines::health::Health;
use crate::engines::kafka::consumer::bytes_held::HeldRecord;
use crate::engines::telemetry::events;

const METADATA_TIMEOUT: Duration = Duration::from_secs(5);
/// Pause between two metadata requests.
const METADATA_PAUSE: Duration = Duration::from_secs(1);

/// Waits until the brokers have metadata of the topic; `None` if `stop` comes first.
pub(super) async fn reached(
    consumer: &Arc<StreamConsumer<Context<HeldRecord>>>,
    options: &Options,
    health: &Health,
    stop: &CancellationToken,
) -> Option<()> {
    for tries in 1_u32.. {
        let (asked, topic) = (consumer.clone(), options.topic.clone());
        // Blocks on the broker.
        let asking = tokio::task::spawn_blocking(move || {
            asked.fetch_metadata(Some(&topic), METADATA_TIMEOUT)
        });
        let reported = asking.await.ok()?;
        let missing = match reported {
            Ok(metadata) => match metadata.topics().iter().find_map(|topic| topic.error()) {
                None => break,
                Some(error) => KafkaError::MetadataFetch(error.into()),
            },
            Err(error) => error,
        };
        health.not_ready(options.role, &format!("topic {}: {missing}", options.topic));
        events::consumer_stumbled(&options.topic, &missing, tries);
        tokio::select! {
            () = tokio::time::sleep(METADATA_PAUSE) => {}
            () = stop.cancelled() => return None,
        }
    }
    health.ready(options.role);
    Some(())
}

pub(super) fn client(
    kafka: &config::Kafka,
    options: &Options,
    group: Arc<Group<HeldRecord>>,
) -> Result<StreamConsumer<Context<HeldRecord>>, Error> {
    let session = kafka.session_timeout;
    let heartbeat = (session / 10).min(Duration::from_secs(3));
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
    client
        .create_with_context(Context(group))
        .map_err(|source| Error::Client {
            topic: options.topic.clone(),
            source,
        })
}
