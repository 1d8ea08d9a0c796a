//! Waits for a job: polls it, reports milestones, and stores its outputs when it is done.
//!
//! Failures are counted here, not by Temporal's attempts: an attempt also ends when its worker stops or dies, which
//! says nothing about the job. The heartbeat carries the counts, so the next attempt continues them.

mod pauses;
#[cfg(test)]
mod tests;

use std::future::Future;
use std::ops::ControlFlow;
use std::pin::{Pin, pin};
use std::time::Duration;

use self::pauses::{pause, rare_pause};
use super::outputs::{Way, verdict};
use super::shares::Slot;
use super::turn::Turn;
use super::{Work, priced};
use crate::contract::run::{Failures, Fetch, Fetched, Job, LastProgress};
use crate::domain::time::span;
use crate::domain::{Cost, ErrorCode, EventError, Progress};
use crate::engines::clock::now;
use crate::engines::failpoint;
use crate::engines::provider;
use crate::engines::provider::{Poll, Provider};
use crate::engines::storage::{DownloadError, Source};
use crate::engines::telemetry::events;
use crate::engines::temporal::activity::Aborted;
use crate::roles::worker::wakes::Wake;

/// The run fails after this many polls in a row that the provider refuses with a 4xx. The statuses 401, 403, 404, 408
/// and 429 count only as failed polls, because they may pass: keys get changed, and lists lag.
const REFUSALS: u32 = 5;
/// A milestone of the same stage is at least this many percentage points above the last.
const POINTS: i32 = 10;
/// A run fails after this many checks of its files that did not end: one may be chance.
const LOST: u32 = 2;

/// What the polls of one attempt have seen.
struct Polled {
    /// The unknown state that was counted last.
    counted: Option<String>,
    /// Whether the next poll is a scheduled one, of a job for which a callback is expected.
    was_due: bool,
    /// Whether the list of called-back runs has already ended a pause. A run stays listed until it closes, so it counts
    /// once.
    has_heeded_list: bool,
}

/// What ended a pause.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum PauseEnd {
    Due,
    /// The provider has called this worker.
    Called,
    /// The provider has called another worker.
    Listed,
}

impl Polled {
    /// Counts a callback that did not come, if this poll finds the job ended.
    fn note_end(&mut self, poll: &Result<Poll, provider::Error>, provider: &Provider) {
        let has_ended = matches!(poll, Ok(Poll::Succeeded { .. } | Poll::Failed(_)));
        if has_ended && std::mem::take(&mut self.was_due) {
            events::callback_missed(provider.name());
        }
    }
}

impl Work {
    /// Waits for a job until it reaches a milestone, or is done and stored.
    ///
    /// # Errors
    /// [`Aborted`]; business failures are values.
    pub(crate) async fn fetch(
        &self,
        input: &Fetch,
        turn: &Turn<'_>,
        mut ended: Pin<&mut impl Future<Output = Aborted>>,
    ) -> Result<Fetched, Aborted> {
        // First: the next steps may hand the job back, but then no attempt would end the run.
        if turn.time_left().is_zero() {
            return Err(Aborted::Expired);
        }
        let slot = self.shares.enter(turn.user());
        self.give_way(&slot, turn)?;
        // Boxed, so that a job that waits takes little memory.
        tokio::select! {
            published = Box::pin(self.publish(&input.pending)) => published?,
            why = ended.as_mut() => return Err(why),
            () = self.drain.begun() => return Err(Aborted::HandedBack),
        }
        failpoint::hit("fetch.published").await;
        // The attempt that reported the last milestone has counted its stage if that was unknown.
        let reported = input.last_progress.as_ref();
        let mut polled = Polled {
            counted: reported.map(|last| last.progress.stage.clone()),
            was_due: false,
            has_heeded_list: false,
        };
        // Before the first poll, which notices what was called back earlier.
        let mut wake = self.wakes.of(&input.pending.workflow);
        loop {
            let step = self.poll(input, turn, &slot, &mut polled, ended.as_mut());
            let pause = match Box::pin(step).await? {
                ControlFlow::Continue(pause) => pause,
                ControlFlow::Break(fetched) => return Ok(fetched),
            };
            let end = {
                let pausing = pin!(self.pause(pause, input, turn, &polled, &mut wake));
                self.unless_ended(pausing, ended.as_mut()).await?
            };
            polled.was_due &= end == PauseEnd::Due;
            polled.has_heeded_list |= end == PauseEnd::Listed;
        }
    }

