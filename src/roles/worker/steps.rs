//! What a run's steps do: wait for a job, store its outputs, end it, tell the world. Temporal's crates are not named here;
//! only the inputs and outputs of the steps are those of its activities.

mod fetch;
mod outputs;
mod shares;
mod turn;

pub(crate) use self::shares::Shares;
pub(crate) use self::turn::{Tally, Turn};

use std::future::Future;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use tokio_util::sync::CancellationToken;

use crate::contract::run::{Answer, Finish, Handed, Job, Leftover, Sought};
use crate::domain::time::span;
use crate::domain::{Event, WorkflowId};
use crate::engines::config;
use crate::engines::failpoint;
use crate::engines::provider;
use crate::engines::provider::{Provider, Providers};
use crate::engines::publisher::Publisher;
use crate::engines::storage::temp::TempFolders;
use crate::engines::storage::{Downloader, Manifest, Store};
use crate::engines::telemetry::events::{ProviderCalled, ProviderCost, RunEnded};
use crate::engines::temporal::activity::Aborted;

/// What the steps work with.
#[derive(Debug)]
pub struct Work {
    /// Publishes events.
    pub publisher: Publisher,
    /// The outside APIs.
    pub providers: Providers,
    /// Where results go.
    pub store: Store,
    /// The same for what came with the answer to a submit, which has less time than thousands of fetches have.
    pub store_apart: Store,
    /// Where downloads go first.
    pub temp: TempFolders,
    /// Brings outputs to disk.
    pub downloader: Downloader,
    /// Bounds and pauses.
    pub settings: config::Worker,
    /// The fetches that run, by user.
    pub shares: Shares,
    /// When its worker stops.
    pub drain: Drain,
}

/// The stop of a worker: from when it begins, nothing is waited for; until it is over, what is stored goes on.
#[derive(Clone, Debug)]
pub struct Drain {
    /// Cancelled when the stop begins.
    pub stop: CancellationToken,
    /// How long it takes from then.
    pub grace: Duration,
}

impl Drain {
    pub(crate) async fn begun(&self) {
        self.stop.cancelled().await;
    }

    pub(crate) async fn over(&self) {
        self.stop.cancelled().await;
        tokio::time::sleep(self.grace).await;
    }
}

/// How often `finish` asks the provider to end a job.
const CANCEL_TRIES: u32 = 3;
/// How often a job is looked for before it counts as absent: a list may lag behind what was accepted, and an attempt that
/// has its answer may be about to keep it.
pub(crate) const LOOKS: u32 = 5;
/// Pause between two looks.
pub(crate) const BETWEEN_LOOKS: Duration = Duration::from_secs(1);
/// How long all asking of the provider in `finish` may take.
const CANCEL_TIME: Duration = Duration::from_secs(60);
/// How long publishing may take before the step is tried again.
const PUBLISH_TIME: Duration = Duration::from_secs(120);

impl Work {
    /// Publishes what a step was handed.
    ///
    /// # Errors
    /// [`Aborted::Again`] when the events are not all on their topic.
    pub async fn publish(&self, handed: &Handed) -> Result<(), Aborted> {
        let publishing = self
            .publisher
            .publish(&handed.events, handed.traceparent.as_deref());
        tokio::time::timeout(PUBLISH_TIME, publishing)
            .await
            .context("publishing took too long")?
            .context("events")?;
        Ok(())
    }

    /// Ends a run: ends what may still run at the provider, writes the manifest, publishes all events and the outcome.
    ///
    /// # Errors
    /// [`Aborted::Again`] until all of it is done.
    pub async fn finish(&self, input: Finish) -> Result<(), Aborted> {
        failpoint::hit("finish.began").await;
        let ending = self.end_job(&input.handed.workflow, &input.leftover);
        if tokio::time::timeout(CANCEL_TIME, ending).await.is_err() {
            tracing::warn!(workflow = %input.handed.workflow, "the provider's job was not ended in time");
        }
        let outcome = input
            .handed
            .events
            .last()
            .context("finish was handed no outcome")?;
        if let Some(result) = &outcome.result {
            let manifest = Manifest {
                workflow_id: input.handed.workflow.clone(),
                fingerprint: input.handed.fingerprint.clone(),
                result: result.clone(),
            };
            self.store
                .write_manifest(&manifest)
                .await
                .context("the manifest was not written")?;
        }
        self.publish(&input.handed).await?;
        failpoint::hit("finish.published").await;
        let trace = input.handed.traceparent.as_deref();
        let publishing = self.publisher.publish_result(outcome, trace);
        tokio::time::timeout(PUBLISH_TIME, publishing)
            .await
            .context("publishing took too long")?
            .context("outcome")?;
        tell(outcome, &input);
        Ok(())
    }

