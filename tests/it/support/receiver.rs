//! A real HTTP receiver of webhooks.

use std::convert::Infallible;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Instant;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::{Path, State};
use axum::http::header::RETRY_AFTER;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse as _, Response};
use axum::routing::post;
use tokio::net::TcpListener;
use tokio::sync::watch;

use super::eventually;

/// One received request.
#[derive(Clone, Debug)]
pub(crate) struct Delivery {
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
    pub(crate) at: Instant,
    /// The last part of the request's path.
    pub(crate) to: String,
    pub(crate) answer: Answer,
}

impl Delivery {
    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers[name].to_str().unwrap()
    }

    /// Whether the answer counts as delivered.
    pub(crate) fn was_taken(&self) -> bool {
        matches!(self.answer, Answer::Status(200..=299))
    }
}

/// A receiver's answer.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Answer {
    Status(u16),
    /// A status, and the seconds of `Retry-After`.
    RetryAfter(u16, u64),
    /// Reads the request and never answers.
    Silence,
    /// Reads the request and answers 204 after [`Receiver::release`].
    Held,
    /// 200, and a body without end.
    Endless,
}

/// Receives webhooks until dropped.
pub(crate) struct Receiver {
    pub(crate) url: String,
    state: Arc<Shared>,
    serving: tokio::task::JoinHandle<()>,
}

struct Shared {
    got: Mutex<Vec<Delivery>>,
    /// Answers, one per request; the last one repeats.
    script: Mutex<Vec<Answer>>,
    released: watch::Sender<bool>,
    /// Bytes sent in endless answers.
    sent: AtomicUsize,
}

impl Receiver {
    /// Starts a receiver that answers with these statuses, then 204.
    pub(crate) async fn start(script: &[u16]) -> Self {
        let script = script.iter().copied().chain([204]).map(Answer::Status);
        Self::answering(&script.collect::<Vec<_>>()).await
    }

    /// Starts a receiver with these answers; the last one repeats.
    pub(crate) async fn answering(script: &[Answer]) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!(
            "http://{}/hook/secret-token",
            listener.local_addr().unwrap()
        );
        let state = Arc::new(Shared {
            got: Mutex::default(),
            script: Mutex::new(script.to_vec()),
            released: watch::Sender::new(false),
            sent: AtomicUsize::new(0),
        });
        let router = Router::new()
            .route("/hook/{token}", post(receive))
            .with_state(state.clone());
        let serving = tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        Self {
            url,
            state,
            serving,
        }
    }

    /// Returns another target at this receiver.
    pub(crate) fn at(&self, name: &str) -> String {
        self.url.replace("secret-token", name)
    }

    /// Answers held requests.
    pub(crate) fn release(&self) {
        self.state.released.send_replace(true);
    }

    /// Gives this answer from now on.
    pub(crate) fn answer(&self, answer: Answer) {
        *self.state.script.lock().unwrap() = vec![answer];
    }

    pub(crate) fn got(&self) -> Vec<Delivery> {
        self.state.got.lock().unwrap().clone()
    }

    /// Returns the number of bytes sent in endless answers.
    pub(crate) fn sent(&self) -> usize {
        self.state.sent.load(Ordering::Relaxed)
    }

    /// Waits until `count` requests have arrived.
    pub(crate) async fn wait(&self, count: usize) -> Vec<Delivery> {
        eventually("webhooks arrive", async || {
            Some(self.got()).filter(|got| got.len() >= count)
        })
        .await
    }
}

impl Drop for Receiver {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

async fn receive(
    State(state): State<Arc<Shared>>,
    Path(to): Path<String>,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let at = Instant::now();
    let answer = {
        let mut script = state.script.lock().unwrap();
        match script.len() {
            1 => script[0],
            _ => script.remove(0),
        }
    };
    state.got.lock().unwrap().push(Delivery {
        headers,
        body,
        at,
        to,
        answer,
    });
    let status = |status| StatusCode::from_u16(status).unwrap();
    match answer {
        Answer::Status(code) => status(code).into_response(),
        Answer::RetryAfter(code, after) => {
            (status(code), [(RETRY_AFTER, after.to_string())]).into_response()
        }
        Answer::Silence => std::future::pending().await,
        Answer::Held => {
            let mut released = state.released.subscribe();
            released.wait_for(|released| *released).await.unwrap();
            StatusCode::NO_CONTENT.into_response()
        }
        Answer::Endless => {
            let chunk = Bytes::from_static(&[b'x'; 65_536]);
            let chunks = futures::stream::repeat_with(move || {
                state.sent.fetch_add(chunk.len(), Ordering::Relaxed);
                Ok::<_, Infallible>(chunk.clone())
            });
            Body::from_stream(chunks).into_response()
        }
    }
}
