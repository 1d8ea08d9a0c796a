//! Who may look and act, and what every answer has. No engine runs: what these tests ask for is in memory.

use reqwest::StatusCode;
use reqwest::header::{CONTENT_SECURITY_POLICY, HOST, SET_COOKIE};
use serde_json::{Value, json};

use super::*;
use crate::engines::http;

const KEY: &str = "0123456789abcdef";

/// Serves a console while `ask` runs.
async fn served(settings: &[(&str, &str)], ask: impl AsyncFnOnce(String)) {
    let folder = std::env::temp_dir().join(format!("genflow-console-{}", uuid::Uuid::new_v4()));
    let results = folder.to_str().unwrap().to_owned();
    let mut all = vec![("KAFKA_BROKERS", "127.0.0.1:1"), ("RESULTS_DIR", &results)];
    all.extend_from_slice(settings);
    let config = Config::of(&all).unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let stop = CancellationToken::new();
    let running = tokio::spawn(run(config, None, listener, stop.clone()));
    ask(url).await;
    stop.cancel();
    running.await.unwrap().unwrap();
    std::fs::remove_dir_all(folder).ok();
}

fn client() -> reqwest::Client {
    http::client().build().unwrap()
}

async fn status(request: reqwest::RequestBuilder) -> StatusCode {
    request.send().await.unwrap().status()
}

#[tokio::test]
async fn without_keys_everyone_here_may_look_and_none_may_act() {
    served(&[], async |url| {
        let client = client();
        let act = json!({"verb": "cancel", "ids": ["a"], "dry_run": true});
        let post = |url: &str| client.post(format!("{url}/api/v1/actions")).json(&act);

        let stats: Value = client
            .get(format!("{url}/api/v1/stats"))
            .send()
            .await
            .unwrap()
            .json()
            .await
            .unwrap();

        assert_eq!(stats["requests"]["running"], 0);
        assert_eq!(
            status(post(&url).header("x-genflow-console", "1")).await,
            StatusCode::FORBIDDEN
        );
    })
    .await;
}

#[tokio::test]
async fn with_keys_a_person_signs_in_to_look_and_to_act() {
    served(&[("CONSOLE_KEYS", &format!("ann:{KEY}"))], async |url| {
        let client = client();
        let requests = || client.get(format!("{url}/api/v1/requests"));
        let sign_in = |key: &str| {
            let request = client.post(format!("{url}/api/v1/session"));
            request
                .header("x-genflow-console", "1")
                .json(&json!({ "key": key }))
        };

        assert_eq!(status(requests()).await, StatusCode::UNAUTHORIZED);
        assert_eq!(
            status(sign_in("0123456789abcdeX")).await,
            StatusCode::UNAUTHORIZED
        );
        let signed_in = sign_in(KEY).send().await.unwrap();
        let cookie = signed_in.headers()[SET_COOKIE].to_str().unwrap().to_owned();
        assert!(cookie.contains("HttpOnly; SameSite=Strict"), "{cookie}");
        assert!(!cookie.contains(KEY), "{cookie}");
        let cookie = cookie.split(';').next().unwrap();
        assert_eq!(
            status(requests().header("cookie", cookie)).await,
            StatusCode::OK
        );
        assert_eq!(status(requests().bearer_auth(KEY)).await, StatusCode::OK);

        let act = client
            .post(format!("{url}/api/v1/actions"))
            .bearer_auth(KEY);
        let act = act.json(&json!({"verb": "cancel", "ids": ["a"], "dry_run": true}));
        let without = act.try_clone().unwrap();
        let plan: Value = act
            .header("x-genflow-console", "1")
            .send()
            .await
            .unwrap()
            .json()
            .await
            .unwrap();
        assert_eq!(
            plan,
            json!({"would": 0, "left": {"unknown": 1}, "ids": [], "usual_cost_usd": null})
        );
        // The page of another site can send no such header.
        assert_eq!(status(without).await, StatusCode::FORBIDDEN);
    })
    .await;
}

