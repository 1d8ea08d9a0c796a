//! Finds what earlier attempts of `submit` have left: a result, an answer or a job.

use std::time::Duration;

use anyhow::Context as _;
use temporalio_sdk::activities::ActivityError;

use super::This;
use crate::contract::run::{
    AttemptRecord, JobLookup, JobRecord, PendingEvents, SentInput, SubmitAnswer, Submitted,
};
use crate::domain::EventError;
use crate::domain::time::span;
use crate::engines::clock::now;
use crate::engines::temporal::activity::Aborted;
use crate::engines::temporal::activity::failure;
use crate::roles::worker::steps::{BETWEEN_LOOKUPS, LOOKUPS};

/// Pause between two lookups while another attempt may still be waiting for its answer.
const LATER_LOOKUPS: Duration = Duration::from_secs(5);
/// Time allowed for keeping an answer in the store. A search does not wait longer for an attempt that is slower.
const KEEPING: Duration = Duration::from_secs(5);

/// What earlier attempts have left.
#[derive(Debug, PartialEq)]
#[expect(clippy::large_enum_variant, reason = "an attempt has one of them")]
pub(super) enum Found {
    Result(Submitted),
    /// The provider answered that it did not accept the job.
    NotAccepted,
    /// The provider refused the job, for a reason of its own.
    Declined(EventError),
    Nothing,
}

impl This<'_> {
    /// Adopts the result that an earlier attempt stored, or an earlier run with the same id and content.
    pub(super) async fn adopt(&self) -> Result<Option<Submitted>, ActivityError> {
        let PendingEvents {
            workflow,
            fingerprint,
            ..
        } = &self.input.pending;
        let manifest = self.work.store.manifest(workflow, fingerprint.as_deref());
        let manifest = manifest.await.context("cannot read the result store");
        Ok(manifest
            .map_err(|error| failure(error.into()))?
            .map(|manifest| Submitted::Adopted(manifest.result)))
    }

    /// Reads what earlier attempts of this run have left in the store.
    pub(super) async fn stored(&self, record: AttemptRecord) -> Result<Found, ActivityError> {
        if let Some(adopted) = self.adopt().await? {
            return Ok(Found::Result(adopted));
        }
        let workflow = &self.input.pending.workflow;
        let kept = self
            .work
            .store
            .job_record(workflow, self.run_id, self.input.candidate);
        let kept = kept.await.context("cannot read the result store");
        let Some(kept) = kept.map_err(|error| failure(error.into()))? else {
            return Ok(Found::Nothing);
        };
        Ok(adopted(kept, record))
    }

    /// Searches until something is found, or until no answer can arrive any more.
    pub(super) async fn search(&self, record: AttemptRecord) -> Result<Found, ActivityError> {
        let max_wait = self.work.settings.submit_timeout + KEEPING;
        // Another worker's clock set this time. If that clock is ahead, the wait still counts from now at the latest.
        let since = record.waiting_since.map(|since| since.min(now()));
        let mut lookups = 0;
        loop {
            let found = match self.stored(record).await? {
                Found::Nothing => self.find(record).await?,
                found @ (Found::Result(_) | Found::Declined(_) | Found::NotAccepted) => found,
            };
            if !matches!(found, Found::Nothing) {
                return Ok(found);
            }
            lookups += 1;
            let waited = since.is_none_or(|since| span(since, now()) >= max_wait);
            if lookups >= LOOKUPS && waited {
                return Ok(Found::Nothing);
            }
            let pause = if lookups < LOOKUPS {
                BETWEEN_LOOKUPS
            } else {
                LATER_LOOKUPS
            };
            tokio::time::sleep(pause).await;
        }
    }

    /// Looks the job up in the provider's list, if the provider has one.
    async fn find(&self, record: AttemptRecord) -> Result<Found, ActivityError> {
        if !self.provider.can_find() {
            return Ok(Found::Nothing);
        }
        let workflow = &self.input.pending.workflow;
        let found = self.work.find(workflow, &self.job_lookup(record)).await;
        let found = found.map_err(|error| {
            tracing::warn!(%workflow, error = format!("{error:#}"), "cannot look the job up");
            failure(Aborted::Again(error))
        });
        let Some(job) = found? else {
            return Ok(Found::Nothing);
        };
        // The lost attempt has most likely sent the same.
        let bound = self.bind().await;
        let model = self.provider.model(&self.input.spec);
        let input = bound.map_or_else(
            |_| SentInput::default(),
            |bound| SentInput::of(&bound, model),
        );
        Ok(Found::Result(record.accepted(job, input)))
    }

    pub(super) fn job_lookup(&self, record: AttemptRecord) -> JobLookup {
        record.narrowed(self.input.job_lookup(self.run_id, self.input.started_at))
    }
}

