//! The wait for a job: looks at it, tells milestones, and stores its outputs when it is done.
//!
//! What fails is counted here, and not by Temporal's attempts: an attempt also ends because its worker stops or dies,
//! and that says nothing against the job. The counts go along in the heartbeat, so the next attempt counts on.

use std::future::Future;
use std::io::ErrorKind;
use std::pin::Pin;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use futures::future::BoxFuture;

use super::outputs::{Given, verdict};
use super::{Aborted, Work, call, priced};
use crate::clock::now;
use crate::domain::{ErrorCode, EventError, Progress};
use crate::failpoint;
use crate::provider::{self, Poll};
use crate::storage::DownloadError;
use crate::telemetry::events::ProviderStateUnknown;
use crate::temporal::steps::{Failures, Fetch, Fetched, Told};

/// A provider that answers with another 4xx so often in a row will not tell us more about the job. One that refuses
/// the key, or does not find the job, may be about to: keys are changed, and lists lag. That is a look that failed.
const REFUSALS: u32 = 5;
/// A milestone is this many points above the last.
const POINTS: i32 = 10;
/// A run ends when this many looks at its files ended a worker, or did not end: once may be chance.
const LOST: u32 = 2;

/// What has failed so far, shared with who tells it to the server.
#[derive(Debug, Default)]
pub(crate) struct Tally(Mutex<Failures>);

/// What one attempt is: whose, which one, and what it keeps at the server.
pub(crate) struct Turn<'t> {
    /// Whose turn it is: the key by which users share.
    pub(crate) user: &'t str,
    /// From 1.
    pub(crate) number: u32,
    pub(crate) tally: &'t Tally,
    /// Keeps the tally at the server before it returns, as well as it can.
    pub(crate) keep: &'t (dyn Fn(Failures) -> BoxFuture<'t, ()> + Send + Sync),
}

impl Turn<'_> {
    /// Looks at a file. What the look has cost, if it ends this worker or does not end, the next attempt finds.
    pub(super) async fn look<T>(
        &self,
        looking: impl Future<Output = Result<T, DownloadError>>,
    ) -> Result<T, DownloadError> {
        let marked = self.tally.count(|failures| failures.lost += 1);
        let mark = Mark(self.tally);
        // The first attempt keeps no mark, so that it costs no call where all is well.
        if self.number > 1 {
            (self.keep)(marked).await;
        }
        failpoint::hit("fetch.looking").await;
        let looked = looking.await;
        if matches!(&looked, Err(DownloadError::Disk(error)) if error.kind() == ErrorKind::TimedOut)
        {
            std::mem::forget(mark);
        }
        looked
    }
}

/// The mark of a look; dropped, it is taken back.
struct Mark<'t>(&'t Tally);

impl Drop for Mark<'_> {
    fn drop(&mut self) {
        self.0
            .count(|failures| failures.lost = failures.lost.saturating_sub(1));
    }
}

impl Tally {
    /// Counts on from what an earlier attempt has told.
    pub(crate) fn from(earlier: Failures) -> Self {
        Self(Mutex::new(earlier))
    }