    /// Polls the job once and acts on the answer; returns the result of `fetch`, or the pause before the next poll.
    async fn poll(
        &self,
        input: &Fetch,
        turn: &Turn<'_>,
        slot: &Slot,
        polled: &mut Polled,
        mut ended: Pin<&mut impl Future<Output = Aborted>>,
    ) -> Result<ControlFlow<Fetched, Duration>, Aborted> {
        let provider = self.providers.that_has(&input.job);
        let polling = provider.poll(&input.job);
        let poll = self.unless_ended(polling, ended.as_mut()).await?;
        polled.note_end(&poll, &provider);
        polled.was_due = false;
        match poll {
            Ok(Poll::Running {
                stage,
                percent,
                known,
                after,
            }) => {
                turn.count(Failures::polled);
                polled.was_due = self.expects_call(&input.job);
                if !known && is_news(&mut polled.counted, &stage) {
                    events::provider_state_unknown(provider.name(), &stage);
                }
                if let Some(progress) = milestone(input, stage, percent, now()) {
                    return Ok(ControlFlow::Break(Fetched::Milestone(progress)));
                }
                self.give_way(slot, turn)?;
                let shortest = provider.shortest_pause().max(self.settings.poll_interval);
                let pause = self.next_pause(input, turn, after, shortest);
                Ok(ControlFlow::Continue(pause))
            }
            Ok(Poll::Failed(error)) => Ok(ControlFlow::Break(Fetched::Failed(error))),
            Ok(Poll::Succeeded {
                outputs,
                charge,
                held: _held,
            }) => {
                let cost = input.quote.settle(charge.as_ref());
                let done = (&*outputs, cost);
                let stored = self.store(input, &provider, turn, done, ended);
                let stored = stored.await?;
                if stored.is_break() {
                    priced(&provider, input.model.as_deref(), turn.priority(), cost);
                }
                Ok(stored)
            }
            // Another worker may have the key or know the API, and nothing is lost until the deadline.
            Err(error @ (provider::Error::NoKey { .. } | provider::Error::NotConfigured(_))) => {
                tracing::warn!(workflow = %input.pending.workflow, %error, "the job was not polled");
                Err(Aborted::Again(error.into()))
            }
            Err(error) => Ok(match self.after_failed_poll(&error, turn) {
                Ok(pause) => ControlFlow::Continue(pause),
                Err(given_up) => ControlFlow::Break(Fetched::Failed(given_up)),
            }),
        }
    }

    /// Returns the pause before the next poll of a job that runs; `after` is the one that the provider asks for.
    fn next_pause(
        &self,
        input: &Fetch,
        turn: &Turn<'_>,
        after: Option<Duration>,
        shortest: Duration,
    ) -> Duration {
        let age = span(input.sent_at, now());
        let left = turn.time_left();
        match self.expects_call(&input.job) {
            true => rare_pause(age, left, shortest).max(after.unwrap_or_default()),
            false => after.unwrap_or_else(|| pause(age, left, shortest)),
        }
    }

    /// Returns whether the provider calls a worker back when this job has ended.
    fn expects_call(&self, job: &Job) -> bool {
        job.called_back && self.settings.callbacks.is_some()
    }

    /// Waits until the next poll is due, or until the provider calls back. A callback does not shorten the pause after
    /// a failed poll or store.
    async fn pause(
        &self,
        pause: Duration,
        input: &Fetch,
        turn: &Turn<'_>,
        polled: &Polled,
        wake: &mut Wake<'_>,
    ) -> PauseEnd {
        let due = tokio::time::sleep(pause);
        if !polled.was_due {
            due.await;
            return PauseEnd::Due;
        }
        let listed = self.listed.called_back(&input.pending.workflow);
        tokio::select! {
            () = due => PauseEnd::Due,
            call = wake.called() => {
                // Another worker may poll the job by now; then the call must reach that one.
                if turn.is_current().await {
                    call.take();
                }
                PauseEnd::Called
            }
            () = listed, if !polled.has_heeded_list => PauseEnd::Listed,
        }
    }

    /// Awaits something that may be abandoned at any time, unless the run or this worker ends first.
    async fn unless_ended<T>(
        &self,
        waiting: impl Future<Output = T>,
        ended: Pin<&mut impl Future<Output = Aborted>>,
    ) -> Result<T, Aborted> {
        tokio::select! {
            done = waiting => Ok(done),
            why = ended => Err(why),
            () = self.drain.begun() => Err(Aborted::HandedBack),
        }
    }

    /// Hands the job back for a while if its user has more than a share of the slots while slots are scarce.
    fn give_way(&self, slot: &Slot, turn: &Turn<'_>) -> Result<(), Aborted> {
        if !slot.is_needed() {
            return Ok(());
        }
        let pauses = self.settings.retries.pauses;
        Err(Aborted::Waits(pauses.after(turn.number(), rand::random())))
    }

