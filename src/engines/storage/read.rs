//! Reads results back, for people.

use std::io;
use std::path::Path;

use futures::TryStreamExt as _;
use object_store::ObjectStoreExt as _;
use tokio::fs::{self, File};
use tokio::io::AsyncWriteExt as _;

use super::Store;
use super::fault::ask;
use super::manifest::{MANIFEST, Manifest};
use crate::domain::{Generated, WorkflowId};

impl Store {
    /// Returns the stored result of a run; `None` if it has none.
    ///
    /// # Errors
    /// If the store cannot be read.
    pub async fn result(&self, workflow: &WorkflowId) -> io::Result<Option<Generated>> {
        let manifest = self.read_json::<Manifest>(workflow, MANIFEST).await?;
        Ok(manifest.map(|manifest| manifest.result))
    }

    /// Copies an output of a run to a new file.
    ///
    /// # Errors
    /// [`io::ErrorKind::AlreadyExists`] if there is a file at `path`; otherwise the store or the disk fails.
    pub async fn copy(&self, workflow: &WorkflowId, uri: &str, path: &Path) -> io::Result<()> {
        let name = uri.rsplit('/').next().unwrap_or_default();
        let location = self.location(workflow, name)?;
        let found = ask(self.objects.get(&location)).await?;
        let mut file = File::create_new(path).await?;
        let writing = async {
            let mut pieces = found.into_stream();
            while let Some(piece) = pieces.try_next().await.map_err(io::Error::other)? {
                file.write_all(&piece).await?;
            }
            file.flush().await
        };
        let written = writing.await;
        if written.is_err() {
            // Half a file would be in the way of the next try.
            fs::remove_file(path).await.ok();
        }
        written
    }
}
