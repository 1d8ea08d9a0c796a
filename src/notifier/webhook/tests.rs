//! Deliveries over real HTTP.

use std::sync::{Arc, Mutex};

use axum::Router;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, StatusCode, Uri};
use axum::response::{IntoResponse, Response as Answer};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use ring::hmac;
use tokio::net::TcpListener;
use tokio::sync::Notify;

use super::*;
use crate::config::{Config, Egress, Ports, Secret};

const HOUR: Duration = Duration::from_secs(3600);

/// A target on a port of its own that answers with given statuses, the last one for ever.
#[derive(Clone)]
struct Receiver {
    answers: Arc<Vec<Given>>,
    seen: Arc<Mutex<Vec<Seen>>>,
    came: Arc<Notify>,
    url: Url,
}

#[derive(Clone, Copy)]
enum Given {
    Status(u16),
    RetryAfter(u16, &'static str),
    Redirect,
    Silence,
    LongBody,
}

#[derive(Clone)]
struct Seen {
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
    at: std::time::Instant,
}

impl Receiver {
    async fn start(answers: &[Given]) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/hook?q=1", listener.local_addr().unwrap());
        let receiver = Self {
            answers: Arc::new(answers.to_vec()),
            seen: Arc::default(),
            came: Arc::default(),
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
            at: std::time::Instant::now(),
        };
        let nth = {
            let mut all = receiver.seen.lock().unwrap();
            all.push(seen);
            all.len() - 1
        };
        receiver.came.notify_one();
        let last = receiver.answers.len() - 1;
        let status = |status| StatusCode::from_u16(status).unwrap();
        match receiver.answers[nth.min(last)] {
            Given::Status(code) => status(code).into_response(),
            Given::RetryAfter(code, after) => {
                (status(code), [("retry-after", after)]).into_response()
            }
            Given::Redirect => (status(307), [("location", "/elsewhere")]).into_response(),
            Given::Silence => std::future::pending().await,
            Given::LongBody => "x".repeat(10_000_000).into_response(),
        }
    }

    fn seen(&self) -> Vec<Seen> {
        self.seen.lock().unwrap().clone()
    }
}

/// Anything may be called.
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
        attempts: 3,
        backoff: Duration::from_millis(1),
        ..Config::load(|_| None).unwrap().notifier
    }
}

async fn deliver(settings: &config::Notifier, target: &Url) -> Delivery {
    let stop = CancellationToken::new();
    call(settings, target, &stop).await.unwrap()
}

