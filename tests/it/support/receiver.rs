//! A real HTTP receiver of webhooks.

use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::routing::post;
use tokio::net::TcpListener;

use super::eventually;

/// One request as it came.
#[derive(Clone, Debug)]
pub struct Delivery {
    pub headers: HeaderMap,
    pub body: Bytes,
}

/// Receives webhooks until dropped.
pub struct Receiver {
    pub url: String,
    state: Arc<Shared>,
    serving: tokio::task::JoinHandle<()>,
}

struct Shared {
    got: Mutex<Vec<Delivery>>,
    /// Statuses to answer with, then 204.
    script: Mutex<Vec<u16>>,
}

impl Receiver {
    pub async fn start(script: &[u16]) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!(
            "http://{}/hook/secret-token",
            listener.local_addr().unwrap()
        );
        let state = Arc::new(Shared {
            got: Mutex::default(),
            script: Mutex::new(script.to_vec()),
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

    pub fn got(&self) -> Vec<Delivery> {
        self.state.got.lock().unwrap().clone()
    }

    /// Waits until `count` requests came.
    pub async fn wait(&self, count: usize) -> Vec<Delivery> {
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

async fn receive(State(state): State<Arc<Shared>>, headers: HeaderMap, body: Bytes) -> StatusCode {
    state.got.lock().unwrap().push(Delivery { headers, body });
    let mut script = state.script.lock().unwrap();
    if script.is_empty() {
        StatusCode::NO_CONTENT
    } else {
        StatusCode::from_u16(script.remove(0)).unwrap()
    }
}
