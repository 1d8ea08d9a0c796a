//! Waits until Temporal answers, and probes it while a role runs: both set the role's readiness.

use std::convert::Infallible;
use std::error::Error;
use std::time::Duration;

use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

use super::client::Temporal;
use super::payloads;
use crate::engines::health::Health;

/// Pause between attempts to reach Temporal.
const RECONNECT: Duration = Duration::from_secs(1);
/// Interval at which Temporal is probed, and how long a probe waits for the answer.
const PROBE: Duration = Duration::from_secs(5);

/// Repeats a call until it succeeds; meanwhile the role is not ready. `None` if `stop` comes first.
pub async fn until_answered<T, E: Error, F: Future<Output = Result<T, E>>>(
    role: &'static str,
    health: &Health,
    stop: &CancellationToken,
    call: impl Fn() -> F,
) -> Option<T> {
    let calls = async {
        let mut tries = 0_u32;
        loop {
            let error = match call().await {
                Ok(value) => return value,
                Err(error) => error,
            };
            tries += 1;
            health.not_ready(role, &error.to_string());
            if tries.is_power_of_two() {
                let cause = error.source().map(ToString::to_string).unwrap_or_default();
                tracing::warn!(role, %error, cause, tries, "waiting for Temporal");
            }
            sleep(RECONNECT).await;
        }
    };
    stop.run_until_cancelled(calls).await
}

/// Probes Temporal without end and sets the role's readiness: the SDK's pollers report neither an outage nor a payload
/// that they cannot read. Such a worker is not ready until it is restarted with the missing key; others do its tasks.
pub async fn probe(role: &'static str, temporal: &Temporal, health: &Health) -> Infallible {
    loop {
        match timeout(PROBE, temporal.retention()).await {
            Ok(Ok(_)) => match temporal.missing_key() {
                None => health.ready(role),
                Some(id) => health.not_ready(role, &payloads::Error::UnknownKey(id).to_string()),
            },
            Ok(Err(error)) => health.not_ready(role, &error.to_string()),
            Err(_) => health.not_ready(role, "the Temporal server does not answer"),
        }
        sleep(PROBE).await;
    }
}
