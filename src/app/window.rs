//! Intake's dedup window, which follows the retention of the Temporal namespace.

use std::convert::Infallible;
use std::future::Future;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::sleep;

use super::{INTAKE, Process, persist};
use crate::engines::temporal::client;
use crate::engines::temporal::client::Temporal;
use crate::operate::setup;

/// Interval at which intake rereads the retention, which bounds the dedup window.
const REREAD: Duration = Duration::from_secs(3600);

/// Waits until the server reports the namespace's retention, and returns the age above which a record is too old.
/// `None` if the stop comes first.
pub(super) async fn first(process: &Process, temporal: &Temporal) -> Option<Duration> {
    let configured = process.config.intake.dedup_window;
    let read = || async {
        let retention = temporal.retention().await.map_err(NoWindow::Retention)?;
        setup::dedup_window(configured, retention).ok_or(NoWindow::Unbounded)
    };
    let window = persist(process, INTAKE, read).await?;
    if let Some(asked) = configured.filter(|asked| *asked > window) {
        tracing::warn!(
            ?asked,
            ?window,
            "DEDUP_WINDOW is longer than nine tenths of Temporal's retention; intake uses the shorter time"
        );
    }
    Some(window)
}

/// Why the dedup window is unknown.
#[derive(Debug, thiserror::Error)]
enum NoWindow {
    #[error(transparent)]
    Retention(client::Error),
    #[error(
        "the namespace has no retention or does not report it: intake cannot decide which requests are too old"
    )]
    Unbounded,
}

/// Follows the retention while the role runs: if it is lowered, the server forgets runs sooner.
pub(super) async fn follow(
    process: &Process,
    temporal: &Temporal,
    tell: &watch::Sender<Duration>,
) -> Infallible {
    let configured = process.config.intake.dedup_window;
    repeat(REREAD, configured, || temporal.retention(), tell).await
}

/// Rereads the retention at each interval. If it is unknown, the window stays as it is.
async fn repeat<F: Future<Output = Result<Duration, client::Error>>>(
    every: Duration,
    configured: Option<Duration>,
    read: impl Fn() -> F,
    tell: &watch::Sender<Duration>,
) -> Infallible {
    loop {
        sleep(every).await;
        let retention = read().await.unwrap_or_default();
        let Some(window) = setup::dedup_window(configured, retention) else {
            continue;
        };
        if *tell.borrow() != window {
            tracing::warn!(
                ?window,
                "the dedup window has changed with Temporal's retention"
            );
            tell.send_replace(window);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU64, Ordering};

    use super::*;

    #[tokio::test]
    async fn the_window_follows_the_retention_and_stays_where_it_is_not_known() {
        let day = Duration::from_secs(86_400);
        let (tell, mut window) = watch::channel(day * 27);
        // Raised, not known, lowered.
        let reads = AtomicU64::new(0);
        let read = || async {
            let days = [40, 0, 10][(reads.fetch_add(1, Ordering::Relaxed) as usize).min(2)];
            Ok(day * days)
        };
        let seen = async {
            let mut seen = Vec::new();
            while seen.len() < 2 {
                window.changed().await.unwrap();
                seen.push(*window.borrow_and_update());
            }
            seen
        };

        let seen = tokio::select! {
            seen = seen => seen,
            never = repeat(Duration::from_millis(1), None, read, &tell) => match never {},
        };

        assert_eq!(seen, [day * 36, day * 9]);
    }
}
