//! Attempts of a workflow: by a notifier with other settings, at an endpoint whose circuit is open, without a registry.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use axum::Router;
use axum::http::StatusCode;
use tokio::net::TcpListener;
use url::Url;

use super::*;
use crate::contract::receipt::NotificationOutcome;
use crate::domain::{ErrorCode, EventError, EventType, Targets};
use crate::roles::notifier::plan::Target;
use crate::roles::notifier::testing::{asking, deliverer, parcel, registry};

const HOUR: u64 = 3_600_000;
const MAILBOX: &str = "a@example.org";

/// Returns a notifier whose settings have neither a default Slack target nor a mail server.
async fn other() -> Deliverer {
    deliverer(&registry().await, &[("NOTIFY_SCHEDULE", "1h")])
}

fn parcels() -> [(Parcel, &'static str); 2] {
    let event = asking(&Targets::parse(None, Some(MAILBOX), None).unwrap());
    let slack = Target::Slack("https://hooks.slack.com/services/T/B/x".parse().unwrap());
    let email = Target::Email(MAILBOX.to_owned());
    [
        (parcel(&event, slack), "target_gone"),
        (parcel(&event, email), "channel_not_served"),
    ]
}

fn deliver(parcel: &Parcel, step: u32) -> Deliver {
    Deliver {
        parcel: parcel.clone(),
        step,
        waited: 0,
        shut: 0,
    }
}

#[tokio::test]
async fn what_this_notifier_does_not_know_or_serve_is_left_to_later_attempts() {
    let other = other().await;
    for (parcel, code) in parcels() {
        let delivered = other.deliver(deliver(&parcel, 0)).await.unwrap();

        let Delivered::Later {
            error,
            sent: false,
            pause_ms: Some(pause),
            ..
        } = delivered
        else {
            panic!("{delivered:?}");
        };
        assert_eq!(error.code, code);
        assert!((HOUR * 8 / 10..=HOUR * 12 / 10).contains(&pause));
    }
}

#[tokio::test]
async fn after_the_last_step_it_is_skipped_because_no_target_refused_it() {
    let other = other().await;
    for (parcel, code) in parcels() {
        let delivered = other.deliver(deliver(&parcel, 1)).await.unwrap();

        let Delivered::Ended { end, sent: false } = delivered else {
            panic!("{delivered:?}");
        };
        assert_eq!(end.outcome, NotificationOutcome::Skipped);
        assert_eq!(end.error.unwrap().code, code);
    }
}

/// Starts a server that answers every request with this status; counts the requests.
async fn answering(status: StatusCode, asked: Arc<AtomicUsize>) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    let answer = async move || {
        asked.fetch_add(1, Ordering::Relaxed);
        status
    };
    tokio::spawn(async move { axum::serve(listener, Router::new().fallback(answer)).await });
    address
}

#[tokio::test]
async fn only_waits_for_an_open_circuit_use_up_a_step() {
    let deliverer = deliverer(&registry().await, &[("NOTIFY_SCHEDULE", "1h")]);
    let url: Url = answering(StatusCode::INTERNAL_SERVER_ERROR, Arc::default())
        .await
        .parse()
        .unwrap();
    let event = asking(&Targets::parse(Some(url.as_str()), None, None).unwrap());
    let parcel = parcel(&event, Target::Webhook(url));
    let mut tried = 0;
    while let Delivered::Later { sent: true, .. } =
        deliverer.deliver(deliver(&parcel, 0)).await.unwrap()
    {
        tried += 1;
        assert!(tried < 100, "its circuit does not open");
    }

    // The earlier waits were for a slot, the later ones for an open circuit.
    for (waited, shut) in [(WAITS, 0), (WAITS + 5, WAITS - 1)] {
        let input = Deliver {
            waited,
            shut,
            ..deliver(&parcel, 0)
        };
        let delivered = deliverer.deliver(input).await.unwrap();
        let waits = matches!(delivered, Delivered::Wait { shut: true, .. });
        assert!(waits, "{delivered:?}");
    }
    let input = Deliver {
        waited: WAITS,
        shut: WAITS,
        ..deliver(&parcel, 0)
    };
    let Delivered::Later { error, sent, .. } = deliverer.deliver(input).await.unwrap() else {
        panic!("it still waits");
    };
    assert_eq!((error.code.as_str(), sent), ("circuit_open", false));
}

#[tokio::test]
async fn while_the_registry_is_unavailable_no_end_is_published_without_its_target() {
    let asked = Arc::new(AtomicUsize::new(0));
    let registry = answering(StatusCode::SERVICE_UNAVAILABLE, asked.clone()).await;
    let deliverer = deliverer(&registry, &[]);
    let [(parcel, _), _] = parcels();
    let conclude = Conclude {
        parcel,
        end: NotificationEnd::delivered(200),
        tries: 1,
        first_try_at: None,
        ended_at: 7,
    };

    let concluded = deliverer.conclude(conclude).await;

    assert!(matches!(concluded, Err(Aborted::Again(_))), "{concluded:?}");
    // It asked only for the event's schema, not for that of a receipt.
    assert_eq!(asked.load(Ordering::Relaxed), 1);
}

#[tokio::test]
async fn no_mail_is_sent_about_an_invalid_request_even_if_a_person_asks_for_it() {
    let mail = [
        ("SMTP_URL", "smtp://127.0.0.1:9"),
        ("EMAIL_FROM", "genflow@mail.test"),
    ];
    let deliverer = deliverer(&registry().await, &mail);
    let mut event = asking(&Targets::parse(None, Some(MAILBOX), None).unwrap());
    event.event_type = EventType::Rejected;
    event.error = Some(EventError::new(ErrorCode::Invalid, "why", false));
    if let Some(notify) = event.notify.as_mut() {
        notify.on = vec![EventType::Rejected];
    }
    let parcel = parcel(&event, Target::Email(MAILBOX.to_owned()));

    let delivered = deliverer.deliver(deliver(&parcel, 0)).await.unwrap();

    let Delivered::Ended { end, sent: false } = delivered else {
        panic!("{delivered:?}");
    };
    assert_eq!(end.error.unwrap().code, "not_mailed");
}
