//! Tests what is known of a submit whose connection breaks, and where a key goes, against a server on bare sockets.

mod described_apis;
mod keys;
mod lookups;
mod schemas;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use serde_json::{Map, Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

use super::*;
use crate::domain::{Common, ErrorCode, ImageSpec};
use crate::engines::config::Config;

fn providers(base: &str) -> Providers {
    providers_in(base, None)
}

fn providers_in(base: &str, schemas: Option<PathBuf>) -> Providers {
    let own = [
        ("OPENAI_API_BASE_URL", base),
        ("FAL_API_BASE_URL", base),
        ("REPLICATE_API_BASE_URL", base),
        ("IMAGE_API_BASE_URL", base),
        ("OPENAI_API_KEY", "k"),
        ("FAL_API_KEY", "k"),
        ("REPLICATE_API_KEY", "k"),
        ("IMAGE_API_KEY", "k"),
    ];
    let settings = [&own[..], &described_apis::settings(base)].concat();
    let config = Config::of(&settings);
    Providers::new(&config.unwrap().worker, schemas).unwrap()
}

fn spec(name: ProviderName) -> Single {
    Single::Image(ImageSpec {
        common: Common {
            provider: Some(name),
            ..Common::new("a fox")
        },
        ..ImageSpec::default()
    })
}

const HOUR: Duration = Duration::from_secs(3600);

/// Returns the input that `spec` becomes.
fn input() -> Map<String, Value> {
    Map::from_iter([("prompt".to_owned(), json!("a fox"))])
}

/// Our id of a submit.
const KEY: &str = "r-1";

/// Submits to a server that handles its one connection with `server`; returns what is known of the submit.
async fn submit<F: Future<Output = ()> + Send>(
    name: ProviderName,
    go: Result<(), NotCurrent>,
    server: impl FnOnce(TcpStream) -> F + Send + 'static,
) -> Submission {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let base = format!("http://{}", listener.local_addr().unwrap());
    let providers = providers(&base);
    let spec = spec(name);
    let serving = async {
        let (socket, _) = listener.accept().await.unwrap();
        server(socket).await;
    };
    let provider = providers.of(spec.media(), name);
    let submitting = provider.submit(KEY, &spec, input(), HOUR, None, async move { go });
    let (submission, ()) = tokio::join!(submitting, serving);
    submission
}

/// Reads until `end` has been read.
async fn read_until(socket: &mut TcpStream, end: &[u8]) -> Vec<u8> {
    let mut read = Vec::new();
    while !read.windows(end.len()).any(|window| window == end) {
        let mut piece = [0; 4096];
        match socket.read(&mut piece).await {
            Ok(0) | Err(_) => break,
            Ok(count) => read.extend_from_slice(&piece[..count]),
        }
    }
    read
}

#[tokio::test]
async fn replicate_ends_a_job_some_time_after_its_deadline_by_itself() {
    let (sender, read) = tokio::sync::oneshot::channel();

    submit(ProviderName::REPLICATE, Ok(()), async move |mut socket| {
        let bytes = read_until(&mut socket, b"a fox").await;
        sender.send(bytes).unwrap();
    })
    .await;

    let head = String::from_utf8(read.await.unwrap())
        .unwrap()
        .to_lowercase();
    let seconds = (HOUR + replicate::LATER).as_secs();
    assert!(
        head.contains(&format!("\r\ncancel-after: {seconds}s\r\n")),
        "{head}"
    );
}

#[tokio::test]
async fn a_connection_that_breaks_leaves_unknown_whether_the_job_was_accepted() {
    for name in described_apis::names() {
        let amidst_head = submit(name, Ok(()), async |mut socket| {
            socket.read_exact(&mut [0; 10]).await.unwrap();
        })
        .await;
        let after_body = submit(name, Ok(()), async |mut socket| {
            read_until(&mut socket, b"a fox").await;
        })
        .await;
        let amidst_answer = submit(name, Ok(()), async |mut socket| {
            read_until(&mut socket, b"a fox").await;
            let answer = b"HTTP/1.1 400 Bad Request\r\ncontent-length: 100\r\n\r\n{\"de";
            socket.write_all(answer).await.unwrap();
        })
        .await;

        for known in [amidst_head, after_body, amidst_answer] {
            assert!(matches!(known, Submission::Unknown(_)), "{known:?}");
        }
    }
}

/// Whether the client sees the end of the connection before it writes is a race; its result must fit what it saw.
#[tokio::test]
async fn a_connection_that_breaks_before_a_byte_was_written_leaves_nothing_unknown() {
    for round in 0..30 {
        let name = described_apis::names()[round % 4];
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let base = format!("http://{}", listener.local_addr().unwrap());
        let providers = providers(&base);
        let spec = spec(name);
        let begun = Arc::new(AtomicBool::new(false));
        let asked = begun.clone();
        let go = async move {
            asked.store(true, Ordering::Release);
            Ok(())
        };

        let ending = async { drop(listener.accept().await.unwrap()) };
        let provider = providers.of(spec.media(), name);
        let submitting = provider.submit(KEY, &spec, input(), HOUR, None, go);
        let (known, ()) = tokio::join!(submitting, ending);

        let nothing_open = matches!(known, Submission::NotAccepted { .. });
        let open = matches!(known, Submission::Unknown(_));
        assert!(nothing_open || open, "{known:?}");
        assert_eq!(begun.load(Ordering::Acquire), open, "{known:?}");
    }
}

#[tokio::test]
async fn an_api_that_cannot_cancel_is_not_called() {
    let config = Config::of(&[]).unwrap();
    let providers = Providers::new(&config.worker, None).unwrap();
    let provider = providers.of(Media::Image, ProviderName::OPENAI);

    let cancelled = provider.cancel(&provider.job("j")).await;

    // A call would fail: there is no key.
    assert!(cancelled.is_ok(), "{cancelled:?}");
}

/// With TLS, a request's bytes follow a handshake.
#[tokio::test]
async fn a_connection_that_breaks_in_the_handshake_leaves_nothing_unknown() {
    for name in described_apis::names() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let base = format!("https://{}", listener.local_addr().unwrap());
        let providers = providers(&base);
        let spec = spec(name);

        let breaking = async {
            let (mut socket, _) = listener.accept().await.unwrap();
            socket.read_exact(&mut [0; 10]).await.unwrap();
        };
        let provider = providers.of(spec.media(), name);
        let submitting = provider.submit(KEY, &spec, input(), HOUR, None, async { Ok(()) });
        let (known, ()) = tokio::join!(submitting, breaking);

        assert!(matches!(known, Submission::NotAccepted { .. }), "{known:?}");
    }
}

