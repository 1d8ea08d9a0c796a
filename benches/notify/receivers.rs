//! Receivers of webhooks: healthy and faulty ones. They record when each notification first arrived.

use std::collections::HashMap;
use std::convert::Infallible;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse as _, Response};
use axum::routing::post;
use futures::stream;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

/// How a receiver answers.
#[derive(Clone, Copy)]
pub(crate) enum Manner {
    /// 204, this long after the request.
    After(Duration),
    /// Reads the request and never answers.
    Silent,
    /// 200, and a body without end.
    Endless,
}

/// Receivers, which run until dropped.
pub(crate) struct Receivers {
    book: Arc<Book>,
    serving: JoinSet<()>,
}

struct Book {
    times: Mutex<HashMap<String, Instant>>,
    count: watch::Sender<usize>,
    longest_body: watch::Sender<usize>,
}

/// A notification that does not arrive within this time is lost.
const LONGEST_WAIT: Duration = Duration::from_secs(120);

impl Receivers {
    pub(crate) fn new() -> Self {
        let book = Book {
            times: Mutex::default(),
            count: watch::Sender::new(0),
            longest_body: watch::Sender::new(0),
        };
        Self {
            book: Arc::new(book),
            serving: JoinSet::new(),
        }
    }

    /// Opens `count` receivers on separate ports, and returns their URLs.
    pub(crate) async fn open(&mut self, count: usize, manner: Manner) -> Vec<String> {
        let mut urls = Vec::new();
        for _ in 0..count {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            urls.push(format!("http://{}/hook", listener.local_addr().unwrap()));
            let router = Router::new()
                .route("/hook", post(receive))
                .with_state((self.book.clone(), manner));
            self.serving
                .spawn(async move { axum::serve(listener, router).await.unwrap() });
        }
        urls
    }

    /// Waits until `wanted` notifications have arrived.
    pub(crate) async fn arrived(&self, wanted: usize) {
        let mut count = self.book.count.subscribe();
        let waiting = count.wait_for(|count| *count >= wanted);
        let waited = timeout(LONGEST_WAIT, waiting).await;
        assert!(
            waited.is_ok(),
            "{} of {wanted} arrived",
            *self.book.count.borrow()
        );
    }

    /// Returns when each notification arrived, by its id, and clears the record.
    pub(crate) fn take(&self) -> HashMap<String, Instant> {
        let times = std::mem::take(&mut *self.book.times.lock().unwrap());
        self.book.count.send_replace(0);
        times
    }

    /// Returns the length of the longest received body.
    pub(crate) fn longest_body(&self) -> usize {
        *self.book.longest_body.borrow()
    }
}

/// Returns a URL that no process serves.
pub(crate) async fn dead() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    format!("http://{}/hook", listener.local_addr().unwrap())
}

async fn receive(
    State((book, manner)): State<(Arc<Book>, Manner)>,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let at = Instant::now();
    let id = headers["webhook-id"].to_str().unwrap().to_owned();
    let count = {
        let mut times = book.times.lock().unwrap();
        times.entry(id).or_insert(at);
        times.len()
    };
    book.count.send_replace(count);
    book.longest_body.send_if_modified(|longest| {
        let longer = body.len() > *longest;
        *longest = body.len().max(*longest);
        longer
    });
    match manner {
        Manner::After(pause) => {
            sleep(pause).await;
            StatusCode::NO_CONTENT.into_response()
        }
        Manner::Silent => std::future::pending().await,
        Manner::Endless => {
            let chunk = Bytes::from_static(&[b'x'; 65_536]);
            let chunks = stream::repeat_with(move || Ok::<_, Infallible>(chunk.clone()));
            Body::from_stream(chunks).into_response()
        }
    }
}
