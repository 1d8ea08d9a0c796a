//! Which callbacks verify, and when keys are read.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use base64::engine::general_purpose::STANDARD;
use reqwest::header::HeaderValue;
use ring::signature::{Ed25519KeyPair, KeyPair as _};
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpListener;

use super::*;
use crate::domain::standard_webhooks::sign;
use crate::domain::{Common, ImageSpec, RequestId, Single};
use crate::engines::config::Config;
use crate::engines::provider::Submission;

const NOW: i64 = 1_796_046_707_505;
const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
const BODY: &[u8] = br#"{"id": "j"}"#;

fn providers(settings: &[(&str, &str)]) -> Providers {
    let known = [
        ("CALLBACK_URL", "https://callbacks.example/base/"),
        ("VIDEO_API_KEY", "video-key"),
        ("IMAGE_API_KEY", "image-key"),
        ("FAL_API_KEY", "fal-key"),
    ];
    let config = Config::of(&[&known, settings].concat()).unwrap();
    Providers::new(&config.worker, None).unwrap()
}

fn run(number: u32) -> WorkflowId {
    RequestId::try_from("r-1".to_owned()).unwrap().run(number)
}

fn token(url: &str) -> &str {
    url.rsplit('/').nth(1).unwrap()
}

/// Serves `answer` to all requests; returns the base URL, and how many there were.
async fn server(answer: String) -> (String, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let base = format!("http://{}", listener.local_addr().unwrap());
    let count = Arc::new(AtomicUsize::new(0));
    let counted = count.clone();
    tokio::spawn(async move {
        loop {
            let (mut socket, _) = listener.accept().await.unwrap();
            counted.fetch_add(1, Ordering::SeqCst);
            let mut head = [0; 4096];
            tokio::io::AsyncReadExt::read(&mut socket, &mut head)
                .await
                .unwrap();
            socket.write_all(answer.as_bytes()).await.unwrap();
        }
    });
    (base, count)
}

fn ok(body: &str) -> String {
    let head = "HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length:";
    format!("{head} {}\r\n\r\n{body}", body.len())
}

#[tokio::test]
async fn a_callback_is_asked_for_with_the_token_of_the_account_and_the_workflow() {
    let providers = providers(&[("REPLICATE_WEBHOOK_SECRET", SECRET)]);
    let of_videos = providers.of(Media::Video, ProviderName::REPLICATE);

    let url = of_videos.callback(&run(1)).await.unwrap();

    let start = "https://callbacks.example/base/callbacks/replicate/";
    assert!(url.starts_with(start) && url.ends_with("/r-1~1"), "{url}");
    let of_images = providers.of(Media::Image, ProviderName::REPLICATE);
    let other = of_images.callback(&run(1)).await.unwrap();
    let (token, other) = (token(&url), token(&other));
    let account = |name, run, token: &str| providers.called_back(name, &run, token);
    let found = account(ProviderName::REPLICATE, run(1), token).unwrap();
    assert_eq!(found.kind(), Media::Video);
    let found = account(ProviderName::REPLICATE, run(1), other).unwrap();
    assert_eq!(found.kind(), Media::Image);
    for (name, run, token) in [
        (ProviderName::REPLICATE, run(0), token),
        (ProviderName::FAL, run(1), token),
        (ProviderName::REPLICATE, run(1), ""),
        (ProviderName::REPLICATE, run(1), "*"),
    ] {
        let refused = account(name, run, token).map(|_| ());
        assert_eq!(refused, Err(Refused::Forged), "{name:?} {token}");
    }
}

#[tokio::test]
async fn none_is_asked_for_of_a_provider_without_callbacks_or_without_a_key() {
    let secret = ("REPLICATE_WEBHOOK_SECRET", SECRET);
    let openai = providers(&[("OPENAI_API_KEY", "k")]).of(Media::Image, ProviderName::OPENAI);
    let keyless = providers(&[secret, ("VIDEO_API_KEY", "")]);
    let keyless = keyless.of(Media::Video, ProviderName::REPLICATE);
    let off = providers(&[secret, ("CALLBACK_URL", "")]);
    let off = off.of(Media::Video, ProviderName::REPLICATE);

    for provider in [openai, keyless, off] {
        assert_eq!(provider.callback(&run(0)).await, None);
    }
}

#[tokio::test]
async fn a_server_that_has_no_secret_is_asked_for_it_once_and_for_no_callback() {
    let not_found = "HTTP/1.1 404 Not Found\r\nconnection: close\r\ncontent-length: 0\r\n\r\n";
    let (base, count) = server(not_found.to_owned()).await;
    let cog = providers(&[("VIDEO_API_BASE_URL", &base)]);
    let cog = cog.of(Media::Video, ProviderName::REPLICATE);

    for _ in 0..3 {
        assert_eq!(cog.callback(&run(0)).await, None);
    }

    assert_eq!(count.load(Ordering::SeqCst), 1);
}

