//! Since when records wait for intake: what the answers must say, and records that a reader does not see.

use std::time::Duration;

use genflow::domain::Request;
use genflow::engines::clock::now;
use genflow::engines::kafka::Headers;
use genflow::engines::kafka::admin;
use rdkafka::ClientConfig;
use rdkafka::producer::{BaseProducer, BaseRecord, Producer as _};

use crate::support::requests::image;
use crate::support::{Space, eventually};

/// The times between which a record got its timestamp.
pub(super) struct Sent {
    from: i64,
    to: i64,
}

impl Sent {
    pub(super) async fn send(space: &Space, request: &Request) -> Self {
        let from = now();
        space.send(request).await;
        Self { from, to: now() }
    }

    /// Returns whether a time in milliseconds since the epoch can be the record's.
    pub(super) fn is_at(&self, time: Option<i64>) -> bool {
        time.is_some_and(|time| (self.from..=self.to).contains(&time))
    }

    /// Checks the age in a line of doctor, which ran from `asked` until now.
    pub(super) fn has_age_in(&self, line: &str, asked: i64) {
        let (_, age) = line.split_once(", the oldest ").unwrap();
        let (age, _) = age.split_once(" old, ").unwrap();
        let (count, unit) = age.split_once(' ').unwrap();
        let unit = match unit {
            "s" => 1_000,
            "min" => 60_000,
            other => panic!("{other} in {line}"),
        };
        // The age is in whole units.
        let least = count.parse::<i64>().unwrap() * unit;
        let possible = asked - self.to..=now() - self.from;
        assert!(least + unit > *possible.start(), "{line}: {possible:?}");
        assert!(least <= *possible.end(), "{line}: {possible:?}");
    }
}

#[tokio::test]
async fn the_oldest_record_is_one_that_a_reader_sees() {
    let space = Space::new().await;
    let (kafka, group) = (&space.config.kafka, format!("{}-intake", space.name()));
    let topic = &kafka.topics.requests;
    let request = image("after");
    let key = request.id.as_str().to_owned();
    let (brokers, sent_to) = (kafka.brokers.clone(), topic.clone());
    let abort = move || abort(&brokers, &sent_to, &key);
    tokio::task::spawn_blocking(abort).await.unwrap();

    // A record that was taken back, and the marker that says so, which the broker writes a moment later.
    eventually("the transaction has ended", async || {
        let backlog = admin::backlog(kafka, &group, topic).await.unwrap();
        (backlog.records == 2 && backlog.oldest.is_none()).then_some(())
    })
    .await;
    let sent = Sent::send(&space, &request).await;
    eventually("the record after them is the oldest", async || {
        let backlog = admin::backlog(kafka, &group, topic).await.unwrap();
        (backlog.records == 3 && sent.is_at(backlog.oldest)).then_some(())
    })
    .await;
    // The record of another partition is younger.
    let others = (0..20).map(|number| format!("other-{number}"));
    for key in others {
        space.produce(topic, &key, Some(b"x"), Headers::new()).await;
    }
    eventually("the record is still the oldest", async || {
        let backlog = admin::backlog(kafka, &group, topic).await.unwrap();
        (backlog.records == 23 && sent.is_at(backlog.oldest)).then_some(())
    })
    .await;
}

/// Writes a record in a transaction, and aborts it.
fn abort(brokers: &str, topic: &str, key: &str) {
    let patience = Duration::from_secs(60);
    let producer: BaseProducer = ClientConfig::new()
        .set("bootstrap.servers", brokers)
        .set("transactional.id", topic)
        .create()
        .unwrap();
    producer.init_transactions(patience).unwrap();
    producer.begin_transaction().unwrap();
    let record = BaseRecord::to(topic).key(key).payload("taken back");
    producer.send(record).map_err(|(error, _)| error).unwrap();
    producer.flush(patience).unwrap();
    producer.abort_transaction(patience).unwrap();
}
