//! `manifest.json`: the result of a run, beside its outputs, by which another attempt or a repeated request finds it.

use std::io;

use serde::{Deserialize, Serialize};

use super::{Durability, Store};
use crate::domain::{Generated, WorkflowId};

/// The stored result of one run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Manifest {
    pub workflow_id: WorkflowId,
    #[serde(default)]
    pub fingerprint: Option<String>,
    /// As in the COMPLETED event.
    pub result: Generated,
}

pub(super) const MANIFEST: &str = "manifest.json";

impl Manifest {
    /// Returns whether it belongs to a request with this fingerprint. If one of the two has none, this is not known, so
    /// it does not.
    fn is_of(&self, fingerprint: Option<&str>) -> bool {
        self.fingerprint.is_some() && self.fingerprint.as_deref() == fingerprint
    }
}

impl Store {
    /// Writes the manifest of a run, over that of an earlier run of the same id, so that the newest is found.
    pub async fn write_manifest(&self, manifest: &Manifest) -> io::Result<()> {
        let writing = self.write_json(
            Durability::Synced,
            &manifest.workflow_id,
            MANIFEST,
            manifest,
        );
        self.counted("write_manifest", writing).await
    }

    /// Returns the manifest of a run, if one for this content exists and so do all its files.
    ///
    /// Another request may have used the id before, or in another namespace. Its result does not count.
    ///
    /// # Errors
    /// If the store cannot be read. A manifest that this version cannot decode counts as absent.
    pub async fn manifest(
        &self,
        workflow: &WorkflowId,
        fingerprint: Option<&str>,
    ) -> io::Result<Option<Manifest>> {
        self.counted("read_manifest", self.read_manifest(workflow, fingerprint))
            .await
    }

    async fn read_manifest(
        &self,
        workflow: &WorkflowId,
        fingerprint: Option<&str>,
    ) -> io::Result<Option<Manifest>> {
        let Some(manifest) = self.read_json::<Manifest>(workflow, MANIFEST).await? else {
            return Ok(None);
        };
        if !manifest.is_of(fingerprint) {
            tracing::warn!(%workflow, "ignored a manifest: its fingerprint is not that of this request");
            return Ok(None);
        }
        for output in &manifest.result.outputs {
            let name = output.uri.rsplit('/').next().unwrap_or_default();
            let Ok(location) = self.location(workflow, name) else {
                return Ok(None);
            };
            // A file in a former folder or bucket is not in this store.
            if self.uri(&location)? != output.uri {
                return Ok(None);
            }
            let length = self.length(&location).await?;
            if length.and_then(|length| i64::try_from(length).ok()) != Some(output.bytes) {
                return Ok(None);
            }
        }
        Ok(Some(manifest))
    }
}