/// Returns the request line and the body of a submit that asks for a callback, and the job that it becomes.
async fn submitted(
    name: ProviderName,
    callback: Option<&str>,
) -> (String, serde_json::Value, bool) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let base = format!("http://{}", listener.local_addr().unwrap());
    let providers = providers(&[("IMAGE_API_BASE_URL", &base), ("FAL_API_BASE_URL", &base)]);
    let spec = Single::Image(ImageSpec {
        common: Common::new("a fox"),
        ..ImageSpec::default()
    });
    let answer = ok(r#"{"id": "j", "request_id": "j", "status": "starting"}"#);
    let serving = async {
        let (mut socket, _) = listener.accept().await.unwrap();
        let mut read = Vec::new();
        while !read.ends_with(b"}") {
            tokio::io::AsyncReadExt::read_buf(&mut socket, &mut read)
                .await
                .unwrap();
        }
        socket.write_all(answer.as_bytes()).await.unwrap();
        String::from_utf8(read).unwrap()
    };
    let provider = providers.of(Media::Image, name);
    let (run, input) = (run(0), serde_json::Map::new());
    let left = Duration::from_secs(60);
    let submitting = provider.submit(run.as_str(), &spec, input, left, callback, async { Ok(()) });
    let (submission, request) = tokio::join!(submitting, serving);
    let Submission::Accepted(job) = submission else {
        panic!("{submission:?}");
    };
    let (head, body) = request.split_once("\r\n\r\n").unwrap();
    let line = head.lines().next().unwrap().to_owned();
    (line, serde_json::from_str(body).unwrap(), job.called_back)
}

#[tokio::test]
async fn a_submit_names_the_url_as_each_provider_expects_it_and_the_job_keeps_that() {
    let url = "https://callbacks.example/callbacks/fal/a-b_/r-1~1?x=1&y";

    let (line, body, called_back) = submitted(ProviderName::REPLICATE, Some(url)).await;
    assert!(
        line.ends_with("/predictions HTTP/1.1") && called_back,
        "{line}"
    );
    assert_eq!(body["webhook"], url);
    assert_eq!(
        body["webhook_events_filter"],
        serde_json::json!(["completed"])
    );
    assert!(body["input"].get("webhook").is_none());

    let (line, body, called_back) = submitted(ProviderName::FAL, Some(url)).await;
    let escaped = "https%3A%2F%2Fcallbacks.example%2Fcallbacks%2Ffal%2Fa-b_%2Fr-1%7E1%3Fx%3D1%26y";
    assert!(
        line.ends_with(&format!("?fal_webhook={escaped} HTTP/1.1")) && called_back,
        "{line}"
    );
    assert_eq!(body, serde_json::json!({}));

    for name in [ProviderName::REPLICATE, ProviderName::FAL] {
        let (line, body, called_back) = submitted(name, None).await;
        assert!(!called_back && !line.contains('?'), "{line}");
        assert!(body.get("webhook").is_none() && body.get("webhook_events_filter").is_none());
    }
}

