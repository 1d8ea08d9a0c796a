//! Messages over real HTTP.

use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response as Answered};
use tokio::net::TcpListener;

use super::*;
use crate::domain::{Event, Generated, Output};
use crate::engines::config::Config;
use crate::roles::notifier::testing::event;

/// A fake Slack: gives these answers in order, then repeats the last one.
struct Slack {
    url: Url,
    shared: Arc<Shared>,
}

struct Shared {
    answers: Vec<Given>,
    seen: Mutex<Vec<(Value, Instant)>>,
}

#[derive(Clone, Copy)]
enum Given {
    Says(u16, &'static str),
    RetryAfter(u16, &'static str),
    Silence,
    WithoutEnd,
    Stalls,
}

impl Slack {
    async fn start(answers: &[Given]) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let shared = Arc::new(Shared {
            answers: answers.to_vec(),
            seen: Mutex::default(),
        });
        let router = Router::new().fallback(answer).with_state(shared.clone());
        tokio::spawn(async move { axum::serve(listener, router).await });
        Self {
            url: format!("http://{address}/services/T0/B0/topsecret")
                .parse()
                .unwrap(),
            shared,
        }
    }

    fn seen(&self) -> Vec<(Value, Instant)> {
        self.shared.seen.lock().unwrap().clone()
    }
}

async fn answer(State(slack): State<Arc<Shared>>, request: Request) -> Answered {
    assert_eq!(request.headers()["content-type"], "application/json");
    let body = axum::body::to_bytes(request.into_body(), usize::MAX).await;
    let message: Value = serde_json::from_slice(&body.unwrap()).unwrap();
    let nth = {
        let mut seen = slack.seen.lock().unwrap();
        seen.push((message, Instant::now()));
        seen.len() - 1
    };
    let status = |status| StatusCode::from_u16(status).unwrap();
    match slack.answers[nth.min(slack.answers.len() - 1)] {
        Given::Says(code, body) => (status(code), body).into_response(),
        Given::RetryAfter(code, after) => (status(code), [("retry-after", after)]).into_response(),
        Given::Silence => std::future::pending().await,
        Given::Stalls => {
            let body = futures::stream::pending::<Result<Bytes, std::io::Error>>();
            Body::from_stream(body).into_response()
        }
        Given::WithoutEnd => "ok".repeat(10_000_000).into_response(),
    }
}

fn open() -> config::Egress {
    config::Egress {
        allow_private: true,
        allow_http: true,
        ports: config::Ports::Any,
    }
}

fn settings() -> config::Notifier {
    config::Notifier {
        egress: open(),
        slack_hosts: vec!["127.0.0.1".to_owned()],
        try_timeout: Duration::from_secs(20),
        ..Config::of(&[]).unwrap().notifier
    }
}

async fn send(sender: &Sender, event: &Event, to: &Url) -> Tried {
    try_send(sender, event, to).await.unwrap()
}

async fn try_send(sender: &Sender, event: &Event, to: &Url) -> Result<Tried, NotNow> {
    let notice = Notice {
        event,
        traceparent: None,
    };
    sender.turn(to).await?;
    sender.send(&notice, to, sender.try_time).await
}

/// Returns how an attempt ended: its kind, status, code and the pause asked for.
fn ended(tried: &Tried) -> (&'static str, Option<u16>, &str, Option<u64>) {
    match tried {
        Tried::Delivered(status) => ("delivered", Some(*status), "", None),
        Tried::Refused { status, error } => ("refused", *status, &error.code, None),
        Tried::Later {
            status,
            error,
            again_in,
        } => {
            let seconds = again_in.map(|pause| pause.as_secs());
            ("later", *status, &error.code, seconds)
        }
    }
}

fn with_image() -> Event {
    let output = Output {
        uri: "s3://renders/a.png".to_owned(),
        url: Some("https://renders.example.com/a.png".to_owned()),
        content_type: "image/png".to_owned(),
        bytes: 1,
        sha256: "0".repeat(64),
        width: None,
        height: None,
        duration_seconds: None,
    };
    let result = Generated {
        outputs: vec![output],
        provider: "replicate".to_owned(),
        provider_job_id: "job".to_owned(),
        elapsed_ms: 1,
        cost_usd: None,
        cost_source: None,
        sent: None,
        notes: Vec::new(),
        model: None,
    };
    Event {
        result: Some(result),
        ..event()
    }
}

#[tokio::test]
async fn slack_gets_the_message_of_the_event() {
    let slack = Slack::start(&[Given::Says(200, "ok")]).await;
    let sender = Sender::new(&settings()).unwrap();

    let tried = send(&sender, &event(), &slack.url).await;

    assert_eq!(tried, Tried::Delivered(200));
    let (reported, _) = slack.seen().remove(0);
    assert_eq!(reported, message(&event()));
}

#[tokio::test]
async fn each_answer_of_slack_has_its_result() {
    use Given::{RetryAfter, Says};
    for (given, expected) in [
        (Says(200, "ok"), ("delivered", Some(200), "", None)),
        (
            Says(400, "invalid_payload"),
            ("refused", Some(400), "refused", None),
        ),
        (
            Says(403, "action_prohibited"),
            ("refused", Some(403), "refused", None),
        ),
        (
            Says(404, "no_service"),
            ("refused", Some(404), "gone", None),
        ),
        (
            Says(410, "channel_is_archived"),
            ("refused", Some(410), "gone", None),
        ),
        (Says(408, ""), ("later", Some(408), "target_failed", None)),
        (
            Says(500, "rollup_error"),
            ("later", Some(500), "target_failed", None),
        ),
        (Says(302, ""), ("later", Some(302), "redirected", None)),
        (
            RetryAfter(429, "30"),
            ("later", Some(429), "throttled", Some(30)),
        ),
        (
            RetryAfter(503, "7"),
            ("later", Some(503), "target_failed", Some(7)),
        ),
        // The schedule caps pauses of a day or longer.
        (
            RetryAfter(429, "86400"),
            ("later", Some(429), "throttled", Some(86400)),
        ),
        (
            RetryAfter(503, "18446744073709551615"),
            ("later", Some(503), "target_failed", Some(u64::MAX)),
        ),
        (Given::WithoutEnd, ("delivered", Some(200), "", None)),
    ] {
        let slack = Slack::start(&[given]).await;
        let sender = Sender::new(&settings()).unwrap();

        let tried = send(&sender, &event(), &slack.url).await;

        assert_eq!(ended(&tried), expected);
        assert_eq!(slack.seen().len(), 1);
    }
}

#[tokio::test]
async fn an_answer_whose_body_stalls_is_soon_judged_by_its_status() {
    let slack = Slack::start(&[Given::Stalls]).await;
    let settings = config::Notifier {
        try_timeout: Duration::from_secs(600),
        ..settings()
    };
    let sender = Sender::new(&settings).unwrap();

    let event = event();
    let tried = timeout(Duration::from_secs(60), send(&sender, &event, &slack.url)).await;

    let tried = tried.expect("the attempt does not wait for the end of the answer");
    assert_eq!(tried, Tried::Delivered(200));
    assert_eq!(slack.seen().len(), 1);
}

#[tokio::test]
async fn only_slacks_own_error_codes_are_reported() {
    for (answer, reported) in [
        (
            "no_service",
            "Slack does not accept this webhook: status 404 (no_service)",
        ),
        (
            "no_service of topsecret",
            "Slack does not accept this webhook: status 404",
        ),
    ] {
        let slack = Slack::start(&[Given::Says(404, answer)]).await;
        let sender = Sender::new(&settings()).unwrap();

        let tried = send(&sender, &event(), &slack.url).await;

        let Tried::Refused { error, .. } = tried else {
            panic!("{tried:?}");
        };
        assert_eq!(error.message, reported);
    }
}

#[tokio::test]
async fn a_message_refused_for_its_images_is_sent_without_them() {
    let slack = Slack::start(&[Given::Says(400, "invalid_blocks"), Given::Says(200, "ok")]).await;
    let sender = Sender::new(&settings()).unwrap();

    let began = Instant::now();
    let tried = send(&sender, &with_image(), &slack.url).await;

    assert_eq!(tried, Tried::Delivered(200));
    let seen = slack.seen();
    assert!(seen[0].0.to_string().contains("image_url"));
    assert!(!seen[1].0.to_string().contains("image_url"));
    assert!(seen[1].1 - began >= pace::INTERVAL);
}

#[tokio::test]
async fn messages_to_one_target_leave_a_second_apart() {
    let slack = Slack::start(&[Given::Says(200, "ok")]).await;
    let mut other = slack.url.clone();
    other.set_path("/services/T0/B1/other");
    let sender = Sender::new(&settings()).unwrap();
    let event = event();

    let began = Instant::now();
    let (first, elsewhere, second) = tokio::join!(
        send(&sender, &event, &slack.url),
        send(&sender, &event, &other),
        send(&sender, &event, &slack.url)
    );

    for tried in [first, elsewhere, second] {
        assert_eq!(tried, Tried::Delivered(200));
    }
    let last = slack.seen()[2].1;
    assert!(last - began >= pace::INTERVAL, "{:?}", last - began);
}

#[tokio::test]
async fn a_message_that_would_wait_too_long_is_not_sent_now() {
    let slack = Slack::start(&[Given::RetryAfter(429, "60"), Given::Says(200, "ok")]).await;
    let sender = Sender::new(&settings()).unwrap();

    let throttled = send(&sender, &event(), &slack.url).await;
    let held = try_send(&sender, &event(), &slack.url).await;

    assert_eq!(
        ended(&throttled),
        ("later", Some(429), "throttled", Some(60))
    );
    let NotNow(pause) = held.unwrap_err();
    assert!(pause > Duration::from_secs(20), "{pause:?}");
    assert_eq!(slack.seen().len(), 1);
}

#[tokio::test]
async fn an_attempt_at_a_silent_target_ends_at_its_time_out() {
    let slack = Slack::start(&[Given::Silence]).await;
    let settings = config::Notifier {
        try_timeout: Duration::from_millis(300),
        ..settings()
    };

    let tried = send(&Sender::new(&settings).unwrap(), &event(), &slack.url).await;

    assert_eq!(ended(&tried), ("later", None, "timed_out", None));
}

#[tokio::test]
async fn an_unreachable_target_is_retried_later() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap());
    drop(listener);

    let tried = send(
        &Sender::new(&settings()).unwrap(),
        &event(),
        &url.parse().unwrap(),
    )
    .await;

    assert_eq!(ended(&tried), ("later", None, "unreachable", None));
}