async fn call(
    settings: &config::Notifier,
    target: &Url,
    stop: &CancellationToken,
) -> Result<Delivery, Stopped> {
    let call = Call {
        id: "event-1",
        user: "alice",
        target,
        body: &Bytes::from_static(b"{\"type\":\"x\"}"),
        traceparent: Some("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"),
    };
    Sender::new(settings).unwrap().deliver(call, stop).await
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

    let delivery = deliver(&settings, &receiver.url).await;

    assert_eq!(delivery.last.unwrap(), 204);
    let seen = receiver.seen().remove(0);
    let header = |name: &str| seen.headers[name].to_str().unwrap().to_owned();
    assert_eq!(seen.uri, "/hook?q=1");
    assert_eq!(header("webhook-id"), "event-1");
    assert_eq!(header("content-type"), "application/json");
    assert_eq!(
        header("user-agent"),
        concat!("genflow/", env!("CARGO_PKG_VERSION"))
    );
    assert!(header("traceparent").starts_with("00-0af7"));
    let signed = [
        format!("event-1.{}.", header("webhook-timestamp")).as_bytes(),
        &seen.body,
    ]
    .concat();
    let signatures = header("webhook-signature");
    assert_eq!(signatures.split(' ').count(), 2);
    for (signature, master) in signatures.split(' ').zip(&masters) {
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
async fn what_may_pass_is_tried_again_under_the_same_id_and_what_is_final_is_not() {
    use Given::Status;
    for (answers, tries, ended) in [
        (vec![Status(200)], 1, Ok(200)),
        (vec![Status(299)], 1, Ok(299)),
        (vec![Status(500), Status(408), Status(202)], 3, Ok(202)),
        (vec![Status(502), Status(429), Status(201)], 3, Ok(201)),
        (vec![Status(503)], 3, Err("target_failed")),
        (vec![Status(429)], 3, Err("throttled")),
        (vec![Status(500), Status(400)], 2, Err("refused")),
        (vec![Status(404)], 1, Err("refused")),
        (vec![Status(410)], 1, Err("gone")),
        (vec![Status(500), Status(410)], 2, Err("gone")),
    ] {
        let receiver = Receiver::start(&answers).await;

        let delivery = deliver(&settings(), &receiver.url).await;

        assert_eq!(delivery.last.map_err(|error| error.code()), ended);
        assert_eq!(delivery.tries, tries);
        let seen = receiver.seen();
        assert_eq!(seen.len(), tries as usize);
        assert!(
            seen.iter()
                .all(|one| one.headers["webhook-id"] == "event-1")
        );
        assert!(seen.iter().all(|one| one.body == seen[0].body));
    }
}

#[tokio::test]
async fn a_redirect_is_a_failure_and_not_followed() {
    let receiver = Receiver::start(&[Given::Redirect]).await;

    let delivery = deliver(&settings(), &receiver.url).await;

    let error = delivery.last.unwrap_err();
    assert_eq!((error.code(), error.status()), ("redirected", Some(307)));
    assert_eq!(delivery.tries, 3);
    assert!(receiver.seen().iter().all(|seen| seen.uri == "/hook?q=1"));
}

#[tokio::test]
async fn a_target_that_says_nothing_is_left_after_the_time_of_a_try() {
    let receiver = Receiver::start(&[Given::Silence, Given::Status(200)]).await;
    let settings = config::Notifier {
        try_timeout: Duration::from_millis(200),
        attempts: 1,
        ..settings()
    };

    let silent = deliver(&settings, &receiver.url).await;
    let again = deliver(&settings, &receiver.url).await;

    assert!(matches!(silent.last, Err(Error::TimedOut)));
    assert_eq!(again.last.unwrap(), 200);
}

#[tokio::test]
async fn a_target_that_is_not_there_is_unreachable() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap());
    drop(listener);

    let delivery = deliver(&settings(), &url.parse().unwrap()).await;

    assert!(matches!(delivery.last, Err(Error::Unreachable(_))));
    assert_eq!(delivery.tries, 3);
}

#[tokio::test]
async fn an_answer_without_end_does_not_hold_the_delivery() {
    let receiver = Receiver::start(&[Given::LongBody]).await;

    let delivery = deliver(&settings(), &receiver.url).await;

    assert_eq!(delivery.last.unwrap(), 200);
}

#[tokio::test]
async fn a_pause_the_target_asks_for_is_kept() {
    for status in [429, 503] {
        let answers = [Given::RetryAfter(status, "1"), Given::Status(200)];
        let receiver = Receiver::start(&answers).await;

        let delivery = deliver(&settings(), &receiver.url).await;

        assert_eq!(delivery.last.unwrap(), 200);
        let seen = receiver.seen();
        let waited = seen[1].at - seen[0].at;
        assert!(waited >= Duration::from_millis(900), "{waited:?}");
        assert_ne!(
            seen[0].headers["webhook-timestamp"],
            seen[1].headers["webhook-timestamp"]
        );
    }
}

#[tokio::test]
async fn a_stop_ends_a_pause() {
    let receiver = Receiver::start(&[Given::Status(500)]).await;
    let settings = config::Notifier {
        backoff: HOUR,
        ..settings()
    };
    let stop = CancellationToken::new();

    let stopping = async {
        receiver.came.notified().await;
        stop.cancel();
    };
    let (delivered, ()) = tokio::join!(call(&settings, &receiver.url, &stop), stopping);

    assert_eq!(delivered.unwrap_err(), Stopped);
    assert_eq!(receiver.seen().len(), 1);
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
        let delivery = deliver(&settings, target).await;

        let error = delivery.last.unwrap_err();
        assert_eq!((error.code(), delivery.tries), ("address_refused", 1));
    }
    assert!(receiver.seen().is_empty());
}
