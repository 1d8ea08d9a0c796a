//! Notifies each `fetch` on this worker that its run was cancelled, or that its provider has called back another
//! worker. Temporal reports a cancel in the answer to a heartbeat, but a `fetch` sends one only every few minutes.
//! Temporal does not report a callback at all. So such a run sets a search attribute, and each worker lists the runs
//! that have it.

use std::time::Duration;

use temporalio_common::data_converters::TemporalSerializable;
use temporalio_sdk::activities::ActivityContext;
use tokio::sync::watch;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use crate::domain::WorkflowId;
use crate::engines::failpoint;
use crate::engines::temporal::client::Temporal;
use crate::engines::temporal::list::Flagged;
use crate::roles::worker::heartbeat::{Unstored, store};

/// Pause between two lists, on average.
const PAUSE: Duration = Duration::from_secs(4);

/// The last list that had any runs.
#[derive(Debug, Default)]
pub(crate) struct Listed(watch::Sender<Flagged>);

impl Listed {
    /// Lists these runs until `stop`, while a `fetch` runs here. While the list cannot be read, a `fetch` notices a
    /// cancel with its next heartbeat, and the end of its job with its next poll.
    pub(crate) async fn watch(&self, temporal: &Temporal, stop: &CancellationToken) {
        let mut failures = 0_u32;
        loop {
            // Longer after failures. The jitter keeps workers that started together from listing together.
            let pause = PAUSE * (1 << failures.min(4));
            tokio::select! {
                () = sleep(pause.mul_f64(rand::random_range(0.75..1.25))) => {}
                () = stop.cancelled() => return,
            }
            if self.0.receiver_count() == 0 {
                continue;
            }
            let mut flagged = Flagged::default();
            let listed = temporal.list_flagged(&mut flagged).await;
            if !flagged.is_empty() {
                self.0.send_replace(flagged);
            }
            match listed {
                Ok(()) => failures = 0,
                Err(error) => {
                    failures += 1;
                    if failures.is_power_of_two() {
                        let error = &error as &dyn std::error::Error;
                        tracing::warn!(
                            error,
                            failures,
                            "listing cancelled and called-back runs failed"
                        );
                    }
                }
            }
        }
    }

    /// Returns once the run is listed and Temporal confirms that this attempt must end. `details` go with the heartbeat
    /// that asks for this.
    pub(crate) async fn cancelled<D: TemporalSerializable + 'static>(
        &self,
        ctx: &ActivityContext,
        details: impl Fn() -> D,
    ) {
        let workflow = ctx.info().workflow_id.clone().unwrap_or_default();
        let mut listed = self.0.subscribe();
        while listed.changed().await.is_ok() {
            let is_listed = listed.borrow_and_update().cancelling.contains(&workflow);
            if is_listed {
                failpoint::hit("fetch.cancelled").await;
                match store(ctx, details()).await {
                    Err(Unstored::CancelRequested | Unstored::NotCurrent) => return,
                    Ok(()) | Err(Unstored::Unanswered(_)) => {}
                }
            }
        }
        std::future::pending().await
    }

    /// Returns once a list has the run as called back. A run stays listed until it closes, so a caller that misses one
    /// list gets the next.
    pub(crate) async fn called_back(&self, workflow: &WorkflowId) {
        let mut listed = self.0.subscribe();
        while listed.changed().await.is_ok() {
            if listed
                .borrow_and_update()
                .called_back
                .contains(workflow.as_str())
            {
                return;
            }
        }
        std::future::pending().await
    }
}
