//! What a run's steps do, free of Temporal: wait for a job, store its outputs, end it, tell the world.

mod outputs;

use std::future::Future;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::Context as _;

use crate::config;
use crate::domain::{ErrorCode, Event, EventError, Progress};
use crate::events::Publisher;
use crate::failpoint;
use crate::provider::{self, Poll, Provider, Providers};
use crate::storage::temp::TempFolders;
use crate::storage::{DownloadError, Downloader, Manifest, Store};
use crate::telemetry::events::{ProviderCalled, ProviderCost, ProviderStateUnknown, RunEnded};
use crate::temporal::steps::{Fetch, Fetched, Finish, Handed, Leftover, Told};
use crate::work::outputs::verdict;

/// What the steps work with.
#[derive(Debug)]
pub struct Work {
    /// Publishes events.
    pub publisher: Publisher,
    /// The outside APIs.
    pub providers: Providers,
    /// Where results go.
    pub store: Store,
    /// Where downloads go first.
    pub temp: TempFolders,
    /// Brings outputs to disk.
    pub downloader: Downloader,
    /// Bounds and pauses.
    pub settings: config::Worker,
}

/// Why a step ended without a value.
#[derive(Debug)]
pub enum Aborted {
    /// It was cancelled; so its worker stops, or its run ends.
    Cancelled,
    /// It may succeed at another try.
    Again(anyhow::Error),
}

impl From<anyhow::Error> for Aborted {
    fn from(error: anyhow::Error) -> Self {
        Self::Again(error)
    }
}

/// What is already being stored when a run is cancelled or its deadline falls may be finished for so long.
const STORE_GRACE: Duration = Duration::from_secs(60);
/// A provider that answers with another 4xx so often in a row will not tell us more about the job.
const REFUSALS: u32 = 5;
/// How often `finish` asks the provider to end a job.
const CANCEL_TRIES: u32 = 3;
/// How long all asking of the provider in `finish` may take.
const CANCEL_TIME: Duration = Duration::from_secs(60);
/// How long publishing may take before the step is tried again.
const PUBLISH_TIME: Duration = Duration::from_secs(120);
/// A milestone is this many points above the last.
const POINTS: i32 = 10;

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

    /// Waits for a job until it tells a milestone, or is done and stored.
    ///
    /// # Errors
    /// [`Aborted`]; business failures are values.
    pub async fn fetch(
        &self,
        input: Fetch,
        cancelled: impl Future<Output = ()>,
    ) -> Result<Fetched, Aborted> {
        self.publish(&input.handed).await?;
        failpoint::hit("fetch.published").await;
        let provider = self.providers.that_has(&input.job);
        let mut cancelled = std::pin::pin!(cancelled);
        let (mut refusals, mut failed_stores) = (0, 0);
        // What was told last was counted by the attempt that told it.
        let told = input.told.as_ref();
        let mut counted = told.map(|told| told.progress.stage.clone());
        loop {
            let looked = tokio::select! {
                looked = call(provider, "poll", provider.poll(&input.job)) => looked,
                () = &mut cancelled => return Err(Aborted::Cancelled),
            };
            let pause = match looked {
                Ok(Poll::Running {
                    stage,
                    percent,
                    known,
                }) => {
                    refusals = 0;
                    if !known && is_news(&mut counted, &stage) {
                        let provider = provider.name();
                        let state = &stage;
                        ProviderStateUnknown { provider, state }.emit();
                    }
                    if let Some(progress) = milestone(&input, stage, percent, now()) {
                        return Ok(Fetched::Milestone(progress));
                    }
                    self.settings.poll_interval
                }
                Ok(Poll::Failed(error)) => return Ok(Fetched::Failed(error)),
                Ok(Poll::Succeeded { outputs, cost_usd }) => {
                    failpoint::hit("fetch.storing").await;
                    let storing = self.store_all(&input.handed, input.job.kind, &outputs);
                    match in_grace(storing, cancelled.as_mut()).await? {
                        Ok(outputs) => {
                            failpoint::hit("fetch.stored").await;
                            priced(provider, cost_usd);
                            return Ok(Fetched::Stored { outputs, cost_usd });
                        }
                        Err(error) => {
                            failed_stores += 1;
                            if failed_stores >= self.settings.store_attempts
                                || matches!(error, DownloadError::Invalid(_))
                            {
                                priced(provider, cost_usd);
                                return Ok(Fetched::Failed(verdict(&error)));
                            }
                            tracing::warn!(workflow = %input.handed.workflow, %error, failed_stores, "output not stored");
                            self.settings.poll_interval
                        }
                    }
                }
                Err(error) => {
                    refusals = if is_refusal(&error) { refusals + 1 } else { 0 };
                    if refusals >= REFUSALS {
                        let code = match error {
                            provider::Error::Status(401 | 403, _) => ErrorCode::ProviderAuth,
                            provider::Error::Status(..)
                            | provider::Error::Unreadable(_)
                            | provider::Error::Unreachable(_) => ErrorCode::ProviderFailed,
                        };
                        return Ok(Fetched::Failed(EventError::new(
                            code,
                            &error.to_string(),
                            true,
                        )));
                    }
                    match error {
                        provider::Error::Status(_, Some(after)) => after,
                        provider::Error::Status(_, None)
                        | provider::Error::Unreadable(_)
                        | provider::Error::Unreachable(_) => self.settings.poll_interval,
                    }
                }
            };
            tokio::select! {
                () = tokio::time::sleep(pause) => {}
                () = &mut cancelled => return Err(Aborted::Cancelled),
            }
        }
    }

    /// Ends a run: ends what may still run at the provider, writes the manifest, publishes all events and the outcome.
    ///
    /// # Errors
    /// [`Aborted::Again`] until all of it is done.
    pub async fn finish(&self, input: Finish) -> Result<(), Aborted> {
        failpoint::hit("finish.began").await;
        if tokio::time::timeout(CANCEL_TIME, self.end_job(&input))
            .await
            .is_err()
        {
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
        tell(outcome, input.started_at);
        Ok(())
    }

    async fn end_job(&self, input: &Finish) {
        for attempt in 1..=CANCEL_TRIES {
            let ended = match &input.leftover {
                Leftover::None => return,
                Leftover::Job(job) => {
                    let provider = self.providers.that_has(job);
                    call(provider, "cancel", provider.cancel(job)).await
                }
                Leftover::Unknown => self.find_and_end(input).await,
            };
            let Err(error) = ended else { return };
            tracing::warn!(workflow = %input.handed.workflow, %error, attempt, "the provider's job was not ended");
            tokio::time::sleep(Duration::from_secs(u64::from(attempt))).await;
        }
    }

    async fn find_and_end(&self, input: &Finish) -> Result<(), provider::Error> {
        // A batch has no job of its own.
        let Some(spec) = &input.spec else {
            return Ok(());
        };
        let provider = self.providers.of(spec);
        if !provider.can_find() {
            return Ok(());
        }
        let found = call(
            provider,
            "find",
            provider.find(&input.handed.workflow, input.started_at),
        )
        .await?;
        match found {
            Some(job) => call(provider, "cancel", provider.cancel(&job)).await,
            None => Ok(()),
        }
    }
}