    /// Ends what may still run at the provider, as well as the provider lets it.
    pub(crate) async fn end_job(&self, workflow: &WorkflowId, leftover: &Leftover) {
        for attempt in 1..=CANCEL_TRIES {
            let ended = match leftover {
                Leftover::None => return,
                Leftover::Job(job) => self.cancel(job).await,
                Leftover::Unknown(sought) => self.find_and_end(workflow, sought).await,
            };
            let Err(error) = ended else { return };
            tracing::warn!(%workflow, error = format!("{error:#}"), attempt, "the provider's job was not ended");
            tokio::time::sleep(Duration::from_secs(u64::from(attempt))).await;
        }
    }

    async fn cancel(&self, job: &Job) -> anyhow::Result<()> {
        let provider = self.providers.that_has(job);
        Ok(call(provider, "cancel", provider.cancel(job)).await?)
    }

    async fn find_and_end(&self, workflow: &WorkflowId, sought: &Sought) -> anyhow::Result<()> {
        let looks = if sought.recent { LOOKS } else { 1 };
        for look in 1..=looks {
            if let Some(job) = self.find(workflow, sought).await? {
                return self.cancel(&job).await;
            }
            if look < looks {
                tokio::time::sleep(BETWEEN_LOOKS).await;
            }
        }
        Ok(())
    }

    /// Looks once for the job of a run: in the provider's list, or where it has none, in the answer that was kept.
    ///
    /// # Errors
    /// When it is not known whether there is one.
    pub(crate) async fn find(
        &self,
        workflow: &WorkflowId,
        sought: &Sought,
    ) -> anyhow::Result<Option<Job>> {
        let provider = self.providers.of(sought.kind, sought.provider);
        if provider.can_find() {
            let finding = provider.find(workflow, sought.since);
            return Ok(call(provider, "find", finding).await?);
        }
        let record = self.store.job_record(workflow, &sought.run_id).await;
        let record = record.context("the job record was not read")?;
        Ok(match record.map(|record| record.answer) {
            Some(Answer::Job(job)) => Some(job),
            Some(Answer::Refused(_) | Answer::NotAccepted) | None => None,
        })
    }
}

/// Makes a call of a provider and counts it.
pub(crate) async fn call<T>(
    provider: &Provider,
    step: &'static str,
    calling: impl Future<Output = Result<T, provider::Error>>,
) -> Result<T, provider::Error> {
    let began = Instant::now();
    let result = calling.await;
    let outcome = match &result {
        Ok(_) => "ok",
        Err(provider::Error::Status(..)) => "status",
        Err(provider::Error::Unreadable(_)) => "unreadable",
        Err(provider::Error::Unreachable(_)) => "unreachable",
        Err(provider::Error::NoKey { .. }) => "no_key",
    };
    ProviderCalled {
        provider: provider.name(),
        step,
        outcome,
        elapsed: began.elapsed(),
    }
    .emit();
    result
}

/// Counts what a generation costs, once for all looks at it, whether its outputs could be stored or not.
fn priced(provider: &Provider, cost_usd: Option<f64>) {
    if let Some(usd) = cost_usd {
        let provider = provider.name();
        ProviderCost { provider, usd }.emit();
    }
}

fn tell(outcome: &Event, input: &Finish) {
    if !outcome.kind_of_event.is_terminal() {
        return;
    }
    let elapsed = span(input.started_at, outcome.occurred_at);
    RunEnded {
        request_id: &outcome.request_id,
        kind: outcome.kind,
        outcome: outcome.kind_of_event,
        code: outcome.error.as_ref().map(|error| error.code),
        elapsed,
        worked: input.sent_at.map(|sent| span(sent, outcome.occurred_at)),
    }
    .emit();
}
