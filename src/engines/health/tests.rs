//! Health, and the pages over real HTTP.

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::*;
use crate::engines::config;

fn health() -> Arc<Health> {
    let health = Arc::new(Health::default());
    health.register("intake");
    health.register("worker");
    health
}

#[test]
fn all_roles_have_to_be_ready() {
    let health = health();
    health.ready("intake");
    assert!(!health.report().0);

    health.ready("worker");
    assert!(health.report().0);

    health.not_ready("worker", "holds for an outage");
    let (ready, lines) = health.report();
    assert!(!ready);
    assert_eq!(
        lines,
        "{\"role\":\"intake\",\"ready\":true,\"why\":\"\"}\n\
         {\"role\":\"worker\",\"ready\":false,\"why\":\"holds for an outage\"}\n"
    );
}

#[test]
fn a_process_without_roles_is_not_ready() {
    assert!(!Health::default().report().0);
}

#[test]
fn a_draining_process_stays_not_ready() {
    let health = health();
    health.ready("intake");
    health.ready("worker");

    health.drain();
    health.ready("worker");

    let (ready, lines) = health.report();
    assert!(!ready);
    assert_eq!(lines.matches("draining").count(), 2);
}

#[tokio::test]
async fn the_three_pages_answer_until_the_stop() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (health, stop) = (health(), CancellationToken::new());
    // Metrics are process-wide: tests that run at the same time set those of the other roles.
    health.register("pages");
    let log = config::Log {
        filter: "off".to_owned(),
        json: false,
        file: None,
    };
    let metrics = telemetry::init(&log, None).unwrap();
    let server = tokio::spawn(serve(listener, health.clone(), metrics, stop.clone()));
    let get = async |path: &str| {
        let mut stream = TcpStream::connect(address).await.unwrap();
        let request = format!("GET {path} HTTP/1.0\r\n\r\n");
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        answer
    };

    assert!(get("/livez").await.ends_with("\r\n\r\nok"));
    assert!(get("/readyz").await.starts_with("HTTP/1.0 503"));
    health.ready("intake");
    health.ready("worker");
    health.ready("pages");
    assert!(get("/readyz").await.starts_with("HTTP/1.0 200"));
    let page = get("/metrics").await;
    assert!(page.contains("text/plain; version=0.0.4"));
    assert!(page.contains("genflow_ready{role=\"pages\"} 1"), "{page}");

    let _silent = TcpStream::connect(address).await.unwrap();
    stop.cancel();
    let ended = tokio::time::timeout(Duration::from_secs(10), server).await;
    ended.unwrap().unwrap().unwrap();
}
