//! Outputs on their way into the store: brought to a temp folder, checked, put where they stay.

use std::time::Duration;

use tokio::time::{Instant, timeout_at};

use super::{Work, priced};
use crate::clock::now;
use crate::domain::{ErrorCode, EventError, Generated, Kind, Output};
use crate::provider::Made;
use crate::storage::{DownloadError, Manifest, Source, Store, temp_failed};
use crate::telemetry::events::OutputStored;
use crate::temporal::steps::{Handed, Submit};

/// How long it may take to store what came with the answer to a submit: its step has an end.
const KEEP_TIME: Duration = Duration::from_secs(60);

impl Work {
    /// Stores what came with the answer to a submit, and the manifest by which another attempt finds it.
    ///
    /// # Errors
    /// Why there is no result; it was paid for nevertheless.
    pub(crate) async fn keep(&self, submit: &Submit, made: Made) -> Result<Generated, EventError> {
        let Submit { handed, spec, .. } = submit;
        let provider = self.providers.of(spec.kind(), submit.provider);
        priced(provider, made.cost_usd);
        let outputs = self
            .store_patiently(handed, spec.kind(), &made.outputs)
            .await?;
        let result = Generated {
            outputs,
            provider: provider.name().as_str().to_owned(),
            provider_job_id: made.id,
            elapsed_ms: now() - submit.started_at,
            cost_usd: made.cost_usd,
            sent: None,
            notes: Vec::new(),
        };
        let manifest = Manifest {
            workflow_id: handed.workflow.clone(),
            fingerprint: handed.fingerprint.clone(),
            result,
        };
        // `finish` writes it too, and that one must succeed.
        if let Err(error) = self.store.write_manifest(&manifest).await {
            tracing::warn!(workflow = %handed.workflow, %error, "manifest not written yet");
        }
        Ok(manifest.result)
    }

    /// Tries for as long as there is time; what the last try met says why there is no result.
    async fn store_patiently(
        &self,
        handed: &Handed,
        kind: Kind,
        sources: &[Source],
    ) -> Result<Vec<Output>, EventError> {
        let end = Instant::now() + KEEP_TIME;
        let mut tries = 1;
        loop {
            let storing = self.store_all(&self.store_apart, handed, kind, sources);
            let error = match timeout_at(end, storing).await {
                Ok(Ok(outputs)) => return Ok(outputs),
                Ok(Err(error)) => error,
                Err(_) => {
                    let message = format!("not stored within {} s", KEEP_TIME.as_secs());
                    return Err(EventError::new(ErrorCode::StoreFailed, &message, true));
                }
            };
            let passes = match error {
                DownloadError::Unavailable(_) | DownloadError::Disk(_) => true,
                DownloadError::Invalid(_) | DownloadError::Refused(_) => false,
            };
            let pause = self.settings.stores.pauses.after(tries, rand::random());
            if !passes || tries >= self.settings.stores.most || Instant::now() + pause >= end {
                return Err(verdict(&error));
            }
            tries += 1;
            tokio::time::sleep(pause).await;
        }
    }

    /// Downloads and stores all outputs; the temp folder is gone when this returns, however it returns.
    pub(super) async fn store_all(
        &self,
        store: &Store,
        handed: &Handed,
        kind: Kind,
        sources: &[Source],
    ) -> Result<Vec<Output>, DownloadError> {
        if sources.is_empty() {
            return Err(DownloadError::Invalid(
                "the provider named no output".to_owned(),
            ));
        }
        let folder = self
            .temp
            .attempt(&handed.workflow)
            .inspect_err(temp_failed)?;
        let mut outputs = Vec::with_capacity(sources.len());
        for (index, source) in sources.iter().enumerate() {
            let checked = self
                .downloader
                .fetch(source, folder.path(), index, kind)
                .await
                .inspect_err(|error| {
                    if let DownloadError::Disk(error) = error {
                        temp_failed(error);
                    }
                })?;
            let output = store.put(&handed.workflow, index, checked).await?;
            OutputStored {
                bytes: u64::try_from(output.bytes).unwrap_or(0),
            }
            .emit();
            outputs.push(output);
            if !Generated::fits(&outputs) {
                return Err(DownloadError::Invalid(format!(
                    "the provider named {} outputs, more than one event can carry",
                    sources.len()
                )));
            }
        }
        Ok(outputs)
    }
}

/// Says what an output that is not stored means for its run.
pub(super) fn verdict(error: &DownloadError) -> EventError {
    let (code, retryable) = match error {
        DownloadError::Unavailable(_) => (ErrorCode::ResultUnavailable, true),
        // It may be there, but at an address that is the provider's to mend, or the operator's to allow.
        DownloadError::Refused(_) => (ErrorCode::ResultUnavailable, false),
        DownloadError::Invalid(_) => (ErrorCode::ResultInvalid, false),
        DownloadError::Disk(_) => (ErrorCode::StoreFailed, true),
    };
    let message = match error {
        DownloadError::Disk(cause) => format!("{error}: {cause}"),
        DownloadError::Unavailable(_) | DownloadError::Invalid(_) | DownloadError::Refused(_) => {
            error.to_string()
        }
    };
    EventError::new(code, &message, retryable)
}
