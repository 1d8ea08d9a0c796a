//! The dedup window: the age above which a record is `too_old`. It follows the retention of the Temporal namespace.

use std::convert::Infallible;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::sleep;

use crate::engines::temporal::client;
use crate::engines::temporal::client::Temporal;

/// Interval at which intake reads the retention again: if it is lowered, Temporal forgets runs sooner.
const REREAD: Duration = Duration::from_secs(3600);

/// Why the dedup window is unknown.
#[derive(Debug, thiserror::Error)]
pub enum Unknown {
    /// Temporal did not report the namespace.
    #[error(transparent)]
    Server(client::Error),
    /// The namespace has no retention.
    #[error(
        "the Temporal namespace has no retention or does not report it, so intake cannot decide which requests are \
         too old; set its retention"
    )]
    NoRetention,
}

/// Returns the dedup window: as configured, but at most nine tenths of the retention of the Temporal namespace
/// (contract, promise 2). `None` if the namespace has no retention or does not report it.
pub fn dedup_window(configured: Option<Duration>, retention: Duration) -> Option<Duration> {
    let maximum = retention * 9 / 10;
    (!maximum.is_zero()).then(|| configured.map_or(maximum, |asked| asked.min(maximum)))
}

/// Reads the retention and returns the window.
///
/// # Errors
/// The window is unknown.
pub async fn read(temporal: &Temporal, configured: Option<Duration>) -> Result<Duration, Unknown> {
    let retention = temporal.retention().await.map_err(Unknown::Server)?;
    dedup_window(configured, retention).ok_or(Unknown::NoRetention)
}

/// Keeps `window` up to date while intake runs. While the retention is unknown, `window` does not change.
pub async fn follow(
    temporal: &Temporal,
    configured: Option<Duration>,
    window: &watch::Sender<Duration>,
) -> Infallible {
    let first = *window.borrow();
    if let Some(asked) = configured.filter(|asked| *asked > first) {
        tracing::warn!(
            ?asked,
            window = ?first,
            "DEDUP_WINDOW is longer than nine tenths of Temporal's retention; intake uses the shorter time"
        );
    }
    repeat(REREAD, || read(temporal, configured), window).await
}

async fn repeat<F: Future<Output = Result<Duration, Unknown>>>(
    every: Duration,
    read: impl Fn() -> F,
    window: &watch::Sender<Duration>,
) -> Infallible {
    loop {
        sleep(every).await;
        let before = *window.borrow();
        match read().await {
            Ok(now) if now == before => {}
            Ok(now) => {
                tracing::warn!(
                    window = ?now,
                    "the dedup window has changed with Temporal's retention"
                );
                window.send_replace(now);
            }
            Err(error) => tracing::warn!(
                error = &error as &dyn std::error::Error,
                window = ?before,
                "Temporal's retention cannot be read; the dedup window stays as it is"
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU64, Ordering};

    use super::*;

    #[test]
    fn the_dedup_window_is_as_configured_and_never_more_than_nine_tenths_of_the_retention() {
        let day = Duration::from_secs(86_400);

        assert_eq!(dedup_window(None, day * 30), Some(day * 27));
        assert_eq!(dedup_window(Some(day), day * 30), Some(day));
        assert_eq!(dedup_window(Some(day * 60), day * 30), Some(day * 27));
        assert_eq!(dedup_window(Some(day), Duration::ZERO), None);
    }

    #[tokio::test]
    async fn the_window_follows_the_retention_and_does_not_change_while_that_is_unknown() {
        let day = Duration::from_secs(86_400);
        let (sender, mut window) = watch::channel(day * 27);
        // Raised, unknown, lowered.
        let reads = AtomicU64::new(0);
        let read = || async {
            let days = [40, 0, 10][(reads.fetch_add(1, Ordering::Relaxed) as usize).min(2)];
            dedup_window(None, day * days).ok_or(Unknown::NoRetention)
        };
        let seen = async {
            let mut seen = Vec::new();
            while seen.len() < 2 {
                window.changed().await.unwrap();
                seen.push(*window.borrow_and_update());
            }
            seen
        };
        let (mut log, writer) = std::io::pipe().unwrap();
        let subscriber = tracing_subscriber::fmt().with_writer(Arc::new(writer));
        let logging = tracing::subscriber::set_default(subscriber.finish());

        let seen = tokio::select! {
            seen = seen => seen,
            never = repeat(Duration::from_millis(1), read, &sender) => match never {},
        };

        drop(logging);
        let mut text = String::new();
        log.read_to_string(&mut text).unwrap();
        assert_eq!(seen, [day * 36, day * 9]);
        let unread = text.matches("Temporal's retention cannot be read").count();
        assert_eq!(unread, 1, "{text}");
    }
}