    pub(crate) fn failures(&self) -> Failures {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn count(&self, change: impl FnOnce(&mut Failures)) -> Failures {
        let mut failures = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        change(&mut failures);
        *failures
    }
}

impl Work {
    /// Waits for a job until it tells a milestone, or is done and stored.
    ///
    /// # Errors
    /// [`Aborted`]; business failures are values.
    pub(crate) async fn fetch(
        &self,
        input: Fetch,
        turn: &Turn<'_>,
        cancelled: impl Future<Output = ()>,
    ) -> Result<Fetched, Aborted> {
        let tally = turn.tally;
        let place = self.shares.enter(turn.user);
        let give_way = || {
            let pauses = self.settings.looks.pauses;
            let pause = pauses.after(turn.number, rand::random());
            place.is_needed().then_some(Aborted::Waits(pause))
        };
        if let Some(waits) = give_way() {
            return Err(waits);
        }
        tokio::select! {
            published = self.publish(&input.handed) => published?,
            () = self.drain.begun() => return Err(Aborted::HandedBack),
        }
        failpoint::hit("fetch.published").await;
        let provider = self.providers.that_has(&input.job);
        let mut cancelled = std::pin::pin!(cancelled);
        // What was told last was counted by the attempt that told it.
        let told = input.told.as_ref();
        let mut counted = told.map(|told| told.progress.stage.clone());
        loop {
            let looked = tokio::select! {
                looked = call(provider, "poll", provider.poll(&input.job)) => looked,
                () = &mut cancelled => return Err(Aborted::Cancelled),
                () = self.drain.begun() => return Err(Aborted::HandedBack),
            };
            let pause = match looked {
                Ok(Poll::Running {
                    stage,
                    percent,
                    known,
                    after,
                }) => {
                    tally.count(Failures::looked);
                    if !known && is_news(&mut counted, &stage) {
                        let provider = provider.name();
                        let state = &stage;
                        ProviderStateUnknown { provider, state }.emit();
                    }
                    if let Some(progress) = milestone(&input, stage, percent, now()) {
                        return Ok(Fetched::Milestone(progress));
                    }
                    if let Some(waits) = give_way() {
                        return Err(waits);
                    }
                    after.unwrap_or(self.settings.poll_interval)
                }
                Ok(Poll::Failed(error)) => return Ok(Fetched::Failed(error)),
                Ok(Poll::Succeeded {
                    outputs,
                    cost_usd,
                    held: _held,
                }) => {
                    tally.count(Failures::looked);
                    failpoint::hit("fetch.storing").await;
                    if tally.failures().lost >= LOST {
                        priced(provider, cost_usd);
                        return Ok(Fetched::Failed(unlookable()));
                    }
                    let given = Given {
                        base: provider.base_url(),
                        kind: input.job.kind,
                        sources: &outputs,
                    };
                    let storing = self.store_all(&self.store, &input.handed, &given, Some(turn));
                    match self.in_grace(storing, cancelled.as_mut()).await? {
                        Ok(outputs) => {
                            failpoint::hit("fetch.stored").await;
                            priced(provider, cost_usd);
                            return Ok(Fetched::Stored { outputs, cost_usd });
                        }
                        Err(error) => {
                            let failed = tally.count(|failures| failures.stores += 1).stores;
                            if failed >= self.settings.stores.most
                                || matches!(
                                    error,
                                    DownloadError::Invalid(_) | DownloadError::Refused(_)
                                )
                            {
                                priced(provider, cost_usd);
                                return Ok(Fetched::Failed(verdict(&error)));
                            }
                            tracing::warn!(workflow = %input.handed.workflow, %error, failed, "output not stored");
                            self.settings.stores.pauses.after(failed, rand::random())
                        }
                    }
                }
                Err(error) => match self.next_look(&error, tally) {
                    Ok(pause) => pause,
                    Err(given_up) => return Ok(Fetched::Failed(given_up)),
                },
            };
            tokio::select! {
                () = tokio::time::sleep(pause) => {}
                () = &mut cancelled => return Err(Aborted::Cancelled),
                () = self.drain.begun() => return Err(Aborted::HandedBack),
            }
        }
    }

    /// Says how long to wait after a look that failed, or that there is no use in looking again.
    fn next_look(&self, error: &provider::Error, tally: &Tally) -> Result<Duration, EventError> {
        let after = match error {
            provider::Error::Status(_, after) => *after,
            provider::Error::Unreadable(_) | provider::Error::Unreachable(_) => None,
        };
        let failures = tally.count(|failures| {
            failures.refusals = if is_refusal(error) {
                failures.refusals + 1
            } else {
                0
            };
            // Who says when to come back is busy, and not broken.
            failures.looks += u32::from(after.is_none());
        });
        let looks = self.settings.looks;
        if failures.refusals < REFUSALS.min(looks.most) && failures.looks < looks.most {
            let backoff = || looks.pauses.after(failures.looks, rand::random());
            return Ok(after.unwrap_or_else(backoff));
        }
        let code = match error {
            provider::Error::Status(401 | 403, _) => ErrorCode::ProviderAuth,
            provider::Error::Status(..)
            | provider::Error::Unreadable(_)
            | provider::Error::Unreachable(_) => ErrorCode::ProviderFailed,
        };
        Err(EventError::new(code, &error.to_string(), true))
    }

    /// Lets `storing` go on for a while after a cancel: what is paid for and almost here is not thrown away. A stop of
    /// the worker leaves it the time of the drain; then another worker stores it.
    async fn in_grace<T>(
        &self,
        storing: impl Future<Output = Result<T, DownloadError>>,
        cancelled: Pin<&mut impl Future<Output = ()>>,
    ) -> Result<Result<T, DownloadError>, Aborted> {
        let mut storing = std::pin::pin!(storing);
        let mut drained = std::pin::pin!(self.drain.over());
        tokio::select! {
            stored = &mut storing => return Ok(stored),
            () = &mut drained => return Err(Aborted::HandedBack),
            () = cancelled => {}
        }
        tokio::select! {
            stored = tokio::time::timeout(self.settings.store_grace, storing) => match stored {
                Ok(Ok(stored)) => Ok(Ok(stored)),
                Ok(Err(_)) | Err(_) => Err(Aborted::Cancelled),
            },
            () = drained => Err(Aborted::HandedBack),
        }
    }
}

/// Says why nothing looks at the outputs any more.
fn unlookable() -> EventError {
    let why = format!(
        "the output is not what it should be: {LOST} looks at it ended their worker, or did not end"
    );
    EventError::new(ErrorCode::ResultInvalid, &why, false)
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
    matches!(error, provider::Error::Status(status, _) if (400..500).contains(status) && !matches!(status, 401 | 403 | 404 | 408 | 429))
}

#[cfg(test)]
mod tests;
