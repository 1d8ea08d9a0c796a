//! Whose a job is that a provider has just accepted: the answer may come when the attempt, or its run, is over.

use std::time::{Duration, Instant};

use tokio::time::sleep;

use super::This;
use super::record::{Unstored, store};
use crate::contract::run::{Attempt, Job, Leftover};
use crate::engines::temporal::activity::every;
use crate::engines::temporal::closed_run::wanted::is_wanted;

/// A run that ends within this time from the answer to the fence looks for its job for longer than that
/// ([`LOOKS`](crate::roles::worker::steps::LOOKS), [`BETWEEN_LOOKS`](crate::roles::worker::steps::BETWEEN_LOOKS)), so its end finds it.
const QUICK: Duration = Duration::from_secs(3);
/// Pause between two questions.
const PAUSE: Duration = Duration::from_secs(1);
/// How long it may take until the server has decided; longer than any attempt.
const LONGEST: Duration = Duration::from_secs(600);

impl This<'_> {
    /// Cancels a job that neither its run nor a later attempt has use for. A quick answer costs no call.
    ///
    /// By now the job can be found, by the provider's list or the record in the store. So whatever begins to look from here
    /// on finds it: a later attempt, or the end of the run. Only one that has looked already may have missed it.
    pub(super) async fn settle(&self, fence: Attempt, asked: Instant, job: &Job) {
        if asked.elapsed() < every(self.ctx).min(QUICK) && !self.ctx.is_cancelled() {
            return;
        }
        let workflow = &self.input.handed.workflow;
        let unwanted = tokio::select! {
            unwanted = tokio::time::timeout(LONGEST, self.is_unwanted(fence, job)) => unwanted.ok(),
            () = self.work.drain.over() => None,
        };
        match unwanted {
            Some(false) => {}
            Some(true) => {
                tracing::warn!(%workflow, job = job.id, "the provider accepted the job when its run was over: it is cancelled");
                let leftover = Leftover::Job(job.clone());
                self.work.end_job(workflow, &leftover).await;
            }
            None => {
                tracing::warn!(%workflow, job = job.id, "it is not known whether the job is wanted: it is not cancelled");
            }
        }
    }

    async fn is_unwanted(&self, fence: Attempt, job: &Job) -> bool {
        loop {
            match store(self.ctx, fence).await {
                // This attempt has the job, and its result says so.
                Ok(()) | Err(Unstored::CancelRequested) => return false,
                Err(Unstored::NotCurrent) => break,
                Err(Unstored::Unanswered(_)) => sleep(PAUSE).await,
            }
        }
        loop {
            let client = self.ctx.client();
            let workflow = &self.input.handed.workflow;
            match is_wanted(&client, workflow, self.run_id, job).await {
                Ok(Some(wanted)) => return !wanted,
                Ok(None) | Err(_) => sleep(PAUSE).await,
            }
        }
    }
}
