//! The steps of a run: wait for a job, store its outputs, cancel it, publish events.

mod fetch;
mod outputs;
mod shares;
mod turn;
mod waits;

pub(crate) use self::outputs::Way;
pub(crate) use self::shares::Shares;
pub(crate) use self::turn::Turn;
pub(crate) use self::waits::Waits;

use std::future::Future;
use std::time::Duration;

use anyhow::Context as _;
use tokio_util::sync::CancellationToken;

use crate::contract::run::{Finish, Job, JobLookup, PendingEvents, ProviderJobLeft, SubmitAnswer};
use crate::domain::time::span;
use crate::domain::{Cost, Event, WorkflowId};
use crate::engines::config;
use crate::engines::failpoint;
use crate::engines::provider::{self, Provider, Providers};
use crate::engines::publisher::{self, Publisher};
use crate::engines::storage::temp::TempFolders;
use crate::engines::storage::{Downloader, Manifest, Store};
use crate::engines::telemetry::events;
use crate::engines::temporal::activity::Aborted;
use crate::roles::worker::accounts::Accounts;
use crate::roles::worker::listed::Listed;
use crate::roles::worker::wakes::Wakes;

/// The clients, stores and settings that the steps use.
#[derive(Debug)]
pub struct Work {
    pub publisher: Publisher,
    pub providers: Providers,
    pub store: Store,
    /// The same store with upload slots of its own, for outputs in the answer to a submit: they have too little time
    /// to wait for thousands of fetches.
    pub store_apart: Store,
    /// Folders for downloads that are not stored yet.
    pub temp: TempFolders,
    pub downloader: Downloader,
    pub settings: config::Worker,
    /// Jobs that `submit` waits for.
    pub(crate) waits: Waits,
    /// The running fetches, by user.
    pub shares: Shares,
    /// The runs that were cancelled or called back, as Temporal lists them.
    pub(crate) listed: Listed,
    /// Those who poll jobs here, for callbacks to this worker.
    pub(crate) wakes: Wakes,
    pub(crate) accounts: Accounts,
    pub drain: Drain,
}

/// The stop of a worker. Once it has begun, steps no longer wait for jobs; until it is over, storing continues.
#[derive(Clone, Debug)]
pub struct Drain {
    /// Cancelled when the stop begins.
    pub stop: CancellationToken,
    /// How long it takes, from its beginning.
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

/// Most attempts to cancel a job at the provider.
const CANCEL_TRIES: u32 = 3;
/// Number of lookups before a job counts as absent: a provider's list may lag, and an attempt that has the answer may
/// not have stored it yet.
pub(crate) const LOOKUPS: u32 = 5;
/// Pause between two lookups.
pub(crate) const BETWEEN_LOOKUPS: Duration = Duration::from_secs(1);
/// Attempts of `finish` by workers that do not know the provider's API, before the job is left to itself.
const ELSEWHERE_TRIES: u32 = 8;
/// Time limit for all calls to the provider in `finish`.
const CANCEL_TIME: Duration = Duration::from_secs(60);
/// Time limit for settling the budgets; after it the step is retried.
const SETTLE_TIME: Duration = Duration::from_secs(20);
/// Time limit for publishing; after it the step is retried.
const PUBLISH_TIME: Duration = Duration::from_secs(120);

/// What became of a job that may still run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ended {
    /// The run left no job, or the provider was asked to cancel it.
    Cancelled,
    /// It may still run.
    Not,
}

impl Work {
    /// Publishes the events that a step was given.
    ///
    /// # Errors
    /// [`Aborted::Again`] unless all events are acknowledged.
    pub async fn publish(&self, pending: &PendingEvents) -> Result<(), Aborted> {
        let trace = pending.traceparent.as_deref();
        let publishing = self.publisher.publish(&pending.events, trace);
        Ok(in_time(publishing, "cannot publish the events").await?)
    }

    /// Ends a run: cancels what still runs at the provider, writes the manifest, settles what the run has reserved, and
    /// publishes all events and the outcome.
    ///
    /// # Errors
    /// [`Aborted::Again`] until the manifest is written, the budgets are settled and all is published; also in the first
    /// attempts if this worker does not know the API of a job that may still run. A cancel that fails is only logged.
    pub async fn finish(&self, input: Finish, attempt: u32) -> Result<(), Aborted> {
        failpoint::hit("finish.began").await;
        let ended = self.end_leftover(&input, attempt).await?;
        let outcome = input
            .pending
            .events
            .last()
            .context("the input of finish has no outcome")?;
        if let Some(result) = &outcome.result {
            let manifest = Manifest {
                workflow_id: input.pending.workflow.clone(),
                fingerprint: input.pending.fingerprint.clone(),
                result: result.clone(),
            };
            self.store
                .write_manifest(&manifest)
                .await
                .context("cannot write the manifest")?;
        }
        let settling = self.accounts.finish(outcome, &input);
        let settled = tokio::time::timeout(SETTLE_TIME, settling).await;
        settled
            .context("settling the budgets timed out")?
            .context("cannot settle the budgets")?;
        failpoint::hit("finish.settled").await;
        self.publish(&input.pending).await?;
        failpoint::hit("finish.published").await;
        let trace = input.pending.traceparent.as_deref();
        let publishing = self.publisher.publish_result(outcome, trace);
        in_time(publishing, "cannot publish the outcome").await?;
        // Only now: an attempt before this line is repeated, and one job counts once.
        if ended == Ended::Not {
            not_cancelled(&input.leftover);
        }
        report_end(outcome, &input);
        Ok(())
    }

