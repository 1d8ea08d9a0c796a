//! Waits a moment for a job that was just accepted. The outputs of a quick model are stored by `submit`, so that its runs
//! need no `fetch`: about a fifth of what a request costs Temporal.
//!
//! Nothing depends on it: if the wait ends without stored outputs, for whatever reason, `fetch` polls the job as it polls
//! any other. If the attempt is lost meanwhile, the next one finds the job's record in the store, or the
//! job in the provider's list.

use std::pin::pin;
use std::time::Duration;

use tokio::time::{sleep, sleep_until, timeout};

use super::This;
use crate::contract::run::{AttemptRecord, Job, SentInput};
use crate::domain::{Generated, Output};
use crate::engines::clock::now;
use crate::engines::failpoint;
use crate::engines::provider::Poll;
use crate::engines::storage::Source;
use crate::engines::temporal::activity::{Aborted, priority};
use crate::roles::worker::steps::{Way, priced};

/// Pause after the first poll; it doubles up to `FETCH_POLL_INTERVAL`.
const PAUSE: Duration = Duration::from_millis(100);
/// How long the outputs may take to be stored; `submit` has a time-out.
const STORE_TIME: Duration = Duration::from_secs(30);

impl This<'_> {
    /// Waits for the outputs of a job, and stores them. `None` if that did not succeed in time, or was not tried.
    /// `is_kept` says whether the job's record is in the store.
    pub(super) async fn wait(
        &self,
        fence: AttemptRecord,
        job: &Job,
        sent: &SentInput,
        is_kept: bool,
    ) -> Option<Generated> {
        let waits = &self.work.waits;
        // The first poll that the API allows would come after the wait.
        if self.provider.shortest_pause() >= waits.limit() {
            return None;
        }
        let model = self.provider.model(&self.input.spec);
        let _place = waits.enter(model)?;
        if !is_kept && !self.keep_job(fence, job, sent).await {
            return None;
        }
        let polled = tokio::select! {
            polled = timeout(waits.limit(), self.until_done(job)) => polled,
            _ = self.ended() => return None,
            () = self.work.drain.begun() => return None,
        };
        let Ok(polled) = polled else {
            waits.learn(model, false);
            return None;
        };
        let Poll::Succeeded {
            outputs,
            charge,
            held: _held,
        } = polled?
        else {
            return None;
        };
        failpoint::hit("submit.waited").await;
        let outputs = self.store_in_time(&outputs).await;
        waits.learn(model, outputs.is_some());
        let outputs = outputs?;
        let cost = sent.quote.settle(charge.as_ref());
        priced(&self.provider, sent.model.as_deref(), self.priority(), cost);
        Some(Generated {
            outputs,
            provider: job.provider.as_str().to_owned(),
            provider_job_id: job.id.clone(),
            elapsed_ms: (now() - self.input.started_at).max(0),
            cost_usd: cost.map(|cost| cost.usd),
            cost_source: cost.map(|cost| cost.source),
            sent: sent.sent.clone(),
            notes: sent.notes.clone(),
            model: sent.model.clone(),
        })
    }

    /// Returns the priority of the request, as a label.
    pub(super) fn priority(&self) -> &'static str {
        priority(self.ctx)
    }

    /// Polls a job until it has ended, at once when the provider calls back. `None` if a poll fails.
    async fn until_done(&self, job: &Job) -> Option<Poll> {
        let mut wake = self.work.wakes.of(&self.input.pending.workflow);
        let shortest = self.provider.shortest_pause();
        sleep(shortest).await;
        let mut pause = PAUSE.max(shortest);
        loop {
            match self.provider.poll(job).await.ok()? {
                Poll::Running { after, .. } => tokio::select! {
                    () = sleep(after.unwrap_or(pause)) => {}
                    call = wake.called() => call.take(),
                },
                ended @ (Poll::Succeeded { .. } | Poll::Failed(_)) => {
                    wake.take();
                    return Some(ended);
                }
            }
            pause = (pause * 2).min(self.work.settings.poll_interval.max(shortest));
        }
    }

    /// Returns once the run is cancelled or its deadline has passed.
    async fn ended(&self) -> Aborted {
        tokio::select! {
            () = self.ctx.cancelled() => Aborted::Cancelled,
            () = sleep_until(self.deadline) => Aborted::Expired,
        }
    }

    /// Tries once to store the outputs. After a cancel or the deadline, `STORE_GRACE` applies, as in `fetch`.
    async fn store_in_time(&self, outputs: &[Source]) -> Option<Vec<Output>> {
        let (work, pending) = (self.work, &self.input.pending);
        let storing = work.store_all(pending, &self.provider, outputs, Way::Wait);
        let ended = pin!(self.ended());
        let storing = work.in_grace(storing, ended);
        let too_long = async {
            sleep(STORE_TIME).await;
            if self.ctx.is_cancelled() || self.is_past_deadline() {
                sleep(work.settings.store_grace).await;
            }
        };
        let stored = tokio::select! {
            stored = storing => stored.ok()?,
            () = too_long => return None,
        };
        let failed = |error: &_| tracing::info!(workflow = %pending.workflow, %error, "outputs not stored by submit; fetch tries again");
        stored.inspect_err(failed).ok()
    }
}