fn head_of(pairs: &[(&'static str, &str)]) -> HeaderMap {
    let pair = |(name, value): &(&'static str, &str)| {
        let name = reqwest::header::HeaderName::from_static(name);
        (name, HeaderValue::from_str(value).unwrap())
    };
    pairs.iter().map(pair).collect()
}

#[tokio::test]
async fn replicates_callbacks_are_verified_by_any_of_its_secrets() {
    let older = "whsec_AAECAwQFBgcICQoLDA0ODxAREhMUFRYX";
    let both = format!("{SECRET},{older}");
    let providers = providers(&[("REPLICATE_WEBHOOK_SECRET", &both)]);
    let replicate = providers.of(Media::Video, ProviderName::REPLICATE);
    let verified = async |secret: &str, at: i64| {
        let key = STANDARD
            .decode(secret.strip_prefix("whsec_").unwrap())
            .unwrap();
        let at = (NOW / 1000 + at).unsigned_abs();
        let headers = head_of(&[
            ("webhook-id", "msg_1"),
            ("webhook-timestamp", &at.to_string()),
            ("webhook-signature", &sign(&key, "msg_1", at, BODY)),
        ]);
        let head = replicate.signed_head(&headers, NOW)?;
        replicate.verify(&head, BODY).await.map(|()| head.id)
    };

    for (secret, at) in [(SECRET, 0), (older, 0), (SECRET, -300), (SECRET, 300)] {
        assert_eq!(
            verified(secret, at).await.as_deref(),
            Ok("msg_1"),
            "{secret} {at}"
        );
    }
    let strange = "whsec_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";
    assert_eq!(verified(strange, 0).await, Err(Refused::Forged));
    for at in [-301, 301] {
        assert_eq!(verified(SECRET, at).await, Err(Refused::Stale));
    }
    let without_time = head_of(&[("webhook-id", "msg_1"), ("webhook-signature", "v1,AAAA")]);
    let read = replicate.signed_head(&without_time, NOW);
    assert_eq!(read, Err(Refused::Malformed));
}

fn pair(seed: u8) -> Ed25519KeyPair {
    Ed25519KeyPair::from_seed_unchecked(&[seed; 32]).unwrap()
}

fn jwks(seeds: &[u8]) -> String {
    let keys = seeds.iter().map(|seed| {
        let x = BASE64.encode(pair(*seed).public_key());
        format!(r#"{{"kty": "OKP", "crv": "Ed25519", "x": "{x}"}}"#)
    });
    let keys: Vec<_> = keys.collect();
    let other = r#"{"kty": "RSA", "n": "AQAB", "e": "AQAB"}"#;
    format!(r#"{{"keys": [{other}, {}]}}"#, keys.join(", "))
}

/// Signs a callback as fal does, with the key of this seed.
fn from_fal(seed: u8, signed_body: &[u8]) -> HeaderMap {
    let hash = hex(digest(&SHA256, signed_body).as_ref());
    let at = NOW / 1000;
    let text = format!("request-1\nuser-1\n{at}\n{hash}");
    head_of(&[
        ("x-fal-webhook-request-id", "request-1"),
        ("x-fal-webhook-user-id", "user-1"),
        ("x-fal-webhook-timestamp", &at.to_string()),
        (
            "x-fal-webhook-signature",
            &hex(pair(seed).sign(text.as_bytes()).as_ref()),
        ),
    ])
}

#[tokio::test]
async fn fals_callbacks_are_verified_by_any_of_its_keys_which_are_read_once() {
    let (base, count) = server(ok(&jwks(&[1, 2]))).await;
    let providers = providers(&[("FAL_JWKS_URL", &base)]);
    let fal = providers.of(Media::Image, ProviderName::FAL);
    let verified = async |headers: &HeaderMap| {
        let head = fal.signed_head(headers, NOW)?;
        fal.verify(&head, BODY).await.map(|()| head.id)
    };

    for seed in [1, 2] {
        let verified = verified(&from_fal(seed, BODY)).await;
        assert_eq!(verified.as_deref(), Ok("request-1"));
    }
    for (seed, body) in [(3, BODY), (1, b"{}")] {
        assert_eq!(verified(&from_fal(seed, body)).await, Err(Refused::Forged));
    }
    for (name, value, refused) in [
        ("x-fal-webhook-user-id", Some("user-2"), Refused::Forged),
        (
            "x-fal-webhook-request-id",
            Some("request-2"),
            Refused::Forged,
        ),
        ("x-fal-webhook-signature", Some("zz"), Refused::Forged),
        ("x-fal-webhook-signature", None, Refused::Malformed),
        ("x-fal-webhook-user-id", None, Refused::Malformed),
        (
            "x-fal-webhook-timestamp",
            Some("1796046406"),
            Refused::Stale,
        ),
        ("x-fal-webhook-timestamp", Some("soon"), Refused::Malformed),
    ] {
        let mut headers = from_fal(1, BODY);
        match value {
            Some(value) => headers.insert(name, HeaderValue::from_static(value)),
            None => headers.remove(name),
        };
        assert_eq!(verified(&headers).await, Err(refused), "{name} {value:?}");
    }
    // A key that is not known is looked for once a minute, however many callbacks come.
    assert_eq!(count.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn keys_are_read_again_for_a_signature_that_no_known_key_fits() {
    let (base, count) = server(ok(&jwks(&[1]))).await;
    let providers = providers(&[("FAL_JWKS_URL", &base)]);
    let fal = providers.of(Media::Image, ProviderName::FAL);
    let head = |seed| fal.signed_head(&from_fal(seed, BODY), NOW).unwrap();
    assert_eq!(fal.verify(&head(1), BODY).await, Ok(()));

    let a_minute_ago = Instant::now().checked_sub(BETWEEN);
    fal.clients.callbacks.fal.lock().await.tried_at = a_minute_ago;

    assert_eq!(fal.verify(&head(3), BODY).await, Err(Refused::Forged));
    assert_eq!(fal.verify(&head(3), BODY).await, Err(Refused::Forged));
    assert_eq!(count.load(Ordering::SeqCst), 2);
}
