//! `genflow health`: asks the genflow process of the same settings how it is, for containers without a shell.

use std::fmt;
use std::io::Write;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use url::Url;

use crate::engines::config::Config;
use crate::engines::http;

/// Limit on the whole call; shorter than the limits that containers set for a check.
const PATIENCE: Duration = Duration::from_secs(2);

/// `genflow health`.
#[derive(Debug, clap::Args)]
pub struct HealthArgs {
    /// Ask whether all roles are ready (/readyz), not only whether the process runs (/livez)
    #[arg(long)]
    ready: bool,
    /// Ask another address, such as that of the provider simulator [default: HTTP_ADDR]
    #[arg(long, conflicts_with = "ready")]
    url: Option<Url>,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// The answer.
#[derive(Serialize)]
struct Answer {
    ok: bool,
    url: String,
    status: Option<u16>,
    /// Why it is not well.
    why: Option<String>,
}

/// What `/readyz` says of a role.
#[derive(Deserialize)]
struct Role {
    role: String,
    ready: bool,
    why: String,
}

/// Asks, and prints the answer on one line. Returns the exit code: 0 if the answer is good, else 1.
///
/// # Errors
/// The client cannot be created, or the output is closed.
pub(super) async fn check(
    config: &Config,
    asked: &HealthArgs,
    out: &mut dyn Write,
) -> anyhow::Result<u8> {
    let page = if asked.ready { "readyz" } else { "livez" };
    let own = || format!("http://{}/{page}", reachable(config.http_addr));
    let url = asked.url.as_ref().map_or_else(own, Url::to_string);
    let answer = ask(url).await?;
    if asked.json {
        writeln!(out, "{}", serde_json::to_string(&answer)?)?;
    } else {
        writeln!(out, "{answer}")?;
    }
    Ok(u8::from(!answer.ok))
}

async fn ask(url: String) -> anyhow::Result<Answer> {
    let client = http::client().timeout(PATIENCE).build()?;
    let response = match client.get(&url).send().await {
        Ok(response) => response,
        Err(error) => {
            let why = if error.is_timeout() {
                "does not answer in time"
            } else {
                "is not reachable"
            };
            return Ok(Answer {
                ok: false,
                url,
                status: None,
                why: Some(why.to_owned()),
            });
        }
    };
    let status = response.status();
    let ok = status.is_success();
    let why = match ok {
        true => None,
        false => Some(reasons(&response.text().await.unwrap_or_default())),
    };
    Ok(Answer {
        ok,
        url,
        status: Some(status.as_u16()),
        why: why.filter(|why| !why.is_empty()),
    })
}

impl fmt::Display for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { url, .. } = self;
        let why = self.why.as_deref();
        match self.status {
            Some(status) if self.ok => write!(f, "ok: {url} answers {status}"),
            Some(status) => {
                let why = why.map(|why| format!("; {why}")).unwrap_or_default();
                write!(f, "unhealthy: {url} answers {status}{why}")
            }
            None => write!(f, "unhealthy: {url} {}", why.unwrap_or_default()),
        }
    }
}

/// Returns the address to call: a server that listens on all addresses is reached on loopback.
fn reachable(mut listens: SocketAddr) -> SocketAddr {
    if listens.ip().is_unspecified() {
        listens.set_ip(match listens.ip() {
            IpAddr::V4(_) => Ipv4Addr::LOCALHOST.into(),
            IpAddr::V6(_) => Ipv6Addr::LOCALHOST.into(),
        });
    }
    listens
}

/// Returns why roles are not ready, by the lines of `/readyz`; nothing for a page of another kind.
fn reasons(page: &str) -> String {
    let roles = page
        .lines()
        .filter_map(|line| serde_json::from_str(line).ok());
    let roles = roles
        .filter(|role: &Role| !role.ready)
        .map(|role| format!("{}: {}", role.role, role.why));
    roles.collect::<Vec<_>>().join("; ")
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use axum::Router;
    use axum::http::StatusCode;
    use axum::routing::get;
    use tokio::net::TcpListener;

    use super::*;

    const NOT_READY: &str = "{\"role\":\"intake\",\"ready\":true,\"why\":\"\"}\n\
        {\"role\":\"worker\",\"ready\":false,\"why\":\"starting\"}\n";

    /// Asks a server on `listens` that is alive, and ready or not.
    async fn answer(listens: &str, ready: bool, status: StatusCode) -> (u8, String) {
        let listener = TcpListener::bind(listens).await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let pages = Router::new()
            .route("/livez", get(|| async { "ok" }))
            .route("/readyz", get(move || async move { (status, NOT_READY) }));
        let server = tokio::spawn(async { axum::serve(listener, pages).await });
        let address: SocketAddr = listens.parse().unwrap();
        let address = SocketAddr::new(address.ip(), port).to_string();
        let config = Arc::new(Config::of(&[("HTTP_ADDR", &address)]).unwrap());
        let mut out = Vec::new();

        let asked = HealthArgs {
            ready,
            url: None,
            json: false,
        };
        let code = check(&config, &asked, &mut out).await.unwrap();

        server.abort();
        let text = String::from_utf8(out).unwrap();
        (code, text.replace(&port.to_string(), "PORT"))
    }

    #[tokio::test]
    async fn a_process_that_runs_is_healthy_even_if_a_role_is_not_ready() {
        let (code, text) = answer("127.0.0.1:0", false, StatusCode::SERVICE_UNAVAILABLE).await;

        assert_eq!(code, 0);
        assert_eq!(text, "ok: http://127.0.0.1:PORT/livez answers 200\n");
    }

    #[tokio::test]
    async fn readiness_is_an_exit_code_and_one_line_with_the_reason() {
        let (ready, _) = answer("127.0.0.1:0", true, StatusCode::OK).await;
        let (code, text) = answer("127.0.0.1:0", true, StatusCode::SERVICE_UNAVAILABLE).await;

        assert_eq!((ready, code), (0, 1));
        let line = "unhealthy: http://127.0.0.1:PORT/readyz answers 503; worker: starting\n";
        assert_eq!(text, line);
    }

    #[tokio::test]
    async fn a_wildcard_address_is_called_on_loopback() {
        let (code, text) = answer("0.0.0.0:0", false, StatusCode::OK).await;

        assert_eq!(code, 0, "{text}");
        assert!(text.contains("http://127.0.0.1:PORT/livez"), "{text}");
        let six: SocketAddr = "[::]:1".parse().unwrap();
        assert_eq!(reachable(six).to_string(), "[::1]:1");
        let own: SocketAddr = "10.1.2.3:1".parse().unwrap();
        assert_eq!(reachable(own), own);
    }

    #[tokio::test]
    async fn a_process_that_is_gone_is_unhealthy() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        drop(listener);
        let config = Config::of(&[("HTTP_ADDR", &address)]).unwrap();
        let asked = HealthArgs {
            ready: false,
            url: None,
            json: false,
        };
        let mut out = Vec::new();

        let code = check(&config, &asked, &mut out).await.unwrap();

        let line = format!("unhealthy: http://{address}/livez is not reachable\n");
        assert_eq!((code, String::from_utf8(out).unwrap()), (1, line));
    }
}
