//! `submit.v1`: sends at most one submit per run that a provider may have accepted (contract, promise 3).
//!
//! Temporal's server keeps the last attempt's [`AttemptRecord`]. An attempt may send only if it is the first
//! (number 1, not after a reset), or if that record has the number before its own and says that nothing was accepted.
//! The fence: right before the send, a heartbeat that the server answers sets the record to "maybe". If the answer is
//! that this is no longer the current attempt, nothing is sent. The answer is valid only for a short time, so its age is
//! checked once the connection is open, right before the body is written: a process that was paused in between may no
//! longer be the current attempt, and must ask the server again.
//!
//! A job that is done within SUBMIT_WAIT is stored by this attempt ([`wait`]).
//!
//! The provider's answer goes to the server as the attempt's result, but a server that is down may never receive it. So
//! a job that cannot be looked up is first kept in the result store. A refusal is kept there only if the server does not
//! confirm the attempt.
//!
//! The same holds for each candidate that the run falls back to: it has a `submit`, a record, a key and a kept answer of
//! its own, and its `submit` begins only when that of the candidate before it has returned as declined ([`decline`]).
//!
//! An attempt that may not send looks for the result, the answer or the job of earlier attempts, as long as one of them
//! may still be waiting for its answer. If nothing is found and a job may have been sent, the run ends as ambiguous. If
//! the record says that no attempt has sent (one in between was lost on its way to a worker), this attempt takes over
//! the record, and the next one may send.

mod before;
mod decline;
mod record;
mod search;
mod unwanted;
mod wait;

use std::time::Duration;

use anyhow::anyhow;
use temporalio_common::error::ApplicationFailure;
use temporalio_sdk::activities::{ActivityContext, ActivityError};
use tokio::time::{Instant, sleep_until};

use self::before::Before;
use self::record::{cancelled, clear, fresh, may_send, take_over};
use self::search::Found;
use crate::contract::run::{
    AttemptRecord, Job, JobRecord, Sent, SentInput, Submit, SubmitAnswer, Submitted,
};
use crate::domain::time::span;
use crate::domain::{ErrorCode, EventError};
use crate::engines::clock::now;
use crate::engines::failpoint;
use crate::engines::provider::{Provider, Submission};
use crate::engines::storage::Durability;
use crate::engines::telemetry::events;
use crate::engines::temporal::activity::{Aborted, expired, failure, heartbeating};
use crate::roles::worker::heartbeat::{Unstored, store};
use crate::roles::worker::steps::Work;

/// An attempt waits for its job only if it was accepted within this time: `submit` has a time-out.
const WAITS_UNTIL: Duration = Duration::from_secs(60);
/// Retry delay of a submit that found no memory for its outputs; nothing was sent.
const FOR_MEMORY: Duration = Duration::from_secs(5);

/// One attempt and its context.
struct This<'a> {
    work: &'a Work,
    ctx: &'a ActivityContext,
    input: &'a Submit,
    provider: Provider,
    run_id: &'a str,
    /// The deadline of the run.
    deadline: Instant,
}

pub(crate) async fn run(
    work: &Work,
    ctx: &ActivityContext,
    input: Submit,
    deadline: Instant,
) -> Result<Submitted, ActivityError> {
    let info = ctx.info();
    let previous: Option<AttemptRecord> = ctx.heartbeat_details().deserialize()?;
    // The number does not prove a first attempt: an operator's reset counts from 1 again, and may drop the record. A
    // first attempt is one that was scheduled only once.
    let is_first = info.current_attempt_scheduled_time <= info.scheduled_time;
    let mine = take_over(info.attempt, is_first, input.provider, previous);
    let this = This {
        work,
        ctx,
        input: &input,
        provider: work.providers.of(input.spec.media(), mine.provider),
        run_id: info.workflow_run_id.as_deref().unwrap_or_default(),
        deadline,
    };
    if this.is_past_deadline() {
        return Err(expired(mine));
    }
    let may_send = may_send(info.attempt, is_first, previous);
    let begin = if may_send { mine.cleared() } else { mine };
    // Should this attempt die at once, the next one must know what it may do. A first attempt saves the call: if it dies
    // before its fence, which is rare, the next one searches in vain before another may send.
    if previous.is_some() == may_send {
        match store(ctx, begin).await {
            Ok(()) => {}
            Err(Unstored::Unanswered(error)) => return clear(ctx, begin, error).await,
            Err(unstored) => return Err(unstored.into_error(begin)),
        }
    }
    if may_send {
        Box::pin(this.send(mine)).await
    } else {
        failpoint::hit("submit.reconciling").await;
        this.reconcile(mine).await
    }
}

