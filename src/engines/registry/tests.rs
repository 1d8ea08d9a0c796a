//! Tests against a scripted registry: answers that never change are cached, and nothing else.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};

use axum::Router;
use axum::http::StatusCode;
use axum::routing::get;
use serde_json::json;
use tokio::net::TcpListener;

use super::*;
use crate::domain::error_chain::causes;
use crate::engines::config::Config;

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

/// Returns a client of the registry at `address` with these settings.
fn client(address: SocketAddr, settings: &[(&str, &str)]) -> Registry {
    let url = format!("http://{address}/api/");
    let settings = [&[("SCHEMA_REGISTRY_URL", &*url)], settings].concat();
    Registry::new(&Config::of(&settings).unwrap().schema_registry)
}

async fn scripted(answers: Vec<(u16, String)>) -> Scripted {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let registry = client(listener.local_addr().unwrap(), &[]);
    let calls = Arc::new(AtomicUsize::new(0));
    let counted = calls.clone();
    let answer = move || {
        let call = counted.fetch_add(1, Ordering::Relaxed);
        let (status, body) = answers[call.min(answers.len() - 1)].clone();
        async move { (StatusCode::from_u16(status).unwrap(), body) }
    };
    let router = Router::new().route("/api/schemas/ids/{id}", get(answer));
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
        assert!(matches!(error, Error::Call(_)), "{trouble}: {error:?}");
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
    let registry = client(free.local_addr().unwrap(), &[]);
    drop(free);

    let error = registry.schema(7).await.unwrap_err();

    assert!(
        matches!(error, Error::Call(CallError::Unavailable(_))),
        "{error:?}"
    );
}

/// A registry that knows no subject, and keeps every call with its credentials.
struct Recorder {
    calls: Arc<Mutex<Vec<(String, String)>>>,
    address: SocketAddr,
    serving: tokio::task::JoinHandle<()>,
}

impl Recorder {
    /// Starts it: it answers each call with what `answer` returns for the method, the path and the credentials.
    async fn start(
        answer: impl Fn(&str, &str) -> (u16, Json) + Clone + Send + Sync + 'static,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let calls: Arc<Mutex<Vec<(String, String)>>> = Arc::default();
        let seen = calls.clone();
        let router = Router::new().fallback(
            move |method: Method, uri: axum::http::Uri, headers: axum::http::HeaderMap| {
                let login = headers.get("authorization");
                let login = login.map_or("none", |login| login.to_str().unwrap());
                let call = format!("{method} {}", uri.path());
                let (status, body) = answer(&call, login);
                seen.lock().push((call, login.to_owned()));
                async move { (StatusCode::from_u16(status).unwrap(), body.to_string()) }
            },
        );
        let serving = tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        Self {
            calls,
            address,
            serving,
        }
    }
}