#[tokio::test]
async fn only_allowed_hosts_are_called_and_only_over_https_at_public_addresses() {
    let slack = Slack::start(&[Given::Says(200, "ok")]).await;
    let port = slack.url.port().unwrap();
    let own = settings();
    let public = config::Notifier {
        egress: Config::of(&[]).unwrap().notifier.egress,
        slack_hosts: ["hooks.slack.com", "127.0.0.1", "localhost"]
            .map(str::to_owned)
            .to_vec(),
        ..settings()
    };
    for (settings, url, code) in [
        (&own, format!("http://localhost:{port}/"), "host_refused"),
        (
            &own,
            format!("http://user@localhost:{port}/"),
            "host_refused",
        ),
        (
            &own,
            format!("http://127.0.0.1.example:{port}/"),
            "host_refused",
        ),
        (
            &public,
            "http://hooks.slack.com/services/T/B/x".to_owned(),
            "address_refused",
        ),
        (
            &public,
            format!("https://127.0.0.1:{port}/"),
            "address_refused",
        ),
        (
            &public,
            format!("https://localhost:{port}/"),
            "address_refused",
        ),
    ] {
        let tried = send(
            &Sender::new(settings).unwrap(),
            &event(),
            &url.parse().unwrap(),
        )
        .await;

        assert_eq!(ended(&tried), ("refused", None, code, None), "{url}");
    }
    assert!(slack.seen().is_empty());
}