    /// Cancels, within a time limit, what a run has left at the provider.
    ///
    /// # Errors
    /// [`Aborted::Again`] in the first attempts if this worker does not know the provider's API.
    async fn end_leftover(&self, input: &Finish, attempt: u32) -> Result<Ended, Aborted> {
        let workflow = &input.pending.workflow;
        let ending = self.end_job(workflow, &input.leftover);
        match tokio::time::timeout(CANCEL_TIME, ending).await {
            Ok(Ok(ended)) => return Ok(ended),
            Ok(Err(error)) if attempt < ELSEWHERE_TRIES => {
                return Err(Aborted::Again(error.into()));
            }
            Ok(Err(_)) => {
                tracing::error!(event = "job_not_cancelled", %workflow, "the provider's job was not cancelled: no worker knows its API");
            }
            Err(_) => {
                tracing::warn!(event = "job_not_cancelled", %workflow, "the provider's job was not cancelled in time");
            }
        }
        Ok(Ended::Not)
    }

    /// Cancels what may still run at the provider, as far as the provider allows it. A cancel that fails is logged; the
    /// caller counts it.
    ///
    /// # Errors
    /// [`provider::Error::NotConfigured`]: this worker does not know the provider's API, but another one may.
    pub(crate) async fn end_job(
        &self,
        workflow: &WorkflowId,
        leftover: &ProviderJobLeft,
    ) -> Result<Ended, provider::Error> {
        for attempt in 1..=CANCEL_TRIES {
            let ended = match leftover {
                ProviderJobLeft::None => return Ok(Ended::Cancelled),
                ProviderJobLeft::Job(job) => self.cancel(job).await,
                ProviderJobLeft::Unknown(lookup) => self.find_and_end(workflow, lookup).await,
            };
            let Err(error) = ended else {
                return Ok(Ended::Cancelled);
            };
            tracing::warn!(event = "job_not_cancelled", %workflow, error = format!("{error:#}"), tries = attempt, "cannot cancel the provider's job");
            if let Ok(error @ provider::Error::NotConfigured(_)) = error.downcast() {
                return Err(error);
            }
            if attempt < CANCEL_TRIES {
                tokio::time::sleep(Duration::from_secs(u64::from(attempt))).await;
            }
        }
        Ok(Ended::Not)
    }

    async fn cancel(&self, job: &Job) -> anyhow::Result<()> {
        Ok(self.providers.that_has(job).cancel(job).await?)
    }

    async fn find_and_end(&self, workflow: &WorkflowId, lookup: &JobLookup) -> anyhow::Result<()> {
        let lookups = if lookup.recent { LOOKUPS } else { 1 };
        for number in 1..=lookups {
            if let Some(job) = self.find(workflow, lookup).await? {
                return self.cancel(&job).await;
            }
            if number < lookups {
                tokio::time::sleep(BETWEEN_LOOKUPS).await;
            }
        }
        Ok(())
    }

    /// Looks the job of a run up once: in the provider's list, or in the run's job record if the provider has no list.
    ///
    /// # Errors
    /// It remains unknown whether there is a job.
    pub(crate) async fn find(
        &self,
        workflow: &WorkflowId,
        lookup: &JobLookup,
    ) -> anyhow::Result<Option<Job>> {
        let provider = self.providers.of(lookup.kind, lookup.provider);
        if provider.can_find() {
            return Ok(provider.find(&lookup.key(workflow), lookup.since).await?);
        }
        let JobLookup {
            run_id, candidate, ..
        } = lookup;
        let record = self.store.job_record(workflow, run_id, *candidate).await;
        let record = record.context("cannot read the job record")?;
        Ok(match record.map(|record| record.answer) {
            Some(SubmitAnswer::Job(job)) => Some(job),
            Some(
                SubmitAnswer::Refused(_) | SubmitAnswer::Declined(_) | SubmitAnswer::NotAccepted,
            )
            | None => None,
        })
    }
}

async fn in_time(
    publishing: impl Future<Output = Result<(), publisher::Error>>,
    failed: &'static str,
) -> anyhow::Result<()> {
    let published = tokio::time::timeout(PUBLISH_TIME, publishing).await;
    published.context("publishing timed out")?.context(failed)
}

/// Counts what a generation costs: once, however often it was polled, and whether or not its outputs could be stored.
/// It is not counted if a cancel ends the run while they are stored.
pub(crate) fn priced(
    provider: &Provider,
    model: Option<&str>,
    priority: &'static str,
    cost: Option<Cost>,
) {
    if let Some(cost) = cost {
        provider.count_cost(model.unwrap_or_default(), priority, cost);
    }
}

/// Counts a job that may still run at its provider, and cost something.
fn not_cancelled(leftover: &ProviderJobLeft) {
    match leftover {
        ProviderJobLeft::None => {}
        ProviderJobLeft::Job(job) => events::money_at_risk(job.provider, "not_cancelled"),
        ProviderJobLeft::Unknown(lookup) => {
            events::money_at_risk(lookup.provider, "not_cancelled");
        }
    }
}

fn report_end(outcome: &Event, input: &Finish) {
    if !outcome.event_type.is_terminal() {
        return;
    }
    let elapsed = span(input.started_at, outcome.occurred_at);
    events::run_ended(
        &outcome.request_id,
        outcome.batch_id.is_some(),
        outcome.kind,
        outcome.event_type,
        outcome.error.as_ref().map(|error| error.code),
        elapsed,
        input.sent_at.map(|sent| span(sent, outcome.occurred_at)),
    );
}