impl Drop for Recorder {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

#[tokio::test]
async fn credentials_are_sent_with_every_call_and_are_shown_nowhere() {
    // From: printf 'ann:top+se:cret' | base64
    let basic = "Basic YW5uOnRvcCtzZTpjcmV0";
    let login = [
        ("SCHEMA_REGISTRY_USER", "ann"),
        ("SCHEMA_REGISTRY_PASSWORD", "top+se:cret"),
    ];
    let token = [("SCHEMA_REGISTRY_TOKEN", "top+se:cret")];
    for (settings, expected) in [(&login[..], basic), (&token, "Bearer top+se:cret")] {
        let recorder = Recorder::start(|_, _| {
            (
                200,
                json!({ "schema": avro::REQUEST.text, "id": 7, "version": 1 }),
            )
        })
        .await;
        let registry = client(recorder.address, settings);

        registry.schema(7).await.unwrap();
        registry.id_of("subject", &avro::REQUEST).await.unwrap();
        registry.set_compatibility("subject", "FULL").await.unwrap();
        registry.inspect("subject", &avro::REQUEST).await.unwrap();

        let calls = recorder.calls.lock().clone();
        assert!(calls.len() >= 4, "{calls:?}");
        assert!(
            calls.iter().all(|(_, login)| login == expected),
            "{calls:?}"
        );
        let base = format!("http://{}/api", recorder.address);
        assert_eq!(registry.schema_url(7), format!("{base}/schemas/ids/7"));
        assert_eq!(registry.base(), base);
        let shown = shown_by(&registry).await;
        for needle in ["top+se", "cret\"", "YW5uOnRvcCtz"] {
            assert!(!shown.contains(needle), "{shown}");
        }
    }
}

/// Returns the texts of a client and of its failures at a registry that denies everything, even with the credentials
/// in its answer, and at one that is away.
async fn shown_by(registry: &Registry) -> String {
    let mut shown = format!("{registry:?}");
    for status in [401, 403, 500] {
        let echoing = Recorder::start(move |_, login| (status, json!({ "detail": login }))).await;
        let mut settings = registry.settings.clone();
        settings.url.set_port(Some(echoing.address.port())).unwrap();
        let denied = Registry::new(&settings);
        let away = async |registry: &Registry| {
            let schema = registry.schema(8).await.unwrap_err();
            let id = registry.id_of("other", &avro::REQUEST).await.unwrap_err();
            let level = registry
                .set_compatibility("other", "FULL")
                .await
                .unwrap_err();
            let seen = registry.inspect("other", &avro::REQUEST).await.unwrap_err();
            format!("{schema:?} {id:?} {level:?} {seen:?}")
                + &[causes(&schema), causes(&id), causes(&level), causes(&seen)].concat()
        };
        shown.push_str(&away(&denied).await);
        drop(echoing);
        // Its connections are kept alive, but the port is closed.
        shown.push_str(&away(&Registry::new(&settings)).await);
    }
    shown
}

#[tokio::test]
async fn what_the_registry_denies_names_the_variable_to_change() {
    let login = [
        ("SCHEMA_REGISTRY_USER", "ann"),
        ("SCHEMA_REGISTRY_PASSWORD", "needle"),
    ];
    let token = [("SCHEMA_REGISTRY_TOKEN", "needle")];
    for (status, settings, names) in [
        (
            401,
            &[][..],
            &["SCHEMA_REGISTRY_USER", "SCHEMA_REGISTRY_TOKEN"][..],
        ),
        (
            401,
            &login,
            &["SCHEMA_REGISTRY_USER", "SCHEMA_REGISTRY_PASSWORD"],
        ),
        (401, &token, &["SCHEMA_REGISTRY_TOKEN"]),
        (403, &login, &["SCHEMA_REGISTRY_USER", "GET /schemas/ids/7"]),
        (403, &token, &["SCHEMA_REGISTRY_TOKEN"]),
    ] {
        let recorder = Recorder::start(move |_, _| (status, Json::Null)).await;
        let registry = client(recorder.address, settings);

        let error = registry.schema(7).await.unwrap_err();

        assert!(
            matches!(error, Error::Call(CallError::Denied(_))),
            "{error:?}"
        );
        let text = causes(&error);
        assert!(names.iter().all(|name| text.contains(name)), "{text}");
    }
}

#[tokio::test]
async fn read_access_is_enough_for_a_schema_that_is_registered() {
    let recorder = Recorder::start(|call, _| match call {
        "POST /api/subjects/known" => (200, json!({ "id": 7, "version": 1 })),
        "POST /api/subjects/new" => (404, json!({ "error_code": 40401 })),
        _ => (403, Json::Null),
    })
    .await;
    let registry = client(recorder.address, &[]);

    let known = registry.id_of("known", &avro::REQUEST).await.unwrap();
    let new = registry.id_of("new", &avro::REQUEST).await.unwrap_err();

    assert_eq!(known, 7);
    let text = causes(&new);
    assert!(text.contains("POST /subjects/new/versions"), "{text}");
}

#[tokio::test]
async fn a_schema_that_the_registry_refuses_is_told_from_a_failure() {
    for (status, code, refused) in [
        (409, 409, true),
        (409, 40901, true),
        (422, 42201, true),
        (500, 50001, false),
        (404, 40401, false),
    ] {
        let recorder = Recorder::start(move |call, _| match call {
            "POST /api/subjects/new" => (404, json!({ "error_code": 40401 })),
            _ => (
                status,
                json!({ "error_code": code, "message": "no such luck" }),
            ),
        })
        .await;
        let registry = client(recorder.address, &[]);

        let error = registry.id_of("new", &avro::REQUEST).await.unwrap_err();

        assert_eq!(matches!(error, Error::Refused { .. }), refused, "{error:?}");
        assert!(causes(&error).contains("no such luck"), "{error:?}");
    }
}
