//! Attempts over real HTTP.

use std::convert::Infallible;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::{Request, State};
use axum::http::{HeaderMap, StatusCode, Uri};
use axum::response::{IntoResponse, Response as Answer};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use ring::hmac;
use tokio::net::TcpListener;

use super::*;
use crate::domain::Secret;
use crate::engines::config::{Config, Egress, Ports};
use crate::roles::notifier::test_webhook;
use crate::roles::notifier::testing::event;

/// A target on a port of its own: gives these answers in order, then repeats the last one.
#[derive(Clone)]
struct Receiver {
    answers: Arc<Vec<Given>>,
    seen: Arc<Mutex<Vec<Seen>>>,
    /// Bytes of endless answers that were sent.
    sent: Arc<AtomicUsize>,
    url: Url,
}

/// More than the system buffers if the notifier stops reading. If it read on, this much would be sent in a moment.
const BUFFERS: usize = 8 * 1024 * 1024;

#[derive(Clone, Copy)]
enum Given {
    Status(u16),
    RetryAfter(u16, &'static str),
    Redirect,
    Silence,
    /// 200, and a body without end.
    Endless,
    /// A status, and then a body that stalls.
    Stalls(u16),
}

#[derive(Clone)]
struct Seen {
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
}

impl Receiver {
    async fn start(answers: &[Given]) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/hook?q=1", listener.local_addr().unwrap());
        let receiver = Self {
            answers: Arc::new(answers.to_vec()),
            seen: Arc::default(),
            sent: Arc::default(),
            url: url.parse().unwrap(),
        };
        let router = Router::new()
            .fallback(Self::receive)
            .with_state(receiver.clone());
        tokio::spawn(async move { axum::serve(listener, router).await });
        receiver
    }

    async fn receive(State(receiver): State<Self>, request: Request) -> Answer {
        let (parts, body) = request.into_parts();
        let seen = Seen {
            uri: parts.uri,
            headers: parts.headers,
            body: axum::body::to_bytes(body, usize::MAX).await.unwrap(),
        };
        let nth = {
            let mut all = receiver.seen.lock().unwrap();
            all.push(seen);
            all.len() - 1
        };
        let last = receiver.answers.len() - 1;
        let status = |status| StatusCode::from_u16(status).unwrap();
        match receiver.answers[nth.min(last)] {
            Given::Status(code) => status(code).into_response(),
            Given::RetryAfter(code, after) => {
                (status(code), [("retry-after", after)]).into_response()
            }
            Given::Redirect => (status(307), [("location", "/elsewhere")]).into_response(),
            Given::Silence => std::future::pending().await,
            Given::Stalls(code) => {
                let body = futures::stream::pending::<Result<Bytes, std::io::Error>>();
                (status(code), Body::from_stream(body)).into_response()
            }
            Given::Endless => {
                let chunk = Bytes::from_static(&[b'x'; 65_536]);
                let chunks = futures::stream::repeat_with(move || {
                    receiver.sent.fetch_add(chunk.len(), Ordering::Relaxed);
                    Ok::<_, Infallible>(chunk.clone())
                });
                Body::from_stream(chunks).into_response()
            }
        }
    }

    fn seen(&self) -> Vec<Seen> {
        self.seen.lock().unwrap().clone()
    }
}

/// Returns rules that allow any address.
fn anywhere() -> Egress {
    Egress {
        allow_private: true,
        allow_http: true,
        ports: Ports::Any,
    }
}

fn settings() -> config::Notifier {
    config::Notifier {
        egress: anywhere(),
        try_timeout: Duration::from_secs(5),
        ..Config::of(&[]).unwrap().notifier
    }
}

async fn send(settings: &config::Notifier, target: &Url) -> Tried {
    let notice = Notice {
        event: &event(),
        traceparent: Some("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"),
    };
    let sender = Sender::new(settings).unwrap();
    sender.send(&notice, target, settings.try_timeout).await
}

/// Returns whether a result is final, its code or `delivered`, and the status.
fn result_of(tried: Tried) -> (bool, String, Option<u16>) {
    match tried {
        Tried::Delivered(status) => (true, "delivered".to_owned(), Some(status)),
        Tried::Refused { status, error } => (true, error.code, status),
        Tried::Later { status, error, .. } => (false, error.code, status),
    }
}

