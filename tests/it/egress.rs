//! Which addresses of users and providers genflow calls, and that it uses no proxy.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use genflow::domain::{ErrorCode, EventType, Targets};
use genflow::engines::kafka::Record;
use serde_json::json;
use tokio::net::TcpListener;

use crate::support::ledger::types;
use crate::support::receiver::Receiver;
use crate::support::requests::{image, script};
use crate::support::{Space, Watched};

/// Counts connections, and sends nothing.
struct Listener {
    address: String,
    connections: Arc<AtomicUsize>,
}

impl Listener {
    async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let connections = Arc::<AtomicUsize>::default();
        let count = connections.clone();
        tokio::spawn(async move {
            while listener.accept().await.is_ok() {
                count.fetch_add(1, Ordering::SeqCst);
            }
        });
        Self {
            address,
            connections,
        }
    }

    fn connections(&self) -> usize {
        self.connections.load(Ordering::SeqCst)
    }
}

fn header(record: &Record, name: &str) -> String {
    let found = record.headers.iter().find(|(header, _)| header == name);
    String::from_utf8(found.unwrap().1.clone().unwrap()).unwrap()
}

/// Makes intake accept a script for the simulator that names a private address; a real model would choose it itself.
const LETS_THROUGH: [(&str, &str); 3] = [
    ("DOWNLOAD_ALLOW_PRIVATE", "true"),
    ("DOWNLOAD_ALLOW_HTTP", "true"),
    ("DOWNLOAD_PORTS", "any"),
];

#[tokio::test]
async fn a_result_at_a_private_address_ends_its_run_at_once_and_is_not_connected_to() {
    let space = Space::with(&[("DOWNLOAD_ALLOW_HTTP", "true"), ("DOWNLOAD_PORTS", "any")]).await;
    let inside = Listener::start().await;
    let _intake = space.start_with(&["intake"], &LETS_THROUGH);
    let worker = Watched::start(&space, "worker", &[]);
    let place = format!("http://{}/secret", inside.address);
    let request = script(image("inside"), &json!({"output_at": place}));

    space.send(&request).await;

    let events = space.story(request.id.as_str()).await;
    let error = events.last().unwrap().error.clone().unwrap();
    assert_eq!(error.code, ErrorCode::ResultUnavailable);
    assert!(!error.retryable);
    assert_eq!(
        error.message,
        "the output's address is refused: the address is not a public one"
    );
    assert_eq!(inside.connections(), 0);
    // Counted once, so there was one attempt.
    let counted = "genflow_calls_refused_total{caller=\"download\",reason=\"address\"} 1";
    worker.says("metrics", counted).await;
    assert_eq!(space.bill(request.id.as_str()).await.accepted, 1);
    assert_eq!(space.temp_leftovers(), Vec::<String>::new());
}

/// A base URL of one provider does not allow outputs of another: a model could read data from that host.
#[tokio::test]
async fn a_result_at_another_providers_private_address_is_not_connected_to() {
    let inside = Listener::start().await;
    let place = format!("http://{}", inside.address);
    let space = Space::with(&[
        ("OPENAI_API_BASE_URL", &place),
        ("FAL_API_BASE_URL", &place),
    ])
    .await;
    let _intake = space.start_with(&["intake"], &LETS_THROUGH);
    let _worker = space.start(&["worker"]);
    let request = script(
        image("beside"),
        &json!({"output_at": format!("{place}/secret")}),
    );

    space.send(&request).await;

    let events = space.story(request.id.as_str()).await;
    let error = events.last().unwrap().error.clone().unwrap();
    assert_eq!(error.code, ErrorCode::ResultUnavailable);
    assert_eq!(inside.connections(), 0);
}

#[tokio::test]
async fn a_webhook_to_a_private_address_is_refused_while_its_request_runs() {
    let space = Space::with(&[
        ("WEBHOOK_ALLOW_PRIVATE", "false"),
        ("WEBHOOK_ALLOW_HTTP", "true"),
        ("WEBHOOK_PORTS", "any"),
    ])
    .await;
    let receiver = Receiver::start(&[]).await;
    let _all = space.start(&["all"]);
    let by_name = receiver.url.replace("127.0.0.1", "localhost");
    let by_number = receiver.url.replace("127.0.0.1", "0x7f.1");

    for target in [&receiver.url, &by_name, &by_number] {
        let mut request = image("refused");
        request.targets = Targets::parse(Some(target), None, None).unwrap();
        space.send(&request).await;

        let events = space.story(request.id.as_str()).await;
        assert_eq!(types(&events).last(), Some(&EventType::Completed));
    }

    let topics = &space.config.kafka.topics;
    let mut given_up = space.read(&topics.notifications_dlq).await;
    for _ in 0..3 {
        let record = given_up.next().await;
        assert_eq!(header(&record, "dlq.reason"), "address_refused");
        assert_eq!(header(&record, "dlq.attempts"), "1");
    }
    assert!(receiver.got().is_empty());
}

#[tokio::test]
async fn no_proxy_of_the_environment_comes_in_between() {
    let space = Space::new().await;
    let proxy = Listener::start().await;
    let address = format!("http://{}", proxy.address);
    let settings: Vec<_> = [
        "HTTP_PROXY",
        "http_proxy",
        "HTTPS_PROXY",
        "https_proxy",
        "ALL_PROXY",
        "all_proxy",
    ]
    .iter()
    .map(|name| (*name, address.as_str()))
    .collect();
    let receiver = Receiver::start(&[]).await;
    let _all = space.start_with(&["all"], &settings);
    let mut request = image("direct");
    request.targets = Targets::parse(Some(&receiver.url), None, None).unwrap();

    space.send(&request).await;

    let events = space.story(request.id.as_str()).await;
    assert_eq!(types(&events).last(), Some(&EventType::Completed));
    receiver.wait(1).await;
    assert_eq!(proxy.connections(), 0);
}
