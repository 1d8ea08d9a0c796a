//! Tests against a scripted registry: answers that never change are cached, and nothing else.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};

use axum::Router;
use axum::http::StatusCode;
use axum::routing::get;
use serde_json::json;
use tokio::net::TcpListener;

use super::*;

/// A registry that gives scripted answers, one per call, and repeats the last one.
struct Scripted {
    registry: Registry,
    calls: Arc<AtomicUsize>,
    serving: tokio::task::JoinHandle<()>,
}

impl Drop for Scripted {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

fn base(address: SocketAddr) -> Secret<Url> {
    Secret::new(format!("http://{address}").parse().unwrap())
}

async fn scripted(answers: Vec<(u16, String)>) -> Scripted {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let registry = Registry::new(&base(listener.local_addr().unwrap())).unwrap();
    let calls = Arc::new(AtomicUsize::new(0));
    let counted = calls.clone();
    let answer = move || {
        let call = counted.fetch_add(1, Ordering::Relaxed);
        let (status, body) = answers[call.min(answers.len() - 1)].clone();
        async move { (StatusCode::from_u16(status).unwrap(), body) }
    };
    let router = Router::new().route("/schemas/ids/{id}", get(answer));
    let serving = tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
    Scripted {
        registry,
        calls,
        serving,
    }
}

fn good() -> (u16, String) {
    (200, json!({ "schema": avro::REQUEST.text }).to_string())
}

fn code_of(status: u16, code: u32) -> (u16, String) {
    let body = json!({ "error_code": code, "message": "no" });
    (status, body.to_string())
}

#[tokio::test]
async fn a_schema_is_fetched_and_parsed_once() {
    let scripted = scripted(vec![good()]).await;

    let first = scripted.registry.schema(7).await.unwrap();
    let again = scripted.registry.schema(7).await.unwrap();

    assert!(Arc::ptr_eq(&first, &again), "parsed again");
    assert_eq!(scripted.calls.load(Ordering::Relaxed), 1);
    assert_eq!(*first, avro::REQUEST.schema);
}

#[tokio::test]
async fn a_registry_in_trouble_is_unavailable_and_is_asked_again() {
    let text = |status: u16, body: &str| (status, body.to_owned());
    let troubles = vec![
        code_of(500, 50001),
        text(500, "oops"),
        text(502, "<html>bad gateway</html>"),
        code_of(503, 50301),
        code_of(429, 42901),
        code_of(401, 40101),
        text(403, ""),
        // Not from the registry: from a proxy without the route, or from another path.
        text(404, "<html>not found</html>"),
        text(404, ""),
        code_of(404, 404),
        text(200, "<html>sign in</html>"),
        text(200, "{}"),
    ];
    let count = troubles.len();
    let scripted = scripted(troubles.into_iter().chain([good()]).collect()).await;

    for trouble in 0..count {
        let error = scripted.registry.schema(7).await.unwrap_err();
        assert!(
            matches!(error, Error::Unavailable(_)),
            "{trouble}: {error:?}"
        );
    }

    scripted.registry.schema(7).await.unwrap();
}

#[tokio::test]
async fn a_schema_is_unknown_only_if_the_registry_itself_says_so_and_this_is_not_cached() {
    let scripted = scripted(vec![code_of(404, 40403), good()]).await;

    let error = scripted.registry.schema(7).await.unwrap_err();

    assert!(matches!(error, Error::Unknown(7)), "{error:?}");
    scripted.registry.schema(7).await.unwrap();
}

#[tokio::test]
async fn an_id_that_no_registry_gives_is_unknown_without_a_call() {
    let scripted = scripted(vec![code_of(404, 404)]).await;

    for id in [u32::MAX, 1 << 31] {
        let error = scripted.registry.schema(id).await.unwrap_err();
        assert!(matches!(error, Error::Unknown(_)), "{error:?}");
    }

    assert_eq!(scripted.calls.load(Ordering::Relaxed), 0);
}

#[tokio::test]
async fn a_schema_that_is_not_avro_or_nests_without_end_is_not_read() {
    let of = |kind: &str, schema: &str| {
        (
            200,
            json!({ "schema": schema, "schemaType": kind }).to_string(),
        )
    };
    let endless = json!({"type": "record", "name": "R", "fields": [
        {"name": "next", "type": ["null", "R"]},
    ]});
    let answers = vec![
        of("JSON", r#"{"type": "string"}"#),
        of("PROTOBUF", "syntax = \"proto3\";"),
        of("AVRO", "no schema"),
        of("AVRO", &endless.to_string()),
    ];
    let count = answers.len();
    let scripted = scripted(answers).await;

    for schema in 0..count {
        let error = scripted.registry.schema(7).await.unwrap_err();
        assert!(
            matches!(error, Error::Unparsable(7, _)),
            "{schema}: {error:?}"
        );
    }
}

#[tokio::test]
async fn a_registry_that_cannot_be_reached_is_unavailable() {
    let free = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let base = base(free.local_addr().unwrap());
    drop(free);
    let registry = Registry::new(&base).unwrap();

    let error = registry.schema(7).await.unwrap_err();

    assert!(matches!(error, Error::Unavailable(_)), "{error:?}");
}

#[tokio::test]
async fn a_login_in_the_url_is_sent_as_basic_authentication_and_is_shown_nowhere() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let seen: Arc<Mutex<Vec<String>>> = Arc::default();
    let logins = seen.clone();
    let router = Router::new().fallback(move |headers: axum::http::HeaderMap| {
        let login = headers
            .get("authorization")
            .map(|login| login.to_str().unwrap());
        logins.lock().push(login.unwrap_or("none").to_owned());
        async { json!({ "schema": avro::REQUEST.text, "id": 7, "version": 1 }).to_string() }
    });
    let serving = tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
    let url = Secret::new(
        format!("http://ann:top+se%3Acret@{address}/api/")
            .parse()
            .unwrap(),
    );
    let registry = Registry::new(&url).unwrap();

    registry.schema(7).await.unwrap();
    registry.id_of("subject", &avro::REQUEST).await.unwrap();
    registry.set_compatibility("subject", "FULL").await.unwrap();
    registry.inspect("subject", &avro::REQUEST).await.unwrap();

    // From: printf 'ann:top+se:cret' | base64
    let login = "Basic YW5uOnRvcCtzZTpjcmV0";
    let seen = seen.lock().clone();
    assert!(
        seen.len() >= 4 && seen.iter().all(|seen| seen == login),
        "{seen:?}"
    );
    assert_eq!(
        registry.schema_url(7),
        format!("http://{address}/api/schemas/ids/7")
    );
    assert_eq!(registry.base(), format!("http://{address}/api"));
    serving.abort();
    let away = registry.schema(8).await.unwrap_err();
    let looked = registry
        .inspect("subject", &avro::REQUEST)
        .await
        .unwrap_err();
    let level = registry
        .set_compatibility("subject", "FULL")
        .await
        .unwrap_err();
    for shown in [
        format!("{registry:?} {url:?} {}", url.shown()),
        format!("{away:?} {}", crate::domain::error_chain::causes(&away)),
        format!("{looked:?} {}", crate::domain::error_chain::causes(&looked)),
        format!("{level:?} {}", crate::domain::error_chain::causes(&level)),
    ] {
        for needle in ["top+se", "cret@", "YW5uOnRvcCtz"] {
            assert!(!shown.contains(needle), "{shown}");
        }
    }
}
