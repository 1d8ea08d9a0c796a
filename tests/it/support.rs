//! What the stories stand on: engines, a space of one's own, processes, readers, receivers.

pub mod engines;
pub mod ledger;
pub mod process;
pub mod receiver;
pub mod space;

use std::future::Future;
use std::time::Duration;

pub use self::space::Space;

/// Longer than anything takes that goes well; what goes well does not wait for it.
pub const SOON: Duration = Duration::from_secs(60);

/// Waits for `future`, at most `limit`.
pub async fn within<T>(limit: Duration, what: &str, future: impl Future<Output = T>) -> T {
    match tokio::time::timeout(limit, future).await {
        Ok(value) => value,
        Err(_) => panic!("{what}: not within {limit:?}"),
    }
}

/// Waits until `check` gives a value, at most [`SOON`].
pub async fn eventually<T>(what: &str, mut check: impl AsyncFnMut() -> Option<T>) -> T {
    let polling = async {
        loop {
            if let Some(value) = check().await {
                return value;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    within(SOON, what, polling).await
}
