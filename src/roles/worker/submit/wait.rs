//! Waits a moment for a job that was just accepted. The outputs of a quick model are stored by `submit`, so that its runs
//! need no `fetch`: a third of what a request costs Temporal.
//!
//! Nothing depends on it: if the wait ends without stored outputs, for whatever reason, `fetch` polls the job as it polls
//! any other. If the attempt is lost meanwhile, the next one finds the job like one whose answer is lost.

use std::pin::pin;
use std::time::Duration;

use tokio::time::{sleep, timeout};

use super::This;
use crate::contract::run::Job;
use crate::domain::Generated;
use crate::engines::clock::now;
use crate::engines::failpoint;
use crate::engines::provider::Poll;
use crate::roles::worker::steps::priced;

/// Pause after the first poll; it doubles.
const PAUSE: Duration = Duration::from_millis(100);
/// How long the outputs may take to be stored; `submit` has a time-out.
const STORE_TIME: Duration = Duration::from_secs(30);
impl This<'_> {
    /// Waits for the outputs of a job, and stores them. `None` if that did not succeed in time, or was not tried.
    pub(super) async fn wait(&self, job: &Job) -> Option<Generated> {
        let waits = &self.work.waits;
        let model = self.provider.model(&self.input.spec);
        let _place = waits.enter(model)?;
        let polled = tokio::select! {
            polled = timeout(waits.limit(), self.until_done(job)) => polled,
            () = self.ctx.cancelled() => return None,
            () = self.work.drain.begun() => return None,
        };
        waits.learn(model, polled.is_ok());
        let Poll::Succeeded {
            outputs,
            cost_usd,
            held: _held,
        } = polled.ok()??
        else {
            return None;
        };
        failpoint::hit("submit.waited").await;
        let pending = &self.input.pending;
        let storing = self.work.store_all(pending, &self.provider, &outputs, None);
        let cancelled = pin!(self.ctx.cancelled());
        let storing = self.work.in_grace(storing, cancelled);
        let outputs = match timeout(STORE_TIME, storing).await.ok()?.ok()? {
            Ok(outputs) => outputs,
            Err(error) => {
                tracing::info!(workflow = %pending.workflow, %error, "outputs not stored by submit; fetch tries again");
                return None;
            }
        };
        priced(&self.provider, cost_usd);
        Some(Generated {
            outputs,
            provider: job.provider.as_str().to_owned(),
            provider_job_id: job.id.clone(),
            elapsed_ms: now() - self.input.started_at,
            cost_usd,
            sent: None,
            notes: Vec::new(),
        })
    }

    /// Polls a job until it has ended. `None` if a poll fails.
    async fn until_done(&self, job: &Job) -> Option<Poll> {
        let mut pause = PAUSE;
        loop {
            match self.provider.poll(job).await.ok()? {
                Poll::Running { after, .. } => sleep(after.unwrap_or(pause)).await,
                ended @ (Poll::Succeeded { .. } | Poll::Failed(_)) => return Some(ended),
            }
            pause *= 2;
        }
    }
}