#[tokio::test]
async fn without_a_server_no_job_was_accepted() {
    for name in described_apis::names() {
        let providers = providers("http://127.0.0.1:1");
        let spec = spec(name);

        let known = providers
            .of(spec.media(), name)
            .submit(KEY, &spec, input(), HOUR, None, async { Ok(()) })
            .await;

        assert!(matches!(known, Submission::NotAccepted { .. }), "{known:?}");
    }
}

#[tokio::test]
async fn the_body_is_withheld_if_the_attempt_is_not_current() {
    for name in described_apis::names() {
        let (sender, receiver) = tokio::sync::oneshot::channel();
        let known = submit(name, Err(NotCurrent), async move |mut socket| {
            sender
                .send(read_until(&mut socket, b"a fox").await)
                .unwrap();
        })
        .await;

        assert!(matches!(known, Submission::Withheld(_)), "{known:?}");
        let read = receiver.await.unwrap();
        assert!(!read.windows(5).any(|window| window == b"a fox"));
    }
}

#[tokio::test]
async fn a_job_goes_to_the_provider_that_has_it_and_its_key_goes_nowhere_else() {
    let providers = providers("http://127.0.0.1:1");
    let job = Job {
        provider: ProviderName::FAL,
        kind: Media::Image,
        id: "j".to_owned(),
        status_url: "http://elsewhere.example/status".to_owned(),
        result_url: String::new(),
        cancel_url: String::new(),
        called_back: false,
        cost_microusd: None,
    };

    let fal = providers.that_has(&job);

    assert_eq!(fal.name(), ProviderName::FAL);
    assert!(matches!(fal.poll(&job).await, Err(Error::Unreadable(_))));
    assert!(!format!("{:?}", fal.credential()).contains('k'));
}