impl This<'_> {
    fn is_past_deadline(&self) -> bool {
        Instant::now() >= self.deadline
    }

    async fn send(&self, mine: AttemptRecord) -> Result<Submitted, ActivityError> {
        let ctx = self.ctx;
        let cleared = mine.cleared();
        let before = self.before(mine).await;
        if before.is_err() {
            // As in `clear`.
            ctx.record_heartbeat(cleared).await?;
        }
        let (bound, callback) = match before? {
            Before::Ended(end) => return Ok(end),
            Before::Ready(bound, callback) => (bound, callback),
        };
        let Some(_held) = self.provider.hold(&self.input.spec) else {
            ctx.record_heartbeat(cleared).await?;
            return Err(failure(Aborted::Waits(FOR_MEMORY)));
        };
        failpoint::hit("submit.fencing").await;
        if self.input.candidate > 0 {
            failpoint::hit("submit.fencing_fallback").await;
        }
        // Set by a cancel, a time-out or the end of the grace period. The SDK may not report such an attempt's result.
        if ctx.is_cancelled() {
            return Err(cancelled(cleared));
        }
        if self.is_past_deadline() {
            return Err(expired(cleared));
        }
        let at = now();
        let fence = AttemptRecord {
            state: Sent::Maybe,
            sends: mine.sends + 1,
            first_at: mine.first_at.or(Some(at)),
            waiting_since: Some(at),
            reserved: mine.reserved || self.work.accounts.are_limited(),
            ..mine
        };
        let asked = Instant::now();
        match store(ctx, fence).await {
            Ok(()) => {}
            // The server may have stored the record anyway, but this attempt has not sent and never will.
            Err(Unstored::Unanswered(error)) => {
                tracing::warn!(workflow = %self.input.pending.workflow, %error, "submit not sent: Temporal did not confirm the fence");
                return clear(ctx, cleared, error).await;
            }
            Err(unstored) => return Err(unstored.into_error(cleared)),
        }
        let spec = &self.input.spec;
        let go = fresh(ctx.clone(), fence, asked, self.deadline);
        let sent = SentInput::of(&bound, self.provider.model(spec));
        let left = self.deadline.saturating_duration_since(asked);
        let (key, input, callback) = (self.input.key(), bound.input, callback.as_deref());
        let provider = &self.provider;
        let submitting = provider.submit(&key, spec, input, left, callback, go);
        let submission = heartbeating(ctx, || fence, submitting).await?;
        failpoint::hit("submit.sent").await;
        let is_first = mine.sends == 0 && self.input.candidate == 0;
        if is_first && !matches!(submission, Submission::Withheld(_)) {
            let kind = spec.media().into();
            let waited = span(self.input.started_at, at);
            events::run_began(kind, waited);
        }
        Box::pin(self.conclude(fence, asked, submission, sent)).await
    }

    /// Decides how the attempt ends, by what is known after the send.
    async fn conclude(
        &self,
        fence: AttemptRecord,
        asked: Instant,
        submission: Submission,
        sent: SentInput,
    ) -> Result<Submitted, ActivityError> {
        let ctx = self.ctx;
        match submission {
            Submission::Accepted(job) => {
                let concluding = async {
                    let is_kept =
                        !self.provider.can_find() && self.keep_job(fence, &job, &sent).await;
                    failpoint::hit("submit.kept").await;
                    let is_wanted = self.cancel_if_unwanted(fence, asked, &job).await;
                    match is_wanted && asked.elapsed() < WAITS_UNTIL {
                        true => self.wait(fence, &job, &sent, is_kept).await,
                        false => None,
                    }
                };
                Ok(
                    match Box::pin(heartbeating(ctx, || fence, concluding)).await? {
                        Some(result) => fence.stored(result),
                        None => fence.accepted(job, sent),
                    },
                )
            }
            Submission::Made(made) => {
                let kept = heartbeating(
                    ctx,
                    || fence,
                    self.work
                        .keep(self.input, self.priority(), &self.provider, made, sent),
                )
                .await?;
                failpoint::hit("submit.stored").await;
                Ok(match kept {
                    Ok(result) => fence.stored(result),
                    Err(error) => fence.refused(error),
                })
            }
            Submission::Refused(error) => self.refused(fence, error).await,
            Submission::Declined(error) => self.declined(fence, error).await,
            Submission::NotAccepted { error, .. } if fence.sends >= self.input.attempts => {
                self.declined(fence, error).await
            }
            Submission::NotAccepted { error, after } => {
                self.confirm(fence.cleared(), SubmitAnswer::NotAccepted)
                    .await;
                // Reaches the server together with the failure, so the next attempt finds it.
                ctx.record_heartbeat(fence.cleared()).await?;
                let failure = ApplicationFailure::builder(anyhow!("{}", error.message))
                    .type_name("genflow.NotAccepted".to_owned());
                Err(ActivityError::application(
                    failure.maybe_next_retry_delay(after).build(),
                ))
            }
            Submission::Withheld(why) => clear(ctx, fence.withheld(), why.into()).await,
            Submission::Unknown(why) => {
                tracing::warn!(event = "submit_unanswered", workflow = %self.input.pending.workflow, why, "submit is ambiguous");
                self.look_up(fence).await
            }
        }
    }

    /// Asks the provider for the job of a send whose answer is lost.
    async fn look_up(&self, fence: AttemptRecord) -> Result<Submitted, ActivityError> {
        let record = AttemptRecord {
            waiting_since: None,
            ..fence
        };
        // This attempt's own answer is lost, so waiting is useless: only the provider's list may help.
        if !self.provider.can_find() {
            return self.unknown(record).await;
        }
        // The search may take longer than a drain, and another attempt can search as well as this one.
        let found = tokio::select! {
            found = heartbeating(self.ctx, || record, self.search(record)) => found??,
            () = self.work.drain.begun() => return Err(failure(Aborted::HandedBack)),
        };
        self.after_search(record, found).await
    }

    async fn refused(
        &self,
        fence: AttemptRecord,
        error: EventError,
    ) -> Result<Submitted, ActivityError> {
        if error.code == ErrorCode::InvalidRequest {
            self.provider.forget_schema(&self.input.spec);
        }
        self.confirm(fence, SubmitAnswer::Refused(error.clone()))
            .await;
        Ok(fence.refused(error))
    }

    /// Keeps an answer in the store, unless the server confirms the attempt and so will receive its result.
    async fn confirm(&self, record: AttemptRecord, answer: SubmitAnswer) {
        match store(self.ctx, record).await {
            Ok(()) | Err(Unstored::CancelRequested) => {}
            Err(Unstored::NotCurrent | Unstored::Unanswered(_)) => {
                self.keep(record, answer, SentInput::default()).await;
            }
        }
    }

    /// Keeps an answer in the store, where later attempts and the end of the run find it. Returns whether it is there.
    async fn keep(&self, record: AttemptRecord, answer: SubmitAnswer, input: SentInput) -> bool {
        // A power failure may lose this record, but not the provider's list of jobs.
        let durability = match answer {
            SubmitAnswer::Job(_) if self.provider.can_find() => Durability::Unsynced,
            SubmitAnswer::Job(_)
            | SubmitAnswer::Refused(_)
            | SubmitAnswer::Declined(_)
            | SubmitAnswer::NotAccepted => Durability::Synced,
        };
        let record = JobRecord {
            workflow_id: self.input.pending.workflow.clone(),
            run_id: self.run_id.to_owned(),
            provider: record.provider,
            candidate: self.input.candidate,
            send: record.sends,
            answer,
            input,
        };
        // The attempt's result carries the same answer, so a failure here must not hold it back.
        let written = self.work.store.write_job_record(&record, durability).await;
        if let Err(error) = &written {
            tracing::warn!(event = "answer_not_kept", workflow = %record.workflow_id, %error, "cannot keep the provider's answer in the result store");
            events::money_at_risk(record.provider, "not_kept");
        }
        written.is_ok()
    }

    /// Keeps an accepted job in the store; returns whether it is there.
    async fn keep_job(&self, fence: AttemptRecord, job: &Job, sent: &SentInput) -> bool {
        let answer = SubmitAnswer::Job(job.clone());
        self.keep(fence, answer, sent.clone()).await
    }

    async fn publish(&self) -> Result<(), ActivityError> {
        self.work
            .publish(&self.input.pending)
            .await
            .map_err(failure)
    }

    /// Looks for what an earlier attempt, which may have sent, has left. Never sends.
    async fn reconcile(&self, record: AttemptRecord) -> Result<Submitted, ActivityError> {
        let searching = async {
            self.publish().await?;
            self.search(record).await
        };
        // It sends nothing, so it may be abandoned when its worker stops or its run is cancelled.
        let found = tokio::select! {
            found = heartbeating(self.ctx, || record, searching) => found??,
            () = self.ctx.cancelled() => return Err(cancelled(record)),
            () = sleep_until(self.deadline) => return Err(expired(record)),
        };
        self.after_search(record, found).await
    }

    async fn after_search(
        &self,
        record: AttemptRecord,
        found: Found,
    ) -> Result<Submitted, ActivityError> {
        match found {
            Found::Result(result) => Ok(result),
            Found::NotAccepted => {
                let why = anyhow!("the provider did not accept the job: the next attempt may send");
                clear(self.ctx, record.cleared(), why).await
            }
            Found::Declined(error) => Ok(self.decline(record, error)),
            Found::Nothing => self.unknown(record).await,
        }
    }

    /// Nothing was found: lets the next attempt send, or ends the submit as ambiguous.
    async fn unknown(&self, record: AttemptRecord) -> Result<Submitted, ActivityError> {
        let resubmit = self.work.settings.submit_ambiguous_resubmit;
        let again = match record.state {
            Sent::NotAccepted => "no attempt has sent: the next one may",
            Sent::Maybe if resubmit && record.sends < self.input.attempts => {
                tracing::warn!(event = "submit_repeated", workflow = %self.input.pending.workflow, "the job was not found: it is submitted again");
                events::money_at_risk(record.provider, "resent");
                "the job was not found: SUBMIT_AMBIGUOUS=resubmit sends it again"
            }
            Sent::Maybe => {
                let why = "it is not known whether the provider accepted the job";
                return Ok(Submitted::Ambiguous {
                    error: EventError::new(ErrorCode::SubmitAmbiguous, why, true),
                    lookup: self.job_lookup(record),
                    reserved: record.reserved,
                });
            }
        };
        self.count_as_spent(record).await?;
        clear(self.ctx, record.given_up(), anyhow!(again)).await
    }
}
