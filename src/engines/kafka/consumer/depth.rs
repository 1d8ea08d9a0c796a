//! Counts the records on a dead-letter topic.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::sleep;

use super::poll_loop::on_a_thread;
use crate::engines::kafka::producer::Producer;
use crate::engines::telemetry::events;

/// How often they are counted.
const PAUSE: Duration = Duration::from_secs(30);

/// Reports the number of records on `topic` from time to time. A count that fails is left out: the role does not need it.
/// It asks by the producer, so that a count never keeps a consumer alive that leaves its group.
pub(super) async fn watch(producer: &Arc<Producer>, topic: &str) -> Infallible {
    loop {
        let (producer, name) = (producer.clone(), topic.to_owned());
        // Not on a thread of the runtime, whose end would wait for it.
        match on_a_thread(move || producer.count(&name)).await {
            Some(Ok(records)) => events::dead_letters(topic, records),
            Some(Err(error)) => tracing::debug!(topic, %error, "dead letters not counted"),
            None => {}
        }
        sleep(PAUSE).await;
    }
}
