//! What the stories stand on: engines, a space of one's own, processes, readers, receivers.

pub(crate) mod broker;
pub(crate) mod cutter;
pub(crate) mod engines;
pub(crate) mod gate;
pub(crate) mod ledger;
pub(crate) mod mail;
pub(crate) mod process;
pub(crate) mod proxy;
pub(crate) mod receiver;
pub(crate) mod s3;
pub(crate) mod space;
pub(crate) mod stories;
pub(crate) mod trial;
pub(crate) mod watched;

use std::future::Future;
use std::time::Duration;

pub(crate) use self::space::Space;
pub(crate) use self::watched::Watched;

/// Longer than anything takes that goes well; what goes well does not wait for it.
pub(crate) const SOON: Duration = Duration::from_secs(120);

/// Runs a command to its end; returns its exit code and what it printed.
pub(crate) async fn run(space: &Space, arguments: &[&str]) -> (i32, String) {
    run_with(space, arguments, &[]).await
}

/// The same with further settings.
pub(crate) async fn run_with(
    space: &Space,
    arguments: &[&str],
    settings: &[(&str, &str)],
) -> (i32, String) {
    let mut process = space.start_with(arguments, settings);
    let status = process.ended().await;
    (status.code().unwrap(), process.output())
}

/// Runs a command that does what it is asked for; returns what it printed.
pub(crate) async fn succeed(space: &Space, arguments: &[&str]) -> String {
    let (code, printed) = run(space, arguments).await;
    assert_eq!(code, 0, "{arguments:?}: {printed}");
    printed
}

/// Waits for `future`, at most `limit`.
pub(crate) async fn within<T>(limit: Duration, what: &str, future: impl Future<Output = T>) -> T {
    match tokio::time::timeout(limit, future).await {
        Ok(value) => value,
        Err(_) => panic!("{what}: not within {limit:?}"),
    }
}

/// Waits until `check` gives a value, at most [`SOON`].
pub(crate) async fn eventually<T>(what: &str, check: impl AsyncFnMut() -> Option<T>) -> T {
    eventually_within(SOON, what, check).await
}

/// The same with another limit, for what is long by nature.
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