/// Lets `storing` go on for a while after a cancel: what is paid for and almost here is not thrown away.
async fn in_grace<T>(
    storing: impl Future<Output = Result<T, DownloadError>>,
    cancelled: std::pin::Pin<&mut impl Future<Output = ()>>,
) -> Result<Result<T, DownloadError>, Aborted> {
    let mut storing = std::pin::pin!(storing);
    tokio::select! {
        stored = &mut storing => return Ok(stored),
        () = cancelled => {}
    }
    match tokio::time::timeout(STORE_GRACE, storing).await {
        Ok(Ok(stored)) => Ok(Ok(stored)),
        Ok(Err(_)) | Err(_) => Err(Aborted::Cancelled),
    }
}

/// Says whether a state that is not known differs from the last one that was counted; then it is the last.
fn is_news(counted: &mut Option<String>, state: &str) -> bool {
    let news = counted.as_deref() != Some(state);
    if news {
        *counted = Some(state.to_owned());
    }
    news
}

/// Decides whether what a job tells is worth a PROGRESS: a new stage or ten points more, and some time after the last.
fn milestone(input: &Fetch, stage: String, percent: Option<i32>, now: i64) -> Option<Progress> {
    if !input.may_tell {
        return None;
    }
    let (last, at) = match &input.told {
        None => (None, i64::MIN),
        Some(Told { progress, at }) => (Some(progress), *at),
    };
    let reached = last.map_or(0, |last| last.percent);
    let percent = percent.unwrap_or(0).max(reached);
    let news = last.is_none_or(|last| last.stage != stage || percent >= last.percent + POINTS);
    let waited =
        now.saturating_sub(at) >= i64::try_from(input.progress_every_ms).unwrap_or(i64::MAX);
    (news && waited).then_some(Progress {
        percent,
        stage,
        message: None,
    })
}

fn is_refusal(error: &provider::Error) -> bool {
    matches!(error, provider::Error::Status(status, _) if (400..500).contains(status) && !matches!(status, 408 | 429))
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

fn tell(outcome: &Event, started_at: i64) {
    if !outcome.kind_of_event.is_terminal() {
        return;
    }
    let elapsed =
        Duration::from_millis(u64::try_from(outcome.occurred_at - started_at).unwrap_or(0));
    RunEnded {
        request_id: &outcome.request_id,
        kind: outcome.kind,
        outcome: outcome.kind_of_event,
        elapsed,
    }
    .emit();
}

pub(crate) fn now() -> i64 {
    let gone = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    i64::try_from(gone.as_millis()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests;
