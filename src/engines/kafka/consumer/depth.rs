//! Counts the records on a dead-letter topic.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use rdkafka::consumer::{Consumer as _, StreamConsumer};
use rdkafka::error::KafkaResult;
use tokio::time::sleep;

use super::group::Group;
use super::poll_loop::on_a_thread;
use crate::engines::kafka::{LOOKUP_TIMEOUT, partitions};
use crate::engines::telemetry::events;

/// How often they are counted.
const PAUSE: Duration = Duration::from_secs(30);

/// Reports the number of records on `topic` from time to time. A count that fails is left out: the role does not need it.
pub(super) async fn watch(consumer: &Arc<StreamConsumer<Group>>, topic: &str) -> Infallible {
    loop {
        let (consumer, name) = (consumer.clone(), topic.to_owned());
        // Not on a thread of the runtime, whose end would wait for it.
        match on_a_thread(move || count(&consumer, &name)).await {
            Some(Ok(records)) => events::dead_letters(topic, records),
            Some(Err(error)) => tracing::debug!(topic, %error, "dead letters not counted"),
            None => {}
        }
        sleep(PAUSE).await;
    }
}

fn count(consumer: &StreamConsumer<Group>, topic: &str) -> KafkaResult<u64> {
    let mut records = 0;
    for partition in partitions(consumer, topic)? {
        let (low, high) = consumer.fetch_watermarks(topic, partition, LOOKUP_TIMEOUT)?;
        records += u64::try_from(high - low).unwrap_or_default();
    }
    Ok(records)
}