#[tokio::test]
async fn the_target_can_verify_the_signature_with_the_secret_of_its_user() {
    let masters =
        [[1; 24], [2; 24]].map(|key| Secret::new(format!("whsec_{}", BASE64.encode(key))));
    let settings = config::Notifier {
        signing_secrets: masters.to_vec(),
        ..settings()
    };
    let receiver = Receiver::start(&[Given::Status(204)]).await;

    let tried = send(&settings, &receiver.url).await;

    assert_eq!(tried, Tried::Delivered(204));
    let seen = receiver.seen().remove(0);
    let header = |name: &str| seen.headers[name].to_str().unwrap().to_owned();
    assert_eq!(seen.uri, "/hook?q=1");
    assert_eq!(header("webhook-id"), event().event_id);
    assert_eq!(header("content-type"), "application/json");
    assert_eq!(
        header("user-agent"),
        concat!("genflow/", env!("CARGO_PKG_VERSION"))
    );
    assert!(header("traceparent").starts_with("00-0af7"));
    assert_signed_for_alice(&seen, &masters);
}

/// Asserts that each of the master secrets has signed a webhook for the user alice.
fn assert_signed_for_alice(seen: &Seen, masters: &[Secret]) {
    let header = |name: &str| seen.headers[name].to_str().unwrap().to_owned();
    let signed = [
        format!("{}.{}.", header("webhook-id"), header("webhook-timestamp")).as_bytes(),
        &seen.body,
    ]
    .concat();
    let signatures = header("webhook-signature");
    assert_eq!(signatures.split(' ').count(), masters.len());
    for (signature, master) in signatures.split(' ').zip(masters) {
        let secret = user_secret(master, "alice").unwrap();
        let key = BASE64
            .decode(secret.expose().strip_prefix("whsec_").unwrap())
            .unwrap();
        let tag = BASE64
            .decode(signature.strip_prefix("v1,").unwrap())
            .unwrap();
        let key = hmac::Key::new(hmac::HMAC_SHA256, &key);
        hmac::verify(&key, &signed, &tag).unwrap();
    }
}

#[tokio::test]
async fn a_test_is_signed_for_the_user_and_says_that_it_is_one() {
    let masters = [Secret::new(format!("whsec_{}", BASE64.encode([1; 24])))];
    let settings = config::Notifier {
        signing_secrets: masters.to_vec(),
        ..settings()
    };
    let receiver = Receiver::start(&[Given::Status(204), Given::Status(500)]).await;

    let [good, bad] = [
        test_webhook(&settings, &receiver.url, "alice")
            .await
            .unwrap(),
        test_webhook(&settings, &receiver.url, "alice")
            .await
            .unwrap(),
    ];

    assert_eq!((good.delivered, good.status), (true, Some(204)));
    assert_eq!((bad.delivered, bad.status), (false, Some(500)));
    assert_eq!(bad.error.unwrap().code, "target_failed");
    assert_ne!(good.webhook_id, bad.webhook_id);
    let seen = receiver.seen().remove(0);
    assert_signed_for_alice(&seen, &masters);
    assert_eq!(seen.headers["webhook-id"], good.webhook_id.as_str());
    let body: serde_json::Value = serde_json::from_slice(&seen.body).unwrap();
    assert_eq!(body["type"], "genflow.test");
    assert_eq!(body["data"]["test"], true);
    assert!(body["data"].get("request_id").is_none(), "{body}");
}

#[tokio::test]
async fn a_test_to_a_private_address_is_refused() {
    let settings = config::Notifier {
        egress: Egress {
            allow_private: false,
            ..anywhere()
        },
        ..settings()
    };
    let receiver = Receiver::start(&[Given::Status(204)]).await;

    let answer = test_webhook(&settings, &receiver.url, "alice")
        .await
        .unwrap();

    assert_eq!(answer.error.unwrap().code, "address_refused");
    assert!(receiver.seen().is_empty());
}

#[tokio::test]
async fn a_failure_that_may_pass_is_retried_and_any_other_answer_is_final() {
    for (answer, is_final, code) in [
        (200, true, "delivered"),
        (299, true, "delivered"),
        (400, true, "refused"),
        (404, true, "refused"),
        (410, true, "gone"),
        (408, false, "target_failed"),
        (500, false, "target_failed"),
        (502, false, "target_failed"),
        (503, false, "target_failed"),
        (429, false, "throttled"),
    ] {
        let receiver = Receiver::start(&[Given::Status(answer)]).await;

        let tried = result_of(send(&settings(), &receiver.url).await);

        assert_eq!(tried, (is_final, code.to_owned(), Some(answer)));
        assert_eq!(receiver.seen().len(), 1);
    }
}

