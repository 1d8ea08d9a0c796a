//! Records on the topic of events that are not events.

use genflow::contract::avro;
use genflow::contract::avro::EVENT;
use genflow::engines::kafka::Headers;

use super::{event, given_up, receipts};
use crate::support::Space;
use crate::support::receiver::Receiver;

#[tokio::test]
async fn an_undecodable_event_is_dead_lettered_unchanged_and_the_next_is_notified() {
    let space = Space::new().await;
    let receiver = Receiver::start(&[]).await;
    let topic = &space.config.kafka.topics.events;
    let event = event(&space, &receiver.url);
    let good = space.registry.encode(topic, &EVENT, &event).await.unwrap();
    let unknown = avro::frame(999_999, b"datum");
    let cut = &good[..good.len() / 2];
    // The notifier ignores a tombstone.
    let values = [Some(b"no avro".as_slice()), Some(&unknown), Some(cut), None];

    // The same key, so the same partition: the good event comes after them.
    for value in values.into_iter().chain([Some(good.as_slice())]) {
        let key = &event.request_id;
        space.produce(topic, key, value, Headers::new()).await;
    }
    let _notifier = space.start(&["notifier"]);

    let receipt = receipts(&space, 1).await.remove(0);
    assert_eq!(receipt.event_id, event.event_id);
    assert_eq!(receiver.got().len(), 1);
    super::caught_up(&space).await;
    let mut letters = given_up(&space, 3).await;
    let offset = |name: &str| name.parse::<i64>().unwrap();
    letters.sort_by_key(|record| offset(record.header("dlq.original.offset").unwrap()));
    let letters: Vec<_> = letters
        .iter()
        .map(|record| {
            (
                record.header("dlq.reason").unwrap(),
                record.value.as_deref(),
            )
        })
        .collect();
    let reasons = ["undecodable", "unknown_schema", "undecodable"];
    let wanted: Vec<_> = reasons.into_iter().zip(values).collect();
    assert_eq!(letters, wanted);
}