#[tokio::test]
async fn a_name_of_another_site_that_resolves_to_this_machine_is_refused() {
    served(&[], async |url| {
        let stats = || client().get(format!("{url}/api/v1/stats"));

        assert_eq!(
            status(stats().header(HOST, "evil.example:8088")).await,
            StatusCode::FORBIDDEN
        );
        assert_eq!(
            status(stats().header(HOST, "localhost:8088")).await,
            StatusCode::OK
        );
    })
    .await;
}

#[tokio::test]
async fn the_page_comes_whole_and_allows_no_script_in_itself() {
    served(&[], async |url| {
        let get = async |path: &str| client().get(format!("{url}{path}")).send().await.unwrap();

        for path in ["/", "/requests/order-7", "/dead-letters"] {
            let answer = get(path).await;
            let policy = answer.headers()[CONTENT_SECURITY_POLICY]
                .to_str()
                .unwrap()
                .to_owned();
            assert!(
                policy.contains("script-src 'self'") && !policy.contains("unsafe"),
                "{policy}"
            );
            let page = answer.text().await.unwrap();
            assert!(
                page.contains("<script type=\"module\" src=\"/app.js\">"),
                "{page}"
            );
            for part in page.split("src=\"").skip(1) {
                let file = part.split('"').next().unwrap();
                assert_eq!(get(file).await.status(), StatusCode::OK, "{file}");
            }
        }
        assert_eq!(get("/none.js").await.status(), StatusCode::NOT_FOUND);
        assert_eq!(get("/api/v1/none").await.status(), StatusCode::NOT_FOUND);
        assert_eq!(
            get("/api/v1/media/order-7/0").await.status(),
            StatusCode::NOT_FOUND
        );
        let fault: Value = get("/api/v1/requests?state=odd")
            .await
            .json()
            .await
            .unwrap();
        assert!(
            fault["error"]
                .as_str()
                .unwrap()
                .contains("expected open, started"),
            "{fault}"
        );
    })
    .await;
}

#[tokio::test]
async fn a_proxy_names_the_person_who_has_signed_in_there() {
    served(
        &[("CONSOLE_USER_HEADER", "X-Forwarded-User")],
        async |url| {
            let session = || client().get(format!("{url}/api/v1/session"));
            let stats = || client().get(format!("{url}/api/v1/stats"));

            assert_eq!(status(stats()).await, StatusCode::UNAUTHORIZED);
            let known = stats().header("x-forwarded-user", "ann@example.org");
            assert_eq!(status(known).await, StatusCode::OK);
            for (name, expected) in [
                ("ann@example.org", json!("ann@example.org")),
                ("\u{e9}", Value::Null),
                ("", Value::Null),
            ] {
                let named = session().header("x-forwarded-user", name.as_bytes());
                let session: Value = named.send().await.unwrap().json().await.unwrap();
                assert_eq!(session["name"], expected, "{name:?}");
            }
        },
    )
    .await;
}

#[tokio::test]
async fn the_document_of_the_api_has_all_paths_and_no_other() {
    let text = include_str!("openapi.json");
    let document: Value = serde_json::from_str(text).unwrap();
    assert!(document["openapi"].as_str().unwrap().starts_with("3.1."));
    let mut described: Vec<_> = document["paths"].as_object().unwrap().keys().collect();
    described.sort_unstable();

    let routes = include_str!("../console.rs");
    let api = routes.split("Router::new()").nth(1).unwrap();
    let paths = api.split("\"").filter(|part| part.starts_with('/'));
    let mut paths: Vec<_> = paths.filter(|path| *path != "/{*path}").collect();
    paths.sort_unstable();

    assert_eq!(described, paths);
    served(&[], async |url| {
        let document = client().get(format!("{url}/api/v1/openapi.json"));
        assert_eq!(document.send().await.unwrap().text().await.unwrap(), text);
    })
    .await;
}
