//! Stores outputs: downloads them to a temp folder, checks them, and puts them into the store.

use std::time::Duration;

use tokio::time::{Instant, timeout_at};

use super::turn::Turn;
use super::{Work, priced};
use crate::contract::run::{PendingEvents, SentInput, Submit};
use crate::domain::{ErrorCode, EventError, Generated, Media, Output};
use crate::engines::clock::now;
use crate::engines::provider::{Made, Provider};
use crate::engines::storage::temp::TempFile;
use crate::engines::storage::{Checked, DownloadError, Manifest, Source, temp_failed};
use crate::engines::telemetry::events;

/// Time limit for storing outputs that came with the answer to a submit: `submit` has a time-out.
const KEEP_TIME: Duration = Duration::from_secs(60);
/// All outputs of a run together may have this many times `MAX_OUTPUT_BYTES`.
const TIMES_THE_LARGEST: u64 = 4;

/// Who stores outputs.
#[derive(Clone, Copy)]
pub(crate) enum Way<'t> {
    /// `submit`, since they came with its answer: they wait for no others, because this is the only try.
    Answer,
    /// `submit`, which has waited for them; `fetch` tries again.
    Wait,
    Fetch(&'t Turn<'t>),
}

impl Work {
    /// Stores the outputs in the answer to a submit, and the manifest by which another attempt finds them.
    ///
    /// # Errors
    /// Why there is no result, although it was paid for.
    pub(crate) async fn keep(
        &self,
        submit: &Submit,
        priority: &'static str,
        provider: &Provider,
        made: Made,
        sent: SentInput,
    ) -> Result<Generated, EventError> {
        let pending = &submit.pending;
        let cost = sent.quote.settle(made.charge.as_ref());
        priced(provider, sent.model.as_deref(), priority, cost);
        let storing = self.store_patiently(pending, provider, &made.outputs);
        let outputs = storing.await?;
        let result = Generated {
            outputs,
            provider: provider.name().as_str().to_owned(),
            provider_job_id: made.id,
            elapsed_ms: now() - submit.started_at,
            cost_usd: cost.map(|cost| cost.usd),
            cost_source: cost.map(|cost| cost.source),
            sent: sent.sent,
            notes: sent.notes,
            model: sent.model,
        };
        let manifest = Manifest {
            workflow_id: pending.workflow.clone(),
            fingerprint: pending.fingerprint.clone(),
            result,
        };
        // `finish` writes the manifest again, and there it must succeed.
        if let Err(error) = self.store.write_manifest(&manifest).await {
            tracing::warn!(workflow = %pending.workflow, %error, "cannot write the manifest; `finish` will write it");
        }
        Ok(manifest.result)
    }

    /// Stores the outputs; retries while there are time and attempts left. The error says why there is no result.
    async fn store_patiently(
        &self,
        pending: &PendingEvents,
        provider: &Provider,
        sources: &[Source],
    ) -> Result<Vec<Output>, EventError> {
        let end = Instant::now() + KEEP_TIME;
        let mut tries = 1;
        loop {
            let storing = self.store_all(pending, provider, sources, Way::Answer);
            let error = match timeout_at(end, storing).await {
                Ok(Ok(outputs)) => return Ok(outputs),
                Ok(Err(error)) => error,
                Err(_) => {
                    let seconds = KEEP_TIME.as_secs();
                    let message = format!("the outputs were not stored within {seconds} s");
                    return Err(EventError::new(ErrorCode::StoreFailed, &message, true));
                }
            };
            let retries = self.settings.retries;
            let pause = retries.pauses.after(tries, rand::random());
            if error.is_final() || tries >= retries.store_attempts || Instant::now() + pause >= end
            {
                return Err(verdict(&error));
            }
            tries += 1;
            tokio::time::sleep(pause).await;
        }
    }