/// Returns what an answer in the store says about the attempt with `record`.
///
/// A refusal counts only for the send that it answers: after a later send it would end the run or let the next attempt
/// send, although the provider may have accepted the later one.
fn adopted(kept: JobRecord, record: AttemptRecord) -> Found {
    let is_last = kept.send == record.sends;
    match kept.answer {
        SubmitAnswer::Job(job) => Found::Result(record.accepted(job, kept.input)),
        SubmitAnswer::Refused(error) if is_last => Found::Result(record.refused(error)),
        SubmitAnswer::Declined(error) if is_last => Found::Declined(error),
        SubmitAnswer::NotAccepted if is_last => Found::NotAccepted,
        SubmitAnswer::Refused(_) | SubmitAnswer::Declined(_) | SubmitAnswer::NotAccepted => {
            Found::Nothing
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::contract::run::{Job, Sent};
    use crate::domain::{ErrorCode, Media, ProviderName, RequestId};

    /// Returns what the attempt of the second send finds in the store: an answer to the send number `send`.
    fn found(answer: SubmitAnswer, send: u32) -> Found {
        let kept = JobRecord {
            workflow_id: RequestId::try_from("r".to_owned()).unwrap().run(0),
            run_id: "run".to_owned(),
            provider: ProviderName::FAL,
            candidate: 0,
            send,
            answer,
            input: SentInput::default(),
        };
        let record = AttemptRecord {
            number: 3,
            state: Sent::Maybe,
            provider: ProviderName::FAL,
            sends: 2,
            first_at: None,
            waiting_since: None,
            doubtful: false,
            reserved: false,
        };
        adopted(kept, record)
    }

    #[test]
    fn a_refusal_counts_only_for_the_last_send_and_a_job_for_any() {
        let refused = || EventError::new(ErrorCode::ProviderRefused, "no", false);
        let job = || Job {
            id: "j".to_owned(),
            provider: ProviderName::FAL,
            kind: Media::Video,
            status_url: String::new(),
            result_url: String::new(),
            cancel_url: String::new(),
            called_back: false,
            cost_microusd: None,
        };

        assert_eq!(found(SubmitAnswer::NotAccepted, 1), Found::Nothing);
        assert_eq!(found(SubmitAnswer::NotAccepted, 2), Found::NotAccepted);
        assert_eq!(found(SubmitAnswer::Refused(refused()), 1), Found::Nothing);
        let result = Found::Result(Submitted::Refused {
            error: refused(),
            reserved: false,
        });
        assert_eq!(found(SubmitAnswer::Refused(refused()), 2), result);
        let declined = || SubmitAnswer::Declined(refused());
        assert_eq!(found(declined(), 1), Found::Nothing);
        assert_eq!(found(declined(), 2), Found::Declined(refused()));
        for send in [1, 2] {
            let Found::Result(Submitted::Accepted { job: adopted, .. }) =
                found(SubmitAnswer::Job(job()), send)
            else {
                panic!("the job of send {send} is not adopted");
            };
            assert_eq!(adopted, job());
        }
    }
}