/// Calls `ask` with a job of provider `name`, at a server that answers one request with `answer`.
async fn asked<T>(
    name: ProviderName,
    answer: &str,
    ask: impl AsyncFnOnce(&Provider, &Job) -> T,
) -> T {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let base = format!("http://{}", listener.local_addr().unwrap());
    let providers = providers(&base);
    let job = Job {
        provider: name,
        kind: Media::Image,
        id: "j".to_owned(),
        status_url: format!("{base}/status"),
        result_url: format!("{base}/result"),
        cancel_url: format!("{base}/cancel"),
        called_back: false,
        cost_microusd: None,
    };
    let answering = async {
        let (mut socket, _) = listener.accept().await.unwrap();
        read_until(&mut socket, b"\r\n\r\n").await;
        let head = "HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length:";
        let answer = format!("{head} {}\r\n\r\n{answer}", answer.len());
        socket.write_all(answer.as_bytes()).await.unwrap();
    };
    let provider = providers.that_has(&job);
    let (result, ()) = tokio::join!(ask(&provider, &job), answering);
    result
}

#[tokio::test]
async fn a_cancel_is_done_whatever_its_answer_says() {
    for name in [ProviderName::REPLICATE, ProviderName::FAL] {
        for answer in ["", "gone"] {
            let done = asked(name, answer, async |provider, job| {
                provider.cancel(job).await
            })
            .await;

            assert!(done.is_ok(), "{done:?}");
        }
    }
}

#[tokio::test]
async fn outputs_that_replicate_has_deleted_are_not_available() {
    let answer = r#"{"id": "j", "status": "succeeded", "data_removed": true, "output": null}"#;

    let polled = asked(ProviderName::REPLICATE, answer, async |provider, job| {
        provider.poll(job).await
    })
    .await;

    let Ok(Poll::Failed(error)) = polled else {
        panic!("{polled:?}")
    };
    assert_eq!(error.code, ErrorCode::ResultUnavailable);
}

/// Replicate ends a job that has not begun by its deadline as `aborted`.
#[tokio::test]
async fn a_job_that_replicate_cancels_or_aborts_has_failed() {
    for status in ["canceled", "aborted"] {
        let answer = json!({"id": "j", "status": status, "output": null}).to_string();

        let polled = asked(ProviderName::REPLICATE, &answer, async |provider, job| {
            provider.poll(job).await
        })
        .await;

        let Ok(Poll::Failed(error)) = polled else {
            panic!("{polled:?}")
        };
        assert_eq!(
            (error.code, error.retryable),
            (ErrorCode::ProviderFailed, true)
        );
    }
}

/// The status says so at once, so the result is not fetched: the server answers only one request.
#[tokio::test]
async fn a_completed_job_of_fal_with_an_error_has_failed() {
    let flagged = json!({"status": "COMPLETED", "error": "flagged by the safety checker"});
    let gone = json!({"status": "COMPLETED", "error": "gone", "error_type": "runner_disconnected"});
    for (answer, code, retryable) in [
        (flagged, ErrorCode::ContentPolicy, false),
        (gone, ErrorCode::ProviderFailed, true),
    ] {
        let polled = asked(
            ProviderName::FAL,
            &answer.to_string(),
            async |provider, job| provider.poll(job).await,
        )
        .await;

        let Ok(Poll::Failed(error)) = polled else {
            panic!("{polled:?}")
        };
        assert_eq!((error.code, error.retryable), (code, retryable));
    }
}

