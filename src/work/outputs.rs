//! Outputs on their way into the store: brought to a temp folder, checked, put where they stay.

use super::Work;
use crate::domain::{ErrorCode, EventError, Generated, Kind, Output};
use crate::storage::{DownloadError, Source};
use crate::telemetry::events::OutputStored;
use crate::temporal::steps::Handed;

impl Work {
    /// Downloads and stores all outputs; the temp folder is gone when this returns, however it returns.
    pub(super) async fn store_all(
        &self,
        handed: &Handed,
        kind: Kind,
        sources: &[Source],
    ) -> Result<Vec<Output>, DownloadError> {
        if sources.is_empty() {
            return Err(DownloadError::Invalid(
                "the provider named no output".to_owned(),
            ));
        }
        let folder = self.temp.attempt(&handed.workflow)?;
        let mut outputs = Vec::with_capacity(sources.len());
        for (index, source) in sources.iter().enumerate() {
            let checked = self
                .downloader
                .fetch(source, folder.path(), index, kind)
                .await?;
            let output = self.store.put(&handed.workflow, index, checked).await?;
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
        DownloadError::Invalid(_) => (ErrorCode::ResultInvalid, false),
        DownloadError::Disk(_) => (ErrorCode::StoreFailed, true),
    };
    EventError::new(code, &error.to_string(), retryable)
}
