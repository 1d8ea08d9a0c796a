//! Counts the workflows that are open, by their age.
//!
//! Every process of a role counts, and so reports the same: a single one could be down.

use std::time::{Duration, SystemTime};

use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use super::client::{Error, Temporal};
use super::sweep::Sweep;
use crate::domain::time::{rfc3339, since_epoch};
use crate::engines::telemetry::events;
use crate::workflows::{delivery, generation};

/// How often they are counted.
const PAUSE: Duration = Duration::from_secs(60);

/// The ages by which they are counted: a label, and the age at which it begins.
const AGES: [(&str, Duration); 5] = [
    ("under_1m", Duration::ZERO),
    ("under_10m", Duration::from_secs(60)),
    ("under_1h", Duration::from_secs(600)),
    ("under_1d", Duration::from_secs(3600)),
    ("over_1d", Duration::from_secs(86_400)),
];

/// Reports the open runs, or the open deliveries, until `stop`. A count that fails is left out.
pub(crate) async fn run(temporal: &Temporal, of: Sweep, stop: &CancellationToken) {
    let (workflow, report): (_, fn(&'static str, u64)) = match of {
        Sweep::Runs => (generation::NAME, events::runs_open),
        Sweep::Deliveries => (delivery::NAME, events::deliveries_open),
    };
    while !stop.is_cancelled() {
        let counting = async {
            match count(temporal, workflow).await {
                Ok(ages) => ages.into_iter().for_each(|(age, open)| report(age, open)),
                Err(error) => tracing::debug!(%error, workflow, "open workflows not counted"),
            }
            sleep(PAUSE).await;
        };
        tokio::select! {
            () = counting => {}
            () = stop.cancelled() => {}
        }
    }
}

async fn count(temporal: &Temporal, workflow: &str) -> Result<Vec<(&'static str, u64)>, Error> {
    let now = SystemTime::now();
    let queue = temporal.task_queue();
    let mut as_old = Vec::new();
    for (_, age) in AGES {
        let started = rfc3339(since_epoch(now - age));
        let query = format!(
            "WorkflowType = '{workflow}' AND TaskQueue = '{queue}' AND ExecutionStatus = 'Running' \
             AND StartTime <= '{started}'"
        );
        as_old.push(temporal.count(&query).await?);
    }
    Ok(by_age(&as_old))
}

/// Returns the number of each age from the numbers that are at least as old.
fn by_age(as_old: &[u64]) -> Vec<(&'static str, u64)> {
    let older = as_old.iter().skip(1).copied().chain([0]);
    let exactly = as_old.iter().zip(older);
    // A workflow that ends between two counts may be missing in the first.
    let exactly = exactly.map(|(all, older)| all.saturating_sub(older));
    AGES.iter().map(|(age, _)| *age).zip(exactly).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_workflow_counts_for_one_age() {
        let ages = by_age(&[9, 7, 7, 3, 1]);

        let expected = [
            ("under_1m", 2),
            ("under_10m", 0),
            ("under_1h", 4),
            ("under_1d", 2),
            ("over_1d", 1),
        ];
        assert_eq!(ages, expected);
        assert!(AGES.is_sorted_by(|(_, a), (_, b)| a < b));
    }
}
