//! Each role while it has nothing to do, and how long it and `genflow dev` take to start.

use std::time::{Duration, Instant};

use tokio::time::sleep;

use super::report::Report;
use super::stage::Stages;
use crate::operate::cli::local::Bench;

const ROW: &str = "idle";
/// Time to settle after the start.
const SETTLE: Duration = Duration::from_secs(5);
/// How long a role is observed.
const OBSERVED: Duration = Duration::from_secs(20);

pub(super) async fn run(
    stages: &Stages<'_>,
    bench: &Bench,
    report: &mut Report,
) -> anyhow::Result<()> {
    for _ in 0..bench.rounds {
        let stage = stages.open(&[]).await?;
        for name in ["intake", "worker", "notifier"] {
            let began = Instant::now();
            let role = stage.role(name).await?;
            report.add(ROW, name, "s to ready", began.elapsed().as_secs_f64());
            sleep(SETTLE).await;
            let costs = stages.measure(&[&role])?;
            sleep(OBSERVED).await;
            costs.add_shares(report, (ROW, name))?;
            role.stop().await;
        }
        // It starts its own engines, which are installed already.
        report.add(ROW, "genflow dev", "s to ready", stage.dev().await?);
    }
    Ok(())
}
