//! Support for the tests: engines, a separate space for each test, processes, readers, receivers.

pub(crate) mod apicurio;
pub(crate) mod axonops;
pub(crate) mod broker;
pub(crate) mod certificates;
pub(crate) mod collector;
pub(crate) mod cutter;
pub(crate) mod described;
pub(crate) mod engines;
pub(crate) mod events;
pub(crate) mod front;
pub(crate) mod gate;
pub(crate) mod janitor;
pub(crate) mod ledger;
pub(crate) mod mail;
pub(crate) mod presets;
pub(crate) mod process;
pub(crate) mod proxy;
pub(crate) mod reader;
pub(crate) mod receiver;
pub(crate) mod requests;
pub(crate) mod s3;
pub(crate) mod secured;
pub(crate) mod server;
pub(crate) mod settings;
pub(crate) mod space;
pub(crate) mod stories;
pub(crate) mod trial;
pub(crate) mod watched;

use std::future::Future;
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::time::Duration;

pub(crate) use self::space::Space;
pub(crate) use self::watched::Watched;

/// A limit above the duration of any successful step; successful steps do not wait for it.
pub(crate) const SOON: Duration = Duration::from_secs(120);

/// Returns the path of a certificate or key of the tests.
pub(crate) fn tls(name: &str) -> PathBuf {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/tls")).join(name)
}

/// Returns an address that no process listens on.
pub(crate) fn nowhere() -> SocketAddr {
    let free = TcpListener::bind("127.0.0.1:0").unwrap();
    free.local_addr().unwrap()
}

/// Waits for `future`, at most `limit`.
pub(crate) async fn within<T>(limit: Duration, what: &str, future: impl Future<Output = T>) -> T {
    match tokio::time::timeout(limit, future).await {
        Ok(value) => value,
        Err(_) => panic!("{what}: not within {limit:?}"),
    }
}

/// Waits until `check` returns a value, at most [`SOON`].
pub(crate) async fn eventually<T>(what: &str, check: impl AsyncFnMut() -> Option<T>) -> T {
    eventually_within(SOON, what, check).await
}

/// Like [`eventually`], with another limit, for long steps.
pub(crate) async fn eventually_within<T>(
    limit: Duration,
    what: &str,
    mut check: impl AsyncFnMut() -> Option<T>,
) -> T {
    let polling = async {
        loop {
            if let Some(value) = check().await {
                return value;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    within(limit, what, polling).await
}