    /// Stores the outputs of a finished job; returns the result of `fetch`, or the pause before the next poll.
    async fn store(
        &self,
        input: &Fetch,
        provider: &Provider,
        turn: &Turn<'_>,
        (sources, cost): (&[Source], Option<Cost>),
        ended: Pin<&mut impl Future<Output = Aborted>>,
    ) -> Result<ControlFlow<Fetched, Duration>, Aborted> {
        let failures = turn.count(Failures::polled);
        failpoint::hit("fetch.storing").await;
        if failures.lost >= LOST {
            return Ok(ControlFlow::Break(Fetched::Failed(not_checked())));
        }
        let storing = self.store_all(&input.pending, provider, sources, Way::Fetch(turn));
        let error = match self.in_grace(storing, ended).await? {
            Ok(outputs) => {
                failpoint::hit("fetch.stored").await;
                return Ok(ControlFlow::Break(Fetched::Stored {
                    outputs,
                    cost_usd: cost.map(|cost| cost.usd),
                    cost_source: cost.map(|cost| cost.source),
                }));
            }
            Err(error) => error,
        };
        let failed = turn.count(|failures| failures.stores += 1).stores;
        if error.is_final() || failed >= self.settings.retries.store_attempts {
            return Ok(ControlFlow::Break(Fetched::Failed(verdict(&error))));
        }
        tracing::warn!(workflow = %input.pending.workflow, %error, failed, "output not stored");
        let pauses = self.settings.retries.pauses;
        Ok(ControlFlow::Continue(pauses.after(failed, rand::random())))
    }

    /// Returns the pause after a failed poll, or the error if there is no use in polling again.
    fn after_failed_poll(
        &self,
        error: &provider::Error,
        turn: &Turn<'_>,
    ) -> Result<Duration, EventError> {
        let after = match error {
            provider::Error::Status(_, after) => *after,
            provider::Error::Unreadable(_)
            | provider::Error::Unreachable(_)
            | provider::Error::NoKey { .. }
            | provider::Error::NotConfigured(_) => None,
        };
        let failures = turn.count(|failures| {
            failures.refusals = if is_refusal(error) {
                failures.refusals + 1
            } else {
                0
            };
            // A provider that names a pause is busy, not broken.
            failures.polls += u32::from(after.is_none());
        });
        let retries = self.settings.retries;
        let most = retries.fetch_attempts;
        if failures.refusals < REFUSALS.min(most) && failures.polls < most {
            let backoff = || retries.pauses.after(failures.polls, rand::random());
            return Ok(after.unwrap_or_else(backoff));
        }
        let code = match error {
            provider::Error::Status(401 | 403, _) | provider::Error::NoKey { .. } => {
                ErrorCode::ProviderAuth
            }
            provider::Error::Status(..)
            | provider::Error::NotConfigured(_)
            | provider::Error::Unreadable(_)
            | provider::Error::Unreachable(_) => ErrorCode::ProviderFailed,
        };
        Err(EventError::new(code, &error.to_string(), true))
    }

    /// Lets `storing` continue for a while after a cancel or the deadline: outputs that are paid for and almost stored
    /// are not thrown away. When the worker stops, it may continue until the drain is over; then another worker stores
    /// the outputs.
    pub(crate) async fn in_grace<T>(
        &self,
        storing: impl Future<Output = Result<T, DownloadError>>,
        ended: Pin<&mut impl Future<Output = Aborted>>,
    ) -> Result<Result<T, DownloadError>, Aborted> {
        let mut storing = std::pin::pin!(storing);
        let mut drained = std::pin::pin!(self.drain.over());
        let why = tokio::select! {
            stored = &mut storing => return Ok(stored),
            () = &mut drained => return Err(Aborted::HandedBack),
            why = ended => why,
        };
        tokio::select! {
            stored = tokio::time::timeout(self.settings.store_grace, storing) => match stored {
                Ok(Ok(stored)) => Ok(Ok(stored)),
                Ok(Err(_)) | Err(_) => Err(why),
            },
            () = drained => Err(Aborted::HandedBack),
        }
    }
}

/// Returns the error for outputs whose checks do not end.
fn not_checked() -> EventError {
    let why = format!("the output is invalid: {LOST} checks of it did not end");
    EventError::new(ErrorCode::ResultInvalid, &why, false)
}

/// Returns whether an unknown state differs from the last one that was counted, and remembers it.
fn is_news(counted: &mut Option<String>, state: &str) -> bool {
    let news = counted.as_deref() != Some(state);
    if news {
        *counted = Some(state.to_owned());
    }
    news
}

/// Returns a PROGRESS if one is due: for a new stage or ten more points, and only some time after the last.
fn milestone(input: &Fetch, stage: String, percent: Option<i32>, now: i64) -> Option<Progress> {
    if !input.may_report {
        return None;
    }
    let (last, at) = match &input.last_progress {
        None => (None, i64::MIN),
        Some(LastProgress { progress, at }) => (Some(progress), *at),
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
