//! Keeps the shared broker small, and reports when it is slow.
//!
//! Each test has seven topics. If they stayed until the end of the run, the broker would have ten thousand partitions,
//! and later tests would be slower.

use std::time::{Duration, Instant};

use rdkafka::ClientConfig;
use rdkafka::admin::{AdminClient, AdminOptions};
use rdkafka::client::DefaultClientContext;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

/// How long one call to the broker may take; on a busy machine Kafka may not answer for many seconds.
const PATIENCE: Duration = Duration::from_secs(60);
/// A slower answer is printed, so the output shows it next to a test that failed at that time.
const SLOW: Duration = Duration::from_secs(2);

/// Deletes the topics of tests that have ended.
#[derive(Clone)]
pub(crate) struct Janitor(UnboundedSender<Vec<String>>);

impl Janitor {
    /// Starts on the current runtime.
    pub(crate) fn start(brokers: &str) -> Self {
        let admin: AdminClient<DefaultClientContext> = ClientConfig::new()
            .set("bootstrap.servers", brokers)
            .create()
            .unwrap();
        let (send, topics) = unbounded_channel();
        tokio::spawn(work(admin, topics));
        Self(send)
    }

    /// Deletes `topics` soon.
    pub(crate) fn delete(&self, topics: Vec<String>) {
        self.0.send(topics).ok();
    }
}

async fn work(admin: AdminClient<DefaultClientContext>, mut ended: UnboundedReceiver<Vec<String>>) {
    let options = AdminOptions::new()
        .request_timeout(Some(PATIENCE))
        .operation_timeout(Some(PATIENCE));
    while let Some(topics) = ended.recv().await {
        let names: Vec<&str> = topics.iter().map(String::as_str).collect();
        let began = Instant::now();
        if let Err(error) = admin.delete_topics(&names, &options).await {
            eprintln!("engines: Kafka did not delete the topics of a test: {error}");
        }
        let took = began.elapsed();
        if took > SLOW {
            eprintln!("engines: Kafka took {took:.1?} to delete the topics of a test");
        }
    }
}
