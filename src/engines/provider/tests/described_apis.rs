//! What an API says that is spoken by description.

use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpListener;

use super::{asked, providers};
use crate::contract::run::Job;
use crate::domain::model::Charge;
use crate::domain::{ErrorCode, Media, ProviderName};
use crate::engines::provider::{Error, Poll, Submission};
use crate::engines::storage::Source;

/// The file that describes them.
const DESCRIBED: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/providers.toml");

/// Returns the settings for the described APIs at this base URL.
pub(super) fn settings(base: &str) -> [(&str, &str); 9] {
    [
        ("PROVIDERS_FILE", DESCRIBED),
        ("BFL_API_BASE_URL", base),
        ("BFL_API_KEY", "k"),
        ("GOOGLE_API_BASE_URL", base),
        ("GOOGLE_API_KEY", "k"),
        ("COMFYUI_API_BASE_URL", base),
        ("LUMA_API_BASE_URL", base),
        ("LUMA_API_KEY", "k"),
        ("ACME_API_BASE_URL", base),
    ]
}

fn described(name: &str) -> ProviderName {
    ProviderName::parse("provider", name).unwrap()
}

/// Returns the native providers, and one that is described.
pub(super) fn names() -> [ProviderName; 4] {
    let [one, two, three] = ProviderName::NATIVE;
    [one, two, three, described("bfl")]
}

async fn polled(name: &str, answer: &str) -> Result<Poll, Error> {
    let poll = async |provider: &super::Provider, job: &Job| provider.poll(job).await;
    asked(described(name), answer, poll).await
}

