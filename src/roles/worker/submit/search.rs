//! Finds what earlier attempts of `submit` have left: a result, an answer or a job.

use std::time::Duration;

use anyhow::Context as _;
use temporalio_sdk::activities::ActivityError;

use super::This;
use crate::contract::run::{Answer, Attempt, JobLookup, PendingEvents, Submitted};
use crate::domain::time::span;
use crate::engines::clock::now;
use crate::engines::temporal::activity::Aborted;
use crate::engines::temporal::activity::failure;
use crate::roles::worker::steps::{BETWEEN_LOOKUPS, LOOKUPS};

/// Pause between two lookups while another attempt may still be waiting for its answer.
const LATER_LOOKUPS: Duration = Duration::from_secs(5);
/// An attempt that has its answer keeps it in the store within this time.
const KEEPING: Duration = Duration::from_secs(5);

/// What earlier attempts have left.
pub(super) enum Found {
    Result(Submitted),
    /// The provider answered that it did not accept the job.
    NotAccepted,
    Nothing,
}

impl This<'_> {
    /// Adopts the result that an earlier attempt stored, or an earlier run with the same id and content.
    pub(super) async fn adopt(&self) -> Result<Option<Submitted>, ActivityError> {
        let PendingEvents {
            workflow,
            fingerprint,
            ..
        } = &self.input.handed;
        let manifest = self.work.store.manifest(workflow, fingerprint.as_deref());
        let manifest = manifest.await.context("cannot read the result store");
        Ok(manifest
            .map_err(|error| failure(error.into()))?
            .map(|manifest| Submitted::Adopted(manifest.result)))
    }

    /// Reads what earlier attempts of this run have left in the store.
    pub(super) async fn stored(&self, record: Attempt) -> Result<Found, ActivityError> {
        if let Some(adopted) = self.adopt().await? {
            return Ok(Found::Result(adopted));
        }
        let workflow = &self.input.handed.workflow;
        let kept = self.work.store.job_record(workflow, self.run_id).await;
        let kept = kept.context("cannot read the result store");
        let Some(kept) = kept.map_err(|error| failure(error.into()))? else {
            return Ok(Found::Nothing);
        };
        // A refusal counts only for the send that it answers, not for a later one.
        let is_last = kept.send == record.sends;
        Ok(match kept.answer {
            Answer::Job(job) => Found::Result(record.accepted(job)),
            Answer::Refused(error) if is_last => Found::Result(Submitted::Refused(error)),
            Answer::NotAccepted if is_last => Found::NotAccepted,
            Answer::Refused(_) | Answer::NotAccepted => Found::Nothing,
        })
    }

    /// Searches until something is found, or until no answer can arrive any more.
    pub(super) async fn search(&self, record: Attempt) -> Result<Found, ActivityError> {
        let max_wait = self.work.settings.submit_timeout + KEEPING;
        // Another worker's clock set this time. If that clock is ahead, the wait still counts from now at the latest.
        let since = record.waiting_since.map(|since| since.min(now()));
        let mut lookups = 0;
        loop {
            let found = match self.stored(record).await? {
                Found::Nothing => self.find(record).await?,
                found @ (Found::Result(_) | Found::NotAccepted) => found,
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
    async fn find(&self, record: Attempt) -> Result<Found, ActivityError> {
        if !self.provider.can_find() {
            return Ok(Found::Nothing);
        }
        let workflow = &self.input.handed.workflow;
        let found = self.work.find(workflow, &self.job_lookup(record)).await;
        let found = found.map_err(|error| {
            tracing::warn!(%workflow, error = format!("{error:#}"), "cannot look the job up");
            failure(Aborted::Again(error))
        });
        Ok(found?.map_or(Found::Nothing, |job| Found::Result(record.accepted(job))))
    }

    pub(super) fn job_lookup(&self, record: Attempt) -> JobLookup {
        let kind = self.input.spec.media();
        record.job_lookup(kind, self.run_id, self.input.started_at)
    }
}
