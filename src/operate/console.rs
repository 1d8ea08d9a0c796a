//! `genflow console`: one page that shows requests as they run, and what became of them.
//!
//! It reads `gen.events` and `gen.notifications` without a group, keeps a compact row of each request in memory
//! (`crate::operate::requests`), and serves it as JSON (`api`), as a stream of changes (`stream`) and as a page. Whatever is large or rarely
//! asked for is read when a person opens it: events by their positions, the run from Temporal, files from the result
//! store (`detail`, `media`). It sends nothing but what a person who has signed in asks for (`actions`).

mod access;
mod actions;
mod api;
mod asked;
mod backlog;
mod by_hand;
mod detail;
mod doctor_report;
mod endpoints;
mod follow;
mod known;
mod letters;
mod media;
mod page;
mod stream;
mod topic;

use std::io::Write as _;
use std::sync::Arc;

use anyhow::Context as _;
use axum::Router;
use axum::middleware::from_fn_with_state;
use axum::routing::{any, get, post};
use tokio::net::TcpListener;
use tokio::sync::OnceCell;
use tokio_util::sync::CancellationToken;

use self::backlog::Backlog;
use self::doctor_report::Checked;
use self::follow::follow;
use self::known::Known;
use self::topic::Topic;
use crate::engines::clock::now;
use crate::engines::config::Config;
use crate::engines::http;
use crate::engines::registry::Registry;
use crate::engines::storage::Store;
use crate::engines::temporal::client::Temporal;
use crate::operate::dead_letters::DlqTopic;

/// What all pages share.
type Shared = Arc<Parts>;

struct Parts {
    config: Config,
    known: Known,
    registry: Registry,
    /// `Err`: why the result store cannot be opened.
    store: Result<Store, String>,
    /// Connected when a person first opens something that Temporal knows.
    temporal: OnceCell<Temporal>,
    checked: Checked,
    backlog: Backlog,
    /// Sent with commands, if intake asks for it.
    api_key: Option<String>,
}

/// Listens at `CONSOLE_ADDR`, and prints the address of the page.
///
/// # Errors
/// The address is `off`, is taken, or is not one of this machine's.
pub async fn listen(config: &Config) -> anyhow::Result<TcpListener> {
    let addr = config.console.addr;
    let addr = addr.context("CONSOLE_ADDR: is off, expected host:port")?;
    let listener = TcpListener::bind(addr)
        .await
        .with_context(|| format!("CONSOLE_ADDR: cannot listen on {addr}"))?;
    // If the output is closed, nobody reads the line.
    writeln!(
        std::io::stdout(),
        "console at http://{}",
        listener.local_addr()?
    )
    .ok();
    Ok(listener)
}

/// Serves the console beside the roles until `stop`. The roles matter more: if another process has its address, or it
/// fails, that is only logged.
pub async fn beside_roles(config: Config, api_key: Option<String>, stop: CancellationToken) {
    if config.console.addr.is_none() {
        return;
    }
    let serve = async {
        let listener = listen(&config).await?;
        run(config, api_key, listener, stop).await
    };
    if let Err(error) = Box::pin(serve).await {
        let why = format!("{error:#}");
        tracing::warn!(
            why,
            "the console is not served; CONSOLE_ADDR=off switches it off"
        );
    }
}

/// Serves the console on `listener` until `stop`. `api_key` is sent with commands.
///
/// `config.console` must have passed its check.
///
/// # Errors
/// The listener fails.
pub async fn run(
    config: Config,
    api_key: Option<String>,
    listener: TcpListener,
    stop: CancellationToken,
) -> anyhow::Result<()> {
    let period = i64::try_from(config.console.period.as_millis()).unwrap_or(i64::MAX);
    let since = now().saturating_sub(period).max(0);
    let shared = Arc::new(Parts {
        known: Known::new(config.console.requests, since),
        registry: Registry::new(&config.schema_registry),
        store: Store::open(&config.worker).map_err(|error| error.to_string()),
        temporal: OnceCell::new(),
        checked: Checked::default(),
        backlog: Backlog::default(),
        api_key,
        config,
    });
    let reading = |topic| {
        follow(
            &shared.config,
            &shared.registry,
            &shared.known,
            topic,
            since,
        )
    };
    tokio::select! {
        served = http::serve(listener, routes(shared.clone()), &stop) => {
            served.context("the console's server failed")
        }
        () = reading(Topic::Events) => Ok(()),
        () = reading(Topic::Receipts) => Ok(()),
        () = reading(Topic::Letters(DlqTopic::Requests)) => Ok(()),
        () = reading(Topic::Letters(DlqTopic::Notifications)) => Ok(()),
    }
}

fn routes(shared: Shared) -> Router {
    let api = Router::new()
        .route("/stats", get(api::stats))
        .route("/requests", get(api::requests))
        .route("/requests/{id}", get(detail::request))
        .route("/media/{run}/{number}", get(media::output))
        .route("/backlog", get(backlog::backlog))
        .route("/endpoints", get(api::endpoints))
        .route("/dead-letters", get(letters::list))
        .route("/dead-letters/{topic}/{position}", get(letters::one))
        .route("/doctor", get(doctor_report::doctor))
        .route("/stream", get(stream::changes))
        .route("/openapi.json", get(api::openapi))
        .route("/actions", post(actions::act))
        .route(
            "/session",
            get(api::session)
                .post(access::sign_in)
                .delete(access::sign_out),
        )
        .route("/{*path}", any(api::not_found));
    Router::new()
        .nest("/api/v1", api)
        .route("/", get(page::index))
        .route("/{*path}", get(page::file))
        .layer(from_fn_with_state(shared.clone(), access::guard))
        .with_state(shared)
}

impl Parts {
    /// Returns the connection to Temporal; each call tries again until one succeeds.
    async fn temporal(&self) -> anyhow::Result<&Temporal> {
        let connect = || Temporal::connect(&self.config.temporal);
        Ok(self.temporal.get_or_try_init(connect).await?)
    }
}

#[cfg(test)]
mod tests;
