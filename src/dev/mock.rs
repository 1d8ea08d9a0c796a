//! `MOCK_EXTERNAL_APIS`: the roles, with a provider simulator beside them in place of the generation APIs.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::Context as _;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use super::simulator::{Simulator, SimulatorOptions};
use crate::app::{self, Roles};
use crate::engines::config::{Config, Protocol};
use crate::engines::telemetry;

/// Runs the roles as [`app::run`] does; if a worker is among them, it calls a simulator in this process.
///
/// # Errors
/// Those of [`app::run`]; or the simulator cannot listen or fails.
pub async fn run(
    mut config: Config,
    roles: Roles,
    listener: TcpListener,
    metrics: telemetry::Handle,
    stop: CancellationToken,
) -> anyhow::Result<()> {
    if !roles.worker {
        return app::run(config, roles, listener, metrics, stop).await;
    }
    if !config.is_development() {
        tracing::warn!(
            "MOCK_EXTERNAL_APIS=true: results come from the simulator, no generation API is called"
        );
    }
    let options = SimulatorOptions {
        listen: ([127, 0, 0, 1], 0).into(),
        job_time: Duration::from_secs(2),
    };
    let simulator = Simulator::bind(options).await;
    let simulator = simulator.context("the provider simulator cannot listen")?;
    let address = simulator.address();
    config
        .worker
        .relocate(|protocol| url(address, protocol).parse().ok());
    if let Some(callbacks) = &mut config.worker.callbacks {
        let keys = format!("http://{address}/.well-known/jwks.json");
        callbacks.fal_keys = keys.parse().unwrap_or_else(|_| callbacks.fal_keys.clone());
    }
    // The simulator outlives the roles, and answers their last calls.
    let served = CancellationToken::new();
    let working = async {
        let _ends_the_simulator = served.clone().drop_guard();
        app::run(config, roles, listener, metrics, stop).await
    };
    let (worked, simulated) = tokio::join!(working, simulator.run(served.clone()));
    worked?;
    simulated.context("the provider simulator failed")
}

/// Returns the base URL at which the simulator at `address` serves a protocol. A description without a preset leads there,
/// too, so that nothing is paid: its calls are not found.
fn url(address: SocketAddr, protocol: &Protocol) -> String {
    match protocol {
        Protocol::Replicate | Protocol::OpenAi | Protocol::Unknown => format!("http://{address}"),
        Protocol::Fal => format!("http://{address}/fal"),
        Protocol::Described(api) => format!("http://{address}/{}", api.preset),
    }
}