#[tokio::test]
async fn without_a_key_a_provider_is_not_asked_about_its_jobs() {
    let config = Config::of(&[]).unwrap();
    let providers = Providers::new(&config.worker, None).unwrap();
    let fal = providers.of(Media::Video, ProviderName::FAL);
    let job = Job {
        provider: ProviderName::FAL,
        kind: Media::Video,
        id: "j".to_owned(),
        status_url: String::new(),
        result_url: String::new(),
        cancel_url: String::new(),
        called_back: false,
        cost_microusd: None,
    };

    let polled = fal.poll(&job).await.map(|_| ());
    let cancelled = fal.cancel(&job).await;
    let found = fal.find(KEY, 0).await.map(|_| ());

    for answer in [polled, cancelled, found] {
        let error = answer.unwrap_err();
        assert!(matches!(error, Error::NoKey { .. }), "{error:?}");
        assert_eq!(
            error.to_string(),
            "there is no key for fal: FAL_API_KEY is not set"
        );
    }
}

#[tokio::test]
async fn a_providers_name_for_the_state_of_a_job_is_cut() {
    let long = "\u{f6}".repeat(100_000);
    let answer = json!({"id": "j", "status": long, "request_id": "j"}).to_string();
    for name in described_apis::names() {
        let polled = asked(name, &answer, async |provider, job| {
            provider.poll(job).await
        })
        .await;

        let Ok(Poll::Running { stage, known, .. }) = polled else {
            panic!("{polled:?}");
        };
        assert_eq!((stage.chars().count(), known), (100, false), "{name:?}");
    }
}

#[tokio::test]
async fn an_address_that_is_not_the_providers_or_too_long_is_not_kept() {
    let long = format!("http://127.0.0.1:1/{}", "x".repeat(2048));
    let urls = json!({"get": long, "cancel": "http://elsewhere.example/cancel"});
    let taken =
        json!({"id": "j", "status": "starting", "urls": urls, "input": {"genflow_id": "r-1"}});
    let list = json!({"results": [taken]}).to_string();

    let found = asked(ProviderName::REPLICATE, &list, async |provider, _| {
        provider.find(KEY, 0).await
    })
    .await;

    let job = found.unwrap().unwrap();
    assert_eq!((&*job.status_url, &*job.cancel_url), ("", ""));
    let provider = providers("http://127.0.0.1:1");
    let provider = provider.that_has(&job);
    let (fits, long) = (long.get(..2048).unwrap(), long.get(..2049).unwrap());
    assert_eq!(provider.own(fits).as_deref(), Some(fits));
    assert_eq!(provider.own(long), None);
}

#[test]
fn a_refusal_by_replicate_names_the_inputs() {
    let body = json!({"title": "Input validation failed", "detail": "- input.x: no\n", "status": 422,
        "invalid_fields": [{"type": "enum", "field": "input.x", "description": "x must be 1"}]});

    let said = replicate::said(body.to_string().as_bytes());
    let safety = body
        .to_string()
        .replace("input.x", "input.safety_tolerance");
    let of_safety = replicate::said(safety.as_bytes());
    assert_eq!(of_safety.code, Some(ErrorCode::InvalidRequest));

    let [problem] = said.problems.as_slice() else {
        panic!("{said:?}");
    };
    assert_eq!(
        (problem.field.as_str(), problem.hint.as_deref()),
        ("x", Some("x must be 1"))
    );
}

#[test]
fn outputs_that_come_with_the_answer_hold_memory_by_their_number() {
    let providers = providers("http://127.0.0.1:1");
    let held = |name, count| {
        let mut spec = spec(name);
        if let Single::Image(image) = &mut spec {
            image.num_images = Some(count);
        }
        providers.of(spec.media(), name).hold(&spec)
    };

    let first: Vec<_> = (0..8)
        .map(|_| held(ProviderName::OPENAI, 16).unwrap())
        .collect();
    assert!(held(ProviderName::OPENAI, 1).is_none());
    assert!(
        held(ProviderName::REPLICATE, 16).is_some(),
        "its answer is a job"
    );
    drop(first);
}