async fn failed(name: &str, answer: &str) -> (ErrorCode, String) {
    match polled(name, answer).await {
        Ok(Poll::Failed(error)) => (error.code, error.message),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn the_key_goes_only_to_the_api_and_the_hosts_that_its_description_lists() {
    let providers = providers("http://127.0.0.1:1");
    let bfl = providers.of(Media::Image, described("bfl"));

    for own in [
        "http://127.0.0.1:1/v1/get_result?id=j",
        "https://api.us1.bfl.ai/v1/get_result?id=j",
    ] {
        assert_eq!(bfl.own(own).as_deref(), Some(own));
    }
    for other in [
        "http://127.0.0.1:2/x",
        "http://api.us1.bfl.ai/x",
        "https://api.us1.bfl.ai:8443/x",
        "https://bfl.ai.example/x",
        "https://evil.example/api.bfl.ai",
        "https://api.bfl.ai@evil.example/x",
        "no url",
    ] {
        assert_eq!(bfl.own(other), None, "{other}");
    }
}

#[tokio::test]
async fn a_state_that_is_not_described_is_not_final() {
    for (answer, shown, is_known) in [
        (r#"{"status": "Pending"}"#, "Pending", true),
        (r#"{"status": "Task not found"}"#, "Task not found", false),
        ("{}", "running", false),
    ] {
        let polled = polled("bfl", answer).await;
        let Ok(Poll::Running { stage, known, .. }) = polled else {
            panic!("{polled:?}")
        };
        assert_eq!((stage.as_str(), known), (shown, is_known));
    }
    let polled = polled("google", r#"{"name": "models/x/operations/j"}"#).await;
    assert!(
        matches!(polled, Ok(Poll::Running { known: true, .. })),
        "{polled:?}"
    );
}

#[tokio::test]
async fn a_success_without_an_output_is_a_failure_with_its_reason() {
    let refused = r#"{"done": true, "response": {"generateVideoResponse": {"raiMediaFilteredReasons": ["a child"]}}}"#;
    let broken = r#"{"done": true, "error": {"code": 13, "message": "Internal error"}}"#;

    assert_eq!(
        failed("google", refused).await,
        (ErrorCode::ContentPolicy, "a child".to_owned())
    );
    assert_eq!(
        failed("google", broken).await,
        (ErrorCode::ProviderFailed, "Internal error".to_owned())
    );
    let (code, said) = failed("bfl", r#"{"status": "Ready", "result": null}"#).await;
    assert_eq!(
        (code, said.as_str()),
        (
            ErrorCode::ProviderFailed,
            "the job is done, but has no output"
        )
    );
}

#[tokio::test]
async fn a_download_gets_the_key_only_from_the_api_itself() {
    let with = |uri: &str| {
        let sample = format!(r#"{{"video": {{"uri": "{uri}"}}}}"#);
        format!(
            r#"{{"done": true, "response": {{"generateVideoResponse": {{"generatedSamples": [{sample}]}}}}}}"#
        )
    };
    let foreign = polled("google", &with("https://storage.example/a.mp4")).await;
    let Ok(Poll::Succeeded { outputs, .. }) = foreign else {
        panic!("{foreign:?}")
    };
    assert!(
        matches!(outputs.as_slice(), [Source::Open(_)]),
        "{outputs:?}"
    );

    let providers = providers("http://127.0.0.1:1");
    let google = providers.of(Media::Video, described("google"));
    let (name, value) = google.credential().unwrap();
    assert_eq!(
        (name.as_str(), value.to_str().unwrap()),
        ("x-goog-api-key", "k")
    );
    assert!(google.own("http://127.0.0.1:1/v1beta/files/a").is_some());
}

#[tokio::test]
async fn the_price_of_a_submit_is_that_of_the_job() {
    let answer = r#"{"status": "Ready", "result": {"sample": "https://d.bfl.ai/a.png"}}"#;
    let poll = async |provider: &super::Provider, job: &Job| {
        let job = Job {
            cost_microusd: Some(45_000),
            ..job.clone()
        };
        provider.poll(&job).await
    };

    let polled = asked(described("bfl"), answer, poll).await;

    let Ok(Poll::Succeeded { charge, .. }) = polled else {
        panic!("{polled:?}")
    };
    assert_eq!(charge, Some(Charge::Usd(0.045)));
}

#[tokio::test]
async fn a_provider_that_is_not_configured_is_called_by_nobody_here() {
    let providers = providers("http://127.0.0.1:1");
    let unknown = providers.of(Media::Image, described("closed"));
    let job = unknown.job("j");

    assert!(unknown.can_find());
    for outcome in [
        unknown.is_configured(),
        unknown.poll(&job).await.map(drop),
        unknown.cancel(&job).await,
        unknown.find(super::KEY, 0).await.map(drop),
    ] {
        assert!(
            matches!(outcome, Err(Error::NotConfigured(_))),
            "{outcome:?}"
        );
    }
}

#[tokio::test]
async fn params_cannot_replace_what_the_description_fixes_in_the_body() {
    let providers = providers("http://127.0.0.1:1");
    let luma = providers.of(Media::Image, described("luma"));
    for name in ["model", "modify_image_ref"] {
        let mut input = super::input();
        input.insert("image".to_owned(), "https://files.example/a.png".into());
        input.insert(name.to_owned(), "ray-2".into());

        let spec = super::spec(described("luma"));
        let go = async { Ok(()) };
        let known = luma
            .submit(super::KEY, &spec, input, super::HOUR, None, go)
            .await;

        let Submission::Refused(error) = known else {
            panic!("{known:?}")
        };
        assert_eq!(error.code, ErrorCode::InvalidRequest);
        let says = format!("params.{name}: the description fixes this part of the body");
        assert!(error.message.starts_with(&says), "{}", error.message);
    }
}

/// The answer is in memory as a whole, so it counts in the memory of all long answers until its outputs are stored.
#[tokio::test]
async fn outputs_inside_an_answer_keep_the_memory_of_long_answers() {
    for (length, is_held) in [(100, false), (200_000, true)] {
        let answer = format!(r#"{{"state": "done", "file": "{}"}}"#, "A".repeat(length));

        let polled = polled("acme", &answer).await;

        let Ok(Poll::Succeeded { outputs, held, .. }) = polled else {
            panic!("{polled:?}")
        };
        assert!(matches!(outputs.as_slice(), [Source::Inline(_)]));
        assert_eq!(!held.is_empty(), is_held, "{length}");
    }
}

/// Looks a job up at a server with this answer; returns the job's id, and the path that was asked.
async fn looked_up(status: &str, body: &str) -> (Result<Option<String>, Error>, String) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let base = format!("http://{}", listener.local_addr().unwrap());
    let acme = providers(&base).of(Media::Image, described("acme"));
    let answering = async {
        let (mut socket, _) = listener.accept().await.unwrap();
        let read = super::read_until(&mut socket, b"\r\n\r\n").await;
        let head = format!("HTTP/1.1 {status}\r\nconnection: close\r\ncontent-length:");
        let answer = format!("{head} {}\r\n\r\n{body}", body.len());
        socket.write_all(answer.as_bytes()).await.unwrap();
        String::from_utf8(read).unwrap()
    };
    let (found, asked) = tokio::join!(acme.find("r-1/1", 0), answering);
    let path = asked.split(' ').nth(1).unwrap().to_owned();
    (found.map(|job| job.map(|job| job.id)), path)
}

#[tokio::test]
async fn an_api_with_a_look_up_is_asked_by_our_id_and_only_its_own_word_proves_absence() {
    let acme = providers("http://127.0.0.1:1").of(Media::Image, described("acme"));
    assert!(acme.can_find());

    let (found, path) = looked_up("200 OK", r#"{"jobs": [{"id": 7}]}"#).await;

    assert_eq!(found.unwrap().as_deref(), Some("7"));
    assert_eq!(path, "/jobs?reference=r-1/1");
    for (status, body) in [("200 OK", r#"{"jobs": []}"#), ("404 Not Found", "")] {
        let (found, _) = looked_up(status, body).await;
        assert_eq!(found.unwrap(), None, "{status}");
    }
    for (status, body) in [
        ("500 Internal Server Error", ""),
        ("403 Forbidden", ""),
        ("200 OK", "<html>"),
        ("200 OK", r#"{"jobs": [{"id": {}}]}"#),
    ] {
        let (found, _) = looked_up(status, body).await;
        assert!(found.is_err(), "{status} {body}: {found:?}");
    }
}

#[tokio::test]
async fn our_id_goes_in_the_header_that_the_description_names() {
    let (sender, head) = tokio::sync::oneshot::channel();
    let known = super::submit(described("acme"), Ok(()), async move |mut socket| {
        let head = super::read_until(&mut socket, b"a fox").await;
        sender.send(String::from_utf8(head).unwrap()).unwrap();
    })
    .await;

    assert!(matches!(known, Submission::Unknown(_)), "{known:?}");
    let head = head.await.unwrap();
    for name in ["idempotency-key", "x-request-key"] {
        assert!(
            head.contains(&format!("{name}: {}\r\n", super::KEY)),
            "{head}"
        );
    }
}
