//! The page of the mail catcher of `genflow dev`: received mails, newest first; on loopback.
//!
//! The HTML of a mail is untrusted: the page shows it in a frame without scripts, under a policy that loads only
//! pictures. `/api` returns the mails as JSON.

mod mail;

use std::path::PathBuf;
use std::time::Duration;

use anyhow::Context as _;
use axum::extract::{Path, State};
use axum::http::{StatusCode, header};
use axum::response::{Html, IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use minijinja::Environment;
use minijinja::value::Serde;
use parking_lot::Mutex;
use serde::Serialize;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use self::mail::Mail;
use super::engines::Ports;

/// Shows the mails of a Maildir.
pub(super) struct Mailbox {
    listener: Mutex<Option<TcpListener>>,
    url: String,
    maildir: PathBuf,
}

/// The usual port of mail catchers.
const PORT: u16 = 8025;
/// How often [`Mailbox::received`] checks for the mail.
const GLANCE: Duration = Duration::from_millis(50);

const PAGE: &str = include_str!("mailbox/page.html");
/// The frame of a mail may only show text and pictures.
const POLICY: &str = "sandbox allow-popups; default-src 'none'; img-src http: https: data:; style-src 'unsafe-inline'";

#[derive(Serialize)]
struct Page {
    mails: Vec<Mail>,
    open: Option<Mail>,
}

impl Mailbox {
    pub(super) async fn bind(ports: Ports, maildir: PathBuf) -> anyhow::Result<Self> {
        let any = || TcpListener::bind("127.0.0.1:0");
        let listener = match ports {
            // Only people open this page, so another port works too.
            Ports::Fixed => match TcpListener::bind(("127.0.0.1", PORT)).await {
                Ok(listener) => Ok(listener),
                Err(_) => any().await,
            },
            Ports::Free => any().await,
        };
        let listener = listener.context("no port for the page of mails")?;
        Ok(Self {
            url: format!("http://{}", listener.local_addr()?),
            listener: Mutex::new(Some(listener)),
            maildir,
        })
    }

    pub(super) fn url(&self) -> &str {
        &self.url
    }

    /// Waits for the mail about the completion of `request`; returns its subject.
    pub(super) async fn received(&self, request: &str) -> String {
        loop {
            let mails = mail::all(&self.maildir).await;
            let is_it =
                |mail: &Mail| mail.request == request && mail.event == "genflow.request.completed";
            if let Some(mail) = mails.into_iter().find(is_it) {
                return mail.subject;
            }
            tokio::time::sleep(GLANCE).await;
        }
    }

    pub(super) async fn run(&self, stop: CancellationToken) -> anyhow::Result<()> {
        let listener = self.listener.lock().take();
        let listener = listener.context("the page of mails is already running")?;
        axum::serve(listener, router(self.maildir.clone()))
            .with_graceful_shutdown(stop.cancelled_owned())
            .await
            .context("the page of mails")
    }
}

fn router(maildir: PathBuf) -> Router {
    Router::new()
        .route("/", get(list))
        .route("/mail/{name}", get(one))
        .route("/mail/{name}/html", get(html))
        .route("/mail/{name}/source", get(source))
        .route("/api", get(api_list))
        .route("/api/{name}", get(api_one))
        .with_state(maildir)
}

async fn list(State(maildir): State<PathBuf>) -> Response {
    let mails = mail::all(&maildir).await;
    page(&Page { mails, open: None })
}

async fn one(State(maildir): State<PathBuf>, Path(name): Path<String>) -> Response {
    match mail::read(&maildir, &name).await {
        Some((open, _)) => page(&Page {
            mails: mail::all(&maildir).await,
            open: Some(open),
        }),
        None => StatusCode::NOT_FOUND.into_response(),
    }
}

async fn html(State(maildir): State<PathBuf>, Path(name): Path<String>) -> Response {
    let Some((mail, _)) = mail::read(&maildir, &name).await else {
        return StatusCode::NOT_FOUND.into_response();
    };
    ([(header::CONTENT_SECURITY_POLICY, POLICY)], Html(mail.html)).into_response()
}

async fn source(State(maildir): State<PathBuf>, Path(name): Path<String>) -> Response {
    let kind = [
        (header::CONTENT_TYPE, "text/plain; charset=utf-8"),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    ];
    match mail::read(&maildir, &name).await {
        Some((_, raw)) => (kind, raw).into_response(),
        None => StatusCode::NOT_FOUND.into_response(),
    }
}

async fn api_list(State(maildir): State<PathBuf>) -> Json<Vec<Mail>> {
    Json(mail::all(&maildir).await)
}

async fn api_one(State(maildir): State<PathBuf>, Path(name): Path<String>) -> Response {
    match mail::read(&maildir, &name).await {
        Some((mail, _)) => Json(mail).into_response(),
        None => StatusCode::NOT_FOUND.into_response(),
    }
}

fn page(page: &Page) -> Response {
    // MiniJinja escapes HTML only if the template's name ends in `.html`.
    match Environment::new().render_named_str("page.html", PAGE, Serde(page)) {
        Ok(text) => Html(text).into_response(),
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, error.to_string()).into_response(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const EVIL: &[u8] = b"From: a@b.test\r\nTo: \"<script>alert(1)</script>\" <c@d.test>\r\nSubject: <script>alert(2)</script>\r\n\
        X-Genflow-Request: r-1\r\nX-Genflow-Event: genflow.request.completed\r\nContent-Type: text/html\r\n\r\n<p onclick=x>hello</p>\r\n";

    async fn get(address: &str, path: &str) -> (u16, String, String) {
        let response = crate::engines::http::client()
            .build()
            .unwrap()
            .get(format!("{address}{path}"))
            .send()
            .await
            .unwrap();
        let status = response.status().as_u16();
        let policy = response.headers().get("content-security-policy");
        let policy = policy.map(|value| value.to_str().unwrap().to_owned());
        let body = response.text().await.unwrap();
        (status, policy.unwrap_or_default(), body)
    }

    #[tokio::test]
    async fn mails_are_listed_and_shown_without_being_trusted() {
        let maildir =
            std::env::temp_dir().join(format!("genflow-maildir-{}", uuid::Uuid::new_v4()));
        std::fs::create_dir_all(maildir.join("new")).unwrap();
        std::fs::write(maildir.join("new/0a.eml"), EVIL).unwrap();
        std::fs::write(maildir.join("secret.eml"), "no mail").unwrap();
        let mailbox = Mailbox::bind(Ports::Free, maildir.clone()).await.unwrap();
        let (url, stop) = (mailbox.url().to_owned(), CancellationToken::new());
        let asking = async {
            let reported = mailbox.received("r-1").await;
            assert_eq!(reported, "<script>alert(2)</script>");
            for path in ["/", "/mail/0a.eml"] {
                let (status, _, body) = get(&url, path).await;
                assert_eq!(status, 200);
                assert!(!body.contains("<script"), "{body}");
                assert!(body.contains("&lt;script&gt;alert(2)"), "{body}");
            }
            let (_, policy, body) = get(&url, "/mail/0a.eml/html").await;
            assert!(policy.contains("default-src 'none'") && policy.starts_with("sandbox"));
            assert!(!policy.contains("allow-scripts"));
            assert!(body.contains("hello"));
            let (_, _, body) = get(&url, "/api").await;
            assert!(body.contains("\"request\":\"r-1\""), "{body}");
            for path in [
                "/mail/..%2fsecret.eml",
                "/api/..%2fsecret.eml/",
                "/mail/none.eml",
            ] {
                assert_eq!(get(&url, path).await.0, 404, "{path}");
            }
            stop.cancel();
        };

        let (ran, ()) = tokio::join!(mailbox.run(stop.clone()), asking);

        ran.unwrap();
        std::fs::remove_dir_all(&maildir).unwrap();
    }
}
