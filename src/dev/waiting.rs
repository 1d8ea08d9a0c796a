//! The page at the console's address until the console itself runs: how far the engines have come. The address is the first
//! line that `genflow dev` prints, and the first start takes minutes.

use std::fmt::Write as _;
use std::sync::Arc;

use axum::Router;
use axum::http::{StatusCode, header};
use axum::response::{Html, IntoResponse as _, Response};
use axum::routing::get;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

use super::board::Board;

/// Serves the page until it is dropped.
pub(super) struct WaitingPage(JoinHandle<()>);

impl WaitingPage {
    /// Serves the page on the console's listener, which another server takes over later.
    ///
    /// # Errors
    /// The system refuses a second handle of the listener.
    pub(super) fn serve(
        console: TcpListener,
        board: Arc<Board>,
    ) -> std::io::Result<(Self, TcpListener)> {
        let console = console.into_std()?;
        let own = TcpListener::from_std(console.try_clone()?)?;
        let routes = Router::new().route("/", get(move || async move { page(&board) }));
        let serving = tokio::spawn(async move {
            if let Err(error) = axum::serve(own, routes).await {
                tracing::warn!(%error, "the page that shows the start failed");
            }
        });
        Ok((Self(serving), TcpListener::from_std(console)?))
    }

    /// Stops, so that the console gets all connections from now on.
    pub(super) async fn stop(mut self) {
        self.0.abort();
        // It was aborted, so its end is no news.
        (&mut self.0).await.ok();
    }
}

impl Drop for WaitingPage {
    fn drop(&mut self) {
        self.0.abort();
    }
}

fn page(board: &Board) -> Response {
    let mut steps = String::new();
    for (engine, step) in board.steps() {
        // Neither has markup: they are genflow's own words.
        write!(steps, "<dt>{engine}</dt><dd>{step}</dd>").ok();
    }
    let html = format!(
        "<!doctype html><html lang=en><meta charset=utf-8><meta name=color-scheme content='light dark'>\
         <meta http-equiv=refresh content=1><title>genflow starts</title>\
         <h1>genflow starts</h1><p>The console appears here when the engines are ready.</p><dl>{steps}</dl></html>"
    );
    // The console must not inherit the connection: this server has ended by then.
    let headers = [
        (header::CONNECTION, "close"),
        (header::CACHE_CONTROL, "no-store"),
    ];
    (StatusCode::SERVICE_UNAVAILABLE, headers, Html(html)).into_response()
}
