//! Endpoints of webhooks, which answer after a pause and count what arrives.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::StatusCode;
use axum::routing::post;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::sleep;

/// Running endpoints; they end when this is dropped.
pub(super) struct Endpoints {
    /// One for each endpoint, each with a port of its own.
    pub(super) urls: Vec<String>,
    arrived: watch::Receiver<Arrived>,
    _serving: JoinSet<std::io::Result<()>>,
}

/// What has arrived at all endpoints.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Arrived {
    pub(super) posts: usize,
    pub(super) bytes: usize,
}

impl Endpoints {
    /// Opens that many endpoints, which answer with 204 after `pause`.
    pub(super) async fn open(number: usize, pause: Duration) -> anyhow::Result<Self> {
        let (sender, arrived) = watch::channel(Arrived::default());
        let shared = Arc::new((sender, pause));
        let (mut urls, mut serving) = (Vec::new(), JoinSet::new());
        for _ in 0..number {
            let listener = TcpListener::bind("127.0.0.1:0").await?;
            urls.push(format!("http://{}/hook", listener.local_addr()?));
            let routes = Router::new().route("/hook", post(receive));
            let routes = routes.with_state(shared.clone());
            serving.spawn(axum::serve(listener, routes).into_future());
        }
        Ok(Self {
            urls,
            arrived,
            _serving: serving,
        })
    }

    /// Waits until that many posts have arrived since the beginning.
    pub(super) async fn arrived(&self, posts: usize) -> anyhow::Result<Arrived> {
        let mut arrived = self.arrived.clone();
        let reached = arrived.wait_for(|arrived| arrived.posts >= posts).await?;
        Ok(*reached)
    }
}

async fn receive(
    State(shared): State<Arc<(watch::Sender<Arrived>, Duration)>>,
    body: Bytes,
) -> StatusCode {
    let (arrived, pause) = &*shared;
    arrived.send_modify(|arrived| {
        arrived.posts += 1;
        arrived.bytes += body.len();
    });
    sleep(*pause).await;
    StatusCode::NO_CONTENT
}