    /// Downloads and stores all outputs of the kind that the run makes, and after them the pictures that come with a video.
    /// Leaves out other files: the result was paid for, whatever the provider adds to it. The temp folder is gone when this
    /// returns, in every case.
    pub(crate) async fn store_all(
        &self,
        pending: &PendingEvents,
        provider: &Provider,
        sources: &[Source],
        way: Way<'_>,
    ) -> Result<Vec<Output>, DownloadError> {
        let folder = self.temp.attempt(&pending.workflow);
        let folder = folder.inspect_err(temp_failed)?;
        let (store, folder) = match way {
            Way::Answer => (&self.store_apart, folder.without_limit()),
            Way::Wait | Way::Fetch(_) => (&self.store, folder),
        };
        let (mut outputs, mut pictures) = (Vec::new(), Vec::new());
        let mut left = self
            .settings
            .max_output_bytes
            .saturating_mul(TIMES_THE_LARGEST);
        let mut other = None;
        for (index, source) in sources.iter().enumerate() {
            let bringing = self.bring(provider, source, folder.file(index), &mut left, way);
            match bringing.await {
                Ok(checked) if checked.is(provider.kind()) => {
                    let output = store.put(&pending.workflow, index, checked).await?;
                    keep(&mut outputs, output, sources)?;
                }
                Ok(checked) => pictures.push((index, checked)),
                Err(DownloadError::OtherKind(why)) => {
                    tracing::warn!(workflow = %pending.workflow, index, why, "a file is left out of the result");
                    other = Some(why);
                }
                Err(error) => return Err(error),
            }
        }
        if outputs.is_empty() {
            let kind = provider.kind();
            let why = other.unwrap_or_else(|| format!("the provider named no {}", noun(kind)));
            return Err(DownloadError::OtherKind(why));
        }
        for (index, picture) in pictures {
            let output = store.put(&pending.workflow, index, picture).await?;
            keep(&mut outputs, output, sources)?;
        }
        Ok(outputs)
    }

    /// Downloads and checks one output; takes its bytes from those that are `left` for the run.
    async fn bring(
        &self,
        provider: &Provider,
        source: &Source,
        file: TempFile,
        left: &mut u64,
        way: Way<'_>,
    ) -> Result<Checked, DownloadError> {
        let bringing = async {
            let base = provider.base_url();
            let found = self.downloader.fetch(base, source, file, *left).await?;
            *left -= found.bytes();
            let checking = self.downloader.check(found, provider.kind());
            match way {
                Way::Fetch(turn) => turn.check(checking).await,
                Way::Answer | Way::Wait => checking.await,
            }
        };
        bringing.await.inspect_err(|error| {
            if let DownloadError::Disk(error) = error {
                temp_failed(error);
            }
        })
    }
}

/// Adds a stored output, if one event can carry all of them.
fn keep(
    outputs: &mut Vec<Output>,
    output: Output,
    sources: &[Source],
) -> Result<(), DownloadError> {
    events::output_stored(u64::try_from(output.bytes).unwrap_or(0));
    outputs.push(output);
    if Generated::fits(outputs) {
        return Ok(());
    }
    Err(DownloadError::Invalid(format!(
        "the provider named {} outputs, more than one event can carry",
        sources.len()
    )))
}

fn noun(kind: Media) -> &'static str {
    match kind {
        Media::Video => "video",
        Media::Image => "image",
    }
}

/// Returns the error of a run whose output could not be stored.
pub(super) fn verdict(error: &DownloadError) -> EventError {
    let (code, retryable) = match error {
        DownloadError::Unavailable(_) => (ErrorCode::ResultUnavailable, true),
        // The output may exist, but the provider must correct its address, or the operator must allow it.
        DownloadError::Refused(_) => (ErrorCode::ResultUnavailable, false),
        DownloadError::Invalid(_) | DownloadError::OtherKind(_) => {
            (ErrorCode::ResultInvalid, false)
        }
        DownloadError::Disk(_) => (ErrorCode::StoreFailed, true),
    };
    EventError::new(code, &error.to_string(), retryable)
}
