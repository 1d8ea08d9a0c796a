//! The page of the mail catcher of `genflow dev`: received mails, newest first; on loopback.
//!
//! The HTML of a mail is untrusted: the page shows it in a frame without scripts, under a policy that loads only
//! pictures.

mod mail;

use std::path::PathBuf;
use std::time::Duration;

use axum::Router;
use axum::extract::{Path, State};
use axum::http::{StatusCode, header};
use axum::response::{Html, IntoResponse, Response};
use axum::routing::get;
use minijinja::Environment;
use minijinja::value::Serde;
use serde::Serialize;

use self::mail::Mail;

/// Shows the mails of a Maildir.
pub(super) struct Mailbox {
    maildir: PathBuf,
}

/// How often [`Mailbox::received`] checks for the mail.
const GLANCE: Duration = Duration::from_millis(50);

const PAGE: &str = include_str!("mailbox/page.html");
/// The frame of a mail shows text and pictures, and may open links in a new window.
const POLICY: &str = "sandbox allow-popups; default-src 'none'; img-src http: https: data:; style-src 'unsafe-inline'";

/// What the template shows: one mail, or a list.
#[derive(Serialize)]
struct Page {
    mails: Vec<Mail>,
    open: Option<Mail>,
}

impl Mailbox {
    pub(super) fn new(maildir: PathBuf) -> Self {
        Self { maildir }
    }

    pub(super) fn router(&self) -> Router {
        Router::new()
            .route("/", get(list))
            .route("/mail/{name}", get(one))
            .route("/mail/{name}/html", get(html))
            .with_state(self.maildir.clone())
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
}

async fn list(State(maildir): State<PathBuf>) -> Response {
    let mails = mail::all(&maildir).await;
    page(&Page { mails, open: None })
}

async fn one(State(maildir): State<PathBuf>, Path(name): Path<String>) -> Response {
    match mail::read(&maildir, &name).await {
        Some(mail) => page(&Page {
            mails: Vec::new(),
            open: Some(mail),
        }),
        None => StatusCode::NOT_FOUND.into_response(),
    }
}

async fn html(State(maildir): State<PathBuf>, Path(name): Path<String>) -> Response {
    let Some(mail) = mail::read(&maildir, &name).await else {
        return StatusCode::NOT_FOUND.into_response();
    };
    ([(header::CONTENT_SECURITY_POLICY, POLICY)], Html(mail.html)).into_response()
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
    use tokio::net::TcpListener;

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
        let mailbox = Mailbox::new(maildir.clone());
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
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
            for path in [
                "/mail/..%2fsecret.eml",
                "/mail/..%2fsecret.eml/html",
                "/mail/none.eml",
            ] {
                assert_eq!(get(&url, path).await.0, 404, "{path}");
            }
        };

        tokio::select! {
            ended = axum::serve(listener, mailbox.router()) => ended.unwrap(),
            () = asking => {}
        }
        std::fs::remove_dir_all(&maildir).unwrap();
    }
}
