//! First attempts for a record that is handled again because its hand-over waits.

use std::sync::atomic::{AtomicUsize, Ordering};

use axum::Router;
use axum::http::StatusCode;
use axum::http::header::RETRY_AFTER;
use tokio::net::TcpListener;

use super::plan::Target;
use super::testing::{NO_REGISTRY, config, deliverer, event};
use super::*;

const HOUR: Duration = Duration::from_secs(3600);

fn notifier() -> Notifier {
    let config = config(&[]);
    let deliverer = Arc::new(deliverer(NO_REGISTRY, &[]));
    let handover = Arc::new(Handover::new(&config));
    Notifier::new(&config, deliverer, handover, CancellationToken::new())
}

fn record() -> Record {
    Record::of(7, &[])
}

/// Starts a target that asks for a pause of an hour; counts its requests.
async fn throttled(asked: Arc<AtomicUsize>) -> Notification {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap());
    let answer = move || {
        asked.fetch_add(1, Ordering::Relaxed);
        async { (StatusCode::TOO_MANY_REQUESTS, [(RETRY_AFTER, "3600")]) }
    };
    tokio::spawn(async move { axum::serve(listener, Router::new().fallback(answer)).await });
    Notification::new(Target::Webhook(url.parse().unwrap()))
}

#[tokio::test]
async fn a_target_that_asked_for_a_pause_is_left_alone_while_its_hand_over_waits() {
    let notifier = notifier();
    let asked = Arc::new(AtomicUsize::new(0));
    let to = throttled(asked.clone()).await;
    let event = Event {
        occurred_at: now(),
        ..event()
    };
    let (record, mut tries) = (record(), Tries::default());

    for _ in 0..3 {
        let first = notifier.first(&record, &event, &to, &mut tries).await;

        let First::HandOver(left) = first else {
            panic!("expected a throttled attempt");
        };
        assert_eq!(left.as_str(), "not_delivered");
        let (step, pause) = left.next(&notifier.deliverer.schedule);
        assert_eq!(step, 1);
        assert!((HOUR - HOUR / 10..=HOUR).contains(&pause), "{pause:?}");
        assert_eq!((asked.load(Ordering::Relaxed), tries.count), (1, 1));
    }

    tries.until = Some(Instant::now());
    notifier.first(&record, &event, &to, &mut tries).await;
    assert_eq!((asked.load(Ordering::Relaxed), tries.count), (2, 2));
}
