//! An HTTP proxy in front of the schema registry, which can answer requests for a schema by its id with a fault.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::extract::{Request, State};
use axum::http::header::{ACCEPT, CONTENT_TYPE};
use axum::http::{Response, StatusCode};
use axum::response::IntoResponse as _;
use tokio::net::TcpListener;

/// The proxy's answer instead of the registry's.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Fault {
    /// This status, with an HTML page.
    Status(u16),
    /// No answer.
    Silence,
}

/// Forwards calls until dropped.
pub(crate) struct Proxy {
    shared: Arc<Shared>,
    serving: tokio::task::JoinHandle<()>,
}

struct Shared {
    registry: String,
    fault: Mutex<Option<Fault>>,
}

impl Proxy {
    pub(crate) async fn at(address: SocketAddr, registry: &str) -> Self {
        let listener = TcpListener::bind(address).await.unwrap();
        let shared = Arc::new(Shared {
            registry: registry.trim_end_matches('/').to_owned(),
            fault: Mutex::default(),
        });
        let router = Router::new().fallback(answer).with_state(shared.clone());
        let serving = tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        Self { shared, serving }
    }

    /// Answers with `fault` from now on; `None`: forwards to the registry.
    pub(crate) fn fault(&self, fault: Option<Fault>) {
        *self.shared.fault.lock().unwrap() = fault;
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

async fn answer(State(shared): State<Arc<Shared>>, request: Request) -> Response<Body> {
    let fault = *shared.fault.lock().unwrap();
    if request.uri().path().contains("/schemas/ids/") {
        match fault {
            Some(Fault::Status(status)) => {
                return (StatusCode::from_u16(status).unwrap(), "<html>no</html>").into_response();
            }
            Some(Fault::Silence) => std::future::pending().await,
            None => {}
        }
    }
    let (head, body) = request.into_parts();
    let mut call = reqwest::Client::new()
        .request(head.method, format!("{}{}", shared.registry, head.uri))
        .body(to_bytes(body, usize::MAX).await.unwrap());
    for name in [ACCEPT, CONTENT_TYPE] {
        if let Some(value) = head.headers.get(&name) {
            call = call.header(name, value);
        }
    }
    let answer = call.send().await.unwrap();
    let status = answer.status();
    let kind = answer.headers().get(CONTENT_TYPE).cloned();
    let mut passed = (status, answer.bytes().await.unwrap()).into_response();
    if let Some(kind) = kind {
        passed.headers_mut().insert(CONTENT_TYPE, kind);
    }
    passed
}
