//! Cancels a just accepted job that nothing will use: the answer may arrive after the attempt, or its run, has ended.

use std::time::Duration;

use tokio::time::{Instant, sleep};

use super::This;
use crate::contract::run::{AttemptRecord, Job, ProviderJobLeft};
use crate::engines::telemetry::events;
use crate::engines::temporal::activity::every;
use crate::engines::temporal::job_use::is_used;
use crate::roles::worker::heartbeat::{Unstored, store};
use crate::roles::worker::steps::Ended;

/// A provider's answer within this time after the fence needs no check: a run that has ended since then searches for
/// its job for longer ([`LOOKUPS`](crate::roles::worker::steps::LOOKUPS),
/// [`BETWEEN_LOOKUPS`](crate::roles::worker::steps::BETWEEN_LOOKUPS)), and so finds it.
const QUICK: Duration = Duration::from_secs(3);
/// Pause between two calls to Temporal.
const PAUSE: Duration = Duration::from_secs(1);
/// Time limit for finding out whether the job is used. Longer than any attempt, because it may depend on how a later
/// attempt ends.
const LONGEST: Duration = Duration::from_secs(600);

impl This<'_> {
    /// Cancels a job that neither its run nor a later attempt will use; returns whether one is known to use it. A quick
    /// answer of the provider needs no call.
    ///
    /// By now the job can be found, in the provider's list or by its record in the store. So every search that starts
    /// from here on finds it, that of a later attempt or of the run's end. Only an earlier search may have missed it.
    pub(super) async fn cancel_if_unwanted(
        &self,
        fence: AttemptRecord,
        asked: Instant,
        job: &Job,
    ) -> bool {
        if asked.elapsed() < every(self.ctx).min(QUICK) && !self.ctx.is_cancelled() {
            return true;
        }
        let workflow = &self.input.pending.workflow;
        let unwanted = tokio::select! {
            unwanted = tokio::time::timeout(LONGEST, self.is_unwanted(fence, job)) => unwanted.ok(),
            () = self.work.drain.over() => None,
        };
        match unwanted {
            Some(false) => return true,
            Some(true) => {
                tracing::warn!(event = "job_unwanted", %workflow, job = job.id, "the provider accepted a job that its run does not use: cancelling it");
                let leftover = ProviderJobLeft::Job(job.clone());
                // One job counts once: by what became of it.
                let cause = match self.work.end_job(workflow, &leftover).await {
                    Ok(Ended::Cancelled) => "unused",
                    Ok(Ended::Not) => "not_cancelled",
                    // It should know the API: it has just submitted the job.
                    Err(error) => {
                        tracing::warn!(event = "job_not_cancelled", %workflow, %error, "the job was not cancelled");
                        "not_cancelled"
                    }
                };
                events::money_at_risk(job.provider, cause);
            }
            None => {
                tracing::warn!(event = "job_not_cancelled", %workflow, job = job.id, "cannot find out whether the run still uses the job: not cancelling it");
                events::money_at_risk(job.provider, "not_cancelled");
            }
        }
        false
    }

    async fn is_unwanted(&self, fence: AttemptRecord, job: &Job) -> bool {
        loop {
            match store(self.ctx, fence).await {
                // This is the current attempt, so its result hands the job to the run.
                Ok(()) | Err(Unstored::CancelRequested) => return false,
                Err(Unstored::NotCurrent) => break,
                Err(Unstored::Unanswered(_)) => sleep(PAUSE).await,
            }
        }
        loop {
            let client = self.ctx.client();
            let workflow = &self.input.pending.workflow;
            let activity = &self.ctx.info().activity_id;
            match is_used(&client, workflow, self.run_id, activity, job).await {
                Ok(Some(wanted)) => return !wanted,
                Ok(None) | Err(_) => sleep(PAUSE).await,
            }
        }
    }
}
