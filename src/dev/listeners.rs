//! Where `genflow dev` serves its pages.

use std::io::ErrorKind;

use tokio::net::TcpListener;

use super::engines::EnginePorts;
use crate::engines::config::Config;

/// The sockets of dev's pages. They listen before the engines start, so that faults show at once.
pub(super) struct Listeners {
    /// Health and metrics.
    pub http: TcpListener,
    /// Webhooks and mails.
    pub pages: TcpListener,
    pub console: TcpListener,
}

/// The port on which mail catchers usually serve their web page.
const PAGES_PORT: u16 = 8025;

impl Listeners {
    /// Listens at the usual addresses, or on free ports.
    ///
    /// # Errors
    /// `HTTP_ADDR` is taken. If one of the others is, another port is as good: dev prints the address.
    pub(super) async fn bind(ports: EnginePorts, config: &Config) -> anyhow::Result<Self> {
        if ports == EnginePorts::Free {
            return Ok(Self {
                http: free().await?,
                pages: free().await?,
                console: free().await?,
            });
        }
        let console = match config.console.addr {
            Some(addr) => TcpListener::bind(addr).await.ok(),
            None => None,
        };
        let pages = TcpListener::bind(("127.0.0.1", PAGES_PORT)).await.ok();
        Ok(Self {
            http: http(config).await?,
            pages: or_free(pages).await?,
            console: or_free(console).await?,
        })
    }
}

async fn http(config: &Config) -> anyhow::Result<TcpListener> {
    let address = config.http_addr;
    TcpListener::bind(address).await.map_err(|error| {
        let remedy = "set another address, or use --ports free";
        let problem = if error.kind() == ErrorKind::AddrInUse {
            format!("HTTP_ADDR {address} is taken; stop the program there, {remedy}")
        } else {
            format!("HTTP_ADDR: cannot listen on {address}; {remedy}")
        };
        anyhow::Error::new(error).context(problem)
    })
}

async fn or_free(listener: Option<TcpListener>) -> std::io::Result<TcpListener> {
    match listener {
        Some(listener) => Ok(listener),
        None => free().await,
    }
}

async fn free() -> std::io::Result<TcpListener> {
    TcpListener::bind("127.0.0.1:0").await
}