#[tokio::test]
async fn each_attempt_has_the_same_id_and_body_and_a_signature_of_its_own_time() {
    let receiver = Receiver::start(&[Given::Status(500)]).await;

    send(&settings(), &receiver.url).await;
    tokio::time::sleep(Duration::from_millis(1100)).await; // the time stamp is in seconds
    send(&settings(), &receiver.url).await;

    let [one, two] = &receiver.seen()[..] else {
        panic!("two attempts");
    };
    let same = |name: &str| one.headers[name] == two.headers[name];
    assert!(same("webhook-id") && one.body == two.body);
    assert!(!same("webhook-timestamp") && !same("webhook-signature"));
}

#[tokio::test]
async fn a_redirect_is_a_failure_and_not_followed() {
    let receiver = Receiver::start(&[Given::Redirect]).await;

    let tried = result_of(send(&settings(), &receiver.url).await);

    assert_eq!(tried, (false, "redirected".to_owned(), Some(307)));
    assert_eq!(receiver.seen().len(), 1);
}

#[tokio::test]
async fn an_attempt_at_a_silent_target_ends_at_its_time_out() {
    let receiver = Receiver::start(&[Given::Silence, Given::Status(200)]).await;
    let settings = config::Notifier {
        try_timeout: Duration::from_millis(200),
        ..settings()
    };

    let silent = result_of(send(&settings, &receiver.url).await);
    let again = send(&settings, &receiver.url).await;

    assert_eq!(silent, (false, "timed_out".to_owned(), None));
    assert_eq!(again, Tried::Delivered(200));
}

#[tokio::test]
async fn a_target_without_a_listener_is_unreachable() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap());
    drop(listener);

    let tried = result_of(send(&settings(), &url.parse().unwrap()).await);

    assert_eq!(tried, (false, "unreachable".to_owned(), None));
}

#[tokio::test]
async fn an_answer_without_end_does_not_hold_the_delivery_and_little_of_it_is_read() {
    let receiver = Receiver::start(&[Given::Endless]).await;

    let tried = send(&settings(), &receiver.url).await;

    assert_eq!(tried, Tried::Delivered(200));
    let sent = receiver.sent.load(Ordering::Relaxed);
    assert!(sent < BUFFERS, "{sent}");
}

#[tokio::test]
async fn an_answer_whose_body_stalls_is_soon_judged_by_its_status() {
    let settings = config::Notifier {
        try_timeout: Duration::from_secs(600),
        ..settings()
    };
    for (status, is_final, code) in [
        (200, true, "delivered"),
        (410, true, "gone"),
        (500, false, "target_failed"),
    ] {
        let receiver = Receiver::start(&[Given::Stalls(status)]).await;

        let tried = timeout(Duration::from_secs(60), send(&settings, &receiver.url)).await;

        let tried = result_of(tried.expect("the attempt does not wait for the end of the answer"));
        assert_eq!(tried, (is_final, code.to_owned(), Some(status)));
        assert_eq!(receiver.seen().len(), 1);
    }
}

#[tokio::test]
async fn retry_after_counts_with_429_and_503_only() {
    for (status, expected) in [(429, Some(7)), (503, Some(7)), (500, None)] {
        let receiver = Receiver::start(&[Given::RetryAfter(status, "7")]).await;

        let tried = send(&settings(), &receiver.url).await;

        let Tried::Later { again_in, .. } = tried else {
            panic!("{tried:?}");
        };
        assert_eq!(again_in, expected.map(Duration::from_secs), "{status}");
    }
}

#[tokio::test]
async fn a_private_address_is_not_called_by_number_or_by_name() {
    let receiver = Receiver::start(&[Given::Status(200)]).await;
    let settings = config::Notifier {
        egress: Egress {
            allow_private: false,
            ..anywhere()
        },
        ..settings()
    };
    let mut by_name = receiver.url.clone();
    by_name.set_host(Some("localhost")).unwrap();

    for target in [&receiver.url, &by_name] {
        let tried = result_of(send(&settings, target).await);

        assert_eq!(tried, (true, "address_refused".to_owned(), None));
    }
    assert!(receiver.seen().is_empty());
}
